"""A cap binds the fallbacks of a route as it binds its candidates: what should cost or take more is not asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from routewright.types import NUSD_PER_USD, Call, Candidates, Caps, Group, Rating


def keep_within(candidates: Candidates, caps: Caps, call: Call, rating: Rating, usual_tokens: float) -> None:
    """Take out of the fallbacks what is not expected to answer within `caps`.

    usual_tokens: of an answer, for models that the route's router does not rate; those that it does cost what it says.
    A model without a price or a known pace is held back by nothing.
    """
    rated = {group.name: cost for group, cost in zip(candidates.groups, rating.costs_usd, strict=True)}
    tokens = usual_tokens if call.max_tokens is None else min(usual_tokens, call.max_tokens)

    def fits(group: Group) -> bool:
        if caps.max_cost_usd is not None:
            cost_usd = rated.get(group.name)
            if cost_usd is None:
                nusd = call.prompt_tokens_estimate * _dearest(group, lambda each: each.input_nusd)
                cost_usd = (nusd + tokens * _dearest(group, lambda each: each.output_nusd)) / NUSD_PER_USD
            if cost_usd > caps.max_cost_usd:
                return False
        return caps.max_latency_s is None or tokens * pace(group) <= caps.max_latency_s

    for name in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        groups: Sequence[Group] = getattr(candidates, name)
        if groups:
            setattr(candidates, name, [group for group in groups if fits(group)])


def pace(group: Group) -> float:
    """Seconds per output token of the quickest deployment that has answered lately; 0 where none has."""
    return min((each.health.pace_s for each in group.deployments if each.health.pace_s), default=0.0)


def _dearest(group: Group, price: Callable[..., float]) -> float:
    return max((price(each) for each in group.deployments), default=0.0)
