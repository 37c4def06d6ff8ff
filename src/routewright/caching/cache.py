"""The cache as the line uses it: may this be kept, is it there, keep it; and what operators ask of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from routewright.caching.capture import Capture
from routewright.caching.controls import Controls, controls_of
from routewright.caching.entry import Entry
from routewright.caching.keys import can_be_kept, key_of, scope_of
from routewright.caching.memory import Memory
from routewright.errors import StorageUnavailable
from routewright.settings import CacheSettings
from routewright.types import Call, Caller, Candidates, Outcome, Responder, Usage

if TYPE_CHECKING:
    from routewright.caching.shared import Shared


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error).__name__ not in ("ValkeyLost", "TimeoutError"):
            raise
        raise StorageUnavailable("the cache's Valkey can't be reached") from error


class Place:
    """Where the answer to one request is kept, or would be."""

    __slots__ = ("controls", "key")

    def __init__(self, key: str, controls: Controls) -> None:
        self.key = key
        self.controls = controls


class Cache:
    """Answers that were given, for requests that are the same."""

    def __init__(
        self, settings: CacheSettings, shared: Shared | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """`shared`: where answers are kept in place of this worker's memory; `clock`: seconds since 1970."""
        self.settings = settings
        self.shared = shared
        self.memory = Memory(settings.max_memory_bytes, clock)
        self.hits = 0
        self.misses = 0
        self._clock = clock

    def place_of(
        self, call: Call, caller: Caller, candidates: Candidates, headers: Mapping[bytes, bytes]
    ) -> Place | None:
        """None where the answer is neither looked for nor kept.

        Raises InvalidRequest for controls that are none, PermissionDenied for those that the key may not use.
        """
        settings = self.settings
        controls = controls_of(settings, call.wishes, caller.cache_controls, headers)
        if not (controls.reads or controls.writes) or not can_be_kept(call):
            return None
        if settings.endpoints is not None and call.endpoint not in settings.endpoints:
            return None
        key = key_of(call, candidates, scope_of(caller, settings.scope), controls.namespace)
        return Place(key, controls)

    async def find(self, place: Place) -> Entry | None:
        """What is kept there and will do."""
        controls = place.controls
        if not controls.reads:
            return None
        entry = self.memory.get(place.key) if self.shared is None else await self.shared.get(place.key)
        max_age_s = controls.max_age_s
        if entry is not None and max_age_s is not None and self._clock() - entry.made_at_s > max_age_s:
            entry = None
        if entry is None:
            self.misses += 1
        else:
            self.hits += 1
        return entry

    def capture(self, place: Place, call: Call, client: Responder, outcome: Outcome) -> Responder:
        """The client's side of an exchange whose answer will be kept if it is good; `client` where it won't be."""
        if not place.controls.writes:
            return client

        def keep(body: bytes) -> None:
            deployment = outcome.deployment
            if deployment is None or outcome.fallbacks:
                return
            now_s = self._clock()
            entry = Entry(
                body,
                call.is_stream,
                call.wants_usage,
                now_s,
                now_s + place.controls.ttl_s,
                deployment.id,
                deployment.reply_fields,
                outcome.usage or Usage(),
                outcome.cost_nusd,
            )
            (self.memory if self.shared is None else self.shared).put(place.key, entry)

        return Capture(client, call, outcome, keep, self.settings.max_entry_bytes)

    def close(self) -> None:
        if self.shared is not None:
            self.shared.close()

    # --- for operators ------------------------------------------------------------------------------------------------

    async def delete(self, keys: Iterable[str]) -> int:
        """How many there were. Raises StorageUnavailable where a shared store can't be reached."""
        if self.shared is None:
            return self.memory.delete(keys)
        with _reached():
            return await self.shared.delete(keys)

    async def flush(self) -> None:
        """Raises StorageUnavailable."""
        self.memory.flush()
        if self.shared is not None:
            with _reached():
                await self.shared.flush()

    async def ping(self) -> None:
        """Raises StorageUnavailable."""
        if self.shared is not None:
            with _reached():
                await self.shared.ping()

    def info(self) -> dict[str, Any]:
        return {
            "type": "local" if self.shared is None else "redis",
            "entries": len(self.memory),
            "bytes": self.memory.bytes,
            "max_bytes": self.settings.max_memory_bytes,
            "hits": self.hits,
            "misses": self.misses,
            "ttl_s": self.settings.ttl_s,
            "scope": self.settings.scope,
        }
