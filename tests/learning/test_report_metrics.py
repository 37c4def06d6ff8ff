from __future__ import annotations

import numpy as np
import pytest

from routewright.learning.metrics import concave_hull, cost_to_reach, mean_of_hull, recovered_gap


def test_area_under_the_hull_by_hand():
    """Corners (1, .5), (3, .75), (4, .8): trapezoids .625 * 2 + .775 * 1 over a width of 3; flat beyond."""
    x, y = concave_hull([1, 2, 3, 4, 5], [0.5, 0.5, 0.75, 0.8, 0.7])
    assert mean_of_hull(x, y, 1, 4) == pytest.approx((1.25 + 0.775) / 3)
    assert mean_of_hull(x, y, 4, 6) == pytest.approx(0.8)
    assert mean_of_hull(x, y, 2, 2) == pytest.approx(0.625)
    assert cost_to_reach(x, y, 0.625) == pytest.approx(2)
    assert cost_to_reach(x, y, 0.1) == 1
    assert cost_to_reach(x, y, 0.81) is None


def test_recovered_gap_by_hand():
    """Strong is right on all, weak on half. Asked first where weak fails, half the calls recover all: APGR 0.75."""

    gain = np.array([1.0, 1.0, 0.0, 0.0])
    found = recovered_gap(gain, np.ones(4))
    assert found["apgr"] == pytest.approx(0.75)
    assert found["cpt50"] == 0.25
    assert found["cpt80"] == 0.5
    twice = recovered_gap(gain, np.array([2.0, 0.0, 1.0, 1.0]))  # a resample that drew the first row twice
    assert twice["apgr"] == pytest.approx(0.75)
    assert recovered_gap(-gain, np.ones(4))["apgr"] != recovered_gap(-gain, np.ones(4))["apgr"]  # no gap to recover
