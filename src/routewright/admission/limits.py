"""Lets a call in, or says when it may come back: every limit and budget of every owner, all at once or none.

Limits are requests and tokens a minute and parallel requests; a window is 60 seconds of monotonic time from its first
request, so a clock that jumps neither opens a window twice nor closes one for good. Of budgets what a call may cost at
most is reserved before it and settled after it, so what is spent and what is held never exceed a budget together.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import ceil
from typing import Protocol

from routewright.admission.counters import (
    ASKED,
    FIRST,
    FIRST_WORKER,
    HELD,
    LATEST,
    SECOND,
    SINCE,
    TOUCHED,
    WINDOW,
    Counters,
)
from routewright.admission.doubts import Doubts
from routewright.admission.fields import budget_fields, limit_fields, refusal_of_budget, refusal_of_limit
from routewright.admission.leases import REFUSED, WAITS, Leases, Needs
from routewright.admission.meters import IS_KNOWN, BudgetMeter, BudgetRow, LimitMeter, LimitRow, Meters, Reservation
from routewright.admission.needs import USUAL_OUTPUT_TOKENS, groups_of, tokens_of, worst_nusd
from routewright.errors import BudgetExceeded, DeploymentsBusy, GatewayError, RateLimited, StorageUnavailable
from routewright.flow import Signal
from routewright.settings import KeySettings
from routewright.types import Allowance, Call, Caller, Candidates, Deployment, Group

WINDOW_MS = 60_000
SMOOTHING = 0.05
MOST_QUESTIONS = 200
MOST_SEEN = 2000
STUCK_MS = 60_000
"""A question without an answer for so long was a dead worker's."""
Rooms = list[tuple[int, BudgetMeter]]
"""What is left of each budget, in nano-dollars."""
_IS_TOLD_SOFT, _IS_TOLD_HARD = 2, 4
log = logging.getLogger("routewright")

Alert = Callable[[str, Allowance, int, int], None]
"""Called with the event's name, whose budget it is, what is spent, and the end of the window (0: never), in
nano-dollars and milliseconds."""


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


class Admission:
    """One worker's door."""

    def __init__(
        self,
        counters: Counters,
        worker: int,
        *,
        source: SpendSource | None = None,
        leases: Leases | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._counters = counters
        self._cells = counters.cells
        self._slot = counters.slot(worker)
        self._held = FIRST_WORKER + self._slot
        counters.note_written(self._slot, 0)
        self._source: SpendSource = source or NoSource()
        self._doubts = Doubts(counters, self._source, leases.ledger_said if leases is not None else None)
        self._leases = leases
        """None where all that is limited here is limited for this machine alone."""
        self._limit_fields = leases.fields if leases is not None else partial(limit_fields, counters.cells)
        self.ask_for: Callable[[Needs], Signal[None]] | None = None
        """Asks for what this machine's lease lacks; the signal is set when there is an answer, or none to be had."""
        self._monotonic = monotonic
        self._wall = wall
        self._without = Reservation()
        self._unknown: list[tuple[BudgetMeter, int]] = []
        self._used: dict[int, BudgetMeter] = {}
        """Budgets that calls were admitted under since they were last looked at again."""
        self._seen: dict[int, BudgetMeter] = {}
        """Some of those before, for who wants to see them."""
        self._asked: dict[tuple[int, int, int], list[Signal[GatewayError | None]]] = {}
        self.owners_of_call: Callable[[Caller, Call], Sequence[Meters]] | None = None
        """Whom a call's own words name beside its key: customers and tags. None while nobody of these is limited."""
        self.on_crossing: Alert | None = None

    def meters_of(
        self, allowances: Sequence[Allowance], by_model: dict[str, list[Allowance]] | None = None
    ) -> Meters | None:
        """What `Caller.limits` holds; the counts of an owner outlive it. Raises ValueError for a wrong duration."""
        return Meters.of(self._counters, allowances, by_model)

    def limits_of(self, key_hash: str, settings: KeySettings) -> Meters | None:
        """The meters of a static key."""
        return self.meters_of(*settings.allowances(key_hash))

    def admit(self, caller: Caller, call: Call, candidates: Candidates) -> Reservation | None:
        """Reserve all that the call may use; `candidates` loses those that a budget has no room for.

        None: what a budget has spent is not known here yet; await `learn` and try again. Raises RateLimited or
        BudgetExceeded with the time until the request could pass.
        """
        meters: Meters | None = caller.limits
        if self.owners_of_call is not None:
            meters = self._with_owners(meters, self.owners_of_call(caller, call))
        if meters is None:
            return self._without
        limits = meters.limits
        reservation = Reservation()
        now_ms = int(self._monotonic() * 1000)
        counters, cells = self._counters, self._cells
        counters.lock()
        try:
            if self._leases is not None and not self._is_covered(meters, call, candidates, now_ms):
                return None
            wanted = 0
            for limit in limits:
                base = limit.base
                if cells[base] != limit.tag:
                    base = limit.base = counters.find(limit.tag, now_ms)
                started = cells[base + WINDOW]
                if not started or now_ms - started >= WINDOW_MS:
                    started = cells[base + WINDOW] = max(1, now_ms)
                    cells[base + FIRST] = cells[base + SECOND] = 0
                cells[base + TOUCHED] = now_ms
                most = limit.tpm
                if most is not None:
                    if not wanted:
                        output = call.max_tokens if call.max_tokens is not None else USUAL_OUTPUT_TOKENS
                        wanted = max(1, call.prompt_tokens_estimate + output * call.n_choices)
                    # A call larger than the whole limit may pass on an empty window; else it never could.
                    tokens = wanted if wanted < most else max(1, most)
                    if cells[base + SECOND] + tokens > most:
                        raise self._refusal(limits, now_ms, call)
                else:
                    tokens = 0
                if (limit.rpm is not None and cells[base + FIRST] >= limit.rpm) or (
                    limit.parallel is not None and cells[base + HELD] >= limit.parallel
                ):
                    raise self._refusal(limits, now_ms, call)
                reservation.limits.append((limit, base, started, tokens, None))
            if (meters.budgets or meters.by_model) and not (
                self._fits_at_once(meters, call, candidates, now_ms, reservation)
                or self._fit(meters, call, candidates, now_ms, reservation)
            ):
                return None
            own = self._held
            for limit, base, _, tokens, _ in reservation.limits:
                cells[base + FIRST] += 1
                if tokens:
                    cells[base + SECOND] += tokens
                if limit.parallel is not None:
                    cells[base + own] += 1
                    cells[base + HELD] += 1
            for _, base, cost_nusd, _ in reservation.budgets:
                cells[base + own] += cost_nusd
                cells[base + HELD] += cost_nusd
        finally:
            counters.unlock()
        if reservation.limits:
            reservation.fields = self._limit_fields(reservation.limits, now_ms, self._wall()) + reservation.fields
        return reservation

    def settle(
        self,
        reservation: Reservation,
        tokens: int,
        cost_nusd: int = 0,
        *,
        deployment: Deployment | None = None,
        ended_at_ms: int | None = None,
    ) -> None:
        """Give back what was held, and count what was really used; `ended_at_ms` is what the ledger will say."""
        if reservation is self._without:
            return
        model = deployment.model_name if deployment is not None else None
        budgets = reservation.budgets
        if not budgets:
            for limit, _, _, reserved, of_model in reservation.limits:
                if limit.parallel is not None or of_model is not None or (limit.tpm is not None and tokens != reserved):
                    break
            else:
                return
        counters, cells, held, leases = self._counters, self._cells, self._held, self._leases
        counters.lock()
        try:
            for limit, base, started, reserved, of_model in reservation.limits:
                if cells[base] != limit.tag:
                    continue
                if limit.parallel is not None:
                    cells[base + held] -= 1
                    cells[base + HELD] -= 1
                    if leases is not None:
                        leases.on_low(limit)  # somebody may wait for this place elsewhere
                if cells[base + WINDOW] == started:
                    if of_model is not None and of_model != model:
                        cells[base + FIRST] -= 1
                        cells[base + SECOND] -= reserved
                    elif limit.tpm is not None:
                        cells[base + SECOND] += tokens - reserved
            if budgets:
                now_ms = ended_at_ms if ended_at_ms is not None else int(self._wall() * 1000)
                for budget, base, reserved, of_model in budgets:
                    if cells[base] != budget.tag:
                        continue
                    # Spent first: a process killed in between has then counted too much rather than too little.
                    if of_model is None or of_model == model:
                        if (
                            budget.start_ms <= now_ms < budget.end_ms
                            and cells[base + WINDOW] == budget.start_ms
                            and cells[base + SECOND] & IS_KNOWN
                        ):
                            spent = cells[base + FIRST] = cells[base + FIRST] + cost_nusd
                            if leases is not None:
                                cells[base + leases.own] += cost_nusd
                            if 0 < cells[base + ASKED] <= now_ms:
                                cells[base + SINCE] += cost_nusd
                            if spent >= budget.first_mark_nusd:
                                self._tell(budget, base, now_ms)
                        else:
                            self._roll(budget, base, now_ms)
                            # While the ledger is being asked, it tells of what ended before the question.
                            if cells[base + SECOND] & IS_KNOWN or 0 < cells[base + ASKED] <= now_ms:
                                cells[base + FIRST] += cost_nusd
                                if leases is not None:
                                    cells[base + leases.own] += cost_nusd
                                self._tell(budget, base, now_ms)
                    cells[base + held] -= reserved
                    cells[base + HELD] -= reserved
        finally:
            counters.unlock()

    # --- deployments --------------------------------------------------------------------------------------------------

    def enter(self, deployment: Deployment, call: Call) -> Reservation | None:
        """Count a call against the limits of the deployment that it is about to be sent to. Raises DeploymentsBusy.

        None: what other machines use of it is not known here yet; await `learn` and try again.
        """
        limit = self._limit_of(deployment)
        reservation = Reservation()
        now_ms = int(self._monotonic() * 1000)
        tokens = tokens_of(limit, call)
        cells = self._cells
        self._counters.lock()
        try:
            if self._leases is not None:
                self._leases.wanted, self._unknown = [], []
                if self._leases.is_short(limit, tokens, now_ms) == WAITS:
                    return None
            ((_, base, started, _, _),) = self._rows((limit,), now_ms)
            kind = self._reached(limit, tokens)
            if kind:
                wait_ms = 1000 if kind == "max_parallel_requests" else started + WINDOW_MS - now_ms
                wait_s = max(1, -(-wait_ms // 1000))
                raise DeploymentsBusy(
                    f"this model is at its limit of {kind.replace('_', ' ')} for now; try again in {wait_s} s",
                    retry_after_s=wait_s,
                    limit_type=kind,
                    reset_at_epoch_s=ceil(self._wall()) + wait_s,
                )
            reservation.limits.append((limit, base, started, tokens, None))
            cells[base + FIRST] += 1
            cells[base + SECOND] += tokens
            if limit.parallel is not None:
                cells[base + self._held] += 1
                cells[base + HELD] += 1
        finally:
            self._counters.unlock()
        return reservation

    def leave(self, held: Reservation, tokens: int) -> None:
        """The call to the deployment has ended."""
        self.settle(held, tokens)

    def used(self, deployment: Deployment) -> int:
        """Tokens sent to a deployment in the minute that is now, by all workers; of running calls those reserved."""
        limit = self._limit_of(deployment)
        cells = self._cells
        now_ms = int(self._monotonic() * 1000)
        if cells[limit.base] != limit.tag:
            self._counters.lock()
            try:
                limit.base = self._counters.find(limit.tag, now_ms)
            finally:
                self._counters.unlock()
        started = cells[limit.base + WINDOW]
        return cells[limit.base + SECOND] if started and now_ms - started < WINDOW_MS else 0

    def _limit_of(self, deployment: Deployment) -> LimitMeter:
        limit: LimitMeter | None = deployment.limits
        if limit is None:
            assert deployment.allowance is not None
            limit = deployment.limits = LimitMeter(deployment.allowance, self._counters)
        return limit

    # --- leases -------------------------------------------------------------------------------------------------------

    def _is_covered(self, meters: Meters, call: Call, candidates: Candidates, mono_ms: int) -> bool:
        """Whether what this machine holds of its limits is enough. Raises RateLimited where there is no more."""
        assert self._leases is not None
        self._unknown = []
        now_ms = int(self._wall() * 1000)
        for each in (meters, *meters.by_model.values()):
            for budget in each.budgets:
                self._locate(budget, now_ms, mono_ms)
        found = self._leases.cover(meters, call, candidates, mono_ms, now_ms)
        if found == REFUSED:
            raise self._refusal(meters.limits, mono_ms, call)
        return found != WAITS

    # --- budgets ------------------------------------------------------------------------------------------------------

    def _fits_at_once(
        self, meters: Meters, call: Call, candidates: Candidates, mono_ms: int, reservation: Reservation
    ) -> bool:
        """The usual case: one model and room in every budget. False leaves everything to `_fit`."""
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
            self._used[budget.tag] = budget
            held.append((budget, base, cost, None))
            if budget.allowance.scope == "key":
                fields = budget_fields(spent + budget.before_nusd, budget.amount_nusd(now_ms))
        reservation.budgets = held
        reservation.fields = fields
        return True

    def _fit(self, meters: Meters, call: Call, candidates: Candidates, mono_ms: int, reservation: Reservation) -> bool:
        """Find room for the call in every budget, dropping candidates that are too dear; False: spend not known.

        Raises BudgetExceeded, or RateLimited where the limits of every candidate's own model are reached.
        """
        now_ms = int(self._wall() * 1000)
        self._unknown = []
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
                refusal = self._model_refusal(own, call, mono_ms)
                if refusal is not None:
                    refusals[group.name] = refusal
        if self._unknown:
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
            self._used[budget.tag] = budget
            reservation.budgets.append((budget, budget.base, cost, None))
            if budget.allowance.scope == "key":
                spent = self._cells[budget.base + FIRST] + budget.before_nusd
                reservation.fields = budget_fields(spent, budget.amount_nusd(now_ms))
        for name in kept if by_model else ():
            own = by_model.get(name)
            if own is not None:
                for budget in own.budgets:
                    self._used[budget.tag] = budget
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
            base = self._locate(budget, now_ms, mono_ms)
            if not cells[base + SECOND] & IS_KNOWN:
                if not cells[base + ASKED]:
                    cells[base + ASKED] = now_ms + 1
                    cells[base + FIRST] = 0
                self._unknown.append((budget, cells[base + ASKED]))
                continue
            amount = budget.amount_nusd(now_ms)
            if amount is not None:
                left = amount - cells[base + FIRST] - budget.before_nusd - cells[base + HELD]
                if self._leases is not None:
                    left = min(left, self._leases.room_nusd(base))
                rooms.append((left, budget))
        return rooms

    def _locate(self, budget: BudgetMeter, now_ms: int, mono_ms: int) -> int:
        """Its row, in the window that is now."""
        base = budget.base
        if self._cells[base] != budget.tag:
            base = budget.base = self._counters.find(budget.tag, mono_ms)
        self._cells[base + TOUCHED] = mono_ms
        self._roll(budget, base, now_ms)
        return base

    def _roll(self, budget: BudgetMeter, base: int, now_ms: int) -> None:
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

    def _tell(self, budget: BudgetMeter, base: int, now_ms: int) -> None:
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
        self._used.update({each.tag: each for each in full})  # it may seem full because of a worker that died
        budget = max(full, key=lambda each: each.end_ms)
        error = refusal_of_budget(budget, self._cells[budget.base + FIRST], cost_nusd, now_ms)
        if limits:
            error.fields = self._limit_fields(self._rows(limits, mono_ms), mono_ms, now_ms / 1000)
        return error

    def _model_refusal(self, own: Meters, call: Call, now_ms: int) -> RateLimited | None:
        """Whether the limits that are a candidate's own let the call in."""
        rows = self._rows(own.limits, now_ms)
        if any(self._reached(limit, tokens_of(limit, call)) for limit, *_ in rows):
            return self._refusal(own.limits, now_ms, call)
        return None

    # --- refusals ---------------------------------------------------------------------------------------------------

    def _rows(self, limits: Iterable[LimitMeter], now_ms: int) -> list[LimitRow]:
        """Each limit's row, in the window that is now."""
        cells = self._cells
        rows: list[LimitRow] = []
        for limit in limits:
            base = limit.base
            if cells[base] != limit.tag:
                base = limit.base = self._counters.find(limit.tag, now_ms)
            started = cells[base + WINDOW]
            if not started or now_ms - started >= WINDOW_MS:
                if self._leases is not None:
                    self._leases.roll(base, now_ms)
                started = cells[base + WINDOW] = max(1, now_ms)
                cells[base + FIRST] = cells[base + SECOND] = 0
            cells[base + TOUCHED] = now_ms
            rows.append((limit, base, started, 0, None))
        return rows

    def _reached(self, limit: LimitMeter, tokens: int) -> str:
        """Which of an owner's limits has no room for a call of `tokens`; empty where all have."""
        if self._leases is not None:
            return self._leases.reached(limit, tokens)
        cells, base = self._cells, limit.base
        if limit.rpm is not None and cells[base + FIRST] >= limit.rpm:
            return "requests"
        if limit.tpm is not None and cells[base + SECOND] + tokens > limit.tpm:
            return "tokens"
        if limit.parallel is not None:
            return "max_parallel_requests" if cells[base + HELD] >= limit.parallel else ""
        return ""

    def _refusal(self, limits: Iterable[LimitMeter], now_ms: int, call: Call) -> RateLimited:
        """Of all limits that are reached the one that takes longest, so that waiting for it is enough."""
        rows = self._rows(limits, now_ms)
        worst: tuple[int, LimitMeter, str] | None = None
        for limit, _, started, _, _ in rows:
            kind = self._reached(limit, tokens_of(limit, call))
            # Of parallel requests nobody knows when one ends; soon, as a rule.
            wait_ms = 1000 if kind == "max_parallel_requests" else started + WINDOW_MS - now_ms
            if kind and (worst is None or wait_ms > worst[0]):
                worst = wait_ms, limit, kind
        assert worst is not None
        wall_s = self._wall()
        error = refusal_of_limit(worst[1], worst[2], worst[0], wall_s)
        error.fields = self._limit_fields(rows, now_ms, wall_s)
        return error

    # --- what was spent before ----------------------------------------------------------------------------------------

    async def learn(self) -> None:
        """Ask for what is not known of the limits and budgets of the call just looked at: what was spent, and whether
        other machines leave it room. Raises StorageUnavailable."""
        if self._leases is not None and self._leases.wanted:
            assert self.ask_for is not None
            for answer in [self.ask_for(needs) for needs in self._leases.wanted]:
                await answer
        waiting: list[Signal[GatewayError | None]] = []
        for budget, asked_ms in self._unknown:
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
        used, self._used = list(self._used.values()), {}
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
        for budget in [*self._seen.values(), *self._used.values()]:
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

    def _with_owners(self, meters: Meters | None, owners: Sequence[Meters]) -> Meters | None:
        if not owners:
            return meters
        all_of_them = [meters, *owners] if meters is not None else owners
        return Meters(
            tuple([limit for each in all_of_them for limit in each.limits]),
            tuple([budget for each in all_of_them for budget in each.budgets]),
            meters.by_model if meters is not None else {},
        )


def note_output(deployment: Deployment, tokens: int) -> None:
    """Remember how long a deployment's answers are, for those whose length nobody bounds."""
    health = deployment.health
    usual = health.usual_output_tokens
    health.usual_output_tokens = usual + SMOOTHING * (tokens - usual) if usual else float(tokens)


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
