"""The straight line of one request: authenticated by the front, then parse, admit, route, relay, record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from routewright.admission.limits import Admission, note_output
from routewright.admission.meters import Reservation
from routewright.around import Around, Visit
from routewright.catalog import Catalog
from routewright.errors import (
    BudgetExceeded,
    GatewayError,
    GuardrailBlocked,
    GuardrailUnavailable,
    InternalError,
    RateLimited,
    StorageUnavailable,
    error_body,
    error_headers,
)
from routewright.orchestration.steps import IN_STEPS, ClientLeft, Steps
from routewright.record.ledger import Ledger
from routewright.record.texts import KeptTexts
from routewright.record.tracing import Tracer
from routewright.routing.live import LiveRouters
from routewright.server.lines import field_lines
from routewright.types import Call, Caller, Candidates, Decision, HttpRequest, Outcome, Responder
from routewright.upstream.relay import Upstream
from routewright.wire.chat import parse_chat, parse_completions, read_headers
from routewright.wire.embeddings import parse_embeddings
from routewright.wire.gemini import parse_count, parse_generate
from routewright.wire.media import parse_images, parse_moderations, parse_speech
from routewright.wire.messages import parse_count_tokens, parse_messages
from routewright.wire.rerank import parse_rerank
from routewright.wire.responses import parse_responses

log = logging.getLogger("routewright")

PARSERS: dict[str, Callable[[HttpRequest], Call]] = {
    "chat": parse_chat,
    "completions": parse_completions,
    "embeddings": parse_embeddings,
    "messages": parse_messages,
    "count_tokens": parse_count_tokens,
    "generate_content": parse_generate,
    "count_content": parse_count,
    "responses": parse_responses,
    "images": parse_images,
    "speech": parse_speech,
    "moderations": parse_moderations,
    "rerank": parse_rerank,
}


class Orchestration(Protocol):
    """How a route asks more than once."""

    async def answer(self, steps: Steps) -> None:
        """Answer the client by `steps`. Raises GatewayError where there is no answer to give."""


class Files(Protocol):
    """Knows whose the files are that lie at providers."""

    async def narrow(self, call: Call, candidates: Candidates, caller: Caller) -> None:
        """Leave those deployments that can reach the files that a call names. Raises NotFound where one is not the
        caller's, InvalidRequest where none of them can."""


class Gateway:
    """Joins the stations; they do not know each other."""

    def __init__(
        self,
        catalog: Catalog,
        admission: Admission,
        routing: LiveRouters,
        upstream: Upstream,
        ledger: Ledger,
        new_id: Callable[[], str],
        orchestrations: Mapping[str | None, Orchestration],
        parts: Ledger,
        around: Around,
        files: Files,
    ) -> None:
        """`orchestrations`: of the routes that ask more than once. `parts`: where their single calls are settled."""
        self.catalog = catalog
        self.admission = admission
        self.routing = routing
        self.upstream = upstream
        self.ledger = ledger
        self._new_id = new_id
        self.orchestrations = orchestrations
        self.around = around
        self._parts = parts
        self._files = files
        self.tracer: Tracer | None = None
        """None: no request is traced."""
        self.stores_of_route: Callable[[str | None], bool] | None = None
        """Whether what is asked of a route is to be kept, whoever asks; None: of no route."""
        self.address_of: Callable[[str, Mapping[bytes, bytes]], str] | None = None
        """The caller's address for the record, from the socket's and the header; None: the socket's is the caller's."""
        self.max_stored_bytes = 0
        """Of a request or an answer that is to be kept; 0: nothing is."""

    async def infer(self, request: HttpRequest, client: Responder) -> None:
        """Carry one inference request from the client's bytes to the client's bytes."""
        endpoint = request.endpoint.name
        call_id = self._new_id() if request.has_caller_id else request.request_id
        outcome = Outcome(endpoint, request.caller, request.request_id, call_id, time.monotonic())
        address_of = self.address_of
        outcome.peer = request.peer if address_of is None else address_of(request.peer, request.headers)
        outcome.fields = f"x-request-id: {request.request_id}\r\nx-litellm-call-id: {call_id}\r\n".encode("ascii")
        speaks = request.endpoint.speaks
        if speaks == "anthropic":
            outcome.fields += b"request-id: %b\r\n" % request.request_id.encode("ascii")
        reservation: Reservation | None = None
        visit: Visit | None = None
        is_checked = False
        try:
            if self.ledger.journal.is_full:
                raise StorageUnavailable("the journal can't be written; no request is taken that can't be recorded")
            call = outcome.call = PARSERS[endpoint](request)  # parse
            read_headers(call, request.headers)
            request.body = b""  # a long one need not lie here twice for as long as its answer takes
            if self.tracer is not None:
                outcome.trace = self.tracer.begin(request.headers, call_id, outcome.started_s)
            if request.caller.tags:
                call.metadata_tags = tuple(dict.fromkeys((*request.caller.tags, *call.metadata_tags)))
            candidates = self.catalog.candidates(call, request.caller)
            if call.files:
                await self._files.narrow(call, candidates, request.caller)
                if client.is_gone:
                    outcome.ended = "client_gone"
                    return
            if request.caller.stores_prompts or self.stores_of_route is not None:
                client = self._kept(call, candidates, client, outcome)
            if self.around.is_any or call.wishes is not None or request.caller.guardrails:
                visit = self.around.visit(call, candidates, request.caller, request.headers, client, outcome)
            if candidates.route in self.orchestrations and endpoint in IN_STEPS:
                if visit is None:
                    await self._ask_in_steps(call, candidates, client, outcome)
                    return
                await visit.check()
                is_checked = True
                if not await visit.is_known():
                    await self._ask_in_steps(call, candidates, visit.far, outcome)
                    await visit.finish()
                    return
            while (reservation := self.admission.admit(request.caller, call, candidates)) is None:  # admit
                await self.learn(outcome)
                if client.is_gone:
                    outcome.ended = "client_gone"
                    return
            if reservation.budgets and self.ledger.journal.is_failing:
                raise StorageUnavailable("the journal can't be written now, and this key's spend has to be on record")
            outcome.fields += reservation.fields
            far = client
            if visit is not None:
                if not is_checked:
                    await visit.check()
                if await visit.is_known():
                    visit.give_known()
                    await visit.finish()
                    return
                far = visit.far
            decision = self.routing.decide(call, candidates)  # route
            if decision is None:
                decision = await self._decide_slowly(call, candidates, outcome)
                if client.is_gone:
                    outcome.ended = "client_gone"
                    return
            outcome.decision = decision
            outcome.fields += decision.fields
            await self.upstream.relay(call, decision, far, outcome)  # call the provider, stream back
            if visit is not None:
                await visit.finish()
        except GatewayError as error:
            self.refuse(client, outcome, error, speaks)
        except Exception:
            log.exception("request %s failed", outcome.request_id)
            failure = InternalError("internal error; the log has it under this request id")
            self.refuse(client, outcome, failure, speaks)
        finally:
            if reservation is not None:
                ended_at_ms = outcome.ended_at_ms = int(time.time() * 1000)
                usage, deployment = outcome.usage, outcome.deployment
                tokens = 0
                if usage is not None:
                    tokens = usage.prompt_tokens + usage.completion_tokens
                    if deployment is not None and reservation.budgets:
                        note_output(deployment, usage.completion_tokens)
                self.admission.settle(
                    reservation, tokens, outcome.cost_nusd, deployment=deployment, ended_at_ms=ended_at_ms
                )
            self.ledger.settle(outcome, client.release)  # record
            if visit is not None:
                visit.close()

    def _kept(self, call: Call, candidates: Candidates, client: Responder, outcome: Outcome) -> Responder:
        """The client's side of a call that is written down, where somebody asked for it."""
        of_route = self.stores_of_route
        if self.max_stored_bytes and (outcome.caller.stores_prompts or (of_route and of_route(candidates.route))):
            client = outcome.texts = KeptTexts(call, client, self.max_stored_bytes)
        return client

    async def _ask_in_steps(self, call: Call, candidates: Candidates, client: Responder, outcome: Outcome) -> None:
        """The same line for a route that asks more than once: each of its calls is admitted, sent and recorded."""
        decision = self.routing.decide(call, candidates)
        if decision is None:
            decision = await self._decide_slowly(call, candidates, outcome)
        outcome.decision = decision
        outcome.fields += decision.fields
        steps = Steps(self.admission, self._decide, self.upstream, self._parts, call, decision, client, outcome)
        try:
            await self.orchestrations[candidates.route].answer(steps)
        except ClientLeft:
            pass
        finally:
            steps.close()

    async def learn(self, outcome: Outcome) -> None:
        """Wait for what has to be known of somebody's limits; the wait is the request's."""
        from_s = time.monotonic()
        await self.admission.learn()
        outcome.waited_s += time.monotonic() - from_s

    async def _decide_slowly(self, call: Call, candidates: Candidates, outcome: Outcome) -> Decision:
        """The same for a decision whose features take their time."""
        from_s = time.monotonic()
        decision = await self.routing.decide_slowly(call, candidates)
        outcome.waited_s += time.monotonic() - from_s
        return decision

    async def _decide(self, call: Call, candidates: Candidates) -> Decision:
        decision = self.routing.decide(call, candidates)
        return await self.routing.decide_slowly(call, candidates) if decision is None else decision

    def refuse(self, client: Responder, outcome: Outcome, error: GatewayError, speaks: str) -> None:
        """Answer with an error; nothing has gone to the client yet."""
        outcome.status = error.status
        outcome.error = error.code
        if outcome.attempts:
            outcome.ended = "upstream_failed"
        if isinstance(error, GuardrailBlocked | GuardrailUnavailable):
            outcome.ended = "refused"
        if error.status >= 500:
            log.warning("request %s: %s %s: %s", outcome.request_id, error.status, error.code, error.message)
        fields = outcome.fields + field_lines(error_headers(error))
        if isinstance(error, RateLimited | BudgetExceeded):
            fields += error.fields
        if outcome.attempts:
            fields += b"x-litellm-attempted-retries: %d\r\nx-litellm-attempted-fallbacks: %d\r\n" % (
                max(0, outcome.attempts - 1 - outcome.fallbacks),
                outcome.fallbacks,
            )
        body = error_body(error, speaks, outcome.request_id)
        client.hold_response(error.status, fields, body, close=error.close)
