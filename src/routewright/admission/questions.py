"""What a machine tells of its lease, and how it takes what it is given; one question at a time for a row.

Told are whole amounts, so that a question that was lost, or asked twice, changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from routewright.admission.counters import FIRST, HELD, SECOND, TOUCHED, WINDOW, Counters
from routewright.admission.leases import (
    ASKING,
    BASE,
    BY_SHARE,
    DRY,
    DRY_MS,
    ENDED,
    GIVEN,
    GIVEN_TOKENS,
    LEASE_MS,
    LEFT,
    LEFT_PLACES,
    LEFT_TOKENS,
    OWN,
    PLACES,
    PLACES_END,
    PORTION,
    RENEW_MS,
    SMALL,
    SOURCE,
    SPARE,
    SPARE_TOKENS,
    TOLD,
    TOLD_MS,
    WINDOW_MS,
    Leases,
    Needs,
)
from routewright.admission.meters import BudgetMeter, LimitMeter
from routewright.flow import Signal

STUCK_MS = 10_000
"""A question without an answer for so long was a dead worker's."""
_QUICK_MS = 1000
"""Who asks again within this time gets twice as much ahead of need."""
_NO_LIMIT = [-1, 0, 0, 0, 0, 0]


class Question(ABC):
    """The standing matter of one row: what calls of this worker lack, and what was last asked."""

    def __init__(
        self, meter: LimitMeter | BudgetMeter, counters: Counters, leases: Leases, keys: Sequence[str]
    ) -> None:
        self.tag = meter.tag
        self.keys = keys
        """Of the server's."""
        self.waiting: list[Signal[None]] = []
        self._asked: list[Signal[None]] = []
        """Calls that the question under way was asked for."""
        self._meter = meter
        self._counters = counters
        self._cells = counters.cells
        self._leases = leases
        self._requests = self._units = self._places = self._least = 0
        self._wanted = (0, 0, 0)
        self._asked_ms = -_QUICK_MS
        self._stamp = self._window = 0
        self._is_taking = True

    def add(self, needs: Needs) -> Signal[None]:
        """One more call waits for this row."""
        self._requests += needs.requests
        self._units += needs.units
        self._places += needs.places
        self._least = min(self._least, needs.least) if self.waiting else needs.least
        signal: Signal[None] = Signal()
        self.waiting.append(signal)
        return signal

    def release_asked(self) -> list[Signal[None]]:
        """The calls that the question under way was asked for, to be set free."""
        found, self._asked = self._asked, []
        return found

    def release(self) -> list[Signal[None]]:
        """Whoever waits, to be set free: each looks again, and finds what there is now."""
        found, self.waiting = self.release_asked() + self.waiting, []
        self._requests = self._units = self._places = self._least = 0
        return found

    # --- under the lock of the counters -------------------------------------------------------------------------------

    def is_busy(self, mono_ms: int) -> bool:
        """A question is under way, perhaps another worker's."""
        cells, base = self._cells, self._meter.base
        asking = cells[base + self._leases.at + ASKING]
        return cells[base] == self.tag and asking > 0 and mono_ms - asking < STUCK_MS

    def is_idle(self, mono_ms: int, after_ms: int) -> bool:
        """Nothing was heard of its owner for so long, and nothing of it is held."""
        cells, base = self._cells, self._meter.base
        if self.waiting or self._asked:
            return False
        if cells[base] != self.tag:
            return True
        return mono_ms - cells[base + TOUCHED] > after_ms and not cells[base + HELD] and not self._holds(base)

    def ask(self, mono_ms: int, now_ms: int, *, only_tell: bool = False, is_last: bool = False) -> list[int] | None:
        """The arguments of a question; None: there is nothing to say.

        `only_tell`: say what is in use, ask for nothing and take nothing. `is_last`: give back what is not in use.
        """
        cells, meter = self._cells, self._meter
        if cells[meter.base] != self.tag:
            if not self.waiting:
                return None
            meter.base = self._counters.find(self.tag, mono_ms)
        base = meter.base
        if only_tell:
            found = self._tell(base, mono_ms, now_ms)
        else:
            is_used = mono_ms - cells[base + TOUCHED] < TOLD_MS and not is_last
            is_due = is_last or mono_ms - cells[base + self._leases.at + TOLD] >= TOLD_MS
            found = self._ask(base, mono_ms, now_ms, is_used, is_due)
        if found is None:
            return None
        if self.waiting:
            self._asked_ms = mono_ms
        self._is_taking = not only_tell
        self._stamp = cells[base + self._leases.at + ASKING] = mono_ms or 1
        self._window = cells[base + WINDOW]
        self._asked, self.waiting = self.waiting, []
        self._requests = self._units = self._places = self._least = 0
        return found

    def answered(self, reply: Sequence[Any], sent_ms: int, mono_ms: int) -> None:
        """Take what was given. `sent_ms`: when it was asked; what the server says to last does so from then on."""
        cells, base = self._cells, self._meter.base
        at = base + self._leases.at
        if cells[base] == self.tag and cells[at + ASKING] == self._stamp:
            cells[at + ASKING], cells[at + TOLD] = 0, mono_ms
            if self._is_taking:
                self._take(base, reply, sent_ms, mono_ms)
            else:
                self._hear(base, reply)

    def failed(self) -> None:
        """Nobody has answered."""
        cells, base = self._cells, self._meter.base
        if cells[base] == self.tag and cells[base + self._leases.at + ASKING] == self._stamp:
            cells[base + self._leases.at + ASKING] = 0

    def is_hoarding(self) -> bool:
        """Something was set free while the last question was under way that others may lack."""
        return False

    # --- of limits and of budgets -------------------------------------------------------------------------------------

    @abstractmethod
    def _holds(self, base: int) -> bool:
        """Whether something would be lost if nobody spoke of the row any more."""

    @abstractmethod
    def _tell(self, base: int, mono_ms: int, now_ms: int) -> list[int] | None: ...

    @abstractmethod
    def _ask(self, base: int, mono_ms: int, now_ms: int, is_used: bool, is_due: bool) -> list[int] | None: ...

    @abstractmethod
    def _take(self, base: int, reply: Sequence[Any], sent_ms: int, mono_ms: int) -> None: ...

    def _hear(self, base: int, reply: Sequence[Any]) -> None:  # noqa: B027 - of a limit nothing is to be learnt
        """The answer where nothing was asked for."""

    def _ahead(self, most: int, per_call: int, wanted: int, spare: int, free: int, mono_ms: int) -> int:
        """What to take ahead of need: twice as much as last time to whom that did not last a second."""
        if most < SMALL * max(1, per_call):
            return 0
        if (wanted and mono_ms - self._asked_ms < _QUICK_MS) or (spare and free <= spare // 4):
            return min(most // PORTION, max(2 * spare, wanted, 1))
        return 0


class LimitQuestion(Question):
    """Arguments: the window that ended, what is left of this one, six numbers each of requests, tokens and places."""

    def __init__(self, limit: LimitMeter, counters: Counters, leases: Leases, keys: Sequence[str]) -> None:
        super().__init__(limit, counters, leases, keys)
        self._limit = limit

    def speak_of(self, limit: LimitMeter) -> None:
        """What is in force now; the owner is the same."""
        self._meter = self._limit = limit

    def _holds(self, base: int) -> bool:
        return self._cells[base + self._leases.at + PLACES] > 0

    def _tell(self, base: int, mono_ms: int, now_ms: int) -> list[int] | None:
        cells, limit = self._cells, self._limit
        requests, tokens, places = cells[base + FIRST], max(0, cells[base + SECOND]), cells[base + HELD]
        if mono_ms - cells[base + WINDOW] >= WINDOW_MS:
            requests = tokens = 0
        if not (requests or tokens or places):
            return None
        told = [
            [most, used, 0, 0, 0, 0] if most is not None else _NO_LIMIT
            for most, used in ((limit.rpm, requests), (limit.tpm, tokens), (limit.parallel, places))
        ]
        return [*self._rest(base, mono_ms), *told[0], *told[1], *told[2], LEASE_MS]

    def _ask(self, base: int, mono_ms: int, now_ms: int, is_used: bool, is_due: bool) -> list[int] | None:
        cells, limit, leases = self._cells, self._limit, self._leases
        at = base + leases.at
        leases.settle_window(limit, base, mono_ms)
        has_news = False
        is_known = cells[at + SOURCE] > 0
        arguments: list[int] = []
        wants = [0, 0, 0]
        for place, (most, given, used, wanted, least, spare) in enumerate((
            (limit.rpm, GIVEN, FIRST, self._requests, 1, SPARE),
            (limit.tpm, GIVEN_TOKENS, SECOND, self._units, self._least, SPARE_TOKENS),
        )):  # fmt: skip
            if most is None:
                arguments += _NO_LIMIT
                continue
            in_use = max(0, cells[base + used])
            free = cells[at + given] - in_use
            if not is_used:
                cells[at + spare] = 0
            more = self._ahead(most, least, wanted, cells[at + spare], free, mono_ms) if is_used else 0
            if is_due and not more:
                cells[at + spare] //= 2  # what was taken ahead has lasted a second
            if is_due and free > cells[at + spare]:
                free, has_news = cells[at + spare], has_news or is_known
            if free < 0:  # more was used than was reserved
                free, has_news = 0, True
            cells[at + given] = in_use + free
            wants[place] = max(0, wanted - free)
            arguments += [most, in_use + free, wants[place], min(wants[place], max(0, least - free)), least, more]
            has_news |= wants[place] > 0 or more > 0
            # What is left over all machines is looked at again, for whoever asks.
            has_news |= is_due and is_known and cells[at + TOLD] < cells[base + TOUCHED]
        if limit.parallel is None:
            arguments += _NO_LIMIT
        else:
            in_use = cells[base + HELD]
            kept = in_use + (limit.parallel // PORTION if is_used and limit.parallel >= SMALL else 0)
            held = max(in_use, min(cells[at + PLACES], kept))
            wants[2] = max(0, self._places - (held - in_use))
            has_news |= held != cells[at + PLACES] or wants[2] > 0
            has_news |= held > 0 and mono_ms - cells[at + TOLD] >= RENEW_MS
            cells[at + PLACES] = held
            more = limit.parallel // PORTION if wants[2] and limit.parallel >= SMALL else 0
            arguments += [limit.parallel, held, wants[2], min(1, wants[2]), 1, more]
        if not has_news:
            return None
        self._wanted = (wants[0], wants[1], wants[2])
        return [*self._rest(base, mono_ms), *arguments, LEASE_MS]

    def _rest(self, base: int, mono_ms: int) -> list[int]:
        cells = self._cells
        at = base + self._leases.at
        rest = cells[base + WINDOW] + WINDOW_MS - mono_ms
        has_begun = cells[base + FIRST] > 0 or cells[base + SECOND] > 0 or cells[at + SOURCE] > 0
        return [cells[at + ENDED], rest if has_begun and 0 < rest < WINDOW_MS else WINDOW_MS]

    def _take(self, base: int, reply: Sequence[Any], sent_ms: int, mono_ms: int) -> None:
        cells = self._cells
        at = base + self._leases.at
        window, left_ms, *kinds = reply
        is_dry = False
        if window and cells[base + WINDOW] == self._window and cells[at + SOURCE] != BY_SHARE:
            if window != cells[at + SOURCE]:
                cells[at + SOURCE] = window
                cells[base + WINDOW] = (sent_ms + left_ms - WINDOW_MS) or -1
            for place, used, of, rest, spare in (
                (0, FIRST, GIVEN, LEFT, SPARE), (1, SECOND, GIVEN_TOKENS, LEFT_TOKENS, SPARE_TOKENS),
            ):  # fmt: skip
                before, given, left = kinds[place]
                cells[base + used] += before
                cells[at + of] += before + given
                cells[at + rest] = left
                if given:
                    cells[at + spare] = max(0, given - self._wanted[place])
                is_dry |= given < self._wanted[place]
        if self._limit.parallel is not None:
            _, given, left = kinds[2]
            cells[at + PLACES] += given
            cells[at + PLACES_END] = sent_ms + LEASE_MS
            cells[at + LEFT_PLACES] = left
            is_dry |= given < self._wanted[2]
        cells[at + DRY] = mono_ms + DRY_MS if is_dry else 0


class BudgetQuestion(Question):
    """Arguments: what the ledger said, spent since, held, all that is known to be spent, the budget, and what is
    wanted of it."""

    def __init__(self, budget: BudgetMeter, counters: Counters, leases: Leases, keys: Sequence[str]) -> None:
        super().__init__(budget, counters, leases, keys)
        self._budget = budget
        self.start_ms, self.end_ms = budget.start_ms, budget.end_ms
        self._own_told = 0

    def speak_of(self, budget: BudgetMeter) -> None:
        """What is in force now; the owner and the window are the same."""
        self._meter = self._budget = budget

    def is_hoarding(self) -> bool:
        base = self._meter.base
        return self._cells[base] == self.tag and self._is_current(base) and self._leases.is_hoarded(base)

    def _holds(self, base: int) -> bool:
        return self._leases.room_nusd(base) > 0

    def _is_current(self, base: int) -> bool:
        return self._cells[base + WINDOW] == self._budget.start_ms == self.start_ms

    def _tell(self, base: int, mono_ms: int, now_ms: int) -> list[int] | None:
        cells, budget = self._cells, self._budget
        at = base + self._leases.at
        amount = budget.amount_nusd(now_ms)
        if amount is None or not self._is_current(base):
            return None
        self._own_told = cells[at + OWN]
        left = amount - budget.before_nusd
        known = cells[base + FIRST]
        # The share in hand may still be spent, and whoever leases again a moment earlier must not be given it.
        held = cells[base + HELD] + max(0, self._leases.room_nusd(base))
        return [cells[at + BASE], cells[at + OWN], held, known, left, 0, 0, 1, 0, LEASE_MS]

    def _ask(self, base: int, mono_ms: int, now_ms: int, is_used: bool, is_due: bool) -> list[int] | None:
        cells, budget = self._cells, self._budget
        at = base + self._leases.at
        amount = budget.amount_nusd(now_ms)
        if amount is None or not self._is_current(base):
            return None
        own, in_use = cells[at + OWN], cells[base + HELD]
        free = cells[at + GIVEN] - own - in_use
        has_news = own != self._own_told and is_due
        if cells[at + SOURCE] == BY_SHARE and not self._leases.is_away:
            cells[at + SOURCE], free, has_news = 0, 0, True
        if not is_used:
            cells[at + SPARE] = 0
        more = self._ahead(amount, self._least, self._units, cells[at + SPARE], free, mono_ms) if is_used else 0
        if self._leases.is_hoarded(base):
            cells[at + SPARE] = min(cells[at + SPARE], cells[at + LEFT] // (4 * self._counters.replicas))
            if free > cells[at + SPARE]:
                free, has_news = cells[at + SPARE], True
        elif is_due and not more:
            cells[at + SPARE] //= 2  # what was taken ahead has lasted a second
        if is_due and free > cells[at + SPARE]:
            free, has_news = cells[at + SPARE], True
        free = max(0, free)
        cells[at + GIVEN] = own + in_use + free
        wanted = max(0, self._units - free)
        has_news |= wanted > 0 or more > 0
        has_news |= in_use + free > 0 and mono_ms - cells[at + TOLD] >= RENEW_MS
        if not has_news:
            return None
        self._own_told = own
        self._wanted = (wanted, 0, 0)
        least = min(wanted, max(0, self._least - free))
        left = amount - budget.before_nusd
        return [
            cells[at + BASE], own, in_use + free, cells[base + FIRST], left, wanted, least, self._least, more, LEASE_MS,
        ]  # fmt: skip

    def _take(self, base: int, reply: Sequence[Any], sent_ms: int, mono_ms: int) -> None:
        cells = self._cells
        at = base + self._leases.at
        if not self._is_current(base):
            return
        spent, given, left = reply
        cells[base + FIRST] = spent + max(0, cells[at + OWN] - self._own_told)
        if cells[at + SOURCE] != BY_SHARE:
            cells[at + SOURCE] = 1
            cells[at + GIVEN] += given
            cells[at + LEFT] = left
            if given:
                cells[at + SPARE] = max(0, given - self._wanted[0])
        cells[at + DRY] = mono_ms + DRY_MS if given < self._wanted[0] else 0

    def _hear(self, base: int, reply: Sequence[Any]) -> None:
        # Others may not have told yet what they use, so there is at most so much.
        left = self._leases.at + base + LEFT
        if self._is_current(base):
            self._cells[left] = min(self._cells[left], reply[2])
