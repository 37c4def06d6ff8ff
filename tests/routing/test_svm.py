from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.svm import SVMRouter, platt, squared_hinge

rng = np.random.default_rng(4)


def test_two_prompts_by_hand():
    """x = -1 fails, 1 succeeds; penalty 4: 4/2 w^2 + 2 (1 - w)^2 is least where 4 w = 4 (1 - w)."""
    w = squared_hinge(np.array([[-1.0, 1], [1, 1]]), np.array([0.0, 1.0]), 4.0)
    assert w == pytest.approx([0.5, 0.0], abs=1e-6)


def test_beyond_the_margin_nothing_pulls():
    """A far success adds nothing to the two at the margin's wrong side."""
    near = squared_hinge(np.array([[-1.0, 1], [1, 1]]), np.array([0.0, 1.0]), 4.0)
    with_far = squared_hinge(np.array([[-1.0, 1], [1, 1], [50, 1]]), np.array([0.0, 1.0, 1.0]), 4.0)
    assert with_far == pytest.approx(near, abs=1e-6)


def test_a_score_between_is_a_success_and_a_failure_in_part():
    A = np.concatenate([rng.standard_normal((40, 2)), np.ones((40, 1))], axis=1)
    split = squared_hinge(np.concatenate([A] * 4), np.repeat([0.0, 1.0, 1.0, 1.0], 40), 4.0)
    assert squared_hinge(A, np.full(40, 0.75), 1.0) == pytest.approx(split, abs=1e-4)


def test_calibration_by_hand():
    """Of margins 1 four in five succeed, of margins -1 one in five: log-odds ln 4 times the margin."""
    margin = np.repeat([1.0, -1.0], 500)
    y = np.concatenate([np.repeat([1.0, 0.0], (400, 100)), np.repeat([1.0, 0.0], (100, 400))])
    assert platt(margin, y) == pytest.approx((np.log(4), 0), abs=0.01)


def test_margins_that_say_the_opposite_are_not_believed():
    slope, shift = platt(np.array([1.0, 1.0, -1.0, -1.0]), np.array([0.0, 0.5, 1.0, 1.0]))
    assert slope == 0.0
    assert 1 / (1 + np.exp(-shift)) == pytest.approx(0.625)


def test_ratings_are_chances_and_what_the_log_odds_say():
    """Success where x is positive in nine cases of ten."""
    X = rng.choice([-1.0, 1.0], (2000, 1)).astype(np.float32)
    quality = (rng.random((2000, 1)) < np.where(X > 0, 0.9, 0.1)).astype(np.float32)
    router = SVMRouter(penalty=1.0).fit(X, quality, quality)
    for x, chance in ((1, 0.9), (-1, 0.1)):
        rated = router.rate_one(np.array([x], np.float32))
        assert rated == pytest.approx(chance, abs=0.03)
        weights, intercept = router.log_odds()
        assert rated == pytest.approx(1 / (1 + np.exp(-(x * weights[0] + intercept))), abs=1e-6)


def test_arguments_out_of_range_are_refused_in_fit():
    one = np.ones((5, 1), np.float32)
    with pytest.raises(ValueError, match="penalty"):
        SVMRouter(penalty=0.0).fit(one, one, one)
