"""The client's side of a call that is a part of answering a request: the answer is kept, so that it can be judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from routewright.types import Responder

COST_LINE = b"\r\nx-litellm-response-cost: "
_decode = msgspec.json.Decoder().decode


class Held:
    """Keeps one whole answer. That the client has left reaches whoever waits; nothing reaches the client."""

    __slots__ = ("_answer", "_client", "body", "fields")

    def __init__(self, client: Responder) -> None:
        self._client = client
        self._answer: dict[str, Any] | None = None
        self.body = b""
        self.fields = b""

    @property
    def answer(self) -> dict[str, Any]:
        """The body, decoded; empty where there is none, or where only those parts can be read that a client needs."""
        if self._answer is None:
            try:
                decoded = _decode(self.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                decoded = None
            self._answer = decoded if type(decoded) is dict else {}
        return self._answer

    @property
    def fields_without_cost(self) -> bytes:
        """The header lines of the answer, without what this one call cost."""
        before, line, _ = self.fields.rpartition(COST_LINE)
        return before + b"\r\n" if line else self.fields

    @property
    def tells_cost(self) -> bool:
        return COST_LINE in self.fields

    # --- what the upstream's side sees of a client -----------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        return self._client.is_gone

    @property
    def on_gone(self) -> Callable[[], None] | None:
        return self._client.on_gone

    @on_gone.setter
    def on_gone(self, call: Callable[[], None] | None) -> None:
        self._client.on_gone = call

    @property
    def on_pause(self) -> Callable[[bool], None] | None:
        return None

    @on_pause.setter
    def on_pause(self, call: Callable[[bool], None] | None) -> None:
        """Nothing is written while an answer is held, so a slow client is no reason to read more slowly."""

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        self.fields = fields
        self.body = body

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        raise NotImplementedError("a held call never streams")

    def write(self, data: bytes) -> None:
        raise NotImplementedError("a held call never streams")

    def hold(self, last: bytes, *, close: bool = False) -> None:
        raise NotImplementedError("a held call never streams")

    def release(self) -> None:
        raise NotImplementedError("a held answer is given by `Steps`")
