from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.linear import LinearRouter, fit_ridge
from routewright.routing.logistic import LogisticRouter, sigmoid

rng = np.random.default_rng(5)
X = rng.standard_normal((60, 4)).astype(np.float32)


def test_one_feature_by_hand():
    """x = -1, 1; y = 0, 1; penalty 2: weight = (0.5 + 0.5) / (2 + 2) = 0.25, intercept 0.5."""
    weights, intercept, _ = fit_ridge(np.array([[-1], [1]], np.float32), np.array([[0], [1]], np.float32), 2.0)
    assert weights == pytest.approx(0.25)
    assert intercept == pytest.approx(0.5)


def test_leave_one_out_residuals_are_those_of_refitting_without_the_row():
    Y = rng.random((60, 2)).astype(np.float32)
    Y[7, 1] = np.nan
    _, _, residuals = fit_ridge(X, Y, 3.0)
    for row in (0, 7, 33):
        keep = np.arange(60) != row
        weights, intercept, _ = fit_ridge(X[keep], Y[keep], 3.0)
        left_out = Y[row] - (X[row] @ weights + intercept)
        # the shortcut holds the centre fixed, so it is exact but for that
        assert residuals[row][~np.isnan(Y[row])] == pytest.approx(left_out[~np.isnan(Y[row])], abs=5e-3)
    assert np.isnan(residuals[7, 1])


def test_a_planted_line_is_found_through_missing_scores():
    Y = np.clip(0.5 + X[:, :1] * 0.1 + np.zeros((60, 3)), 0, 1).astype(np.float32)
    Y[::3, 1] = np.nan
    router = LinearRouter(penalty=1e-3).fit(X, Y, np.ones_like(Y))
    assert router.weights_[0] == pytest.approx(np.full(3, 0.1), abs=0.01)


def test_models_measured_on_different_prompts_land_on_one_scale():
    """A hard and an easy half; model 0 saw both, model 1 the hard half, model 2 the easy half, all equally able."""
    n = 600
    hard = np.arange(n) < n // 2
    chance = np.where(hard, 0.3, 0.9)
    features = np.stack([hard * 2.0 - 1.0, rng.standard_normal(n)], axis=1).astype(np.float32)
    quality = (rng.random((n, 3)) < chance[:, None]).astype(np.float32)
    quality[~hard, 1] = np.nan
    quality[hard, 2] = np.nan
    router = LogisticRouter().fit(features, quality, np.ones_like(quality))
    easy_rating = router.rate_one(np.array([-1, 0], np.float32))
    assert easy_rating[1] > 0.75
    assert np.nanmean(quality[:, 1]) < 0.4


def test_sigmoid_does_not_overflow():
    assert sigmoid(np.array([-1e9, 0, 1e9], np.float32)) == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize("router", [LinearRouter(penalty=0.0), LogisticRouter(penalty=-1.0), LogisticRouter(steps=0)])
def test_arguments_out_of_range_are_refused_in_fit(router):
    with pytest.raises(ValueError, match="penalty"):
        router.fit(X, np.ones((60, 1), np.float32), np.ones((60, 1), np.float32))
