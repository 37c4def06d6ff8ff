"""One gateway in front of two accounts, and keys that may and may not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.accounts import Accounts
from harness.gateway import Gateway, base_config, deployment, running
from harness.upstream import Upstream
from harness.wire import secret

LISTED_KEY, POOR_KEY, GUARDED_KEY, SLOW_KEY = "sk-listed", "sk-poor", "sk-guarded", "sk-slow"
MASKED_KEY, HEARD_KEY = "sk-masked", "sk-heard"


@pytest.fixture(scope="module")
def owning(upstream: Upstream, accounts: Accounts) -> Iterator[Gateway]:
    config = base_config(upstream)
    config["model_list"] = [
        deployment("cheap", upstream, "one", model="gpt-4o-mini", api_base=accounts["one"].api_base, temperature=0.5),
        deployment("dear", upstream, "two", model="gpt-4o", api_base=accounts["two"].api_base,
                   model_info={"mode": "batch"}, output_cost_per_token_batches=3e-6),
        deployment("claude", upstream, "claude", model="claude-sonnet-4-5", provider="anthropic"),
        deployment("chat", upstream, "chat", model="gpt-4o"),
        *[deployment("both", upstream, name, model="gpt-4o", api_base=accounts[name].api_base)
          for name in ("one", "two")],
        deployment("thinks", upstream, "one", model="gpt-5", api_base=accounts["one"].api_base,
                   model_info={"mode": "responses"}),
    ]  # fmt: skip
    config["files_settings"] = [
        {"custom_llm_provider": "openai", "api_base": accounts["spare"].api_base, "api_key": secret("spare")}
    ]
    config["routes"] = {"auto": {"candidates": ["chat"]}, "wide": {"candidates": ["chat", "both"]}}
    config["keys"] = [
        config["keys"][0],
        {"key": LISTED_KEY, "alias": "listed", "models": ["dear"]},
        {"key": POOR_KEY, "alias": "poor", "max_budget": 0.001},
        {"key": GUARDED_KEY, "alias": "guarded", "guardrails": ["no-secrets"]},
        {"key": MASKED_KEY, "alias": "masked", "guardrails": ["mask-people"]},
        {"key": HEARD_KEY, "alias": "heard", "guardrails": ["mask-answers"]},
        {"key": SLOW_KEY, "alias": "slow", "rpm_limit": 2},
    ]
    config["guardrails"] = [
        {"guardrail_name": "no-secrets", "litellm_params": {"guardrail": "secrets", "mode": "pre_call"}},
        {"guardrail_name": "mask-people", "litellm_params": {"guardrail": "pii", "mode": "pre_call"}},
        {"guardrail_name": "mask-answers", "litellm_params": {"guardrail": "pii", "mode": "post_call"}},
    ]
    with running(config) as started:
        yield started
