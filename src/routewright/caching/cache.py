"""The cache as the line uses it: may this be kept, is it there, keep it; and what operators ask of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from routewright.caching.capture import Capture
from routewright.caching.controls import Controls, controls_of
from routewright.caching.entry import Entry
from routewright.caching.keys import can_be_kept, key_of, scope_of
from routewright.caching.memory import Memory
from routewright.settings import CacheSettings
from routewright.types import Call, Caller, Candidates, Outcome, Responder, Usage


class Place:
    """Where the answer to one request is kept, or would be."""

    __slots__ = ("controls", "key")

    def __init__(self, key: str, controls: Controls) -> None:
        self.key = key
        self.controls = controls


class Cache:
    """Answers that were given, for requests that are the same."""

    def __init__(self, settings: CacheSettings, clock: Callable[[], float] = time.time) -> None:
        """`clock`: wall clock, seconds since 1970."""
        self.settings = settings
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

    def find(self, place: Place) -> Entry | None:
        """What is kept there and will do."""
        controls = place.controls
        if not controls.reads:
            return None
        entry = self.memory.get(place.key)
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
            self.memory.put(
                place.key,
                Entry(
                    body,
                    call.is_stream,
                    call.wants_usage,
                    now_s,
                    now_s + place.controls.ttl_s,
                    deployment.id,
                    deployment.reply_fields,
                    outcome.usage or Usage(),
                    outcome.cost_nusd,
                ),
            )

        return Capture(client, call, outcome, keep, self.settings.max_entry_bytes)

    # --- for operators ------------------------------------------------------------------------------------------------

    def delete(self, keys: Iterable[str]) -> int:
        return self.memory.delete(keys)

    def flush(self) -> None:
        self.memory.flush()

    def info(self) -> dict[str, Any]:
        return {
            "type": "local",
            "entries": len(self.memory),
            "bytes": self.memory.bytes,
            "max_bytes": self.settings.max_memory_bytes,
            "hits": self.hits,
            "misses": self.misses,
            "ttl_s": self.settings.ttl_s,
            "scope": self.settings.scope,
        }
