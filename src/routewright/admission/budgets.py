"""Money: what a call may cost at most is held in every budget that applies, or the call is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from routewright.admission.counters import (
    ASKED,
    FIRST,
    HELD,
    LATEST,
    SECOND,
    TOUCHED,
    WINDOW,
    Counters,
)
from routewright.admission.fields import budget_fields, refusal_of_budget
from routewright.admission.leases import Leases
from routewright.admission.meters import IS_KNOWN, BudgetMeter, BudgetRow, LimitMeter, Meters, Reservation
from routewright.admission.needs import groups_of, tokens_of, worst_nusd
from routewright.admission.rates import Rates
from routewright.admission.spent import Spent
from routewright.errors import BudgetExceeded, RateLimited
from routewright.types import Allowance, Call, Candidates, Group

Rooms = list[tuple[int, BudgetMeter]]
"""What is left of each budget, in nano-dollars."""
Alert = Callable[[str, Allowance, int, int], None]
"""Called with the event's name, whose budget it is, what is spent, and the end of the window (0: never), in
nano-dollars and milliseconds."""
_IS_TOLD_SOFT, _IS_TOLD_HARD = 2, 4


class Budgets:
    """All of it is called under the lock of the counters."""

    def __init__(
        self,
        counters: Counters,
        rates: Rates,
        spent: Spent,
        leases: Leases | None = None,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._counters = counters
        self._cells = counters.cells
        self._rates = rates
        self._spent = spent
        self._leases = leases
        self._wall = wall
        self.on_crossing: Alert | None = None

    def fits_at_once(
        self, meters: Meters, call: Call, candidates: Candidates, mono_ms: int, reservation: Reservation
    ) -> bool:
        """The usual case: one model and room in every budget. False leaves everything to `fit`."""
        groups = candidates.groups
        if (
            len(groups) != 1
            or meters.by_model
            or candidates.fallbacks
            or candidates.context_window_fallbacks
            or (candidates.content_policy_fallbacks)
        ):
            return False
        now_ms = int(self._wall() * 1000)
        cost = worst_nusd(groups[0], call)
        cells, leases = self._cells, self._leases
        fields = b""
        held: list[BudgetRow] = []
        for budget in meters.budgets:
            base = budget.base
            if (
                cells[base] != budget.tag
                or not budget.start_ms <= now_ms < budget.end_ms
                or cells[base + WINDOW] != budget.start_ms
                or not cells[base + SECOND] & IS_KNOWN
            ):
                return False
            spent = cells[base + FIRST]
            used = spent + cells[base + HELD]
            if used >= budget.cap_nusd or used + cost > budget.cap_nusd:
                return False
            if leases is not None and leases.room_nusd(base) < cost and budget.allowance.budget_nusd is not None:
                return False
            cells[base + TOUCHED] = mono_ms
            self._spent.used[budget.tag] = budget
            held.append((budget, base, cost, None))
            if budget.allowance.scope == "key":
                fields = budget_fields(spent + budget.before_nusd, budget.amount_nusd(now_ms))
        reservation.budgets = held
        reservation.fields = fields
        return True

    def fit(self, meters: Meters, call: Call, candidates: Candidates, mono_ms: int, reservation: Reservation) -> bool:
        """Find room for the call in every budget, dropping candidates that are too dear; False: spend not known.

        Raises BudgetExceeded, or RateLimited where the limits of every candidate's own model are reached.
        """
        now_ms = int(self._wall() * 1000)
        self._spent.unknown = []
        rooms = self._rooms(meters.budgets, now_ms, mono_ms)
        room = min([left for left, _ in rooms], default=None)
        rooms_of: dict[str, Rooms] = {}
        refusals: dict[str, RateLimited] = {}
        groups = groups_of(candidates)
        by_model = meters.by_model
        for group in groups if by_model else ():
            own = by_model.get(group.name)
            if own is not None:
                rooms_of[group.name] = self._rooms(own.budgets, now_ms, mono_ms)
                refusal = self._rates.refusal_by_any(own.limits, call, mono_ms)
                if refusal is not None:
                    refusals[group.name] = refusal
        if self._spent.unknown:
            return False
        costs = {group.name: worst_nusd(group, call) for group in groups}

        def fits(group: Group) -> bool:
            name = group.name
            cost = costs[name]
            if name in refusals or (room is not None and (room <= 0 or cost > room)):
                return False
            return all(0 < left >= cost for left, _ in rooms_of.get(name, ()))

        kept = _narrow(candidates, fits)
        if not kept:
            for refusal in refusals.values():
                raise refusal
            everything = rooms + [pair for pairs in rooms_of.values() for pair in pairs]
            raise self._over_budget(everything, min(costs.values(), default=0), now_ms, meters.limits, mono_ms)
        cost = max([costs[name] for name in kept])
        for budget in meters.budgets:
            self._spent.used[budget.tag] = budget
            reservation.budgets.append((budget, budget.base, cost, None))
            if budget.allowance.scope == "key":
                spent = self._cells[budget.base + FIRST] + budget.before_nusd
                reservation.fields = budget_fields(spent, budget.amount_nusd(now_ms))
        for name in kept if by_model else ():
            own = by_model.get(name)
            if own is not None:
                for budget in own.budgets:
                    self._spent.used[budget.tag] = budget
                    reservation.budgets.append((budget, budget.base, costs[name], name))
                for limit in own.limits:
                    started = self._cells[limit.base + WINDOW]
                    reservation.limits.append((limit, limit.base, started, tokens_of(limit, call), name))
        return True

    def _rooms(self, budgets: Sequence[BudgetMeter], now_ms: int, mono_ms: int) -> Rooms:
        """What is neither spent nor held of each budget that has a cap; notes those whose spend is not known."""
        cells = self._cells
        rooms = []
        for budget in budgets:
            base = self.locate(budget, now_ms, mono_ms)
            if not cells[base + SECOND] & IS_KNOWN:
                if not cells[base + ASKED]:
                    cells[base + ASKED] = now_ms + 1
                    cells[base + FIRST] = 0
                self._spent.unknown.append((budget, cells[base + ASKED]))
                continue
            amount = budget.amount_nusd(now_ms)
            if amount is not None:
                left = amount - cells[base + FIRST] - budget.before_nusd - cells[base + HELD]
                if self._leases is not None:
                    left = min(left, self._leases.room_nusd(base))
                rooms.append((left, budget))
        return rooms

    def locate(self, budget: BudgetMeter, now_ms: int, mono_ms: int) -> int:
        """Its row, in the window that is now."""
        base = budget.base
        if self._cells[base] != budget.tag:
            base = budget.base = self._counters.find(budget.tag, mono_ms)
        self._cells[base + TOUCHED] = mono_ms
        self.roll(budget, base, now_ms)
        return base

    def roll(self, budget: BudgetMeter, base: int, now_ms: int) -> None:
        """Let a row speak of the window that is now.

        In a window that is later than any before nothing is spent. Into one that was there already a clock that was
        set back may lead; what it has spent must be asked again.
        """
        if not budget.start_ms <= now_ms < budget.end_ms:
            budget.start_ms, budget.end_ms = budget.window.bounds(now_ms)
        cells = self._cells
        start_ms = budget.start_ms
        if cells[base + WINDOW] == start_ms:
            return
        is_known = cells[base + SECOND] & IS_KNOWN and start_ms > cells[base + LATEST]
        cells[base + FIRST] = cells[base + ASKED] = 0
        cells[base + SECOND] = IS_KNOWN if is_known else 0
        cells[base + WINDOW] = start_ms
        if self._leases is not None:
            self._leases.forget_budget(base)
        if start_ms > cells[base + LATEST]:
            cells[base + LATEST] = start_ms

    def recount(
        self, budgets: Sequence[BudgetMeter], cost_nusd: int, held_nusd: int, held_at_ms: int, mono_ms: int
    ) -> None:
        """What a call cost, in place of what was spent for it at `held_at_ms`."""
        cells, leases = self._cells, self._leases
        now_ms = int(self._wall() * 1000)
        for budget in budgets:
            base = self.locate(budget, now_ms, mono_ms)
            if not cells[base + SECOND] & IS_KNOWN:
                continue  # the ledger is asked before anybody is let in, and knows it
            more = cost_nusd - (held_nusd if budget.start_ms <= held_at_ms < budget.end_ms else 0)
            if leases is not None:
                more = max(0, more)
                cells[base + leases.own] += more
            cells[base + FIRST] = max(0, cells[base + FIRST] + more)
            self.tell(budget, base, now_ms)

    def tell(self, budget: BudgetMeter, base: int, now_ms: int) -> None:
        """Raise the alert of a budget that is crossed, once in its window."""
        cells = self._cells
        flags = cells[base + SECOND]
        if not flags & IS_KNOWN:
            return
        allowance = budget.allowance
        spent = cells[base + FIRST] + budget.before_nusd
        soft, hard = allowance.soft_budget_nusd, budget.amount_nusd(now_ms)
        event = ""
        if hard is not None and spent >= hard and not flags & _IS_TOLD_HARD:
            event, flags = "budget_crossed", flags | _IS_TOLD_HARD | _IS_TOLD_SOFT
        elif soft is not None and spent >= soft and not flags & _IS_TOLD_SOFT:
            event, flags = "soft_budget_crossed", flags | _IS_TOLD_SOFT
        if event:
            cells[base + SECOND] = flags
            if self.on_crossing is not None:
                self.on_crossing(event, allowance, spent, budget.end_ms if budget.window.ends else 0)

    def _over_budget(
        self, rooms: Rooms, cost_nusd: int, now_ms: int, limits: tuple[LimitMeter, ...], mono_ms: int
    ) -> BudgetExceeded:
        """Of all budgets without room the one that is reset last, so that waiting for it is enough."""
        full = [budget for left, budget in rooms if left <= 0 or left < cost_nusd]
        self._spent.used.update({each.tag: each for each in full})  # it may seem full because of a worker that died
        budget = max(full, key=lambda each: each.end_ms)
        error = refusal_of_budget(budget, self._cells[budget.base + FIRST], cost_nusd, now_ms)
        if limits:
            error.fields = self._rates.fields(self._rates.rows(limits, mono_ms), mono_ms, now_ms / 1000)
        return error


def _narrow(candidates: Candidates, fits: Callable[[Group], bool]) -> list[str]:
    """Leave only what fits; the names of all that is left, empty where no candidate is."""
    allowed = range(len(candidates.groups)) if candidates.allowed is None else candidates.allowed
    kept = [index for index in allowed if fits(candidates.groups[index])]
    if not kept:
        return []
    if len(kept) != len(candidates.groups):
        candidates.allowed = kept
    candidates.fallbacks = [group for group in candidates.fallbacks if fits(group)]
    candidates.context_window_fallbacks = [group for group in candidates.context_window_fallbacks if fits(group)]
    candidates.content_policy_fallbacks = [group for group in candidates.content_policy_fallbacks if fits(group)]
    return [group.name for group in groups_of(candidates)]
