"""The mean of a local and a global view: nearest neighbours and logistic regression."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from routewright.routing.knn import KNNRouter
from routewright.routing.logistic import LogisticRouter
from routewright.routing.router import Float32, Router, check_array


class EnsembleRouter(Router):
    """Expects of a model the mean of what `KNNRouter` and `LogisticRouter` expect.

    The two err differently: neighbours know corners that no line cuts off, the regression is steady where neighbours
    are few. Arguments are those of the two; see there.
    Learns what they learn: X_, residual_ and mean_ (n_models,) of the neighbours, weights_ and intercept_ of the
    regression.
    Source: Breiman, "Stacked regressions", 1996, with equal weights.
    """

    name: ClassVar[str] = "ensemble"
    arguments: ClassVar[tuple[str, ...]] = (
        "k",
        "pseudo_count",
        "penalty",
        "shared_penalty",
        "steps",
        "cost_weight",
    )
    arrays: ClassVar[tuple[str, ...]] = ("X", "residual", "mean", "weights", "intercept")
    X_: Float32
    residual_: Float32
    mean_: Float32
    weights_: Float32
    intercept_: Float32

    def __init__(
        self,
        *,
        k: int = 150,
        pseudo_count: float = 15.0,
        penalty: float = 6.0,
        shared_penalty: float = 0.6,
        steps: int = 300,
        cost_weight: float = 0.0,
    ) -> None:
        self.k = k
        self.pseudo_count = pseudo_count
        self.penalty = penalty
        self.shared_penalty = shared_penalty
        self.steps = steps
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        near = KNNRouter(k=self.k, pseudo_count=self.pseudo_count, prior="mean").fit(X, quality, cost_usd)
        wide = LogisticRouter(penalty=self.penalty, shared_penalty=self.shared_penalty, steps=self.steps)
        wide.fit(X, quality, cost_usd)
        self.X_, self.residual_, self.mean_ = near.X_, near.residual_, near.intercept_
        self.weights_, self.intercept_ = wide.weights_, wide.intercept_
        self.cost_usd_ = near.cost_usd_
        self.n_features_ = near.n_features_
        self._near, self._wide = near, wide
        return self

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        rated = self._near.rate_one(x)
        rated += self._wide.rate_one(x)
        rated *= 0.5
        return rated

    def describe(self, x: Float32) -> dict[str, Any]:
        """As `KNNRouter.describe`."""
        return self._near.describe(x)

    def check_state(self, n_features: int, n_models: int) -> None:
        check_array("mean", self.mean_, np.float32, (n_models,))
        shared = {"cost_usd": self.cost_usd_}
        self._wide = LogisticRouter.from_state(
            {}, {"weights": self.weights_, "intercept": self.intercept_, **shared}, n_features=n_features
        )
        nothing = self.weights_ * 0
        self._near = KNNRouter.from_state(
            {"k": self.k, "pseudo_count": self.pseudo_count, "prior": "mean"},
            {"X": self.X_, "residual": self.residual_, "weights": nothing, "intercept": self.mean_, **shared},
            n_features=n_features,
        )
