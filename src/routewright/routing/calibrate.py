"""From expected scores to probabilities that hold: isotonic regression, and how far from it a router is."""

from __future__ import annotations

from bisect import bisect_right
from typing import Self

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
