"""One connection to an upstream: a request out, a response in, read as strictly as a client's request.

Source: RFC 9112. The head goes through llhttp; the body is framed here, with the same chunked reader as the front.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import httptools
import msgspec

from routewright.chunked import ChunkedReader, ChunkError
from routewright.errors import GatewayError, UpstreamBadResponse, UpstreamError
from routewright.writes import Writes

READ_HIGH_WATER = 64 * 1024
MAX_INTERIM = 16
"""100 Continue and 103 Early Hints before the one response."""


class Sink(Protocol):
    """Who waits for the response."""

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None: ...

    def on_data(self, data: bytes, is_last: bool) -> None:
        """Body bytes, unframed. With `is_last` the response is whole and the connection no longer ours."""

    def on_failure(self, error: GatewayError, is_stale: bool) -> None:
        """`is_stale`: a connection kept from earlier was closed before it gave one byte of this response."""


class _Fields(msgspec.Struct, eq=False):
    list: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.list.append((name, value))


_IDLE, _HEAD, _LENGTH, _CHUNKED, _UNTIL_CLOSE = range(5)


class UpstreamConnection(asyncio.Protocol):
    """Carries one exchange at a time. `on_idle` puts it back in its pool, `on_closed` takes it out."""

    __slots__ = ("_buffer", "_chunked", "_has_bytes", "_interim", "_is_paused", "_keeps_alive", "_max_head_bytes",
                 "_on_closed", "_on_idle", "_remaining", "_state", "_transport", "_unsent", "_writes", "idle_since_s",
                 "is_closed", "is_sending", "is_used", "on_pause", "sink")  # fmt: skip

    def __init__(
        self,
        max_head_bytes: int,
        writes: Writes,
        on_idle: Callable[[UpstreamConnection], None],
        on_closed: Callable[[UpstreamConnection], None],
    ) -> None:
        self._max_head_bytes = max_head_bytes
        self._writes = writes
        self._unsent = b""
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._state = _IDLE
        self._buffer = b""
        self._chunked: ChunkedReader | None = None
        self._remaining = 0
        self._keeps_alive = False
        self._has_bytes = False
        self._interim = 0
        self._is_paused = False
        self.sink: Sink | None = None
        self.idle_since_s = 0.0
        self.is_used = False
        """It has carried a response before, so it may have gone stale."""
        self.is_closed = False
        self.is_sending = False
        """The request's body is still on its way."""
        self.on_pause: Callable[[bool], None] | None = None
        """While a body is sent: called with True when the upstream takes no more, with False when it does again."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, sink: Sink) -> None:
        self.sink = sink
        self._state = _HEAD
        self._has_bytes = False
        self._interim = 0
        self._unsent = request
        self._writes.add(self)

    def begin(self, head: bytes, sink: Sink, on_pause: Callable[[bool], None]) -> None:
        """Send a request's head; its body follows by `write`."""
        self.send(b"", sink)
        self.is_sending = True
        self.on_pause = on_pause
        self._transport.write(head)

    def write(self, data: bytes, is_last: bool) -> None:
        """More of the request's body, framed as its head says."""
        if is_last:
            self.is_sending = False
            self.on_pause = None
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        if self.on_pause is not None:
            self.on_pause(True)

    def resume_writing(self) -> None:
        if self.on_pause is not None:
            self.on_pause(False)

    def write_now(self) -> None:
        """Send the request at the turn's end, unless nobody wants its answer any more."""
        unsent, self._unsent = self._unsent, b""
        if unsent and self.sink is not None and not self._transport.is_closing():
            self._transport.write(unsent)

    def pause(self) -> None:
        if not self._is_paused and not self.is_closed:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._is_paused and not self.is_closed:
            self._is_paused = False
            self._transport.resume_reading()

    def abandon(self) -> None:
        """Nobody wants the rest: close, so that the upstream stops working on it."""
        self.sink = None
        self._transport.abort()

    def detach(self) -> None:
        """The answer is whole as far as its reader cares; what is left of its framing is read, then reused."""
        self.sink = _Discard(self)
        self.resume()

    def close(self) -> None:
        self.is_closed = True
        self._transport.close()

    # --- what asyncio calls ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        try:
            state = self._state
            if state == _CHUNKED:
                self._read_chunked(data)
            elif state == _HEAD:
                self._has_bytes = True
                self._read_head(data)
            elif state == _LENGTH:
                self._read_length(data)
            elif state == _UNTIL_CLOSE:
                if self.sink is not None:
                    self.sink.on_data(data, False)
            else:
                self.close()  # bytes that answer nothing
        except (UpstreamBadResponse, ChunkError) as error:
            self._fail(error if isinstance(error, UpstreamBadResponse) else UpstreamBadResponse(str(error)))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        self._on_closed(self)
        sink, self.sink = self.sink, None
        if sink is None:
            return
        if self._state == _UNTIL_CLOSE and error is None:
            sink.on_data(b"", True)
        else:
            sink.on_failure(
                UpstreamError("the upstream closed the connection early"), self.is_used and not self._has_bytes
            )

    def _fail(self, error: GatewayError) -> None:
        sink, self.sink = self.sink, None
        self.is_closed = True
        self._transport.abort()
        if sink is not None:
            sink.on_failure(error, False)

    # --- the response ---------------------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        if self._buffer:
            searched = max(0, len(self._buffer) - 3)
            data = self._buffer + data
            self._buffer = b""
        else:
            searched = 0
        end = data.find(b"\r\n\r\n", searched)
        if end < 0:
            if len(data) > self._max_head_bytes:
                raise UpstreamBadResponse("the upstream's response head is too large")
            if not b"HTTP/1.".startswith(data[:7]):
                raise UpstreamBadResponse("the upstream does not speak HTTP/1")
            self._buffer = data
            return
        end += 4
        if end > self._max_head_bytes:
            raise UpstreamBadResponse("the upstream's response head is too large")
        fields = _Fields()
        parser = httptools.HttpResponseParser(fields)
        try:
            parser.feed_data(data[:end])
            status = parser.get_status_code()
        except httptools.HttpParserUpgrade:
            raise UpstreamBadResponse("the upstream switched protocols") from None
        except httptools.HttpParserError as error:
            raise UpstreamBadResponse("the upstream's response head is malformed") from error
        if 100 <= status < 200:
            if status == 101:
                raise UpstreamBadResponse("the upstream switched protocols")
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise UpstreamBadResponse("the upstream sent too many interim responses")
            if end < len(data):
                self._read_head(data[end:])
            return
        headers = {name.lower(): value.strip(b" \t") for name, value in fields.list}
        if len(headers) != len(fields.list):
            names = [name.lower() for name, _ in fields.list]
            if names.count(b"content-length") > 1 or names.count(b"transfer-encoding") > 1:
                raise UpstreamBadResponse("the upstream's response is framed twice")
        self._frame(status, headers, parser.should_keep_alive())
        sink = self.sink
        if sink is not None:
            sink.on_head(status, headers)
        rest = data[end:]
        if self._state == _LENGTH:
            self._read_length(rest)
        elif rest and not self.is_closed:
            self.data_received(rest)

    def _frame(self, status: int, headers: dict[bytes, bytes], keeps_alive: bool) -> None:
        coding = headers.get(b"transfer-encoding")
        length = headers.get(b"content-length")
        self._keeps_alive = keeps_alive
        if b"connection" in headers:
            connection = headers[b"connection"].lower()
            self._keeps_alive = b"close" not in connection and (keeps_alive or b"keep-alive" in connection)
        if b"content-encoding" in headers and headers[b"content-encoding"].lower() not in (b"identity", b""):
            raise UpstreamBadResponse("the upstream sent a compressed response that was not asked for")
        if status in (204, 304):
            self._state, self._remaining = _LENGTH, 0
        elif coding is not None:
            if coding.lower() != b"chunked" or length is not None:
                raise UpstreamBadResponse("the upstream's response framing is not understood")
            self._state, self._chunked = _CHUNKED, ChunkedReader()
        elif length is not None:
            if not length.isdigit() or len(length) > 19:
                raise UpstreamBadResponse("the upstream's Content-Length is malformed")
            self._state, self._remaining = _LENGTH, int(length)
        else:
            self._state, self._keeps_alive = _UNTIL_CLOSE, False

    def _read_length(self, data: bytes) -> None:
        excess = len(data) - self._remaining
        if excess > 0:
            data = data[: self._remaining]
            self._keeps_alive = False
        self._remaining -= len(data)
        if not self._remaining:
            self._finish(data)
        elif data and self.sink is not None:
            self.sink.on_data(data, False)

    def _read_chunked(self, data: bytes) -> None:
        reader = cast(ChunkedReader, self._chunked)
        payload = reader.feed(data)
        if reader.is_complete:
            if reader.rest:
                self._keeps_alive = False
            self._finish(payload)
        elif payload and self.sink is not None:
            self.sink.on_data(payload, False)

    def _finish(self, data: bytes) -> None:
        """The response is whole: free the connection first, so that what its reader starts next can have it."""
        sink, self.sink = self.sink, None
        self._state = _IDLE
        self.is_used = True
        if self._keeps_alive and not self.is_closed and not self.is_sending:
            if self._is_paused:
                self.resume()
            self._on_idle(self)
        else:
            self.close()
        if sink is not None:
            sink.on_data(data, True)


class _Discard:
    """Reads the end of a response whose content is known. More than a little is not worth reading."""

    __slots__ = ("_connection", "_seen")

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._seen = 0

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        pass

    def on_data(self, data: bytes, is_last: bool) -> None:
        self._seen += len(data)
        if self._seen > READ_HIGH_WATER and not is_last:
            self._connection.abandon()

    def on_failure(self, error: GatewayError, is_stale: bool) -> None:
        pass
