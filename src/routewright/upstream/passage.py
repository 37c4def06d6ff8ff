"""One exchange with an upstream on a client's behalf: what an answer that is read and one that passes through share.

That is how each begins and ends: who is told, which connection is let go, what is billed. When an answer is late is
each kind's own matter.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from routewright.errors import GatewayError
from routewright.flow import Signal
from routewright.settings import UpstreamSettings
from routewright.types import Outcome, Responder
from routewright.upstream.connection import UpstreamConnection

MAX_ERROR_BODY_BYTES = 64 * 1024
ENDED = 0
"""The state that all kinds have."""


class Passage(ABC):
    """A `Sink` for the upstream. `done` gets the error to act on, or None. A subclass sets every field."""

    __slots__ = ("_client", "_connection", "_last_byte_s", "_outcome", "_settings", "_state", "_status",
                 "_total_until_s", "deadline", "done", "has_begun", "is_stale")  # fmt: skip

    _client: Responder
    _connection: UpstreamConnection
    _last_byte_s: float
    """When something came or went; monotonic."""
    _outcome: Outcome
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
        if self._connection.sink is self:
            if is_paused:
                self._connection.pause()
            else:
                self._last_byte_s = time.monotonic()
                self._connection.resume()

    def _end(self, error: GatewayError | None) -> None:
        self._state = ENDED
        self.deadline = 0.0
        self._client.on_gone = None
        self._client.on_pause = None
        self.done.set(error)
