"""A bias for each caller, learned from their own rewards, on top of any router."""

from __future__ import annotations

import hashlib
from math import exp
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.logistic import sigmoid
from routewright.routing.router import (
    Array,
    Float32,
    check_array,
    check_training_data,
    clip01,
)
from routewright.routing.upon import RouterUpon

Float64 = NDArray[np.float64]


class PersonalizedRouter(RouterUpon):
    """Expects of a model what its base expects, moved by what this caller's rewards have said of it.

    base, base_arguments: the router beneath; see `RouterUpon`.
    spread: how far callers' taste for one model differs, a standard deviation of log-odds. 0 learns nothing.
    mood: how far callers differ in how kindly they judge, in the same unit.
    forget: share of what is known of a bias that each reward for it makes uncertain again, 0 up to 1.
    max_keys: callers remembered; beyond that the one heard of longest ago is forgotten.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    log-odds of a reward = log-odds of the base + everyone's bias for the model + the caller's + the caller's mood, each
    normal around 0, updated by one step of an extended Kalman filter. A mood explains a judge's level, and is no part
    of the rating: else whoever is always strict would see their usual model fall behind untried ones. `rate_one`
    has everyone's bias, `rate_for` the caller's too. Callers are kept as the first 8 bytes of their name's SHA-256.
    Learns keys_ int64 (n_keys,), 0 first for everyone, bias_ and variance_ float64 (n_keys, n_models + 1), the mood
    last; callers in the order in which they were last heard of.
    Source: Xie et al., "GMTRouter: personalized LLM router over multi-turn user interactions", 2025, arXiv:2511.08590.
    Theirs learns a graph network over users, sessions, queries and responses from pairwise preferences offline; ours is
    the part of it that a gateway can learn from single rewards while it serves, in microseconds. The step is Glickman's
    (1999) as in rating systems.
    """

    name: ClassVar[str] = "personalized"
    arguments: ClassVar[tuple[str, ...]] = (
        *RouterUpon.arguments,
        "spread",
        "mood",
        "forget",
        "max_keys",
        "cost_weight",
    )
    arrays: ClassVar[tuple[str, ...]] = ("keys", "bias", "variance")
    learns_online: ClassVar[bool] = True
    keys_: NDArray[np.int64]
    bias_: Float64
    variance_: Float64

    def __init__(
        self,
        *,
        base: str = "logistic",
        base_arguments: str = "",
        spread: float = 0.7,
        mood: float = 1.0,
        forget: float = 0.002,
        max_keys: int = 4096,
        cost_weight: float = 0.0,
    ) -> None:
        self.base = base
        self.base_arguments = base_arguments
        self.spread = spread
        self.mood = mood
        self.forget = forget
        self.max_keys = max_keys
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        self._check_arguments()
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        self.base_ = self.fit_base(X, quality, cost_usd)
        self.cost_usd_ = self.base_.cost_usd_
        self.n_features_ = X.shape[1]
        self._known: dict[int, tuple[Float64, Float64]] = {0: self._stranger(quality.shape[1])}
        return self

    def _check_arguments(self) -> None:
        if not (self.spread >= 0 and self.mood >= 0 and 0 <= self.forget < 1 and self.max_keys >= 1):
            raise ValueError("spread and mood must be at least 0, forget in 0..1 without 1, max_keys at least 1")

    def _stranger(self, n_models: int) -> tuple[Float64, Float64]:
        """Biases and variances of a caller not heard of."""
        variance = np.full(n_models + 1, self.spread**2)
        variance[-1] = self.mood**2
        return np.zeros(n_models + 1), variance

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        return self._moved(x, self._known[0][0][:-1])

    def rate_for(self, x: Float32, key: str) -> Float32:
        self.check_is_fitted()
        everyone = self._known[0][0]
        known = self._known.get(caller_number(key))
        return self._moved(x, (everyone if known is None or not key else everyone + known[0])[:-1])

    def _moved(self, x: Float32, bias: Float64) -> Float32:
        held = np.clip(self.base_.rate_one(x), np.float32(1e-4), np.float32(1 - 1e-4))
        odds: Float32 = (np.log(held / (1 - held)) + bias).astype(np.float32)
        return clip01(sigmoid(odds))

    def update(self, x: Float32, model: int, reward: float, *, key: str = "") -> None:
        x = self.check_reward(x, model, reward)
        rated = min(max(float(self.base_.rate_one(x)[model]), 1e-4), 1 - 1e-4)
        everyone = copied(self._known[0])
        caller = copied(self._known.get(caller_number(key)) or self._stranger(self.n_models))
        # one reward is explained by everyone's bias, the caller's, and the caller's mood: biases, variances, column,
        # and the variance of one who was never heard of
        parts = [(*everyone, model, self.spread**2)]
        if key:
            parts += [(*caller, model, self.spread**2), (*caller, self.n_models, self.mood**2)]
        odds = float(np.log(rated / (1 - rated))) + sum(float(bias[at]) for bias, _, at, _ in parts)
        expected = 1.0 / (1.0 + exp(-odds))
        weight = expected * (1.0 - expected)
        for _, variance, at, widest in parts:
            variance[at] += self.forget * (widest - variance[at])
        total = sum(float(variance[at]) for _, variance, at, _ in parts)
        for bias, variance, at, _ in parts:
            gain = variance[at] / (1.0 + weight * total)
            bias[at] += gain * (reward - expected)
            variance[at] -= gain * weight * variance[at]
        self._known[0] = everyone
        if key:
            self._remember(caller_number(key), caller)

    def _remember(self, number: int, caller: tuple[Float64, Float64]) -> None:
        self._known.pop(number, None)
        if len(self._known) > self.max_keys:  # everyone counts for one
            del self._known[next(known for known in self._known if known)]
        self._known[number] = caller

    def describe(self, x: Float32) -> dict[str, Any]:
        """`callers` known, and what the base has to show."""
        return self.base_.describe(x) | {"callers": len(self._known) - 1}

    def state(self) -> dict[str, Array]:
        self.check_is_fitted()
        self.keys_ = np.array(list(self._known), dtype=np.int64)
        self.bias_ = np.stack([bias for bias, _ in self._known.values()])
        self.variance_ = np.stack([variance for _, variance in self._known.values()])
        return super().state()

    def check_state(self, n_features: int, n_models: int) -> None:
        self._check_arguments()
        check_array("keys", self.keys_, np.int64, (None,))
        check_array("bias", self.bias_, np.float64, (len(self.keys_), n_models + 1))
        check_array("variance", self.variance_, np.float64, (len(self.keys_), n_models + 1))
        if self.keys_[0] != 0 or len(np.unique(self.keys_)) != len(self.keys_):
            raise ValueError('array "keys" must begin with 0 and name nobody twice')
        if (self.variance_ < 0).any():
            raise ValueError('array "variance" must be at least 0')
        self._known = {
            int(key): (bias, variance)
            for key, bias, variance in zip(self.keys_, self.bias_, self.variance_, strict=True)
        }
        self.base_ = self.load_base(n_features)
        if self.base_.n_models != n_models:
            raise ValueError(f'array "base.cost_usd" must have {n_models} models, has {self.base_.n_models}')


def copied(pair: tuple[Float64, Float64]) -> tuple[Float64, Float64]:
    return pair[0].copy(), pair[1].copy()


def caller_number(key: str) -> int:
    """A caller's key as a number other than 0, the same everywhere."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8], "little", signed=True) or 1
