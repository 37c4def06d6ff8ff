"""A contextual bandit: starts from an offline fit, and learns from the rewards of its own choices."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.router import (
    Float32,
    Int64,
    check_array,
    check_training_data,
    clip01,
)
from routewright.routing.upon import RouterUpon

Float64 = NDArray[np.float64]

POLICIES: Final = ("thompson", "linucb")
_NOISE: Final = 0.2
"""Variance of one reward around its expectation: that of a coin of 0.72."""
_WIDEST: Final = 0.5
"""No score within 0..1 deviates more from its mean."""
_FARTHEST: Final = 3.0
"""A prompt unlike all others moves no estimate by more than one three deviations off."""
_NODES: Final = np.array([NormalDist().inv_cdf((i + 0.5) / 32) for i in range(32)])
"""Equally likely values of a standard normal variable."""


class BanditRouter(RouterUpon):
    """Expects what its base expects plus what its own choices' rewards have taught since; explores what it doubts.

    base, base_arguments: the router fitted offline that it starts from; see `RouterUpon`.
    policy: `thompson` chooses a model as often as it may be the best; `linucb` the one with the highest upper bound.
    rank: dimensions of the features in which rewards are generalised.
    prior_weight: rewards of a model needed before what they say weighs as much as the offline fit.
    discount: weight that a model's reward keeps with each later one of it, above 0 up to 1; 0.999 halves it in 700,
        since models change.
    exploration: of the deviation: 0 never explores. floor: share of choices made by pure chance.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    A model's rating is base(x) + z·d, z = (1, the features' first principal components, whitened), with d normal
    around 0: ridge regression of rewards minus what the base expected. `rate_one` is the expectation. `propensities`
    says how often each model is to be chosen, `choose` draws by it: log the propensity with the choice, and any other
    router can be judged on these records without bias (each of its choices has a chance above 0, given a floor).
    While others are chosen a model's evidence grows stale: its deviation widens by the discount too, at most to what it
    was before any reward, so that one that was given up is tried again.
    Learns projection_ (n_features, rank), centre_ (rank,), evidence_ float64 (n_models, rank + 1, rank + 1), the
    discounted sum of z z', pull_ float64 (n_models, rank + 1), that of z times residual, and age_ int64 (n_models,),
    rewards of others since a model's last.
    Raises ValueError in `fit` when an argument is out of range, NotFitted when asked before.
    Source: Li et al., "A contextual-bandit approach" (LinUCB), WWW 2010, arXiv:1003.0146; Agrawal and Goyal, "Thompson
    sampling for contextual bandits", ICML 2013, arXiv:1209.3352; Russac et al., "Weighted linear bandits for
    non-stationary environments", 2019, arXiv:1909.09146. Ours learns a correction in few dimensions to a router that
    may be of any kind, so that a new deployment starts at the offline fit's quality, and what is forgotten returns to
    it. Thompson's choice is drawn from its probabilities, worked out by quadrature, since logs need them.
    """

    name: ClassVar[str] = "bandit"
    arguments: ClassVar[tuple[str, ...]] = (
        *RouterUpon.arguments,
        "policy",
        "rank",
        "prior_weight",
        "discount",
        "exploration",
        "floor",
        "cost_weight",
    )
    arrays: ClassVar[tuple[str, ...]] = ("projection", "centre", "evidence", "pull", "age")
    learns_online: ClassVar[bool] = True
    projection_: Float32
    centre_: Float32
    evidence_: Float64
    pull_: Float64
    age_: Int64

    def __init__(
        self,
        *,
        base: str = "logistic",
        base_arguments: str = "",
        policy: str = "thompson",
        rank: int = 24,
        prior_weight: float = 100.0,
        discount: float = 0.999,
        exploration: float = 1.0,
        floor: float = 0.01,
        cost_weight: float = 0.0,
    ) -> None:
        self.base = base
        self.base_arguments = base_arguments
        self.policy = policy
        self.rank = rank
        self.prior_weight = prior_weight
        self.discount = discount
        self.exploration = exploration
        self.floor = floor
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        self._check_arguments()
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        self.base_ = self.fit_base(X, quality, cost_usd)
        self.projection_, self.centre_ = whitened_components(X, self.rank)
        width = len(self.centre_) + 1
        self.evidence_ = np.zeros((quality.shape[1], width, width))
        self.pull_ = np.zeros((quality.shape[1], width))
        self.age_ = np.zeros(quality.shape[1], dtype=np.int64)
        self.cost_usd_ = self.base_.cost_usd_
        self.n_features_ = X.shape[1]
        self._solve()
        return self

    def _check_arguments(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f'policy must be one of {", ".join(POLICIES)}, got "{self.policy}"')
        if not (self.rank >= 1 and self.prior_weight > 0 and self.exploration >= 0):
            raise ValueError("rank must be at least 1, prior_weight above 0, exploration at least 0")
        if not (0 < self.discount <= 1 and 0 <= self.floor <= 1):
            raise ValueError("discount must lie in 0..1 without 0, floor in 0..1")

    def _solve(self) -> None:
        """Expected corrections and their covariances from the evidence."""
        self._covariance = np.empty_like(self.evidence_)
        self._correction = np.empty_like(self.pull_)
        for model in range(len(self.pull_)):
            self._solve_one(model)

    def _solve_one(self, model: int) -> None:
        precision = self.evidence_[model].copy()
        precision[np.diag_indices_from(precision)] += self.prior_weight
        self._covariance[model] = np.linalg.inv(precision)
        self._correction[model] = self._covariance[model] @ self.pull_[model]

    def _components(self, x: Float32) -> Float64:
        z = np.empty(len(self.centre_) + 1)
        z[0] = 1.0
        np.clip(x @ self.projection_ - self.centre_, -_FARTHEST, _FARTHEST, out=z[1:])
        return z

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        rated = self.base_.rate_one(x)
        return clip01((rated + self._correction @ self._components(x)).astype(np.float32))

    def deviations(self, x: Float32) -> Float64:
        """Standard deviation of each model's rating, (n_models,), at most 0.5."""
        z = self._components(x)
        variance = (self._covariance @ z) @ z
        np.minimum(variance * self.discount ** -self.age_.astype(np.float64), z @ z / self.prior_weight, out=variance)
        return np.minimum(np.sqrt(_NOISE * variance), _WIDEST)

    def update(self, x: Float32, model: int, reward: float, *, key: str = "") -> None:
        x = self.check_reward(x, model, reward)
        z = self._components(x)
        surprise = reward - float(self.base_.rate_one(x)[model])
        evidence, pull, age = self.evidence_.copy(), self.pull_.copy(), self.age_ + 1
        evidence[model] *= self.discount
        evidence[model] += np.outer(z, z)
        pull[model] *= self.discount
        pull[model] += z * surprise
        age[model] = 0
        self.evidence_, self.pull_, self.age_ = evidence, pull, age
        self._solve_one(model)

    # --- choosing -------------------------------------------------------------------------------------------------

    def propensities(self, x: Float32, penalty: Float32 | None = None, allowed: Sequence[int] | None = None) -> Float64:
        """Chance of each model to be chosen for x, (n_models,), summing to 1.

        penalty: what a model's cost takes off its rating, (n_models,). allowed: numbers of the models that may be
        chosen; None: all. Raises ValueError when none is.
        """
        self.check_is_fitted()
        among = np.arange(self.n_models) if allowed is None else np.unique(np.asarray(allowed, dtype=np.int64))
        if not len(among):
            raise ValueError("no model is allowed")
        mean = self.rate_one(x).astype(np.float64)
        if penalty is not None:
            mean -= penalty
        mean = mean[among]
        spread = self.exploration * self.deviations(x)[among]
        if self.policy == "linucb" or not spread.any() or len(among) == 1:
            chance = np.zeros(len(among))
            chance[int(np.argmax(mean + spread))] = 1.0
        else:
            chance = chance_of_being_best(mean, spread)
        out = np.zeros(self.n_models)
        out[among] = (1.0 - self.floor) * chance + self.floor / len(among)
        return out

    def choose(
        self,
        x: Float32,
        rng: np.random.Generator,
        penalty: Float32 | None = None,
        allowed: Sequence[int] | None = None,
    ) -> tuple[int, float]:
        """A model drawn by `propensities`, and its own; the pair to log."""
        chance = self.propensities(x, penalty, allowed)
        model = int(rng.choice(len(chance), p=chance / chance.sum()))
        return model, float(chance[model])

    def describe(self, x: Float32) -> dict[str, Any]:
        """`deviations` and `propensities` of the models, and what the base has to show."""
        return self.base_.describe(x) | {
            "deviations": np.round(self.deviations(x), 4).tolist(),
            "propensities": np.round(self.propensities(x), 4).tolist(),
        }

    def check_state(self, n_features: int, n_models: int) -> None:
        self._check_arguments()
        check_array("centre", self.centre_, np.float32, (None,))
        rank = len(self.centre_)
        check_array("projection", self.projection_, np.float32, (n_features, rank))
        check_array("evidence", self.evidence_, np.float64, (n_models, rank + 1, rank + 1))
        check_array("pull", self.pull_, np.float64, (n_models, rank + 1))
        check_array("age", self.age_, np.int64, (n_models,))
        if (self.age_ < 0).any():
            raise ValueError('array "age" must be at least 0')
        self.base_ = self.load_base(n_features)
        if self.base_.n_models != n_models:
            raise ValueError(f'array "base.cost_usd" must have {n_models} models, has {self.base_.n_models}')
        self._solve()


def whitened_components(X: Float32, rank: int) -> tuple[Float32, Float32]:
    """Projection (n_features, r) and centre (r,), so that X @ projection - centre has r uncorrelated columns of
    variance 1: the features' first principal components, r = rank or n_features if less. Without variance: zeros."""
    mean = X.mean(axis=0, dtype=np.float64)
    centred = X - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(X))
    kept = np.argsort(values)[::-1][:rank]
    values, vectors = np.maximum(values[kept], 0.0), vectors[:, kept]
    scale = np.where(values > 1e-8 * max(values.max(), 1e-12), 1.0 / np.sqrt(np.maximum(values, 1e-20)), 0.0)
    projection = np.ascontiguousarray(vectors * scale)
    return projection.astype(np.float32), (mean @ projection).astype(np.float32)


def chance_of_being_best(mean: Float64, spread: Float64) -> Float64:
    """Chance that each of several independent normal variables is the largest, (n,), summing to 1.

    For each of a variable's equally likely values, the product of the others' chances to lie below it; one that lies
    four deviations below another has none.
    """
    spread = np.maximum(spread, 1e-9)
    chance = np.zeros(len(mean))
    near = np.flatnonzero(mean + 4 * spread >= (mean - 4 * spread).max())
    mean, spread = mean[near], spread[near]
    values = mean[:, None] + spread[:, None] * _NODES
    below = normal_cdf((values[:, :, None] - mean) / spread)
    np.maximum(below, 1e-300, out=below)
    own = np.arange(len(mean))
    below[own, :, own] = 1.0
    chance[near] = below.prod(axis=2).mean(axis=1)
    chance /= chance.sum()
    return chance


def normal_cdf(z: Float64) -> Float64:
    """Chance of a standard normal variable to lie below z, to 1e-7.

    Source: Abramowitz and Stegun, "Handbook of mathematical functions", 1964, 26.2.17.
    """
    t = 1.0 / (1.0 + 0.2316419 * np.abs(z))
    tail = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail *= np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    below: Float64 = np.where(z >= 0, 1.0 - tail, tail)
    return below
