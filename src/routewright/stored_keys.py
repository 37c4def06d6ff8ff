"""Stored virtual keys, as far as they are in memory: asked for once, kept fresh by what the store tells, let go of.

A warm key costs one look-up in a dictionary. A cold one is asked for off the loop while its request waits; one that
there is not is remembered for a moment, so that guessing costs the database nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from routewright.errors import (
    AuthenticationError,
    ExpiredKey,
    GatewayError,
    InternalError,
    StorageUnavailable,
    UnknownKey,
)
from routewright.grants import Change, Grant, Grants
from routewright.types import Caller

MAX_KEYS = 100_000
MAX_REFUSED = 10_000
REFUSED_S = 10.0
"""A key that appears without a word of the store is known after this long."""
AT_ONCE = 1000
log = logging.getLogger("routewright")


class StoredKeys:
    """Digest of a key -> its caller, or why it is refused."""

    def __init__(
        self,
        ask: Callable[[list[str]], Awaitable[Grants]],
        limits_of: Callable[[Grant], Any],
        on_change: Callable[[], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`on_change`: what was remembered of callers outside is stale now."""
        self._ask = ask
        self._limits_of = limits_of
        self._on_change = on_change
        self._monotonic = monotonic
        self._wall = wall
        self._callers: dict[bytes, Caller] = {}
        self._depends: dict[bytes, tuple[str, ...]] = {}
        self._refused: dict[bytes, tuple[float, GatewayError]] = {}
        self._asking: dict[bytes, asyncio.Task[GatewayError | None]] = {}
        self._expiring: list[tuple[float, bytes]] = []
        self._turn = 0

    def find(self, digest: bytes) -> Caller | None:
        """None for one that has to be asked for. Raises AuthenticationError for one that is known to be no good."""
        caller = self._callers.get(digest)
        if caller is None:
            refused = self._refused.get(digest)
            if refused is not None and refused[0] > self._monotonic():
                raise type(refused[1])(refused[1].message)
        return caller

    def look_up(self, digest: bytes) -> asyncio.Task[GatewayError | None]:
        """Ask for it, once however many wait. The result is an error where it can't be known now."""
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.get_running_loop().create_task(self._look_up(digest))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return task

    async def _look_up(self, digest: bytes) -> GatewayError | None:
        key_hash = digest.hex()
        try:
            while True:
                turn = self._turn
                found = await self._ask([key_hash])
                if turn == self._turn:  # else something has changed while the answer was on its way
                    break
        except GatewayError as error:
            return error
        except Exception:
            log.exception("a key could not be looked up")
            return InternalError("internal error; the log says more")
        self._take(digest, found.get(key_hash))
        return None

    def _take(self, digest: bytes, grant: Grant | None) -> None:
        if grant is None:
            self._refuse(digest, UnknownKey("Invalid API key"))
        elif grant.refusal is not None:
            self._refuse(digest, AuthenticationError(grant.refusal))
        elif grant.expires_at_ms is not None and grant.expires_at_ms <= self._wall() * 1000:
            self._refuse(digest, ExpiredKey("This key has expired"))
        else:
            self._keep(digest, grant)

    def _keep(self, digest: bytes, grant: Grant) -> None:
        if digest not in self._callers and len(self._callers) >= MAX_KEYS:
            for oldest in list(self._callers)[: MAX_KEYS // 10]:
                self._forget(oldest)
            self._on_change()
        self._refused.pop(digest, None)
        self._callers[digest] = Caller(
            key_hash=grant.key_hash,
            alias=grant.key_alias,
            is_master=False,
            models=None if grant.models is None else frozenset(grant.models),
            limits=self._limits_of(grant),
            user_id=grant.user_id,
            team_id=grant.team_id,
            organization_id=grant.organization_id,
            endpoints=None if grant.endpoints is None else frozenset(grant.endpoints),
            aliases=grant.aliases or None,
            tags=grant.tags,
            cache_controls=None if grant.cache_controls is None else frozenset(grant.cache_controls),
            guardrails=grant.guardrails,
            stores_prompts=grant.stores_prompts,
        )
        self._depends[digest] = grant.depends_on
        if grant.expires_at_ms is not None:
            heapq.heappush(self._expiring, (grant.expires_at_ms / 1000, digest))

    def _refuse(self, digest: bytes, error: GatewayError) -> None:
        self._forget(digest)
        if len(self._refused) >= MAX_REFUSED:
            self._refused.clear()
        self._refused[digest] = (self._monotonic() + REFUSED_S, error)

    def _forget(self, digest: bytes) -> None:
        self._callers.pop(digest, None)
        self._depends.pop(digest, None)

    # --- staying true ---------------------------------------------------------------------------------------------

    async def changed(self, changes: Iterable[Change]) -> None:
        """Look again at every key that a change touches. One that can't be looked at now is let go of."""
        names = {change.name for change in changes}
        self._turn += 1
        self._refused.clear()
        is_all = any(name.startswith("all:") for name in names)
        touched = [digest for digest, depends in self._depends.items() if is_all or not names.isdisjoint(depends)]
        for start in range(0, len(touched), AT_ONCE):
            part = touched[start : start + AT_ONCE]
            try:
                found = await self._ask([digest.hex() for digest in part])
            except StorageUnavailable:
                # What has changed is not known, and it may be that the key is void.
                for digest in part:
                    self._forget(digest)
                continue
            finally:
                self._on_change()
            for digest in part:
                self._take(digest, found.get(digest.hex()))
        self._on_change()

    def on_tick(self) -> None:
        """Keys that have expired by now are refused from now on."""
        now = self._wall()
        while self._expiring and self._expiring[0][0] <= now:
            _, digest = heapq.heappop(self._expiring)
            if digest in self._callers:
                # Asked for again rather than refused: it may have been given a longer life.
                self._forget(digest)
                self._on_change()

    def forget_all(self) -> None:
        """The store has been silent for so long that nothing in memory is to be trusted."""
        if self._callers:
            log.error("the store has been silent for too long: stored keys are not taken until it answers")
            self._callers.clear()
            self._depends.clear()
            self._expiring.clear()
            self._on_change()
