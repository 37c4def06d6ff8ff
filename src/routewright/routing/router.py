"""The contract every router keeps: an estimator that rates models for prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Array = NDArray[Any]


class NotFitted(Exception):
    """A router was asked to predict before `fit`, or before it was loaded."""


class Router(ABC):
    """Rates models for requests, having learned what past requests cost and scored.

    The constructor stores its arguments, nothing else. What `fit` learned ends in `_`. `predict*` changes nothing.
    Subclasses list in `arrays` the learned arrays that make up their state, and learn `cost_usd_` (n_models,) too.
    """

    name: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]]
    """Names of the constructor's arguments, all of them numbers, booleans or strings."""
    arrays: ClassVar[tuple[str, ...]]
    """Names of the learned arrays, without the closing underscore."""

    learns_online: ClassVar[bool] = False
    """Does it take `update`?"""

    cost_weight: float = 0.0
    """Quality given up per US dollar saved, in `predict`; 0 ignores cost."""
    cost_usd_: Float32
    n_features_: int

    @abstractmethod
    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        """Learn from X float32 (n, n_features), quality 0..1 and cost_usd in USD, float32 (n, n_models).

        A score or cost that was not recorded is NaN. Raises ValueError for NaN in X, shapes that do not agree, no rows,
        a quality outside 0..1, or a model without a single score.
        """

    def fit_tasks(self, X: Float32, quality: Float32, cost_usd: Float32, tasks: Sequence[str]) -> Self:
        """`fit`, told what each row was a test of (an empty text: nobody knows); a router that makes no use of it fits.

        What is rated later comes without a task.
        """
        return self.fit(X, quality, cost_usd)

    @abstractmethod
    def rate_one(self, x: Float32) -> Float32:
        """Expected quality of each model, float32 (n_models,) within [0, 1], for one vector (n_features,)."""

    def rate_for(self, x: Float32, key: str) -> Float32:
        """As `rate_one`, for the caller of this key; all callers alike where the router does not tell them apart."""
        return self.rate_one(x)

    def log_odds(self) -> tuple[Float32, Float32] | None:
        """Weights (n_features, n_models) and intercept (n_models,) whose sigmoid is the rating; else None."""
        return None

    def predict_quality(self, X: Float32) -> Float32:
        """Expected quality, float32 (n, n_models).

        Row by row: the matrix product of a batch may round otherwise than that of a row, and a row must equal itself
        in any batch.
        """
        X = self.check_vectors(X)
        out = np.empty((len(X), len(self.cost_usd_)), dtype=np.float32)
        for row, x in enumerate(X):
            out[row] = self.rate_one(x)
        return out

    def predict(self, X: Float32) -> Int64:
        """Best model per row by quality minus weighted cost, int64 (n,)."""
        chosen: Int64 = np.argmax(self.predict_quality(X) - self.cost_weight * self.cost_usd_, axis=1)
        return chosen

    def update(self, x: Float32, model: int, reward: float, *, key: str = "") -> None:
        """Learn while serving: for the prompt x (n_features,) the model with this number earned `reward`, 0..1.

        key: who asked, for routers that tell callers apart. Later ratings and `state` differ; what was handed out
        before does not. Raises TypeError where `learns_online` is False, ValueError for a reward outside 0..1, a model
        that is not rated or a vector that is not finite or of another width; then nothing was learned.
        """
        raise TypeError(f'router "{self.name}" does not learn while serving')

    def check_reward(self, x: Float32, model: int, reward: float) -> Float32:
        """What `update` was given, checked: x as float32. Raises ValueError."""
        self.check_is_fitted()
        x = np.asarray(x, dtype=np.float32)
        if x.shape != (self.n_features_,) or not np.isfinite(x).all():
            raise ValueError(f"x must be finite, of shape ({self.n_features_},), got shape {x.shape}")
        if not 0 <= model < self.n_models:
            raise ValueError(f"model must lie in 0..{self.n_models - 1}, got {model}")
        if not 0.0 <= reward <= 1.0:
            raise ValueError(f"reward must lie in 0..1, got {reward}")
        return x

    @property
    def n_models(self) -> int:
        self.check_is_fitted()
        return len(self.cost_usd_)

    def check_vectors(self, X: Float32) -> Float32:
        """X as contiguous float32 (n, n_features). Raises NotFitted, or ValueError for another width or NaN."""
        self.check_is_fitted()
        X = np.ascontiguousarray(X, dtype=np.float32)
        if X.ndim != 2 or X.shape[1] != self.n_features_:
            raise ValueError(f"X must have shape (n, {self.n_features_}), got {X.shape}")
        if not np.isfinite(X).all():
            raise ValueError("X must be finite")
        return X

    def check_is_fitted(self) -> None:
        if not hasattr(self, "cost_usd_"):
            raise NotFitted(f"fit or load this {type(self).__name__} before asking it to predict")

    def describe(self, x: Float32) -> dict[str, Any]:
        """What the rating of one vector rests on, for people; empty where there is nothing to show."""
        return {}

    # --- saving and loading ---------------------------------------------------------------------------------------

    def params(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {argument: getattr(self, argument) for argument in self.arguments}

    def state(self) -> dict[str, Array]:
        """Learned arrays by name; with `params` all that `from_state` needs."""
        self.check_is_fitted()
        return {name: getattr(self, f"{name}_") for name in (*self.arrays, "cost_usd")}

    @classmethod
    def from_state(cls, params: Mapping[str, Any], arrays: Mapping[str, Array], *, n_features: int) -> Self:
        """The router that `params` and `state` were taken from. Raises ValueError naming what does not fit."""
        unknown = sorted(set(params) - set(cls.arguments))
        if unknown:
            raise ValueError(f'unknown argument "{unknown[0]}" of router "{cls.name}"')
        router = cls(**params)
        router.take_state(arrays)
        if router.cost_usd_.ndim != 1 or router.cost_usd_.dtype != np.float32 or not router.cost_usd_.size:
            raise ValueError('array "cost_usd" must be float32 (n_models,)')
        router.n_features_ = n_features
        router.check_state(n_features, len(router.cost_usd_))
        return router

    def take_state(self, arrays: Mapping[str, Array]) -> None:
        """Make loaded arrays one's own. Raises ValueError naming one that is missing."""
        for name in (*self.arrays, "cost_usd"):
            if name not in arrays:
                raise ValueError(f'array "{name}" is missing')
            setattr(self, f"{name}_", arrays[name])

    @abstractmethod
    def check_state(self, n_features: int, n_models: int) -> None:
        """Raise ValueError, naming the array, when a loaded array has the wrong dimensions; prepare `rate_one`."""


def check_array(name: str, array: Array, dtype: type, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless an array has this type and shape; None in `shape` allows any size of at least 1."""
    fits = array.ndim == len(shape) and all(
        size == want if want is not None else size >= 1 for size, want in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(
            f'array "{name}" must be {np.dtype(dtype).name} ({wanted}), is {array.dtype.name} {array.shape}'
        )


def check_training_data(X: Float32, quality: Float32, cost_usd: Float32) -> tuple[Float32, Float32, Float32]:
    """The three as fresh float32 arrays of agreeing shapes; ValueError says what is wrong."""
    X, quality, cost_usd = (np.array(a, dtype=np.float32, order="C") for a in (X, quality, cost_usd))
    if X.ndim != 2 or not len(X):
        raise ValueError(f"X must have shape (n, n_features) with n >= 1, got {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("X must be finite")
    if quality.ndim != 2 or len(quality) != len(X) or not quality.shape[1]:
        raise ValueError(f"quality must have shape ({len(X)}, n_models), got {quality.shape}")
    if cost_usd.shape != quality.shape:
        raise ValueError(f"cost_usd must have shape {quality.shape}, got {cost_usd.shape}")
    with np.errstate(invalid="ignore"):
        if np.isinf(quality).any() or (quality < 0).any() or (quality > 1).any():
            raise ValueError("quality must lie in 0..1 or be NaN")
        if np.isinf(cost_usd).any() or (cost_usd < 0).any():
            raise ValueError("cost_usd must be at least 0 or be NaN")
    unscored = np.flatnonzero(np.isnan(quality).all(axis=0))
    if unscored.size:
        raise ValueError(f"model {unscored[0]} (counted from 0) has no score at all")
    return X, quality, cost_usd


def mean_known(values: Float32) -> Float32:
    """Mean per column over what is known, float32 (n_columns,); 0 where nothing is."""
    known = ~np.isnan(values)
    sums = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64)
    means: Float32 = (sums / np.maximum(known.sum(axis=0), 1)).astype(np.float32)
    return means


def unit_rows(X: Float32) -> Float32:
    """Rows scaled to length 1; a row of zeros stays one."""
    length = np.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float64))
    unit: Float32 = (X / np.where(length > 0, length, 1.0)[:, None]).astype(np.float32)
    return unit


def clip01(scores: Float32) -> Float32:
    """Scores within [0, 1], in place."""
    np.maximum(scores, np.float32(0), out=scores)
    np.minimum(scores, np.float32(1), out=scores)
    return scores
