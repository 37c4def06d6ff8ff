"""The client's side of an exchange whose answer is to be kept: everything passes through, and is remembered."""

from __future__ import annotations

from collections.abc import Callable

from routewright.passing import Behind
from routewright.types import Call, Outcome, Responder


class Capture(Behind):
    """Passes an answer on to its client as it comes; `keep` gets its bytes once it is whole."""

    __slots__ = ("_call", "_give_up", "_held", "_keep", "_max_bytes", "_outcome", "_size")

    def __init__(
        self, client: Responder, call: Call, outcome: Outcome, keep: Callable[[bytes], None], max_bytes: int,
        give_up: Callable[[], None],
    ) -> None:  # fmt: skip
        """`give_up`: called as soon as the answer is longer than `max_bytes`."""
        super().__init__(client)
        self._give_up = give_up
        self._call = call
        self._outcome = outcome
        self._keep = keep
        self._max_bytes = max_bytes
        self._held: list[bytes] = []
        self._size = 0

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        self._take(first)
        self._client.begin(status, fields, first)

    def write(self, data: bytes) -> None:
        if data != self._call.client.ping:
            self._take(data)
        self._client.write(data)

    def hold(self, last: bytes, *, close: bool = False) -> None:
        self._take(last)
        if self._outcome.ended == "complete" and not close and self._size <= self._max_bytes:
            self._keep(b"".join(self._held))
        self._client.hold(last, close=close)

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        if status == 200 and self._outcome.ended == "complete" and len(body) <= self._max_bytes:
            self._keep(body)
        self._client.hold_response(status, fields, body, close=close)

    def release(self) -> None:
        self._client.release()

    def _take(self, data: bytes) -> None:
        was_kept = self._size <= self._max_bytes
        self._size += len(data)
        if self._size <= self._max_bytes:
            self._held.append(data)
        elif was_kept:
            self._held.clear()
            self._give_up()
