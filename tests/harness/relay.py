"""One attempt without sockets: an upstream's bytes in, packet by packet, and what its client gets of them out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from routewright.errors import GatewayError, error_body
from routewright.settings import UpstreamSettings
from routewright.types import Call, Deployment, Outcome, Usage
from routewright.upstream.attempt import Attempt
from values import ANYBODY


class _Connection:
    """The upstream's side, as far as an attempt uses it."""

    sink: Any = None
    request = b""
    is_abandoned = False

    def send(self, request: bytes, sink: Any) -> None:
        self.request, self.sink = request, sink

    def detach(self) -> None:
        pass

    def abandon(self) -> None:
        self.is_abandoned = True
        self.sink = None


class Relayed:
    """What came of one attempt; also the client's side of it."""

    is_gone = False
    on_gone: Any = None
    on_pause: Any = None

    def __init__(
        self,
        call: Call,
        deployment: Deployment,
        packets: Iterable[bytes],
        *,
        status: int = 200,
        headers: Mapping[bytes, bytes] | None = None,
        breaks_off: bool = False,
    ) -> None:
        self.status = 0
        self.fields = b""
        self.sent = b""
        self.held = b""
        self.outcome = Outcome(call.endpoint, ANYBODY, "request-1", "call-1", 0.0)
        self.outcome.call = call
        self.outcome.deployment = deployment
        self.outcome.attempts = 1
        exchange = deployment.exchanges[call.endpoint]
        connection = _Connection()
        attempt = Attempt(call, deployment, exchange, self, self.outcome, UpstreamSettings(), 0.0)
        attempt.start(connection, exchange.request_bytes(call, deployment))
        self.request = connection.request
        kind = exchange.stream_type if call.is_stream else b"application/json"
        attempt.on_head(status, dict(headers or {b"content-type": kind}))
        packets = list(packets)
        for place, packet in enumerate(packets):
            if connection.sink is attempt:
                attempt.on_data(packet, place == len(packets) - 1 and not breaks_off)
        if breaks_off and connection.sink is attempt and not attempt.done.is_set:
            from routewright.errors import UpstreamError

            attempt.on_failure(UpstreamError("the upstream closed the connection early"), False)
        self.error: GatewayError | None = attempt.done._value if attempt.done.is_set else None
        self.is_over = attempt.done.is_set

    # --- types.Responder ---

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        self.status, self.fields, self.sent = status, fields, first

    def write(self, data: bytes) -> None:
        self.sent += data

    def hold(self, last: bytes, *, close: bool = False) -> None:
        self.held = last

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        self.status, self.fields, self.held = status, fields, body

    def release(self) -> None:
        pass

    # --- what a test looks at ---

    @property
    def body(self) -> bytes:
        """All that the client got."""
        return self.sent + self.held

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def chunks(self) -> list[Any]:
        """An OpenAI stream's events, `[DONE]` taken off."""
        *events, done, end = self.body.decode().split("\n\n")
        assert (done, end) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]

    @property
    def events(self) -> list[tuple[str, Any]]:
        """An Anthropic stream's events: name and data, which must agree."""
        found = []
        *events, end = self.body.decode().split("\n\n")
        assert end == ""
        for event in events:
            name, data = event.split("\n")
            value = json.loads(data.removeprefix("data: "))
            assert name.removeprefix("event: ") == value["type"]
            found.append((value["type"], value))
        return found

    @property
    def usage(self) -> Usage:
        assert self.outcome.usage is not None
        return self.outcome.usage

    @property
    def error_body(self) -> Any:
        assert self.error is not None
        return json.loads(error_body(self.error))


def request_json(relayed_or_request: Relayed | bytes) -> dict[str, Any]:
    """The JSON that went upstream; the length in its head is checked."""
    request = relayed_or_request.request if isinstance(relayed_or_request, Relayed) else relayed_or_request
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}" in head.decode().split("\r\n")
    return json.loads(body)


def head_lines(request: bytes) -> list[str]:
    return request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
