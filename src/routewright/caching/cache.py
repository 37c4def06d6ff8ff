"""The cache as the line uses it: may this be kept, is it there, keep it; and what operators ask of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol
from zlib import crc32

from routewright.caching.capture import Capture
from routewright.caching.controls import Controls, controls_of
from routewright.caching.entry import Entry
from routewright.caching.flights import Flight, Flights
from routewright.caching.keys import can_be_kept, family_of, key_of, scope_of
from routewright.caching.memory import Memory
from routewright.caching.similar import Float32, Question, Similar
from routewright.caching.telling import MAX_CHARS, content, is_english, telling
from routewright.errors import StorageUnavailable
from routewright.settings import CacheSettings
from routewright.types import Call, Caller, Candidates, Outcome, Responder, Usage
from routewright.wire.last_words import last_words

log = logging.getLogger("routewright")


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "ValkeyLost" and not isinstance(error, OSError | TimeoutError):
            raise
        raise StorageUnavailable("what the cache keeps answers in can't be reached") from error


class Meaner(Protocol):
    """Makes vectors of texts, by which they are compared."""

    name: str

    async def of(self, text: str) -> Float32 | None:
        """(width,) of length 1; None where there is none in time."""

    def close(self) -> None: ...


class Store(Protocol):
    """Where answers are kept outside of this worker's memory. What is asked on the way of a request never fails."""

    name: str
    keeps_questions: bool
    """It tells this worker's `Similar` of questions itself."""

    async def get(self, key: str) -> Entry | None: ...

    def put(self, key: str, entry: Entry, question: Question | None = None) -> None: ...

    async def delete(self, keys: Iterable[str]) -> int: ...

    async def flush(self) -> None: ...

    async def ping(self) -> None: ...

    def close(self) -> None: ...


class Place:
    """Where the answer to one request is kept, or would be."""

    __slots__ = ("controls", "flight", "found", "key", "question", "similarity")

    def __init__(self, key: str, controls: Controls) -> None:
        self.key = key
        self.found = ""
        """Another key, under which the answer to a question was found that means the same."""
        self.controls = controls
        self.question: Question | None = None
        """What the request asks, where it may be answered as one that means the same."""
        self.similarity = 0.0
        """Of that one's question, where the answer that was found is another's."""
        self.flight: Flight | None = None
        """Others wait for this one's answer."""


class Cache:
    """Answers that were given, for requests that are the same."""

    def __init__(
        self,
        settings: CacheSettings,
        shared: Store | None = None,
        clock: Callable[[], float] = time.time,
        similar: Similar | None = None,
        meaner: Meaner | None = None,
    ) -> None:
        """`shared`: where answers are kept in place of this worker's memory; `clock`: seconds since 1970; `similar`
        and `meaner`: where questions are answered that only mean the same."""
        self.settings = settings
        self.shared = shared
        self.memory = Memory(settings.max_memory_bytes, clock)
        self.similar = similar
        self.meaner = meaner
        self.flights = Flights() if settings.shares_flights else None
        self._tasks: set[asyncio.Task[Question | None]] = set()
        self.hits = 0
        self.similar_hits = 0
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
        if not place.controls.reads:
            return None
        entry = await self._get(place.key, place.controls)
        if entry is None:
            self.misses += 1
        else:
            self.hits += 1
        return entry

    async def _get(self, key: str, controls: Controls) -> Entry | None:
        if self.shared is not None:
            entry = await self.shared.get(key)
        else:
            entry = self.memory.get(key)
            if entry is None and self.similar is not None:
                self.similar.forget(key)
        max_age_s = controls.max_age_s
        if entry is not None and max_age_s is not None and self._clock() - entry.made_at_s > max_age_s:
            return None
        return entry

    async def find_similar(self, place: Place, call: Call, caller: Caller, candidates: Candidates) -> Entry | None:
        """What was answered to a question that means the same; called where `find` found nothing.

        From now on the place knows its question. Work is bounded: one vector, one product, a few look-ups.
        """
        similar, meaner = self.similar, self.meaner
        said = None if similar is None or meaner is None else last_words(call)
        if similar is None or meaner is None or said is None:
            return None
        text, rest = said
        if len(text) > MAX_CHARS or not is_english(text):
            return None
        controls = place.controls
        family = family_of(
            call, candidates, scope_of(caller, self.settings.scope), controls.namespace,
            rest=rest, told=telling(text), maker=meaner.name,
        )  # fmt: skip
        words = tuple([crc32(word.encode("utf-8", "surrogatepass")) for word in content(text)])
        asking = self._ask(place, meaner, family, words, text)
        if not controls.reads or not similar.holds(family):  # nothing to compare it with: nobody waits for its vector
            task = asyncio.get_running_loop().create_task(asking)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return None
        question = await asking
        if question is None:
            return None
        for similarity, key in similar.nearest(question):
            entry = await self._get(key, controls)
            if entry is not None:
                place.found, place.similarity = key, similarity
                self.similar_hits += 1
                return entry
        return None

    async def _ask(
        self, place: Place, meaner: Meaner, family: bytes, words: tuple[int, ...], text: str
    ) -> Question | None:
        """Tell the place its question; None where there is no vector for it."""
        try:
            vector = await meaner.of(text)
        except Exception as error:  # noqa: BLE001 - a plain miss, for whoever waits and whoever does not
            self.failed(error)
            return None
        if vector is not None:
            place.question = Question(family, vector, words)
        return place.question

    def capture(self, place: Place, call: Call, client: Responder, outcome: Outcome) -> Responder:
        """The client's side of an exchange whose answer will be kept if it is good; `client` where it won't be."""
        controls = place.controls
        if not controls.writes:
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
                now_s + controls.ttl_s,
                deployment.id,
                deployment.reply_fields,
                outcome.usage or Usage(),
                outcome.cost_nusd,
            )
            try:
                self._put(place, entry)
            except Exception as error:  # noqa: BLE001 - the answer is on its way to its client
                self.failed(error)
            if place.flight is not None:
                self.land(place, entry)

        return Capture(
            client, call, outcome, keep, self.settings.max_entry_bytes, lambda: self.land(place, None)
        )  # fmt: skip

    def _put(self, place: Place, entry: Entry) -> None:
        if self.shared is not None:
            self.shared.put(place.key, entry, place.question)
            if self.shared.keeps_questions:
                return
        else:
            self.memory.put(place.key, entry)
        if self.similar is not None and place.question is not None:
            self.similar.add(place.key, place.question)

    def failed(self, error: Exception) -> None:
        """Where it failed is told to whoever looks for it: there may be one a request."""
        log.error("the cache failed: %s", type(error).__name__, exc_info=log.isEnabledFor(logging.DEBUG))

    def land(self, place: Place, entry: Entry | None, *, has_failed: bool = True) -> None:
        """Those who wait for this request's answer hear of it, or that there is none."""
        flight, place.flight = place.flight, None
        if flight is not None and self.flights is not None:
            self.flights.end(flight, entry, has_failed=has_failed)

    def forget(self) -> None:
        """All that lies in this worker."""
        self.memory.flush()
        if self.similar is not None:
            self.similar.clear()

    def close(self) -> None:
        if self.shared is not None:
            self.shared.close()
        if self.meaner is not None:
            self.meaner.close()

    # --- for operators ------------------------------------------------------------------------------------------------

    async def delete(self, keys: Iterable[str]) -> int:
        """How many there were. Raises StorageUnavailable where a shared store can't be reached."""
        if self.shared is None:
            return self.memory.delete(keys)
        with _reached():
            return await self.shared.delete(keys)

    async def flush(self) -> None:
        """Raises StorageUnavailable."""
        self.forget()
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
            "type": "local" if self.shared is None else self.shared.name,
            "entries": len(self.memory),
            "bytes": self.memory.bytes,
            "max_bytes": self.settings.max_memory_bytes,
            "hits": self.hits,
            "similar_hits": self.similar_hits,
            "questions": 0 if self.similar is None else len(self.similar),
            "misses": self.misses,
            "ttl_s": self.settings.ttl_s,
            "scope": self.settings.scope,
        }
