from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright.routing.objective import Dial, blended_usd_per_million
from routewright.types import Price

rng = np.random.default_rng(2)
SCORES = np.sort(rng.random((200, 3)), axis=1)
COSTS = np.tile([0.001, 0.01, 0.1], (200, 1))


def reached(dial: Dial, quality: float) -> float:
    weight = dial.weight(quality)
    choice = (SCORES - weight * COSTS).argmax(axis=1) if weight < inf else COSTS.argmin(axis=1)
    return float(SCORES[np.arange(200), choice].mean())


def test_the_ends_are_the_best_and_the_cheapest():
    dial = Dial(SCORES, COSTS)
    assert dial.weight(1.0) == 0.0
    assert dial.weight(0.0) == inf
    assert dial.weight(-3) == inf
    assert dial.weight(7) == 0.0
    assert reached(dial, 1.0) == pytest.approx(SCORES.max(axis=1).mean())


@pytest.mark.parametrize("quality", [0.1, 0.3, 0.5, 0.8, 0.95])
def test_the_dial_is_the_fraction_of_the_way_from_cheapest_to_best(quality):
    dial = Dial(SCORES, COSTS)
    fraction = (reached(dial, quality) - dial.cheapest_score) / (dial.best_score - dial.cheapest_score)
    assert fraction == pytest.approx(quality, abs=0.04)


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_quality_never_weighs_cost_more(a, b):
    dial = Dial(SCORES, COSTS)
    low, high = sorted((a, b))
    assert dial.weight(low) >= dial.weight(high)


@pytest.mark.parametrize("costs", [np.zeros((200, 3)), np.tile([0.1, 0.01, 0.001], (200, 1))])
def test_where_nothing_is_to_be_traded_cost_weighs_nothing(costs):
    assert Dial(SCORES, costs).weight(0.5) == 0.0


def test_blended_price_counts_input_three_times():
    price = Price(input_usd_per_token=1e-6, output_usd_per_token=5e-6)
    assert blended_usd_per_million(price) == pytest.approx(2.0)
    assert blended_usd_per_million(Price(input_usd_per_token=1e-6)) == pytest.approx(1.0)
    assert blended_usd_per_million(Price()) is None


def test_candidates_that_cost_nearly_the_same_do_not_put_the_worst_of_them_on_the_dial():
    """The cheapest of each prompt flips between four poor models and a good one, which cost alike; a fifth is dear."""
    draw = np.random.default_rng(0)
    scores = np.tile([0.2, 0.2, 0.2, 0.2, 0.6, 0.8], (300, 1)) + 0.05 * draw.standard_normal((300, 6))
    costs = np.tile([1.0, 1.0, 1.0, 1.0, 1.01, 20.0], (300, 1)) * (1 + 0.02 * draw.standard_normal((300, 6)))
    dial = Dial(scores, costs)
    assert dial.cheapest_score < 0.4  # what stands at 0 to the letter
    for quality in (0.01, 0.25, 0.5):
        choice = (scores - dial.weight(quality) * costs).argmax(axis=1)
        assert scores[np.arange(300), choice].mean() > 0.59
