"""The figures of an evaluation: quality against cost on a test split, each with its interval.

Every router is swept over weights of cost; each weight gives a point (mean cost, mean score) on the test split. H is
the smallest non-decreasing concave function above a router's points, since mixing two policies reaches every chord.
NAME_low and NAME_high are the bootstrap's 95 % interval of NAME, all of them from the same resampled rows, so that
differences are paired:

quality                 mean score at weight 0
gain                    quality minus the best single model's, row by row; the best single model is chosen on train
oracle_gap_closed       gain / (oracle's quality - best single's)
aiq                     mean of H over [cheapest, dearest] single model's mean cost; aiq_gain: minus the zero router's
cost_share              mean cost at weight 0, as a share of the best single model's
cost_at_best_quality    least cost at which H reaches the best single model's quality, as a share of its cost
cost_at_95              the same for 95 % of that quality
..._valid               the same with the weight chosen on validation, read on test; score_at_..._valid: what it reached
ece, brier              of the score calibrated on validation, for the chosen model. A resample adds noise of its own to
                        an absolute value, so ece_low .. ece_high lies high: what is below ece_high is on the safe side
decision_us_p50, _p99   prompt to choice, one thread
apgr, cpt50, cpt80      two-model sets: mean recovered gap over shares of strong calls (random 0.5), and the share of
                        strong calls that recovers 50 % and 80 % of it

None: not reached, or not defined. Sources: Hu et al., "RouterBench", 2024, arXiv:2403.12031 (AIQ, zero router); Ong et
al., "RouteLLM", 2024, arXiv:2406.18665 (PGR, APGR, CPT).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Final

import numpy as np
from numpy.typing import NDArray

from routewright.learning.bootstrap import Resamples, interval
from routewright.learning.datasets import Dataset
from routewright.routing.baselines import zero_router
from routewright.routing.calibrate import brier, ece
from routewright.routing.router import Float32

Float64 = NDArray[np.float64]
Metrics = dict[str, float | None]
SHARES: Final = {"best_quality": 1.0, "95": 0.95}
"""Of the best single model's quality, by the name of the cost at which it is reached."""
ECE_BINS: Final = 15


class Split:
    """Scores and costs of one split without gaps: an unrecorded score counts as the model's training mean."""

    def __init__(self, dataset: Dataset, name: str, mean: Float32, usual_cost: Float32) -> None:
        self.rows = dataset.rows(name)
        quality, cost = dataset.quality[self.rows], dataset.cost_usd[self.rows]
        self.recorded: Float32 = quality
        self.score: Float64 = np.where(np.isnan(quality), mean, quality).astype(np.float64)
        self.cost: Float64 = np.where(np.isnan(cost), usual_cost, cost).astype(np.float64)
        self.prompts = dataset.prompts_of(self.rows)
        self.index = np.arange(len(self.rows))


# --- curves -------------------------------------------------------------------------------------------------------


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


# --- one way to choose, or many -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Score and cost of every test row under each of several ways to choose, float64 (n, n_policies)."""

    score: Float64
    cost: Float64
    dearest: int = 0
    """The one that asks for quality alone; `quality` and `gain` are its."""
    at: Mapping[str, int | None]
    """By the names of `SHARES`: the one that validation would choose to reach that share at least cost."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a policy is held against, from means over some test rows."""

    best_cost: float
    goal: float
    """The best single model's quality."""
    low: float
    high: float
    """Cost of the cheapest and the dearest single model."""
    zero_aiq: float
    oracle: float

    @classmethod
    def of(cls, cost: Float64, score: Float64, oracle: float, best: int) -> Measure:
        """From the single models' mean costs and scores, (n_models,), and the oracle's mean score."""
        low, high = float(cost.min()), float(cost.max())
        x, y = concave_hull(cost.tolist(), score.tolist())
        return cls(float(cost[best]), float(score[best]), low, high, mean_of_hull(x, y, low, high), float(oracle))


class Field:
    """What all policies on a test split are held against, as it is and in every resample of its rows."""

    def __init__(self, test: Split, best: int, *, seed: int) -> None:
        self.test, self.best = test, best
        self.resamples = Resamples(len(test.rows), seed=seed)
        oracle = test.score.max(axis=1)
        self._whole = Measure.of(test.cost.mean(axis=0), test.score.mean(axis=0), oracle.mean(), best)
        self._rounds = [
            Measure.of(cost, score, each, best)
            for cost, score, each in zip(
                self.resamples.means(test.cost),
                self.resamples.means(test.score),
                self.resamples.means(oracle),
                strict=True,
            )
        ]

    def figures(self, policies: Policies) -> tuple[dict[str, float], dict[str, list[float]]]:
        """Figures of quality and cost, and the same in each resample; infinity: not reached, NaN: not defined."""
        whole = _figures(policies, policies.cost.mean(axis=0), policies.score.mean(axis=0), self._whole)
        cost, score = self.resamples.means(policies.cost), self.resamples.means(policies.score)
        rounds = [_figures(policies, *each) for each in zip(cost, score, self._rounds, strict=True)]
        return whole, {name: [each[name] for each in rounds] for name in whole}

    def measure(self, policies: Policies) -> Metrics:
        """All figures of quality and cost, with intervals."""
        whole, rounds = self.figures(policies)
        out: Metrics = {}
        for name, value in whole.items():
            out |= _with_interval(name, value, rounds[name])
        return out

    def calibration_error(self, chance: Float64, outcome: Float64) -> tuple[float, list[float]]:
        """`ece` of the chosen models' chances against what came, both (n,), and in each resample."""
        gaps = np.zeros((len(chance), ECE_BINS))
        gaps[np.arange(len(chance)), bin_of(chance)] = chance - outcome
        rounds: list[float] = np.abs(self.resamples.means(gaps)).sum(axis=1).tolist()
        return ece(chance, outcome, ECE_BINS), rounds

    def calibration(self, chance: Float64, outcome: Float64) -> Metrics:
        """`ece` and `brier` of the chosen models' chances against what came, both (n,), with intervals."""
        value, rounds = self.calibration_error(chance, outcome)
        out = _with_interval("ece", value, rounds)
        out["ece_low"] = min(out["ece_low"] or 0.0, value)
        squares = (chance - outcome) ** 2
        return out | _with_interval("brier", brier(chance, outcome), self.resamples.means(squares).tolist())

    def strong_weak(self, expected: Float64) -> Metrics:
        """`apgr`, `cpt50`, `cpt80` of a two-model set, from expected scores (n, 2)."""
        strong, weak = self.best, 1 - self.best
        order = np.argsort(-(expected[:, strong] - expected[:, weak]), kind="stable")
        gain = (self.test.score[:, strong] - self.test.score[:, weak])[order]
        point = recovered_gap(gain, np.ones(len(gain)))
        rounds = [recovered_gap(gain, counts[order].astype(np.float64)) for counts in self.resamples.counts]
        out: Metrics = {}
        for name, value in point.items():
            out |= _with_interval(name, value, [each[name] for each in rounds])
        return out


def _figures(policies: Policies, cost: Float64, score: Float64, against: Measure) -> dict[str, float]:
    """From the policies' mean costs and scores over some rows. Infinity: not reached; NaN: not defined."""
    best_cost, goal = against.best_cost, against.goal
    x, y = concave_hull(cost.tolist(), score.tolist())
    quality = float(score[policies.dearest])
    aiq = mean_of_hull(x, y, against.low, against.high)
    oracle_gain = against.oracle - goal
    out = {
        "quality": quality,
        "gain": quality - goal,
        "oracle_gap_closed": (quality - goal) / oracle_gain if oracle_gain > 1e-12 else nan,
        "aiq": aiq,
        "aiq_gain": aiq - against.zero_aiq,
        "cost_share": float(cost[policies.dearest]) / best_cost if best_cost else nan,
    }
    for name, share in SHARES.items():
        found = cost_to_reach(x, y, share * goal)
        out[f"cost_at_{name}"] = nan if not best_cost else inf if found is None else found / best_cost
    for name, column in policies.at.items():
        is_known = column is not None and best_cost
        out[f"cost_at_{name}_valid"] = float(cost[column]) / best_cost if is_known else nan
        out[f"score_at_{name}_valid"] = float(score[column]) if is_known else nan
    return out


def _with_interval(name: str, value: float, rounds: Sequence[float]) -> Metrics:
    if not isfinite(value):
        return {name: None}
    known = [each for each in rounds if each == each]
    low, high = interval(known) if known else (nan, nan)
    return {
        name: value,
        f"{name}_low": low if isfinite(low) else None,
        f"{name}_high": high if isfinite(high) else None,
    }


def bin_of(chance: Float64) -> NDArray[np.int64]:
    """The bin of [0, 1] that each chance falls in, as `ece` counts them."""
    return np.minimum((chance * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def recovered_gap(gain: Float64, counts: Float64) -> dict[str, float]:
    """`apgr`, `cpt50`, `cpt80` from strong minus weak score in the order of asking the strong one, and rows' counts."""
    total = float((gain * counts).sum())
    if total <= 0:
        return {"apgr": nan, "cpt50": nan, "cpt80": nan}
    recovered = np.concatenate(([0.0], np.cumsum(gain * counts) / total))
    share = np.concatenate(([0.0], np.cumsum(counts) / counts.sum()))
    return {
        "apgr": _trapezoid(recovered, share, 1.0),
        "cpt50": float(share[np.argmax(recovered >= 0.5)]),
        "cpt80": float(share[np.argmax(recovered >= 0.8)]),
    }
