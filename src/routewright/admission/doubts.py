"""After a worker has died: what its calls held is given back at once, and what they had spent is made sure of.

A call's cost is counted a moment before its record is on disk. A worker that is killed in between has counted what the
ledger never hears of, and a budget would seem that much fuller until its window ends. So each budget that is used after
a death is asked of the ledger once more, and this time the answer is taken even where it is less. It is asked when
every living worker has all on disk that it had counted by then: nothing is taken back that was really spent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from routewright.admission.counters import ASKED, FIRST, SECOND, SINCE, SURE, WINDOW, Counters
from routewright.admission.meters import IS_KNOWN, BudgetMeter
from routewright.errors import GatewayError

if TYPE_CHECKING:
    from routewright.admission.spent import SpendSource

MOST_AT_ONCE = 200
PATIENCE_MS = 5000
"""A worker whose disk takes nothing has not written for so long: the question is put again later."""


class Doubts:
    """One worker's part in it; whoever used a budget last asks."""

    def __init__(
        self, counters: Counters, source: SpendSource, on_told: Callable[[int, int, int], None] | None = None
    ) -> None:
        """`on_told`: called under the lock with a row, what the ledger said, and what was spent since."""
        self._on_told = on_told
        self._counters = counters
        self._source = source
        self._noted: dict[int, BudgetMeter] = {}
        self._waiting: list[tuple[BudgetMeter, int]] = []
        """Budgets whose question waits for the disks, each with the start of its window."""
        self._marked_ms = 0
        self._asked_ms = 0
        self._deaths = 0

    def note(self, budgets: Iterable[BudgetMeter]) -> None:
        """These were used lately."""
        if self._counters.deaths:
            self._noted.update({budget.tag: budget for budget in budgets})

    def is_doubted(self, budget: BudgetMeter) -> bool:
        cells = self._counters.cells
        return cells[budget.base] == budget.tag and cells[budget.base + SURE] != self._counters.deaths

    def on_tick(self, wall_ms: int, monotonic_ms: int) -> None:
        """Mark, wait until all is on disk, ask: one lot at a time."""
        if self._waiting:
            if self._counters.all_written(self._marked_ms):
                self._ask()
            elif monotonic_ms - self._marked_ms > PATIENCE_MS:
                self.note([budget for budget, _ in self._waiting])
                self._waiting = []
        elif self._noted:
            self._mark(wall_ms, monotonic_ms)

    def _mark(self, wall_ms: int, monotonic_ms: int) -> None:
        cells = self._counters.cells
        self._counters.lock()
        try:
            self._deaths = self._counters.deaths
            self._marked_ms, self._asked_ms = monotonic_ms, wall_ms + 1
            for tag in list(self._noted)[:MOST_AT_ONCE]:
                budget = self._noted[tag]
                base = budget.base
                if not self.is_doubted(budget) or not cells[base + SECOND] & IS_KNOWN:
                    del self._noted[tag]
                elif cells[base + ASKED] <= wall_ms - PATIENCE_MS:  # else somebody is asking already
                    del self._noted[tag]
                    cells[base + ASKED], cells[base + SINCE] = self._asked_ms, 0
                    self._waiting.append((budget, cells[base + WINDOW]))
        finally:
            self._counters.unlock()

    def _ask(self) -> None:
        asked, self._waiting = self._waiting, []
        asked_ms, deaths = self._asked_ms, self._deaths

        def told(answers: Sequence[int | GatewayError]) -> None:
            cells = self._counters.cells
            self._counters.lock()
            try:
                for (budget, start_ms), spent in zip(asked, answers, strict=True):
                    base = budget.base
                    if cells[base] != budget.tag or cells[base + ASKED] != asked_ms:
                        continue
                    cells[base + ASKED] = 0
                    if isinstance(spent, GatewayError):
                        self._noted[budget.tag] = budget
                    elif cells[base + WINDOW] == start_ms:
                        cells[base + FIRST] = spent + cells[base + SINCE]
                        cells[base + SURE] = deaths
                        if self._on_told is not None:
                            self._on_told(base, spent, cells[base + SINCE])
            finally:
                self._counters.unlock()

        questions = [(budget.allowance, start_ms, min(budget.end_ms, asked_ms)) for budget, start_ms in asked]
        self._source.ask(questions, told)
