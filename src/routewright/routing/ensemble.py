"""The mean of three views: nearest neighbours, a neural network, and what task a request seems to belong to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self, TypeVar

import numpy as np

from routewright.routing.knn import KNNRouter
from routewright.routing.mlp import MLPRouter
from routewright.routing.router import Array, Float32, Router, check_training_data
from routewright.routing.task_guess import TaskGuessRouter

AnyRouter = TypeVar("AnyRouter", bound=Router)
_THIRD: Final = np.float32(1 / 3)


class EnsembleRouter(Router):
    """Expects of a model the mean of what `KNNRouter`, `MLPRouter` and `TaskGuessRouter` expect.

    The three err differently: neighbours know corners that no surface cuts off, the network bends where neighbours are
    few, the guess of the task is right in the large where both see noise.

    k, pseudo_count: of the neighbours, whose prior is each model's mean. seeds: networks. seed: of all three.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.
    Learns what they learn, each array under `near_`, `deep_` and `task_`.
    Source: Breiman, "Stacked regressions", Machine Learning 24, 1996, with equal weights. Out of fold on train and
    valid rows, logistic regression as a fourth part was worse on three of four sets and neither on the fourth.
    """

    name: ClassVar[str] = "ensemble"
    arguments: ClassVar[tuple[str, ...]] = (
        "k",
        "pseudo_count",
        "seeds",
        "seed",
        "cost_weight",
    )
    arrays: ClassVar[tuple[str, ...]] = (
        "near_X",
        "near_residual",
        "near_intercept",
        "near_centres",
        "near_starts",
        "near_order",
        "deep_hidden_weights",
        "deep_hidden_bias",
        "deep_weights",
        "deep_intercept",
        "task_hidden_weights",
        "task_hidden_bias",
        "task_weights",
        "task_intercept",
        "task_table",
    )

    def __init__(
        self,
        *,
        k: int = 150,
        pseudo_count: float = 15.0,
        seeds: int = 8,
        seed: int = 0,
        cost_weight: float = 0.0,
    ) -> None:
        self.k = k
        self.pseudo_count = pseudo_count
        self.seeds = seeds
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        return self.fit_tasks(X, quality, cost_usd, [""] * len(X))

    def fit_tasks(self, X: Float32, quality: Float32, cost_usd: Float32, tasks: Sequence[str]) -> Self:
        """As the contract says."""
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        near = KNNRouter(k=self.k, pseudo_count=self.pseudo_count, seed=self.seed).fit(X, quality, cost_usd)
        deep = MLPRouter(seeds=self.seeds, seed=self.seed).fit(X, quality, cost_usd)
        task = TaskGuessRouter(seed=self.seed).fit_tasks(X, quality, cost_usd, tasks)
        self._parts = (near, deep, task)
        parts: dict[str, Router] = {"near": near, "deep": deep, "task": task}
        for name in self.arrays:
            part, _, array = name.partition("_")
            setattr(self, f"{name}_", getattr(parts[part], f"{array}_"))
        self.cost_usd_ = near.cost_usd_
        self.n_features_ = X.shape[1]
        return self

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        near, deep, task = self._parts
        rated = near.rate_one(x)
        rated += deep.rate_one(x)
        rated += task.rate_one(x)
        rated *= _THIRD
        return rated

    def describe(self, x: Float32) -> dict[str, Any]:
        """As `KNNRouter.describe`."""
        return self._parts[0].describe(x)

    def check_state(self, n_features: int, n_models: int) -> None:
        nothing = np.zeros((n_features, n_models), dtype=np.float32)
        self._parts = (
            self._part("near_", KNNRouter, {"k": self.k, "pseudo_count": self.pseudo_count}, {"weights": nothing}),
            self._part("deep_", MLPRouter, {}, {}),
            self._part("task_", TaskGuessRouter, {}, {}),
        )

    def _part(self, prefix: str, made: type[AnyRouter], arguments: dict[str, Any], more: dict[str, Array]) -> AnyRouter:
        """One of the three, from its arrays here; what does not fit is named as it is here."""
        arrays = {"cost_usd": self.cost_usd_, **more}
        for name in self.arrays:
            if name.startswith(prefix):
                arrays[name.removeprefix(prefix)] = getattr(self, f"{name}_")
        try:
            return made.from_state(arguments, arrays, n_features=self.n_features_)
        except ValueError as error:
            raise ValueError(str(error).replace('array "', f'array "{prefix}')) from None
