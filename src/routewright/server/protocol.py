"""One client connection: bytes to requests, one at a time and in order, and responses back to bytes.

The connection is the `Responder` of the request it is serving. While that one is answered, what the client has sent
behind it waits unparsed, so a pipelined request never runs before its turn, or at all after a refusal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, cast

from routewright.chunked import ChunkedReader, ChunkError
from routewright.errors import (
    FrontError,
    GatewayError,
    InternalError,
    Overloaded,
    ShuttingDown,
    error_body,
    error_headers,
)
from routewright.flow import Flow
from routewright.server.head import (
    MAX_EMPTY_LINES,
    NO_HEAD,
    Head,
    HeadProbe,
    caller_request_id,
    check_media,
    check_upload,
)
from routewright.server.lines import field_lines, status_line
from routewright.server.upload import CHECK_S, Upload
from routewright.types import HttpRequest

if TYPE_CHECKING:
    from routewright.server.front import Worker

log = logging.getLogger("routewright")

LINGER_S = 1.0
LINGER_BYTES = 64 * 1024
SLOW_BODY_GRACE_S = 5.0
WRITE_HIGH_WATER = 64 * 1024
LEAVE_IDLE_S = 3.0

_NO_REQUEST = HttpRequest()
_NO_REQUEST.request_id = ""


class _State(Enum):
    HEAD = auto()
    ADMIT = auto()
    BODY = auto()
    UPLOAD = auto()
    """Served already, while its body is still coming."""
    BUSY = auto()
    LINGER = auto()
    CLOSED = auto()


_HEAD, _ADMIT, _BODY, _UPLOAD, _BUSY, _LINGER, _CLOSED = _State
"""By names of the module: looked up once, where a request asks a dozen times."""


class HttpConnection(asyncio.Protocol):
    """See the module's first lines; the public part is `types.Responder`."""

    __slots__ = (
        "_backlog",
        "_body",
        "_body_bytes",
        "_body_started_s",
        "_chunked",
        "_closes",
        "_consuming",
        "_content_length",
        "_empty_lines",
        "_head",
        "_held",
        "_is_counted",
        "_is_paused",
        "_lingered",
        "_peer",
        "_probe",
        "_request",
        "_resume_reading",
        "_state",
        "_streams",
        "_transport",
        "_unsent",
        "_upload",
        "_worker",
        "deadline",
        "is_gone",
        "on_gone",
        "on_pause",
    )

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._state = _HEAD
        self._backlog = b""
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._is_counted = False
        """What has come of the body is among the worker's bytes in flight."""
        self._body_started_s = 0.0
        self._chunked: ChunkedReader | None = None
        self._closes = False
        self._consuming = False
        self._content_length = 0
        self._empty_lines = 0
        self._head = NO_HEAD
        self._held: bytes | None = None
        self._is_paused = False
        self._lingered = 0
        self._peer = ""
        self._probe: HeadProbe | None = None
        self._request = _NO_REQUEST
        self._resume_reading = False
        self._streams = False
        self._unsent = b""
        self._upload: Upload | None = None
        self.deadline = 0.0
        self.is_gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[bool], None] | None = None

    # --- what asyncio calls ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        worker = self._worker
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else "local"
        held = worker.per_address.get(self._peer, 0) + 1
        worker.per_address[self._peer] = held
        worker.connections.add(self)
        worker.deadlines.add(self)
        count = len(worker.connections)
        if (
            held > worker.limits.max_connections_per_address
            or count > worker.max_connections
            or count > worker.most_beside()
        ):
            self._state = _CLOSED
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self.deadline = worker.deadlines.now + worker.limits.head_timeout_s

    def connection_lost(self, error: Exception | None) -> None:
        worker = self._worker
        worker.connections.discard(self)
        worker.deadlines.discard(self)
        held = worker.per_address.get(self._peer, 1) - 1
        if held:
            worker.per_address[self._peer] = held
        else:
            worker.per_address.pop(self._peer, None)
        self._forget_body()
        was_busy = self._state is _BUSY or self._state is _UPLOAD
        self._state = _CLOSED
        self.is_gone = True
        if was_busy and self.on_gone is not None:
            self.on_gone()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is _BUSY or state is _ADMIT or (self._is_paused and state is _HEAD):
            self._backlog += data
            if len(self._backlog) > self._worker.limits.max_pipelined_bytes:
                self._transport.pause_reading()
                self._resume_reading = True
        elif state is _LINGER:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self._close()
        elif state is not _CLOSED:
            self._consume(data)

    def eof_received(self) -> bool:
        if self._state in (_BUSY, _ADMIT) and not self._request.endpoint.is_proxied:
            self._closes = True  # a short answer still reaches a client that has only finished sending
            return True
        if self._state is _BUSY or self._state is _UPLOAD:
            self.is_gone = True
            if self.on_gone is not None:
                self.on_gone()
        return False

    def pause_writing(self) -> None:
        self._is_paused = True
        self.deadline = self._worker.deadlines.now + self._worker.limits.write_stall_timeout_s
        if self.on_pause is not None:
            self.on_pause(True)

    def resume_writing(self) -> None:
        self._is_paused = False
        self.deadline = 0.0
        if self._state is _HEAD:
            self.deadline = self._worker.deadlines.now + self._worker.limits.idle_timeout_s
            self._go_on_reading()
        elif self._state is _LINGER:
            self.deadline = self._worker.deadlines.now + LINGER_S
        elif self._state is _UPLOAD:
            self.deadline = self._worker.deadlines.now + CHECK_S
        if self.on_pause is not None:
            self.on_pause(False)

    def on_deadline(self, now: float) -> None:
        state = self._state
        if self._is_paused:
            self._transport.abort()  # the client takes nothing; connection_lost tells who is waiting
        elif state is _HEAD:
            if self._backlog:
                self._refuse(FrontError(408, "request_timeout", "the request head did not arrive in time"))
            else:
                self._close()
        elif state is _BODY:
            self._check_body_pace(now)
        elif state is _UPLOAD and self._upload is not None:
            self.deadline = now + CHECK_S
            self._upload.check_pace()
        elif state is _LINGER:
            self._close()

    # --- requests in ----------------------------------------------------------------------------------------------

    def _consume(self, data: bytes) -> None:
        """Serve what `data` completes, until a request has to wait for its answer or more bytes are needed."""
        self._consuming = True
        try:
            while data:
                if self._state is _HEAD:
                    if self._is_paused:  # who does not take an answer is not given another one behind it
                        self._backlog += data
                        break
                    data = self._consume_head(data)
                elif self._state is _BODY:
                    data = self._consume_body(data)
                elif self._state is _UPLOAD:
                    data = self._consume_upload(data)
                elif self._state is _BUSY or self._state is _ADMIT:
                    self._backlog = data
                    break
                else:
                    break
        except GatewayError as error:
            self._refuse(error)
        except Exception:
            log.exception("a request could not be taken in")
            refusal = InternalError("internal error")
            refusal.close = True
            self._refuse(refusal)
        finally:
            self._consuming = False
        self._read_on()

    def _consume_head(self, data: bytes) -> bytes:
        if self._backlog:
            searched = max(0, len(self._backlog) - 3)
            data = self._backlog + data
            self._backlog = b""
        else:
            searched = 0
        while data.startswith(b"\r\n"):
            self._empty_lines += 1
            if self._empty_lines > MAX_EMPTY_LINES:
                raise FrontError(400, "bad_request", "more than two empty lines before the request line")
            data = data[2:]
            searched = 0
        if not data:
            return b""
        end = data.find(b"\r\n\r\n", searched)
        if end < 0:
            if not self._probe:
                self._probe = HeadProbe(self._worker.limits)
                self.deadline = self._worker.deadlines.now + self._worker.limits.head_timeout_s
            if data != b"\r":
                self._probe.look(data)
            self._backlog = data
            return b""
        end += 4
        self._probe = None
        self._empty_lines = 0
        head, self._content_length = self._worker.heads.read(data[:end] if end < len(data) else data)
        try:
            self._start(head)
        except GatewayError as error:
            self._refuse(error)  # the framing is known here, so what follows may still be served
        return data[end:]

    def _start(self, head: Head) -> None:
        """The head is whole: everything that can be refused without a body is refused here."""
        worker = self._worker
        self._head = head
        request = self._request = HttpRequest()
        request.method = head.method
        request.path = head.path
        request.query = head.query
        request.headers = head.headers
        request.body = b""
        request.peer = self._peer
        request_id = caller_request_id(head.headers) if b"x-request-id" in head.headers else None
        request.has_caller_id = request_id is not None
        request.request_id = request_id or worker.new_id()
        self._closes = not head.keeps_alive
        if worker.is_draining:
            raise ShuttingDown("this server is shutting down")
        pending = worker.application.admit(request)
        if pending is None:
            self._go_on()
        else:
            self._wait_for(pending)

    def _wait_for(self, pending: asyncio.Future[GatewayError | None]) -> None:
        """The key is being asked for. What the client sends meanwhile waits, unparsed and bounded."""
        self._state = _ADMIT
        self.deadline = 0.0
        pending.add_done_callback(self._admitted)

    def _admitted(self, pending: asyncio.Future[GatewayError | None]) -> None:
        if self._state is not _ADMIT:
            return  # the client has left
        self._state = _HEAD
        try:
            error = pending.result()
            if error is not None:
                raise error
            again = self._worker.application.admit(self._request)
            if again is not None:
                self._wait_for(again)
                return
            self._go_on()
        except GatewayError as error:
            self._refuse(error)
        except Exception:
            log.exception("a request could not be taken in")
            refusal = InternalError("internal error")
            refusal.close = True
            self._refuse(refusal)
        # An upload is read when its reader wants it; what has come of it by now is its own.
        if self._resume_reading and self._state not in (_BUSY, _UPLOAD):
            self._resume_reading = False
            self._transport.resume_reading()
        if self._backlog and self._state in (_BODY, _HEAD, _UPLOAD):
            data, self._backlog = self._backlog, b""
            self._consume(data)

    def _go_on(self) -> None:
        """The key is good: read the body, if there is one."""
        worker, head = self._worker, self._head
        if self._request.endpoint.is_carried:
            self._begin_upload()
            return
        if not head.is_chunked and not self._content_length:
            self._run()
            return
        limits = worker.limits
        if self._request.endpoint.takes_body and not head.is_plain_json:
            check_media(head)
            head.is_plain_json = True
        if self._content_length > limits.max_body_bytes:
            raise FrontError(413, "request_too_large", f"the body may have at most {limits.max_body_bytes} bytes")
        is_kept = self._request.endpoint.takes_body
        if is_kept and worker.bytes_in_flight + self._content_length > limits.max_in_flight_bytes:
            raise Overloaded("too many request bytes in flight")
        if head.expects_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._state = _BODY
        self._body_bytes = 0
        self._chunked = ChunkedReader() if head.is_chunked else None
        self._body_started_s = worker.deadlines.now
        self.deadline = worker.deadlines.now + min(SLOW_BODY_GRACE_S, limits.body_timeout_s)

    def _begin_upload(self) -> None:
        """Serve the request now; who serves it says when its body is wanted."""
        head, limits = self._head, self._worker.limits
        check_upload(head, self._content_length, limits.max_upload_bytes)
        self._upload = self._request.upload = None
        if head.is_chunked or self._content_length:
            length = None if head.is_chunked else self._content_length
            self._upload = self._request.upload = Upload(self, length, limits)
            self.set_reading(False)
        self._run()

    def set_reading(self, is_wanted: bool) -> None:
        """As the reader of an upload has room."""
        if is_wanted:
            if self._head.expects_continue and self._upload is not None and not self._upload.received:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._resume_reading = False
            self._transport.resume_reading()
        elif not self._transport.is_closing():
            self._resume_reading = True
            self._transport.pause_reading()

    def _consume_upload(self, data: bytes) -> bytes:
        upload = self._upload
        assert upload is not None
        rest = upload.feed(data)
        if upload.is_complete and self._state is _UPLOAD:
            self._state = _BUSY
            self.deadline = 0.0
            if self._resume_reading:
                self._resume_reading = False
                self._transport.resume_reading()
        return rest

    def _consume_body(self, data: bytes) -> bytes:
        worker = self._worker
        if len(data) == self._content_length and not self._body_bytes and self._request.endpoint.takes_body:
            # All of it in one piece, as nearly always; how long it is was looked at with the head.
            self._body_bytes = self._content_length
            self._is_counted = True
            worker.bytes_in_flight += self._content_length
            if worker.bytes_in_flight > worker.limits.max_in_flight_bytes:
                raise Overloaded("too many request bytes in flight")
            self._request.body = data
            self._run()
            return b""
        if self._chunked is None:
            missing = self._content_length - self._body_bytes
            piece, rest = (data, b"") if len(data) <= missing else (data[:missing], data[missing:])
            is_complete = len(piece) == missing
        else:
            try:
                piece = self._chunked.feed(data)
            except ChunkError as error:
                raise FrontError(400, "bad_request", str(error)) from error
            is_complete, rest = self._chunked.is_complete, self._chunked.rest
        if piece:
            self._body_bytes += len(piece)
            if self._request.endpoint.takes_body:  # else nobody wants it, and most who may send it need no key
                self._body.append(piece)
                self._is_counted = True
                worker.bytes_in_flight += len(piece)
            if self._body_bytes > worker.limits.max_body_bytes:
                limit = worker.limits.max_body_bytes
                raise FrontError(413, "request_too_large", f"the body may have at most {limit} bytes")
            if self._is_counted and worker.bytes_in_flight > worker.limits.max_in_flight_bytes:
                raise Overloaded("too many request bytes in flight")
        if is_complete:
            if self._request.endpoint.takes_body:
                self._request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
                self._body.clear()
            self._run()
        return rest

    def _check_body_pace(self, now: float) -> None:
        limits = self._worker.limits
        elapsed = now - self._body_started_s
        if elapsed >= limits.body_timeout_s or self._body_bytes < limits.min_body_bytes_per_s * elapsed:
            self._refuse(FrontError(408, "request_timeout", "the request body did not arrive in time"))
        else:
            self.deadline = min(now + 1.0, self._body_started_s + limits.body_timeout_s)

    def _run(self) -> None:
        """The request is whole: hand it to the application, from this very call."""
        self._state = _BUSY if self._upload is None else _UPLOAD
        if not self._is_paused:
            self.deadline = 0.0 if self._upload is None else self._worker.deadlines.now + CHECK_S
        self._held = None
        self._streams = False
        Flow(self._worker.application.handle(self._request, self), self._crashed)

    def _crashed(self, error: BaseException) -> None:
        log.error("request %s failed", self._request.request_id, exc_info=error)
        if self._state is not _BUSY and self._state is not _UPLOAD:
            return
        if self._streams or self.is_gone:
            self._close()
        else:
            self._answer_error(InternalError("internal error; the log has it under this request id"))

    def _refuse(self, error: GatewayError) -> None:
        """Answer an error that arose before the request was whole."""
        has_unread_body = self._head.is_chunked or self._content_length > 0
        if error.close or has_unread_body:
            self._closes = True
        if self._request is _NO_REQUEST:
            self._request = HttpRequest()
            self._request.request_id = self._worker.new_id()
        self._state = _BUSY
        self._worker.application.refused(self._request.request_id, error)
        self._answer_error(error)

    def _answer_error(self, error: GatewayError) -> None:
        self._streams = False
        request_id = self._request.request_id
        endpoint = getattr(self._request, "endpoint", None)  # a path that is not served has none
        speaks = endpoint.speaks if endpoint is not None else "openai"
        fields = [*error_headers(error), ("x-request-id", request_id)]
        if speaks == "anthropic":
            fields.append(("request-id", request_id))
        self.hold_response(error.status, field_lines(fields), error_body(error, speaks, request_id), close=error.close)
        self.release()

    # --- responses out: types.Responder ---------------------------------------------------------------------------

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        if self.is_gone:
            return
        self._streams = True
        if self._head.is_http_1_0:
            self._closes = True
            head = status_line(status) + fields + b"connection: close\r\n\r\n"
        elif self._closes or self._worker.is_leaving:
            self._closes = True
            head = status_line(status) + fields + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        else:
            head = status_line(status) + fields + b"transfer-encoding: chunked\r\n\r\n"
        self._transport.write(head + self._framed(first))
        if self._is_paused and self.on_pause is not None:  # it may have been so before, and is said once
            self.on_pause(True)

    def write(self, data: bytes) -> None:
        if self.is_gone or not data:
            return
        if not self._unsent:
            self._worker.writes.add(self)
        self._unsent += self._framed(data)
        if len(self._unsent) > WRITE_HIGH_WATER:
            self.write_now()  # so that the transport says at once that it takes no more

    def write_now(self) -> None:
        """What the stream had to say in this turn of the loop."""
        unsent, self._unsent = self._unsent, b""
        if unsent and not self._transport.is_closing():
            self._transport.write(unsent)

    def hold(self, last: bytes, *, close: bool = False) -> None:
        if close:
            self._closes = True
        framed = self._framed(last)
        self._held = framed if self._head.is_http_1_0 else framed + b"0\r\n\r\n"

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        head = self._head
        has_body = status >= 200 and status not in (204, 304)
        length = b"content-length: %d\r\n" % len(body) if has_body else b""
        if close or self._closes or self._worker.is_leaving:
            self._closes = True
            connection = b"connection: close\r\n\r\n"
        elif head.is_http_1_0:
            connection = b"connection: keep-alive\r\n\r\n"
        else:
            connection = b"\r\n"
        if not has_body or head.method == "HEAD":
            body = b""
        self._held = status_line(status) + fields + length + connection + body

    def release(self) -> None:
        held = self._held
        self.on_gone = None
        self.on_pause = None
        self._forget_body()
        if self._upload is not None:
            self._end_upload()
        if self._state is not _BUSY:
            return
        self._held = None
        if self.is_gone:
            self._close()
            return
        if held is not None:
            unsent, self._unsent = self._unsent, b""
            self._transport.write(unsent + held)
        elif self._streams:
            self.write_now()
            self._closes = True  # a stream that has no end: closing is the only honest one
        if self._closes:
            self._start_lingering()
            return
        self._state = _HEAD
        # What is said of the next request must not carry this one's id, method or length.
        self._head, self._content_length, self._request = NO_HEAD, 0, _NO_REQUEST
        if not self._is_paused:
            worker = self._worker
            idle_s = worker.limits.idle_timeout_s if not worker.is_leaving else LEAVE_IDLE_S
            self.deadline = worker.deadlines.now + idle_s
        if self._worker.is_draining and not self._backlog:
            self._close()
        elif not self._is_paused:
            self._go_on_reading()

    def _go_on_reading(self) -> None:
        """Serve what the client has sent behind the request that is answered."""
        if self._consuming:
            return  # whoever called goes on with it
        if self._backlog:
            data, self._backlog = self._backlog, b""
            self._consume(data)
        else:
            self._read_on()

    def _read_on(self) -> None:
        """Read again where that was stopped, unless too much waits still. An upload's reader says so itself."""
        if (
            self._resume_reading
            and self._upload is None
            and len(self._backlog) <= self._worker.limits.max_pipelined_bytes
            and not (self._is_paused and self._state is _HEAD)
            and not self._transport.is_closing()
        ):
            self._resume_reading = False
            self._transport.resume_reading()

    def _end_upload(self) -> None:
        """The request is answered. A body that has not come whole is not read on: its connection ends."""
        upload, self._upload = self._upload, None
        assert upload is not None
        upload.close()
        if self._state is _UPLOAD:
            self._state = _BUSY
            if not upload.is_complete:
                self._closes = True

    def _framed(self, data: bytes) -> bytes:
        if self._head.is_http_1_0 or not data:
            return data
        return b"%x\r\n%b\r\n" % (len(data), data)

    # --- ends -----------------------------------------------------------------------------------------------------

    def end_if_idle(self) -> None:
        """Close a connection that has no request on it."""
        if self._state is _HEAD and not self._backlog:
            self._close()

    def end_if_idle_for(self, seconds: float) -> None:
        """Close a connection that has had no request on it for so long from now on."""
        if self._state is _HEAD and not self._backlog and not self._is_paused:
            self.deadline = min(self.deadline, self._worker.deadlines.now + seconds)

    def cut(self) -> None:
        """End now, whatever is going on; `on_gone` is called by the loss of the connection."""
        self._transport.abort()

    @property
    def is_busy(self) -> bool:
        return self._state is _BUSY or self._state is _UPLOAD

    def _start_lingering(self) -> None:
        """Let the client read the answer before a reset could take it away: half-close, then drain for a moment."""
        if self._resume_reading:
            self._resume_reading = False
            self._transport.resume_reading()
        self._state = _LINGER
        self._lingered = 0
        self._backlog = b""
        if not self._is_paused:
            self.deadline = self._worker.deadlines.now + LINGER_S
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._close()

    def _close(self) -> None:
        self.write_now()
        self._state = _CLOSED
        self.deadline = 0.0
        self._transport.close()

    def _forget_body(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._worker.bytes_in_flight -= self._body_bytes
            self._body.clear()
        self._body_bytes = 0
