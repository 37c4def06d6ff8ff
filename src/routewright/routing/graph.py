"""A small graph of prompts, kinds of prompts and models, and what their scores say of one another along its edges."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.kmeans import clusters_near, spherical_k_means
from routewright.routing.linear import fit_ridge
from routewright.routing.logistic import sigmoid
from routewright.routing.newton import fit_logistic
from routewright.routing.router import (
    Float32,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
    unit_rows,
)

Float64 = NDArray[np.float64]

MESSAGES: Final = ("kind", "kind-model", "kind-kind", "kind-kind-model", "features")
"""What a prompt hears of a model: what was seen in its kinds of prompts; the same of models alike; in kinds alike; of
both; and what its features say by themselves."""
_FOLDS: Final = 4


class GraphRouter(Router):
    """Expects of a model what a prompt hears of it through the graph, each way of hearing weighed by what it was worth.

    Nodes are training prompts, kinds of prompts (clusters of their vectors) and models. Edges: a prompt to its kinds,
    by similarity; a prompt to a model, with the score; a kind to the kinds most like it; a model to the models most
    like it, by their scores over kinds. Scores, less the model's mean, flow from prompts to kinds and there to kinds
    and models alike: two rounds. How much of each message is to be believed is learned, on prompts whose own scores
    were not in the graph.

    n_clusters: kinds. nearest: kinds that a prompt has edges to, as in `ClusterRouter`. neighbours: kinds and models
    that one has edges to. pseudo_count: requests' worth of no news in each kind. penalty: of the features' regression.
    seed: of centres and folds. cost_weight: quality given up per US dollar saved; 0 ignores cost.

    Learns belief_ (5,), one weight for each of `MESSAGES`; and, all messages put together, since they are linear:
    centres_ (n_clusters, n_features), table_ (n_clusters, n_models), weights_ (n_features, n_models), intercept_
    (n_models,), in log-odds.
    Raises ValueError in `fit` when an argument is out of range, NotFitted in `predict*`.
    Source: Feng et al., "GraphRouter", ICLR 2025, arXiv:2410.03834. Theirs is a graph network over tasks, prompts and
    models described by an encoder, trained to predict masked edges. Ours passes messages without weights inside the
    rounds, as Wu et al., "Simplifying graph convolutional networks", 2019, arXiv:1902.07153, and learns their sum on
    masked prompts: then it needs no encoder, no torch, and serves as one table.
    """

    name: ClassVar[str] = "graph"
    arguments: ClassVar[tuple[str, ...]] = (
        "n_clusters",
        "nearest",
        "neighbours",
        "pseudo_count",
        "penalty",
        "seed",
        "cost_weight",
    )
    arrays: ClassVar[tuple[str, ...]] = ("belief", "centres", "table", "weights", "intercept")
    belief_: Float32
    centres_: Float32
    table_: Float32
    weights_: Float32
    intercept_: Float32

    def __init__(
        self,
        *,
        n_clusters: int = 128,
        nearest: int = 8,
        neighbours: int = 4,
        pseudo_count: float = 10.0,
        penalty: float = 30.0,
        seed: int = 0,
        cost_weight: float = 0.0,
    ) -> None:
        self.n_clusters = n_clusters
        self.nearest = nearest
        self.neighbours = neighbours
        self.pseudo_count = pseudo_count
        self.penalty = penalty
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        self._check_arguments()
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        mean = mean_known(quality)
        held = np.clip(mean, 0.02, 0.98).astype(np.float64)
        own = np.log(held / (1 - held))
        news = quality - mean
        fold = np.random.default_rng(self.seed).permutation(len(X)) % _FOLDS
        heard, outcome, offset = [], [], []
        for number in range(_FOLDS):
            out = fold == number
            if not out.any() or out.all():
                continue
            graph = _Graph(self, X[~out], news[~out])
            known = ~np.isnan(quality[out])
            heard.append(graph.messages(X[out])[known])
            outcome.append(quality[out][known].astype(np.float64))
            offset.append(np.broadcast_to(own, known.shape)[known])
        # log-odds move four times as fast as scores where these are one half
        belief = np.zeros(len(MESSAGES))
        shift = 0.0
        if heard:
            belief, shift = weigh(np.concatenate(heard) * 4, np.concatenate(outcome), np.concatenate(offset))
        graph = _Graph(self, X, news)
        self.belief_ = belief.astype(np.float32)
        self.centres_ = graph.centres
        self.table_ = (4 * np.einsum("k,kcm->cm", belief[:-1], graph.tables)).astype(np.float32)
        self.weights_ = (4 * belief[-1] * graph.weights).astype(np.float32)
        self.intercept_ = (own + shift + 4 * belief[-1] * graph.intercept).astype(np.float32)
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = X.shape[1]
        return self

    def _check_arguments(self) -> None:
        if self.n_clusters < 1 or self.nearest < 1 or self.neighbours < 1:
            raise ValueError("n_clusters, nearest and neighbours must be at least 1")
        if not (self.pseudo_count >= 0 and self.penalty > 0):
            raise ValueError("pseudo_count must be at least 0, penalty above 0")

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        rows, weight = clusters_near(self.centres_ @ x, self.nearest)
        z: Float32 = x @ self.weights_
        z += self.intercept_
        z += weight @ self.table_[rows]
        return clip01(sigmoid(z))

    def describe(self, x: Float32) -> dict[str, Any]:
        """The kinds that the prompt has edges to, heaviest first, with their weight, and the belief in each message."""
        rows, weight = clusters_near(self.centres_ @ x, self.nearest)
        order = np.argsort(-weight, kind="stable")
        return {
            "kinds": {int(rows[i]): round(float(weight[i]), 3) for i in order if weight[i] > 0},
            "belief": {name: round(float(b), 3) for name, b in zip(MESSAGES, self.belief_, strict=True)},
        }

    def check_state(self, n_features: int, n_models: int) -> None:
        self._check_arguments()
        check_array("belief", self.belief_, np.float32, (len(MESSAGES),))
        check_array("centres", self.centres_, np.float32, (None, n_features))
        check_array("table", self.table_, np.float32, (len(self.centres_), n_models))
        check_array("weights", self.weights_, np.float32, (n_features, n_models))
        check_array("intercept", self.intercept_, np.float32, (n_models,))


class _Graph:
    """What flows to kinds and features from some prompts' scores less their models' means, NaN where not recorded."""

    def __init__(self, router: GraphRouter, X: Float32, news: Float32) -> None:
        self.nearest = router.nearest
        rows = unit_rows(X)
        self.centres, _ = spherical_k_means(rows, min(router.n_clusters, len(X)), router.seed)
        known = ~np.isnan(news)
        filled = np.where(known, news, 0.0).astype(np.float64)
        sums, counts = np.zeros((len(self.centres), news.shape[1])), np.zeros((len(self.centres), news.shape[1]))
        member = (rows @ self.centres.T).argmax(axis=1)
        np.add.at(sums, member, filled)
        np.add.at(counts, member, known)
        kind = sums / np.maximum(counts + router.pseudo_count, 1e-6)
        kinds_alike = alike(self.centres.astype(np.float64), router.neighbours)
        profile = kind - kind.mean(axis=1, keepdims=True)
        models_alike = alike(profile.T / (np.linalg.norm(profile.T, axis=1, keepdims=True) + 1e-9), router.neighbours)
        self.tables = np.stack([kind, kind @ models_alike.T, kinds_alike @ kind, kinds_alike @ kind @ models_alike.T])
        self.weights, self.intercept, _ = fit_ridge(X, news, router.penalty)

    def messages(self, X: Float32) -> Float64:
        """What each prompt hears of each model, float64 (n, n_models, len(MESSAGES))."""
        out = np.empty((len(X), self.tables.shape[2], len(MESSAGES)))
        for row, x in enumerate(X):
            kinds, weight = clusters_near(self.centres @ x, self.nearest)
            out[row, :, :-1] = np.einsum("c,kcm->mk", weight, self.tables[:, kinds])
        out[:, :, -1] = X @ self.weights + self.intercept
        return out


def alike(unit: Float64, neighbours: int) -> Float64:
    """Edges between nodes with these unit rows (n, f): each to those of largest positive cosine but itself, (n, n), its
    weights summing to 1, or 0 where it has none."""
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    n = len(unit)
    if neighbours < n:
        smallest = np.partition(cosine, n - neighbours, axis=1)[:, n - neighbours]
        cosine = np.where(cosine >= smallest[:, None], cosine, 0.0)
    cosine = np.maximum(cosine, 0.0)
    total = cosine.sum(axis=1, keepdims=True)
    joined: Float64 = cosine / np.where(total > 0, total, 1.0)
    return joined


def weigh(heard: Float64, outcome: Float64, offset: Float64) -> tuple[Float64, float]:
    """Weights (k,), 0 or more, and a shift for which sigmoid(offset + heard (n, k) weights + shift) fits outcomes (n,)
    best; messages with a weight below 0 are left out one by one, the worst first."""
    active = list(range(heard.shape[1]))
    while True:
        A = np.concatenate([heard[:, active], np.ones((len(heard), 1))], axis=1)
        theta = fit_logistic(A, outcome, offset=offset, pull=1.0)
        if not active or theta[:-1].min() >= 0:
            break
        active.pop(int(theta[:-1].argmin()))
    weights = np.zeros(heard.shape[1])
    weights[active] = theta[:-1]
    return weights, float(theta[-1])
