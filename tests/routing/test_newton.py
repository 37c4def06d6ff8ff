from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.newton import fit_logistic


def test_one_weight_by_hand():
    """Three of four succeed: log-odds ln 3. With an offset of 1, ln 3 - 1."""
    ones, y = np.ones((4, 1)), np.array([1.0, 1, 1, 0])
    assert fit_logistic(ones, y) == pytest.approx(np.log(3))
    assert fit_logistic(ones, y, offset=1.0) == pytest.approx(np.log(3) - 1)


def test_a_pull_is_a_penalty_on_that_weight():
    """At the minimum the errors' sum is the pull times the weight."""
    rng = np.random.default_rng(0)
    A, y = rng.standard_normal((50, 2)), rng.random(50)
    theta = fit_logistic(A, y, pull=np.array([0.0, 5.0]))
    errors = A.T @ (y - 1 / (1 + np.exp(-(A @ theta))))
    assert errors == pytest.approx([0, 5 * theta[1]], abs=1e-6)


def test_scores_told_apart_without_error_stay_finite_under_a_pull():
    theta = fit_logistic(np.array([[-1.0], [1.0]]), np.array([0.0, 1.0]), pull=0.01)
    assert 1 < theta[0] < 10
