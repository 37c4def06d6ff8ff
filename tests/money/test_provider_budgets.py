"""What may be spent at a provider or a deployment: by whoever asks, over workers, and over a start."""

from __future__ import annotations

from typing import Any

import pytest

from harness import dialect
from harness.gateway import MASTER_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.wire import assert_error

PRICE = 1e-4
"""US dollars per output token; input is free, so an answer of ten tokens costs a tenth of a cent."""


def config(upstream: Upstream, **router_settings: Any) -> dict[str, Any]:
    made = base_config(upstream, router_settings={"num_retries": 0, **router_settings})
    prices = {"input_cost_per_token": 0, "output_cost_per_token": PRICE}
    made["model_list"] += [
        deployment("paid", upstream, "paid-groq", provider="groq", order=1, **prices),
        deployment("paid", upstream, "paid-mistral", provider="mistral", order=2, **prices),
        deployment("sole", upstream, "sole", provider="groq", **prices),
        deployment("capped", upstream, "capped", max_budget=0.0035, budget_duration="30d", **prices),
    ]
    for name in ("paid-groq", "paid-mistral", "sole", "capped"):
        upstream[name].forget()
        upstream[name].answers(body=dialect.chat_completion("hi", usage=dialect.usage(1, 10)))
    return made


def spend(gateway: Gateway, model: str, times: int, **fields: Any) -> list[int]:
    return [gateway.chat(model=model, max_tokens=10, **fields).status for _ in range(times)]


BUDGET = {"provider_budget_config": {"groq": {"budget_limit": 0.0035, "time_period": "30d"}}}


@pytest.mark.parametrize("workers", [1, 2])
def test_provider_over_its_budget_is_passed_over_and_stays_so_after_a_start(workers: int, upstream: Upstream) -> None:
    """Three answers of 0.1 cent fit into 0.35 cents; the fourth could not be paid, so it goes to the next provider."""
    with running(config(upstream, **BUDGET), workers=workers) as gateway:
        assert spend(gateway, "paid", 6) == [200] * 6
        assert (upstream["paid-groq"].hits, upstream["paid-mistral"].hits) == (3, 3)
        assert_error(gateway.chat(model="sole", max_tokens=10), 503, "upstream_unavailable")
        assert 1 <= int(gateway.chat(model="sole", max_tokens=10).headers["retry-after"]) <= 60
        assert_error(gateway.chat(model="sole", max_tokens=10, key=MASTER_KEY), 503, "upstream_unavailable")
        gateway.terminate()
        gateway.wait()
        gateway.start_again()
        assert spend(gateway, "paid", 2) == [200] * 2
        assert (upstream["paid-groq"].hits, upstream["paid-mistral"].hits) == (3, 5)


def test_deployment_has_a_budget_of_its_own_and_failures_cost_none_of_it(upstream: Upstream) -> None:
    with running(config(upstream)) as gateway:
        upstream["capped"].answers(500, dialect.openai_error("down"), times=4)
        assert spend(gateway, "capped", 4) == [502] * 4
        assert spend(gateway, "capped", 5) == [200, 200, 200, 503, 503]
        assert upstream["capped"].hits == 7
        fallback = gateway.chat(model="capped", max_tokens=10, fallbacks=["gpt-4o-mini"])
        assert fallback.text == "Hello from gpt-4o-mini"


def test_spend_of_a_provider_is_told_to_the_master(upstream: Upstream) -> None:
    """LiteLLM's `/provider/budgets`."""
    with running(config(upstream, **BUDGET)) as gateway:
        spend(gateway, "paid", 2)

        def told() -> Any:
            return gateway.request("GET", "/provider/budgets", key=MASTER_KEY).json["providers"]["groq"]

        eventually(lambda: told()["spend"] == pytest.approx(0.002), what="the spend of two answers")
        groq = told()
        assert (groq["budget_limit"], groq["time_period"]) == (0.0035, "30d")
        assert groq["budget_reset_at"].endswith("Z")
        assert gateway.request("GET", "/provider/budgets").status == 403
