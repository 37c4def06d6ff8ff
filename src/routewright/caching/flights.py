"""Equal requests under way: one asks, the others wait for what it is answered.

The key is the cache's, so nobody gets what the cache would not give. Whoever waits is given the answer once it is whole
and good, never a piece of one: so a leader that fails, or whose client leaves, costs the others time and nothing else.
The first of them takes its place. When that fails too, all go their own ways: a provider that is in trouble must not be
asked by one after the other, each after the last one's timeout.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final

from routewright.caching.entry import Entry
from routewright.flow import Signal

MAX_FAILURES: Final = 2
MAX_WAIT_S: Final = 60.0
"""For another's answer; then a request asks for itself."""


class Turn(Enum):
    """What somebody who waited is to do where there is no answer to be had."""

    LEAD = 1
    ALONE = 2
    LEFT = 3
    """Its client has gone."""


Waiting = Signal[Entry | Turn]


class Flight:
    """One request that is asked, and those that wait for it."""

    __slots__ = ("failures", "key", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.waiting: list[Waiting] = []
        self.failures = 0


class Flights:
    """All that are under way in this worker."""

    def __init__(self) -> None:
        self._by_key: dict[str, Flight] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def lead(self, key: str) -> Flight | None:
        """A flight that the caller leads and has to `end`; None where somebody leads one already."""
        if key in self._by_key:
            return None
        flight = self._by_key[key] = Flight(key)
        return flight

    def join(self, key: str) -> tuple[Flight, Waiting]:
        """Wait for the one that is under way."""
        flight = self._by_key[key]
        signal: Waiting = Signal()
        flight.waiting.append(signal)
        return flight, signal

    def end(self, flight: Flight, entry: Entry | None, *, has_failed: bool = True) -> None:
        """The leader is done. `has_failed`: there was no good answer, rather than no client to take it."""
        if entry is None and has_failed:
            flight.failures += 1
        waiting = [signal for signal in flight.waiting if not signal.is_set]
        turn: Entry | Turn = Turn.ALONE if entry is None else entry
        if entry is None and waiting and flight.failures < MAX_FAILURES:
            flight.waiting = waiting[1:]
            waiting, turn = waiting[:1], Turn.LEAD
        else:
            del self._by_key[flight.key]
        # Each in a turn of its own: what wakes goes on at once, inside the call that wakes it.
        for signal in waiting:
            asyncio.get_running_loop().call_soon(self._wake, flight, signal, turn)

    def _wake(self, flight: Flight, signal: Waiting, turn: Entry | Turn) -> None:
        if not signal.is_set:
            signal.set(turn)
        elif turn is Turn.LEAD:  # its client has left in between: the next one's turn
            self.end(flight, None, has_failed=False)
