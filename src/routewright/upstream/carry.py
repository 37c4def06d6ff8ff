"""One exchange whose body and answer pass through: from the client's socket to the upstream's and back, by callback.

Neither is ever held: where one side takes no more, the other is not read. An answer may come before the body has gone;
then the rest of it is not sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from routewright.errors import GatewayError, UpstreamError, UpstreamTimeout
from routewright.flow import Signal
from routewright.settings import UpstreamSettings
from routewright.types import Outcome, Responder, Usage
from routewright.upstream.connection import UpstreamConnection
from routewright.upstream.passage import ENDED, MAX_ERROR_BODY_BYTES, Passage

NO_BODY = frozenset({204, 304})


class Body(Protocol):
    """What goes up, from wherever it comes."""

    def open(self, on_data: Callable[[bytes, bool], None], on_failure: Callable[[GatewayError], None]) -> None:
        """Pieces go to `on_data`, the last one marked, until one goes to `on_failure` that ends it."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Reading(Protocol):
    """What is made of what comes back."""

    def begin(self, status: int, headers: Mapping[bytes, bytes]) -> bytes | None:
        """Header lines for the client; None: the answer is an error to be told in our words. Raises GatewayError."""

    def feed(self, data: bytes) -> None:
        """Look at a piece of the answer on its way."""

    def usage(self, *, is_whole: bool) -> Usage | None:
        """What the answer used; None: nothing is known."""

    def error_of(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> GatewayError: ...


@dataclass(frozen=True, slots=True)
class Sending:
    """One request, ready to go to one deployment."""

    head: bytes
    """Whole, with its empty line."""
    body: Body | None
    is_chunked: bool
    reading: Reading


_SENDING, _ANSWERED, _ERROR = range(1, 4)


class Carry(Passage):
    """The two bodies of one exchange on their way."""

    __slots__ = ("_body", "_error_body", "_fields", "_headers", "_is_blocked", "_is_sent", "_sending", "has_sent")

    def __init__(
        self,
        sending: Sending,
        client: Responder,
        outcome: Outcome,
        settings: UpstreamSettings,
        now: float,
        timeout_s: float | None,
    ) -> None:
        self._sending = sending
        self._body = sending.body
        self._client = client
        self._outcome = outcome
        self._settings = settings
        self._state = _SENDING
        self._status = 0
        self._headers: Mapping[bytes, bytes] = {}
        self._fields = b""
        self._error_body = b""
        self._is_blocked = False
        """The upstream takes no more of the body for now."""
        self._is_sent = sending.body is None
        self._last_byte_s = now
        self._paused_s = self._held_up_s = 0.0
        total_s = settings.total_timeout_s if timeout_s is None else timeout_s
        self._total_until_s = now + total_s if self._is_sent else 0.0
        self.deadline = now + min(settings.first_byte_timeout_s, total_s) if self._is_sent else now + 1.0
        self.has_begun = False
        self.has_sent = False
        """Some of the body has gone to the upstream, so nobody else can be asked."""
        self.is_stale = False
        self.done: Signal[GatewayError | None] = Signal()

    def start(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._client.on_gone = self._client_left
        self._client.on_pause = self._client_paused
        if self._body is None:
            connection.send(self._sending.head, self)
            return
        connection.begin(self._sending.head, self, self._upstream_paused)
        self._body.open(self._pass_on, self._body_failed)

    # --- the body -------------------------------------------------------------------------------------------------

    def _pass_on(self, data: bytes, is_last: bool) -> None:
        if self._state != _SENDING or self._connection.sink is not self:
            return
        self._last_byte_s = time.monotonic()
        if data:
            self.has_sent = True
        if self._sending.is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if is_last:
                data += b"0\r\n\r\n"
        if is_last:
            self._is_sent = True
            self._is_blocked = False
            self._total_until_s = self._last_byte_s + self._settings.total_timeout_s
            self.deadline = self._last_byte_s + self._settings.first_byte_timeout_s
        self._connection.write(data, is_last)

    def _upstream_paused(self, is_paused: bool) -> None:
        self._is_blocked = is_paused
        self._last_byte_s = time.monotonic()
        if self._body is not None and self._state == _SENDING:
            if is_paused:
                self._body.pause()
            else:
                self._body.resume()

    def _body_failed(self, error: GatewayError) -> None:
        """The client's own body is no good."""
        self._fail(error)

    # --- what the connection calls --------------------------------------------------------------------------------

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._status, self._headers = status, headers
        self._last_byte_s = time.monotonic()
        try:
            fields = self._sending.reading.begin(status, headers)
        except GatewayError as error:
            self._fail(error)
            return
        if fields is None:
            self._state = _ERROR
        else:
            self._state = _ANSWERED
            self._fields = fields
        if not self._total_until_s:
            self._total_until_s = self._last_byte_s + self._settings.total_timeout_s
        self.deadline = min(self._last_byte_s + self._settings.idle_timeout_s, self._total_until_s)

    def on_data(self, data: bytes, is_last: bool) -> None:
        self._last_byte_s = time.monotonic()
        if self._state == _ERROR:
            self._error_body += data[: MAX_ERROR_BODY_BYTES - len(self._error_body)]
            if is_last or len(self._error_body) >= MAX_ERROR_BODY_BYTES:
                self._fail(self._sending.reading.error_of(self._status, self._headers, self._error_body))
            return
        if self._state != _ANSWERED:
            return
        outcome, client = self._outcome, self._client
        self._sending.reading.feed(data)
        if not self.has_begun:
            outcome.first_byte_s = self._last_byte_s
            outcome.status = self._status
        if not is_last:
            if self.has_begun:
                client.write(data)
            else:
                self.has_begun = True
                client.begin(self._status, outcome.fields + self._fields, data)
            return
        usage = self._sending.reading.usage(is_whole=True)
        if usage is not None:
            outcome.bill(usage)
        outcome.ended = "complete"
        if self.has_begun:
            client.hold(data)
        else:
            self.has_begun = True
            client.hold_response(self._status, outcome.fields + self._fields, data, close=not self._is_sent)
        self._end(None)

    def on_failure(self, error: GatewayError, is_stale: bool) -> None:
        self.is_stale = is_stale and not self.has_sent
        if self._state == _ERROR:
            error = self._sending.reading.error_of(self._status, self._headers, self._error_body)
        self._fail(error)

    # --- ends -----------------------------------------------------------------------------------------------------

    def _break_off(self, error: GatewayError) -> None:
        # Bytes of any kind can't say that they are not all: the answer has no end, and the connection is closed.
        self._bill_part()

    def _bill_part(self) -> None:
        usage = self._sending.reading.usage(is_whole=False) if self.has_sent or self._is_sent else None
        if usage is not None:
            self._outcome.bill(usage)

    def on_deadline(self, now: float) -> None:
        if self._state == ENDED or self._is_clients_time(now):
            return
        if not self._is_sent:
            # A slow client is the front's business; an upstream that takes nothing is ours.
            if self._is_blocked and now - self._last_byte_s >= self._settings.idle_timeout_s:
                self._fail(UpstreamTimeout("the upstream takes nothing of the request's body"))
            elif self._state != _SENDING and now - self._last_byte_s >= self._settings.idle_timeout_s:
                self._fail(UpstreamError("the upstream stopped in the middle of its answer"))
            else:
                self.deadline = now + 1.0
            return
        is_late = self._state == _SENDING and now - self._last_byte_s >= self._settings.first_byte_timeout_s
        if (
            is_late
            or now >= self._total_until_s
            or (self._state != _SENDING and now - self._last_byte_s >= self._settings.idle_timeout_s)
        ):
            self._fail(UpstreamTimeout("the upstream did not answer in time"))
            return
        limit_s = self._settings.first_byte_timeout_s if self._state == _SENDING else self._settings.idle_timeout_s
        self.deadline = min(self._last_byte_s + limit_s, self._total_until_s)
