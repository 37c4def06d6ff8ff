"""Golden bills: every kind of token at its own price, worked by hand."""

from __future__ import annotations

import pytest

from routewright.config.prices import look_up
from routewright.types import Price, Usage
from values import deployment

PLAIN = Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6)
FULL = Price(
    input_usd_per_token=1e-6,
    output_usd_per_token=4e-6,
    cached_input_usd_per_token=1e-7,
    cache_creation_usd_per_token=1.25e-6,
    reasoning_usd_per_token=5e-6,
    audio_input_usd_per_token=1e-5,
    audio_output_usd_per_token=2e-5,
)
K_NUSD = 1000


@pytest.mark.parametrize(
    ("usage", "bill_nusd"),
    [
        (Usage(100, 20), 100 * K_NUSD + 20 * 4 * K_NUSD),
        (Usage(100, 20, cached_tokens=60), 40 * K_NUSD + 60 * 100 + 80 * K_NUSD),
        (Usage(100, 20, cache_creation_tokens=60), 40 * K_NUSD + 60 * 1250 + 80 * K_NUSD),
        (Usage(100, 20, reasoning_tokens=15), 100 * K_NUSD + 5 * 4 * K_NUSD + 15 * 5 * K_NUSD),
        (Usage(100, 20, audio_input_tokens=10), 90 * K_NUSD + 10 * 10 * K_NUSD + 80 * K_NUSD),
        (Usage(100, 20, audio_output_tokens=10), 100 * K_NUSD + 10 * 4 * K_NUSD + 10 * 20 * K_NUSD),
        (
            Usage(100, 40, 30, 10, cache_creation_tokens=20, audio_input_tokens=10, audio_output_tokens=5),
            30 * 100 + 20 * 1250 + 10 * 10 * K_NUSD + 40 * K_NUSD + 10 * 5 * K_NUSD + 5 * 20 * K_NUSD + 25 * 4 * K_NUSD,
        ),
    ],
)
def test_each_kind_of_token_is_billed_at_its_own_price(usage: Usage, bill_nusd: int) -> None:
    """R28."""
    assert deployment("m", price=FULL).cost_nusd(usage) == bill_nusd


def test_kinds_without_a_price_of_their_own_cost_what_their_whole_costs() -> None:
    """R28: never nothing."""
    usage = Usage(100, 40, 30, 10, cache_creation_tokens=20, audio_input_tokens=10, audio_output_tokens=5)
    assert deployment("m", price=PLAIN).cost_nusd(usage) == 100 * K_NUSD + 40 * 4 * K_NUSD


def test_figures_that_exceed_their_whole_never_make_a_bill_negative() -> None:
    """T15: an upstream's figures are only believed as far as they fit."""
    wild = Usage(10, 5, 10**6, 10**6, cache_creation_tokens=10**6, audio_input_tokens=10**6, audio_output_tokens=10**6)
    assert deployment("m", price=FULL).cost_nusd(wild) == 10 * 100 + 5 * 5 * K_NUSD


def test_packaged_prices_know_the_cache_and_which_list_they_are_from() -> None:
    found = look_up("anthropic", "claude-sonnet-4-5")
    assert found is not None
    price = found[0]
    assert price.cached_input_usd_per_token == pytest.approx(3e-7)
    assert price.cache_creation_usd_per_token == pytest.approx(3.75e-6)
    assert price.version.startswith("genai-prices ")
    other = look_up("openai", "gpt-4o")
    assert other is not None
    assert other[0].version != price.version
