"""What calls are expected to cost, and the weights of cost that a router is swept over."""

from __future__ import annotations

from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.linear import fit_ridge
from routewright.routing.router import Float32

Float64 = NDArray[np.float64]
_LEAST_SHARE: Final = 0.1
"""No call is expected to cost less than this share of its model's mean: the line runs below 0 somewhere."""


class CostModel:
    """Expects of a call what a straight line in the prompt's tokens says, and beside it what the prompt's vector says.

    The vector speaks of what the line leaves over: chiefly the length of the answer, which is the dearer part. Where
    recorded costs are prices times tokens of the prompt alone, nothing is left over.

    penalty: of the ridge regression of the rest, as a share of the model's mean cost, on the vectors.
    """

    def __init__(self, *, penalty: float = 30.0) -> None:
        self.penalty = penalty

    def fit(self, tokens: NDArray[np.int32], cost_usd: Float32, X: Float32 | None = None) -> Self:
        """tokens: (n,). cost_usd: (n, n_models), NaN where not recorded. X: (n, n_features); None: the line alone."""
        x = np.asarray(tokens, dtype=np.float64)
        cost = np.asarray(cost_usd, dtype=np.float64)
        n_models = cost.shape[1]
        self._mean, self._slope, self._middle = np.zeros(n_models), np.zeros(n_models), np.zeros(n_models)
        for column in range(n_models):
            known = ~np.isnan(cost[:, column])
            if not known.any():
                continue
            t, y = x[known], cost[known, column]
            spread = ((t - t.mean()) ** 2).sum()
            slope = float(((t - t.mean()) * (y - y.mean())).sum() / spread) if spread > 0 else 0.0
            self._mean[column], self._slope[column], self._middle[column] = y.mean(), max(0.0, slope), t.mean()
        self._weights: Float32 | None = None
        if X is not None:
            unit = np.where(self._mean > 0, self._mean, 1.0)
            rest = ((cost - self._line(x)) / unit).astype(np.float32)
            rest[:, np.isnan(rest).all(axis=0)] = 0.0
            self._weights, self._intercept, _ = fit_ridge(X, rest, self.penalty)
        return self

    def _line(self, tokens: Float64) -> Float64:
        return self._mean + self._slope * (tokens[:, None] - self._middle)

    def predict(self, tokens: NDArray[np.int32], X: Float32 | None = None) -> Float64:
        """USD of each model, (n, n_models); X as in `fit`."""
        expected = self._line(np.asarray(tokens, dtype=np.float64))
        if self._weights is not None and X is not None:
            expected = expected + self._mean * (X @ self._weights + self._intercept)
        return np.maximum(expected, _LEAST_SHARE * self._mean)


def cost_weights(usual_cost: Float32, steps: int = 160) -> list[float]:
    """Weights of a US dollar that sweep from "cost is nothing" to "cost is all", 0 first."""
    known = np.asarray(usual_cost, dtype=np.float64)
    dearest = float(known.max(initial=0.0))
    if dearest <= 0:
        return [0.0]
    return [0.0, *(np.geomspace(1e-3, 1e5, steps) / dearest).tolist()]
