"""RouterDC's encoder: prompts and models in one space, by two contrasts."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np

from routewright.routing.features.trained import TrainedFeatures
from routewright.routing.router import Float32

_ROUNDS: Final = 20


class RouterDCFeatures(TrainedFeatures):
    """Cosines of a prompt's row and the models' rows; see `TrainedFeatures`.

    n_best, n_worst: models that a prompt is drawn to, and pushed from: those of the highest scores, and of the lowest
    among those below one half. n_groups: of prompts, by k-means on the untrained encoder's rows. group_weight: of the
    second contrast. temperature: that similarities are divided by.

    The first contrast draws a prompt to the models that answered it best and pushes it from those that answered worst;
    the second draws it to one of the batch's prompts of its group and pushes it from those of others.

    Departs from the paper: groups by k-means without t-SNE before it; a temperature below 1; the rows' mean is pooled,
    as the base models that fit a router file were trained for; one negative a batch and group is not drawn, all are
    used; a model that did no better than a negative is no positive. Models whose score was not recorded take no part.
    Source: Chen et al., 2024, arXiv:2409.19886, section 3; `shuhao02/RouterDC`.
    """

    name: ClassVar[str] = "routerdc"
    arguments: ClassVar[tuple[str, ...]] = (
        *TrainedFeatures.arguments,
        "n_best",
        "n_worst",
        "n_groups",
        "group_weight",
        "temperature",
    )

    def __init__(
        self,
        *,
        epochs: int = 2,
        batch_size_fit: int = 32,
        learning_rate: float = 5e-5,
        max_tokens: int = 128,
        seed: int = 0,
        n_best: int = 3,
        n_worst: int = 3,
        n_groups: int = 5,
        group_weight: float = 1.0,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(
            epochs=epochs,
            batch_size_fit=batch_size_fit,
            learning_rate=learning_rate,
            max_tokens=max_tokens,
            seed=seed,
        )
        self.n_best = n_best
        self.n_worst = n_worst
        self.n_groups = n_groups
        self.group_weight = group_weight
        self.temperature = temperature

    def pool(self, states: Any, mask: Any) -> Any:
        """The mean over the text's tokens."""
        weight = mask.unsqueeze(-1).to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1).clamp(min=1.0)

    def columns(self, rows: Any, head: Any) -> Any:
        """Cosines."""
        unit = self._torch.nn.functional.normalize
        return unit(rows, dim=-1) @ unit(head, dim=-1).T

    def loss(self, rows: Any, head: Any, quality: Any, groups: Any) -> Any:
        """Both contrasts."""
        return self.model_loss(self.columns(rows, head), quality) + self.group_weight * self.group_loss(rows, groups)

    def model_loss(self, cosines: Any, quality: Any) -> Any:
        """Prompt against models: the mean over prompts of the sum over the best of -log share, as in the paper."""
        torch = self._torch
        scaled = cosines / self.temperature
        known = ~torch.isnan(quality)
        low = torch.where(known, quality, torch.full_like(quality, -torch.inf))
        high = torch.where(known, quality, torch.full_like(quality, torch.inf))
        n = quality.shape[1]
        best_score, best = low.topk(min(self.n_best, n), dim=1)
        worst_score, worst = high.topk(min(self.n_worst, n), dim=1, largest=False)
        is_worst = worst_score < 0.5
        negative = scaled.gather(1, worst).masked_fill(~is_worst, -torch.inf)
        positive = scaled.gather(1, best)
        # a model is no positive where it answered no better than one that it would be set against
        counts = best_score > worst_score.masked_fill(~is_worst, -torch.inf).max(1, keepdim=True).values
        counts &= is_worst.any(1, keepdim=True)
        together = torch.logsumexp(torch.cat([positive.unsqueeze(2), negative.unsqueeze(1).expand(
            -1, positive.shape[1], -1)], dim=2), dim=2)  # fmt: skip
        losses = torch.where(counts, together - positive, torch.zeros_like(positive))
        return losses.sum(1).mean()

    def group_loss(self, rows: Any, groups: Any) -> Any:
        """Prompt against prompts of the same batch."""
        torch = self._torch
        unit = torch.nn.functional.normalize(rows, dim=-1)
        scaled = unit @ unit.T / self.temperature
        same = groups.unsqueeze(0) == groups.unsqueeze(1)
        itself = torch.eye(len(rows), dtype=torch.bool)
        friends = same & ~itself
        usable = friends.any(1) & (~same).any(1)
        if not bool(usable.any()):
            return scaled.sum() * 0.0
        # the next one of its group in the batch, which is in random order
        place = torch.arange(len(rows))
        friend = ((place[None, :] - place[:, None]) % len(rows)).masked_fill(~friends, len(rows)).argmin(1)
        positive = scaled.gather(1, friend.unsqueeze(1)).squeeze(1)
        negative = torch.logsumexp(scaled.masked_fill(same, -torch.inf), dim=1)
        losses = torch.logaddexp(positive, negative) - positive
        return losses[usable].mean()

    def group(self, rows: Float32) -> Any:
        """By k-means on unit rows."""
        unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        rng = np.random.default_rng(self.seed)
        centres = unit[rng.permutation(len(unit))[: self.n_groups]]
        nearest = np.zeros(len(unit), dtype=np.int64)
        for _ in range(_ROUNDS):
            nearest = (unit @ centres.T).argmax(axis=1)
            sums = np.stack([unit[nearest == k].sum(axis=0) for k in range(len(centres))])
            length = np.linalg.norm(sums, axis=1, keepdims=True)
            centres = np.where(length > 0, sums / np.maximum(length, 1e-9), centres)
        return self._torch.from_numpy(nearest.astype(np.int64))
