"""What models cost, from the genai-prices package: its tables lie in the package, nothing is fetched.

Importing it costs 70 ms and 7 MB where pydantic is loaded anyway (200 ms and 29 MB where not), so only a
configuration that leaves a price open does.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from routewright.config.units import units_in
from routewright.types import Price

TOKENS_PER_MTOK = 1_000_000
log = logging.getLogger("routewright")


def look_up(prices_as: str, model: str) -> tuple[Price, int | None] | None:
    """(price, context window in tokens) of a provider's model; None if the tables don't have it, or can't be read.

    Where a price depends on the prompt's length this is the price of short ones.
    """
    try:
        return _look_up(prices_as, model)
    except LookupError:
        return None
    except Exception as error:  # noqa: BLE001 - a table that is broken must not keep a gateway from answering
        log.warning("the price of %s can't be read (%s): it counts as unknown", model, type(error).__name__)
        return None


def _look_up(prices_as: str, model: str) -> tuple[Price, int | None] | None:
    # Here rather than above: the import's cost is only for those who need it.
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, found = get_snapshot().find_provider_model(model, None, prices_as, None)
        prices = found.get_prices(datetime.now(UTC))
    except AttributeError:  # what the package raises for a model without prices
        return None
    base, units = _per_token(prices.input_mtok), units_in(prices)
    if base is None and units is None:
        return None
    price = Price(
        input_usd_per_token=base,
        output_usd_per_token=_per_token(prices.output_mtok),
        cached_input_usd_per_token=_per_token(prices.cache_read_mtok),
        cache_creation_usd_per_token=_per_token(prices.cache_write_mtok),
        cache_creation_long_usd_per_token=_per_token(prices.cache_write_1h_mtok),
        audio_input_usd_per_token=_per_token(prices.input_audio_mtok),
        audio_output_usd_per_token=_per_token(prices.output_audio_mtok),
        units=units,
        source="genai-prices",
    )
    return with_version(price, f"genai-prices {version('genai-prices')}"), found.context_window


def with_version(price: Price, origin: str) -> Price:
    """`origin` and a digest of the figures: two records with the same version were priced alike."""
    figures = repr(
        (
            price.input_usd_per_token,
            price.output_usd_per_token,
            price.cached_input_usd_per_token,
            price.cache_creation_usd_per_token,
            price.cache_creation_long_usd_per_token,
            price.reasoning_usd_per_token,
            price.audio_input_usd_per_token,
            price.audio_output_usd_per_token,
            *(() if price.units is None else (price.units,)),
        )
    )
    return replace(price, version=f"{origin} {hashlib.sha256(figures.encode()).hexdigest()[:8]}")


def _per_token(per_mtok: Any) -> float | None:
    amount = getattr(per_mtok, "base", per_mtok)  # tiers
    return float(amount / TOKENS_PER_MTOK) if isinstance(amount, Decimal) else None
