"""One router on one set: what it chose at every weight of cost, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from routewright.learning.bootstrap import interval
from routewright.learning.costs import cost_weights
from routewright.learning.metrics import (
    ECE_BINS,
    SHARES,
    Field,
    Metrics,
    Policies,
    Split,
    bin_of,
    concave_hull,
)
from routewright.routing.calibrate import Isotonic, calibrate_chosen
from routewright.routing.objective import Dial

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
DIAL_POSITIONS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
RIGHT: Final = 0.5
"""A score from which an answer counts as right, where a table has to say yes or no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A row of the report: figures, and what its plots and tables are drawn from (JSON values)."""

    name: str
    kind: str
    """`baseline`, `router` or `bound`."""
    metrics: Metrics
    details: dict[str, Any]
    trial: Trial | None = None
    """None for what chooses no model, such as a mix read off the test split."""


class Trial:
    """A router's expected scores on `valid` and `test`, turned into choices at every weight of cost.

    expected, expected_cost: `valid` and `test` to float64 (n, n_models). Its calibration is `known`, or else fitted on
    `valid`. The *setting* is the weight of cost that validation would choose to reach the best single model's quality
    at least cost; 0 where none reaches it.
    """

    def __init__(
        self,
        expected: Mapping[str, Float64],
        expected_cost: Mapping[str, Float64],
        valid: Split,
        field: Field,
        *,
        known: Isotonic | None = None,
    ) -> None:
        self.expected, self.expected_cost = expected, expected_cost
        self.valid, self.test, self.field = valid, field.test, field
        self.weights = cost_weights(expected_cost["valid"].mean(axis=0).astype(np.float32))
        self.choices = np.stack([self._choose("test", weight) for weight in self.weights], axis=1)
        rows = self.test.index[:, None]
        self.policies = Policies(
            score=self.test.score[rows, self.choices],
            cost=self.test.cost[rows, self.choices],
            at=self._validated(),
        )
        self._known = known

    def _choose(self, split: str, weight: float) -> Int64:
        cost = self.expected_cost[split]
        value = -cost if weight == inf else self.expected[split] - weight * cost
        chosen: Int64 = value.argmax(axis=1)
        return chosen

    def _validated(self) -> dict[str, int | None]:
        """For each of `SHARES`, the weight of least cost among those that reach it on validation."""
        points = []
        for weight in self.weights:
            choice = self._choose("valid", weight)
            points.append(
                (
                    float(self.valid.cost[self.valid.index, choice].mean()),
                    float(self.valid.score[self.valid.index, choice].mean()),
                )
            )
        best = float(self.valid.score[:, self.field.best].mean())
        found: dict[str, int | None] = {}
        for name, share in SHARES.items():
            good = [(cost, self.weights[i], i) for i, (cost, score) in enumerate(points) if score >= share * best]
            found[name] = min(good)[2] if good else None
        return found

    @property
    def setting(self) -> int:
        """Index of the setting's weight."""
        return self.policies.at["best_quality"] or 0

    def chances(self) -> Float64:
        """Calibrated chance of the model chosen at weight 0 on each test row, (n,)."""
        calibration = self._known
        if calibration is None:
            calibration = calibrate_chosen(self.expected["valid"], self.valid.recorded, [self._choose("valid", 0.0)])
        return calibration.many(self.expected["test"][self.test.index, self.choices[:, 0]])

    def measure(self, *, calibrated: bool = True) -> Metrics:
        """All figures. calibrated False: for what expects no scores in earnest."""
        out = self.field.measure(self.policies)
        if calibrated:
            out |= self.field.calibration(self.chances(), self.policies.score[:, 0])
        expected = self.expected["test"]
        if expected.shape[1] == 2 and np.ptp(expected[:, 0] - expected[:, 1]) > 0:  # else there is no order to judge
            out |= self.field.strong_weak(expected)
        return out

    # --- for plots and tables -------------------------------------------------------------------------------------

    def details(self, tasks: Sequence[str], *, calibrated: bool = True) -> dict[str, Any]:
        """What the report draws; tasks: of the test rows."""
        out: dict[str, Any] = {
            "curve": curve(self.policies),
            "dial": self.dial(),
            "setting": self.settled(),
            "tasks": self.by_task(tasks),
            "choices": self.confusion(),
        }
        if calibrated:
            out["calibration"] = self.reliability()
        return out

    def dial(self) -> list[dict[str, float]]:
        """Where the dial's positions lie on test; the dial is cut from the validation split, as a gateway's is."""
        made = Dial(self.expected["valid"], self.expected_cost["valid"])
        out = []
        for quality in DIAL_POSITIONS:
            choice = self._choose("test", made.weight(quality))
            out.append(
                {
                    "quality": quality,
                    "cost_usd": significant(self.test.cost[self.test.index, choice].mean()),
                    "score": round(float(self.test.score[self.test.index, choice].mean()), 5),
                }
            )
        return out

    def settled(self) -> dict[str, Any]:
        """The setting: its weight of a US dollar, its score and cost on test."""
        at = self.setting
        return {
            "cost_weight": significant(self.weights[at]),
            "is_validated": self.policies.at["best_quality"] is not None,
            "score": round(float(self.policies.score[:, at].mean()), 5),
            "cost_usd": significant(self.policies.cost[:, at].mean()),
        }

    def reliability(self) -> list[dict[str, float]]:
        """Expected chance against what came, by bin of chance; empty bins left out."""
        chance, outcome = self.chances(), self.policies.score[:, 0]
        bins = bin_of(chance)
        out = []
        for number in range(ECE_BINS):
            inside = bins == number
            if inside.any():
                out.append(
                    {
                        "n": int(inside.sum()),
                        "chance": round(float(chance[inside].mean()), 5),
                        "outcome": round(float(outcome[inside].mean()), 5),
                    }
                )
        return out

    def by_task(self, tasks: Sequence[str]) -> list[dict[str, Any]]:
        """At the setting: score and cost by task, and the paired difference to the best single model's score."""
        names = sorted(set(tasks))
        number = {name: i for i, name in enumerate(names)}
        member = np.zeros((len(tasks), len(names)))
        member[np.arange(len(tasks)), [number[task] for task in tasks]] = 1.0
        score, cost = self.policies.score[:, self.setting], self.policies.cost[:, self.setting]
        best, best_cost = self.test.score[:, self.field.best], self.test.cost[:, self.field.best]
        difference = score - best
        counts = self.field.resamples.means(member)
        rounds = self.field.resamples.means(member * difference[:, None]) / np.where(counts > 0, counts, np.inf)
        out = []
        for i, name in enumerate(names):
            rows = member[:, i] > 0
            low, high = interval(rounds[:, i])
            dear = float(best_cost[rows].mean())
            out.append(
                {
                    "task": name,
                    "n": int(rows.sum()),
                    "best_single": round(float(best[rows].mean()), 5),
                    "score": round(float(score[rows].mean()), 5),
                    "difference": round(float(difference[rows].mean()), 5),
                    "low": round(low, 5),
                    "high": round(high, 5),
                    "cost_share": round(float(cost[rows].mean()) / dear, 5) if dear else None,
                }
            )
        return out

    def confusion(self) -> list[list[int]]:
        """At the setting: prompts by the model chosen (row) and the cheapest model that was right (column); the last
        column counts prompts that none got right."""
        n_models = self.test.score.shape[1]
        right_costs = np.where(self.test.score >= RIGHT, self.test.cost, np.inf)
        cheapest = np.where(np.isfinite(right_costs).any(axis=1), right_costs.argmin(axis=1), n_models)
        table = np.zeros((n_models, n_models + 1), dtype=np.int64)
        np.add.at(table, (self.choices[:, self.setting], cheapest), 1)
        return [[int(cell) for cell in row] for row in table]


def curve(policies: Policies) -> list[list[float]]:
    """Corners of the hull, (USD a request, score)."""
    x, y = concave_hull(policies.cost.mean(axis=0).tolist(), policies.score.mean(axis=0).tolist())
    return [[significant(cost), round(score, 5)] for cost, score in zip(x.tolist(), y.tolist(), strict=True)]


def significant(value: float | np.floating) -> float:
    """Six significant digits."""
    return float(f"{float(value):.6g}")


@dataclass(frozen=True, slots=True)
class Example:
    """A test prompt on which a router gained, saved or lost against the best single model, at its setting."""

    kind: str
    """`gained`: right where the best single model was wrong; `saved`: as good and cheaper; `lost`: the other way."""
    router: str
    task: str
    text: str
    chosen: str
    score: float
    best_score: float
    cost_usd: float
    best_cost_usd: float
    chance: float
    """Score that was expected of the chosen model."""


def examples(name: str, trial: Trial, models: Sequence[str], tasks: Sequence[str], each: int = 4) -> list[Example]:
    """A few of each kind: where most was saved, where most was lost or gained at the least saving, first."""
    at = trial.setting
    choice = trial.choices[:, at]
    score, cost = trial.policies.score[:, at], trial.policies.cost[:, at]
    best_score, best_cost = trial.test.score[:, trial.field.best], trial.test.cost[:, trial.field.best]
    expected = trial.expected["test"][trial.test.index, choice]
    saved = best_cost - cost
    kinds = {
        "gained": (score >= RIGHT) & (best_score < RIGHT),
        "saved": (score >= RIGHT) & (best_score >= RIGHT) & (saved > 0),
        "lost": (score < RIGHT) & (best_score >= RIGHT),
    }
    out = []
    for kind, member in kinds.items():
        rows = np.flatnonzero(member)
        for row in rows[np.argsort(-saved[rows], kind="stable")][:each]:
            out.append(
                Example(
                    kind=kind,
                    router=name,
                    task=tasks[row],
                    text=trial.test.prompts[row].text,
                    chosen=models[choice[row]],
                    score=round(float(score[row]), 4),
                    best_score=round(float(best_score[row]), 4),
                    cost_usd=significant(cost[row]),
                    best_cost_usd=significant(best_cost[row]),
                    chance=round(float(expected[row]), 4),
                )
            )
    return out
