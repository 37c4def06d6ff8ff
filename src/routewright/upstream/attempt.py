"""One try at one deployment: the request goes out, and what comes back goes on to the client by callback.

No task, queue or generator stands between the two sockets. Before the first byte has gone to the client a failure is
handed back and somebody else may be asked; after it the stream ends with an error event.
"""

from __future__ import annotations

import time

from routewright.dialect import Exchange, Stream
from routewright.errors import GatewayError, UpstreamBadResponse, UpstreamError, UpstreamTimeout
from routewright.flow import Signal
from routewright.metered import MeteredCall
from routewright.providers.head import is_sound, provider_fields, sound_fields
from routewright.providers.media import unanswered
from routewright.providers.mock import Mocked
from routewright.settings import UpstreamSettings
from routewright.types import Call, Deployment, Outcome, Responder, Usage
from routewright.upstream.connection import UpstreamConnection
from routewright.upstream.passage import ENDED, MAX_ERROR_BODY_BYTES, Passage

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Of one event of a stream: an image in base64 fits."""
JSON_FIELDS = b"content-type: application/json\r\n"
STREAM_FIELDS = b"content-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"

_PACE_WEIGHT = 0.1
"""Of the newest answer in the moving average of a deployment's pace."""

_WAITING, _ANSWER, _EVENTS, _FRAMES, _ERROR, _BYTES = range(1, 7)


class Attempt(Passage):
    """The reader of one answer."""

    __slots__ = ("_body", "_body_bytes", "_call", "_deployment", "_exchange", "_first_byte_limit_s", "_headers",
                 "_idle_limit_s", "_pending", "_pinged_s", "_started_s", "_stream")  # fmt: skip

    def __init__(
        self,
        call: Call,
        deployment: Deployment,
        exchange: Exchange,
        client: Responder,
        outcome: Outcome,
        settings: UpstreamSettings,
        now: float,
    ) -> None:
        self._call = call
        self._deployment = deployment
        self._exchange = exchange
        self._client = client
        self._outcome = outcome
        self._settings = settings
        self._state = _WAITING
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._pending = b""
        self._stream: Stream | None = None
        self.has_begun = False
        self.is_stale = False
        self.done: Signal[GatewayError | None] = Signal()

        asked = call.timeout_s if call.timeout_s is not None else deployment.timeout_s
        first_byte = asked if asked is not None else settings.first_byte_timeout_s
        if call.is_stream:
            if call.stream_timeout_s is not None:
                first_byte = call.stream_timeout_s
            elif deployment.stream_timeout_s is not None:
                first_byte = deployment.stream_timeout_s
        total = asked if asked is not None else settings.total_timeout_s
        self._idle_limit_s = settings.idle_timeout_s
        self._total_until_s = now + total
        self._started_s = now
        self._last_byte_s = self._pinged_s = now
        self._paused_s = self._held_up_s = 0.0
        self.deadline = now + min(first_byte, total)

    def start(self, connection: UpstreamConnection, request: bytes) -> None:
        self._connection = connection
        client = self._client
        client.on_gone = self._client_left
        client.on_pause = self._client_paused
        connection.send(request, self)

    def answer_alone(self) -> None:
        """Answer without asking the upstream, where its dialect has nothing to ask."""
        self._last_byte_s = time.monotonic()
        exchange = self._exchange
        if self._call.is_stream and isinstance(exchange, Mocked):
            self._stream = exchange.open_stream(self._call, self._deployment)
            self._relay_events(exchange.events(self._call), True)
        else:
            self._finish_answer(b"")

    # --- what the connection calls --------------------------------------------------------------------------------

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._status = status
        self._headers = headers
        health = self._deployment.health
        self._last_byte_s = health.told_s = time.monotonic()
        health.told = headers
        if status != 200:
            self._state = _ERROR
        elif not self._call.is_stream:
            self._state = _ANSWER
        elif headers.get(b"content-type", b"").lower().startswith(self._exchange.stream_type):
            self._state = _EVENTS if self._exchange.unframe is None else _FRAMES
            if not self._exchange.stream_type:
                self._state = _BYTES
                if not is_sound(headers):
                    self._fail(UpstreamBadResponse("the upstream did not answer with sound"))
                    return
            self._stream = self._exchange.open_stream(self._call, self._deployment)
        else:
            self._fail(UpstreamBadResponse("the upstream did not answer with an event stream"))
            return
        self.deadline = min(self._last_byte_s + self._idle_limit_s, self._total_until_s)

    def on_data(self, data: bytes, is_last: bool) -> None:
        state = self._state
        if state == _EVENTS:
            self._relay_events(data, is_last)
        elif state == _ANSWER:
            if is_last and not self._body:
                self._finish_answer(data)
                return
            self._keep(data, self._settings.max_response_bytes)
            if is_last and self._state == _ANSWER:
                self._finish_answer(b"".join(self._body))
        elif state == _FRAMES:
            self._unframe(data, is_last)
        elif state == _BYTES:
            self._relay_bytes(data, is_last)
        elif state == _ERROR:
            if self._body_bytes < MAX_ERROR_BODY_BYTES:
                self._body.append(data)
                self._body_bytes += len(data)
            if is_last or self._body_bytes >= MAX_ERROR_BODY_BYTES:
                body = b"".join(self._body)
                self._fail(self._exchange.error_of(self._status, self._headers, body, self._deployment, time.time()))

    def on_failure(self, error: GatewayError, is_stale: bool) -> None:
        self.is_stale = is_stale
        if self._state == _ERROR:
            error = self._exchange.error_of(self._status, self._headers, b"", self._deployment, time.time())
        self._fail(error)

    # --- an answer in one piece -----------------------------------------------------------------------------------

    def _keep(self, data: bytes, limit: int) -> None:
        self._last_byte_s = time.monotonic()
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > limit:
            self._fail(UpstreamBadResponse("the upstream's answer is too large"))

    def _finish_answer(self, body: bytes) -> None:
        outcome = self._outcome
        try:
            answer, usage = self._exchange.read_answer(body, self._call, self._deployment)
        except GatewayError as error:
            self._fail(error)
            return
        outcome.first_byte_s = self._last_byte_s
        outcome.bill(usage)
        self._pace(usage)
        outcome.status = 200
        outcome.ended = "complete"
        deployment = self._deployment
        if deployment.is_priced or outcome.is_priced:
            cost = b"x-litellm-response-cost: %.9f\r\n" % (outcome.cost_nusd / 1e9)
            fields = JSON_FIELDS + self._fields() + cost
        else:
            fields = JSON_FIELDS + self._fields()
        self._client.hold_response(200, fields, answer)
        self._end(None)

    def _fields(self) -> bytes:
        outcome = self._outcome
        decision = outcome.decision
        routed = self._deployment.routed_field if decision is not None and decision.route is not None else b""
        retries = outcome.attempts - 1 - outcome.fallbacks
        return b"%b%b%b%bx-litellm-attempted-retries: %d\r\nx-litellm-attempted-fallbacks: %d\r\n" % (
            outcome.fields,
            self._deployment.reply_fields,
            routed,
            provider_fields(self._headers, self._deployment),
            retries if retries > 0 else 0,  # a candidate whose dialect can't say the request was not tried
            outcome.fallbacks,
        )

    # --- an answer in events --------------------------------------------------------------------------------------

    def _relay_events(self, data: bytes, is_last: bool) -> None:
        stream = self._stream
        assert stream is not None
        self._last_byte_s = time.monotonic()
        if self._pending:
            data = self._pending + data
            self._pending = b""
        if b"\r" in data:
            if data.endswith(b"\r") and not is_last:
                self._pending = data
                return
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not data.endswith(b"\n\n"):
            if is_last and data:
                data += b"\n\n"  # an event that ends with the stream
            else:
                cut = data.rfind(b"\n\n") + 2
                self._pending = data if cut < 2 else data[cut:]
                data = b"" if cut < 2 else data[:cut]
                if len(self._pending) > MAX_EVENT_BYTES:
                    self._fail(UpstreamBadResponse("the upstream sent an event that is too large"))
                    return
        try:
            out = stream.feed(data) if data else b""
        except GatewayError as error:
            self._fail(error)
            return
        if stream.is_done:
            self._finish_stream(out, is_last)
        elif is_last:
            if stream.finish_seen:
                stream.finish()
                self._finish_stream(out, is_last)
            else:
                if out:
                    self._send(out)
                self._fail(UpstreamError("the upstream's stream ended before its answer did"))
        elif out:
            self._send(out)

    def _unframe(self, data: bytes, is_last: bool) -> None:
        """Frames of another kind are read as the events that they carry."""
        unframe = self._exchange.unframe
        assert unframe is not None
        try:
            events, rest = unframe(self._pending + data)
        except GatewayError as error:
            self._fail(error)
            return
        if len(rest) > MAX_EVENT_BYTES:
            self._fail(UpstreamBadResponse("the upstream sent an event that is too large"))
            return
        self._pending = b""
        self._relay_events(events, is_last)
        self._pending = rest

    def _send(self, out: bytes) -> None:
        if self.has_begun:
            self._client.write(out)
        else:
            self.has_begun = True
            self._outcome.first_byte_s = self._last_byte_s
            self._outcome.status = 200
            self.deadline = min(self.deadline, self._last_byte_s + self._settings.ping_interval_s)
            kind = STREAM_FIELDS if self._state != _BYTES else sound_fields(self._headers)
            self._client.begin(200, kind + self._fields(), out)

    def _relay_bytes(self, data: bytes, is_last: bool) -> None:
        """What has no events in it goes on as it comes."""
        stream = self._stream
        assert stream is not None
        self._last_byte_s = time.monotonic()
        out = stream.feed(data)
        if is_last:
            stream.finish()
            self._finish_stream(out, is_last)
        elif out:
            self._send(out)

    def _finish_stream(self, out: bytes, is_last: bool) -> None:
        stream = self._stream
        assert stream is not None
        if not self.has_begun and not out and not stream.finish_seen:
            self._fail(UpstreamBadResponse("the upstream's stream held no answer"))
            return
        outcome = self._outcome
        usage = stream.counted_usage(self._call)
        outcome.bill(usage)
        self._pace(usage)
        outcome.ended = "complete"
        if not self.has_begun:
            self._send(b"")
        self._client.hold(out + stream.last)
        if not is_last:
            self._connection.detach()
        self._end(None)

    def _pace(self, usage: Usage) -> None:
        """What a route that minds time knows of this deployment: seconds by output token, the first byte's included."""
        tokens = usage.completion_tokens
        if tokens > 0:
            health = self._deployment.health
            pace_s = (self._last_byte_s - self._started_s) / tokens
            health.pace_s = pace_s if not health.pace_s else health.pace_s + _PACE_WEIGHT * (pace_s - health.pace_s)

    # --- ends -----------------------------------------------------------------------------------------------------

    def _break_off(self, error: GatewayError) -> None:
        stream, outcome = self._stream, self._outcome
        assert stream is not None
        outcome.bill(stream.counted_usage(self._call))
        if self._state != _BYTES:  # bytes alone can't say that they are not all: their stream has no end then
            self._client.hold(stream.failure(error, outcome.request_id), close=True)

    def _bill_part(self) -> None:
        stream, call = self._stream, self._call
        if isinstance(call, MeteredCall) and (stream is None or not stream.finish_seen):
            self._outcome.bill(unanswered(call))
        elif stream is not None:
            self._outcome.bill(stream.counted_usage(call))
        else:
            self._outcome.bill(Usage(self._call.prompt_tokens_estimate, 0, is_estimated=True))

    def on_deadline(self, now: float) -> None:
        """First byte, idle and total limits; and the comment that keeps a quiet stream open."""
        if self._state == ENDED or self._is_clients_time(now):
            return
        if self._state == _WAITING or now >= self._total_until_s or now - self._last_byte_s >= self._idle_limit_s:
            self._fail(UpstreamTimeout("the upstream did not answer in time"))
            return
        self.deadline = min(self._last_byte_s + self._idle_limit_s, self._total_until_s)
        if self._stream is not None and self.has_begun:
            ping_s = self._settings.ping_interval_s
            if now - max(self._last_byte_s, self._pinged_s) >= ping_s:
                self._pinged_s = now
                self._client.write(self._call.client.ping)
            self.deadline = min(self.deadline, max(self._last_byte_s, self._pinged_s) + ping_s)
