"""One exchange with an upstream on a client's behalf: what an answer that is read and one that passes through share.

That is how each begins and ends: who is told, which connection is let go, what is billed. When an answer is late is
each kind's own matter.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod

from routewright.errors import FrontError, GatewayError
from routewright.flow import Signal
from routewright.settings import UpstreamSettings
from routewright.types import Outcome, Responder
from routewright.upstream.connection import UpstreamConnection

MAX_ERROR_BODY_BYTES = 64 * 1024
ENDED = 0
"""The state that all kinds have."""


class Passage(ABC):
    """A `Sink` for the upstream. `done` gets the error to act on, or None. A subclass sets every field."""

    __slots__ = ("_client", "_connection", "_held_up_s", "_last_byte_s", "_outcome", "_paused_s", "_settings", "_state",
                 "_status", "_total_until_s", "deadline", "done", "has_begun", "is_stale")  # fmt: skip

    _client: Responder
    _connection: UpstreamConnection
    _held_up_s: float
    """For how long the client has taken nothing, up to its last pause; that is no time of the upstream's."""
    _last_byte_s: float
    """When something came or went; monotonic."""
    _outcome: Outcome
    _paused_s: float
    """Since when the client takes nothing; 0 while it does."""
    _settings: UpstreamSettings
    _state: int
    _status: int
    _total_until_s: float
    deadline: float
    done: Signal[GatewayError | None]
    has_begun: bool
    """Bytes have gone to the client."""
    is_stale: bool
    """A kept connection was closed before it gave a byte: try once more, it is nobody's failure."""

    @abstractmethod
    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The answer begins."""

    @abstractmethod
    def on_data(self, data: bytes, is_last: bool) -> None:
        """Some of its body."""

    @abstractmethod
    def on_failure(self, error: GatewayError, is_stale: bool) -> None:
        """There is no more of it."""

    @abstractmethod
    def _break_off(self, error: GatewayError) -> None:
        """The client has some of the answer: bill that, and tell it where it can be told."""

    @abstractmethod
    def _bill_part(self) -> None:
        """The client has left: bill what went by."""

    def end(self, error: GatewayError) -> None:
        """End it from outside, as a failure of this attempt."""
        self._fail(error)

    def _fail(self, error: GatewayError) -> None:
        if self._state == ENDED:
            return
        connection = self._connection
        if connection.sink is self:
            connection.abandon()
        if self.has_begun:
            outcome = self._outcome
            outcome.ended = "upstream_failed"
            outcome.error = error.code
            self._break_off(error)
        self._end(error)

    def _client_left(self) -> None:
        """An ordinary case: stop the upstream, and bill what went by."""
        if self._state == ENDED:
            return
        if self._connection.sink is self:
            self._connection.abandon()
        self._outcome.ended = "client_gone"
        self._bill_part()
        self._end(None)

    def _client_paused(self, is_paused: bool) -> None:
        now = time.monotonic()
        if is_paused:
            self._paused_s = self._paused_s or now
        elif self._paused_s:
            self._held_up_s += now - self._paused_s
            self._paused_s = 0.0
        if self._connection.sink is self:
            if is_paused:
                self._connection.pause()
            else:
                self._last_byte_s = now
                self._connection.resume()

    def _is_clients_time(self, now: float) -> bool:
        """Whether it is the client that is late: a deployment must not rest because somebody does not read.

        While a client takes nothing its upstream is not read, and is not late; the front cuts such a client off. What
        of the whole time the client has held up is its own.
        """
        if self._paused_s:
            held_up_s = self._held_up_s + now - self._paused_s
        elif self._held_up_s:
            held_up_s = self._held_up_s
        else:
            return False
        until_s = self._total_until_s or math.inf
        if self.has_begun and now >= until_s > now - held_up_s:
            if self._connection.sink is self:
                self._connection.abandon()
            self._outcome.ended = "client_gone"
            self._break_off(FrontError(408, "request_timeout", "the answer was not taken in time"))
            self._end(None)
            return True
        if self._paused_s and now < until_s:
            self.deadline = min(now + self._settings.idle_timeout_s, until_s)
            return True
        return False

    def _end(self, error: GatewayError | None) -> None:
        self._state = ENDED
        self.deadline = 0.0
        self._client.on_gone = None
        self._client.on_pause = None
        self.done.set(error)
