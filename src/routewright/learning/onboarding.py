"""How well a new model is taken in: hidden from a set, added back from a few scored prompts, beside the full fit.

The hidden models' scores have no part in features or fit; then each is added by `MFRouter.add_model` from prompts drawn
from the training split. Measured on test, for each way of knowing the hidden models:

full       fitted with all their training scores
added      from a few prompts, the rest of the router untouched
mean       only their mean score over the same few prompts is known, whatever the prompt
without    they are not there to be chosen

`share` is how much of the way from `without` to `full` each goes in the area under the cost-quality curve (`aiq`, over
the same costs for all), `brier` the mean squared error of the hidden models' ratings against their recorded scores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routewright.learning.costs import CostModel, cost_weights
from routewright.learning.datasets import Dataset, read_dataset
from routewright.learning.metrics import Split, concave_hull, cost_to_reach, mean_of_hull
from routewright.routing.features import make_features
from routewright.routing.mf import MFRouter
from routewright.routing.router import Float32, mean_known

Float64 = NDArray[np.float64]


def onboard(
    dataset: Dataset, hidden: Sequence[str], *, prompts: int = 100, draws: int = 5, features: str = "hashed"
) -> dict[str, Any]:
    """Figures of each way of knowing the hidden models, as JSON values; `added` and `mean` are means over `draws`.

    Raises ValueError for a model that the set does not have, or when fewer than two others are left.
    """
    unknown = [model for model in hidden if model not in dataset.models]
    if unknown or not hidden:
        raise ValueError(f'the set has no model "{unknown[0] if unknown else ""}"; it has {", ".join(dataset.models)}')
    known = [i for i, model in enumerate(dataset.models) if model not in hidden]
    new = [i for i in range(len(dataset.models)) if i not in known]
    if len(known) < 2:
        raise ValueError("at least two models must be left")
    order = known + new
    train = dataset.rows("train")
    quality, cost = dataset.quality[train][:, order], dataset.cost_usd[train][:, order]
    mean, usual_cost = mean_known(dataset.quality[train]), mean_known(dataset.cost_usd[train])
    test = Split(dataset, "test", mean, usual_cost)
    tokens = dataset.prompt_tokens
    expected_cost = CostModel().fit(tokens[train], cost).predict(tokens[test.rows])
    test.score, test.cost, test.recorded = test.score[:, order], test.cost[:, order], test.recorded[:, order]
    texts = dataset.prompts_of(train)

    def rate(router: MFRouter, vectors: Float32) -> Float64:
        return router.predict_quality(vectors).astype(np.float64)

    n_known = len(known)
    makers = {name: make_features(features, seed=0) for name in ("full", "rest")}
    X = makers["full"].fit_transform(texts, quality)
    full = rate(MFRouter().fit(X, quality, cost), makers["full"].transform(test.prompts))
    X = makers["rest"].fit_transform(texts, quality[:, :n_known])
    vectors = makers["rest"].transform(test.prompts)
    rest = MFRouter().fit(X, quality[:, :n_known], cost[:, :n_known])
    figures = {"full": _figures(full, expected_cost, test, n_known)}
    without = _figures(rate(rest, vectors), expected_cost[:, :n_known], test, n_known)
    figures["without"] = {name: value for name, value in without.items() if name != "brier"}
    drawn: dict[str, list[dict[str, float]]] = {"added": [], "mean": []}
    for draw in range(draws):
        router = rest
        rows = np.random.default_rng(draw).permutation(len(train))[:prompts]
        for column in range(n_known, len(order)):
            scores = quality[rows, column]
            router = router.add_model(X[rows], scores, cost[rows, column], others=quality[rows, :column])
        rated = rate(router, vectors)
        drawn["added"].append(_figures(rated, expected_cost, test, n_known))
        rated[:, n_known:] = mean_known(quality[rows, n_known:])
        drawn["mean"].append(_figures(rated, expected_cost, test, n_known))
    for name, several in drawn.items():
        figures[name] = {key: float(np.mean([one[key] for one in several])) for key in several[0]}
    gap = figures["full"]["aiq"] - figures["without"]["aiq"]
    for name in figures:
        figures[name]["share"] = (figures[name]["aiq"] - figures["without"]["aiq"]) / gap if gap > 0 else 1.0
    return {
        "set": dataset.name,
        "hidden": [dataset.models[i] for i in new],
        "prompts": prompts,
        "draws": draws,
        "ways": {way: {key: round(value, 4) for key, value in each.items()} for way, each in figures.items()},
    }


def _figures(rated: Float64, expected_cost: Float64, test: Split, n_known: int) -> dict[str, float]:
    """Quality without regard to cost, area under the curve over all models' costs, and error on the hidden models.

    `cost_at_95` is the cost that reaches 95 % of the best single model's quality, in its cost; 1 where none does.
    """
    costs, scores = [], []
    for weight in cost_weights(expected_cost.mean(axis=0).astype(np.float32)):
        choice = (rated - weight * expected_cost).argmax(axis=1)
        costs.append(float(test.cost[test.index, choice].mean()))
        scores.append(float(test.score[test.index, choice].mean()))
    x, y = concave_hull(costs, scores)
    single, score = test.cost.mean(axis=0), test.score.mean(axis=0)
    best = int(score.argmax())
    reached = cost_to_reach(x, y, 0.95 * float(score[best]))
    recorded = test.recorded[:, n_known : rated.shape[1]]
    return {
        "quality": scores[0],
        "aiq": mean_of_hull(x, y, float(single.min()), float(single.max())),
        "cost_at_95": 1.0 if reached is None else reached / float(single[best]),
        "brier": float(np.nanmean((rated[:, n_known:] - recorded) ** 2)) if recorded.size else 0.0,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures, and write them where asked; returns the exit status."""
    parser = argparse.ArgumentParser(description="Hide models of a set and add them back from a few scored prompts.")
    parser.add_argument("data", type=Path, help="folder in the layout of CONTRIBUTING.md")
    parser.add_argument("--set", required=True, metavar="NAME")
    parser.add_argument("--hide", required=True, metavar="MODEL[,MODEL]")
    parser.add_argument("--leave-out", default="", metavar="MODEL[,MODEL]", help="models to leave out altogether")
    parser.add_argument("--prompts", type=int, default=100, help="scored prompts of each new model")
    parser.add_argument("--draws", type=int, default=5, help="random choices of these prompts to average over")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    dataset = read_dataset(options.data, options.set).without(options.leave_out.split(","))
    report = onboard(dataset, options.hide.split(","), prompts=options.prompts, draws=options.draws)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(
        f"{report['set']}: hidden {', '.join(report['hidden'])}; {report['prompts']} prompts, {report['draws']} draws"
    )
    for way in ("full", "added", "mean", "without"):
        print(f"  {way:8s}" + "".join(f"  {key} {value:.3f}" for key, value in report["ways"][way].items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
