"""Routers on an encoder that was trained for them: what it says of each model, made a score.

The encoder is a feature maker of the same name (`features/trained.py`), and learns from texts and scores when it is
fitted; its first columns are what it says of each model, in the models' order. What is left for the router is to say
how good a model is that the encoder speaks so well of. So the one contract holds, a router file has both parts, and
predicting needs the encoder's library for the features alone.
"""

from __future__ import annotations

from typing import ClassVar, Final, Self

import numpy as np

from routewright.routing.router import Float32, Router, check_array, check_training_data, mean_known

_STEPS: Final = 30
_LEAST_SPREAD: Final = 1e-4


class EncoderHeadRouter(Router):
    """Expects of a model sigmoid(slope * what the encoder says of it + offset); a slope is never below 0.

    penalty: on each slope, for a column of standard deviation 1; larger is closer to each model's mean.
    Learns slope_ and offset_ (n_models,).
    Source: Platt, "Probabilistic outputs for support vector machines", 1999.
    """

    arguments: ClassVar[tuple[str, ...]] = ("penalty", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("slope", "offset")
    slope_: Float32
    offset_: Float32

    def __init__(self, *, penalty: float = 1.0, cost_weight: float = 0.0) -> None:
        self.penalty = penalty
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        """As the contract says; X needs a column for each model at its beginning."""
        if not self.penalty > 0:
            raise ValueError(f"penalty must be above 0, got {self.penalty}")
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        n_models = quality.shape[1]
        if X.shape[1] < n_models:
            raise ValueError(
                f'router "{self.name}" needs features with a column for each of {n_models} models, such as '
                f'"{self.name}"; these have {X.shape[1]}'
            )
        slope, offset = np.zeros(n_models), np.zeros(n_models)
        for model in range(n_models):
            known = ~np.isnan(quality[:, model])
            slope[model], offset[model] = self._fit_one(
                X[known, model].astype(np.float64), quality[known, model].astype(np.float64)
            )
        self.slope_, self.offset_ = slope.astype(np.float32), offset.astype(np.float32)
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = X.shape[1]
        self._prepare()
        return self

    def _fit_one(self, said: np.ndarray, score: np.ndarray) -> tuple[float, float]:
        """Slope and offset of one model by Newton's method; said, score: (n,)."""
        middle, spread = float(said.mean()), float(said.std())
        mean = min(max(float(score.mean()), 0.01), 0.99)
        a, b = 0.0, float(np.log(mean / (1 - mean)))
        if spread < _LEAST_SPREAD:
            return 0.0, b
        z = (said - middle) / spread
        for _ in range(_STEPS):
            p = 1 / (1 + np.exp(-np.clip(a * z + b, -30, 30)))
            w = np.maximum(p * (1 - p), 1e-6)
            gradient = np.array([((p - score) * z).sum() + self.penalty * a, (p - score).sum() + 1e-3 * b])
            curve = np.array([[(w * z * z).sum() + self.penalty, (w * z).sum()], [(w * z).sum(), w.sum() + 1e-3]])
            step = np.linalg.solve(curve, gradient)
            a, b = a - float(np.clip(step[0], -2, 2)), b - float(np.clip(step[1], -2, 2))
        if a <= 0:
            return 0.0, float(np.log(mean / (1 - mean)))
        return a / spread, b - a * middle / spread

    def rate_one(self, x: Float32) -> Float32:
        """As the contract says."""
        self.check_is_fitted()
        z = np.clip(x[: len(self.slope_)] * self.slope_ + self.offset_, -30, 30)
        rating: Float32 = (1 / (1 + np.exp(-z))).astype(np.float32)
        return rating

    def log_odds(self) -> tuple[Float32, Float32] | None:
        """As the contract says."""
        weights = np.zeros((self.n_features_, len(self.slope_)), dtype=np.float32)
        weights[np.arange(len(self.slope_)), np.arange(len(self.slope_))] = self.slope_
        return weights, self.offset_

    def _prepare(self) -> None:
        """Nothing to prepare."""

    def check_state(self, n_features: int, n_models: int) -> None:
        """As the contract says."""
        check_array("slope", self.slope_, np.float32, (n_models,))
        check_array("offset", self.offset_, np.float32, (n_models,))
        if n_features < n_models:
            raise ValueError(f'array "slope" has {n_models} entries, the features {n_features} columns')


class RouterDCRouter(EncoderHeadRouter):
    """RouterDC: prompts and models in one space, drawn together by contrast. Features: `routerdc`.

    Ours gives scores where the paper takes the model that lies closest: a similarity is made a score for each model.
    Source: Chen et al., "RouterDC: query-based router by dual contrastive learning", 2024, arXiv:2409.19886.
    """

    name: ClassVar[str] = "routerdc"


class CausalLMRouter(EncoderHeadRouter):
    """A causal language model with a head that scores every model. Features: `causallm`.

    LLMRouter's router of this name is taught to write the chosen model's name, which costs a generation for each
    decision and gives a winner without a score; ours has one pass and a score for each model.
    Source: Feng et al., "LLMRouter", 2025, github.com/ulab-uiuc/LLMRouter, `causallm_router`.
    """

    name: ClassVar[str] = "causallm"
