"""What a route's dial buys, by the router's own expectation for a sample of prompts that it was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from routewright.routing.decide import RoutePlan

STEPS = 40


@dataclass(frozen=True, slots=True)
class Trade:
    """Means over the sample; costs are US dollars a request."""

    curve: list[tuple[float, float, float]]
    """(dial, cost, score) from 0 to 1."""
    singles: list[tuple[str, float, float]]
    """(model, cost, score) of each candidate for all prompts."""
    shares: list[tuple[float, list[float]]]
    """(dial, how much of the sample goes to each candidate)."""


def trade_of(plan: RoutePlan) -> Trade:
    scores, costs = plan.sample_scores.astype(np.float64), plan.sample_costs_usd
    rows = np.arange(len(scores))
    curve, shares = [], []
    for step in range(STEPS + 1):
        dial = step / STEPS
        weight = plan.weight(dial)
        choice = costs.argmin(axis=1) if weight == inf else (scores - weight * costs).argmax(axis=1)
        curve.append((dial, float(costs[rows, choice].mean()), float(scores[rows, choice].mean())))
        shares.append((dial, (np.bincount(choice, minlength=scores.shape[1]) / len(rows)).tolist()))
    names = [candidate.model for candidate in plan.candidates]
    singles = list(zip(names, costs.mean(axis=0).tolist(), scores.mean(axis=0).tolist(), strict=True))
    return Trade(curve, singles, shares)
