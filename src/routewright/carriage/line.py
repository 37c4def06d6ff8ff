"""The straight line of a request that passes through: parse what has to be known, admit, send, record."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from routewright import endpoints
from routewright.admission.meters import Meters, Reservation
from routewright.carriage.form import Form
from routewright.carriage.guarded import HeldAnswer, HeldBody, checked_body, form_slots, kind_of, whole
from routewright.carriage.headers import forwarded_lines, passed_query
from routewright.carriage.onward import Gone
from routewright.carriage.passed_media import (
    FORMS,
    KINDS,
    UNKNOWN,
    asked_media,
    endpoint_of,
    makes_batch,
    measure_form,
)
from routewright.carriage.peek import Asked, PassedCall, Peek, asked_of, asks_model
from routewright.carriage.readings import PICTURES, FormReading, PassReading
from routewright.carriage.targets import Target, Targets
from routewright.catalog import may_use
from routewright.errors import (
    FrontError,
    GatewayError,
    InternalError,
    InvalidRequest,
    MissingField,
    ModelAccessDenied,
    PermissionDenied,
    StorageUnavailable,
    UnsupportedField,
)
from routewright.gateway import Gateway
from routewright.metered import MeteredCall, Units
from routewright.providers.objects import bearer_line
from routewright.server.upload import Upload
from routewright.types import Call, Candidates, Deployment, Endpoint, HttpRequest, Outcome, Responder
from routewright.upstream.carrier import Carrier
from routewright.upstream.carry import Sending
from routewright.wire.chat import read_headers
from routewright.wire.media import filled, metered
from routewright.wire.multipart import boundary_of
from routewright.wire.texts import Slots

log = logging.getLogger("routewright")

NOT_SERVED = FrontError(404, "not_found", "nothing is served at this path", close=False)


Work = Callable[[HttpRequest, Responder, Outcome, list[Reservation]], Awaitable[None]]


class Carriage:
    """Uses the stations that the gateway uses."""

    def __init__(self, gateway: Gateway, carrier: Carrier, new_id: Callable[[], str], folder: Path) -> None:
        """`folder`: for what has to lie somewhere until it is known where it goes."""
        self._gateway = gateway
        self._carrier = carrier
        self._new_id = new_id
        self._folder = folder
        self.targets: Targets | None = None
        """Where requests may pass through to; None: nowhere."""
        self.key_header: str | None = None
        """One more header that a key may stand in, and that never goes on."""

    def find_first(self, path: str, method: str) -> tuple[Endpoint, str | None]:
        """As `endpoints.find`, where the configuration has its own ideas of some paths that it knows."""
        if self.targets is not None and path in self.targets.overrides:
            return self.find(path, method, NOT_SERVED), None
        return endpoints.find(path, method)

    def find(self, path: str, method: str, error: FrontError) -> Endpoint:
        """What the table of endpoints has not, where something passes through there; else raises `error`."""
        target = self.targets.find(path) if self.targets is not None and error.status == 404 else None
        if target is None:
            raise error
        if method not in target.endpoint.methods:
            raise FrontError(405, "method_not_allowed", "this path is served with another method", close=False,
                             allow=target.endpoint.methods)  # fmt: skip
        return target.endpoint

    async def carry(self, request: HttpRequest, client: Responder) -> None:
        """Carry one request from the client's bytes to the client's bytes, holding neither body nor answer."""
        await self.run(request, client, self._form if request.endpoint.name in FORMS else self._pass)

    async def run(self, request: HttpRequest, client: Responder, work: Work) -> None:
        """Let `work` answer, tell the client of its errors, and settle and record whatever it did."""
        gateway = self._gateway
        call_id = self._new_id() if request.has_caller_id else request.request_id
        outcome = Outcome(request.endpoint.name, request.caller, request.request_id, call_id, time.monotonic())
        address_of = gateway.address_of
        outcome.peer = request.peer if address_of is None else address_of(request.peer, request.headers)
        outcome.fields = f"x-request-id: {request.request_id}\r\nx-litellm-call-id: {call_id}\r\n".encode("ascii")
        reservations: list[Reservation] = []
        try:
            if gateway.ledger.journal.is_full:
                raise StorageUnavailable("the journal can't be written; no request is taken that can't be recorded")
            await work(request, client, outcome, reservations)
        except Gone:
            outcome.ended = "client_gone"
        except GatewayError as error:
            self._refuse(request, client, outcome, error)
        except Exception:
            log.exception("request %s failed", outcome.request_id)
            failure = InternalError("internal error; the log has it under this request id")
            self._refuse(request, client, outcome, failure)
        finally:
            outcome.ended_at_ms = int(time.time() * 1000)
            usage = outcome.usage
            for reservation in reservations:
                gateway.admission.settle(
                    reservation,
                    0 if usage is None else usage.prompt_tokens + usage.completion_tokens,
                    outcome.cost_nusd,
                    deployment=outcome.deployment,
                    ended_at_ms=outcome.ended_at_ms,
                )
            gateway.ledger.settle(outcome, client.release)

    def _refuse(self, request: HttpRequest, client: Responder, outcome: Outcome, error: GatewayError) -> None:
        upload: Upload | None = request.upload
        if upload is not None and not upload.is_complete:
            error.close = True  # what is left of the body is not read
        self._gateway.refuse(client, outcome, error, request.endpoint.speaks)

    async def admit(
        self, call: Call, candidates: Candidates, client: Responder, outcome: Outcome, into: list[Reservation]
    ) -> None:
        """Raises RateLimited, BudgetExceeded, Gone."""
        admission = self._gateway.admission
        while (reservation := admission.admit(outcome.caller, call, candidates)) is None:
            await self._gateway.learn(outcome)
            if client.is_gone:
                raise Gone
        into.append(reservation)
        if reservation.budgets and self._gateway.ledger.journal.is_failing:
            raise StorageUnavailable("the journal can't be written now, and this key's spend has to be on record")
        outcome.fields += reservation.fields

    # --- whatever passes through ----------------------------------------------------------------------------------

    async def _pass(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        targets = self.targets
        target = targets.find(request.path) if targets is not None else None
        if targets is None or target is None:
            raise NOT_SERVED
        models = request.caller.models
        if target.right and models is not None and not may_use(models, target.right):
            raise ModelAccessDenied(f'this key may not use "{target.right}", which passing through takes')
        path = target.path_for(request.path)
        upload: Upload | None = request.upload
        body: Peek | Upload | HeldBody | None = upload
        asked: Asked | None = None
        media: MeteredCall | None = None
        endpoint = endpoint_of(path) if request.method == "POST" else ""
        is_looked_at = request.method == "POST" and (endpoint or asks_model(path) or _is_json(request))
        if target.right and upload is not None and is_looked_at:
            peek = body = Peek(upload, self._folder)
            await peek.begin(client)
            data = peek.take()
            if endpoint:
                kind = request.headers.get(b"content-type", b"")
                media = asked_media(endpoint, path, data, kind, is_whole=peek.is_whole, length=upload.length)
            else:
                asked = asked_of(path, data, is_whole=peek.is_whole, length=upload.length)
        call = outcome.call = passed_call(target, targets, asked, media)
        named = media.model if media is not None else asked.model if asked is not None else None
        meters: Meters | None = request.caller.limits
        if (asked or media) is not None and meters is not None and meters.by_model:
            own = targets.names_of(target.deployment.provider, None if named == UNKNOWN else named)
            if not own.isdisjoint(meters.by_model):
                raise PermissionDenied(
                    "this key has limits or a budget of its own for this model, which are kept at the gateway's own "
                    "endpoints alone"
                )
        read_headers(call, request.headers)
        candidates = Candidates((target.group,))
        visit = self._gateway.around.guards(
            call, candidates, request.caller, client, outcome, target.guardrails,
            with_defaults=bool(target.right or target.request_texts),
        )  # fmt: skip
        await self.admit(call, candidates, client, outcome, reservations)
        is_capped = bool(target.deployment.budgets) or any(each.budgets for each in reservations)
        if is_capped and target.right and request.method == "POST" and makes_batch(path):
            raise PermissionDenied(
                "what is made here is paid for later, by answers that nobody counts: who has a budget makes batches at "
                "/v1/batches"
            )
        framing = b""
        if visit is not None:
            held = await whole(body, client) if isinstance(body, Peek | Upload) else b""
            if held is None:
                raise Gone
            if held:
                kind = request.headers.get(b"content-type", b"")
                held = await checked_body(visit, held, kind, target.request_texts, target.prefix)
            else:
                await visit.check(Slots(), is_empty=True)
            if upload is not None:
                body, framing = HeldBody(held), b"content-length: %d\r\n" % len(held)
        if upload is not None and not framing:
            length = upload.length
            framing = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
        elif not framing and request.method != "GET":
            framing = b"content-length: 0\r\n"
        query = passed_query(request.query)
        head = b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (
            request.method.encode("ascii"),
            (f"{path}?{query}" if query else path).encode("ascii"),
            target.lines,
            forwarded_lines(
                request.headers,
                are_all=target.forwards_all,
                key_header=self.key_header,
                whose=request.caller.key_hash,
                without=target.names,
            ),
            framing,
        )
        provider, price_of = target.deployment.provider, targets.price_of

        def prepare(deployment: Deployment) -> Sending:
            used = None
            if media is not None and upload is not None:
                used = FormReading(media, deployment, outcome, lambda: upload.received, KINDS[endpoint])
            reading = PassReading(deployment, lambda model: price_of(provider, model), call.priced_by, asked, used)
            reading.tells_usage = request.method == "POST"
            is_chunked = upload is not None and upload.length is None and not isinstance(body, HeldBody)
            return Sending(head, body, is_chunked, reading)

        if visit is None or not visit.looks_at_answers:
            await self._carrier.carry(call, [target.group], prepare, client, outcome)
            return
        answer = HeldAnswer(client, outcome)
        await self._carrier.carry(call, [target.group], prepare, answer, outcome)
        await answer.finish(visit, kind_of(path), target.answer_texts)

    # --- forms ----------------------------------------------------------------------------------------------------

    async def _form(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        endpoint = request.endpoint.name
        boundary = boundary_of(request.headers.get(b"content-type", b""))
        if request.upload is None:
            raise InvalidRequest("the form is empty")
        around, caller = self._gateway.around, request.caller
        waits = bool(caller.guardrails) or (around.rails is not None and bool(around.rails.chosen(())))
        form = Form(request.upload, boundary, self._folder, waits_for_all=waits)
        try:
            await form.begin(client)
            call = outcome.call = form_call(endpoint, form, request)
            read_headers(call, request.headers)
            candidates = self._gateway.catalog.candidates(call, request.caller)
            visit = around.guards(call, candidates, caller, client, outcome)
            await self.admit(call, candidates, client, outcome, reservations)
            if visit is not None:
                await visit.check(form_slots(form.fields))

            def prepare(deployment: Deployment) -> Sending:
                head = deployment.request_heads.get(endpoint)
                if head is None:
                    raise UnsupportedField(f"the provider of this model serves no {endpoint}", param="model")
                form.is_for(deployment.upstream_model, deployment.default_params)
                reading = FormReading(call, deployment, outcome, lambda: form.file_bytes, KINDS[endpoint])
                head += bearer_line(deployment)
                return Sending(
                    b"%b%btransfer-encoding: chunked\r\n\r\n" % (head, form.content_type), form, True, reading
                )

            groups = [*candidates.groups, *candidates.fallbacks]
            if visit is None or not visit.looks_at_answers or KINDS[endpoint] == PICTURES:
                await self._carrier.carry(call, groups, prepare, client, outcome)
                return
            answer = HeldAnswer(client, outcome)
            await self._carrier.carry(call, groups, prepare, answer, outcome)
            await answer.finish(visit, "transcript")
        finally:
            form.close()


def _is_json(request: HttpRequest) -> bool:
    kind = request.headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
    return kind == b"application/json"


def passed_call(target: Target, targets: Targets, asked: Asked | None, media: MeteredCall | None) -> PassedCall:
    """What is reserved for a request that passes through: its own price, or that of the model that it names."""
    call = filled(PassedCall, "pass_through", {"model": target.deployment.model_name}, None)
    call.units = Units(requests=1)
    call.prompt_tokens_estimate = call.max_tokens = 0
    call.priced_by = None
    call.is_media = media is not None
    provider = target.deployment.provider
    if media is not None:
        call.units, call.n_choices = media.units, media.n_choices
        call.prompt_tokens_estimate, call.max_tokens = media.prompt_tokens_estimate, media.max_tokens
        known = media.model != UNKNOWN
        call.priced_by = targets.price_of(provider, media.model) if known else targets.dearest_for(provider, media)
    if asked is not None:
        call.prompt_tokens_estimate, call.max_tokens, call.n_choices = (
            asked.prompt_tokens, asked.output_tokens, asked.n_choices,
        )  # fmt: skip
        known = asked.model is not None
        call.priced_by = targets.price_of(provider, asked.model or "") if known else targets.dearest_of(provider)
    return call


def form_call(endpoint: str, form: Form, request: HttpRequest) -> MeteredCall:
    """What the fields of a form ask for, as far as they have come. Raises InvalidRequest and its kin."""
    body: dict[str, Any] = {}
    for name, read in _READ.items():
        given = form.fields.get(name)
        if given:
            body[name] = read(given[0], name)
    tags = [*form.fields.get("tags", ()), *form.fields.get("tags[]", ())]
    if tags:
        body["tags"] = tags
    guardrails = [*form.fields.get("guardrails", ()), *form.fields.get("guardrails[]", ())]
    if guardrails:
        body["guardrails"] = [name.strip() for given in guardrails for name in given.split(",") if name.strip()]
    if form.model is None:
        raise MissingField("model is required", param="model")
    if not form.files:
        raise MissingField("a file is required", param="image" if KINDS[endpoint] == PICTURES else "file")
    call = metered(endpoint, body, request.model_in_path)
    measure_form(call, endpoint, form.field("size"), form.field("quality"), request.upload.length)
    return call


def _boolean(text: str, name: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InvalidRequest(f"{name} must be true or false", param=name)
    return text.lower() == "true"


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(f"{name} must be a number", param=name) from None


def _whole(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InvalidRequest(f"{name} must be a whole number", param=name)
    return int(text)


_READ: Mapping[str, Callable[[str, str], Any]] = {
    "model": lambda text, name: text,
    "user": lambda text, name: text,
    "stream": _boolean,
    "n": _whole,
    "timeout": _number,
    "num_retries": _whole,
    "disable_fallbacks": _boolean,
}
"""Fields of a form that the gateway acts on."""
