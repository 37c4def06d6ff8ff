"""Models whose answers cost a known sum, and keys with budgets for so many of them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.gateway import base_config, deployment
from harness.upstream import Upstream

MAX_TOKENS = 100
ANSWER_USD = 1e-4
"""What an answer of MAX_TOKENS costs; prompts are free."""


def priced_config(upstream: Upstream, **sections: Any) -> dict[str, Any]:
    """`paid`: answers use all the tokens that were asked for."""
    config = base_config(upstream, **sections)
    config["model_list"].append(
        deployment("paid", upstream, "paid", input_cost_per_token=0, output_cost_per_token=ANSWER_USD / MAX_TOKENS)
    )
    return config


@pytest.fixture
def paid(upstream: Upstream) -> Any:
    """The upstream behind `paid`."""
    made = upstream["paid"]
    made.forget()
    return made
