"""A causal language model that scores every model after the prompt's last token."""

from __future__ import annotations

from typing import Any, ClassVar

from routewright.routing.features.trained import TrainedFeatures


class CausalLMFeatures(TrainedFeatures):
    """Log-odds of each model by a linear head on the last token's state; see `TrainedFeatures`.

    Trained by cross-entropy against the scores themselves, which may lie anywhere in 0..1; scores that were not
    recorded take no part.
    """

    name: ClassVar[str] = "causallm"

    def pool(self, states: Any, mask: Any) -> Any:
        """The last token, which has seen all others."""
        last = mask.sum(1) - 1
        return states[self._torch.arange(len(states)), last]

    def columns(self, rows: Any, head: Any) -> Any:
        """Log-odds."""
        return rows @ head.T

    def loss(self, rows: Any, head: Any, quality: Any, groups: Any) -> Any:
        """Cross-entropy over what was recorded."""
        torch = self._torch
        known = ~torch.isnan(quality)
        said = self.columns(rows, head)
        target = torch.where(known, quality, torch.zeros_like(quality))
        losses = torch.nn.functional.binary_cross_entropy_with_logits(said, target, reduction="none")
        return (losses * known).sum() / known.sum().clamp(min=1)
