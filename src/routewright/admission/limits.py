"""Lets a call in, or says when it may come back: every limit and budget of every owner, all at once or none.

Limits are requests and tokens a minute and parallel requests; a window is 60 seconds of monotonic time from its first
request, so a clock that jumps neither opens a window twice nor closes one for good. Of budgets what a call may cost at
most is reserved before it and settled after it, so what is spent and what is held never exceed a budget together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import ceil

from routewright.admission.budgets import Budgets
from routewright.admission.counters import (
    ASKED,
    FIRST,
    FIRST_WORKER,
    HELD,
    SECOND,
    SINCE,
    TOUCHED,
    WINDOW,
    Counters,
)
from routewright.admission.leases import REFUSED, WAITS, Leases, Needs
from routewright.admission.meters import IS_KNOWN, LimitMeter, Meters, Reservation
from routewright.admission.needs import USUAL_OUTPUT_TOKENS, tokens_of
from routewright.admission.rates import WINDOW_MS, Rates
from routewright.admission.spent import SpendSource, Spent
from routewright.errors import DeploymentsBusy
from routewright.flow import Signal
from routewright.settings import KeySettings
from routewright.types import Allowance, Call, Caller, Candidates, Deployment

SMOOTHING = 0.05


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
        slot = counters.slot(worker)
        self._held = FIRST_WORKER + slot
        self._leases = leases
        """None where all that is limited here is limited for this machine alone."""
        self.ask_for: Callable[[Needs], Signal[None]] | None = None
        """Asks for what this machine's lease lacks; the signal is set when there is an answer, or none to be had."""
        self._monotonic = monotonic
        self._wall = wall
        self._without = Reservation()
        self.owners_of_call: Callable[[Caller, Call], Sequence[Meters]] | None = None
        """Whom a call's own words name beside its key: customers and tags. None while nobody of these is limited."""
        self.spent = Spent(counters, slot, source, leases, monotonic=monotonic, wall=wall)
        self._rates = Rates(counters, leases, wall=wall)
        self.money = Budgets(counters, self._rates, self.spent, leases, wall=wall)

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
        rows = reservation.limits
        now_ms = int(self._monotonic() * 1000)
        counters, cells = self._counters, self._cells
        is_shared = counters.are_shared
        if is_shared:
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
                        raise self._rates.refusal(limits, now_ms, call)
                else:
                    tokens = 0
                if (limit.rpm is not None and cells[base + FIRST] >= limit.rpm) or (
                    limit.parallel is not None and cells[base + HELD] >= limit.parallel
                ):
                    raise self._rates.refusal(limits, now_ms, call)
                rows.append((limit, base, started, tokens, None))
            if (meters.budgets or meters.by_model) and not (
                self.money.fits_at_once(meters, call, candidates, now_ms, reservation)
                or self.money.fit(meters, call, candidates, now_ms, reservation)
            ):
                return None
            own = self._held
            for limit, base, _, tokens, _ in rows:
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
            if is_shared:
                counters.unlock()
        if rows:
            reservation.fields = self._rates.fields(rows, now_ms, self._wall()) + reservation.fields
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
        counters, cells, held, leases = self._counters, self._cells, self._held, self._leases
        is_shared = counters.are_shared
        if is_shared and not budgets:
            for limit, _, _, reserved, of_model in reservation.limits:
                if limit.parallel is not None or of_model is not None or (limit.tpm is not None and tokens != reserved):
                    break
            else:
                return
        if is_shared:
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
                                self.money.tell(budget, base, now_ms)
                        else:
                            self.money.roll(budget, base, now_ms)
                            # While the ledger is being asked, it tells of what ended before the question.
                            if cells[base + SECOND] & IS_KNOWN or 0 < cells[base + ASKED] <= now_ms:
                                cells[base + FIRST] += cost_nusd
                                if leases is not None:
                                    cells[base + leases.own] += cost_nusd
                                self.money.tell(budget, base, now_ms)
                    cells[base + held] -= reserved
                    cells[base + HELD] -= reserved
                    if leases is not None and leases.is_hoarded(base):
                        leases.on_low(budget)
        finally:
            if is_shared:
                counters.unlock()

    def recount(self, caller: Caller, call: Call, model: str, cost_nusd: int, held_nusd: int, held_at_ms: int) -> None:
        """A call whose answer came long after it, such as a batch: what it cost, in place of what it was settled at
        when it was made. Where other machines were told of that already, what is left of it stays spent."""
        meters: Meters | None = caller.limits
        if self.owners_of_call is not None:
            meters = self._with_owners(meters, self.owners_of_call(caller, call))
        if meters is None:
            return
        own = meters.by_model.get(model)
        budgets = (*meters.budgets, *(own.budgets if own is not None else ()))
        self._counters.lock()
        try:
            self.money.recount(budgets, cost_nusd, held_nusd, held_at_ms, int(self._monotonic() * 1000))
        finally:
            self._counters.unlock()

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
                self._leases.wanted, self.spent.unknown = [], []
                if self._leases.is_short(limit, tokens, now_ms) == WAITS:
                    return None
            ((_, base, started, _, _),) = self._rates.rows((limit,), now_ms)
            kind = self._rates.reached(limit, tokens)
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
        self.spent.unknown = []
        now_ms = int(self._wall() * 1000)
        for each in (meters, *meters.by_model.values()):
            for budget in each.budgets:
                self.money.locate(budget, now_ms, mono_ms)
        found = self._leases.cover(meters, call, candidates, mono_ms, now_ms)
        if found == REFUSED:
            raise self._rates.refusal(meters.limits, mono_ms, call)
        return found != WAITS

    async def learn(self) -> None:
        """Ask for what is not known of the limits and budgets of the call just looked at: what was spent, and whether
        other machines leave it room. Raises StorageUnavailable."""
        if self._leases is not None and self._leases.wanted:
            assert self.ask_for is not None
            for answer in [self.ask_for(needs) for needs in self._leases.wanted]:
                await answer
        await self.spent.learn()

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
