"""What budgets have spent before: asked of the ledger when it is not known here, and again from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from routewright.admission.counters import ASKED, FIRST, SECOND, SINCE, WINDOW, Counters
from routewright.admission.doubts import Doubts
from routewright.admission.leases import Leases
from routewright.admission.meters import IS_KNOWN, BudgetMeter
from routewright.errors import GatewayError, StorageUnavailable
from routewright.flow import Signal
from routewright.types import Allowance

MOST_QUESTIONS = 200
MOST_SEEN = 2000
STUCK_MS = 60_000
"""A question without an answer for so long was a dead worker's."""

Question = tuple[Allowance, int, int]
"""Whose spend, from when, and before when; milliseconds since 1970."""


class SpendSource(Protocol):
    """Where it is known what an owner has spent before. A call is settled before it is on disk, by less than a turn of
    its worker's loop; an answer waits for so long."""

    def ask(self, questions: Sequence[Question], then: Callable[[Sequence[int | GatewayError]], None]) -> None:
        """Call `then` with an answer for each: the nano-dollars spent by calls that ended from the first moment on and
        before the second, every record that is on disk by now counted in."""


class NoSource:
    """No ledger: what a budget has spent can't be known, so nobody with a budget is let in."""

    def ask(self, questions: Sequence[Question], then: Callable[[Sequence[int | GatewayError]], None]) -> None:
        then([StorageUnavailable("budgets are kept by the ledger, and there is none")] * len(questions))


class Spent:
    """One worker's knowledge of it."""

    def __init__(
        self,
        counters: Counters,
        slot: int,
        source: SpendSource | None = None,
        leases: Leases | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._counters = counters
        self._cells = counters.cells
        self._slot = slot
        counters.note_written(slot, 0)
        self._source: SpendSource = source or NoSource()
        self._leases = leases
        self._doubts = Doubts(counters, self._source, leases.ledger_said if leases is not None else None)
        self._monotonic = monotonic
        self._wall = wall
        self.unknown: list[tuple[BudgetMeter, int]] = []
        """Budgets of the call just looked at whose spend is not known, and when that was first asked."""
        self.used: dict[int, BudgetMeter] = {}
        """Budgets that calls were admitted under since they were last looked at again."""
        self._seen: dict[int, BudgetMeter] = {}
        """Some of those before, for who wants to see them."""
        self._asked: dict[tuple[int, int, int], list[Signal[GatewayError | None]]] = {}

    async def learn(self) -> None:
        """Ask for what is not known of the budgets of the call just looked at. Raises StorageUnavailable."""
        waiting: list[Signal[GatewayError | None]] = []
        for budget, asked_ms in self.unknown:
            waiting.append(Signal())
            asked = (budget.tag, budget.start_ms, asked_ms)
            if asked in self._asked:
                self._asked[asked].append(waiting[-1])
            else:
                self._asked[asked] = [waiting[-1]]
                self._ask(budget, asked)
        for signal in waiting:
            error = await signal
            if error is not None:
                raise error

    def _ask(self, budget: BudgetMeter, asked: tuple[int, int, int]) -> None:
        _, start_ms, asked_ms = asked

        def told(spent: int | GatewayError) -> None:
            if not isinstance(spent, GatewayError):
                self._set_spent(budget, start_ms, asked_ms, spent)
            for signal in self._asked.pop(asked):
                signal.set(spent if isinstance(spent, GatewayError) else None)

        self._source.ask([(budget.allowance, start_ms, min(budget.end_ms, asked_ms))], lambda found: told(found[0]))

    def _set_spent(self, budget: BudgetMeter, start_ms: int, asked_ms: int, spent: int) -> None:
        """What ended before the question, beside what has ended since; whichever worker hears it first."""
        cells = self._cells
        self._counters.lock()
        try:
            base = self._counters.find(budget.tag, int(self._monotonic() * 1000))
            if (
                cells[base + WINDOW] == start_ms
                and cells[base + ASKED] == asked_ms
                and not cells[base + SECOND] & IS_KNOWN
            ):
                if self._leases is not None:
                    self._leases.ledger_said(base, spent, cells[base + FIRST])
                cells[base + FIRST] += spent
                cells[base + SECOND] |= IS_KNOWN
                cells[base + ASKED] = 0
        finally:
            self._counters.unlock()

    def on_tick(self, *, is_all_written: bool) -> None:
        """`is_all_written`: all that was settled here is on disk."""
        if self._counters.are_shared:
            monotonic_ms = int(self._monotonic() * 1000)
            if is_all_written:
                self._counters.note_written(self._slot, monotonic_ms)
            self._doubts.on_tick(int(self._wall() * 1000), monotonic_ms)

    def refresh(self, *, is_shared: bool = True) -> None:
        """Look again at the budgets in use: where the database `is_shared` with other replicas, they may have spent
        from them too. What is known here already is never taken back, so between two looks nothing is forgotten;
        save where a worker has died."""
        used, self.used = list(self.used.values()), {}
        self._seen.update((budget.tag, budget) for budget in used[: MOST_SEEN - len(self._seen)])
        self._doubts.note(used)
        if not is_shared:
            return
        used = [budget for budget in used if not self._doubts.is_doubted(budget)]
        for start in range(0, len(used), MOST_QUESTIONS):
            self._refresh(used[start : start + MOST_QUESTIONS])

    def budgets(self) -> list[tuple[BudgetMeter, int, int]]:
        """Budgets that calls were admitted under, what is spent of each in nano-dollars, and when its window ends in
        milliseconds since 1970 (0: never)."""
        found, now_ms = [], int(self._wall() * 1000)
        for budget in [*self._seen.values(), *self.used.values()]:
            start_ms, end_ms = budget.window.bounds(now_ms)
            base = budget.base
            if self._cells[base] == budget.tag:
                spent = self._cells[base + FIRST] if self._cells[base + WINDOW] == start_ms else 0
                found.append((budget, spent + budget.before_nusd, end_ms if budget.window.ends else 0))
        return found

    def _refresh(self, budgets: Sequence[BudgetMeter]) -> None:
        cells = self._cells
        now_ms = int(self._wall() * 1000)
        asked: list[tuple[BudgetMeter, int]] = []
        self._counters.lock()
        try:
            for budget in budgets:
                base = budget.base
                is_free = not cells[base + ASKED] or cells[base + ASKED] < now_ms - STUCK_MS
                if cells[base] == budget.tag and cells[base + SECOND] & IS_KNOWN and is_free:
                    cells[base + ASKED], cells[base + SINCE] = now_ms + 1, 0
                    asked.append((budget, cells[base + WINDOW]))
        finally:
            self._counters.unlock()

        def told(answers: Sequence[int | GatewayError]) -> None:
            self._counters.lock()
            try:
                for (budget, start_ms), spent in zip(asked, answers, strict=True):
                    base = budget.base
                    if cells[base] != budget.tag or cells[base + ASKED] != now_ms + 1:
                        continue
                    cells[base + ASKED] = 0
                    if cells[base + WINDOW] == start_ms and not isinstance(spent, GatewayError):
                        cells[base + FIRST] = max(cells[base + FIRST], spent + cells[base + SINCE])
                        if self._leases is not None:
                            self._leases.ledger_said(base, spent, cells[base + SINCE])
            finally:
                self._counters.unlock()

        if asked:
            questions = [(budget.allowance, start_ms, min(budget.end_ms, now_ms + 1)) for budget, start_ms in asked]
            self._source.ask(questions, told)
