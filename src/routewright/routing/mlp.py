"""A neural network with one hidden layer that all models share, several of them averaged."""

from __future__ import annotations

from typing import ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.adam import Adam
from routewright.routing.logistic import sigmoid
from routewright.routing.router import (
    Float32,
    Int64,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
)
from routewright.routing.spread import each

_BATCH: Final = 256
_PATIENCE: Final = 8
"""Epochs without a better loss on the rows held out, after which a network stops."""
_HELD_OUT: Final = 10
"""One row in so many is held out, other rows for each network: together they learn from all."""
_MOST_STEPS: Final = 20_000
"""Bound on one network's steps: a million rows are learned from in a few epochs."""


class MLPRouter(Router):
    """Expects of a model sigmoid(ability + hidden(x) · its weights), hidden(x) = relu(x W + b), shared by all models.

    What a prompt asks for is learned once, from all models' scores; a model only says what of it matters to it.

    hidden: units of one network. seeds: networks, their log-odds averaged. rate: of Adam's first steps, falling to 0 as
    half a cosine. dropout: share of hidden units left out at each step. decay: weight decay. epochs: at most.
    seed: of first weights, batches and held-out rows.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    Each network starts as the models' mean scores and keeps the epoch that did best on a tenth of the rows that it does
    not learn from: where there is nothing to learn, it stays the mean. A missing score has no gradient.
    Averaging log-odds of several networks is one wide network, and that is what is kept:
    hidden_weights_ (n_features, seeds * hidden), hidden_bias_ (seeds * hidden,), weights_ (seeds * hidden, n_models),
    intercept_ (n_models,).
    Raises ValueError in `fit` when an argument is out of range, NotFitted in `predict*`.
    Source: Hu et al., "RouterBench", 2024, arXiv:2403.12031, MLP baseline; theirs regresses each model by itself on a
    sentence encoder's vectors. Dropout: Srivastava et al., JMLR 15, 2014. Averaging: Lakshminarayanan et al., "Deep
    ensembles", 2017, arXiv:1612.01474.
    """

    name: ClassVar[str] = "mlp"
    arguments: ClassVar[tuple[str, ...]] = (
        "hidden",
        "seeds",
        "rate",
        "dropout",
        "decay",
        "epochs",
        "seed",
        "cost_weight",
    )
    arrays: ClassVar[tuple[str, ...]] = ("hidden_weights", "hidden_bias", "weights", "intercept")
    hidden_weights_: Float32
    hidden_bias_: Float32
    weights_: Float32
    intercept_: Float32

    def __init__(
        self,
        *,
        hidden: int = 64,
        seeds: int = 8,
        rate: float = 3e-3,
        dropout: float = 0.1,
        decay: float = 1.0,
        epochs: int = 60,
        seed: int = 0,
        cost_weight: float = 0.0,
    ) -> None:
        self.hidden = hidden
        self.seeds = seeds
        self.rate = rate
        self.dropout = dropout
        self.decay = decay
        self.epochs = epochs
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        if self.hidden < 1 or self.seeds < 1 or self.epochs < 1:
            raise ValueError("hidden, seeds and epochs must be at least 1")
        if not (self.rate > 0 and 0 <= self.dropout < 1 and self.decay >= 0):
            raise ValueError("rate must be above 0, dropout in 0..1 without 1, decay at least 0")
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        known = ~np.isnan(quality)
        target = np.where(known, quality, np.float32(0))
        mean = np.clip(mean_known(quality), 0.02, 0.98)
        # one scale for all features: their own say how much each of them matters
        spread = float(X.std(axis=0).mean()) or 1.0
        X /= np.float32(spread)
        parts = each(_train, range(self.seeds), self, X, target, known, mean)
        self.hidden_weights_ = np.concatenate([part[0] / np.float32(spread) for part in parts], axis=1)
        self.hidden_bias_ = np.concatenate([part[1] for part in parts])
        self.weights_ = np.concatenate([part[2] / np.float32(self.seeds) for part in parts])
        self.intercept_ = np.mean([part[3] for part in parts], axis=0, dtype=np.float32)
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = X.shape[1]
        return self

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        hidden: Float32 = x @ self.hidden_weights_
        hidden += self.hidden_bias_
        np.maximum(hidden, np.float32(0), out=hidden)
        z: Float32 = hidden @ self.weights_
        z += self.intercept_
        return clip01(sigmoid(z))

    def check_state(self, n_features: int, n_models: int) -> None:
        check_array("hidden_bias", self.hidden_bias_, np.float32, (None,))
        width = len(self.hidden_bias_)
        check_array("hidden_weights", self.hidden_weights_, np.float32, (n_features, width))
        check_array("weights", self.weights_, np.float32, (width, n_models))
        check_array("intercept", self.intercept_, np.float32, (n_models,))


def _train(
    router: MLPRouter, X: Float32, target: Float32, known: NDArray[np.bool_], mean: Float32, number: int
) -> tuple[Float32, Float32, Float32, Float32]:
    """Hidden weights and bias, output weights and intercept of the network with this number."""
    rng = np.random.default_rng((router.seed, number))
    n, f = X.shape
    order = rng.permutation(n)
    held_out = order[: max(1, n // _HELD_OUT)]
    rows = order[len(held_out) :] if n > 1 else order
    parameters = (
        (rng.standard_normal((f, router.hidden)) * np.sqrt(2.0 / f)).astype(np.float32),
        np.zeros(router.hidden, dtype=np.float32),
        np.zeros((router.hidden, len(mean)), dtype=np.float32),
        np.log(mean / (1 - mean)).astype(np.float32),
    )
    adam = Adam(parameters)
    decays = (0.1 * router.decay, 0.0, router.decay, 0.0)
    batches = -(-len(rows) // _BATCH)
    epochs = min(router.epochs, max(1, _MOST_STEPS // batches))
    best, best_loss, since = [p.copy() for p in parameters], _loss(parameters, X, target, known, held_out), 0
    for epoch in range(epochs):
        rate = router.rate * 0.5 * (1.0 + np.cos(np.pi * epoch / epochs))
        rates = (rate, rate, rate, rate)
        shuffled = rng.permutation(rows)
        for first in range(batches):
            gradients = _gradients(parameters, X, target, known, shuffled[first::batches], router.dropout, rng)
            adam.step(gradients, rates, decays)
        loss = _loss(parameters, X, target, known, held_out)
        if loss < best_loss:
            best, best_loss, since = [p.copy() for p in parameters], loss, 0
        else:
            since += 1
            if since >= _PATIENCE:
                break
    return best[0], best[1], best[2], best[3]


def _gradients(
    parameters: tuple[Float32, ...],
    X: Float32,
    target: Float32,
    known: NDArray[np.bool_],
    rows: Int64,
    dropout: float,
    rng: np.random.Generator,
) -> list[Float32]:
    """Of the mean cross-entropy of some rows, with a share of hidden units left out."""
    W, b, V, c = parameters
    x = X[rows]
    active: Float32 = x @ W
    active += b
    kept = (active > 0).astype(np.float32)
    if dropout:
        kept *= rng.random(kept.shape, dtype=np.float32) >= dropout
        kept *= np.float32(1.0 / (1.0 - dropout))
    active *= kept
    z: Float32 = active @ V
    z += c
    error = sigmoid(z)
    error -= target[rows]
    error *= known[rows]
    error *= np.float32(1.0 / len(rows))
    back = error @ V.T
    back *= kept
    return [x.T @ back, back.sum(axis=0), active.T @ error, error.sum(axis=0)]


def _loss(parameters: tuple[Float32, ...], X: Float32, target: Float32, known: NDArray[np.bool_], rows: Int64) -> float:
    """Mean cross-entropy of the known scores of some rows, in nats."""
    W, b, V, c = parameters
    active: Float32 = X[rows] @ W
    active += b
    z: Float32 = np.maximum(active, np.float32(0)) @ V
    z += c
    expected = np.clip(sigmoid(z).astype(np.float64), 1e-6, 1 - 1e-6)
    y = target[rows]
    entropy = y * np.log(expected) + (1 - y) * np.log(1 - expected)
    return float(-entropy[known[rows]].sum() / max(1, known[rows].sum()))
