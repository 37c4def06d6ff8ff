"""Logistic regression of all models' scores together, which borrow strength from one another."""

from __future__ import annotations

from typing import ClassVar, Final, Self

import numpy as np

from routewright.routing.router import (
    Float32,
    Int64,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
)

_BATCH: Final = 65_536
"""Rows of a step where there are more: chance says little more of so many than all of them would."""


class LogisticRouter(Router):
    """Expects of a model sigmoid(ability + difficulty(x) + its own deviation(x)).

    All models share the weights of `difficulty`, penalised little; each model's deviation is penalised much. So models
    that were measured on different sets land on one scale: what is hard for those that were tried is held to be hard
    for those that were not.

    penalty: on each model's own weights. shared_penalty: on the shared ones. steps: of Adam, each on all rows, or on
    65,536 drawn by chance where there are more.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.
    Learns weights_ (n_features, n_models), intercept_ (n_models,).
    Source: Evgeniou and Pontil, "Regularized multi-task learning", KDD 2004; Rasch, 1960, for the scale.
    """

    name: ClassVar[str] = "logistic"
    arguments: ClassVar[tuple[str, ...]] = ("penalty", "shared_penalty", "steps", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("weights", "intercept")
    weights_: Float32
    intercept_: Float32

    def __init__(
        self, *, penalty: float = 6.0, shared_penalty: float = 0.6, steps: int = 300, cost_weight: float = 0.0
    ) -> None:
        self.penalty = penalty
        self.shared_penalty = shared_penalty
        self.steps = steps
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        if not (self.penalty > 0 and self.shared_penalty > 0 and self.steps >= 1):
            raise ValueError("penalty and shared_penalty must be above 0, steps at least 1")
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        n, f = X.shape
        m = quality.shape[1]
        known = ~np.isnan(quality)
        target = np.where(known, quality, 0).astype(np.float32)
        mask = known.astype(np.float32)
        mean = np.clip(mean_known(quality), 0.02, 0.98)
        # shared weights, then one column of own weights for each model, then the intercepts
        theta = np.zeros((f + 1, m + 1), dtype=np.float32)
        theta[f, 1:] = np.log(mean / (1 - mean))
        pull = np.full_like(theta, self.penalty / n * max(1.0, n / max(1.0, known.sum(axis=0).max())))
        pull[:, 0] = self.shared_penalty / n
        pull[f] = 1e-3 / n
        pull[f, 0] = 1.0
        first, second = np.zeros_like(theta), np.zeros_like(theta)
        gradient = np.empty_like(theta)
        share_known = max(1, int(known.any(axis=1).sum())) / n
        rows: slice | Int64 = slice(None)
        scale = np.float32(1.0 / (share_known * n))
        rng = np.random.default_rng(0)
        for step in range(1, self.steps + 1):
            if n > _BATCH:
                rows = rng.integers(n, size=_BATCH)
                scale = np.float32(1.0 / (share_known * _BATCH))
            x = X[rows]
            z = x @ (theta[:f, 1:] + theta[:f, :1]) + theta[f, 1:]
            error = (sigmoid(z) - target[rows]) * mask[rows] * scale
            gradient[:f, 1:] = x.T @ error
            gradient[:f, 0] = gradient[:f, 1:].sum(axis=1)
            gradient[f, 1:] = error.sum(axis=0)
            gradient[f, 0] = 0
            gradient += pull * theta
            first = 0.9 * first + 0.1 * gradient
            second = 0.99 * second + 0.01 * gradient * gradient
            rate = 0.15 * (1.0 - 0.95 * step / self.steps)
            theta -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
        self.weights_ = np.ascontiguousarray(theta[:f, 1:] + theta[:f, :1])
        self.intercept_ = np.ascontiguousarray(theta[f, 1:])
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = f
        return self

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        return clip01(sigmoid(x @ self.weights_ + self.intercept_))

    def log_odds(self) -> tuple[Float32, Float32]:
        return self.weights_, self.intercept_

    def check_state(self, n_features: int, n_models: int) -> None:
        check_array("weights", self.weights_, np.float32, (n_features, n_models))
        check_array("intercept", self.intercept_, np.float32, (n_models,))


def sigmoid(z: Float32) -> Float32:
    """1 / (1 + exp(-z)), without overflow: beyond 30 it is 0 or 1 in float32 anyway."""
    return (1.0 / (1.0 + np.exp(-np.clip(z, -30, 30)))).astype(np.float32, copy=False)
