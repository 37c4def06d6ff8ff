"""Requests a minute, tokens a minute and parallel requests per key: exact, by a clock that the test advances."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from routewright.admission.counters import HELD, Counters
from routewright.admission.limits import Admission
from routewright.admission.meters import Reservation
from routewright.admission.needs import USUAL_OUTPUT_TOKENS
from routewright.errors import RateLimited
from routewright.types import Allowance, Caller, Candidates, Group
from values import call, caller, deployment, key_settings

# Nothing but the test itself runs in the forked processes.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

PROMPT_TOKENS = call().prompt_tokens_estimate
ONE_MODEL = Candidates((Group("m", "chat", [deployment("m")]),))


class Clock:
    def __init__(self, monotonic_s: float = 5000.0, wall_s: float = 1_700_000_000.5) -> None:
        self.monotonic_s, self.wall_s = monotonic_s, wall_s

    def advance(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds


class Door:
    """One worker's admission with one key."""

    def __init__(self, counters: Counters | None = None, worker: int = 0, clock: Clock | None = None, **limits: Any):
        self.clock = clock or Clock()
        self.counters = counters or Counters(1)
        self.admission = Admission(
            self.counters, worker, monotonic=lambda: self.clock.monotonic_s, wall=lambda: self.clock.wall_s
        )
        self.caller: Caller = caller(limits=self.admission.limits_of("k", key_settings("sk-a", **limits)))
        self.other: Caller = caller(limits=self.admission.limits_of("l", key_settings("sk-b", **limits)))

    def admit(self, **fields: Any) -> Reservation:
        reservation = self.admission.admit(self.caller, call(**fields), ONE_MODEL)
        assert reservation is not None
        return reservation

    def refusal(self, **fields: Any) -> RateLimited:
        with pytest.raises(RateLimited) as caught:
            self.admit(**fields)
        return caught.value

    def admitted(self, tries: int, **fields: Any) -> int:
        count = 0
        for _ in range(tries):
            try:
                self.admit(**fields)
            except RateLimited:
                continue
            count += 1
        return count


def told(fields: bytes) -> dict[str, str]:
    """Header lines by name; each name once."""
    pairs = [line.split(": ") for line in fields.decode().split("\r\n")[:-1]]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


# --- requests a minute ---------------------------------------------------------------------------------------------


def test_exactly_as_many_requests_pass_as_the_limit_says() -> None:
    door = Door(rpm_limit=5)
    assert door.admitted(20) == 5


@pytest.mark.parametrize("waited_s", [0.0, 0.5, 1.0, 30.0, 59.0, 59.5, 59.999])
def test_waiting_as_long_as_retry_after_says_is_enough_and_a_second_less_is_not(waited_s: float) -> None:
    """R24: a truthful Retry-After, rounded up, at least 1."""
    door = Door(rpm_limit=1)
    door.admit()
    door.clock.advance(waited_s)
    error = door.refusal()
    assert error.retry_after_s == max(1, -(-(60_000 - round(waited_s * 1000)) // 1000))
    if error.retry_after_s > 1:
        door.clock.advance(error.retry_after_s - 1)
        door.refusal()
        door.clock.advance(1)
    else:
        door.clock.advance(1)
    door.admit()


def test_window_begins_with_its_first_request() -> None:
    door = Door(rpm_limit=2)
    door.clock.advance(59)
    door.admit()
    door.clock.advance(59)
    door.admit()
    door.refusal()
    door.clock.advance(1)
    assert door.admitted(5) == 2


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 86400.0, -86400.0])
def test_jump_of_the_wall_clock_neither_opens_nor_locks_a_window(jump_s: float) -> None:
    """F29, T9: windows are measured on the monotonic clock."""
    door = Door(rpm_limit=3)
    door.admit()
    door.clock.wall_s += jump_s
    assert door.admitted(5) == 2
    assert door.refusal().retry_after_s == 60
    door.clock.monotonic_s += 60
    assert door.admitted(5) == 3


def test_clock_near_zero_has_windows_too() -> None:
    door = Door(clock=Clock(monotonic_s=0.0), rpm_limit=1)
    door.admit()
    door.refusal()


def test_keys_do_not_share_a_row_and_a_key_without_limits_has_none() -> None:
    door = Door(rpm_limit=1)
    door.admit()
    door.refusal()
    door.admission.admit(door.other, call(), ONE_MODEL)
    free = Door()
    assert free.caller.limits is None
    assert free.admitted(1000) == 1000
    assert free.admit().fields == b""


@pytest.mark.parametrize("limits", [{"rpm_limit": 0}, {"tpm_limit": 0}, {"max_parallel_requests": 0}])
def test_limit_of_nothing_lets_nothing_pass(limits: dict[str, int]) -> None:
    assert Door(**limits).admitted(3) == 0


# --- tokens a minute -----------------------------------------------------------------------------------------------


def test_tokens_are_reserved_before_the_call() -> None:
    door = Door(tpm_limit=10 * (PROMPT_TOKENS + 100))
    assert door.admitted(50, max_tokens=100) == 10


def test_answer_without_a_bound_reserves_the_usual_length_for_each_choice() -> None:
    door = Door(tpm_limit=2 * (PROMPT_TOKENS + 3 * USUAL_OUTPUT_TOKENS))
    assert door.admitted(10, n=3) == 2


def test_call_larger_than_the_limit_passes_only_on_an_empty_window() -> None:
    door = Door(tpm_limit=1000)
    assert door.admitted(3, max_tokens=1_000_000) == 1
    door.clock.advance(60)
    door.admit(max_tokens=1)
    door.refusal(max_tokens=1_000_000)


def test_settling_gives_back_what_was_not_used_and_takes_what_was_used_beyond() -> None:
    """R13: a call that used nothing leaves nothing reserved."""
    door = Door(tpm_limit=PROMPT_TOKENS + 1000)
    for used in (0, 0, 0):
        door.admission.settle(door.admit(max_tokens=1000), used)
    door.admission.settle(door.admit(max_tokens=500), 900)
    assert door.admitted(5, max_tokens=100 - PROMPT_TOKENS) == 1
    door.refusal(max_tokens=50)


def test_settling_after_its_window_changes_no_later_one() -> None:
    """F29: what was reserved in a window that is over is gone with it."""
    door = Door(tpm_limit=PROMPT_TOKENS + 100)
    late = door.admit(max_tokens=100)
    door.clock.advance(61)
    door.admit(max_tokens=100)
    door.admission.settle(late, 0)
    assert told(door.refusal(max_tokens=100).fields)["x-ratelimit-remaining-tokens"] == "0"


# --- parallel requests ---------------------------------------------------------------------------------------------


def test_place_of_a_parallel_request_is_free_again_when_it_is_settled() -> None:
    """R13: however the request ended, and after many windows too."""
    door = Door(max_parallel_requests=2)
    for _ in range(50):
        held = [door.admit(), door.admit()]
        assert door.refusal().retry_after_s == 1
        door.clock.advance(40)
        for reservation in held:
            door.admission.settle(reservation, 0)


def test_refused_request_uses_nothing() -> None:
    door = Door(rpm_limit=10, tpm_limit=10_000, max_parallel_requests=1)
    held = door.admit(max_tokens=10)
    before = told(door.refusal(max_tokens=10).fields)
    after = told(door.refusal(max_tokens=10).fields)
    assert before == after
    assert before["x-ratelimit-remaining-requests"] == "9"
    door.admission.settle(held, 0)
    assert door.admit(max_tokens=10).fields


# --- what the client is told ---------------------------------------------------------------------------------------


def test_headers_count_down_and_name_the_window_s_end() -> None:
    """R24: on every admission, so that streams have them; COMPAT, section 5."""
    door = Door(rpm_limit=3, tpm_limit=10_000)
    door.admit(max_tokens=10)
    door.clock.advance(18.25)
    fields = told(door.admit(max_tokens=10).fields)
    assert fields == {
        "X-RateLimit-Limit": "3",
        "X-RateLimit-Remaining": "1",
        "X-RateLimit-Reset": "1700000061",
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "42s",
        "x-ratelimit-limit-tokens": "10000",
        "x-ratelimit-remaining-tokens": str(10_000 - 2 * (PROMPT_TOKENS + 10)),
        "x-ratelimit-reset-tokens": "42s",
    }


@pytest.mark.parametrize(
    ("limits", "kind", "fields"),
    [
        ({"rpm_limit": 1}, "requests", {}),
        ({"tpm_limit": 20}, "tokens", {"max_tokens": 20}),
        ({"max_parallel_requests": 1}, "max_parallel_requests", {}),
        ({"rpm_limit": 5, "max_parallel_requests": 1}, "max_parallel_requests", {}),
    ],
)
def test_refusal_says_which_limit_and_when_it_ends(limits: dict[str, int], kind: str, fields: dict[str, int]) -> None:
    """R24, E."""
    door = Door(**limits)
    door.admit(**fields)
    door.clock.advance(20)
    error = door.refusal(**fields)
    assert (error.status, error.limit_type) == (429, kind)
    assert error.retry_after_s is not None
    assert error.reset_at_epoch_s >= door.clock.wall_s + error.retry_after_s
    assert str(error.retry_after_s) in error.message
    lines = told(error.fields)
    assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(lines)
    assert int(lines["X-RateLimit-Reset"]) >= door.clock.wall_s
    if "rpm_limit" in limits:
        assert lines["x-ratelimit-reset-requests"] == "40s"
    assert all(re.fullmatch(r"[0-9]+s?", value) for value in lines.values())


# --- several workers -----------------------------------------------------------------------------------------------

WORKERS = 4


def in_workers(counters: Counters, work: Any) -> list[int]:
    """What `work(worker)` gave in each of four forked processes that began together."""
    start_reader, start_writer = os.pipe()
    pids, readers = [], []
    for worker in range(WORKERS):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(start_writer)
                os.read(start_reader, 1)
                os.write(writer, str(work(worker)).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        pids.append(pid)
        readers.append(reader)
    os.close(start_reader)
    os.close(start_writer)
    results = []
    for pid, reader in zip(pids, readers, strict=True):
        with os.fdopen(reader, "rb") as file:
            results.append(int(file.read() or b"-1"))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return results


def door_of(counters: Counters, worker: int, **limits: int) -> Door:
    return Door(counters, worker, **limits)


def test_workers_together_admit_exactly_the_requests_of_the_limit() -> None:
    """R9, R23: the limit, not the limit times the workers."""
    counters = Counters(WORKERS)
    admitted = in_workers(counters, lambda worker: door_of(counters, worker, rpm_limit=501).admitted(400))
    assert sum(admitted) == 501


def test_workers_together_admit_exactly_the_tokens_of_the_limit() -> None:
    """R9, R23."""
    counters = Counters(WORKERS)
    limit = 250 * (PROMPT_TOKENS + 10)
    admitted = in_workers(
        counters, lambda worker: door_of(counters, worker, tpm_limit=limit).admitted(200, max_tokens=10)
    )
    assert sum(admitted) == 250


def test_workers_together_never_run_more_in_parallel_than_the_limit() -> None:
    """R9, R13, T9: reserve and settle race; nothing is lost and nothing is left."""
    counters = Counters(WORKERS)

    def work(worker: int) -> int:
        door = door_of(counters, worker, max_parallel_requests=3)
        most = 0
        for _ in range(300):
            try:
                reservation = door.admit()
            except RateLimited:
                continue
            most = max(most, counters.cells[door.caller.limits.limits[0].base + HELD])
            door.admission.settle(reservation, 0)
        return most

    assert max(in_workers(counters, work)) <= 3
    assert door_of(counters, 0, max_parallel_requests=3).admitted(9) == 3


def test_worker_that_died_holds_no_place() -> None:
    """F15: its parallel requests ended with it; those of the others go on."""
    counters = Counters(WORKERS)
    in_workers(counters, lambda worker: door_of(counters, worker, max_parallel_requests=8).admitted(2))
    assert door_of(counters, 0, max_parallel_requests=8).admitted(1) == 0
    counters.forget_worker(1)
    counters.forget_worker(3)
    assert door_of(counters, 0, max_parallel_requests=8).admitted(9) == 4
    assert counters.reloads == 0


def test_reload_count_is_seen_by_every_worker_and_is_nobody_s_row() -> None:
    counters = Counters(WORKERS)

    def work(worker: int) -> int:
        if worker == 0:
            counters.reloads += 7
        counters.forget_worker(worker)
        return 0

    in_workers(counters, work)
    assert counters.reloads == 7


# --- several owners ------------------------------------------------------------------------------------------------


def owners(door: Door, *allowances: Allowance, by_model: dict[str, list[Allowance]] | None = None) -> Caller:
    return caller(limits=door.admission.meters_of(allowances, by_model))


def key_of(name: str, **limits: Any) -> Allowance:
    return Allowance(scope="key", owner=name, **limits)


def test_call_is_counted_for_all_of_its_owners_or_for_none() -> None:
    door = Door()
    team = Allowance(scope="team", owner="t", rpm=3)
    one = owners(door, key_of("one", rpm=2), team)
    two = owners(door, key_of("two", rpm=9), team, Allowance(scope="user", owner="u", parallel=1))
    for who in (one, one, two):
        assert door.admission.admit(who, call(), ONE_MODEL) is not None
    for who in (one, two, two):
        with pytest.raises(RateLimited) as caught:
            door.admission.admit(who, call(), ONE_MODEL)
    fields = told(caught.value.fields)
    assert fields["x-ratelimit-api_key-remaining-requests"] == "8", "a refused call is counted for nobody"
    assert fields["x-ratelimit-team-remaining-requests"] == "0"
    assert fields["x-ratelimit-user-remaining-max_parallel_requests"] == "0"
    assert (fields["X-RateLimit-Limit"], fields["X-RateLimit-Remaining"]) == ("3", "0"), "the tightest"


def test_refusal_waits_for_the_last_of_the_limits_that_are_reached() -> None:
    """R24: sleeping Retry-After, then passing, whichever limits there are."""
    door = Door()
    early, late = Allowance(scope="team", owner="t", rpm=1), Allowance(scope="user", owner="u", rpm=1)
    door.admission.admit(owners(door, early), call(), ONE_MODEL)
    door.clock.advance(25)
    door.admission.admit(owners(door, late), call(), ONE_MODEL)
    both = owners(door, early, late)
    with pytest.raises(RateLimited, match="this key's user") as caught:
        door.admission.admit(both, call(), ONE_MODEL)
    assert caught.value.retry_after_s == 60
    door.clock.advance(60)
    assert door.admission.admit(both, call(), ONE_MODEL) is not None


def test_changed_limit_counts_on_where_the_old_one_was() -> None:
    """Owners come, go and change while the gateway runs."""
    door = Door()
    for _ in range(3):
        door.admission.admit(owners(door, key_of("k", rpm=3)), call(), ONE_MODEL)
    with pytest.raises(RateLimited):
        door.admission.admit(owners(door, key_of("k", rpm=3)), call(), ONE_MODEL)
    raised = owners(door, key_of("k", rpm=5))
    assert door.admission.admit(raised, call(), ONE_MODEL) is not None
    assert door.admission.admit(raised, call(), ONE_MODEL) is not None
    with pytest.raises(RateLimited):
        door.admission.admit(raised, call(), ONE_MODEL)


def test_limit_of_one_model_takes_it_from_the_choice_and_leaves_the_others() -> None:
    door = Door()
    groups = tuple(Group(name, "chat", [deployment(name)]) for name in ("small", "big"))
    by_model = {"big": [Allowance(scope="model_per_key", owner="k/big", rpm=1)]}
    who = owners(door, by_model=by_model)
    big = groups[1].deployments[0]
    for expected in (None, [0]):
        candidates = Candidates(groups, "auto")
        reservation = door.admission.admit(who, call(), candidates)
        assert reservation is not None
        assert candidates.allowed == expected
        door.admission.settle(reservation, 10, deployment=big)
    with pytest.raises(RateLimited, match="of this model"):
        door.admission.admit(who, call(), Candidates(groups[1:]))


def test_limit_of_one_model_does_not_count_calls_that_another_answered() -> None:
    door = Door()
    groups = tuple(Group(name, "chat", [deployment(name)]) for name in ("small", "big"))
    who = owners(door, by_model={"big": [Allowance(scope="model_per_key", owner="k/big", rpm=1, tpm=1000)]})
    for _ in range(5):
        candidates = Candidates(groups, "auto")
        reservation = door.admission.admit(who, call(), candidates)
        assert reservation is not None
        assert candidates.allowed is None
        door.admission.settle(reservation, 10, deployment=groups[0].deployments[0])


def test_rows_of_owners_that_nobody_asks_for_make_room_for_others() -> None:
    door = Door(Counters(1, rows=64))
    for number in range(500):
        who = owners(door, key_of(str(number), rpm=1))
        assert door.admission.admit(who, call(), ONE_MODEL) is not None
        door.clock.advance(30)


def test_row_in_use_is_never_given_away() -> None:
    door = Door(Counters(1, rows=17))
    running = owners(door, key_of("running", parallel=1))
    held = door.admission.admit(running, call(), ONE_MODEL)
    assert held is not None
    for number in range(300):
        door.clock.advance(200)
        door.admission.admit(owners(door, key_of(str(number), rpm=1)), call(), ONE_MODEL)
    with pytest.raises(RateLimited):
        door.admission.admit(running, call(), ONE_MODEL)
    door.admission.settle(held, 0)
    assert door.admission.admit(running, call(), ONE_MODEL) is not None


def test_workers_count_owners_that_came_after_the_fork() -> None:
    """R9, R23: rows made by any worker are seen by all."""
    counters = Counters(WORKERS)

    def work(worker: int) -> int:
        door = Door(counters, worker)
        passed = 0
        for number in range(400):
            who = owners(door, key_of(f"key {number % 20}", rpm=30), Allowance(scope="team", owner="t", rpm=501))
            try:
                passed += door.admission.admit(who, call(), ONE_MODEL) is not None
            except RateLimited:
                continue
        return passed

    assert sum(in_workers(counters, work)) == 501
