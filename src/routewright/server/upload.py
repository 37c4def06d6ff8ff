"""A request's body on its way through: what comes is handed on at once, and nothing of it is kept here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from routewright.chunked import ChunkedReader, ChunkError
from routewright.errors import FrontError, GatewayError
from routewright.settings import FrontLimits

CHECK_S = 5.0
"""How often a slow body is looked at."""
LEAST_WAIT_S = 1.0
"""A client that is waited for since a shorter time than this is not judged by it."""


class Source(Protocol):
    """The connection that the body comes over."""

    def set_reading(self, is_wanted: bool) -> None:
        """Read from the client, or leave it waiting."""


class Upload:
    """One body. Nothing is read from its client before `open`, and what comes after `close` goes nowhere."""

    __slots__ = ("_chunked", "_is_closed", "_on_data", "_on_failure", "_pending", "_reads", "_seen", "_since",
                 "_since_s", "_source", "is_complete", "length", "limits")  # fmt: skip

    def __init__(self, source: Source, length: int | None, limits: FrontLimits) -> None:
        self._source = source
        self.length = length
        """None: chunked, so nobody knows."""
        self.limits = limits
        self.is_complete = False
        self._chunked = ChunkedReader() if length is None else None
        self._seen = 0
        self._since = 0
        self._since_s = 0.0
        """Bytes that have come since its client is waited for, or since its pace was looked at; and since when."""
        self._pending = b""
        self._reads = False
        self._is_closed = False
        self._on_data: Callable[[bytes, bool], None] | None = None
        self._on_failure: Callable[[GatewayError], None] | None = None

    @property
    def received(self) -> int:
        """Bytes of the body that have come."""
        return self._seen

    # --- its reader -----------------------------------------------------------------------------------------------

    def open(self, on_data: Callable[[bytes, bool], None], on_failure: Callable[[GatewayError], None]) -> None:
        """From now on pieces go to `on_data`, the last one marked; a body that is no good ends with `on_failure`."""
        self._on_data, self._on_failure = on_data, on_failure
        pending, self._pending = self._pending, b""
        self.resume()  # before anything is handed on, which may make its reader pause
        if pending or self.is_complete:
            on_data(pending, self.is_complete)

    def pause(self) -> None:
        if self._reads and not self.is_complete:
            self._reads = False
            self._source.set_reading(False)

    def resume(self) -> None:
        if not self._reads and not self.is_complete and not self._is_closed and self._on_data is not None:
            self._reads = True
            self._since, self._since_s = 0, time.monotonic()
            self._source.set_reading(True)

    def close(self) -> None:
        """Nobody wants the rest."""
        self._is_closed = True
        self._on_data = self._on_failure = None
        self._pending = b""

    # --- the connection -------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body; what is left over belongs to the next request."""
        rest = b""
        if self._chunked is None:
            missing = (self.length or 0) - self._seen
            piece = data
            if len(data) > missing:
                piece, rest = data[:missing], data[missing:]
            is_last = len(piece) == missing
        else:
            try:
                piece = self._chunked.feed(data)
            except ChunkError as error:
                self.fail(FrontError(400, "bad_request", str(error)))
                return b""
            is_last, rest = self._chunked.is_complete, self._chunked.rest
        self._seen += len(piece)
        self._since += len(piece)
        if self._seen > self.limits.max_upload_bytes:
            most = self.limits.max_upload_bytes
            self.fail(FrontError(413, "request_too_large", f"the body may have at most {most} bytes"))
            return b""
        self.is_complete = is_last
        if self._on_data is not None:
            if piece or is_last:
                self._on_data(piece, is_last)
        elif not self._is_closed:
            self._pending += piece
        return rest

    def check_pace(self) -> None:
        """Called every few seconds: a client that is waited for has to send something. How long it was not read
        before that, because nobody took more, is none of its doing."""
        now = time.monotonic()
        waited_s = now - self._since_s
        if self._reads and waited_s >= LEAST_WAIT_S and self._since < self.limits.min_body_bytes_per_s * waited_s:
            self.fail(FrontError(408, "request_timeout", "the request body did not arrive in time"))
        self._since, self._since_s = 0, now

    def fail(self, error: GatewayError) -> None:
        on_failure = self._on_failure
        self.close()
        if on_failure is not None:
            on_failure(error)
