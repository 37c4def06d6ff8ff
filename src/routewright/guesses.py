"""Wrong keys, counted by the address that sends them: guessing gets slow, and those who have shown a good key go on.

An address that has sent too many in a minute is refused until that minute is over, whatever key it sends: a guess that
happened to be right must not be told from a wrong one. Keys that were good from there before are taken all the same,
since many people share an address. Each worker counts for itself, so its part of the limit is what it lets pass.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil

from routewright.errors import RateLimited

WINDOW_S = 60.0
MAX_ADDRESSES = 10_000
MAX_GOOD_KEYS = 1000
MAX_HOPS = 32
MAX_CALLERS, MAX_KEPT_HEADER = 1000, 256
IPV6_PREFIX = 64
"""Whoever has one address of version 6 has all of such a network."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_FORWARDED = b"x-forwarded-for"


class _Address:
    """Since when, how many wrong keys, and which good ones, by their hashes."""

    __slots__ = ("count", "good", "started_s")

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.count = 0
        self.good: set[str] = set()


class Guesses:
    """One worker's count."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self.failing: dict[str, _Address] = {}
        """Addresses that have sent a wrong key lately; empty nearly always, which is all that good requests look at."""
        self._most = 0
        self._trusted: tuple[Network, ...] = ()
        self._callers: dict[tuple[str, bytes], str] = {}

    def configure(self, most_per_minute: int, trusted: Sequence[str], workers: int) -> None:
        """`most_per_minute`: over all workers; 0 counts nothing. `trusted`: networks whose X-Forwarded-For is believed.
        Raises ValueError for what is no network."""
        self._most = -(-most_per_minute // workers)
        self._trusted = tuple(ipaddress.ip_network(each) for each in trusted)
        self._callers.clear()
        if not self._most:
            self.failing.clear()

    def note_wrong(self, peer: str, headers: Mapping[bytes, bytes]) -> None:
        """Somebody has sent a key that nobody has. Raises RateLimited where that was one too many."""
        if not self._most:
            return
        name = self.address_of(peer, headers)
        now = self._monotonic()
        known = self.failing.get(name)
        if known is None:
            if len(self.failing) >= MAX_ADDRESSES:
                self.failing.pop(next(iter(self.failing)))
            known = self.failing[name] = _Address(now)
        elif now - known.started_s >= WINDOW_S:
            known.started_s, known.count = now, 0
        if known.count >= self._most:
            raise self._refusal(known, now)
        known.count += 1

    def check(self, peer: str, headers: Mapping[bytes, bytes], key_hash: str | None) -> None:
        """A request from somewhere while `failing` is not empty. `key_hash`: None for a key that is not known yet.
        Raises RateLimited."""
        known = self.failing.get(self.address_of(peer, headers))
        if known is None:
            return
        now = self._monotonic()
        is_over = known.count >= self._most and now - known.started_s < WINDOW_S
        if is_over and key_hash not in known.good:
            raise self._refusal(known, now)
        if not is_over and key_hash is not None and len(known.good) < MAX_GOOD_KEYS:
            known.good.add(key_hash)

    def on_tick(self, now: float) -> None:
        """Forget those who have stopped; the oldest stand first."""
        while self.failing:
            name, known = next(iter(self.failing.items()))
            if now - known.started_s < 2 * WINDOW_S:
                return
            del self.failing[name]

    def address_of(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """Where a request comes from, as guesses are counted: of an address of version 6, its network."""
        here = self._last_hop(peer, headers)
        if here is None:
            return peer
        if here.version == 6:
            return str(ipaddress.ip_network((here, IPV6_PREFIX), strict=False))
        return str(here)

    def caller_of(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """Where a request comes from, whole. Asked for each request, so what was found is kept for the next."""
        seen = (peer, headers.get(_FORWARDED, b""))
        found = self._callers.get(seen)
        if found is None:
            here = self._last_hop(peer, headers)
            found = peer if here is None else str(here)
            if len(self._callers) >= MAX_CALLERS:
                self._callers.clear()
            if len(seen[1]) <= MAX_KEPT_HEADER:
                self._callers[seen] = found
        return found

    def _last_hop(self, peer: str, headers: Mapping[bytes, bytes]) -> Address | None:
        """The last that no trusted proxy vouches for; None for a peer without an address."""
        here = _parsed(peer)
        if here is None:
            return None
        forwarded = headers.get(_FORWARDED)
        if forwarded is not None and self._trusted:
            for hop in reversed(forwarded.decode("latin-1").split(",")[-MAX_HOPS:]):
                if not self._is_trusted(here):
                    break
                before = _parsed(hop.strip())
                if before is None:
                    break
                here = before
        return here

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _refusal(self, known: _Address, now: float) -> RateLimited:
        wait_s = max(1, ceil(known.started_s + WINDOW_S - now))
        return RateLimited(
            f"too many wrong keys from this address; try again in {wait_s} s",
            retry_after_s=wait_s,
            limit_type="wrong_keys",
            reset_at_epoch_s=ceil(self._wall()) + wait_s,
        )


def _parsed(text: str) -> Address | None:
    """An address as it stands in a header or comes from a socket; one of version 4 that is written as of version 6, as
    it is."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
