"""Ridge regression of every model's score on the features, alone or as what local routers fall back to."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from routewright.routing.router import (
    Float32,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
)


def fit_ridge(X: Float32, Y: Float32, penalty: float) -> tuple[Float32, Float32, Float32]:
    """Ridge regression with intercept of each column of Y (n, m) on X (n, f); NaN in Y is left out.

    Returns weights (f, m), intercept (m,) and the leave-one-out residuals (n, m), NaN where Y is. The residual a row
    would have had without itself in the fit is residual / (1 - leverage): exact for ridge, no refit needed.
    """
    n, f = X.shape
    m = Y.shape[1]
    weights = np.zeros((f, m))
    intercept = np.zeros(m)
    residuals = np.full((n, m), np.nan)
    known = ~np.isnan(Y)
    patterns, columns = np.unique(known, axis=1, return_inverse=True)
    for p in range(patterns.shape[1]):
        rows = patterns[:, p]
        mine = np.flatnonzero(columns.reshape(-1) == p)
        A = X[rows].astype(np.float64)
        B = Y[np.ix_(rows, mine)].astype(np.float64)
        centre, mean = A.mean(axis=0), B.mean(axis=0)
        A -= centre
        gram = A.T @ A
        gram[np.diag_indices_from(gram)] += max(penalty, 1e-6)
        inverse = np.linalg.inv(gram)
        weights[:, mine] = inverse @ (A.T @ (B - mean))
        intercept[mine] = mean - centre @ weights[:, mine]
        leverage = np.einsum("ij,jk,ik->i", A, inverse, A, optimize=True) + 1.0 / len(A)
        left_out = np.maximum(1.0 - leverage, 1e-3)[:, None]
        residuals[np.ix_(rows, mine)] = (B - mean - A @ weights[:, mine]) / left_out
    return weights.astype(np.float32), intercept.astype(np.float32), residuals.astype(np.float32)


class LinearRouter(Router):
    """Expects of a model what ridge regression of its scores on the features says.

    penalty: ridge penalty, > 0; larger is closer to each model's mean.
    Learns weights_ (n_features, n_models), intercept_ (n_models,).
    Source: Hoerl and Kennard, "Ridge regression", Technometrics 12, 1970.
    """

    name: ClassVar[str] = "linear"
    arguments: ClassVar[tuple[str, ...]] = ("penalty", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("weights", "intercept")
    weights_: Float32
    intercept_: Float32

    def __init__(self, *, penalty: float = 30.0, cost_weight: float = 0.0) -> None:
        self.penalty = penalty
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        if not self.penalty > 0:
            raise ValueError(f"penalty must be above 0, got {self.penalty}")
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        self.weights_, self.intercept_, _ = fit_ridge(X, quality, self.penalty)
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = X.shape[1]
        return self

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        return clip01(x @ self.weights_ + self.intercept_)

    def check_state(self, n_features: int, n_models: int) -> None:
        check_array("weights", self.weights_, np.float32, (n_features, n_models))
        check_array("intercept", self.intercept_, np.float32, (n_models,))
