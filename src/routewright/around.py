"""What stands around a call where the configuration asks for it: guardrails before and after it, the cache between.

The order is LiteLLM's. Guardrails see the request first, and may change it; what is looked for in the cache, and kept
there, is the request and the answer as they are between the guardrails; and guardrails see every answer last, a kept
one too. So what is kept holds nothing that a guardrail had taken out of the request, and a key whose guardrails are
stricter than another's of its team gets no more than they let through.

The gateway's line enters here only where there is a cache or a guardrail, or where a request asks for one; otherwise
it costs the line the test for that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from routewright.caching.cache import Cache, Place
from routewright.caching.entry import Entry
from routewright.caching.replay import give, replayed
from routewright.types import Call, Caller, Candidates, Decision, Notes, Outcome, Responder


class Around:
    """The cache and the guardrails that are configured."""

    def __init__(self, cache: Cache | None) -> None:
        self.cache = cache
        self.is_any = cache is not None

    def visit(
        self, call: Call, candidates: Candidates, caller: Caller, headers: Mapping[bytes, bytes], client: Responder,
        outcome: Outcome,
    ) -> Visit:  # fmt: skip
        """One request's way through. Raises InvalidRequest and PermissionDenied for wishes that can't be granted."""
        return Visit(self.cache, call, candidates, caller, headers, client, outcome)


class Visit:
    """One request on its way past guardrails and cache, and its answer on the way back."""

    __slots__ = ("_cache", "_call", "_caller", "_candidates", "_client", "_found", "_headers", "_outcome", "_place",
                 "_said")  # fmt: skip

    def __init__(
        self, cache: Cache | None, call: Call, candidates: Candidates, caller: Caller, headers: Mapping[bytes, bytes],
        client: Responder, outcome: Outcome,
    ) -> None:  # fmt: skip
        self._cache = cache
        self._call = call
        self._candidates = candidates
        self._caller = caller
        self._headers = headers
        self._client = client
        self._outcome = outcome
        self._place: Place | None = None
        self._found: Entry | None = None
        self._said = (b"", b"")

    def is_known(self) -> bool:
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
        entry = cache.find(place)
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
