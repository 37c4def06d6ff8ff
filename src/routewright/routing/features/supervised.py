"""What every feature maker learns alike: the leading axes of its vectors, and what they say of the models' scores."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from routewright.routing.linear import fit_ridge
from routewright.routing.router import Float32

_FOLDS: Final = 5
_TARGET_STD: Final = 0.7
"""Weight of a target's standard deviation against the topics' length of 1; tuned on validation."""


def fit_targets(Z: Float32, quality: Float32, n_targets: int, ridge: float) -> tuple[Float32, Float32, Float32]:
    """Weights (r, t) and shift (t,) of supervised dimensions `Z @ weights - shift`, and the rows' own, out of fold.

    Z: (n, r). quality: (n, n_models), NaN where not recorded; t is n_targets, or less where there are fewer models.
    ridge: penalty as a multiple of the mean variance of a column of Z.

    The rows that are fitted to get theirs from the other four fifths: the router that learns from them then sees how
    good they are on prompts that they were not fitted to (as scikit-learn's TargetEncoder does).
    """
    targets = leading_targets(np.asarray(quality, dtype=np.float64), n_targets)
    weights, shift, out_of_fold = cross_fit(Z, targets, ridge)
    unit = np.float32(_TARGET_STD / max(float(out_of_fold[:, 0].std()), 1e-6))
    return weights * unit, shift * unit, out_of_fold * unit


def step(weights: Float32) -> np.float32:
    """Size of one int8 step for these weights: the few outliers beyond 127 steps are clipped."""
    top = float(np.quantile(np.abs(weights), 0.9995))
    return np.float32(max(top, 1e-12) / 127.0)


def top_axes(X: Float32, rank: int, rng: np.random.Generator) -> Float32:
    """Leading right singular vectors of X (n, f), float32 (f, rank), by randomised subspace iteration."""
    width = min(rank + 20, *X.shape)
    Y = X @ rng.standard_normal((X.shape[1], width), dtype=np.float32)
    for _ in range(3):
        basis = np.linalg.qr(Y)[0]
        basis = np.linalg.qr(X.T @ basis)[0]
        Y = X @ basis
    basis = np.linalg.qr(Y)[0]
    axes: Float32 = np.linalg.svd(basis.T @ X, full_matrices=False)[2]
    axes = axes[:rank].T
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(rank)])
    return np.ascontiguousarray(axes * np.where(sign == 0, 1, sign), dtype=np.float32)


def leading_axes(X: Float32, n: int) -> Float32:
    """Leading right singular vectors of X (rows, f), float32 (f, n), by its Gram matrix: for a few hundred columns."""
    gram = np.zeros((X.shape[1], X.shape[1]))
    for at in range(0, len(X), 4096):
        part = X[at : at + 4096].astype(np.float64)
        gram += part.T @ part
    axes = np.linalg.eigh(gram)[1][:, ::-1][:, :n]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return np.ascontiguousarray(axes * np.where(sign == 0, 1, sign), dtype=np.float32)


def leading_targets(quality: NDArray[np.float64], n_targets: int) -> Float32:
    """Leading principal components of the scores, float32 (n, at most n_targets).

    Scores may come from several sets that share few models: a request's own level (how hard it is for everybody) and
    each model's are fitted by alternation first; what is missing counts as that sum.
    """
    known = ~np.isnan(quality)
    filled = np.where(known, quality, 0.0)
    level = np.zeros(len(quality))
    means = np.zeros(quality.shape[1])
    for _ in range(30):
        means = ((filled - level[:, None]) * known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        level = ((filled - means) * known).sum(axis=1) / np.maximum(known.sum(axis=1) + 0.5, 1)
    deviation = np.where(known, filled - means, level[:, None])
    deviation -= deviation.mean(axis=0)
    left, values, _ = np.linalg.svd(deviation, full_matrices=False)
    n = min(n_targets, len(values))
    targets: Float32 = (left[:, :n] * values[:n]).astype(np.float32)
    return targets


def cross_fit(Z: Float32, targets: Float32, ridge: float) -> tuple[Float32, Float32, Float32]:
    """Ridge weights (r, t) and shift (t,) on all rows, and every row's prediction by the fit that left its fold out."""
    variance = float(Z.var(axis=0).mean())
    fold = np.arange(len(Z)) % _FOLDS
    weights, intercept, _ = fit_ridge(Z, targets, ridge * variance * len(Z))
    out = np.zeros_like(targets)
    for k in range(_FOLDS):
        inside, outside = fold == k, fold != k
        if outside.any():
            w, c, _ = fit_ridge(Z[outside], targets[outside], ridge * variance * int(outside.sum()))
            out[inside] = Z[inside] @ w + c
    return weights, -intercept, out
