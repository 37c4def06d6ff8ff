"""Nearest neighbours: a model is expected to do as it did on the most similar past requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.inverted import InvertedLists, check_lists, lists_for, sort_into_lists
from routewright.routing.linear import fit_ridge
from routewright.routing.router import (
    Array,
    Float32,
    Int64,
    Router,
    check_array,
    check_training_data,
    clip01,
    mean_known,
    unit_rows,
)

Float16 = NDArray[np.float16]
EXACT_ROWS: Final = 20_000
"""Up to so many rows are all looked at."""
PROBES: Final = 16
"""Lists that are looked through beyond; more finds more of the nearest and takes longer."""


class KNNRouter(Router):
    """Expects of a model the weighted mean quality it had on the most similar past requests.

    k: past requests consulted, at least 1; more is smoother. Never more than an eighth of those known (or ten), so
        that a small set is not averaged away.
    pseudo_count: neighbours' worth of weight given to the prior; more is more cautious.
    prior: `mean`, the model's mean score; or `linear`, ridge regression on the features, whose leave-one-out
        residuals the neighbours then average.
    penalty: of that ridge regression.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    Similarity is the cosine. Of the k neighbours the least similar has weight 0 (unless all are alike), the most
    similar 1, linearly between: the estimate does not jump when neighbours change places. The search is exact up to
    20,000 rows; beyond, it looks through the nearest of many lists of rows (`InvertedLists`), and rows and residuals
    are kept in half precision: a million rows of 75 features and 20 models make a file of 200 MB.

    seed: of the lists.
    Learns X_ (n_train, n_features) of unit rows, residual_ (n_train, n_models) with NaN where not recorded, the prior's
    weights_ (n_features, n_models) and intercept_ (n_models,); and centres_ (n_lists, n_features), starts_
    (n_lists + 1,) and order_ (n_train,), the training row that each row of X_ was, all empty where the search is exact.
    Raises ValueError in `fit` when an argument is out of range, NotFitted in `predict*`.
    Source: Hu et al., "RouterBench", 2024, arXiv:2403.12031, nearest-neighbour baseline; the prior, pseudo-counts and
    weights are ours: without them few neighbours are noise, and many are blind.
    """

    name: ClassVar[str] = "knn"
    arguments: ClassVar[tuple[str, ...]] = ("k", "pseudo_count", "prior", "penalty", "seed", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("X", "residual", "weights", "intercept", "centres", "starts", "order")
    X_: Float32 | Float16
    residual_: Float32 | Float16
    weights_: Float32
    intercept_: Float32
    centres_: Float32
    starts_: Int64
    order_: Int64

    def __init__(
        self,
        *,
        k: int = 300,
        pseudo_count: float = 15.0,
        prior: str = "mean",
        penalty: float = 30.0,
        seed: int = 0,
        cost_weight: float = 0.0,
    ) -> None:
        self.k = k
        self.pseudo_count = pseudo_count
        self.prior = prior
        self.penalty = penalty
        self.seed = seed
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        if not self.pseudo_count >= 0:
            raise ValueError(f"pseudo_count must be at least 0, got {self.pseudo_count}")
        if self.prior not in ("mean", "linear"):
            raise ValueError(f'prior must be "mean" or "linear", got "{self.prior}"')
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        if self.prior == "linear":
            self.weights_, self.intercept_, self.residual_ = fit_ridge(X, quality, self.penalty)
        else:
            self.intercept_ = mean_known(quality)
            self.weights_ = np.zeros((X.shape[1], quality.shape[1]), dtype=np.float32)
            self.residual_ = quality - self.intercept_
        self.X_ = unit_rows(X)
        self.order_ = np.zeros(0, dtype=np.int64)
        self.starts_ = np.zeros(0, dtype=np.int64)
        self.centres_ = np.zeros((0, X.shape[1]), dtype=np.float32)
        if len(X) > EXACT_ROWS:
            self.order_, self.starts_, self.centres_ = sort_into_lists(self.X_, lists_for(len(X)), self.seed)
            self.X_ = self.X_[self.order_].astype(np.float16)
            self.residual_ = self.residual_[self.order_].astype(np.float16)
        self.cost_usd_ = mean_known(cost_usd)
        self.n_features_ = X.shape[1]
        self._prepare()
        return self

    def _prepare(self) -> None:
        self._k = min(self.k, max(10, len(self.X_) // 8))
        self._is_linear = bool(self.weights_.any())
        known = ~np.isnan(self.residual_)
        self._filled = np.where(known, self.residual_, self.residual_.dtype.type(0))
        self._known = None if known.all() else known
        self._rows = self.X_.astype(np.float32, copy=False)
        self._lists = InvertedLists(self._rows, self.starts_, self.centres_, PROBES) if len(self.centres_) else None

    def nearest(self, x: Float32) -> tuple[Int64, Float32]:
        """Rows of X_ of the k most similar past requests and their similarity times |x|, in no order."""
        if self._lists is not None:
            return self._lists.search(x, self._k)
        similarity = self._rows @ x
        n = len(similarity)
        k = self._k
        if k >= n:
            return np.arange(n), similarity
        rows = np.argpartition(similarity, n - k)[n - k :]
        return rows, similarity[rows]

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        rows, similarity = self.nearest(x)
        weight = similarity - similarity.min()
        top = weight.max()
        weight = weight / top if top > 0 else np.ones_like(weight)
        total = weight @ self._filled[rows].astype(np.float32, copy=False)
        mass = weight.sum() if self._known is None else weight @ self._known[rows].astype(np.float32)
        mass = np.maximum(mass + np.float32(self.pseudo_count), np.float32(1e-6))
        total /= mass
        total += self.intercept_
        if self._is_linear:
            total += x @ self.weights_
        return clip01(total.astype(np.float32, copy=False))

    def describe(self, x: Float32) -> dict[str, Any]:
        """`rows`: the eight nearest past requests, nearest first, with their `similarity` (cosine)."""
        rows, similarity = self.nearest(x)
        order = np.argsort(-similarity, kind="stable")[:8]
        length = float(np.linalg.norm(x)) or 1.0
        return {
            "rows": [int(row) for row in (self.order_[rows[order]] if len(self.order_) else rows[order])],
            "similarity": [round(float(s) / length, 4) for s in similarity[order]],
        }

    def take_state(self, arrays: Mapping[str, Array]) -> None:
        """As the contract says; files of before there were lists have none."""
        if not any(name in arrays for name in ("centres", "starts", "order")):
            none = np.zeros(0, dtype=np.int64)
            width = arrays["X"].shape[-1] if "X" in arrays else 0
            arrays = {**arrays, "starts": none, "order": none, "centres": np.zeros((0, width), dtype=np.float32)}
        super().take_state(arrays)

    def check_state(self, n_features: int, n_models: int) -> None:
        check_lists(self.centres_, self.starts_, self.order_, n_rows=len(self.X_), n_features=n_features)
        dtype = np.float16 if len(self.centres_) else np.float32
        check_array("X", self.X_, dtype, (None, n_features))
        check_array("residual", self.residual_, dtype, (len(self.X_), n_models))
        check_array("weights", self.weights_, np.float32, (n_features, n_models))
        check_array("intercept", self.intercept_, np.float32, (n_models,))
        if not (isinstance(self.k, int) and self.k >= 1):
            raise ValueError('argument "k" must be a whole number of at least 1')
        if not (isinstance(self.pseudo_count, (int, float)) and self.pseudo_count >= 0):
            raise ValueError('argument "pseudo_count" must be a number of at least 0')
        self._prepare()
