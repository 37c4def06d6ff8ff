"""Matrix factorisation of all models' scores, the prompts' side read off their features: item response theory."""

from __future__ import annotations

from math import pi
from statistics import NormalDist
from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.adam import Adam
from routewright.routing.logistic import sigmoid
from routewright.routing.router import (
    Float32,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
)

Float64 = NDArray[np.float64]

_MOST_STEPS: Final = 100
_LEAST_VARIANCE: Final = 0.1
"""Of an ability or a loading between models, where too few are known to say."""

_NODES: Final = np.array([NormalDist().inv_cdf((i + 0.5) / 24) for i in range(24)])
"""Equally likely values of a standard normal variable."""
_DEVIATIONS: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
_FLATTENING: Final = (16 * 3**0.5 / (15 * pi)) ** 2
"""A normal mean of sigmoids is a sigmoid of 1 / sqrt(1 + this times the variance) as steep, nearly."""


class MFRouter(Router):
    """Expects of a model sigmoid(ability + traits(x) · loadings), traits being a few linear functions of the features.

    A prompt's traits are what it asks for, and are learned from all models' scores; a model is `rank` + 1 numbers. So
    few that `add_model` takes in a new one from some hundred scored prompts, without a look at the rest.

    rank: traits of a prompt. penalty: on traits' weights. loading_penalty: on the models' loadings, about their mean.
    steps: of full-batch Adam. seed: of the first traits and loadings.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    Learns traits_ (n_features, rank), centre_ (rank,), loadings_ (rank, n_models), ability_ (n_models,); traits are
    turned so that they are uncorrelated on the training prompts, with mean 0 and variance 1, the weightiest first.
    Raises ValueError in `fit` when an argument is out of range, NotFitted in `predict*`.
    Source: Ong et al., "RouteLLM", 2024, arXiv:2406.18665, matrix factorisation: preferences between two models as a
    bilinear score of a model's vector and a projected encoder's vector; ours fits scores of any number of models, by
    multidimensional item response theory: Reckase, 2009; Song et al., "IRT-Router", 2025, arXiv:2506.01048. Newcomers:
    empirical Bayes as in Zhuang et al., "EmbedLLM", 2024, arXiv:2410.02223 shows the need of; the prior over loadings
    is that of the models known.
    """

    name: ClassVar[str] = "mf"
    arguments: ClassVar[tuple[str, ...]] = ("rank", "penalty", "loading_penalty", "steps", "seed", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("traits", "centre", "loadings", "ability")
    traits_: Float32
    centre_: Float32
    loadings_: Float32
    ability_: Float32

    def __init__(
        self,
        *,
        rank: int = 6,
        penalty: float = 5.0,
        loading_penalty: float = 20.0,
        steps: int = 300,
        seed: int = 0,
        cost_weight: float = 0.0,
    ) -> None:
        self.rank = rank
        self.penalty = penalty
        self.loading_penalty = loading_penalty
        self.steps = steps
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        self._check_arguments()
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        n, f = X.shape
        m = quality.shape[1]
        rank = min(self.rank, f)
        known = ~np.isnan(quality)
        target = np.where(known, quality, np.float32(0))
        mask = known.astype(np.float32) / np.float32(n)
        mean = np.clip(mean_known(quality), 0.02, 0.98)
        rng = np.random.default_rng(self.seed)
        spread = float(X.std(axis=0).mean()) or 1.0
        P = (rng.standard_normal((f, rank)) * 0.1).astype(np.float32)
        V = (rng.standard_normal((rank, m)) * 0.1 + np.eye(rank, 1)).astype(np.float32)  # the first: shared difficulty
        b = np.log(mean / (1 - mean)).astype(np.float32)
        adam = Adam((P, V, b))
        scaled = X / np.float32(spread)
        p_pull, v_pull = self.penalty * spread**-2 / n, self.loading_penalty / n
        for step in range(self.steps):
            traits = scaled @ P
            error = sigmoid(traits @ V + b)
            error -= target
            error *= mask
            gradients = [
                scaled.T @ (error @ V.T) + np.float32(p_pull) * P,
                traits.T @ error + np.float32(v_pull) * (V - V.mean(axis=1, keepdims=True)),
                error.sum(axis=0) + np.float32(1e-3 / n) * b,
            ]
            rate = 0.05 * (1.0 - 0.95 * step / self.steps)
            adam.step(gradients, (rate, rate, rate), (0.0, 0.0, 0.0))
        self._keep(
            X.astype(np.float64),
            (P / np.float32(spread)).astype(np.float64),
            V.astype(np.float64),
            b.astype(np.float64),
        )
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = f
        return self

    def _check_arguments(self) -> None:
        if self.rank < 1 or self.steps < 1:
            raise ValueError("rank and steps must be at least 1")
        if not (self.penalty > 0 and self.loading_penalty > 0):
            raise ValueError("penalty and loading_penalty must be above 0")

    def _keep(self, X: Float64, P: Float64, V: Float64, b: Float64) -> None:
        """The same log-odds X P V + b in turned traits: uncorrelated on X, mean 0, variance 1, what models differ in
        most first."""
        traits = X @ P
        centre = traits.mean(axis=0)
        covariance = (traits - centre).T @ (traits - centre) / len(X) + 1e-9 * np.eye(P.shape[1])
        values, vectors = np.linalg.eigh(covariance)
        left, strength, right = np.linalg.svd((vectors * np.sqrt(values)).T @ V)
        turn = vectors / np.sqrt(values) @ left
        loadings = np.zeros_like(V)
        loadings[: len(strength)] = strength[:, None] * right[: len(strength)]
        self.traits_ = np.ascontiguousarray(P @ turn, dtype=np.float32)
        self.centre_ = (centre @ turn).astype(np.float32)
        self.loadings_ = loadings.astype(np.float32)
        self.ability_ = (b + centre @ turn @ loadings).astype(np.float32)

    def traits(self, X: Float32) -> Float32:
        """Traits of prompts, float32 (n, rank), from vectors (n, n_features), or of one from one."""
        traits: Float32 = X @ self.traits_
        traits -= self.centre_
        return traits

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        z: Float32 = self.traits(x) @ self.loadings_
        z += self.ability_
        return clip01(sigmoid(z))

    def log_odds(self) -> tuple[Float32, Float32]:
        return self.traits_ @ self.loadings_, self.ability_ - self.centre_ @ self.loadings_

    def add_model(self, X: Float32, quality: Float32, cost_usd: Float32, others: Float32 | None = None) -> Self:
        """A router that rates one model more, its number the next; this one stays as it is.

        X float32 (n, n_features) and the new model's scores and costs, float32 (n,): a hundred prompts do. others:
        scores of the models known on the same prompts, (n, n_models), NaN where there is none: they tell which prompts
        were harder than their features say, and so what of the new model's score was the prompts' doing.

        Its ability and loadings are the likeliest given these scores and that models are as those known are, normal
        around their mean with their covariance: a fifth of it held to be plain, since models are few, and twice the
        ability's variance, since newcomers are often better than all that are known. Raises ValueError as `fit`.
        """
        self.check_is_fitted()
        X, column, cost = check_training_data(X, np.reshape(quality, (-1, 1)), np.reshape(cost_usd, (-1, 1)))
        if X.shape[1] != self.n_features_:
            raise ValueError(f"X must have shape (n, {self.n_features_}), got {X.shape}")
        if others is not None and others.shape != (len(X), self.n_models):
            raise ValueError(f"others must have shape ({len(X)}, {self.n_models}), got {others.shape}")
        known = ~np.isnan(column[:, 0])
        traits = self.traits(X[known]).astype(np.float64)
        A = np.concatenate([np.ones((len(traits), 1)), traits], axis=1)
        centre, precision = self._prior()
        if others is None:
            hidden = Difficulty.unknown(len(A))
        else:
            models = np.concatenate([self.ability_[None], self.loadings_]).astype(np.float64)
            hidden = Difficulty.of_prompts(A @ models, others[known].astype(np.float64))
        theta = most_likely(A, column[known, 0].astype(np.float64), centre, precision, hidden)
        made = type(self)(**self.params())
        made.traits_, made.centre_, made.n_features_ = self.traits_, self.centre_, self.n_features_
        made.ability_ = np.append(self.ability_, theta[0]).astype(np.float32)
        made.loadings_ = np.concatenate([self.loadings_, theta[1:, None]], axis=1).astype(np.float32)
        made.cost_usd_ = np.append(self.cost_usd_, mean_known(cost)).astype(np.float32)
        return made

    def _prior(self) -> tuple[Float64, Float64]:
        """Mean (rank + 1,) and precision of the known models' ability and loadings."""
        models = np.concatenate([self.ability_[None], self.loadings_]).astype(np.float64)
        centre = models.mean(axis=1)
        apart = models - centre[:, None]
        covariance = apart @ apart.T / models.shape[1]
        plain = np.diag(np.maximum(np.diag(covariance), _LEAST_VARIANCE))
        blended = 0.8 * covariance + 0.2 * plain
        blended[0, 0] *= 2
        return centre, np.linalg.inv(blended)

    def check_state(self, n_features: int, n_models: int) -> None:
        check_array("centre", self.centre_, np.float32, (None,))
        rank = len(self.centre_)
        check_array("traits", self.traits_, np.float32, (n_features, rank))
        check_array("loadings", self.loadings_, np.float32, (rank, n_models))
        check_array("ability", self.ability_, np.float32, (n_models,))


class Difficulty:
    """What features do not say of how hard prompts are: for each prompt the chances of some levels of it.

    levels (n_levels,), log-odds taken off every model alike, normal with mean 0 before any score is seen; chances
    (n_prompts, n_levels); stretch: log-odds of a prompt whose level is known over those of one whose level is not,
    since a mean over levels is nearer to one half.
    """

    def __init__(self, levels: Float64, chances: Float64, stretch: float) -> None:
        self.levels, self.chances, self.stretch = levels, chances, stretch

    @classmethod
    def unknown(cls, n_prompts: int) -> Self:
        """Nothing is hidden."""
        return cls(np.zeros(1), np.ones((n_prompts, 1)), 1.0)

    @classmethod
    def of_prompts(cls, odds: Float64, scores: Float64) -> Self:
        """From what models' features-only log-odds (n_prompts, n_models) and scores, NaN where there is none, tell.

        The levels' deviation is the likeliest of a few.
        """
        known = ~np.isnan(scores)
        y = np.where(known, scores, 0.0)
        best, likelihood = cls.unknown(len(odds)), -np.inf
        for deviation in _DEVIATIONS:
            levels = deviation * _NODES
            stretch = float(np.sqrt(1 + _FLATTENING * deviation**2))
            z = np.clip(stretch * odds[:, :, None] - levels, -30, 30)
            told = y[:, :, None] * z - np.logaddexp(0, z)
            told = np.where(known[:, :, None], told, 0.0).sum(axis=1)
            top = told.max(axis=1, keepdims=True)
            chances = np.exp(told - top)
            total = float((np.log(chances.mean(axis=1)) + top[:, 0]).sum())
            if total > likelihood:
                best, likelihood = cls(levels, chances / chances.sum(axis=1, keepdims=True), stretch), total
        return best


def most_likely(A: Float64, y: Float64, centre: Float64, precision: Float64, hidden: Difficulty) -> Float64:
    """theta (k,) that is likeliest for scores y (n,) with log-odds A theta, A (n, k), on prompts of hidden difficulty,
    if theta is normal around `centre` with `precision` (k, k).

    Expectation-maximisation over the prompts' levels, each step one of Newton's.
    """
    theta = centre.copy()
    B = A * hidden.stretch
    for _ in range(_MOST_STEPS):
        z = np.clip((B @ theta)[:, None] - hidden.levels, -30, 30)
        weights = hidden.chances * np.exp(y[:, None] * z - np.logaddexp(0, z))
        weights /= weights.sum(axis=1, keepdims=True)
        p = 1 / (1 + np.exp(-z))
        gradient = B.T @ (weights * (p - y[:, None])).sum(axis=1) + precision @ (theta - centre)
        hessian = (B * (weights * p * (1 - p)).sum(axis=1)[:, None]).T @ B + precision
        step = np.linalg.solve(hessian, gradient)
        theta -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return theta
