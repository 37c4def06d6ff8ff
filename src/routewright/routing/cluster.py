"""Clusters of past requests, with a table of how each model did in each of them."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

import numpy as np

from routewright.routing.kmeans import clusters_near, nearest_centres, spherical_k_means, sum_by
from routewright.routing.linear import fit_ridge
from routewright.routing.router import (
    Float32,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
    unit_rows,
)

_MOST_ROWS: Final = 100_000
"""Rows that centres are learned from; the table is made of all."""


class ClusterRouter(Router):
    """Expects of a model the mean quality it had in the clusters that a request falls into.

    n_clusters: clusters, at least 1 (as many as training rows where there are fewer).
    nearest: clusters consulted, weighted from 1 for the nearest down to 0 beyond the last.
    pseudo_count: requests' worth of weight given to the prior in each cluster; more is more cautious.
    prior: `mean` or `linear`, as in `KNNRouter`.
    penalty: of the linear prior.
    seed: of the first centres.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    Learns centres_ (n_clusters, n_features), sizes_ (n_clusters,), table_ (n_clusters, n_models) of shrunk residuals,
    weights_ (n_features, n_models), intercept_ (n_models,).
    Source: Jitkrittum et al., "Universal model routing", 2025, arXiv:2502.08773 (cluster tables); shrinkage, blending
    of neighbouring clusters and the linear prior are ours.
    """

    name: ClassVar[str] = "cluster"
    arguments: ClassVar[tuple[str, ...]] = (
        "n_clusters",
        "nearest",
        "pseudo_count",
        "prior",
        "penalty",
        "seed",
        "cost_weight",
    )
    arrays: ClassVar[tuple[str, ...]] = ("centres", "sizes", "table", "weights", "intercept")
    centres_: Float32
    sizes_: Float32
    table_: Float32
    weights_: Float32
    intercept_: Float32

    def __init__(
        self,
        *,
        n_clusters: int = 128,
        nearest: int = 8,
        pseudo_count: float = 20.0,
        prior: str = "linear",
        penalty: float = 30.0,
        seed: int = 0,
        cost_weight: float = 0.0,
    ) -> None:
        self.n_clusters = n_clusters
        self.nearest = nearest
        self.pseudo_count = pseudo_count
        self.prior = prior
        self.penalty = penalty
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        if self.n_clusters < 1 or self.nearest < 1:
            raise ValueError("n_clusters and nearest must be at least 1")
        if not self.pseudo_count >= 0:
            raise ValueError(f"pseudo_count must be at least 0, got {self.pseudo_count}")
        if self.prior not in ("mean", "linear"):
            raise ValueError(f'prior must be "mean" or "linear", got "{self.prior}"')
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        if self.prior == "linear":
            self.weights_, self.intercept_, residual = fit_ridge(X, quality, self.penalty)
        else:
            self.intercept_ = mean_known(quality)
            self.weights_ = np.zeros((X.shape[1], quality.shape[1]), dtype=np.float32)
            residual = quality - self.intercept_
        rows = unit_rows(X)
        n_clusters = min(self.n_clusters, len(X))
        sample = rows
        if len(rows) > _MOST_ROWS:
            sample = rows[np.sort(np.random.default_rng(self.seed).permutation(len(rows))[:_MOST_ROWS])]
        self.centres_, self.sizes_ = spherical_k_means(sample, n_clusters, self.seed)
        member = nearest_centres(rows, self.centres_)
        if sample is not rows:
            self.sizes_ = np.bincount(member, minlength=n_clusters).astype(np.float32)
        known = ~np.isnan(residual)
        sums = sum_by(np.where(known, residual, np.float32(0)), member, n_clusters)
        counts = sum_by(known.astype(np.float32), member, n_clusters)
        self.table_ = (sums / np.maximum(counts + self.pseudo_count, 1e-6)).astype(np.float32)
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = X.shape[1]
        return self

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        rows, weight = clusters_near(self.centres_ @ x, self.nearest)
        local = weight @ self.table_[rows]
        return clip01((x @ self.weights_ + self.intercept_ + local).astype(np.float32, copy=False))

    def describe(self, x: Float32) -> dict[str, Any]:
        """`cluster`: number of the nearest cluster, its `size` in training requests, and the `similarity` (cosine)."""
        similarity = self.centres_ @ x
        nearest = int(similarity.argmax())
        length = float(np.linalg.norm(x)) or 1.0
        return {
            "cluster": nearest,
            "size": int(self.sizes_[nearest]),
            "similarity": round(float(similarity[nearest]) / length, 4),
        }

    def check_state(self, n_features: int, n_models: int) -> None:
        check_array("centres", self.centres_, np.float32, (None, n_features))
        n_clusters = len(self.centres_)
        check_array("sizes", self.sizes_, np.float32, (n_clusters,))
        check_array("table", self.table_, np.float32, (n_clusters, n_models))
        check_array("weights", self.weights_, np.float32, (n_features, n_models))
        check_array("intercept", self.intercept_, np.float32, (n_models,))
        if not (isinstance(self.nearest, int) and self.nearest >= 1):
            raise ValueError('argument "nearest" must be a whole number of at least 1')
