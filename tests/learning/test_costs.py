from __future__ import annotations

import numpy as np
import pytest

from routewright.learning.costs import CostModel


def test_where_cost_is_price_times_prompt_the_line_says_all():
    tokens = np.array([10, 20, 30, 60], dtype=np.int32)
    cost = np.outer(tokens, [1e-6, 5e-6]).astype(np.float32)
    X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    asked = np.array([40, 100], dtype=np.int32)
    assert CostModel().fit(tokens, cost).predict(asked) == pytest.approx(np.outer(asked, [1e-6, 5e-6]))
    assert CostModel().fit(tokens, cost, X).predict(asked, X[:2]) == pytest.approx(
        np.outer(asked, [1e-6, 5e-6]), rel=1e-3
    )


def test_the_vector_says_what_the_line_leaves_over():
    rng = np.random.default_rng(0)
    tokens = rng.integers(10, 100, size=600).astype(np.int32)
    X = rng.standard_normal((600, 4)).astype(np.float32)
    answer = 200 * (1 + 0.5 * X[:, 0]).clip(0.1)
    cost = (np.outer(tokens, [1e-6, 2e-6]) + np.outer(answer, [4e-6, 8e-6])).astype(np.float32)
    cost[rng.random(cost.shape) < 0.2] = np.nan
    train, rest = np.arange(400), np.arange(400, 600)
    line = CostModel().fit(tokens[train], cost[train]).predict(tokens[rest])
    whole = CostModel().fit(tokens[train], cost[train], X[train]).predict(tokens[rest], X[rest])
    off = [np.nanmean((said - cost[rest]) ** 2) for said in (line, whole)]
    assert off[1] < 0.1 * off[0]


def test_no_call_is_expected_to_be_free_or_to_pay():
    tokens = np.array([10, 1000], dtype=np.int32)
    cost = np.array([[0.0, np.nan], [1e-3, np.nan]], dtype=np.float32)
    said = CostModel().fit(tokens, cost).predict(np.array([0, 5], dtype=np.int32))
    assert said[:, 0] == pytest.approx(0.1 * 0.5e-3)
    assert (said[:, 1] == 0).all()
