"""How load is spread over the deployments of a model, by each strategy; chance has a seed, and time is the test's."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from routewright.catalog import make_group
from routewright.settings import AttemptSettings
from routewright.types import Deployment, Group, Health, Price
from routewright.upstream.health import Balance
from routewright.upstream.strategies import Fastest, make_strategy
from values import deployment_settings

NOW = 1000.0


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW

    def __call__(self) -> float:
        return self.now_s


def group(*entries: dict[str, Any]) -> Group:
    settings = [deployment_settings("m", id=f"d{place}", **entry) for place, entry in enumerate(entries)]
    return make_group("m", [(each, Health()) for each in settings], AttemptSettings())


def balance(
    strategy: str = "simple-shuffle", used: Callable[[Deployment], int] = lambda _: 0, now: Clock | None = None,
    **settings: Any,
) -> Balance:  # fmt: skip
    return Balance(AttemptSettings(routing_strategy=strategy, **settings), random.Random(4), used, now or Clock())


def shares(steady: Balance, among: Group, tries: int = 4000, *, is_stream: bool = False) -> list[float]:
    found = [steady.pick(among, [], NOW, is_stream=is_stream) for _ in range(tries)]
    return [found.count(each) / tries for each in among.deployments]


# --- simple-shuffle ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"weight": 1.0}, {"weight": 3.0}, {"weight": 0.0}], [0.25, 0.75, 0.0]),
        ([{"rpm": 90}, {"rpm": 10}], [0.9, 0.1]),
        ([{"tpm": 1000}, {"tpm": 3000}], [0.25, 0.75]),
        ([{"weight": 1.0, "rpm": 1000}, {"weight": 1.0, "rpm": 1}], [0.5, 0.5]),
        ([{"rpm": 100, "tpm": 1}, {"rpm": 100, "tpm": 999}], [0.5, 0.5]),
        ([{"weight": 2.0}, {"rpm": 1000}], [1.0, 0.0]),
        ([{}, {"weight": 9.0}, {}], [1 / 3, 1 / 3, 1 / 3]),
        ([{"weight": 0.0}, {"weight": 0.0}], [0.5, 0.5]),
    ],
    ids=str,
)
def test_shuffle_goes_by_the_weight_else_rpm_else_tpm_that_the_first_deployment_says(
    entries: list[dict[str, Any]], expected: list[float]
) -> None:
    assert shares(balance(), group(*entries)) == pytest.approx(expected, abs=0.03)


# --- the others -------------------------------------------------------------------------------------------------------


def test_least_busy_is_who_has_fewest_requests_in_flight() -> None:
    among = group({}, {}, {})
    for each, in_flight in zip(among.deployments, (2, 0, 0), strict=True):
        each.health.in_flight = in_flight
    assert shares(balance("least-busy"), among) == pytest.approx([0.0, 0.5, 0.5], abs=0.03)


def test_cost_based_takes_the_cheapest_and_an_unpriced_one_last() -> None:
    dear, cheap = Price(input_usd_per_token=2e-6), Price(input_usd_per_token=1e-6, output_usd_per_token=1e-7)
    steady = balance("cost-based-routing")
    assert shares(steady, group({"price": dear}, {}, {"price": cheap}, {"price": cheap})) == pytest.approx(
        [0.0, 0.0, 0.5, 0.5], abs=0.03
    )
    assert shares(steady, group({}, {"price": dear})) == [0.0, 1.0]


@pytest.mark.parametrize("strategy", ["usage-based-routing", "usage-based-routing-v2"])
def test_usage_based_takes_who_was_sent_fewest_tokens_this_minute(strategy: str) -> None:
    used = {"d0": 500, "d1": 20, "d2": 20}
    steady = balance(strategy, used=lambda each: used[each.id])
    assert shares(steady, group({}, {}, {})) == pytest.approx([0.0, 0.5, 0.5], abs=0.03)


def test_order_comes_before_every_strategy() -> None:
    among = group({"order": 2}, {"order": 1}, {"order": 1})
    among.deployments[1].health.in_flight = among.deployments[2].health.in_flight = 9
    for strategy in ("simple-shuffle", "least-busy", "latency-based-routing"):
        assert shares(balance(strategy), among)[0] == 0.0


def test_unknown_strategy_is_an_error() -> None:
    with pytest.raises(ValueError, match="no strategy"):
        make_strategy(AttemptSettings(routing_strategy="fastest"), random.Random(1), lambda _: 0, Clock())


# --- latency-based-routing --------------------------------------------------------------------------------------------


def measured(steady: Balance, among: Group, *answers: tuple[float, float, int], is_stream: bool = False) -> None:
    """An answer each, in the order of the deployments: seconds to the first byte and the end, and output tokens."""
    assert isinstance(steady.latencies, Fastest)
    for each, (first_byte_s, whole_s, tokens) in zip(among.deployments, answers, strict=True):
        steady.latencies.note(each, first_byte_s, whole_s, tokens, is_stream=is_stream)


def test_fastest_is_meant_per_output_token() -> None:
    among, steady = group({}, {}), balance("latency-based-routing")
    measured(steady, among, (1.0, 1.0, 10), (3.0, 3.0, 100))
    assert shares(steady, among) == [0.0, 1.0]


def test_streams_go_by_the_time_to_the_first_byte() -> None:
    among, steady = group({}, {}), balance("latency-based-routing")
    measured(steady, among, (0.1, 9.0, 10), (0.5, 1.0, 10), is_stream=True)
    assert shares(steady, among, is_stream=True) == [1.0, 0.0]
    assert shares(steady, among) == [0.0, 1.0]


def test_buffer_spreads_over_who_is_nearly_as_fast() -> None:
    among = group({}, {}, {})
    for buffer, expected in ((0.0, [1.0, 0.0, 0.0]), (0.3, [0.5, 0.5, 0.0]), (4.0, [1 / 3, 1 / 3, 1 / 3])):
        steady = balance("latency-based-routing", lowest_latency_buffer=buffer)
        for each in among.deployments:
            each.health.latencies = None
        measured(steady, among, (1.0, 1.0, 1), (1.2, 1.2, 1), (2.0, 2.0, 1))
        assert shares(steady, among) == pytest.approx(expected, abs=0.03)


def test_one_that_nothing_is_known_of_goes_first() -> None:
    among, steady = group({}, {}), balance("latency-based-routing")
    assert isinstance(steady.latencies, Fastest)
    steady.latencies.note(among.deployments[0], 0.1, 0.1, 100, is_stream=False)
    assert shares(steady, among) == [0.0, 1.0]


def test_measurements_older_than_the_ttl_are_forgotten_so_a_slow_one_is_asked_again() -> None:
    clock = Clock()
    among, steady = group({}, {}), balance("latency-based-routing", now=clock, latency_ttl_s=60.0)
    measured(steady, among, (1.0, 1.0, 1), (5.0, 5.0, 1))
    assert shares(steady, among) == [1.0, 0.0]
    clock.now_s += 30
    measured(steady, among, (1.0, 1.0, 1), (5.0, 5.0, 1))
    clock.now_s += 40
    assert shares(steady, among) == [1.0, 0.0]
    clock.now_s += 30
    assert shares(steady, among) == pytest.approx([0.5, 0.5], abs=0.03)


def test_only_the_latest_measurements_count() -> None:
    among, steady = group({}, {}), balance("latency-based-routing", latency_samples=2)
    measured(steady, among, (9.0, 9.0, 1), (1.0, 1.0, 1))
    measured(steady, among, (0.5, 0.5, 1), (1.0, 1.0, 1))
    assert shares(steady, among) == [0.0, 1.0]
    measured(steady, among, (0.5, 0.5, 1), (1.0, 1.0, 1))
    assert shares(steady, among) == [1.0, 0.0]


def test_timeout_counts_as_the_time_that_was_waited() -> None:
    among, steady = group({}, {}), balance("latency-based-routing")
    measured(steady, among, (0.1, 0.1, 10), (0.5, 0.5, 10))
    assert isinstance(steady.latencies, Fastest)
    steady.latencies.note_timeout(among.deployments[0], 60.0)
    assert shares(steady, among) == [0.0, 1.0]
    assert shares(steady, among, is_stream=True) == [0.0, 1.0]
