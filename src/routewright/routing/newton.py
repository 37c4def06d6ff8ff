"""Logistic regression of a few weights on many rows, by Newton's method."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_MOST_STEPS: Final = 50


def fit_logistic(A: Float64, y: Float64, *, offset: Float64 | float = 0.0, pull: float | Float64 = 0.0) -> Float64:
    """Weights (k,) for which sigmoid(offset + A weights), A (n, k), fits scores y (n,), 0..1, best.

    pull: penalty on the squares of the weights, one for all or one for each. It must be above 0 where scores could be
    told apart without error, else there is no best.
    """
    theta = np.zeros(A.shape[1])
    pulls = np.broadcast_to(np.asarray(pull, dtype=np.float64), theta.shape)
    for _ in range(_MOST_STEPS):
        p = 1 / (1 + np.exp(-np.clip(A @ theta + offset, -30, 30)))
        gradient = A.T @ (p - y) + pulls * theta
        hessian = (A * (p * (1 - p))[:, None]).T @ A
        hessian[np.diag_indices_from(hessian)] += pulls
        step = np.linalg.solve(hessian, gradient)
        theta -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return theta
