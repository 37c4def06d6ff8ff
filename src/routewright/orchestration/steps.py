"""The calls that answer one request between them: each admitted, sent and recorded on its own, in the caller's name.

What a call used is settled with the key's limits before the next one is asked for, so a request of several calls can
do no more than as many requests could. Every upstream answer that cost tokens has one record: the one that the client
gets is in the request's own record, each of the others in a record that names the request it was a part of.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from routewright.admission.limits import Admission, note_output
from routewright.deadlines import TICK_S
from routewright.errors import GatewayError, InvalidRequest, UpstreamBadResponse, UpstreamTimeout
from routewright.orchestration.held import Held
from routewright.record.ledger import Ledger
from routewright.types import Call, Candidates, Decision, Group, Outcome, PartDecision, Responder, Usage
from routewright.upstream.relay import Upstream
from routewright.wire.chat_answers import CHAT
from routewright.wire.json import encode
from routewright.wire.whole import STREAM_FIELDS, events_of, pieces_of

IN_STEPS = frozenset({"chat", "completions", "messages", "responses", "generate_content"})
"""Endpoints whose answers are text that can be judged and given later."""
JSON_FIELDS = b"content-type: application/json\r\n"
MAX_SECONDS = 600.0
"""For all calls of a request together, where the request itself sets no limit."""


class ClientLeft(Exception):
    """Nobody waits for the answer any more. What was used is on record."""


class Part:
    """One call that was answered."""

    __slots__ = ("decision", "held", "outcome")

    def __init__(self, outcome: Outcome, decision: PartDecision, held: Held) -> None:
        self.outcome = outcome
        self.decision = decision
        self.held = held

    @property
    def answer(self) -> dict[str, Any]:
        """The endpoint's object, as the client would get it."""
        return self.held.answer


class Steps:
    """What an orchestration may do for one request, and what it must not forget."""

    def __init__(
        self,
        admission: Admission,
        decide: Callable[[Call, Candidates], Awaitable[Decision]],
        upstream: Upstream,
        parts: Ledger,
        call: Call,
        decision: Decision,
        client: Responder,
        outcome: Outcome,
    ) -> None:
        self.call = call
        self.decision = decision
        """The route's own, whose groups are the candidates, best first."""
        self.spent_nusd = 0
        self.notes: list[bytes] = []
        """Header lines that tell what was done."""
        self._admission = admission
        self._decide = decide
        self._upstream = upstream
        self._parts = parts
        self._client = client
        self._outcome = outcome
        self._open: list[Part] = []
        self._asked = 0
        self._has_told_limits = False
        self._speaks_openai = call.client is CHAT
        self._until_s = time.monotonic() + (MAX_SECONDS if call.timeout_s is None else call.timeout_s)

    @property
    def can_be_held(self) -> bool:
        """Whether the request can be said in OpenAI's dialect, in which answers are judged and put together."""
        try:
            return self._speaks_openai or bool(self.held_call())
        except InvalidRequest:
            return False

    def most_usd(self, of_route: float | None) -> float | None:
        """What all calls may cost together by the request's cap and the route's; None: no cap."""
        caps = self.call.caps
        given = [cap for cap in (of_route, None if caps is None else caps.max_cost_usd) if cap is not None]
        return min(given, default=None)

    # --- asking -----------------------------------------------------------------------------------------------------

    async def ask(self, call: Call, group: Group, stage: str) -> Part:
        """One call, its answer kept. Raises GatewayError where there is none, ClientLeft where nobody wants it."""
        outer = self._outcome
        self._asked += 1
        outcome = Outcome(
            call.endpoint, outer.caller, outer.request_id, f"{outer.call_id}.{self._asked}", time.monotonic()
        )
        outcome.call = call
        outcome.peer = outer.peer
        outcome.trace = outer.trace
        decision = outcome.decision = PartDecision.of(self.decision, group, stage, part_of=outer.call_id)
        part = Part(outcome, decision, Held(self._client))
        try:
            await self._send(call, decision, part.held, outcome)
        except GatewayError:
            outer.attempts += outcome.attempts
            raise
        finally:
            if outcome.usage is not None:
                self.spent_nusd += outcome.cost_nusd
                self._open.append(part)
        if outcome.ended == "client_gone":
            self._adopt(part)
            raise ClientLeft
        if not part.answer:
            outer.attempts += outcome.attempts
            outcome.attempts = 0
            raise UpstreamBadResponse("the upstream's answer is not this endpoint's JSON")
        return part

    async def _send(self, call: Call, decision: Decision, client: Responder, outcome: Outcome) -> None:
        left_s = self._until_s - time.monotonic()
        if left_s <= TICK_S and self._has_told_limits:  # deadlines are kept to within a tick
            raise UpstreamTimeout("the time for this request was used up before it was answered")
        if call.timeout_s is not None:
            call.timeout_s = left_s
        may_answer = _may_answer(decision)
        while (reservation := self._admission.admit(outcome.caller, call, may_answer)) is None:
            await self._admission.learn()
            if client.is_gone:
                outcome.ended = "client_gone"
                return
        if may_answer.allowed is not None:
            decision.groups = [decision.groups[index] for index in may_answer.allowed]
        decision.candidates.fallbacks = may_answer.fallbacks
        decision.candidates.context_window_fallbacks = may_answer.context_window_fallbacks
        decision.candidates.content_policy_fallbacks = may_answer.content_policy_fallbacks
        if not self._has_told_limits:
            self._has_told_limits = True
            self._outcome.fields += reservation.fields
        try:
            await self._upstream.relay(call, decision, client, outcome)
        finally:
            outcome.ended_at_ms = int(time.time() * 1000)
            usage, deployment, tokens = outcome.usage, outcome.deployment, 0
            if usage is not None:
                tokens = usage.prompt_tokens + usage.completion_tokens
                if deployment is not None and reservation.budgets:
                    note_output(deployment, usage.completion_tokens)
            self._admission.settle(
                reservation, tokens, outcome.cost_nusd, deployment=deployment, ended_at_ms=outcome.ended_at_ms
            )

    def held_call(self) -> Call:
        """The request as a call of its own, in OpenAI's dialect, that does not stream; its body may be changed.

        Raises UnsupportedField for what that dialect can't hold.
        """
        asked = self.call
        call = copy.copy(asked)
        body = (
            asked.body
            if self._speaks_openai
            else asked.client.as_chat(asked, plain=True, is_dropped=asked.drop_params is True)
        )
        call.body = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
        call.is_stream = call.wants_usage = False
        if not self._speaks_openai:
            call.client, call.endpoint = CHAT, "chat"
        return call

    # --- ends -------------------------------------------------------------------------------------------------------

    def set_aside(self, part: Part, verdict: str = "", logprob: float | None = None) -> None:
        """Record a call whose answer is not the client's: what it cost is on record from here on."""
        part.decision.verdict, part.decision.signal = verdict, logprob
        self._settle(part)

    def give(self, part: Part, answer: dict[str, Any] | None = None) -> None:
        """This is the client's answer; `answer` is what it gets of it, None: all, as it came."""
        self._adopt(part)
        held = part.held
        fields = self._outcome.fields + b"".join(self.notes) + held.fields_without_cost.removeprefix(JSON_FIELDS)
        if held.tells_cost:
            fields += b"x-litellm-response-cost: %.9f\r\n" % (self.spent_nusd / 1e9)
        call, whole = self.call, part.answer if answer is None else answer
        if call.is_stream:
            events, last = self._events_of(whole, part.outcome.usage or Usage())
            self._client.begin(200, STREAM_FIELDS + fields, events)
            self._client.hold(last)
            return
        if not self._speaks_openai:
            body = call.client.answer(whole, call, part.outcome.usage or Usage())
        else:
            body = held.body if answer is None else encode(answer)
        self._client.hold_response(200, JSON_FIELDS + fields, body)

    def _events_of(self, answer: dict[str, Any], usage: Usage) -> tuple[bytes, bytes]:
        call = self.call
        if self._speaks_openai:
            return events_of(answer, call.endpoint, call.wants_usage)
        return pieces_of(answer, call.client.pieces(call, str(answer.get("model")), time.time), usage)

    async def relay(self, call: Call, groups: Sequence[Group], stage: str) -> None:
        """Let the client have this call's answer as it comes, with the fallbacks of a plain request.

        Raises GatewayError where nothing has gone to the client yet; then it may still be given something else.
        """
        outer = self._outcome
        decision = PartDecision.of(self.decision, groups[0], stage, part_of="")
        decision.groups, decision.candidates = groups, self.decision.candidates
        outer.decision = decision
        before_fields, before_attempts = outer.fields, outer.attempts
        outer.fields += b"".join(self.notes)
        outer.attempts = 0  # what the client is told of retries is said of this call
        try:
            await self._send(call, decision, self._client, outer)
        except GatewayError:
            outer.fields = before_fields
            raise
        finally:
            outer.attempts += before_attempts

    async def last(self, call: Call, group: Group, stage: str) -> None:
        """The client's answer by a call of our own making, from `held_call`: as it comes, where dialects allow."""
        if not self._speaks_openai:
            self.give(await self.ask(call, group, stage))
            return
        call.is_stream, call.wants_usage = self.call.is_stream, self.call.wants_usage
        for name in ("stream", "stream_options"):
            if name in self.call.body:
                call.body[name] = self.call.body[name]
        await self.relay(call, [group], stage)

    async def place(self, call: Call) -> Group:
        """The candidate that the route's router chooses for a call."""
        return (await self._decide(call, copy.copy(self.decision.candidates))).groups[0]

    def close(self) -> None:
        """Record what is not on record yet, however the request ended."""
        for part in list(self._open):
            self._settle(part)

    def _settle(self, part: Part) -> None:
        self._open.remove(part)
        self._parts.settle(part.outcome, _nothing)

    def _adopt(self, part: Part) -> None:
        """Make the request's own record that of this call; or, where that has one already, of no tokens more."""
        outer, outcome = self._outcome, part.outcome
        outer.deployment, outer.status, outer.ended = outcome.deployment, outcome.status, outcome.ended
        outer.first_byte_s, outer.fallbacks = outcome.first_byte_s, outcome.fallbacks
        if outcome.usage is None:
            outer.attempts += outcome.attempts  # it has no record of its own
        elif part in self._open:
            self._open.remove(part)
            outer.attempts += outcome.attempts
            outer.usage, outer.cost_nusd, outer.ended_at_ms = outcome.usage, outcome.cost_nusd, outcome.ended_at_ms
        decision = outer.decision = copy.copy(part.decision)
        decision.part_of = ""


def _may_answer(decision: Decision) -> Candidates:
    """Whom this call may reach, for admission: it takes out what a budget has no room for."""
    found, whole = Candidates(decision.groups), decision.candidates
    found.fallbacks = whole.fallbacks
    found.context_window_fallbacks = whole.context_window_fallbacks
    found.content_policy_fallbacks = whole.content_policy_fallbacks
    return found


def _nothing() -> None:
    """Nobody waits for the record of a part."""
