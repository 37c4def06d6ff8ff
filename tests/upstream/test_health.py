"""Which deployment to use next, and which to leave alone for a while; by a clock that the test advances."""

from __future__ import annotations

import random
from typing import Any

import pytest

from routewright.errors import (
    ContextLengthExceeded,
    GatewayError,
    UpstreamAuthError,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefusedRequest,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from routewright.settings import AttemptSettings
from routewright.types import Deployment, Group
from routewright.upstream.health import Balance
from routewright.upstream.retries import RetryBudget
from values import deployment

NOW = 1000.0


def group(*entries: dict[str, Any]) -> Group:
    return Group("m", "chat", [deployment("m", id=f"d{place}", **entry) for place, entry in enumerate(entries)])


def balance(**settings: Any) -> Balance:
    return Balance(AttemptSettings(**settings), random.Random(4))


def fails(
    steady: Balance, among: Group, error: GatewayError, *, times: int = 1, place: int = 0, now: float = NOW
) -> None:
    for _ in range(times):
        steady.begin(among.deployments[place], among)
        among.deployments[place].health.in_flight -= 1
        steady.failed(among.deployments[place], among, error, now)


def answers(steady: Balance, among: Group, *, times: int = 1, place: int = 0, now: float = NOW) -> None:
    for _ in range(times):
        steady.begin(among.deployments[place], among)
        among.deployments[place].health.in_flight -= 1
        steady.succeeded(among.deployments[place], now)


def rests(among: Group, place: int = 0, now: float = NOW) -> bool:
    return among.deployments[place].health.cooldown_until_s > now


def picked(steady: Balance, among: Group, tries: int = 50, now: float = NOW) -> set[str]:
    found = [steady.pick(among, [], now) for _ in range(tries)]
    return {each.id for each in found if each is not None}


REFUSED = UpstreamRefusedRequest("m", status=404, code=None, param=None)


# --- cooldown ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [UpstreamRateLimited("m"), UpstreamAuthError("m"), UpstreamTimeout("m")], ids=repr)
def test_beside_others_429_a_refused_credential_and_a_timeout_cool_at_once(error: GatewayError) -> None:
    """F5, F6."""
    among, steady = group({}, {}), balance()
    fails(steady, among, error)
    assert rests(among)
    assert picked(steady, among) == {"d1"}
    assert steady.is_anything_resting


def test_failures_cool_at_more_than_half_of_at_least_five() -> None:
    among, steady = group({}, {}), balance()
    fails(steady, among, UpstreamError("m"), times=4)
    assert not rests(among)
    fails(steady, among, UpstreamError("m"))
    assert rests(among)

    among = group({}, {})
    answers(steady, among, times=6)
    fails(steady, among, UpstreamBadResponse("m"), times=6)
    assert not rests(among)
    fails(steady, among, UpstreamBadResponse("m"))
    assert rests(among)


def test_failures_of_an_earlier_minute_do_not_count() -> None:
    among, steady = group({}, {}), balance()
    fails(steady, among, UpstreamError("m"), times=4)
    fails(steady, among, UpstreamError("m"), now=NOW + 60)
    assert not rests(among, now=NOW + 60)


def test_allowed_fails_takes_the_place_of_the_share() -> None:
    among, steady = group({}, {}), balance(allowed_fails=2)
    answers(steady, among, times=100)
    fails(steady, among, UpstreamError("m"), times=2)
    assert not rests(among)
    fails(steady, among, UpstreamError("m"))
    assert rests(among)


def test_allowed_fails_holds_for_every_failure_and_for_one_that_stands_alone() -> None:
    """Also for those that cool at once where nothing is set: whoever set it has said how many may be."""
    among, steady = group({}), balance(allowed_fails=2)
    fails(steady, among, UpstreamTimeout("m"), times=2)
    assert not rests(among)
    fails(steady, among, UpstreamRateLimited("m"))
    assert rests(among)


def test_policy_counts_each_kind_of_failure_against_its_own_allowance() -> None:
    policy = {"RateLimitError": 0, "TimeoutError": 2, "BadRequestError": 1}
    among, steady = group({}, {}), balance(allowed_fails_policy=policy)
    fails(steady, among, UpstreamTimeout("m"), times=2)
    fails(steady, among, REFUSED)
    assert not rests(among)
    fails(steady, among, UpstreamTimeout("m"))
    assert rests(among)

    for error, times in ((UpstreamRateLimited("m"), 1), (REFUSED, 2)):
        among = group({}, {})
        fails(steady, among, error, times=times - 1)
        assert not rests(among)
        fails(steady, among, error)
        assert rests(among)


def test_kinds_that_a_policy_does_not_name_go_by_the_usual_rules() -> None:
    among, steady = group({}, {}), balance(allowed_fails_policy={"RateLimitError": 5})
    fails(steady, among, REFUSED, times=50)
    fails(steady, among, UpstreamRateLimited("m"), times=5)
    assert not rests(among)
    fails(steady, among, UpstreamTimeout("m"))
    assert rests(among)


def test_failures_of_a_kind_are_counted_by_the_minute() -> None:
    among, steady = group({}, {}), balance(allowed_fails_policy={"TimeoutError": 1})
    fails(steady, among, UpstreamTimeout("m"))
    fails(steady, among, UpstreamTimeout("m"), now=NOW + 61)
    assert not rests(among, now=NOW + 61)


@pytest.mark.parametrize("count", [1, 2])
def test_five_refused_connections_in_a_row_cool(count: int) -> None:
    """F1; alone or not, whatever went well before."""
    among, steady = group(*[{}] * count), balance()
    answers(steady, among, times=100)
    fails(steady, among, UpstreamUnavailable("m"), times=4)
    answers(steady, among)
    fails(steady, among, UpstreamUnavailable("m"), times=4)
    assert not rests(among)
    fails(steady, among, UpstreamUnavailable("m"))
    assert rests(among)


@pytest.mark.parametrize("error", [UpstreamRateLimited("m"), UpstreamAuthError("m"), UpstreamError("m")], ids=repr)
def test_lone_deployment_cools_only_when_all_of_a_thousand_failed(error: GatewayError) -> None:
    among, steady = group({}), balance()
    fails(steady, among, error, times=999)
    assert not rests(among)
    fails(steady, among, error)
    assert rests(among)
    assert steady.pick(among, [], NOW) is None


def test_one_good_answer_in_a_thousand_keeps_a_lone_deployment() -> None:
    among, steady = group({}), balance()
    answers(steady, among)
    fails(steady, among, UpstreamError("m"), times=3000)
    assert not rests(among)


@pytest.mark.parametrize("error", [REFUSED, ContextLengthExceeded("m"), GatewayError("m")], ids=repr)
def test_errors_of_the_caller_s_making_cool_nothing(error: GatewayError) -> None:
    """F7: also behind a wildcard, where the caller chooses the name that is not found."""
    among, steady = group({}, {}), balance()
    fails(steady, among, error, times=100)
    assert not rests(among)
    assert among.deployments[0].health.failures == 0


def test_cooldown_lasts_as_configured_with_a_tenth_of_jitter() -> None:
    """F36."""
    for settings, entry, seconds in (({}, {}, 5), ({"cooldown_s": 9.0}, {}, 9), ({}, {"cooldown_s": 20.0}, 20)):
        steady, ends = balance(**settings), set()
        for _ in range(20):
            among = group(entry, {})
            fails(steady, among, UpstreamTimeout("m"))
            ends.add(among.deployments[0].health.cooldown_until_s - NOW)
        assert all(seconds <= end <= seconds * 1.1 for end in ends)
        assert len(ends) > 10


def test_retry_after_makes_a_cooldown_longer_never_shorter() -> None:
    """F5."""
    for told, least in ((1, 5), (3, 5), (30, 30)):
        among, steady = group({}, {}), balance()
        fails(steady, among, UpstreamRateLimited("m", retry_after_s=told))
        assert least <= among.deployments[0].health.cooldown_until_s - NOW <= least * 1.1


def test_fresh_failure_never_shortens_a_running_cooldown() -> None:
    """R25."""
    among, steady = group({}, {}), balance()
    fails(steady, among, UpstreamRateLimited("m", retry_after_s=60))
    until = among.deployments[0].health.cooldown_until_s
    for later in (0.0, 1.0, 20.0, 50.0):
        fails(steady, among, UpstreamTimeout("m"), now=NOW + later)
        assert among.deployments[0].health.cooldown_until_s >= until


def test_answer_to_an_older_request_does_not_end_a_cooldown() -> None:
    among, steady = group({}, {}), balance()
    fails(steady, among, UpstreamTimeout("m"))
    answers(steady, among, now=NOW + 1)
    assert rests(among, now=NOW + 1)


def test_disabled_cooldowns_cool_nothing() -> None:
    among, steady = group({}, {}), balance(disable_cooldowns=True)
    fails(steady, among, UpstreamTimeout("m"), times=50)
    assert not rests(among)


def test_all_resting_says_when_the_first_comes_back() -> None:
    among, steady = group({}, {}), balance()
    fails(steady, among, UpstreamRateLimited("m", retry_after_s=40), place=0)
    fails(steady, among, UpstreamRateLimited("m", retry_after_s=20), place=1)
    assert steady.pick(among, [], NOW) is None
    assert not steady.is_available(among, NOW)
    assert 20 <= steady.first_back_s([among], NOW) <= 22
    assert steady.first_back_s([among], NOW + 500) == 1


# --- the probe -----------------------------------------------------------------------------------------------------

LATER = NOW + 30


def probing() -> tuple[Group, Balance, Deployment]:
    """Two deployments, the first with a cooldown that is over."""
    among, steady = group({}, {}), balance()
    fails(steady, among, UpstreamTimeout("m"))
    return among, steady, among.deployments[0]


def test_one_request_probes_when_a_cooldown_ends() -> None:
    """F36."""
    among, steady, first = probing()
    assert picked(steady, among, now=LATER) == {"d0", "d1"}
    steady.begin(first, among)
    assert picked(steady, among, now=LATER) == {"d1"}


def test_probe_that_is_answered_ends_it_and_one_that_fails_begins_another() -> None:
    among, steady, first = probing()
    steady.begin(first, among)
    steady.failed(first, among, UpstreamError("m"), LATER)
    assert rests(among, now=LATER)
    steady.begin(first, among)
    steady.succeeded(first, LATER + 30)
    assert first.health.cooldown_until_s == 0
    assert not steady.is_anything_resting
    assert picked(steady, among, now=LATER + 30) == {"d0", "d1"}


def test_being_looked_at_is_no_probe() -> None:
    """A deployment that was chosen and then not asked may be chosen again: else it stays unused for good."""
    among, steady, first = probing()
    for _ in range(50):
        steady.pick(among, [among.deployments[1]], LATER)
    assert not first.health.is_probed
    assert steady.pick(among, [among.deployments[1]], LATER) is first


def test_probe_refused_by_the_caller_s_fault_is_followed_by_another() -> None:
    among, steady, first = probing()
    steady.begin(first, among)
    steady.failed(first, among, REFUSED, LATER)
    assert steady.pick(among, [among.deployments[1]], LATER) is first


def test_lone_deployment_is_asked_by_all_when_its_cooldown_is_over() -> None:
    among, steady = group({}), balance()
    fails(steady, among, UpstreamUnavailable("m"), times=5)
    steady.begin(among.deployments[0], among)
    assert steady.pick(among, [], LATER) is among.deployments[0]


# --- the choice ----------------------------------------------------------------------------------------------------


def test_later_tier_is_used_only_while_none_of_the_earlier_can_be() -> None:
    among, steady = group({"order": 2}, {"order": 1}, {"order": 1}), balance()
    assert picked(steady, among) == {"d1", "d2"}
    fails(steady, among, UpstreamTimeout("m"), place=1)
    fails(steady, among, UpstreamTimeout("m"), place=2)
    assert picked(steady, among) == {"d0"}


def test_untried_deployment_comes_before_one_that_failed() -> None:
    among, steady = group({"order": 1}, {"order": 2}), balance()
    first, second = among.deployments
    assert steady.pick(among, [first], NOW) is second
    assert steady.pick(among, [first, second], NOW) is first


# --- the retry budget ----------------------------------------------------------------------------------------------


def test_retries_are_a_fifth_of_the_requests_and_ten_a_second() -> None:
    """F4: an upstream that always fails gets at most 20 % and 10 a second more."""
    budget = RetryBudget(AttemptSettings(), NOW)
    retries = 0
    for tick in range(100_000):  # 1,000 requests a second for 100 seconds, each wanting two retries
        budget.deposit()
        retries += budget.withdraw(NOW + tick / 1000) + budget.withdraw(NOW + tick / 1000)
    assert 0.2 * 100_000 + 10 * 99 <= retries <= 0.2 * 100_000 + 10 * 101 + 1


def test_quiet_time_saves_up_no_storm() -> None:
    budget = RetryBudget(AttemptSettings(), NOW)
    for _ in range(100_000):
        budget.deposit()
    assert sum(budget.withdraw(NOW + 3600) for _ in range(1000)) == 20


def test_budget_of_nothing_allows_no_retry() -> None:
    budget = RetryBudget(AttemptSettings(retry_budget_ratio=0.0, retry_budget_per_s=0.0), NOW)
    budget.deposit()
    assert not budget.withdraw(NOW + 3600)
