"""Linear support vector machines, one for each model, their margins calibrated to probabilities."""

from __future__ import annotations

from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.logistic import sigmoid
from routewright.routing.newton import fit_logistic
from routewright.routing.router import (
    Float32,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
)

Float64 = NDArray[np.float64]

_MOST_STEPS: Final = 30
_FOLDS: Final = 3


class SVMRouter(Router):
    """Expects of a model sigmoid(a margin(x) + b), the margin being that of a linear machine that tells its successes
    from its failures.

    penalty: on a machine's weights; larger is closer to the model's mean.
    seed: of the folds that the calibration is learned from.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    A score between 0 and 1 is a success and a failure of that much weight each. The loss is the squared hinge, whose
    minimum Newton's method finds in a few steps. The calibration is Platt's, learned from margins of prompts that the
    machine was not fitted to, its slope held at 0 or above. What is kept is calibrated, so a rating is one product:
    weights_ (n_features, n_models), intercept_ (n_models,).
    Raises ValueError in `fit` when an argument is out of range, NotFitted in `predict*`.
    Source: Hu et al., "RouterBench", 2024, arXiv:2403.12031, and LLMRouter's SVM, which is one machine that names a
    winner and knows neither scores nor cost; ours rates every model. Chapelle, "Training a support vector machine in
    the primal", Neural Computation 19, 2007; Platt, "Probabilistic outputs for support vector machines", 1999.
    """

    name: ClassVar[str] = "svm"
    arguments: ClassVar[tuple[str, ...]] = ("penalty", "seed", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("weights", "intercept")
    weights_: Float32
    intercept_: Float32

    def __init__(self, *, penalty: float = 30.0, seed: int = 0, cost_weight: float = 0.0) -> None:
        self.penalty = penalty
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        if not self.penalty > 0:
            raise ValueError(f"penalty must be above 0, got {self.penalty}")
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        n, f = X.shape
        m = quality.shape[1]
        fold = np.random.default_rng(self.seed).permutation(n) % _FOLDS
        rows = np.concatenate([X.astype(np.float64), np.ones((n, 1))], axis=1)
        self.weights_ = np.empty((f, m), dtype=np.float32)
        self.intercept_ = np.empty(m, dtype=np.float32)
        for model in range(m):
            known = ~np.isnan(quality[:, model])
            A, y, part = rows[known], quality[known, model].astype(np.float64), fold[known]
            w = squared_hinge(A, y, self.penalty)
            margin = np.empty(len(y))
            for number in range(_FOLDS):
                out = part == number
                if out.any():
                    inner = squared_hinge(A[~out], y[~out], self.penalty, w) if not out.all() else w * 0
                    margin[out] = A[out] @ inner
            slope, shift = platt(margin, y)
            self.weights_[:, model] = slope * w[:-1]
            self.intercept_[model] = slope * w[-1] + shift
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


def squared_hinge(A: Float64, y: Float64, penalty: float, start: Float64 | None = None) -> Float64:
    """Weights (f + 1,), the last the intercept's, that make penalty/2 |w|^2 plus a sum least; Newton's method.

    The sum is y max(0, 1 - margin)^2 + (1 - y) max(0, 1 + margin)^2 over rows of A (n, f + 1), which end in 1, and
    scores y (n,).
    """
    pull = np.full(A.shape[1], penalty)
    pull[-1] = 1e-3
    w = np.zeros(A.shape[1]) if start is None else start
    loss = np.inf
    step = np.zeros_like(w)
    for _ in range(_MOST_STEPS):
        for _ in range(8):  # halve a step that leads uphill
            margin = A @ (w + step)
            low, high = np.maximum(1 - margin, 0), np.maximum(1 + margin, 0)
            reached = float(y @ low**2 + (1 - y) @ high**2 + 0.5 * pull @ (w + step) ** 2)
            if reached <= loss:
                break
            step /= 2
        w = w + step
        if loss - reached < 1e-9 * max(1.0, reached):
            break
        loss = reached
        gradient = A.T @ (2 * ((1 - y) * high - y * low)) + pull * w
        curvature = 2 * (y * (low > 0) + (1 - y) * (high > 0))
        hessian = (A * curvature[:, None]).T @ A
        hessian[np.diag_indices_from(hessian)] += pull
        step[:] = -np.linalg.solve(hessian, gradient)
    return w


def platt(margin: Float64, y: Float64) -> tuple[float, float]:
    """Slope, 0 or more, and shift for which sigmoid(slope margin + shift) fits scores y best.

    A faint pull of the slope to 0, and of the shift to the mean's log-odds, keeps both finite where margins tell all,
    and where there is next to no data.
    """
    mean = float(np.clip(y.mean(), 0.02, 0.98))
    usual = float(np.log(mean / (1 - mean)))
    A = np.stack([margin, np.ones_like(margin)], axis=1)
    slope, shift = fit_logistic(A, y, offset=usual, pull=np.array([0.1, 1e-3])).tolist()
    return (slope, usual + shift) if slope > 0 else (0.0, usual)
