"""What this machine holds of limits and budgets that other machines use too.

A call is counted in the shared rows as ever; beside the counts stands what this machine was given of the limit, and no
call passes beyond it. What is missing is asked for, before the call goes on; what was not used is given back. While
nobody can be asked, the machine keeps to its share: what it holds, and of the rest one part in as many as there are
machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from routewright.admission.counters import ASKED, FIRST, HELD, LEASE_CELLS, SECOND, TOUCHED, WINDOW, Counters
from routewright.admission.fields import limit_fields
from routewright.admission.meters import IS_KNOWN, BudgetMeter, LimitMeter, LimitRow, Meters
from routewright.admission.needs import groups_of, tokens_of, worst_nusd
from routewright.types import Call, Candidates

(
    GIVEN, GIVEN_TOKENS, PLACES, PLACES_END, SOURCE, ENDED, ASKING, DRY, TOLD, LEFT, LEFT_TOKENS, LEFT_PLACES,
    SPARE, SPARE_TOKENS,
) = range(LEASE_CELLS)  # fmt: skip
"""Cells of a row's lease. What is given: requests and tokens of this window, places for parallel requests, and until
when these are ours; which window of the server's it is, and which was before; since when a question is under way, until
when there is nothing to be had, when the server last heard of us; what nobody held then; and how much of what is given
was given ahead of need."""
OWN, BASE = GIVEN_TOKENS, PLACES
"""Of a budget's row: what this machine has spent since the ledger was asked, and what the ledger said. GIVEN is what it
may have spent and hold together."""
BY_SHARE = -1
"""In SOURCE: not the server but the rule for its absence has given."""

WINDOW_MS = 60_000
LEASE_MS = 15_000
"""Places, and money held for calls that run, are others' again when nothing was heard of a machine for so long."""
RENEW_MS = 4_000
TOLD_MS = 1_000
"""What is not used for so long is given back."""
DRY_MS = 50
"""Where less was to be had than was wanted, nobody asks for more than what was left for so long."""
HEARD_MS = 1_500
"""Each worker says a word to the server every second."""
STALE_MS = 2_000
"""What was left of a budget so long ago is no measure of what is left now."""
SMALL = 200
"""A limit for fewer calls than this is leased one by one: a portion in hand here would be missing there."""
PORTION = 20
"""Of a larger one no more than this part is taken ahead of need."""
_NEVER_MS = 1 << 62

COVERED, WAITS, REFUSED = range(3)


class Sharing(NamedTuple):
    """How a worker stands with the server that leases come from."""

    is_connected: bool
    round_trip_s: float
    """Of its last word."""
    machines: int
    """That share, as far as was heard."""
    leases: int
    """Limits and budgets that this worker asks for."""


class Needs:
    """What a call lacks of one limit or budget."""

    __slots__ = ("least", "meter", "places", "requests", "units")

    def __init__(self, meter: LimitMeter | BudgetMeter, requests: int, units: int, least: int, places: int) -> None:
        self.meter = meter
        self.requests = requests
        self.units = units
        """Tokens, or nano-dollars."""
        self.least = least
        """Fewer units are of no use."""
        self.places = places


class Leases:
    """One worker's view of them; all of it is called under the lock of the counters."""

    def __init__(self, counters: Counters, *, has_one_ledger: bool = False) -> None:
        """`has_one_ledger`: what all machines spend is in one database."""
        self.has_one_ledger = has_one_ledger
        self._counters = counters
        self._cells = counters.cells
        self.at = counters.lease
        self.own = counters.lease + OWN
        self.is_away = False
        """Nobody can be asked."""
        self.wanted: list[Needs] = []
        """What the call just looked at has to wait for."""
        self.on_low: Callable[[LimitMeter | BudgetMeter], None] = lambda meter: None
        """Called when more should be asked for, or something given back, though nobody waits for it."""
        self.on_away: Callable[[LimitMeter | BudgetMeter], object] = lambda meter: None
        """Called for what is used while nobody can be asked: it has to be told later."""

    # --- looking ------------------------------------------------------------------------------------------------------

    def cover(self, meters: Meters, call: Call, candidates: Candidates, mono_ms: int, now_ms: int) -> int:
        """COVERED: what is held here is enough, or asking would not help; WAITS: `wanted` says for what; REFUSED."""
        self.wanted = []
        is_refused = False
        for limit in meters.limits:
            if self.is_short(limit, tokens_of(limit, call), mono_ms) == REFUSED:
                is_refused = True
        if is_refused:
            return REFUSED
        if meters.budgets or meters.by_model:
            groups = groups_of(candidates)
            costs = [worst_nusd(group, call) for group in groups]
            if costs:
                for budget in meters.budgets:
                    self._is_short_of_money(budget, max(costs), min(costs), mono_ms, now_ms)
            for group, cost in zip(groups, costs, strict=True) if meters.by_model else ():
                own = meters.by_model.get(group.name)
                if own is not None:
                    for limit in own.limits:  # refused: then another candidate may answer
                        self.is_short(limit, tokens_of(limit, call), mono_ms)
                    for budget in own.budgets:
                        self._is_short_of_money(budget, cost, cost, mono_ms, now_ms)
        return WAITS if self.wanted else COVERED

    def is_short(self, limit: LimitMeter, tokens: int, mono_ms: int) -> int:
        """Whether a call of `tokens` finds room in what this machine holds, has to wait, or is refused."""
        cells, base = self._cells, limit.base
        if cells[base] != limit.tag:
            base = limit.base = self._counters.find(limit.tag, mono_ms)
        at = base + self.at
        self.settle_window(limit, base, mono_ms)
        cells[base + TOUCHED] = mono_ms
        requests = limit.rpm is not None and cells[base + FIRST] >= cells[at + GIVEN]
        units = limit.tpm is not None and cells[base + SECOND] + tokens > cells[at + GIVEN_TOKENS]
        places = limit.parallel is not None and cells[base + HELD] >= cells[at + PLACES]
        if not (requests or units or places):
            if (cells[at + SPARE] and cells[at + GIVEN] - cells[base + FIRST] <= cells[at + SPARE] // 4) or (
                cells[at + SPARE_TOKENS]
                and cells[at + GIVEN_TOKENS] - cells[base + SECOND] <= cells[at + SPARE_TOKENS] // 4
            ):
                self.on_low(limit)
            return COVERED
        if self.is_away or limit.rpm == 0 or limit.tpm == 0 or limit.parallel == 0:
            return REFUSED
        if mono_ms < cells[at + DRY] and (
            (requests and cells[at + LEFT] <= 0)
            or (units and cells[base + SECOND] + tokens - cells[at + GIVEN_TOKENS] > cells[at + LEFT_TOKENS])
            or (places and cells[at + LEFT_PLACES] <= 0)
        ):
            return REFUSED
        # What is not missing is asked for too: another call may take it meanwhile.
        self.wanted.append(Needs(limit, int(limit.rpm is not None), tokens, tokens, int(limit.parallel is not None)))
        return WAITS

    def reached(self, limit: LimitMeter, tokens: int) -> str:
        """Which of an owner's limits has no room here for a call of `tokens`; empty where all have."""
        cells, base = self._cells, limit.base
        at = base + self.at
        if limit.rpm is not None and cells[base + FIRST] >= min(limit.rpm, cells[at + GIVEN]):
            return "requests"
        if limit.tpm is not None and cells[base + SECOND] + tokens > min(limit.tpm, cells[at + GIVEN_TOKENS]):
            return "tokens"
        if limit.parallel is not None and cells[base + HELD] >= min(limit.parallel, cells[at + PLACES]):
            return "max_parallel_requests"
        return ""

    def _is_short_of_money(
        self, budget: BudgetMeter, most_nusd: int, least_nusd: int, mono_ms: int, now_ms: int
    ) -> None:
        cells, base = self._cells, budget.base
        amount = budget.amount_nusd(now_ms)
        if (
            amount is None
            or cells[base] != budget.tag
            or cells[base + WINDOW] != budget.start_ms
            or not cells[base + SECOND] & IS_KNOWN
        ):
            return  # what it has spent is asked for first
        at = base + self.at
        used = cells[at + OWN] + cells[base + HELD]
        if self.is_away:
            self.on_away(budget)
            if cells[at + SOURCE] != BY_SHARE and not self._is_heard(mono_ms):
                if cells[at + SOURCE] and self.has_one_ledger and mono_ms - cells[at + TOLD] > STALE_MS:
                    # Others may have spent since: the ledger they all write to is asked before the share is taken.
                    cells[base + SECOND] &= ~IS_KNOWN
                    cells[base + ASKED], cells[at + TOLD] = 0, mono_ms
                    return
                given = cells[at + GIVEN] if cells[at + SOURCE] else used
                left = amount - budget.before_nusd - cells[base + FIRST] - (given - cells[at + OWN])
                if cells[at + SOURCE]:
                    left = min(left, cells[at + LEFT])  # the server knew of what others held, the ledger does not
                cells[at + GIVEN] = given + max(0, left) // self._counters.replicas
                cells[at + SOURCE], cells[at + LEFT] = BY_SHARE, 0
        elif cells[at + SOURCE] == BY_SHARE:
            cells[at + SOURCE], cells[at + GIVEN] = 0, used
        if cells[at + GIVEN] - used >= most_nusd:
            if cells[at + SPARE] and cells[at + GIVEN] - used - most_nusd <= cells[at + SPARE] // 4:
                self.on_low(budget)
        elif not self.is_away and (
            mono_ms >= cells[at + DRY] or 0 < least_nusd - cells[at + GIVEN] + used <= cells[at + LEFT]
        ):
            self.wanted.append(Needs(budget, 0, most_nusd, least_nusd, 0))

    def room_nusd(self, base: int) -> int:
        """What of a budget this machine may still spend."""
        cells, at = self._cells, base + self.at
        return cells[at + GIVEN] - cells[at + OWN] - cells[base + HELD]

    def is_hoarded(self, base: int) -> bool:
        """More of a budget lies unused in hand than is left for all others: near its end that may be all they lack."""
        at = base + self.at
        return self._cells[at + SOURCE] == 1 and self.room_nusd(base) > self._cells[at + LEFT]

    # --- windows ------------------------------------------------------------------------------------------------------

    def roll(self, base: int, mono_ms: int) -> None:
        """A limit's window has ended: nothing is given in the next one yet."""
        cells, at = self._cells, base + self.at
        cells[base + WINDOW] = mono_ms or -1
        cells[base + FIRST] = cells[base + SECOND] = 0
        if cells[at + SOURCE] > 0:
            cells[at + ENDED] = cells[at + SOURCE]
        for cell in (GIVEN, GIVEN_TOKENS, SOURCE, DRY, LEFT, LEFT_TOKENS):
            cells[at + cell] = 0

    def forget_budget(self, base: int) -> None:
        """A budget's row speaks of another window from now on."""
        at = base + self.at
        for cell in range(at, at + LEASE_CELLS):
            self._cells[cell] = 0

    def ledger_said(self, base: int, spent_nusd: int, since_nusd: int) -> None:
        """What was spent when the ledger was asked, and what this machine has spent since. It holds what it held."""
        cells, at = self._cells, base + self.at
        cells[at + GIVEN] += since_nusd - cells[at + OWN]
        cells[at + OWN] = since_nusd
        cells[at + BASE] = spent_nusd

    def settle_window(self, limit: LimitMeter, base: int, mono_ms: int) -> None:
        """Have the row speak of the window that is now, and by the rule that holds now."""
        cells, at = self._cells, base + self.at
        if not cells[base + WINDOW] or mono_ms - cells[base + WINDOW] >= WINDOW_MS:
            self.roll(base, mono_ms)
        places_end = cells[at + PLACES_END]
        if self.is_away:
            self.on_away(limit)
            if self._is_heard(mono_ms):
                return
            count = self._counters.replicas
            if cells[at + SOURCE] != BY_SHARE:
                is_fresh = not cells[at + SOURCE]
                for given, left, used, most in (
                    (GIVEN, LEFT, FIRST, limit.rpm), (GIVEN_TOKENS, LEFT_TOKENS, SECOND, limit.tpm),
                ):  # fmt: skip
                    if most is not None:
                        share = part(most, count)
                        if is_fresh:
                            cells[at + given] = max(cells[base + used], share)
                        else:
                            # What was left may be less by now: beyond its share of the whole it takes none.
                            more = min(cells[at + left] // count, share - cells[at + given])
                            cells[at + given] += max(0, more)
                        cells[at + left] = 0
                cells[at + SOURCE] = BY_SHARE
            if limit.parallel is not None and places_end != _NEVER_MS:
                share = part(limit.parallel, count)
                cells[at + LEFT_PLACES] = 0
                if mono_ms < places_end:
                    cells[at + PLACES] = max(cells[at + PLACES], share)
                else:
                    cells[at + PLACES], cells[at + PLACES_END] = share, _NEVER_MS
            return
        if cells[at + SOURCE] == BY_SHARE:
            # The share ends here; what was used of it is told with the next question.
            cells[at + SOURCE] = 0
            cells[at + GIVEN], cells[at + GIVEN_TOKENS] = cells[base + FIRST], max(0, cells[base + SECOND])
        if places_end and (places_end == _NEVER_MS or mono_ms >= places_end):
            cells[at + PLACES] = cells[at + PLACES_END] = 0

    def _is_heard(self, mono_ms: int) -> bool:
        """Another worker of this machine leases: what it is given is for all, and there is no share beside it."""
        return 0 <= mono_ms - self._counters.heard_ms < HEARD_MS

    # --- what clients are told ----------------------------------------------------------------------------------------

    def fields(self, rows: Sequence[LimitRow], mono_ms: int, wall_s: float) -> bytes:
        """As `limit_fields`, of what is left over all machines as far as that is known here."""
        cells = self._cells
        seen: list[int] = []
        told: list[LimitRow] = []
        for limit, base, started, tokens, model in rows:
            at, here = base + self.at, len(seen)
            seen += [0] * (HELD + 1)
            for most, used, given, left in (
                (limit.rpm, FIRST, GIVEN, LEFT), (limit.tpm, SECOND, GIVEN_TOKENS, LEFT_TOKENS),
                (limit.parallel, HELD, PLACES, LEFT_PLACES),
            ):  # fmt: skip
                if most is not None:
                    remaining = cells[at + given] - cells[base + used] + cells[at + left]
                    seen[here + used] = most - max(0, min(most, remaining))
            told.append((limit, here, started, tokens, model))
        return limit_fields(seen, told, mono_ms, wall_s)


def part(most: int, count: int) -> int:
    """A machine's share of a limit. Never less than one: a small limit would become none."""
    return max(1, most // count) if most else 0
