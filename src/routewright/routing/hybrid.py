"""Two models, a strong and a weak one: how much is gained on a prompt by asking the strong one."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

import numpy as np

from routewright.routing.router import (
    Float32,
    Int64,
    check_array,
    check_training_data,
    mean_known,
)
from routewright.routing.upon import RouterUpon

_NEARLY: Final = 0.1
"""A score that is lower by no more than this is as good, when a partner for the strong model is sought."""


class HybridRouter(RouterUpon):
    """Expects of the strong and of the weak model what its base does, and knows which gap a share of calls stands for.

    The strong model is the best on average; the weak one that with which a router that knew all scores would do as well
    at least cost. Any further model is rated 0.

    base, base_arguments: the router that estimates both; see `RouterUpon`.
    strong_share: share of requests that `predict` sends to the strong model, 0..1; below 0 `cost_weight` decides.
    cost_weight: quality given up per US dollar saved; 0 ignores cost.

    `threshold` says above which expected gap a share of prompts lies, by the quantiles of the training prompts: so a
    share of calls can be set without knowing the scores' scale.
    Learns pair_ int64 (2,), strong and weak, and quantiles_ (101,), the 0..100 % quantiles of the expected gap.
    Raises ValueError in `fit` when an argument is out of range, NotFitted when asked before.
    Source: Ding et al., "Hybrid LLM", ICLR 2024, arXiv:2404.14618; Ong et al., "RouteLLM", 2024, arXiv:2406.18665, for
    the threshold calibrated to a share of strong calls, and APGR and CPT, which `learning/metrics.py` measures. Theirs
    fine-tune an encoder to say whether the weak model suffices, at one quality gap; ours estimates both scores, so that
    one fit serves every threshold and price, and learns from prompts that only one of the two answered. To regress the
    gap itself, or that beside the mean of both, was no better.
    """

    name: ClassVar[str] = "hybrid"
    arguments: ClassVar[tuple[str, ...]] = (*RouterUpon.arguments, "strong_share", "cost_weight")
    arrays: ClassVar[tuple[str, ...]] = ("pair", "quantiles")
    pair_: Int64
    quantiles_: Float32

    def __init__(
        self,
        *,
        base: str = "mlp",
        base_arguments: str = "",
        strong_share: float = -1.0,
        cost_weight: float = 0.0,
    ) -> None:
        self.base = base
        self.base_arguments = base_arguments
        self.strong_share = strong_share
        self.cost_weight = cost_weight

    def fit(self, X: Float32, quality: Float32, cost_usd: Float32) -> Self:
        self._check_arguments()
        X, quality, cost_usd = check_training_data(X, quality, cost_usd)
        cost = mean_known(cost_usd)
        strong, weak = pair_of(quality, cost)
        two = [strong, weak]
        self.base_ = self.fit_base(X, quality[:, two], cost_usd[:, two])
        self.pair_ = np.array([strong, weak], dtype=np.int64)
        self.quantiles_ = np.zeros(101, dtype=np.float32)
        self.cost_usd_ = cost
        self.n_features_ = X.shape[1]
        gaps = [self.expected_gap(x) for x in X]
        self.quantiles_ = np.quantile(np.array(gaps), np.linspace(0, 1, 101)).astype(np.float32)
        return self

    def _check_arguments(self) -> None:
        if not self.strong_share <= 1:
            raise ValueError(f"strong_share must be at most 1, got {self.strong_share}")

    def expected_gap(self, x: Float32) -> float:
        """The strong model's expected score less the weak one's, -1..1."""
        self.check_is_fitted()
        strong, weak = self.base_.rate_one(x)
        return float(strong - weak)

    def threshold(self, share: float) -> float:
        """The expected gap above which a `share` (0..1) of prompts like the training ones lies."""
        self.check_is_fitted()
        return float(np.interp(1.0 - share, np.linspace(0, 1, 101), self.quantiles_))

    def rate_one(self, x: Float32) -> Float32:
        self.check_is_fitted()
        rated = np.zeros(len(self.cost_usd_), dtype=np.float32)
        rated[self.pair_] = self.base_.rate_one(x)
        return rated

    def predict(self, X: Float32) -> Int64:
        if self.strong_share < 0:
            return super().predict(X)
        gaps = np.array([self.expected_gap(x) for x in self.check_vectors(X)])
        is_strong = gaps >= self.threshold(self.strong_share)
        strong, weak = self.pair_
        chosen: Int64 = np.where(is_strong & (self.strong_share > 0), strong, weak)
        return chosen

    def describe(self, x: Float32) -> dict[str, Any]:
        """`expected_gap`, and the share of prompts with a larger one."""
        gap = self.expected_gap(x)
        share = 1.0 - float(np.searchsorted(self.quantiles_, gap)) / 101
        return {"expected_gap": round(gap, 4), "share_above": round(share, 2)}

    def check_state(self, n_features: int, n_models: int) -> None:
        self._check_arguments()
        check_array("pair", self.pair_, np.int64, (2,))
        check_array("quantiles", self.quantiles_, np.float32, (101,))
        if (self.pair_ < 0).any() or (self.pair_ >= n_models).any():
            raise ValueError(f'array "pair" must name two of {n_models} models')
        if (np.diff(self.quantiles_) < 0).any():
            raise ValueError('array "quantiles" must ascend')
        self.base_ = self.load_base(n_features)
        if self.base_.n_models != 2:
            raise ValueError(f'array "base.cost_usd" must be of 2 columns, is of {self.base_.n_models}')


def pair_of(quality: Float32, cost_usd: Float32) -> tuple[int, int]:
    """Numbers of the strong and the weak model, from scores (n, n_models), NaN where not recorded, and mean costs
    (n_models,). The same number twice where there is one model."""
    mean = mean_known(quality)
    strong = int(np.argmax(mean))
    found = (float("inf"), 0.0, strong)
    for weak in range(len(mean)):
        gap = quality[:, weak] - quality[:, strong]
        gap = gap[~np.isnan(gap)]
        if weak == strong:
            continue
        # never asked the same: as if their scores had nothing to do with each other
        apart = 1.0 - (1.0 - float(mean[weak])) * float(mean[strong])
        suffices = float((gap >= -_NEARLY).mean()) if gap.size else apart
        price = suffices * float(cost_usd[weak]) + (1 - suffices) * float(cost_usd[strong])
        found = min(found, (price, -float(mean[weak]), weak))
    return strong, found[2]
