"""Ridge regression of every model's score on the features, alone or as what local routers fall back to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.router import (
    Float32,
    Int64,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
)

Float64 = NDArray[np.float64]


def fit_ridge(X: Float32, Y: Float32, penalty: float) -> tuple[Float32, Float32, Float32]:
    """Ridge regression with intercept of each column of Y (n, m) on X (n, f); NaN in Y is left out.

    Returns weights (f, m), intercept (m,) and the leave-one-out residuals (n, m), NaN where Y is. The residual a row
    would have had without itself in the fit is residual / (1 - leverage): exact for ridge, no refit needed.
    """
    n, f = X.shape
    m = Y.shape[1]
    weights = np.zeros((f, m))
    intercept = np.zeros(m)
    residuals = np.full((n, m), np.nan, dtype=np.float32)
    patterns, columns = np.unique(~np.isnan(Y), axis=1, return_inverse=True)
    for p in range(patterns.shape[1]):
        rows = np.flatnonzero(patterns[:, p])
        mine = np.flatnonzero(columns.reshape(-1) == p)
        w, middle, mean, inverse = _normal_equations(X, Y, rows, mine, penalty)
        weights[:, mine] = w
        intercept[mine] = mean - middle @ w
        for block in _blocks(rows):
            A = X[block].astype(np.float64) - middle
            B = Y[np.ix_(block, mine)].astype(np.float64)
            leverage = np.einsum("ij,ij->i", A @ inverse, A) + 1.0 / len(rows)
            left_out = np.maximum(1.0 - leverage, 1e-3)[:, None]
            residuals[np.ix_(block, mine)] = (B - mean - A @ w) / left_out
    return weights.astype(np.float32), intercept.astype(np.float32), residuals


_BLOCK: Final = 65_536
"""Rows at a time, in double precision: a million at once would take gigabytes."""


def _blocks(rows: Int64) -> Iterator[Int64]:
    for low in range(0, len(rows), _BLOCK):
        yield rows[low : low + _BLOCK]


def _normal_equations(
    X: Float32, Y: Float32, rows: Int64, columns: Int64, penalty: float
) -> tuple[Float64, Float64, Float64, Float64]:
    """Weights, the middle of X, the means of Y, and the inverse of the penalised Gram matrix, over these rows."""
    f = X.shape[1]
    middle, mean = np.zeros(f), np.zeros(len(columns))
    for block in _blocks(rows):
        middle += X[block].sum(axis=0, dtype=np.float64)
        mean += Y[np.ix_(block, columns)].sum(axis=0, dtype=np.float64)
    middle /= len(rows)
    mean /= len(rows)
    gram, cross = np.zeros((f, f)), np.zeros((f, len(columns)))
    for block in _blocks(rows):
        A = X[block].astype(np.float64) - middle
        gram += A.T @ A
        cross += A.T @ (Y[np.ix_(block, columns)].astype(np.float64) - mean)
    gram[np.diag_indices_from(gram)] += max(penalty, 1e-6)
    inverse: Float64 = np.linalg.inv(gram).astype(np.float64, copy=False)
    return inverse @ cross, middle, mean, inverse


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
