"""Intervals by resampling rows. Source: Efron, "Bootstrap methods: another look at the jackknife", 1979."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]
BOOTSTRAP_ROUNDS: Final = 1000
_FEW_ROUNDS: Final = 200
_MANY_ROWS: Final = 100_000
"""From here on fewer rounds do: the table of counts has a byte for each row and round."""
_BLOCK: Final = 4_000_000
"""Counts turned into floats at once."""


class Resamples:
    """How often each of n rows was drawn in each round; one draw for all that is measured on a split, so that the
    difference of any two figures is paired.

    counts: uint8 (rounds, n), each row of it adding to n.
    """

    def __init__(self, n: int, *, seed: int, rounds: int | None = None) -> None:
        if n < 1:
            raise ValueError("nothing to resample")
        if rounds is None:
            rounds = BOOTSTRAP_ROUNDS if n <= _MANY_ROWS else _FEW_ROUNDS
        rng = np.random.default_rng(seed)
        self.counts = np.empty((rounds, n), dtype=np.uint8)
        for row in self.counts:
            row[:] = np.bincount(rng.integers(n, size=n), minlength=n)

    def means(self, values: ArrayLike) -> Float64:
        """Mean of `values` (n,) or (n, k) in each round: (rounds,) or (rounds, k)."""
        table = np.asarray(values, dtype=np.float64)
        rounds, n = self.counts.shape
        out = np.empty((rounds, *table.shape[1:]))
        step = max(1, _BLOCK // n)
        for at in range(0, rounds, step):
            out[at : at + step] = self.counts[at : at + step].astype(np.float64) @ table
        out /= n
        return out


def interval(values: ArrayLike) -> tuple[float, float]:
    """The middle 95 % of a figure's values in all rounds; infinity, "not reached", may be among them."""
    v = np.asarray(values, dtype=np.float64)
    return float(np.quantile(v, 0.025, method="lower")), float(np.quantile(v, 0.975, method="higher"))


def bootstrap_interval(values: NDArray[np.floating], *, seed: int) -> tuple[float, float]:
    """95 % interval of the mean of `values` (n,)."""
    return interval(Resamples(len(values), seed=seed).means(values))
