"""Deadlines of all connections of a worker, swept together: no timer handle per request.

A deadline is kept to within one tick. `now` is the monotonic time of the last tick; hot code reads it instead of the
clock when a quarter of a second more or less does not matter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

TICK_S = 0.25
log = logging.getLogger("routewright")


Member = TypeVar("Member")


class HasDeadline(Protocol):
    """`deadline` is a monotonic time in seconds, 0 for none; it is cleared before `on_deadline` is called."""

    deadline: float

    def on_deadline(self, now: float) -> None: ...


class Deadlines:
    """Sweeps its members once a tick and calls those whose deadline has passed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock()
        self._clock = clock
        self._members: set[HasDeadline] = set()
        self._each_tick: list[Callable[[float], None]] = []
        self._handle: asyncio.TimerHandle | None = None
        self.add = self._members.add
        self.discard = self._members.discard

    def members(self, kind: type[Member]) -> list[Member]:
        """Those of one kind, whether they have a deadline now or not."""
        return [member for member in self._members if isinstance(member, kind)]

    def every_tick(self, callback: Callable[[float], None]) -> None:
        """Call `callback(now)` at each tick."""
        self._each_tick.append(callback)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = loop.call_later(TICK_S, self._tick, loop)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = loop.call_later(TICK_S, self._tick, loop)
        try:
            self.sweep()
        except Exception:
            log.exception("a deadline's callback failed")

    def sweep(self) -> None:
        """Look at every member once. Tests call this with a clock of their own."""
        now = self.now = self._clock()
        due = [member for member in self._members if 0.0 < member.deadline <= now]
        for member in due:
            member.deadline = 0.0
            member.on_deadline(now)
        for callback in self._each_tick:
            callback(now)
