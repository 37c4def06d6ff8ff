from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.baselines import (
    BestRouter,
    CheapestRouter,
    OracleRouter,
    RandomRouter,
    TaskMeanRouter,
    zero_router,
)

X = np.zeros((4, 1), dtype=np.float32)
QUALITY = np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, np.nan]], dtype=np.float32)
COST = np.array([[3, 1, 1]] * 4, dtype=np.float32)


def test_best_takes_the_highest_mean():
    assert BestRouter().fit(X, QUALITY, COST).predict(X).tolist() == [0, 0, 0, 0]


def test_cheapest_takes_the_better_of_equally_cheap_ones():
    assert CheapestRouter().fit(X, QUALITY, COST).predict(X).tolist() == [2, 2, 2, 2]


def test_random_draws_all_models_alike_and_repeats_by_seed():
    many = np.zeros((3000, 1), dtype=np.float32)
    router = RandomRouter(seed=4).fit(X, QUALITY, COST)
    drawn = router.predict(many)
    assert np.bincount(drawn) == pytest.approx([1000] * 3, abs=120)
    assert drawn.tolist() == router.predict(many).tolist()


def test_task_mean_shrinks_each_tasks_mean_and_knows_no_new_task():
    """Task 1 has row 2 alone: model 0 scored 1; with pseudo-count 1 to the mean .75: (1 + .75) / 2."""
    tasks = np.array([[0], [0], [1], [0]], dtype=np.float32)
    router = TaskMeanRouter(pseudo_count=1).fit(tasks, QUALITY, COST)
    assert router.rate_one(np.array([1], np.float32))[0] == pytest.approx(0.875)
    assert router.rate_one(np.array([99], np.float32)) == pytest.approx(router.mean_)


def test_oracle_knows_the_scores():
    assert OracleRouter().predict_quality(QUALITY)[3].tolist() == [0, 0, 0]
    assert OracleRouter().predict_quality(QUALITY)[0].tolist() == [1, 0, 1]


def test_zero_router_keeps_the_corners_of_the_hull():
    """(2, .5) lies below the chord from (1, .5) to (4, .8); (5, .7) is dominated; (3, .75) is above the chord."""
    cost, quality = zero_router([1, 2, 3, 4, 5], [0.5, 0.5, 0.75, 0.8, 0.7])
    assert cost == [1, 3, 4]
    assert quality == [0.5, 0.75, 0.8]
