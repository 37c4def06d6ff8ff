"""The straight line of a request that passes through: parse what has to be known, admit, send, record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from routewright.admission.meters import Reservation
from routewright.carriage.form import Form
from routewright.carriage.readings import FormReading
from routewright.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    MissingField,
    StorageUnavailable,
    UnsupportedField,
)
from routewright.gateway import Gateway
from routewright.metered import MeteredCall, Units
from routewright.server.upload import Upload
from routewright.types import Call, Candidates, Deployment, HttpRequest, Outcome, Responder
from routewright.upstream.carrier import Carrier
from routewright.upstream.carry import Sending
from routewright.wire.chat import read_headers
from routewright.wire.media import IMAGE_TOKENS, MOST_IMAGE_TOKENS, image_units, metered
from routewright.wire.multipart import boundary_of

log = logging.getLogger("routewright")

PICTURES = frozenset({"image_edits", "image_variations"})
FORMS = PICTURES | {"transcriptions", "translations"}
"""Endpoints whose body is a form with a file."""
SECONDS_PER_BYTE = 1 / 4_000
"""Of sound of 32 kbit/s: what a file is taken to be at most before its length is known."""


class Gone(Exception):
    """The client has left."""


class Carriage:
    """Uses the stations that the gateway uses."""

    def __init__(self, gateway: Gateway, carrier: Carrier, new_id: Callable[[], str], folder: Path) -> None:
        """`folder`: for what has to lie somewhere until it is known where it goes."""
        self._gateway = gateway
        self._carrier = carrier
        self._new_id = new_id
        self._folder = folder

    async def carry(self, request: HttpRequest, client: Responder) -> None:
        """Carry one request from the client's bytes to the client's bytes, holding neither body nor answer."""
        gateway = self._gateway
        call_id = self._new_id() if request.has_caller_id else request.request_id
        outcome = Outcome(request.endpoint.name, request.caller, request.request_id, call_id, time.monotonic())
        outcome.fields = f"x-request-id: {request.request_id}\r\nx-litellm-call-id: {call_id}\r\n".encode("ascii")
        reservations: list[Reservation] = []
        try:
            if gateway.ledger.journal.is_full:
                raise StorageUnavailable("the journal can't be written; no request is taken that can't be recorded")
            await self._form(request, client, outcome, reservations)
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

    async def _admit(
        self, call: Call, candidates: Candidates, client: Responder, outcome: Outcome, into: list[Reservation]
    ) -> None:
        """Raises RateLimited, BudgetExceeded, Gone."""
        admission = self._gateway.admission
        while (reservation := admission.admit(outcome.caller, call, candidates)) is None:
            await admission.learn()
            if client.is_gone:
                raise Gone
        into.append(reservation)
        if reservation.budgets and self._gateway.ledger.journal.is_failing:
            raise StorageUnavailable("the journal can't be written now, and this key's spend has to be on record")
        outcome.fields += reservation.fields

    # --- forms ----------------------------------------------------------------------------------------------------

    async def _form(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        endpoint = request.endpoint.name
        boundary = boundary_of(request.headers.get(b"content-type", b""))
        if request.upload is None:
            raise InvalidRequest("the form is empty")
        form = Form(request.upload, boundary, self._folder)
        try:
            client.on_gone = lambda: form.ready.set(None)
            form.start()
            await form.ready
            if client.is_gone:
                raise Gone
            client.on_gone = None
            if form.error is not None:
                raise form.error
            call = outcome.call = form_call(endpoint, form, request)
            read_headers(call, request.headers)
            candidates = self._gateway.catalog.candidates(call, request.caller)
            await self._admit(call, candidates, client, outcome, reservations)
            content_type = b"content-type: multipart/form-data; boundary=%b\r\n" % _quoted(boundary)

            def prepare(deployment: Deployment) -> Sending:
                head = deployment.request_heads.get(endpoint)
                if head is None:
                    raise UnsupportedField(f"the provider of this model serves no {endpoint}", param="model")
                form.is_for(deployment.upstream_model, deployment.default_params)
                kind = "pictures" if endpoint in PICTURES else "transcript"
                reading = FormReading(call, deployment, outcome, lambda: form.file_bytes, kind)
                return Sending(b"%b%btransfer-encoding: chunked\r\n\r\n" % (head, content_type), form, True, reading)

            groups = [*candidates.groups, *candidates.fallbacks]
            await self._carrier.carry(call, groups, prepare, client, outcome)
        finally:
            form.close()


def _quoted(boundary: bytes) -> bytes:
    return b'"%b"' % boundary if set(boundary) & set(b"()<>@,;:/[]?= ") else boundary


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
    if form.model is None:
        raise MissingField("model is required", param="model")
    if not form.files:
        raise MissingField("a file is required", param="image" if endpoint in PICTURES else "file")
    call = metered(endpoint, body, request.model_in_path)
    length = request.upload.length
    if endpoint in PICTURES:
        size, quality = (form.fields.get(name, [None])[0] for name in ("size", "quality"))
        call.units = image_units(size, quality, call.n_choices)
        call.max_tokens = IMAGE_TOKENS.get(str(quality), MOST_IMAGE_TOKENS)
        call.prompt_tokens_estimate = 1000
    else:
        call.units = Units(seconds=(length or 0) * SECONDS_PER_BYTE)
        call.max_tokens = 0
        call.prompt_tokens_estimate = int((length or 0) * SECONDS_PER_BYTE * 10)
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
