"""What stands around a call where the configuration asks for it: guardrails before and after it, the cache between.

The order is LiteLLM's. Guardrails see the request first, and may change it; what is looked for in the cache, and kept
there, is the request and the answer as they are between the guardrails; and guardrails see every answer last, a kept
one too. So what is kept holds nothing that a guardrail had taken out of the request, and a key whose guardrails are
stricter than another's of its team gets no more than they let through.

The gateway's line enters here only where there is a cache or a guardrail, or where a request or its key asks for one;
otherwise it costs the line the tests for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from routewright.caching.cache import Cache, Place
from routewright.caching.entry import Entry
from routewright.caching.flights import MAX_WAIT_S, Flights, Turn
from routewright.caching.replay import give, replayed
from routewright.errors import GuardrailBlocked, GuardrailUnavailable, InvalidRequest, UpstreamBadResponse, clean_text
from routewright.guardrails.answer import GuardedAnswer
from routewright.guardrails.aside import LONG_CHARS, TooManyWait, aside
from routewright.guardrails.contract import Seen
from routewright.guardrails.rail import Chain, Rail, Rails
from routewright.types import Call, Caller, Candidates, Decision, Notes, Outcome, Responder
from routewright.wire.event_texts import KINDS
from routewright.wire.schemas import schema_of
from routewright.wire.texts import Slots, request_slots, tokens_in

MAX_ASKED = 32


class Around:
    """The cache and the guardrails that are configured."""

    def __init__(self, cache: Cache | None, rails: Rails | None) -> None:
        self.cache = cache
        self.rails = rails
        self.is_any = cache is not None or rails is not None

    def visit(
        self, call: Call, candidates: Candidates, caller: Caller, headers: Mapping[bytes, bytes], client: Responder,
        outcome: Outcome,
    ) -> Visit:  # fmt: skip
        """One request's way through. Raises InvalidRequest and PermissionDenied for wishes that can't be granted."""
        return Visit(
            self.cache, self._chosen(call, caller), call, candidates, caller, headers, client, outcome
        )  # fmt: skip

    def guards(
        self, call: Call, candidates: Candidates, caller: Caller, client: Responder, outcome: Outcome,
        more: Sequence[str] = (), *, with_defaults: bool = True,
    ) -> Visit | None:  # fmt: skip
        """The guardrails of a request whose answer is not kept; None where none looks at it. Raises as `visit`.

        `more`: of its path. `with_defaults`: those that look at every request are among them.
        """
        if self.rails is None and call.wishes is None and not caller.guardrails and not more:
            return None
        rails = self._chosen(call, caller, more)
        if not with_defaults:
            named = {*_asked(call), *caller.guardrails, *more}
            rails = tuple(rail for rail in rails if rail.name in named)
        return Visit(None, rails, call, candidates, caller, {}, client, outcome) if rails else None

    def _chosen(self, call: Call, caller: Caller, more: Sequence[str] = ()) -> tuple[Rail, ...]:
        asked = _asked(call)
        rails = self.rails
        of_others = (*caller.guardrails, *more)
        for names, error in ((asked, InvalidRequest), (of_others, GuardrailUnavailable)):
            for name in names:
                if rails is None or rails.get(name) is None:
                    raise error(f'no guardrail is called "{clean_text(name)}" here', param="guardrails")
        return () if rails is None else rails.chosen({*asked, *of_others})


def _asked(call: Call) -> list[str]:
    """Names of guardrails in a request."""
    given = None if call.wishes is None else call.wishes.get("guardrails")
    if given is None:
        return []
    if type(given) is not list or len(given) > MAX_ASKED or not all(type(name) is str and name for name in given):
        raise InvalidRequest(f"guardrails must be a list of at most {MAX_ASKED} names", param="guardrails")
    return given


class Visit:
    """One request on its way past guardrails and cache, and its answer on the way back."""

    __slots__ = ("_cache", "_call", "_caller", "_candidates", "_client", "_found", "_guarded", "_has_left", "_headers",
                 "_outcome", "_place", "_rails", "_said", "_seen")  # fmt: skip

    def __init__(
        self, cache: Cache | None, rails: tuple[Rail, ...], call: Call, candidates: Candidates, caller: Caller,
        headers: Mapping[bytes, bytes], client: Responder, outcome: Outcome,
    ) -> None:  # fmt: skip
        self._cache = cache
        self._rails = rails
        self._call = call
        self._candidates = candidates
        self._caller = caller
        self._headers = headers
        self._client = client
        self._outcome = outcome
        self._guarded: GuardedAnswer | None = None
        self._seen: Seen | None = None
        self._place: Place | None = None
        self._found: Entry | None = None
        self._said = (b"", b"")
        self._has_left = False

    @property
    def names(self) -> list[str]:
        """Of the guardrails that look at it."""
        return [rail.name for rail in self._rails]

    @property
    def of_answers(self) -> list[str]:
        """Of those that look at its answer."""
        return [rail.name for rail in self._rails if rail.after]

    @property
    def looks_at_answers(self) -> bool:
        """Whether a guardrail has something to do with the answer."""
        return any(rail.after or rail.restores for rail in self._rails)

    async def check(self, slots: Slots | None = None, *, is_empty: bool = False) -> bool:
        """Guardrails look at the request; whether they changed it. Raises GuardrailBlocked, GuardrailUnavailable and
        InvalidRequest. `slots`: where its texts stand, where that is not the call's body; `is_empty`: it has no body.
        """
        rails = self._rails
        if not rails:
            return False
        call, caller, outcome = self._call, self._caller, self._outcome
        notes = outcome.notes = outcome.notes or Notes()
        notes.guardrails = [rail.name for rail in rails]
        outcome.fields += f"x-litellm-applied-guardrails: {','.join(notes.guardrails)}\r\n".encode("latin-1", "replace")
        if slots is None:
            slots = request_slots(call.body)
            name = tokens_in(call.body)
            if name is not None and any(rail.before for rail in rails):
                raise InvalidRequest(f"guardrails look at this request and can't read tokens: send {name} as text",
                                     param=name)  # fmt: skip
        seen = self._seen = Seen(
            slots.texts, False, call.endpoint, call.model, caller.alias, caller.team_id, call.user,
            outcome.request_id, call.prompt_tokens_estimate, call.max_tokens, schema_of(call), call.wants_json,
            notes.found,
        )  # fmt: skip
        try:
            for rail in rails:
                if is_empty:
                    continue
                if rail.before:
                    await rail.look(seen)
                elif "logging_only" in rail.modes and rail.guardrail.for_requests:
                    await rail.note(seen)
        except GuardrailBlocked as blocked:
            notes.blocked_by = blocked.guardrail
            outcome.texts = None  # what must not pass is not written down either
            raise
        is_changed = slots.put(seen.texts)
        if call.endpoint not in KINDS:
            return is_changed
        looking = [rail for rail in rails if rail.after or (rail.restores and rail.guardrail.name in seen.kept)]
        if looking:
            # What is put back comes last: another would take it out again.
            looking.sort(key=lambda rail: not rail.after)
            seen.is_answer = True
            self._guarded = GuardedAnswer(self._client, call, outcome, looking, seen)
            self._client = self._guarded
        return is_changed

    async def check_answer(self, texts: list[str]) -> list[str]:
        """What guardrails make of an answer's texts, that somebody else has taken out of it. Raises as `check`."""
        seen, notes = self._seen, self._outcome.notes
        assert seen is not None
        assert notes is not None
        seen.is_answer, seen.texts = True, texts
        try:
            for rail in self._rails:
                if rail.after:
                    await rail.look(seen)
            for rail in self._rails:
                rail.put_back(seen)
        except GuardrailBlocked as blocked:
            notes.blocked_by = blocked.guardrail
            raise
        return seen.texts

    async def check_stream(self, stream: bytes, kind: str) -> bytes:
        """A whole event stream as guardrails let it pass. Raises as `check`, UpstreamBadResponse where one can't."""
        seen, notes = self._seen, self._outcome.notes
        assert seen is not None
        assert notes is not None
        seen.is_answer = True
        looking = sorted([rail for rail in self._rails if rail.after or rail.restores], key=lambda rail: not rail.after)

        def window() -> Chain:
            windows = [rail.window_of(seen) for rail in looking]
            if None in windows:
                raise UpstreamBadResponse("a guardrail can't look this stream over")
            return Chain([each for each in windows if each is not None])

        texts = KINDS[kind](window)
        try:
            return texts.feed(stream) if len(stream) <= LONG_CHARS else await aside(lambda: texts.feed(stream))
        except TooManyWait:
            raise GuardrailUnavailable("too many long answers wait to be looked over") from None
        except GuardrailBlocked as blocked:
            notes.blocked_by = blocked.guardrail
            raise

    async def is_known(self) -> bool:
        """Whether the cache has an answer that will do; `give_known` gives it."""
        cache = self._cache
        if cache is None or self._found is not None or self._has_left:
            return self._found is not None or self._has_left
        call = self._call
        place = self._place = cache.place_of(call, self._caller, self._candidates, self._headers)
        if place is None:
            return False
        entry, said = await self._look(cache, place)
        if said is None and cache.flights is not None and call.timeout_s is None and call.stream_timeout_s is None:
            entry = await self._wait(place, cache, cache.flights)
            if entry is not None:
                said = replayed(entry, call)
        outcome = self._outcome
        outcome.notes = outcome.notes or Notes()
        key = outcome.notes.cache_key = place.key if said is None else place.found or place.key
        outcome.fields += b"x-litellm-cache-key: %b\r\n" % key.encode("ascii")
        if entry is None or said is None:
            return self._has_left
        self._found, self._said = entry, said
        return True

    async def _look(self, cache: Cache, place: Place) -> tuple[Entry | None, tuple[bytes, bytes] | None]:
        """What is kept, and as it is said to this client; a cache that fails has nothing."""
        try:
            entry = await cache.find(place)
            if entry is None and cache.similar is not None:
                entry = await cache.find_similar(place, self._call, self._caller, self._candidates)
            return entry, None if entry is None else replayed(entry, self._call)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, there is a provider to ask
            cache.failed(error)
            return None, None

    async def _wait(self, place: Place, cache: Cache, flights: Flights) -> Entry | None:
        """What an equal request that is under way is answered; None: ask, for all who come, or alone."""
        controls = place.controls
        if not (controls.reads and controls.writes):
            return None
        place.flight = flights.lead(place.key)
        if place.flight is not None:
            return None
        client = self._client
        flight, answer = flights.join(place.key)
        client.on_gone = lambda: answer.set(Turn.LEFT)
        # Its client may read slowly, and an answer goes no faster than it is read.
        patience = asyncio.get_running_loop().call_later(MAX_WAIT_S, answer.set, Turn.ALONE)
        told = await answer
        patience.cancel()
        client.on_gone = None
        if isinstance(told, Entry):
            return told
        if told is Turn.LEAD:
            place.flight = flight
        self._has_left = told is Turn.LEFT or client.is_gone
        return None

    def close(self) -> None:
        """The request is over, however it ended."""
        cache, place = self._cache, self._place
        if cache is not None and place is not None and place.flight is not None:
            cache.land(place, None, has_failed=self._outcome.ended != "client_gone")

    def give_known(self) -> None:
        """Answer with what the cache has: it costs nothing, and nobody is asked."""
        entry, outcome = self._found, self._outcome
        if self._has_left:
            outcome.ended = "client_gone"
            return
        assert entry is not None
        assert outcome.notes is not None
        outcome.decision = Decision(self._candidates.groups, self._candidates)
        for group in self._candidates.groups:
            for deployment in group.deployments:
                if deployment.id == entry.deployment:
                    outcome.deployment = deployment
        outcome.notes.cache_hit = True
        outcome.notes.saved_nusd = entry.cost_nusd
        outcome.first_byte_s = time.monotonic()
        outcome.status, outcome.ended = 200, "complete"
        age_s = max(0, int(time.time() - entry.made_at_s))
        similarity = 0.0 if self._place is None else self._place.similarity
        outcome.notes.similarity = round(similarity, 4)
        give(self._said, entry, self._call, self._client, outcome, age_s, similarity)

    @property
    def far(self) -> Responder:
        """The client's side as the upstream's side is to see it."""
        if self._cache is None or self._place is None:
            return self._client
        return self._cache.capture(self._place, self._call, self._client, self._outcome)

    async def finish(self) -> None:
        """Guardrails that had to see the whole answer have their say. Raises GatewayError while nothing has gone."""
        guarded, outcome = self._guarded, self._outcome
        if guarded is None:
            return
        try:
            await guarded.finish()
        except GuardrailBlocked as blocked:
            assert outcome.notes is not None
            outcome.notes.blocked_by = blocked.guardrail
            raise
        if isinstance(guarded.error, GuardrailBlocked) and outcome.notes is not None:
            outcome.notes.blocked_by = guarded.error.guardrail
