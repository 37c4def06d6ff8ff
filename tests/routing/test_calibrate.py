from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright.routing.calibrate import (
    Isotonic,
    brier,
    calibrate_chosen,
    ece,
    platt,
    pool_adjacent_violators,
)


def test_violators_are_pooled_by_hand():
    assert pool_adjacent_violators([1, 3, 2, 4]) == pytest.approx([1, 2.5, 2.5, 4])
    assert pool_adjacent_violators([3, 2, 1]) == pytest.approx([2, 2, 2])
    assert pool_adjacent_violators([2, 1], [3, 1]) == pytest.approx([1.75, 1.75])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_pooling_ascends_keeps_the_mean_and_is_idempotent(values):
    pooled = pool_adjacent_violators(values)
    assert (np.diff(pooled) >= -1e-12).all()
    assert pooled.mean() == pytest.approx(np.mean(values))
    assert pool_adjacent_violators(pooled) == pytest.approx(pooled)


def test_an_overconfident_score_is_brought_down():
    rng = np.random.default_rng(0)
    truth = rng.random(4000)
    outcome = (rng.random(4000) < truth).astype(float)
    score = np.sqrt(truth)
    fitted = Isotonic().fit(score, outcome)
    assert ece(score, outcome) > 0.1
    assert ece(fitted.many(score), outcome) < 0.03
    assert fitted.one(0.5) == pytest.approx(0.25, abs=0.08)


def test_one_and_many_agree_and_stay_in_range():
    fitted = Isotonic().fit([0.1, 0.2, 0.3, 0.9], [0, 1, 0, 1])
    grid = np.linspace(-1, 2, 50)
    assert [fitted.one(s) for s in grid] == pytest.approx(fitted.many(grid))
    assert fitted.many(grid).min() >= 0
    assert fitted.many(grid).max() <= 1


@pytest.mark.parametrize(("x", "y"), [([0.2, 0.1], [0, 1]), ([0.1, 0.2], [1, 0]), ([0.1], [2.0]), ([], [])])
def test_bad_knots_are_refused(x, y):
    with pytest.raises(ValueError, match="knots"):
        Isotonic.from_knots(np.array(x, np.float32), np.array(y, np.float32))


def test_calibration_error_by_hand():
    """Bin of 0.9: two rows, one right: gap .4 over 2 rows; bin of 0.1: gap .1 over 1 row; (2 * .4 + .1) / 3."""
    assert ece([0.9, 0.9, 0.1], [1, 0, 0]) == pytest.approx(0.3)
    assert brier([0.5, 1.0], [1, 1]) == pytest.approx(0.125)


def test_platt_takes_off_what_the_highest_of_several_estimates_has_too_much():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.3, 0.8, size=(4000, 5))
    expected = np.clip(truth + 0.15 * rng.standard_normal(truth.shape), 0.02, 0.98)
    recorded = (rng.random(truth.shape) < truth).astype(float)
    chosen = expected.argmax(axis=1)
    rows = np.arange(4000)
    assert expected[rows, chosen].mean() - recorded[rows, chosen].mean() > 0.05
    fitted = calibrate_chosen(expected[:2000], recorded[:2000], [chosen[:2000]])
    chances = fitted.many(expected[rows, chosen])
    assert chances[2000:].mean() == pytest.approx(recorded[rows, chosen][2000:].mean(), abs=0.03)
    outcomes = recorded[rows, chosen][2000:]
    assert ece(chances[2000:], outcomes) < 0.5 * ece(expected[rows, chosen][2000:], outcomes)


def test_platt_by_hand():
    # half of those held to be sure are right, and half of the others: nothing is known
    flat = platt([0.9] * 1000 + [0.1] * 1000, [1, 0] * 1000)
    assert flat.many([0.1, 0.5, 0.9]) == pytest.approx([0.5, 0.5, 0.5], abs=0.01)
    # what holds is left alone
    kept = platt([0.8] * 1000 + [0.3] * 1000, [1] * 800 + [0] * 200 + [1] * 300 + [0] * 700)
    assert kept.many([0.3, 0.8]) == pytest.approx([0.3, 0.8], abs=0.01)
    # scores that run the wrong way say nothing; they are not turned round
    wrong = platt([0.9] * 500 + [0.1] * 500, [0] * 500 + [1] * 500)
    assert np.ptp(wrong.many([0.1, 0.9])) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="length"):
        platt([], [])


def test_without_a_record_of_what_was_chosen_scores_stay_as_they_are():
    fitted = calibrate_chosen(np.array([[0.2, 0.7]]), np.array([[1.0, np.nan]]), [np.array([1])])
    assert fitted.many([0.2, 0.7]) == pytest.approx([0.2, 0.7])
