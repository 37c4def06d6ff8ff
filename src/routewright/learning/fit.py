"""Fitting a router on a set: features, router, calibration, the dial's sample and the gate, put into one artefact."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from routewright.errors import ArtefactRefused
from routewright.learning.bootstrap import bootstrap_interval
from routewright.learning.costs import CostModel, cost_weights
from routewright.learning.datasets import Dataset, DatasetError, read_dataset
from routewright.learning.on_ray import on_ray
from routewright.routing.artefact import Artefact, Label, read_artefact, write_artefact
from routewright.routing.calibrate import brier, calibrate_chosen, ece
from routewright.routing.features import make_features
from routewright.routing.features.contract import NO_SUPPLIES, Supplies
from routewright.routing.lengths import AnswerLengths
from routewright.routing.objective import Dial
from routewright.routing.registry import find_router
from routewright.routing.router import Float32, mean_known

SAMPLE_ROWS: Final = 256
"""Validation prompts whose expected scores travel with the artefact, so that a dial can be cut for any candidates."""


CALIBRATED_AT: Final = (0.25, 0.5, 0.8, 1.0)
"""Dial positions whose choices the calibration is fitted on: confidence is told of what was chosen, at any of them."""


def fit_router(
    dataset: Dataset,
    router_name: str = "knn",
    features_name: str = "hashed",
    seed: int = 0,
    *,
    router_arguments: dict[str, Any] | None = None,
    feature_arguments: dict[str, Any] | None = None,
    supplies: Supplies = NO_SUPPLIES,
    created: str = "",
) -> Artefact:
    """Fit on the `train` rows; calibrate, sample and judge on the `valid` rows; never look at `test`.

    Raises ValueError for an unknown name or a set too small, KeyError for an unknown router.
    """
    router_class = find_router(router_name)
    train, valid = dataset.rows("train"), dataset.rows("valid")
    if len(train) < 2 or not len(valid):
        raise DatasetError(
            f'set "{dataset.name}" has {len(train)} train and {len(valid)} valid rows; at least 2 and 1 are needed'
        )
    features = make_features(features_name, seed=seed, arguments=feature_arguments, supplies=supplies)
    prompts = dataset.prompts_of(train)
    X = features.fit_transform(prompts, dataset.quality[train])
    arguments = dict(router_arguments or {})
    if "seed" in router_class.arguments:
        arguments.setdefault("seed", seed)
    router = router_class(**arguments).fit_tasks(
        X, dataset.quality[train], dataset.cost_usd[train], [dataset.tasks[row] for row in train]
    )

    X_valid = features.transform(dataset.prompts_of(valid))
    expected = router.predict_quality(X_valid)
    recorded, costs = dataset.quality[valid], dataset.cost_usd[valid]
    if np.isnan(recorded).all():
        raise DatasetError(f'set "{dataset.name}" has no score on its valid rows')
    mean = mean_known(dataset.quality[train])
    tokens = dataset.prompt_tokens
    expected_cost = CostModel().fit(tokens[train], dataset.cost_usd[train], X).predict(tokens[valid], X_valid)
    gate = judge(expected, expected_cost, recorded, costs, mean, seed=seed)
    dial = Dial(expected, expected_cost)
    choices = [(expected - dial.weight(quality) * expected_cost).argmax(axis=1) for quality in CALIBRATED_AT]
    calibration = calibrate_chosen(expected, recorded, choices)
    best_of = np.arange(len(valid)), expected.argmax(axis=1)
    chances, outcomes = calibration.many(expected[best_of]), recorded[best_of]
    known = ~np.isnan(outcomes)
    lengths = None
    if not np.isnan(dataset.out_tokens[train]).all():
        lengths = AnswerLengths().fit(X, dataset.out_tokens[train])
    sample = np.sort(np.random.default_rng(seed).permutation(len(valid))[:SAMPLE_ROWS])
    usual_tokens = dataset.usual_output_tokens(train)
    return Artefact(
        router=router,
        features=features,
        labels=tuple(
            Label(
                name=model,
                quality=round(float(mean[i]), 6),
                output_tokens=round(usual_tokens[i], 2),
                input_usd_per_token=_per_token(dataset.prices[i][0]),
                output_usd_per_token=_per_token(dataset.prices[i][1]),
            )
            for i, model in enumerate(dataset.models)
        ),
        sample_scores=expected[sample].astype(np.float16),
        sample_prompt_tokens=dataset.prompt_tokens[valid][sample],
        sample_wordiness=None if lengths is None else lengths.wordiness(X_valid[sample]).astype(np.float16),
        lengths=lengths,
        calibration=calibration,
        training={"name": dataset.name, "rows": len(train), "sha256": dataset.sha256, "seed": seed},
        metrics={
            "valid_rows": len(valid),
            "ece": round(ece(chances[known], outcomes[known]), 4),
            "brier": round(brier(chances[known], outcomes[known]), 4) if known.any() else None,
        },
        gate=gate,
        created=created or datetime.now(UTC).isoformat(timespec="seconds"),
        training_ids=tuple(dataset.ids[row] for row in train) if router.name in ("knn", "ensemble") else (),
    )


def _per_token(usd_per_million: float | None) -> float | None:
    return None if usd_per_million is None else usd_per_million / 1e6


def judge(
    expected: Float32,
    expected_cost: NDArray[np.float64],
    recorded: Float32,
    costs: Float32,
    mean: Float32,
    *,
    seed: int,
) -> dict[str, Any]:
    """The gate: at no more than the best single model's cost, is the router's score on validation not worse?

    expected, expected_cost, recorded, costs: (n, n_models) on validation; mean: (n_models,) of training. The best
    single model is the best in training. Passed unless the paired-bootstrap 95 % interval of the difference lies
    below 0.
    """
    best = int(np.argmax(mean))
    rows = np.arange(len(recorded))
    score = np.where(np.isnan(recorded), mean, recorded)
    cost = np.where(np.isnan(costs), expected_cost, costs)
    allowed = float(cost[:, best].mean())
    chosen, weight = np.full(len(rows), best), 0.0
    reached = -1.0
    for w in cost_weights(expected_cost.mean(axis=0)):
        choice = (expected - w * expected_cost).argmax(axis=1)
        value = float(score[rows, choice].mean())
        if cost[rows, choice].mean() <= allowed * (1 + 1e-9) and value > reached:
            chosen, weight, reached = choice, w, value
    difference = score[rows, chosen] - score[:, best]
    low, high = bootstrap_interval(difference, seed=seed)
    return {
        "passed": bool(high >= 0.0),
        "difference": round(float(difference.mean()), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "best_single": best,
        "cost_share": round(float(cost[rows, chosen].mean() / allowed), 4) if allowed > 0 else 1.0,
        "cost_weight": float(f"{weight:.6g}"),
    }


def fit_command(
    data: Path,
    set_name: str,
    router: str,
    features: str,
    out: Path,
    seed: int,
    force: bool,
    supplies: Supplies = NO_SUPPLIES,
    ray: str | None = None,
) -> int:
    """`routewright fit`: fit, write, read back, and say what came out. Returns the exit status.

    force: keep a router that did not pass its gate as the file's live content; without it the file is written too, but
    marked, and 1 is returned. ray: the address of a cluster to learn on, or `local`.
    """
    console = Console()
    errors = Console(stderr=True)
    try:
        with console.status(f"reading {set_name}"):
            dataset = read_dataset(Path(data), set_name)
        with (
            console.status(f"fitting {router} on {len(dataset.rows('train'))} prompts, {len(dataset.models)} models"),
            nullcontext() if ray is None else on_ray(ray),
        ):
            artefact = fit_router(dataset, router, features, seed, supplies=supplies)
        digest = write_artefact(artefact, Path(out))
        read_artefact(out, force=True, supplies=supplies)
    except (DatasetError, ArtefactRefused, ValueError, OSError) as error:
        errors.print(f"[red]not fitted:[/red] {escape(str(error))}", highlight=False)
        return 2
    except KeyError as error:
        errors.print(f"[red]not fitted:[/red] {error.args[0]}", highlight=False)
        return 2
    gate = artefact.gate
    best = artefact.labels[gate["best_single"]].name
    console.print(f"{out}: router {artefact.router.name}, {len(artefact.labels)} models, sha256 {digest[:12]}")
    console.print(
        f"on validation, at {gate['cost_share']:.0%} of the cost of the best single model ({best}): "
        f"score {gate['difference']:+.3f} (95 %: {gate['low']:+.3f} .. {gate['high']:+.3f})",
        highlight=False,
    )
    if not gate["passed"] and not force:
        errors.print("[yellow]gate not passed:[/yellow] the file is marked, and will be refused unless forced")
        return 1
    return 0
