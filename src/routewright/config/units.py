"""Prices by other units than tokens of text: LiteLLM's keys, what genai-prices says, and a few that it leaves out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from routewright.config.section import Section
from routewright.metered import UnitPrices

AS_OF = "2025-12"
"""Until when the providers' price pages were read for the table below."""
_PER_SEARCH = 0.002
_TABLE: dict[str, UnitPrices] = {
    "dall-e-3": UnitPrices(per_image={
        "standard/1024x1024": 0.04, "standard/1024x1792": 0.08, "standard/1792x1024": 0.08, "hd/1024x1024": 0.08,
        "hd/1024x1792": 0.12, "hd/1792x1024": 0.12, "": 0.12,
    }),
    "dall-e-2": UnitPrices(per_image={
        "standard/256x256": 0.016, "standard/512x512": 0.018, "standard/1024x1024": 0.02, "": 0.02,
    }),
    **dict.fromkeys(
        ("rerank-v3.5", "rerank-english-v3.0", "rerank-multilingual-v3.0", "rerank-v4.0-fast"),
        UnitPrices(per_query=_PER_SEARCH),
    ),
    **dict.fromkeys(
        ("omni-moderation-latest", "omni-moderation-2024-09-26", "text-moderation-latest", "text-moderation-stable"),
        UnitPrices(per_request=0.0),
    ),
}  # fmt: skip


def read_units(params: Section, info: Section) -> UnitPrices | None:
    """LiteLLM's keys, in `litellm_params` or `model_info`; None where none of them is set."""

    def cost(*keys: str, most: float = 100.0) -> float | None:
        found = [section.number(key, most=most) for key in keys for section in (params, info)]
        return next((value for value in found if value is not None), None)

    image = cost("output_cost_per_image", "input_cost_per_image")
    prices = UnitPrices(
        per_image={} if image is None else {"": image},
        per_pixel=cost("input_cost_per_pixel", "output_cost_per_pixel", most=1.0),
        per_second=cost("input_cost_per_second", "output_cost_per_second"),
        per_character=cost("input_cost_per_character", "output_cost_per_character", most=1.0),
        per_query=cost("input_cost_per_query"),
        per_request=cost("input_cost_per_request"),
        image_input_per_token=cost("input_cost_per_image_token", most=10.0),
        image_output_per_token=cost("output_cost_per_image_token", most=10.0),
    )
    return None if prices == UnitPrices() else prices


def units_in(prices: Any) -> UnitPrices | None:
    """Of a model's prices in genai-prices; None where it has tokens of text alone."""

    def usd(name: str, per: int) -> float | None:
        amount = getattr(prices, name, None)
        amount = getattr(amount, "base", amount)
        return float(amount / per) if isinstance(amount, Decimal) else None

    found = UnitPrices(
        per_second=usd("input_audio_hours", 3600) or usd("audio_hours", 3600),
        per_character=usd("input_mchars", 1_000_000),
        image_input_per_token=usd("input_image_mtok", 1_000_000),
        image_output_per_token=usd("output_image_mtok", 1_000_000),
    )
    return None if found == UnitPrices() else found


def units_of(model: str) -> UnitPrices | None:
    """What our table says of a model by its provider's name."""
    return _TABLE.get(model)
