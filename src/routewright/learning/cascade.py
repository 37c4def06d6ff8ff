"""Thresholds of a cascade from recorded scores and costs: `python -m routewright.learning.cascade`.

A stage is left for the next where its sign of quality lies below its threshold. Signs that were recorded with the
answers (`NAME.logprob.csv.gz`, the mean log-probability of each answer's tokens, in the layout of the scores) are known
only after the answer is paid for; without such a file the sign is what a router expects before, and costs nothing.
Thresholds are chosen by grid on the validation split: the cheapest that keep the score asked for. The figures printed
are of the test split.

Source: FrugalGPT (arXiv:2305.05176), whose list of models and thresholds is sought in the same way; AutoMix
(arXiv:2310.12963) for thresholds on a verifier's confidence. Ours seeks no order: that is by cost.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from routewright.learning.datasets import Dataset, DatasetError, read_dataset, read_table
from routewright.learning.fit import fit_router

Float64 = NDArray[np.float64]

GRID: Final = 12
"""Thresholds tried for a stage: as many quantiles of its sign, and both ends."""
MAX_STAGES: Final = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What following a cascade gives on some rows."""

    score: float
    """Mean."""
    cost_usd: float
    """Mean of one request."""
    answered: tuple[float, ...]
    """Share of requests that each stage answered."""


def follow(
    sign: Float64, quality: Float64, cost_usd: Float64, thresholds: Sequence[float], *, is_paid_first: bool
) -> Outcome:
    """Follow a cascade; columns are its stages in order, all (n, n_stages). The last stage has no threshold.

    is_paid_first: the sign is in the answer, so a stage that is left was paid for. An answer without a sign (NaN) is
    taken.
    """
    n, stages = quality.shape
    score, spent, is_open = np.zeros(n), np.zeros(n), np.ones(n, dtype=bool)
    answered = []
    for stage in range(stages):
        taken = is_open.copy()
        if stage < stages - 1:
            taken &= ~(sign[:, stage] < thresholds[stage])
        paid = is_open if is_paid_first else taken
        spent[paid] += cost_usd[paid, stage]
        score[taken] = quality[taken, stage]
        answered.append(float(taken.mean()))
        is_open = is_open & ~taken
    return Outcome(float(score.mean()), float(spent.mean()), tuple(answered))


def fit_thresholds(
    sign: Float64, quality: Float64, cost_usd: Float64, least_score: float, *, is_paid_first: bool
) -> list[float]:
    """The thresholds that cost least among those whose mean score is `least_score` or more; else the best score's.

    Arguments as for `follow`. Raises ValueError for no rows, or more than 4 stages: the grid would not end.
    """
    n, stages = quality.shape
    if not n or not 2 <= stages <= MAX_STAGES:
        raise ValueError(f"a cascade is fitted on at least one row with 2..{MAX_STAGES} stages, got {n} and {stages}")
    levels = np.linspace(0.0, 1.0, GRID)
    axes = []
    for stage in range(stages - 1):
        known = sign[~np.isnan(sign[:, stage]), stage]
        steps = np.unique(np.quantile(known, levels)) if len(known) else np.empty(0)
        axes.append([-np.inf, *steps.tolist(), np.inf])
    best: tuple[bool, float, float] | None = None
    found: list[float] = []
    for thresholds in product(*axes):
        outcome = follow(sign, quality, cost_usd, thresholds, is_paid_first=is_paid_first)
        keeps = outcome.score >= least_score
        rank = (keeps, -outcome.cost_usd if keeps else outcome.score, outcome.score if keeps else -outcome.cost_usd)
        if best is None or rank > best:
            best, found = rank, list(thresholds)
    return found


@dataclass(frozen=True, slots=True)
class Fitted:
    """A cascade, and how it did beside the best single model."""

    models: tuple[str, ...]
    """By cost."""
    thresholds: tuple[float, ...]
    setting: str
    """`min_logprob` or `min_score`: what the thresholds are of."""
    test: Outcome
    best_model: str
    best_score: float
    best_cost_usd: float


def fit_cascade(
    dataset: Dataset, models: Sequence[str], *, share: float, logprob: Float64 | None, router: str, seed: int
) -> Fitted:
    """Fit on `valid`, measure on `test`. share: of the best single model's score that is to be kept.

    Raises DatasetError for models that are not in the set, or rows that are too few.
    """
    unknown = [model for model in models if model not in dataset.models]
    if unknown:
        raise DatasetError(f'set "{dataset.name}" has no model "{unknown[0]}"; it has {", ".join(dataset.models)}')
    columns = [dataset.models.index(model) for model in models]
    usual = np.nanmean(dataset.cost_usd[dataset.rows("train")][:, columns].astype(np.float64), axis=0)
    columns = [columns[place] for place in np.argsort(usual, kind="stable")]
    valid, test = (_whole_rows(dataset, split, columns) for split in ("valid", "test"))
    if not len(valid) or not len(test):
        raise DatasetError(f'set "{dataset.name}" has no valid or test row with scores and costs of all these models')
    is_paid_first = logprob is not None
    if logprob is None:
        artefact = fit_router(dataset, router, seed=seed)
        rows = np.concatenate([valid, test])
        signs = artefact.router.predict_quality(artefact.features.transform(dataset.prompts_of(rows)))
        sign_valid, sign_test = np.split(signs[:, columns].astype(np.float64), [len(valid)])
    else:
        sign_valid, sign_test = logprob[valid][:, columns], logprob[test][:, columns]
    quality, cost = dataset.quality[:, columns].astype(np.float64), dataset.cost_usd[:, columns].astype(np.float64)
    best = int(quality[valid].mean(axis=0).argmax())
    least_score = share * float(quality[valid, best].mean())
    thresholds = fit_thresholds(sign_valid, quality[valid], cost[valid], least_score, is_paid_first=is_paid_first)
    return Fitted(
        models=tuple(dataset.models[column] for column in columns),
        thresholds=tuple(thresholds),
        setting="min_logprob" if is_paid_first else "min_score",
        test=follow(sign_test, quality[test], cost[test], thresholds, is_paid_first=is_paid_first),
        best_model=dataset.models[columns[best]],
        best_score=float(quality[test, best].mean()),
        best_cost_usd=float(cost[test, best].mean()),
    )


def _whole_rows(dataset: Dataset, split: str, columns: list[int]) -> NDArray[np.int64]:
    rows = dataset.rows(split)
    table = np.concatenate([dataset.quality[rows][:, columns], dataset.cost_usd[rows][:, columns]], axis=1)
    kept: NDArray[np.int64] = rows[~np.isnan(table).any(axis=1)]
    return kept


def described(fitted: Fitted) -> list[str]:
    """What goes into the configuration, and what it is worth."""
    low, high = (-100.0, 0.0) if fitted.setting == "min_logprob" else (0.0, 1.0)
    thresholds = ", ".join(
        f"{model}: {min(max(threshold, low), high):.4g}"
        for model, threshold in zip(fitted.models, fitted.thresholds, strict=False)
    )
    checks = "verify: [truncated, refused, schema, logprob], " if fitted.setting == "min_logprob" else ""
    shares = ", ".join(f"{m} {share:.0%}" for m, share in zip(fitted.models, fitted.test.answered, strict=True))
    return [
        f"router_args: {{{checks}{fitted.setting}: {{{thresholds}}}, max_stages: {len(fitted.models)}}}",
        f"# test split: score {fitted.test.score:.3f}, of {fitted.best_model} alone {fitted.best_score:.3f}; "
        f"cost {fitted.test.cost_usd / fitted.best_cost_usd:.2f} of its cost; answered by {shares}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m routewright.learning.cascade", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", required=True)
    parser.add_argument("--models", required=True, help="2 to 4 of the set's models, with commas between")
    parser.add_argument("--share", type=float, default=1.0, help="of the best single model's score to be kept")
    parser.add_argument("--router", default="logistic", help="what expects scores where no signs were recorded")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        dataset = read_dataset(options.data, options.set)
        signs = read_table(options.data, options.set, "logprob", dataset)
        fitted = fit_cascade(
            dataset, options.models.split(","), share=options.share, logprob=signs, router=options.router,
            seed=options.seed,
        )  # fmt: skip
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(described(fitted)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
