"""Models whose answers cost a known sum, and keys with budgets for so many of them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.gateway import Gateway, base_config, deployment, eventually
from harness.upstream import Upstream
from harness.wire import secret

MAX_TOKENS = 100
ANSWER_USD = 1e-4
"""What an answer of MAX_TOKENS costs; prompts are free."""


WARM_KEY = secret("warm")


def wait_for_the_ledger(gateway: Gateway) -> None:
    """Its process is there and answers. On a busy machine its start takes a while, and no test is about that."""
    eventually(lambda: gateway.chat("gpt-4o", key=WARM_KEY, timeout_s=100).status == 200, within_s=100)


def priced_config(upstream: Upstream, **sections: Any) -> dict[str, Any]:
    """`paid`: answers use all the tokens that were asked for."""
    config = base_config(upstream, **sections)
    config["model_list"].append(
        deployment("paid", upstream, "paid", input_cost_per_token=0, output_cost_per_token=ANSWER_USD / MAX_TOKENS)
    )
    config["keys"].append({"key": WARM_KEY, "alias": "warm", "max_budget": 1000.0})
    return config


@pytest.fixture
def paid(upstream: Upstream) -> Any:
    """The upstream behind `paid`."""
    made = upstream["paid"]
    made.forget()
    return made
