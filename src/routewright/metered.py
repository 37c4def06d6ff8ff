"""What is paid by other units than tokens of text: pictures, seconds, characters, searches, requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from routewright.types import NUSD_PER_USD, Call, Deployment, Group, Outcome, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """How much of each kind a call asks for, or an answer has used."""

    images: int = 0
    image_kind: str = ""
    """`quality/WIDTHxHEIGHT`, by which pictures of some models are priced; empty where nobody said."""
    pixels: int = 0
    """Of all pictures together."""
    seconds: float = 0.0
    """Of sound that was listened to."""
    characters: int = 0
    """Of text that was spoken."""
    queries: int = 0
    """Searches, in the sense of the provider: one ranks up to a hundred documents."""
    requests: int = 0

    def known(self) -> dict[str, float]:
        """What there is any of, for the record."""
        amounts = {
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "characters": self.characters,
            "queries": self.queries,
            "requests": self.requests,
        }
        return {name: amount for name, amount in amounts.items() if amount}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPrices:
    """US dollars per unit; None where nobody has said."""

    per_image: Mapping[str, float] = field(default_factory=dict)
    """By `image_kind`; under "" what any other picture costs."""
    per_pixel: float | None = None
    per_second: float | None = None
    per_character: float | None = None
    per_query: float | None = None
    per_request: float | None = None
    image_input_per_token: float | None = None
    image_output_per_token: float | None = None

    def cost_nusd(self, units: Units) -> int | None:
        """Nano-dollars; None where no kind that was used has a price."""
        parts = [
            (units.images, self._of_image(units.image_kind)),
            (units.pixels, self.per_pixel),
            (units.seconds, self.per_second),
            (units.characters, self.per_character),
            (units.queries, self.per_query),
            (units.requests, self.per_request),
        ]
        priced = [amount * price for amount, price in parts if amount and price is not None]
        return ceil(sum(priced) * NUSD_PER_USD - 1e-6) if priced else None

    def _of_image(self, kind: str) -> float | None:
        return self.per_image.get(kind, self.per_image.get(""))


NO_UNITS = Units()
BATCH_SHARES = dict.fromkeys(("openai", "azure", "groq", "mistral"), 0.5)
"""Of the usual price, what a token costs in a batch, by the providers' price pages as of 2025-12; elsewhere all."""


class MeteredUsage(Usage):
    """Tokens where the provider told any, and other units beside them."""

    units: Units = NO_UNITS
    image_input_tokens: int = 0
    """Of the prompt."""
    image_output_tokens: int = 0
    """Of the answer."""

    def charge(self, outcome: Outcome) -> None:
        """Set what it cost: by tokens where there are some and they have a price, else by the other units."""
        if outcome.deployment is not None:
            self.charge_at(outcome, outcome.deployment)

    def charge_at(self, outcome: Outcome, deployment: Deployment) -> None:
        """The same by the prices of a deployment."""
        prices = deployment.units
        has_tokens = bool(self.prompt_tokens or self.completion_tokens)
        cost = prices.cost_nusd(self.units) if prices is not None else None
        if deployment.is_priced and has_tokens and cost is None:
            cost = deployment.cost_nusd(self)
            if prices is not None:
                cost += _more(self.image_input_tokens, self.prompt_tokens, prices.image_input_per_token,
                              deployment.input_nusd)  # fmt: skip
                cost += _more(self.image_output_tokens, self.completion_tokens, prices.image_output_per_token,
                              deployment.output_nusd)  # fmt: skip
        outcome.is_priced = cost is not None
        outcome.cost_nusd = cost or 0


class SearchedUsage(MeteredUsage):
    """Tokens of an answer for which the provider searched: searches are paid beside them."""

    def charge(self, outcome: Outcome) -> None:
        deployment = outcome.deployment
        if deployment is None:
            return
        searches = deployment.units.cost_nusd(self.units) if deployment.units is not None else None
        outcome.is_priced = deployment.is_priced or searches is not None
        outcome.cost_nusd = deployment.cost_nusd(self) + (searches or 0)


def _more(tokens: int, of: int, usd_per_token: float | None, usual_nusd: float) -> int:
    """How much some of the tokens cost beyond the usual price."""
    return 0 if usd_per_token is None else round(min(tokens, of) * (usd_per_token * NUSD_PER_USD - usual_nusd))


class MeteredCall(Call, eq=False):
    """A call that may be paid by other units."""

    units: Units = NO_UNITS
    """What it asks for at most, as far as it says."""

    def worst_nusd(self, group: Group) -> int:
        """What it may cost at the dearest deployment of a group."""
        return max([self.worst_at(deployment) for deployment in group.deployments], default=0)

    def worst_at(self, deployment: Deployment) -> int:
        """What it may cost at one of them."""
        prices = deployment.units
        cost = prices.cost_nusd(self.units) if prices is not None else None
        if cost is not None:
            return cost
        output_nusd = deployment.output_nusd
        if prices is not None and prices.image_output_per_token is not None:
            output_nusd = max(output_nusd, prices.image_output_per_token * NUSD_PER_USD)
        output = (self.max_tokens or 0) * self.n_choices
        return ceil(self.prompt_tokens_estimate * deployment.input_nusd + output * output_nusd)
