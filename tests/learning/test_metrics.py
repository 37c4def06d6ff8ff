from __future__ import annotations

import numpy as np
import pytest

from routewright.learning.metrics import concave_hull, cost_to_reach, mean_of_hull, strong_weak


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

    class Four:
        score = np.array([[1, 0], [1, 0], [1, 1], [1, 1]], dtype=float)

    knowing = np.array([[1, 0], [1, 0.1], [1, 0.9], [1, 1.0]])
    found = strong_weak(knowing, Four(), strong=0)
    assert found["apgr"] == pytest.approx(0.75)
    assert found["cpt50"] == 0.25
    assert found["cpt80"] == 0.5
