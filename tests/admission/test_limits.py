"""Requests a minute, tokens a minute and parallel requests per key: exact, by a clock that the test advances."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from routewright.admission.limits import USUAL_OUTPUT_TOKENS, Admission, Counters, Reservation
from routewright.errors import RateLimited
from routewright.types import Caller
from values import call, caller, key_settings

# Nothing but the test itself runs in the forked processes.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

PROMPT_TOKENS = call().prompt_tokens_estimate


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
        self.counters = counters or Counters(3, 1)
        self.admission = Admission(
            self.counters, worker, monotonic=lambda: self.clock.monotonic_s, wall=lambda: self.clock.wall_s
        )
        self.caller: Caller = caller(limits=self.admission.limits_of("k", key_settings("sk-a", **limits)))
        self.other: Caller = caller(limits=self.admission.limits_of("l", key_settings("sk-b", **limits)))

    def admit(self, **fields: Any) -> Reservation:
        return self.admission.admit(self.caller, call(**fields))

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
    door.admission.admit(door.other, call())
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
    counters = Counters(3, WORKERS)
    admitted = in_workers(counters, lambda worker: door_of(counters, worker, rpm_limit=501).admitted(400))
    assert sum(admitted) == 501


def test_workers_together_admit_exactly_the_tokens_of_the_limit() -> None:
    """R9, R23."""
    counters = Counters(3, WORKERS)
    limit = 250 * (PROMPT_TOKENS + 10)
    admitted = in_workers(
        counters, lambda worker: door_of(counters, worker, tpm_limit=limit).admitted(200, max_tokens=10)
    )
    assert sum(admitted) == 250


def test_workers_together_never_run_more_in_parallel_than_the_limit() -> None:
    """R9, R13, T9: reserve and settle race; nothing is lost and nothing is left."""
    counters = Counters(3, WORKERS)

    def work(worker: int) -> int:
        door = door_of(counters, worker, max_parallel_requests=3)
        most = 0
        for _ in range(300):
            try:
                reservation = door.admit()
            except RateLimited:
                continue
            most = max(most, door.admission._running(door.caller.limits))
            door.admission.settle(reservation, 0)
        return most

    assert max(in_workers(counters, work)) <= 3
    assert door_of(counters, 0, max_parallel_requests=3).admitted(9) == 3


def test_worker_that_died_holds_no_place() -> None:
    """F15: its parallel requests ended with it; those of the others go on."""
    counters = Counters(3, WORKERS)
    in_workers(counters, lambda worker: door_of(counters, worker, max_parallel_requests=8).admitted(2))
    assert door_of(counters, 0, max_parallel_requests=8).admitted(1) == 0
    counters.forget_worker(1)
    counters.forget_worker(3)
    assert door_of(counters, 0, max_parallel_requests=8).admitted(9) == 4
    assert counters.reloads == 0


def test_reload_count_is_seen_by_every_worker_and_is_nobody_s_row() -> None:
    counters = Counters(2, WORKERS)

    def work(worker: int) -> int:
        if worker == 0:
            counters.reloads += 7
        counters.forget_worker(worker)
        return 0

    in_workers(counters, work)
    assert counters.reloads == 7
