"""How long an answer will be, from the prompt: what the expected cost of a call rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Self

import numpy as np

from routewright.routing.linear import fit_ridge
from routewright.routing.router import Array, Float32, check_array

LEAST_RATIO: Final = 0.125
MOST_RATIO: Final = 8.0
"""No answer is expected to be shorter or longer than this many times its model's usual length."""
_OUTLIERS: Final = 0.995
"""Answers beyond this quantile count as if they were that long: one that ran into its limit says little of the rest."""


class AnswerLengths:
    """Expects of every model its usual length times 1 + share * wordiness(prompt), held within 1/8..8.

    wordiness is one number for a prompt, 0 on average and of variance 1: how much longer than usual answers to it are.
    share is how far a model goes along with it. One number for all models explained 0.277 of the lengths' variance
    where a regression for each model explained 0.287 (median of 20 models, out of fold), and costs one column of a
    table instead of one for each candidate.

    penalty: of the ridge regression.
    Learns direction_ float32 (n_features,), shift_ float32 (1,), shares_ float32 (n_models,).
    Source: reduced-rank regression, Izenman, J. Multivariate Analysis 5, 1975, at rank one.
    """

    arrays: ClassVar[tuple[str, ...]] = ("direction", "shift", "shares")
    direction_: Float32
    shift_: Float32
    shares_: Float32

    def __init__(self, *, penalty: float = 30.0) -> None:
        self.penalty = penalty

    def fit(self, X: Float32, out_tokens: Float32) -> Self:
        """Learn from X float32 (n, n_features) and out_tokens float32 (n, n_models), NaN where not recorded.

        A model without any recorded length gets the others' mean share. Raises ValueError where no length is recorded.
        """
        tokens = np.asarray(out_tokens, dtype=np.float64)
        has_any = np.flatnonzero(~np.isnan(tokens).all(axis=0))
        if not has_any.size:
            raise ValueError("no length of an answer is recorded")
        tokens = tokens[:, has_any]
        usual = np.maximum(np.nanmean(tokens, axis=0), 1.0)
        ratio = tokens / usual
        ratio = np.minimum(ratio, np.nanquantile(ratio, _OUTLIERS, axis=0))
        weights, _, _ = fit_ridge(X, ratio.astype(np.float32), self.penalty)
        # the leading axis of what the regression says of the training rows, not of its weights
        centre = X.mean(axis=0)
        said = (X - centre) @ weights
        _, _, axes = np.linalg.svd(said, full_matrices=False)
        axis = axes[0] if axes[0].sum() >= 0 else -axes[0]
        direction = weights @ axis
        spread = float(((X - centre) @ direction).std())
        self.direction_ = (direction / (spread or 1.0)).astype(np.float32)
        self.shift_ = np.array([centre @ self.direction_], dtype=np.float32)
        self.shares_ = np.full(out_tokens.shape[1], (axis * spread).mean(), dtype=np.float32)
        self.shares_[has_any] = axis * spread
        return self

    def wordiness(self, X: Float32) -> Float32:
        """float32 (n,) of vectors (n, n_features)."""
        wordiness: Float32 = (X @ self.direction_ - self.shift_[0]).astype(np.float32)
        return wordiness

    def ratios(self, wordiness: Float32) -> Float32:
        """Lengths as multiples of the usual ones, float32 (n, n_models), for wordiness (n,)."""
        ratios: Float32 = np.clip(1.0 + np.outer(wordiness, self.shares_), LEAST_RATIO, MOST_RATIO).astype(np.float32)
        return ratios

    # --- saving and loading ---------------------------------------------------------------------------------------

    def state(self) -> dict[str, Array]:
        """Learned arrays by name."""
        return {name: getattr(self, f"{name}_") for name in self.arrays}

    @classmethod
    def from_state(cls, arrays: Mapping[str, Array], *, n_features: int, n_models: int) -> Self:
        """What `state` was taken from. Raises ValueError naming the array that does not fit."""
        lengths = cls()
        for name, shape in (("direction", n_features), ("shift", 1), ("shares", n_models)):
            if name not in arrays:
                raise ValueError(f'array "lengths.{name}" is missing')
            check_array(f"lengths.{name}", arrays[name], np.float32, (shape,))
            setattr(lengths, f"{name}_", arrays[name])
        return lengths
