"""Intervals by resampling rows."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

BOOTSTRAP_ROUNDS: Final = 1000


def bootstrap_interval(
    values: NDArray[np.floating], *, seed: int, rounds: int = BOOTSTRAP_ROUNDS
) -> tuple[float, float]:
    """95 % interval of the mean of `values` (n,), by resampling rows. Source: Efron, 1979."""
    values = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(rounds)]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
