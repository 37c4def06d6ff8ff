"""What stands around a call where the configuration asks for it: guardrails before and after it, the cache between.

The order is LiteLLM's. Guardrails see the request first, and may change it; what is looked for in the cache, and kept
there, is the request and the answer as they are between the guardrails; and guardrails see every answer last, a kept
one too. So what is kept holds nothing that a guardrail had taken out of the request, and a key whose guardrails are
stricter than another's of its team gets no more than they let through.

The gateway's line enters here only where there is a cache or a guardrail, or where a request or its key asks for one;
otherwise it costs the line the tests for that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from routewright.caching.cache import Cache, Place
from routewright.caching.entry import Entry
from routewright.caching.replay import give, replayed
from routewright.errors import GuardrailBlocked, GuardrailUnavailable, InvalidRequest, clean_text
from routewright.guardrails.answer import GuardedAnswer
from routewright.guardrails.contract import Seen
from routewright.guardrails.rail import Rail, Rails
from routewright.types import Call, Caller, Candidates, Decision, Notes, Outcome, Responder
from routewright.wire.event_texts import KINDS
from routewright.wire.schemas import schema_of
from routewright.wire.texts import request_slots

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

    def _chosen(self, call: Call, caller: Caller) -> tuple[Rail, ...]:
        asked = _asked(call)
        rails = self.rails
        for names, error in ((asked, InvalidRequest), (caller.guardrails, GuardrailUnavailable)):
            for name in names:
                if rails is None or rails.get(name) is None:
                    raise error(f'no guardrail is called "{clean_text(name)}" here', param="guardrails")
        return () if rails is None else rails.chosen({*asked, *caller.guardrails})


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

    __slots__ = ("_cache", "_call", "_caller", "_candidates", "_client", "_found", "_guarded", "_headers", "_outcome",
                 "_place", "_rails", "_said", "_seen")  # fmt: skip

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

    async def check(self) -> None:
        """Guardrails look at the request. Raises GuardrailBlocked and GuardrailUnavailable."""
        rails = self._rails
        if not rails:
            return
        call, caller, outcome = self._call, self._caller, self._outcome
        notes = outcome.notes = outcome.notes or Notes()
        notes.guardrails = [rail.name for rail in rails]
        outcome.fields += f"x-litellm-applied-guardrails: {','.join(notes.guardrails)}\r\n".encode("latin-1", "replace")
        slots = request_slots(call.body)
        seen = self._seen = Seen(
            slots.texts, False, call.endpoint, call.model, caller.alias, caller.team_id, call.user,
            outcome.request_id, call.prompt_tokens_estimate, call.max_tokens, schema_of(call), call.wants_json,
            notes.found,
        )  # fmt: skip
        try:
            for rail in rails:
                if rail.before:
                    await rail.look(seen)
                elif "logging_only" in rail.modes and rail.guardrail.for_requests:
                    await rail.note(seen)
        except GuardrailBlocked as blocked:
            notes.blocked_by = blocked.guardrail
            outcome.texts = None  # what must not pass is not written down either
            raise
        slots.put(seen.texts)
        if call.endpoint not in KINDS:
            return
        looking = [rail for rail in rails if rail.after or (rail.restores and rail.guardrail.name in seen.kept)]
        if looking:
            # What is put back comes last: another would take it out again.
            looking.sort(key=lambda rail: not rail.after)
            seen.is_answer = True
            self._guarded = GuardedAnswer(self._client, call, outcome, looking, seen)
            self._client = self._guarded

    async def is_known(self) -> bool:
        """Whether the cache has an answer that will do; `give_known` gives it."""
        cache = self._cache
        if cache is None or self._found is not None:
            return self._found is not None
        place = self._place = cache.place_of(self._call, self._caller, self._candidates, self._headers)
        if place is None:
            return False
        outcome = self._outcome
        outcome.notes = outcome.notes or Notes()
        outcome.notes.cache_key = place.key
        outcome.fields += b"x-litellm-cache-key: %b\r\n" % place.key.encode("ascii")
        entry = await cache.find(place)
        said = None if entry is None else replayed(entry, self._call)
        if entry is None or said is None:
            return False
        self._found, self._said = entry, said
        return True

    def give_known(self) -> None:
        """Answer with what the cache has: it costs nothing, and nobody is asked."""
        entry, outcome = self._found, self._outcome
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
        give(self._said, entry, self._call, self._client, outcome, age_s)

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
