"""Budgets: spent and reserved never exceed one together, by clocks that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from admission.test_limits import WORKERS, Clock, in_workers, told
from routewright.admission.counters import FIRST, HELD, Counters
from routewright.admission.limits import Admission
from routewright.admission.meters import Reservation
from routewright.admission.spent import Question
from routewright.errors import BudgetExceeded, GatewayError, StorageUnavailable
from routewright.types import Allowance, Caller, Candidates, Group, Price
from values import call, caller, deployment

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

HOUR_S = 3600
NOON_S = 1_700_049_600.0  # 2023-11-15 12:00 UTC
USD_NUSD = 1_000_000_000
CHEAP, DEAR = Price(input_usd_per_token=0.0, output_usd_per_token=1e-6), Price(
    input_usd_per_token=0.0, output_usd_per_token=1e-4
)  # fmt: skip
CHEAP_NUSD, DEAR_NUSD = 1000, 100_000
"""Per token of an answer."""


class Spent:
    """What the ledger knows: rows of (owner, moment, cost)."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, int]] = []
        self.asked = 0
        self.is_down = False

    def ask(self, questions: Sequence[Question], then: Callable[[Sequence[int | GatewayError]], None]) -> None:
        self.asked += 1
        if self.is_down:
            then([StorageUnavailable("down")] * len(questions))
            return
        then(
            [
                sum(cost for owner, at_ms, cost in self.rows if owner == allowance.owner and start <= at_ms < end)
                for allowance, start, end in questions
            ]
        )


class Bank:
    """One worker's door, a ledger, and one cheap and one dear model."""

    def __init__(self, counters: Counters | None = None, worker: int = 0) -> None:
        self.clock = Clock(wall_s=NOON_S)
        self.spent = Spent()
        self.counters = counters or Counters(1)
        self.admission = Admission(
            self.counters,
            worker,
            source=self.spent,
            monotonic=lambda: self.clock.monotonic_s,
            wall=lambda: self.clock.wall_s,
        )
        self.alerts: list[tuple[str, str, int, int]] = []
        self.admission.money.on_crossing = lambda event, allowance, spent, end_ms: self.alerts.append(
            (event, allowance.owner, spent, end_ms)
        )
        self.cheap = Group("cheap", "chat", [deployment("cheap", price=CHEAP)])
        self.dear = Group("dear", "chat", [deployment("dear", price=DEAR)])

    def caller(self, *allowances: Allowance, by_model: dict[str, list[Allowance]] | None = None) -> Caller:
        return caller(limits=self.admission.meters_of(allowances, by_model))

    def admit(self, who: Caller, *groups: Group, max_tokens: int = 100, **fields: Any) -> Reservation:
        return self.admit_to(who, Candidates(groups or (self.cheap,)), max_tokens=max_tokens, **fields)

    def admit_to(self, who: Caller, candidates: Candidates, **fields: Any) -> Reservation:
        while (reservation := self.admission.admit(who, call(**fields), candidates)) is None:
            try:
                self.admission.learn().send(None)
            except StopIteration:
                continue
            raise AssertionError("nobody answers")
        return reservation

    def settle(self, reservation: Reservation, tokens: int, group: Group | None = None) -> None:
        (answered,) = (group or self.cheap).deployments
        cost = round(tokens * answered.output_nusd)
        now_ms = int(self.clock.wall_s * 1000)
        self.admission.settle(reservation, tokens, cost, deployment=answered, ended_at_ms=now_ms)
        for budget, *_ in reservation.budgets:
            self.spent.rows.append((budget.allowance.owner, now_ms, cost))

    def refusal(self, who: Caller, *groups: Group, **fields: Any) -> BudgetExceeded:
        with pytest.raises(BudgetExceeded) as caught:
            self.admit(who, *groups, **fields)
        return caught.value


def budget(tokens: int, scope: str = "key", owner: str = "k", **changed: Any) -> Allowance:
    """A budget for so many tokens of the cheap model."""
    return Allowance(**{"scope": scope, "owner": owner, "budget_nusd": tokens * CHEAP_NUSD, **changed})


def test_reservations_and_spend_together_stay_within_the_budget() -> None:
    """R9: 64 at once on a budget for five; what is not used comes back."""
    bank = Bank()
    who = bank.caller(budget(500))
    held = []
    for _ in range(64):
        try:
            held.append(bank.admit(who))
        except BudgetExceeded:
            continue
    assert len(held) == 5
    for reservation in held:
        bank.settle(reservation, 40)
    for _ in range(3):
        bank.settle(bank.admit(who), 100)
    assert bank.refusal(who).status == 429


def test_call_without_a_bound_reserves_what_is_usual() -> None:
    bank = Bank()
    who = bank.caller(budget(1100))
    first = bank.admit(who, max_tokens=None)
    assert first.budgets[0][2] == 256 * CHEAP_NUSD
    bank.cheap.deployments[0].health.usual_output_tokens = 400.0
    assert bank.admit(who, max_tokens=None).budgets[0][2] == 800 * CHEAP_NUSD


@pytest.mark.parametrize("used", [0, 10, 100, 250])
def test_everything_reserved_comes_back_however_the_call_ends(used: int) -> None:
    """R13: and a call that cost more than expected is counted whole."""
    bank = Bank()
    who = bank.caller(budget(1000), budget(2000, "team", "t"), budget(3000, "user", "u"))
    for _ in range(3):
        bank.settle(bank.admit(who), used)
    for meter in who.limits.budgets:
        assert bank.counters.cells[meter.base + HELD] == 0
        assert bank.counters.cells[meter.base + FIRST] == 3 * used * CHEAP_NUSD


@pytest.mark.parametrize("scope", ["key", "team", "user", "team_member", "customer", "tag"])
def test_every_budget_that_applies_is_checked(scope: str) -> None:
    """R10: whichever of the owners has it."""
    bank = Bank()
    wide = [budget(10_000, other, "o") for other in ("key", "team", "user") if other != scope]
    who = bank.caller(*wide, budget(150, scope, "narrow"))
    bank.settle(bank.admit(who), 100)
    assert "smaller max_tokens" in bank.refusal(who).message
    bank.settle(bank.admit(who, max_tokens=50), 50)
    assert "and has" in bank.refusal(who, max_tokens=1).message


def test_calls_that_end_while_the_ledger_is_asked_are_counted_once() -> None:
    """L: those before the question by the ledger, those after it here, whatever the ledger has read by then."""
    bank = Bank()
    answers: list[Callable[[Sequence[int | GatewayError]], None]] = []
    who = bank.caller(budget(1000, budget_duration="1h"))
    running = [bank.admit(who) for _ in range(3)]
    bank.clock.wall_s += HOUR_S  # a clock that is set forward and back: what the window has spent is asked again
    bank.settle(bank.admit(who, max_tokens=1), 1)
    bank.clock.wall_s -= HOUR_S
    bank.settle(running[0], 100)  # before the question: the ledger's to tell
    bank.clock.wall_s += 0.01
    bank.spent.ask = lambda questions, then: answers.append(then)  # type: ignore[method-assign]
    assert bank.admission.admit(who, call(max_tokens=100), Candidates((bank.cheap,))) is None
    waiting = bank.admission.learn()
    waiting.send(None)
    bank.settle(running[1], 100)  # in the same millisecond: the ledger's still
    bank.clock.wall_s += 0.01
    bank.settle(running[2], 100)
    (then,) = answers
    then([200 * CHEAP_NUSD])
    base = who.limits.budgets[0].base
    assert bank.counters.cells[base + FIRST] == 300 * CHEAP_NUSD
    assert bank.counters.cells[base + HELD] == 0


def test_window_is_reset_by_the_calendar_and_says_when() -> None:
    """COMPAT, section 6: Retry-After to the window's end."""
    bank = Bank()
    who = bank.caller(budget(100, budget_duration="12h"))
    bank.settle(bank.admit(who), 100)
    bank.clock.advance(HOUR_S)
    error = bank.refusal(who)
    assert error.retry_after_s == 11 * HOUR_S
    bank.clock.advance(11 * HOUR_S - 1)
    assert bank.refusal(who).retry_after_s == 1
    bank.clock.advance(1)
    bank.settle(bank.admit(who), 100)
    assert bank.spent.asked == 1, "a window that nobody was in before has nothing spent"


def test_budget_that_is_never_reset_tells_clients_not_to_try_again() -> None:
    """COMPAT, section 6; spend from before the ledger counts."""
    bank = Bank()
    who = bank.caller(budget(200, spent_before_nusd=150 * CHEAP_NUSD))
    bank.settle(bank.admit(who, max_tokens=50), 50)
    bank.clock.advance(400 * 24 * HOUR_S)
    error = bank.refusal(who, max_tokens=1)
    assert error.retry_after_s is None
    assert dict(error.extra_headers()) == {"x-should-retry": "false"}


def test_room_that_running_calls_hold_may_be_had_soon() -> None:
    """R24: not the end of the window, which may be weeks away."""
    bank = Bank()
    who = bank.caller(budget(150, budget_duration="30d"))
    held = bank.admit(who)
    error = bank.refusal(who)
    assert error.retry_after_s == 1
    bank.settle(held, 50)
    bank.admit(who)


def test_call_dearer_than_the_whole_budget_is_refused_with_the_figures() -> None:
    bank = Bank()
    error = bank.refusal(bank.caller(budget(99)))
    assert "may cost 0.0001" in error.message
    assert error.status == 429


def test_spend_from_before_the_start_is_asked_once_and_counted() -> None:
    """L: a restart forgets nothing."""
    bank = Bank()
    bank.spent.rows = [("k", int(NOON_S * 1000) - 5, 60 * CHEAP_NUSD), ("other", int(NOON_S * 1000), 10**12)]
    who = bank.caller(budget(150, budget_duration="1d"))
    bank.refusal(who)
    bank.settle(bank.admit(who, max_tokens=90), 90)
    bank.refusal(who, max_tokens=1)
    assert bank.spent.asked == 1


def test_budget_whose_spend_can_t_be_known_lets_nobody_in_and_a_known_one_goes_on() -> None:
    """F24, F25: near a budget it fails closed."""
    bank = Bank()
    known, unknown = bank.caller(budget(1000)), bank.caller(budget(1000, owner="other"))
    bank.settle(bank.admit(known), 10)
    bank.spent.is_down = True
    with pytest.raises(StorageUnavailable):
        bank.admit(unknown)
    bank.settle(bank.admit(known), 10)
    bank.spent.is_down = False
    bank.admit(unknown)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, 24 * HOUR_S, -24 * HOUR_S])
def test_clock_that_jumps_and_comes_back_neither_resets_a_window_twice_nor_locks_it(jump_s: float) -> None:
    """F29: the window it comes back to has spent what it had spent."""
    bank = Bank()
    who = bank.caller(budget(300, budget_duration="1h"))
    bank.settle(bank.admit(who), 100)
    bank.clock.wall_s += jump_s
    for _ in range(3):
        bank.settle(bank.admit(who), 100)
    bank.refusal(who)
    bank.clock.wall_s -= jump_s
    bank.settle(bank.admit(who), 100)
    bank.settle(bank.admit(who), 100)
    bank.refusal(who)
    bank.clock.wall_s += jump_s
    if jump_s == HOUR_S:
        bank.refusal(who)
    bank.clock.wall_s += 48 * HOUR_S
    bank.admit(who)


def test_reservation_outlives_the_window_it_was_made_in() -> None:
    """A call is paid for in the window that it ends in."""
    bank = Bank()
    who = bank.caller(budget(150, budget_duration="1h"))
    held = bank.admit(who)
    bank.clock.advance(HOUR_S)
    bank.refusal(who)
    bank.settle(held, 100)
    bank.settle(bank.admit(who, max_tokens=50), 50)
    bank.refusal(who, max_tokens=1)


def test_temporary_increase_counts_until_it_expires() -> None:
    bank = Bank()
    until_ms = int((NOON_S + HOUR_S) * 1000)
    who = bank.caller(budget(100, extra_nusd=100 * CHEAP_NUSD, extra_until_ms=until_ms))
    bank.settle(bank.admit(who), 100)
    bank.settle(bank.admit(who, max_tokens=50), 50)
    bank.clock.advance(HOUR_S)
    bank.refusal(who, max_tokens=1)


def test_raised_budget_takes_effect_at_once_and_what_was_spent_stays() -> None:
    bank = Bank()
    bank.settle(bank.admit(bank.caller(budget(100))), 100)
    bank.refusal(bank.caller(budget(100)))
    raised = bank.caller(budget(250))
    bank.settle(bank.admit(raised), 100)
    bank.refusal(raised)
    assert bank.spent.asked == 1


def test_candidates_that_the_budget_has_no_room_for_leave_the_choice() -> None:
    """A route goes on with what the caller can still pay."""
    bank = Bank()
    who = bank.caller(budget(15_000))
    both = (bank.dear, bank.cheap)
    candidates = Candidates(both, "auto")
    candidates.fallbacks = [bank.dear]
    held = bank.admit_to(who, candidates, max_tokens=100)
    assert (candidates.allowed, len(candidates.fallbacks)) == (None, 1)
    assert held.budgets[0][2] == 100 * DEAR_NUSD, "the dearest that may answer is reserved"
    bank.settle(held, 100, bank.dear)
    candidates = Candidates(both, "auto")
    candidates.fallbacks = [bank.dear]
    held = bank.admit_to(who, candidates, max_tokens=100)
    assert (candidates.allowed, list(candidates.fallbacks)) == ([1], [])
    assert held.budgets[0][2] == 100 * CHEAP_NUSD
    bank.refusal(who, bank.dear)


def test_budget_of_one_model_counts_only_what_that_model_answered() -> None:
    bank = Bank()
    own = Allowance(scope="model_per_key", owner="k/dear", budget_nusd=150 * DEAR_NUSD)
    who = bank.caller(by_model={"dear": [own]})
    both = (bank.dear, bank.cheap)
    bank.settle(bank.admit(who, *both), 100, bank.cheap)
    bank.settle(bank.admit(who, *both), 100, bank.dear)
    candidates = Candidates(both, "auto")
    bank.admit_to(who, candidates, max_tokens=100)
    assert candidates.allowed == [1]
    assert "of this model" in bank.refusal(who, bank.dear).message
    bank.admit(who, bank.cheap, max_tokens=10**9)


def test_soft_budget_raises_one_alert_in_a_window_and_stops_nobody() -> None:
    bank = Bank()
    who = bank.caller(budget(400, soft_budget_nusd=150 * CHEAP_NUSD, budget_duration="1h"))
    for _ in range(3):
        bank.settle(bank.admit(who), 100)
    end_ms = int((NOON_S + HOUR_S) * 1000)
    assert bank.alerts == [("soft_budget_crossed", "k", 200 * CHEAP_NUSD, end_ms)]
    bank.settle(bank.admit(who), 100)
    assert bank.alerts[1:] == [("budget_crossed", "k", 400 * CHEAP_NUSD, end_ms)]
    bank.clock.advance(HOUR_S)
    for _ in range(2):
        bank.settle(bank.admit(who), 100)
    assert [event for event, *_ in bank.alerts[2:]] == ["soft_budget_crossed"]
    only_soft = bank.caller(budget(0, owner="s", budget_nusd=None, soft_budget_nusd=1))
    bank.settle(bank.admit(only_soft, max_tokens=10**9), 5)
    assert bank.alerts[-1][:2] == ("soft_budget_crossed", "s")


def test_key_is_told_what_it_has_spent_and_may_spend() -> None:
    """COMPAT, section 5."""
    bank = Bank()
    who = bank.caller(budget(1000), budget(10**6, "team", "t"))
    bank.settle(bank.admit(who), 100)
    fields = told(bank.admit(who).fields)
    assert fields == {"x-litellm-key-spend": "0.000100000", "x-litellm-key-max-budget": "0.001000000"}


def test_workers_together_never_exceed_a_budget() -> None:
    """R9, T9: reserve and settle race in four processes; the sum is exact at every moment and at the end."""
    counters = Counters(WORKERS)
    tokens = 40_000

    def work(worker: int) -> int:
        bank = Bank(counters, worker)
        who = bank.caller(budget(tokens), budget(10 * tokens, "team", "t"))
        spent = 0
        for number in range(400):
            try:
                reservation = bank.admit(who)
            except BudgetExceeded:
                continue
            base = who.limits.budgets[0].base
            counters.lock()
            assert counters.cells[base + FIRST] + counters.cells[base + HELD] <= tokens * CHEAP_NUSD
            counters.unlock()
            used = number % 101
            bank.settle(reservation, used)
            spent += used
        return spent

    spent = in_workers(counters, work)
    who = Bank(counters).caller(budget(tokens), budget(10 * tokens, "team", "t"))
    for meter in who.limits.budgets:
        base = counters.find(meter.tag, 5_000_000)
        assert counters.cells[base + FIRST] == sum(spent) * CHEAP_NUSD
        assert counters.cells[base + HELD] == 0
    assert tokens - 100 <= sum(spent) <= tokens


def test_worker_that_died_reserves_nothing() -> None:
    """F15, R13: swept when its successor starts; what the others hold stays."""
    counters = Counters(WORKERS)

    def work(worker: int) -> int:
        bank = Bank(counters, worker)
        bank.admit(bank.caller(budget(400)))
        return 1

    in_workers(counters, work)
    bank = Bank(counters, 0)
    who = bank.caller(budget(400))
    bank.refusal(who)
    counters.forget_worker(2)
    bank.admit(who)
    bank.refusal(who)


def test_what_a_killed_worker_did_not_live_to_write_down_is_taken_back() -> None:
    """F15, L: counted in memory and not on disk, it would fill the budget until its window ends; what is on disk, and
    what the others spend while they look, is counted once."""
    counters = Counters(2)
    one, killed = Bank(counters, 0), Bank(counters, 1)
    killed.spent = one.spent
    killed.admission._source = one.spent
    what = budget(1000, budget_duration="30d")
    for bank in (one, killed):
        bank.settle(bank.admit(bank.caller(what)), 100)
    unwritten = killed.admit(killed.caller(what))
    killed.settle(unwritten, 100)
    del one.spent.rows[-1]
    killed.admit(killed.caller(what), max_tokens=300)
    one.refusal(one.caller(what), max_tokens=401)
    running = one.admit(one.caller(what), max_tokens=100)

    counters.forget_worker(1)
    one.admission.spent.refresh(is_shared=False)
    asked = one.spent.asked
    one.clock.advance(0.25)
    one.admission.spent.on_tick(is_all_written=True)
    one.admission.spent.on_tick(is_all_written=False)
    assert one.spent.asked == asked, "the successor may have counted what it has not written"
    one.settle(running, 50)
    one.clock.advance(0.25)
    one.admission.spent.on_tick(is_all_written=True)
    killed.clock.advance(10)
    killed.admission.spent.on_tick(is_all_written=True)
    one.admission.spent.on_tick(is_all_written=True)
    assert one.spent.asked == asked + 1
    who = one.caller(what)
    base = counters.find(who.limits.budgets[0].tag, 0)
    assert (counters.cells[base + FIRST], counters.cells[base + HELD]) == (250 * CHEAP_NUSD, 0)
    one.admit(who, max_tokens=750)
    one.refusal(who, max_tokens=1)
    one.admission.spent.refresh(is_shared=False)
    for _ in range(3):
        one.admission.spent.on_tick(is_all_written=True)
    assert one.spent.asked == asked + 1, "once a death"


def test_replicas_behind_one_ledger_see_one_another_s_spend_when_they_look_again() -> None:
    """Each counts its own at once; the other's once it is in the ledger. Nothing that is known is taken back."""
    one, other = Bank(), Bank()
    other.spent = other.admission._source = one.spent
    budget_of_both = budget(500)
    for bank in (one, other):
        bank.settle(bank.admit(bank.caller(budget_of_both)), 50)
    held = one.admit(one.caller(budget_of_both), max_tokens=10)
    for bank in (one, other):
        bank.clock.advance(1)
        bank.settle(bank.admit(bank.caller(budget_of_both)), 100)
    for bank in (one, other):
        bank.clock.advance(1)
        bank.admission.spent.refresh()
    meter = one.caller(budget_of_both).limits.budgets[0]
    assert one.counters.cells[one.counters.find(meter.tag, 0) + FIRST] == 300 * CHEAP_NUSD
    one.settle(held, 10)
    one.spent.rows.clear()  # a ledger that lags
    one.admission.spent.refresh()
    one.refusal(one.caller(budget_of_both), max_tokens=191)
    one.settle(one.admit(one.caller(budget_of_both), max_tokens=190), 190)
    one.refusal(one.caller(budget_of_both), max_tokens=1)


def test_calls_that_end_while_a_budget_is_looked_at_again_are_counted_once() -> None:
    bank = Bank()
    answers: list[Callable[[Sequence[int | GatewayError]], None]] = []
    who = bank.caller(budget(1000))
    bank.settle(bank.admit(who), 100)
    running = bank.admit(who)
    bank.spent.ask = lambda questions, then: answers.append(then)  # type: ignore[method-assign]
    bank.clock.advance(1)
    bank.admission.spent.refresh()
    bank.clock.advance(1)
    bank.settle(running, 100)
    (then,) = answers
    then([150 * CHEAP_NUSD])  # 100 of ours, 50 of another replica's
    base = who.limits.budgets[0].base
    assert bank.counters.cells[base + FIRST] == 250 * CHEAP_NUSD
    bank.admission.spent.refresh()
    assert len(answers) == 1, "what nobody used is not asked for"
