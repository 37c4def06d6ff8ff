"""What calls are expected to cost, and the weights of cost that a router is swept over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routewright.learning.datasets import Dataset
from routewright.routing.router import Float32

Float64 = NDArray[np.float64]


def expected_costs(dataset: Dataset, train: NDArray[np.int64], rows: NDArray[np.int64]) -> Float64:
    """USD of each model on `rows`, (n, n_models), by a straight line in the prompt's tokens fitted on `train`."""
    tokens = dataset.prompt_tokens.astype(np.float64)
    out = np.empty((len(rows), len(dataset.models)))
    for column in range(len(dataset.models)):
        cost = dataset.cost_usd[train, column].astype(np.float64)
        known = ~np.isnan(cost)
        if not known.any():
            out[:, column] = 0.0
            continue
        x, y = tokens[train][known], cost[known]
        spread = ((x - x.mean()) ** 2).sum()
        slope = max(0.0, float(((x - x.mean()) * (y - y.mean())).sum() / spread)) if spread > 0 else 0.0
        out[:, column] = np.maximum(y.mean() + slope * (tokens[rows] - x.mean()), 0.0)
    return out


def cost_weights(usual_cost: Float32, steps: int = 160) -> list[float]:
    """Weights of a US dollar that sweep from "cost is nothing" to "cost is all", 0 first."""
    known = np.asarray(usual_cost, dtype=np.float64)
    dearest = float(known.max(initial=0.0))
    if dearest <= 0:
        return [0.0]
    return [0.0, *(np.geomspace(1e-3, 1e5, steps) / dearest).tolist()]
