"""Two attempts for one client: who has the first byte goes on, the other is cut off as if the client had left."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from routewright.errors import GatewayError
from routewright.flow import Flow, Signal
from routewright.types import Outcome, Responder


class Runner:
    """The client, as one of two attempts sees it: there, until the other has won."""

    __slots__ = ("_client", "_race", "crash", "error", "is_done", "is_lost", "on_gone", "on_pause", "outcome")

    def __init__(self, race: Race, client: Responder, outcome: Outcome) -> None:
        self._race = race
        self._client = client
        self.outcome = outcome
        self.error: GatewayError | None = None
        self.crash: BaseException | None = None
        self.is_done = False
        self.is_lost = False
        self.on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[bool], None] | None = None

    @property
    def is_gone(self) -> bool:
        return self.is_lost or self._client.is_gone

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        if self._race.claim(self):
            self._client.begin(status, fields, first)

    def write(self, data: bytes) -> None:
        self._client.write(data)

    def hold(self, last: bytes, *, close: bool = False) -> None:
        self._client.hold(last, close=close)

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        if self._race.claim(self):
            self._client.hold_response(status, fields, body, close=close)

    def release(self) -> None:
        raise NotImplementedError("an attempt releases nothing")

    def lose(self) -> None:
        self.is_lost = True
        if self.on_gone is not None:
            self.on_gone()


class Race:
    """Two attempts at most, for one client."""

    def __init__(self, client: Responder) -> None:
        self._client = client
        self._changed: Signal[None] = Signal()
        self.has_rung = False
        """The time for a second attempt has come."""
        self.runners: list[Runner] = []
        self.winner: Runner | None = None
        client.on_gone = self._client_left
        client.on_pause = self._client_paused

    def start(self, outcome: Outcome, attempt: Callable[[Runner], Coroutine[Any, Any, GatewayError | None]]) -> Runner:
        runner = Runner(self, self._client, outcome)
        self.runners.append(runner)
        Flow(self._run(runner, attempt(runner)), lambda _: None)  # `_run` lets nothing escape
        return runner

    async def _run(self, runner: Runner, attempt: Coroutine[Any, Any, GatewayError | None]) -> None:
        try:
            runner.error = await attempt
        except GatewayError as error:
            runner.error = error
        except BaseException as crash:  # noqa: BLE001 - raised again by whoever waits
            runner.crash = crash
        runner.is_done = True
        self._changed.set(None)

    def claim(self, runner: Runner) -> bool:
        """This one has the first byte. False where the other had it before."""
        if self.winner is None:
            self.winner = runner
            for other in self.runners:
                if other is not runner and not other.is_done:
                    other.lose()
        return self.winner is runner

    @property
    def is_over(self) -> bool:
        """Every attempt has ended."""
        return all(runner.is_done for runner in self.runners)

    def ring(self) -> None:
        self.has_rung = True
        self._changed.set(None)

    async def change(self) -> None:
        """Until an attempt has ended, or it has rung."""
        self._changed = Signal()
        await self._changed

    def end(self) -> None:
        self._client.on_gone = None
        self._client.on_pause = None
        for runner in self.runners:
            if runner.crash is not None:
                raise runner.crash

    def _client_left(self) -> None:
        for runner in list(self.runners):
            if runner.on_gone is not None:
                runner.on_gone()

    def _client_paused(self, is_paused: bool) -> None:
        if self.winner is not None and self.winner.on_pause is not None:
            self.winner.on_pause(is_paused)
