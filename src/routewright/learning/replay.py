"""`routewright replay`: what another router would have earned on the requests whose answers were rated.

A router that explores leaves with each choice the chance that it had. From these another router can be judged by what
callers really said, without serving a single request: inverse propensity scoring weighs each rating by how much rather
the other would have made that choice; the doubly robust estimate starts from what a router expects, and corrects it by
the weighted surprise. Where one of the two is right, so is it.

Only rated answers count: where bad answers are rated more often than good ones, every figure is of those.
Source: Dudík, Langford and Li, "Doubly robust policy evaluation and learning", ICML 2011, arXiv:1103.4601; Swaminathan
and Joachims, "The self-normalized estimator", NeurIPS 2015.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from routewright.errors import ArtefactRefused
from routewright.learning.bootstrap import Resamples, interval
from routewright.routing.artefact import Artefact, read_artefact
from routewright.routing.bandit import BanditRouter
from routewright.routing.feedback import Reader
from routewright.routing.router import Float32

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

LARGEST_WEIGHT: Final = 50.0
"""One rating counts for at most so many: a rare choice must not decide alone. It pulls estimates towards less."""
FEW: Final = 30
"""An estimate that rests on fewer ratings than this, by its effective sample size, is said to be a guess."""


class ReplayError(ValueError):
    """The ratings and the routers do not go together; the message says how."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """Rated choices of one router, n of them."""

    X: Float32
    """Feature vectors, (n, n_features)."""
    chosen: Int64
    """Number of the model that answered, among the labels of the router that chose, (n,)."""
    propensity: Float64
    """Chance with which it was to be chosen, (n,)."""
    reward: Float64
    """0..1, (n,)."""


def read_ratings(folder: Path, artefact: Artefact) -> Ratings:
    """What callers said of this router's choices. Raises ReplayError where that is nothing.

    Answers of a model that was not the router's choice, but stood in for it, are left out.
    """
    name, width, n_models = artefact.sha256[:12], artefact.router.n_features_, artefact.router.n_models
    reader, lines = Reader(folder), []
    while more := reader.lines():
        lines += [line for line in more if line.artefact == name and line.propensity and 0 <= line.model < n_models]
    vectors = [line.vector() for line in lines]
    kept = [place for place, x in enumerate(vectors) if len(x) == width and np.isfinite(x).all()]
    if not kept:
        raise ReplayError(f"{folder} has no rating of a choice that router {name} drew")
    return Ratings(
        X=np.stack([vectors[place] for place in kept]),
        chosen=np.array([lines[place].model for place in kept], dtype=np.int64),
        propensity=np.array([lines[place].propensity for place in kept], dtype=np.float64),
        reward=np.array([lines[place].score for place in kept], dtype=np.float64),
    )


def policy_of(other: Artefact, logged: Artefact, X: Float32, cost_weight: float) -> Float64:
    """How often `other` would choose each of the logged router's labels, (n, n_labels); each row adds to 1.

    cost_weight: quality given up per US dollar. Models that the logged router does not know can't be judged, so they
    are not chosen. Raises ReplayError where no model is known to both, or the vectors are made in another way.
    """
    if not _same_features(other, logged):
        raise ReplayError("the routers read prompts by different features: the vectors of one say nothing to the other")
    places = {label.name: place for place, label in enumerate(logged.labels)}
    shared = [place for place, label in enumerate(other.labels) if label.name in places]
    if not shared:
        raise ReplayError("the routers have no model in common")
    to = np.array([places[other.labels[place].name] for place in shared])
    penalty = (cost_weight * other.router.cost_usd_).astype(np.float32)
    out = np.zeros((len(X), len(logged.labels)))
    router = other.router
    for row, x in enumerate(X):
        if isinstance(router, BanditRouter):
            out[row, to] = router.propensities(x, penalty, shared)[shared]
        else:
            worth = (router.rate_one(x) - penalty)[shared]
            out[row, to[int(np.argmax(worth))]] = 1.0
    return out


def _same_features(one: Artefact, other: Artefact) -> bool:
    a, b = one.features, other.features
    if type(a) is not type(b) or a.params() != b.params():
        return False
    ours, theirs = a.state(), b.state()
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def estimate(ratings: Ratings, policy: Float64, expected: Float64, *, seed: int = 0) -> dict[str, Any]:
    """The mean reward that `policy` (n, n_labels) would have earned, by three estimators, with 95 % intervals.

    expected: what some router expects of each label, (n, n_labels); the doubly robust estimate starts from it.
    """
    rows = np.arange(len(ratings.reward))
    weight = np.minimum(policy[rows, ratings.chosen] / ratings.propensity, LARGEST_WEIGHT)
    surprise = ratings.reward - expected[rows, ratings.chosen]
    robust = (policy * expected).sum(axis=1) + weight * surprise
    resamples = Resamples(len(rows), seed=seed)
    weights = resamples.means(weight)
    normalised = resamples.means(weight * ratings.reward) / np.where(weights > 0, weights, np.nan)
    total = float(weight.sum())
    return {
        "ratings": len(rows),
        "effective_ratings": total**2 / float((weight**2).sum()) if total else 0.0,
        "logged": _figure(float(ratings.reward.mean()), resamples.means(ratings.reward)),
        "ips": _figure(float((weight * ratings.reward).mean()), resamples.means(weight * ratings.reward)),
        "snips": _figure(float((weight * ratings.reward).sum()) / total if total else float("nan"), normalised),
        "doubly_robust": _figure(float(robust.mean()), resamples.means(robust)),
        "gain": _figure(float((robust - ratings.reward).mean()), resamples.means(robust - ratings.reward)),
        "clipped": int((policy[rows, ratings.chosen] / ratings.propensity > LARGEST_WEIGHT).sum()),
    }


def _figure(value: float, resampled: Float64) -> dict[str, float | None]:
    known = resampled[np.isfinite(resampled)]
    low, high = interval(known) if len(known) else (float("nan"), float("nan"))
    return {
        name: None if not np.isfinite(each) else each for name, each in (("value", value), ("low", low), ("high", high))
    }


def replay(folder: Path, logged_path: Path, other_paths: list[Path], cost_weight: float, seed: int) -> dict[str, Any]:
    """Estimates for each of the other routers, by path. Raises ReplayError, ArtefactRefused."""
    logged = read_artefact(logged_path)
    ratings = read_ratings(folder, logged)
    expected = logged.router.predict_quality(ratings.X).astype(np.float64)
    found = {}
    for path in other_paths:
        policy = policy_of(read_artefact(path, force=True), logged, ratings.X, cost_weight)
        found[str(path)] = estimate(ratings, policy, expected, seed=seed)
    return found


def replay_command(
    folder: Path, logged_path: Path, other_paths: list[Path], cost_weight: float, seed: int, *, as_json: bool
) -> int:
    """Print the estimates; 1 where there is nothing to estimate from."""
    try:
        found = replay(folder, logged_path, other_paths, cost_weight, seed)
    except (ReplayError, ArtefactRefused) as error:
        print(error.message if isinstance(error, ArtefactRefused) else error, file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(found, indent=1))
        return 0
    console = Console()
    table = Table(box=SIMPLE_HEAD, title="Mean rating that a router would have earned, with 95 % intervals")
    table.add_column("router")
    for name in ("doubly robust", "gain over what was chosen", "IPS, normalised", "IPS", "ratings it rests on"):
        table.add_column(name, justify="right")
    for path, figures in found.items():
        table.add_row(
            Path(path).name,
            *[_shown(figures[name]) for name in ("doubly_robust", "gain", "snips", "ips")],
            f"{figures['effective_ratings']:.0f} of {figures['ratings']}",
        )
    console.print(table)
    logged = next(iter(found.values()))["logged"]
    console.print(f"what was chosen earned {_shown(logged)}")
    if any(figures["effective_ratings"] < FEW for figures in found.values()):
        console.print(
            f"an estimate that rests on fewer than {FEW} ratings is a guess: the routers choose too differently"
        )
    return 0


def _shown(figure: dict[str, float | None]) -> str:
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "not known"
    return f"{value:.3f} ({low:.3f}-{high:.3f})" if low >= 0 else f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
