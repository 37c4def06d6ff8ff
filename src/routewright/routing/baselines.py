"""Routers that hardly look at the request; no result is shown without them beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from routewright.routing.router import (
    Float32,
    Int64,
    Router,
    check_array,
    check_training_data,
    mean_known,
)


class _Means(Router):
    """Knows each model's mean score and nothing of the request."""

    arguments: ClassVar[tuple[str, ...]] = ("cost_weight",)
    arrays: ClassVar[tuple[str, ...]] = ("mean",)
    mean_: Float32

    def __init__(self, *, cost_weight: float = 0.0) -> None:
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        self.mean_ = mean_known(quality)
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = X.shape[1]
        return self

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        return self.mean_.copy()

    def check_state(self, n_features: int, n_models: int) -> None:
        check_array("mean", self.mean_, np.float32, (n_models,))


class BestRouter(_Means):
    """Always the model that was best on average."""

    name: ClassVar[str] = "best"


class CheapestRouter(_Means):
    """Always the model that was cheapest on average, the better one of equals."""

    name: ClassVar[str] = "cheapest"

    def predict(self, X: Float32) -> Int64:
        self.check_is_fitted()
        order = np.lexsort((-self.mean_, self.cost_usd_))
        return np.full(len(X), order[0], dtype=np.int64)


class RandomRouter(_Means):
    """Any model with equal chance. `predict` draws by `seed`, anew and alike at every call."""

    name: ClassVar[str] = "random"
    arguments: ClassVar[tuple[str, ...]] = ("seed", "cost_weight")

    def __init__(self, *, seed: int = 0, cost_weight: float = 0.0) -> None:
        super().__init__(cost_weight=cost_weight)
        self.seed = seed

    def predict(self, X: Float32) -> Int64:
        self.check_is_fitted()
        return np.random.default_rng(self.seed).integers(self.n_models, size=len(X))


class TaskMeanRouter(_Means):
    """Expects the mean score in the request's task, shrunk to the overall mean.

    Here the one feature is the task's number, X (n, 1). A label that a caller seldom gives: a yardstick, not a router
    to serve. pseudo_count: requests' worth of weight given to the overall mean.
    Learns table_ (n_tasks, n_models).
    """

    name: ClassVar[str] = "task-mean"
    arguments: ClassVar[tuple[str, ...]] = ("pseudo_count", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("mean", "table")
    table_: Float32

    def __init__(self, *, pseudo_count: float = 20.0, cost_weight: float = 0.0) -> None:
        super().__init__(cost_weight=cost_weight)
        self.pseudo_count = pseudo_count

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        super().fit(X, quality, cost_usd)
        task = np.asarray(X)[:, 0].astype(np.int64)
        if (task < 0).any():
            raise ValueError("a task's number must be at least 0")
        known = ~np.isnan(quality)
        sums = np.zeros((int(task.max()) + 1, quality.shape[1]))
        counts = np.zeros_like(sums)
        np.add.at(sums, task, np.where(known, quality, 0.0))
        np.add.at(counts, task, known)
        prior = self.pseudo_count
        self.table_ = ((sums + prior * self.mean_) / np.maximum(counts + prior, 1e-6)).astype(np.float32)
        return self

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        task = int(x[0])
        return self.table_[task].copy() if 0 <= task < len(self.table_) else self.mean_.copy()

    def check_state(self, n_features: int, n_models: int) -> None:
        super().check_state(n_features, n_models)
        check_array("table", self.table_, np.float32, (None, n_models))


class OracleRouter:
    """Knows the scores it is judged by: the bound that no router passes. Not an estimator, since it learns nothing."""

    name: ClassVar[str] = "oracle"

    def predict_quality(self, quality: Float32) -> Float32:
        """The recorded scores themselves, unrecorded ones as 0."""
        return np.nan_to_num(quality, nan=0.0).astype(np.float32)


def zero_router(cost_usd: Sequence[float], quality: Sequence[float]) -> tuple[list[float], list[float]]:
    """Costs and qualities of the cheapest mixes of single models: the corners of their upper concave hull.

    Mixing two models by chance reaches every point of the chord between them, without reading a single request.
    Source: Hu et al., "RouterBench", 2024, arXiv:2403.12031.
    """
    hull: list[tuple[float, float]] = []
    for point in sorted(zip(cost_usd, quality, strict=True), key=lambda p: (p[0], -p[1])):
        if hull and point[1] <= hull[-1][1]:
            continue
        while len(hull) >= 2:
            (c0, q0), (c1, q1) = hull[-2], hull[-1]
            if (q1 - q0) * (point[0] - c1) > (point[1] - q1) * (c1 - c0):
                break
            hull.pop()
        hull.append(point)
    return [c for c, _ in hull], [q for _, q in hull]
