"""The client's side of an exchange behind which stands another one."""

from __future__ import annotations

from collections.abc import Callable

from routewright.types import Responder


class Behind:
    """What whoever listens in on an answer has in common: whether the client is there, and who hears of it."""

    __slots__ = ("_client",)

    def __init__(self, client: Responder) -> None:
        self._client = client

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
        return self._client.on_pause

    @on_pause.setter
    def on_pause(self, call: Callable[[bool], None] | None) -> None:
        self._client.on_pause = call
