"""Measuring routers: quality against cost on a test split, with baselines and intervals.

Every router is swept over weights of cost; each weight gives a point (mean cost, mean score) on the test split. H is
the smallest non-decreasing concave function above a router's points, since mixing two policies reaches every chord.
Metrics' names are those of DESIGN's table:

quality                 mean score at weight 0; quality_low, quality_high: bootstrap 95 %
gain                    quality minus the best single model's, row by row; gain_low, gain_high: paired bootstrap 95 %
oracle_gap_closed       gain / (oracle's quality - best single's); the best single model is chosen on train
aiq                     mean of H over [cheapest, dearest] single model's mean cost; aiq_gain: minus the zero router's
cost_at_best_quality    least cost at which H reaches the best single model's quality, as a share of its cost
cost_at_95              the same for 95 % of that quality
..._valid               the same with the weight chosen on validation and costs read on test; with the score it reached
ece, brier              of the score calibrated on validation, for the chosen model
decision_us_p50, _p99   prompt to choice, one thread
apgr, cpt50, cpt80      two-model sets: mean recovered gap over shares of strong calls (random 0.5), and the share of
                        strong calls that recovers 50 % and 80 % of it

Sources: Hu et al., "RouterBench", 2024, arXiv:2403.12031 (AIQ, zero router); Ong et al., "RouteLLM", 2024,
arXiv:2406.18665 (PGR, APGR, CPT).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routewright.learning.bootstrap import bootstrap_interval
from routewright.learning.costs import cost_weights
from routewright.learning.datasets import Dataset
from routewright.routing.baselines import zero_router
from routewright.routing.calibrate import Isotonic, brier, ece
from routewright.routing.router import Float32

Float64 = NDArray[np.float64]
Metrics = dict[str, float | None]


class Split:
    """Scores and costs of one split without gaps: an unrecorded score counts as the model's training mean."""

    def __init__(self, dataset: Dataset, name: str, mean: Float32, usual_cost: Float32) -> None:
        self.rows = dataset.rows(name)
        quality, cost = dataset.quality[self.rows], dataset.cost_usd[self.rows]
        self.recorded: Float32 = quality
        self.score: Float64 = np.where(np.isnan(quality), mean, quality).astype(np.float64)
        self.cost: Float64 = np.where(np.isnan(cost), usual_cost, cost).astype(np.float64)
        self.prompts = [dataset.prompts[row] for row in self.rows]
        self.index = np.arange(len(self.rows))


def concave_hull(cost: Sequence[float], score: Sequence[float]) -> tuple[Float64, Float64]:
    """Corners of the smallest non-decreasing concave function above the points."""
    x, y = zero_router(list(cost), list(score))
    return np.array(x), np.array(y)


def mean_of_hull(x: Float64, y: Float64, low: float, high: float) -> float:
    """Mean over [low, high] of the hull with these corners, flat after its last, rising from its first."""
    if high <= low:
        return float(np.interp(low, x, y))
    inner = x[(x > low) & (x < high)]
    at = np.concatenate(([low], inner, [high]))
    values = np.interp(at, x, y)
    return _trapezoid(values, at, high - low)


def _trapezoid(values: Float64, at: Float64, width: float) -> float:
    return float(((values[1:] + values[:-1]) / 2 * np.diff(at)).sum() / width)


def cost_to_reach(x: Float64, y: Float64, goal: float) -> float | None:
    """Least cost at which the hull reaches `goal`; None when it never does."""
    if goal > y[-1] + 1e-12:
        return None
    return float(np.interp(min(goal, y[-1]), y, x))


class Sweep:
    """Choices of one router over all weights of cost, on one split."""

    def __init__(self, expected: Float64, expected_cost: Float64, split: Split, weights: Sequence[float]) -> None:
        self.weights = list(weights)
        self.costs: list[float] = []
        self.scores: list[float] = []
        for weight in weights:
            choice = (expected - weight * expected_cost).argmax(axis=1)
            self.costs.append(float(split.cost[split.index, choice].mean()))
            self.scores.append(float(split.score[split.index, choice].mean()))

    def cheapest_weight(self, goal: float) -> float | None:
        """The weight of least cost among those whose score reaches `goal`."""
        good = [
            (cost, weight)
            for cost, score, weight in zip(self.costs, self.scores, self.weights, strict=True)
            if score >= goal
        ]
        return min(good)[1] if good else None


def measure(
    expected: dict[str, Float64],
    expected_cost: dict[str, Float64],
    valid: Split,
    test: Split,
    mean: Float32,
    *,
    seed: int,
    calibrated: bool = True,
) -> Metrics:
    """All metrics of one router from its expected scores on `valid` and `test`; mean (n_models,) is of training."""
    weights = cost_weights(expected_cost["valid"].mean(axis=0).astype(np.float32))
    best = int(np.argmax(mean))
    test_sweep = Sweep(expected["test"], expected_cost["test"], test, weights)
    valid_sweep = Sweep(expected["valid"], expected_cost["valid"], valid, weights)
    choice = expected["test"].argmax(axis=1)
    scores = test.score[test.index, choice]
    best_scores, best_cost = test.score[:, best], float(test.cost[:, best].mean())
    oracle = float(test.score.max(axis=1).mean())
    gain = scores - best_scores
    single_cost, single_score = test.cost.mean(axis=0), test.score.mean(axis=0)
    low, high = float(single_cost.min()), float(single_cost.max())
    x, y = concave_hull(test_sweep.costs, test_sweep.scores)
    zero_x, zero_y = concave_hull(single_cost.tolist(), single_score.tolist())
    aiq = mean_of_hull(x, y, low, high)
    goal = float(best_scores.mean())
    interval = bootstrap_interval(scores, seed=seed)
    gain_interval = bootstrap_interval(gain, seed=seed)
    out: Metrics = {
        "quality": float(scores.mean()),
        "quality_low": interval[0],
        "quality_high": interval[1],
        "gain": float(gain.mean()),
        "gain_low": gain_interval[0],
        "gain_high": gain_interval[1],
        "oracle_gap_closed": float(gain.mean()) / (oracle - goal) if oracle > goal else None,
        "aiq": aiq,
        "aiq_gain": aiq - mean_of_hull(zero_x, zero_y, low, high),
        "cost_share": float(test.cost[test.index, choice].mean()) / best_cost if best_cost else None,
    }
    for name, share in (("best_quality", 1.0), ("95", 0.95)):
        cost = cost_to_reach(x, y, share * goal)
        out[f"cost_at_{name}"] = None if cost is None or not best_cost else cost / best_cost
        weight = valid_sweep.cheapest_weight(share * float(valid.score[:, best].mean()))
        if weight is None or not best_cost:
            out[f"cost_at_{name}_valid"] = out[f"score_at_{name}_valid"] = None
        else:
            at = (expected["test"] - weight * expected_cost["test"]).argmax(axis=1)
            out[f"cost_at_{name}_valid"] = float(test.cost[test.index, at].mean()) / best_cost
            out[f"score_at_{name}_valid"] = float(test.score[test.index, at].mean())
    if calibrated:
        known = ~np.isnan(valid.recorded)
        calibration = Isotonic().fit(expected["valid"][known], valid.recorded[known])
        chance = calibration.many(expected["test"][test.index, choice])
        out["ece"], out["brier"] = ece(chance, scores), brier(chance, scores)
    if expected["test"].shape[1] == 2:
        out |= strong_weak(expected["test"], test, strong=best)
    return out


def strong_weak(expected: Float64, test: Split, *, strong: int) -> Metrics:
    """`apgr`, `cpt50`, `cpt80` of a two-model set."""
    weak = 1 - strong
    order = np.argsort(-(expected[:, strong] - expected[:, weak]), kind="stable")
    gain = (test.score[:, strong] - test.score[:, weak])[order]
    total = float(gain.sum())
    if total <= 0:
        return {"apgr": None, "cpt50": None, "cpt80": None}
    recovered = np.concatenate(([0.0], np.cumsum(gain) / total))
    share = np.arange(len(recovered)) / len(gain)
    return {
        "apgr": _trapezoid(recovered, share, 1.0),
        "cpt50": float(share[np.argmax(recovered >= 0.5)]),
        "cpt80": float(share[np.argmax(recovered >= 0.8)]),
    }


def measure_random(test: Split, mean: Float32) -> Metrics:
    """Each model with equal chance, in expectation."""
    best = int(np.argmax(mean))
    cost = float(test.cost[:, best].mean())
    return {
        "quality": float(test.score.mean()),
        "gain": float(test.score.mean() - test.score[:, best].mean()),
        "cost_share": float(test.cost.mean()) / cost if cost else None,
    }


def measure_zero(test: Split, mean: Float32) -> Metrics:
    """The cheapest mix of single models, read on test."""
    cost, score = test.cost.mean(axis=0), test.score.mean(axis=0)
    x, y = concave_hull(cost.tolist(), score.tolist())
    best = int(np.argmax(mean))
    out: Metrics = {
        "quality": float(y[-1]),
        "gain": float(y[-1] - score[best]),
        "aiq": mean_of_hull(x, y, float(cost.min()), float(cost.max())),
        "aiq_gain": 0.0,
    }
    for name, share in (("best_quality", 1.0), ("95", 0.95)):
        found = cost_to_reach(x, y, share * float(score[best]))
        out[f"cost_at_{name}"] = None if found is None or not cost[best] else found / float(cost[best])
    return out
