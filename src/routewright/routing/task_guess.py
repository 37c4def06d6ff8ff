"""What task a request belongs to is guessed from its vector, and what each model scored on that task is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np

from routewright.routing.kmeans import nearest_centres, spherical_k_means, sum_by
from routewright.routing.mlp import MLPRouter
from routewright.routing.router import (
    Float32,
    Int64,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
    unit_rows,
)

_LEAST_ROWS: Final = 10
"""A task of fewer rows is none to be known again."""
_MOST_TASKS: Final = 256
_CLUSTERS: Final = 16
"""Stand for tasks where nobody named any."""
_FLOOR: Final = np.float32(1e-6)


class TaskGuessRouter(Router):
    """Expects of a model its mean score on each of the training set's tasks, weighted by the chance of that task.

    Those who record scores mostly know what each prompt was a test of: a benchmark, a subject, a product's feature.
    Which task a new prompt belongs to is easier to tell than how a model will do on it, so a network that has learned
    the first says more of the second than one that has learned the second alone.

    pseudo_count: rows' worth of weight given to the overall mean in each task.
    seeds: networks averaged. seed: of the networks, and of the clusters.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    `fit_tasks` is told the tasks; `fit` takes clusters of the vectors in their place. Tasks of fewer than ten rows, and
    those beyond the 256 largest, count as one.
    Learns hidden_weights_ (n_features, width), hidden_bias_ (width,), weights_ (width, n_tasks) and intercept_
    (n_tasks,) of the network, and table_ (n_tasks, n_models).
    Source: ours; the table is that of Jitkrittum et al., "Universal model routing", 2025, arXiv:2502.08773, over named
    tasks instead of clusters; the task label as a help in learning: Caruana, "Multitask learning", 1997.
    """

    name: ClassVar[str] = "task-guess"
    arguments: ClassVar[tuple[str, ...]] = ("pseudo_count", "seeds", "seed", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("hidden_weights", "hidden_bias", "weights", "intercept", "table")
    hidden_weights_: Float32
    hidden_bias_: Float32
    weights_: Float32
    intercept_: Float32
    table_: Float32

    def __init__(self, *, pseudo_count: float = 10.0, seeds: int = 4, seed: int = 0, cost_weight: float = 0.0) -> None:
        self.pseudo_count = pseudo_count
        self.seeds = seeds
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        rows = unit_rows(X)
        centres, _ = spherical_k_means(rows, min(_CLUSTERS, len(X)), self.seed)
        return self._fit(X, quality, cost_usd, nearest_centres(rows, centres))

    def fit_tasks(self, X: Float32, quality: Float32, cost_usd: Float32, tasks: Sequence[str]) -> Self:
        """As the contract says; where all tasks are one, `fit`."""
        if len(tasks) != len(X):
            raise ValueError(f"tasks must name one for each of {len(X)} rows, got {len(tasks)}")
        counts = Counter(tasks)
        kept = sorted(task for task, count in counts.most_common(_MOST_TASKS - 1) if count >= _LEAST_ROWS)
        if len(kept) < 2:
            return self.fit(X, quality, cost_usd)
        number = {task: at for at, task in enumerate(kept)}
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        task = np.array([number.get(name, len(kept)) for name in tasks], dtype=np.int64)
        return self._fit(X, quality, cost_usd, task)

    def _fit(self, X: Float32, quality: Float32, cost_usd: Float32, task: Int64) -> Self:
        if not self.pseudo_count >= 0 or self.seeds < 1:
            raise ValueError("pseudo_count must be at least 0, seeds at least 1")
        n_tasks = int(task.max()) + 1
        belongs = np.zeros((len(X), n_tasks), dtype=np.float32)
        belongs[np.arange(len(X)), task] = 1.0
        network = MLPRouter(seeds=self.seeds, seed=self.seed).fit(X, belongs, np.zeros_like(belongs))
        self.hidden_weights_, self.hidden_bias_ = network.hidden_weights_, network.hidden_bias_
        self.weights_, self.intercept_ = network.weights_, network.intercept_
        known = ~np.isnan(quality)
        sums = sum_by(np.where(known, quality, np.float32(0)), task, n_tasks)
        counts = sum_by(known.astype(np.float32), task, n_tasks)
        mean = mean_known(quality)
        shrunk = (sums + self.pseudo_count * mean) / np.maximum(counts + self.pseudo_count, 1e-6)
        self.table_ = np.clip(shrunk, 0, 1).astype(np.float32)
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = X.shape[1]
        self._network = network
        return self

    def chances(self, x: Float32) -> Float32:
        """The chance of each task, float32 (n_tasks,), adding to 1."""
        rated = self._network.rate_one(x)
        rated += _FLOOR
        rated /= rated.sum()
        return rated

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        return clip01(self.chances(x) @ self.table_)

    def describe(self, x: Float32) -> dict[str, Any]:
        """`task`: number of the likeliest task, in the order of their names, and its `chance`."""
        chances = self.chances(x)
        return {"task": int(chances.argmax()), "chance": round(float(chances.max()), 4)}

    def check_state(self, n_features: int, n_models: int) -> None:
        check_array("table", self.table_, np.float32, (None, n_models))
        n_tasks = len(self.table_)
        arrays = {name: getattr(self, f"{name}_") for name in self.arrays if name != "table"}
        arrays["cost_usd"] = np.zeros(n_tasks, dtype=np.float32)
        self._network = MLPRouter.from_state({}, arrays, n_features=n_features)
