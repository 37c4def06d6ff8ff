"""From expected scores to probabilities that hold: isotonic regression, and how far from it a router is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


def pool_adjacent_violators(values: ArrayLike, weights: ArrayLike | None = None) -> Float64:
    """The non-decreasing sequence nearest to `values` (n,) in weighted squares; linear time.

    Source: Ayer et al., 1955; Robertson, Wright and Dykstra, "Order restricted statistical inference", 1988.
    """
    y = np.asarray(values, dtype=np.float64)
    w = np.ones_like(y) if weights is None else np.asarray(weights, dtype=np.float64)
    means: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for mean, mass in zip(y.tolist(), w.tolist(), strict=True):
        size = 1
        while means and means[-1] >= mean:
            total = masses[-1] + mass
            mean = (means.pop() * masses.pop() + mean * mass) / total if total else mean
            mass, size = total, size + sizes.pop()
        means.append(mean)
        masses.append(mass)
        sizes.append(size)
    return np.repeat(means, sizes)


class Isotonic:
    """A non-decreasing map from score to probability, linear between knots, flat beyond them.

    Learns x_ and y_, float32 (n_knots,): both ascending, y_ within [0, 1].
    """

    x_: NDArray[np.float32]
    y_: NDArray[np.float32]

    def fit(self, score: ArrayLike, outcome: ArrayLike, *, n_bins: int = 100) -> Self:
        """Learn from scores and outcomes 0..1 of equal length (n,).

        Scores are first put into at most `n_bins` bins of equal count: fewer knots, and no step for a single row.
        """
        s = np.asarray(score, dtype=np.float64).ravel()
        o = np.asarray(outcome, dtype=np.float64).ravel()
        if s.shape != o.shape or not s.size:
            raise ValueError(f"score and outcome must have one length above 0, got {s.shape} and {o.shape}")
        if not (np.isfinite(s).all() and np.isfinite(o).all()):
            raise ValueError("score and outcome must be finite")
        order = np.argsort(s, kind="stable")
        edges = np.linspace(0, s.size, min(n_bins, s.size) + 1).astype(np.int64)
        counts = np.diff(edges)
        x = np.add.reduceat(s[order], edges[:-1]) / counts
        y = pool_adjacent_violators(np.add.reduceat(o[order], edges[:-1]) / counts, counts)
        x, first = np.unique(x, return_index=True)
        y = y[first]
        turns = np.ones(len(x), dtype=bool)  # inside a flat piece a knot says nothing
        turns[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
        self.x_ = x[turns].astype(np.float32)
        self.y_ = np.clip(y[turns], 0, 1).astype(np.float32)
        self.prepare()
        return self

    @classmethod
    def from_knots(cls, x: NDArray[np.float32], y: NDArray[np.float32]) -> Self:
        """From saved knots. Raises ValueError when they are not ascending."""
        if x.ndim != 1 or x.shape != y.shape or not x.size:
            raise ValueError("calibration knots must be two arrays of one length")
        if (np.diff(x) < 0).any() or (np.diff(y) < 0).any() or y[0] < 0 or y[-1] > 1:
            raise ValueError("calibration knots must ascend, probabilities within 0..1")
        made = cls()
        made.x_, made.y_ = x, y
        made.prepare()
        return made

    def prepare(self) -> None:
        self._x = self.x_.tolist()
        self._y = self.y_.tolist()

    def one(self, score: float) -> float:
        """Probability for one score; plain Python, cheaper than an array of one."""
        x, y = self._x, self._y
        at = bisect_right(x, score)
        if at == 0:
            return float(y[0])
        if at == len(x):
            return float(y[-1])
        x0, x1 = x[at - 1], x[at]
        return float(y[at - 1] + (y[at] - y[at - 1]) * (score - x0) / (x1 - x0))

    def many(self, score: ArrayLike) -> Float64:
        """Probabilities, in the shape of `score`."""
        return np.interp(np.asarray(score, dtype=np.float64), self.x_, self.y_)


_PLATT_KNOTS: Final = 65
_PLATT_PULL: Final = 20.0
"""Weight of the wish to leave scores as they are, in outcomes: a few hundred outcomes are few."""


def platt(score: ArrayLike, outcome: ArrayLike) -> Isotonic:
    """The map sigmoid(a * log-odds(score) + b) that fits outcomes 0..1 best, a >= 0, as knots.

    For the scores of models that were *chosen*: the highest of several estimates is too high on average, and only what
    was chosen shows by how much. Two parameters because those are few: out of fold on four sets its error was at most
    that of isotonic regression on the chosen, on all, or on all and shifted, and near what chance alone would show.
    Source: Platt, "Probabilistic outputs for support vector machines", 1999; the logarithm is ours.
    """
    z = log_odds(score)
    o = np.asarray(outcome, dtype=np.float64).ravel()
    if z.shape != o.shape or not z.size:
        raise ValueError(f"score and outcome must have one length above 0, got {z.shape} and {o.shape}")
    a, b = 1.0, 0.0
    for _ in range(50):
        p = _sigmoid(a * z + b)
        w = np.maximum(p * (1 - p), 1e-6)
        gradient = np.array([((o - p) * z).sum() - _PLATT_PULL * (a - 1.0), (o - p).sum() - 0.1 * b])
        hessian = np.array([[(w * z * z).sum() + _PLATT_PULL, (w * z).sum()], [(w * z).sum(), w.sum() + 0.1]])
        move = np.clip(np.linalg.solve(hessian, gradient), -1.0, 1.0)
        a, b = a + float(move[0]), b + float(move[1])
    x = np.linspace(0.0, 1.0, _PLATT_KNOTS)
    y = _sigmoid(max(a, 0.0) * log_odds(x) + b)
    return Isotonic.from_knots(x.astype(np.float32), np.maximum.accumulate(y).astype(np.float32))


def calibrate_chosen(
    expected: NDArray[np.floating], recorded: NDArray[np.floating], choices: Sequence[NDArray[np.int64]]
) -> Isotonic:
    """`platt` on the scores of the models that were chosen.

    expected, recorded: (n, n_models), NaN where not recorded. choices: each int64 (n,), the model chosen by row. Where
    nothing that was chosen has a record, a map that changes nothing.
    """
    rows = np.arange(len(expected))
    scores = np.concatenate([expected[rows, choice] for choice in choices])
    outcomes = np.concatenate([recorded[rows, choice] for choice in choices])
    known = ~np.isnan(outcomes)
    if not known.any():
        return Isotonic.from_knots(np.array([0, 1], np.float32), np.array([0, 1], np.float32))
    return platt(scores[known], outcomes[known])


def log_odds(p: ArrayLike) -> Float64:
    """log(p / (1 - p)) of probabilities (n,), held within 0.01..0.99."""
    held = np.clip(np.asarray(p, dtype=np.float64).ravel(), 0.01, 0.99)
    return np.log(held / (1 - held))


def _sigmoid(z: Float64) -> Float64:
    return 1.0 / (1.0 + np.exp(-z))


def ece(probability: ArrayLike, outcome: ArrayLike, n_bins: int = 15) -> float:
    """Expected calibration error: mean gap between probability and outcome over `n_bins` equal bins of [0, 1].

    Source: Naeini, Cooper and Hauskrecht, AAAI 2015.
    """
    p = np.asarray(probability, dtype=np.float64).ravel()
    o = np.asarray(outcome, dtype=np.float64).ravel()
    bins = np.minimum((p * n_bins).astype(np.int64), n_bins - 1)
    gaps = np.bincount(bins, weights=p - o, minlength=n_bins)
    return float(np.abs(gaps).sum() / max(1, p.size))


def brier(probability: ArrayLike, outcome: ArrayLike) -> float:
    """Mean squared distance between probability and outcome. Source: Brier, 1950."""
    p = np.asarray(probability, dtype=np.float64)
    return float(np.mean((p - np.asarray(outcome, dtype=np.float64)) ** 2))
