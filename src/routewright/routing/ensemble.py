"""The mean of three views: nearest neighbours, logistic regression and a neural network."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self, TypeVar

import numpy as np

from routewright.routing.knn import KNNRouter
from routewright.routing.logistic import LogisticRouter
from routewright.routing.mlp import MLPRouter
from routewright.routing.router import Array, Float32, Router, check_training_data

AnyRouter = TypeVar("AnyRouter", bound=Router)
_THIRD: Final = np.float32(1 / 3)


class EnsembleRouter(Router):
    """Expects of a model the mean of what `KNNRouter`, `LogisticRouter` and `MLPRouter` expect.

    The three err differently: neighbours know corners that no line cuts off, the regression is steady where neighbours
    are few, the network bends where both are stiff. Each has its own defaults save those that are arguments here.

    k, pseudo_count: of the neighbours, whose prior is each model's mean. penalty, shared_penalty: of the regression.
    seeds: networks. seed: of the networks. cost_weight: quality given up per US dollar saved; 0 ignores cost.
    Learns what they learn: near_X_, near_residual_ and near_intercept_ of the neighbours, wide_weights_ and
    wide_intercept_ of the regression, deep_hidden_weights_, deep_hidden_bias_, deep_weights_ and deep_intercept_ of the
    network.
    Source: Breiman, "Stacked regressions", Machine Learning 24, 1996, with equal weights: weights fitted on a held-out
    part were no better on another.
    """

    name: ClassVar[str] = "ensemble"
    arguments: ClassVar[tuple[str, ...]] = (
        "k",
        "pseudo_count",
        "penalty",
        "shared_penalty",
        "seeds",
        "seed",
        "cost_weight",
    )
    arrays: ClassVar[tuple[str, ...]] = (
        "near_X",
        "near_residual",
        "near_intercept",
        "wide_weights",
        "wide_intercept",
        "deep_hidden_weights",
        "deep_hidden_bias",
        "deep_weights",
        "deep_intercept",
    )

    def __init__(
        self,
        *,
        k: int = 150,
        pseudo_count: float = 15.0,
        penalty: float = 6.0,
        shared_penalty: float = 0.6,
        seeds: int = 8,
        seed: int = 0,
        cost_weight: float = 0.0,
    ) -> None:
        self.k = k
        self.pseudo_count = pseudo_count
        self.penalty = penalty
        self.shared_penalty = shared_penalty
        self.seeds = seeds
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        near = KNNRouter(k=self.k, pseudo_count=self.pseudo_count).fit(X, quality, cost_usd)
        wide = LogisticRouter(penalty=self.penalty, shared_penalty=self.shared_penalty).fit(X, quality, cost_usd)
        deep = MLPRouter(seeds=self.seeds, seed=self.seed).fit(X, quality, cost_usd)
        self._take(near, wide, deep)
        for name in self.arrays:
            part, _, array = name.partition("_")
            setattr(self, f"{name}_", getattr({"near": near, "wide": wide, "deep": deep}[part], f"{array}_"))
        self.cost_usd_ = near.cost_usd_
        self.n_features_ = X.shape[1]
        return self

    def _take(self, near: KNNRouter, wide: LogisticRouter, deep: MLPRouter) -> None:
        self._near, self._wide, self._deep = near, wide, deep

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        rated = self._near.rate_one(x)
        rated += self._wide.rate_one(x)
        rated += self._deep.rate_one(x)
        rated *= _THIRD
        return rated

    def describe(self, x: Float32) -> dict[str, Any]:
        """As `KNNRouter.describe`."""
        return self._near.describe(x)

    def check_state(self, n_features: int, n_models: int) -> None:
        nothing = np.zeros((n_features, n_models), dtype=np.float32)
        self._take(
            self._part("near_", KNNRouter, {"k": self.k, "pseudo_count": self.pseudo_count}, {"weights": nothing}),
            self._part("wide_", LogisticRouter, {}, {}),
            self._part("deep_", MLPRouter, {}, {}),
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
