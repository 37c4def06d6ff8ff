"""Ratings from comparisons: in every prompt, or in every kind of prompt, each model plays each other."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.kmeans import clusters_near, nearest_centres, spherical_k_means
from routewright.routing.logistic import sigmoid
from routewright.routing.router import (
    Float32,
    Int64,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
    unit_rows,
)

Float64 = NDArray[np.float64]

_MOST_ROUNDS: Final = 500
_FULL_GAP: Final = 400.0 / np.log(10)
"""Elo's scale: points of a factor e in the odds."""


class EloRouter(Router):
    """Expects of a model what its Bradley-Terry rating among prompts like this one says.

    n_clusters: kinds of prompts, each with ratings of its own; 1: the same ratings for every prompt.
    nearest: kinds consulted, as in `ClusterRouter`.
    pseudo_count: games of each model in a kind that are played as the overall ratings predict, before those recorded.
    seed: of the first centres.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    From scores, two models that answered one prompt play for 1 point, shared (1 + difference of scores) / 2. Only
    answers to the same prompt are compared: models that were tried on prompts of other difficulty land on one scale.
    A rating becomes a score by a slope common to all, and the level of its kind: so that in each kind the scores' mean
    is kept. From preferences alone, by `fit_preferences`, a score is the chance to beat a model of mean rating.
    Learns centres_ (n_clusters, n_features), table_ (n_clusters, n_models) of log-odds, and rating_ (n_models,), the
    overall ratings as natural log-odds; `elo` has them as points.
    Raises ValueError in `fit` when an argument is out of range, NotFitted in `predict*`.
    Source: Elo, 1978; Bradley and Terry, Biometrika 39, 1952, fitted by Hunter's algorithm, Annals of Statistics 32,
    2004. LLMRouter's Elo has one rating for all prompts and sends every one of them to the highest; RouteLLM's
    (arXiv:2406.18665) weighs games by similarity anew for every request, which is slow. Kinds are between the two.
    """

    name: ClassVar[str] = "elo"
    arguments: ClassVar[tuple[str, ...]] = ("n_clusters", "nearest", "pseudo_count", "seed", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("centres", "table", "rating")
    centres_: Float32
    table_: Float32
    rating_: Float32

    def __init__(
        self,
        *,
        n_clusters: int = 128,
        nearest: int = 8,
        pseudo_count: float = 30.0,
        seed: int = 0,
        cost_weight: float = 0.0,
    ) -> None:
        self.n_clusters = n_clusters
        self.nearest = nearest
        self.pseudo_count = pseudo_count
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        self._check_arguments()
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        member = self._make_kinds(X)
        known = ~np.isnan(quality)
        score = np.where(known, quality, 0.0).astype(np.float64)
        n_kinds, m = len(self.centres_), quality.shape[1]
        wins = np.zeros((n_kinds, m, m))
        sums, counts = np.zeros((n_kinds, m)), np.zeros((n_kinds, m))
        for kind in range(n_kinds):
            rows = member == kind
            both = known[rows].astype(np.float64)
            for_first = score[rows].T @ both  # sum of the row's model's scores where the column's has one too
            wins[kind] = (both.T @ both + for_first - for_first.T) / 2
            sums[kind], counts[kind] = score[rows].sum(axis=0), known[rows].sum(axis=0)
        self._rate(wins)
        mean = np.clip(sums.sum(axis=0) / counts.sum(axis=0), 0.01, 0.99)
        slope = self._slope(np.log(mean / (1 - mean)))
        prior = self.pseudo_count / 10
        level = (sums + prior * mean).sum(axis=1) / (counts + prior).sum(axis=1)
        ratings = self._local * slope
        self.table_ = (ratings + level_shift(ratings, level, counts + prior)[:, None]).astype(np.float32)
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = X.shape[1]
        return self

    def fit_preferences(self, X: Float32, first: Int64, second: Int64, outcome: Float32, cost_usd: Float32) -> Self:
        """Learn from comparisons of two models: X float32 (n, n_features), their numbers `first` and `second` (n,), and
        `outcome` (n,): 1 where the first was preferred, 0 the second, 0.5 neither. cost_usd (n_models,): of a call.

        Raises ValueError for shapes that do not agree, an outcome outside 0..1, or a model compared with itself.
        """
        self._check_arguments()
        cost = np.array(cost_usd, dtype=np.float32)
        first, second = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
        points = np.asarray(outcome, dtype=np.float32).reshape(-1, 1)
        X, points, _ = check_training_data(X, points, np.zeros_like(points))
        if cost.ndim != 1 or not len(cost) or not (np.isfinite(cost).all() and (cost >= 0).all()):
            raise ValueError(f"cost_usd must be at least 0, of shape (n_models,), got shape {cost.shape}")
        if first.shape != (len(X),) or second.shape != (len(X),) or np.isnan(points).any():
            raise ValueError(f"first, second and outcome must have shape ({len(X)},), none missing")
        for models in (first, second):
            if (models < 0).any() or (models >= len(cost)).any():
                raise ValueError(f"models must lie in 0..{len(cost) - 1}")
        if (first == second).any():
            raise ValueError("a model can't be compared with itself")
        member = self._make_kinds(X)
        wins = np.zeros((len(self.centres_), len(cost), len(cost)))
        np.add.at(wins, (member, first, second), points[:, 0])
        np.add.at(wins, (member, second, first), 1 - points[:, 0])
        self._rate(wins)
        self.table_ = (self._local - self._local.mean(axis=1, keepdims=True)).astype(np.float32)
        self.cost_usd_ = cost
        self.n_features_ = X.shape[1]
        return self

    def _check_arguments(self) -> None:
        if self.n_clusters < 1 or self.nearest < 1:
            raise ValueError("n_clusters and nearest must be at least 1")
        if not self.pseudo_count > 0:
            raise ValueError(f"pseudo_count must be above 0, got {self.pseudo_count}")

    def _make_kinds(self, X: Float32) -> Int64:
        """Centres of the kinds of prompts, and to which each row belongs."""
        rows = unit_rows(X)
        self.centres_, _ = spherical_k_means(rows, min(self.n_clusters, len(X)), self.seed)
        return nearest_centres(rows, self.centres_)

    def _rate(self, wins: Float64) -> None:
        """Overall ratings, and those in each kind, which start from games played as the overall ones predict."""
        m = wins.shape[1]
        apart = 1.0 - np.eye(m)
        wins = wins * apart
        overall = bradley_terry(wins.sum(axis=0)[None] + apart / max(m - 1, 1))[0]
        chance = 1 / (1 + np.exp(overall[None] - overall[:, None]))
        self._local = bradley_terry(wins + self.pseudo_count / max(m - 1, 1) * chance * apart)
        self.rating_ = overall.astype(np.float32)

    def _slope(self, odds: Float64) -> float:
        """What a rating's unit is in log-odds of a score: a tie is half a point for both, so less than one."""
        apart = self.rating_.astype(np.float64) - self.rating_.mean()
        spread = float(apart @ apart)
        return max(0.0, float(apart @ odds) / spread) if spread > 1e-9 else 1.0

    def elo(self) -> Float64:
        """Overall ratings in Elo's points, their mean 1000."""
        self.check_is_fitted()
        points: Float64 = 1000 + _FULL_GAP * (self.rating_.astype(np.float64) - self.rating_.mean())
        return points

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        rows, weight = clusters_near(self.centres_ @ x, self.nearest)
        z: Float32 = weight @ self.table_[rows]
        return clip01(sigmoid(z))

    def describe(self, x: Float32) -> dict[str, Any]:
        """`cluster`, the nearest kind of prompts, and everybody's `elo` overall."""
        return {"cluster": int((self.centres_ @ x).argmax()), "elo": np.round(self.elo()).astype(int).tolist()}

    def check_state(self, n_features: int, n_models: int) -> None:
        self._check_arguments()
        check_array("centres", self.centres_, np.float32, (None, n_features))
        check_array("table", self.table_, np.float32, (len(self.centres_), n_models))
        check_array("rating", self.rating_, np.float32, (n_models,))


def bradley_terry(wins: Float64) -> Float64:
    """Ratings (k, m), their mean 0, from points (k, m, m) that the first of a pair took from the second, k times over.

    The likeliest, by Hunter's minorisation: a model's strength is its points over the sum, over its games, of 1 / (its
    strength + the other's). Every model needs points won and lost.
    """
    games = wins + wins.transpose(0, 2, 1)
    points = wins.sum(axis=2)
    strength = np.ones(points.shape)
    if wins.shape[1] == 1:
        return np.zeros(points.shape)
    for _ in range(_MOST_ROUNDS):
        share = games / (strength[:, :, None] + strength[:, None, :])
        new = points / share.sum(axis=2)
        new /= np.exp(np.log(new).mean(axis=1, keepdims=True))
        moved = np.abs(np.log(new / strength)).max()
        strength = new
        if moved < 1e-7:
            break
    ratings: Float64 = np.log(strength)
    return ratings


def level_shift(ratings: Float64, level: Float64, weight: Float64) -> Float64:
    """What to add to log-odds (k, m) so that each row's weighted mean chance is `level` (k,); Newton's method."""
    weight = weight / weight.sum(axis=1, keepdims=True)
    goal = np.clip(level, 0.01, 0.99)
    shift = np.log(goal / (1 - goal))
    for _ in range(50):
        p = 1 / (1 + np.exp(-(ratings + shift[:, None])))
        slope = np.maximum((weight * p * (1 - p)).sum(axis=1), 1e-4)
        shift = shift + np.clip((goal - (weight * p).sum(axis=1)) / slope, -2, 2)
    return shift
