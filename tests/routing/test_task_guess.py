from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.ensemble import EnsembleRouter
from routewright.routing.task_guess import TaskGuessRouter


def tasked(n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Two tasks, told by the first feature; the first model does one of them, the second the other."""
    rng = np.random.default_rng(0)
    task = rng.integers(2, size=n)
    X = rng.standard_normal((n, 4)).astype(np.float32)
    X[:, 0] = 4.0 * task - 2.0
    chance = np.array([[0.9, 0.2], [0.3, 0.8]])[task]
    quality = (rng.random((n, 2)) < chance).astype(np.float32)
    return X, quality, np.full((n, 2), 1e-3, np.float32), ["law" if t else "art" for t in task]


def test_a_request_is_expected_to_score_as_the_task_it_seems_to_belong_to():
    X, quality, cost, tasks = tasked()
    router = TaskGuessRouter(pseudo_count=0.0).fit_tasks(X, quality, cost, tasks)
    for name, number in (("art", 0), ("law", 1)):
        mine = np.array(tasks) == name
        assert router.table_[number] == pytest.approx(quality[mine].mean(axis=0), abs=1e-6)
        x = X[mine][0]
        assert router.chances(x)[number] > 0.95
        assert router.rate_one(x) == pytest.approx(router.table_[number], abs=0.05)
        assert router.describe(x)["task"] == number


def test_a_table_by_hand_is_drawn_to_the_mean():
    X, quality, cost, _ = tasked(20)
    router = TaskGuessRouter(pseudo_count=5.0).fit_tasks(X, quality, cost, ["one"] * 10 + ["two"] * 10)
    mean = quality.mean(axis=0)
    assert router.table_[0] == pytest.approx((quality[:10].sum(axis=0) + 5 * mean) / 15, abs=1e-6)


def test_small_tasks_are_one_and_a_lone_task_is_none():
    X, quality, cost, tasks = tasked()
    rare = [f"rare {i}" if i < 8 else task for i, task in enumerate(tasks)]
    assert len(TaskGuessRouter().fit_tasks(X, quality, cost, rare).table_) == 3
    alone = TaskGuessRouter().fit_tasks(X, quality, cost, ["one"] * len(X))
    assert alone.table_.tobytes() == TaskGuessRouter().fit(X, quality, cost).table_.tobytes()
    with pytest.raises(ValueError, match="tasks must name"):
        TaskGuessRouter().fit_tasks(X, quality, cost, ["one"])


def test_the_ensemble_is_the_mean_of_its_three_parts():
    X, quality, cost, tasks = tasked(200)
    router = EnsembleRouter(seeds=1).fit_tasks(X, quality, cost, tasks)
    for x in X[:10]:
        parts = [part.rate_one(x) for part in router._parts]
        assert router.rate_one(x) == pytest.approx(np.mean(parts, axis=0), abs=1e-6)
    assert router._parts[2].table_.shape == (2, 2)
