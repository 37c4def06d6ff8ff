"""How a worker ends: after what runs on the first signal or without its supervisor, at once on the second signal, and
unnoticed behind a successor."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Callable

from routewright.errors import GatewayError, ShuttingDown
from routewright.server.front import Worker
from routewright.server.handover import Successor, tell_service_manager
from routewright.server.workers import STOPS

LAST_EVENTS_S = 0.5
"""So that the last events of what was cut reach their clients."""
log = logging.getLogger("routewright")


class Ending:
    """One worker's. `over` is done when it may end."""

    def __init__(
        self,
        front: Worker,
        end_all: Callable[[GatewayError], None],
        drain_s: float,
        start_successor: Callable[[], Successor] | None,
        supervisor: int | None = None,
    ) -> None:
        """`end_all` ends every request with an error. `start_successor`: where no supervisor does that. `supervisor`:
        the process that has forked this one, where it is one of several."""
        self._supervisor = supervisor
        self._front = front
        self._end_all = end_all
        self._drain_s = drain_s
        self._start_successor = start_successor
        self._successor: Successor | None = None
        self._until_s = math.inf
        self._is_told = False
        self.has_successor = False
        self.over: asyncio.Future[None]
        self.close_server: Callable[[], None] = lambda: None
        """Takes no more connections."""

    def obey(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on signals count."""
        self.over = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGUSR1, self._leave)
        if self._start_successor is not None:
            loop.add_signal_handler(signal.SIGUSR2, self._hand_over)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def on_tick(self, now: float) -> None:
        if self._supervisor is not None and os.getppid() != self._supervisor and not self._is_told:
            # Nobody would replace a worker that dies, or pass a signal on; and whoever is started in its place would
            # take the port too, beside these workers, and count every limit anew.
            log.error("the supervisor has died: this worker ends after what runs")
            self._on_signal()
        if self._is_told or self._front.is_leaving:
            self._end_if_drained(now)
        if self._successor is not None and not self.has_successor:
            self._look_at_successor()  # it may take too long

    def _on_signal(self) -> None:
        """First: take no new work and let what runs finish. Second: end what runs now."""
        now = time.monotonic()
        if self._successor is not None and not self.has_successor:
            self._successor.stop()
        if self._is_told:
            self._until_s = now
        else:
            self._is_told = True
            self._until_s = now + self._drain_s
            self.close_server()
            self._front.drain()
            log.info("draining: %d requests are running", self._front.busy()[1])
        self._end_if_drained(now)

    def _hand_over(self) -> None:
        """Start a successor, and leave once it serves."""
        if self._successor is not None or self._is_told or self._front.is_leaving or self._start_successor is None:
            return
        try:
            successor = self._successor = self._start_successor()
        except OSError as error:
            log.error("no successor can be started: %s", error.strerror)
            return
        asyncio.get_running_loop().add_reader(successor.fd, self._look_at_successor)

    def _look_at_successor(self) -> None:
        successor = self._successor
        found = None if successor is None else successor.look()
        if successor is None or found is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(successor.fd)
        successor.close()
        if found and not self._is_told:
            self.has_successor = True
            log.info("process %d serves", successor.pid)
            tell_service_manager(f"MAINPID={successor.pid}")
            self._leave()
            return
        self._successor = None
        loop.run_in_executor(None, successor.give_up)

    def _leave(self) -> None:
        """A successor takes new connections: end with the last answer, however long that takes."""
        if self._is_told or self._front.is_leaving:
            return
        self.close_server()
        self._front.leave()
        log.info("leaving: %d requests are running", self._front.busy()[1])

    def _end_if_drained(self, now: float) -> None:
        if self.over.done():
            return
        if now >= self._until_s:
            self._until_s = math.inf
            self._end_all(ShuttingDown("this server is shutting down"))
            asyncio.get_running_loop().call_later(LAST_EVENTS_S, self._end)
        elif not self._front.connections:
            self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
