"""One gateway with a model of each kind beside chat, and the answers of their scripted providers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.gateway import Gateway, base_config, deployment, running
from harness.taker import Taker
from harness.upstream import Upstream

NO_PRICE: dict[str, Any] = {"input_cost_per_token": None, "output_cost_per_token": None}
"""Left to the price lists."""


@pytest.fixture(scope="module")
def media(upstream: Upstream, taker: Taker) -> Iterator[Gateway]:
    config = base_config(upstream, router_settings={"num_retries": 0})
    for name, provider, model, more in (
        ("picture", "openai", "dall-e-3", {}),
        ("token-picture", "openai", "gpt-image-1", {}),
        ("own-priced-picture", "openai", "dall-e-9", {"output_cost_per_image": 0.07}),
        ("unpriced-picture", "openai", "dall-e-9", {}),
        ("voice", "openai", "tts-1", {}),
        ("token-voice", "openai", "gpt-4o-mini-tts", {}),
        ("judge", "openai", "omni-moderation-latest", {}),
        ("omni-moderation-latest", "openai", "omni-moderation-latest", {}),
        ("cohere-rank", "cohere", "rerank-v3.5", {}),
        ("jina-rank", "jina_ai", "jina-reranker-v2", {"input_cost_per_token": 2e-8, "output_cost_per_token": 0}),
        ("voyage-rank", "voyage", "rerank-2.5", {"input_cost_per_token": 5e-8, "output_cost_per_token": 0}),
        ("ears", "openai", "whisper-1", {"api_base": taker["ears"].api_base, "temperature": 0.5}),
        ("token-ears", "openai", "gpt-4o-transcribe", {"api_base": taker["token-ears"].api_base}),
        ("painter", "openai", "gpt-image-1", {"api_base": taker["painter"].api_base}),
        ("claude", "anthropic", "claude-sonnet-4-5", {}),
    ):
        entry = deployment(name, upstream, name, model=model, provider=provider, **{**NO_PRICE, **more})
        params = entry["litellm_params"]
        entry["litellm_params"] = {key: value for key, value in params.items() if value is not None}
        config["model_list"].append(entry)
    config["model_list"] += [
        deployment("two-voices", upstream, "voice-first", model="tts-1", order=1, **NO_PRICE),
        deployment("two-voices", upstream, "voice-second", model="tts-1", order=2, **NO_PRICE),
        *[
            deployment("two-ears", upstream, f"ears-{place}", model="whisper-1", order=place, api_base=base, **NO_PRICE)
            for place, base in ((1, "http://127.0.0.1:1/v1"), (2, taker["ears-second"].api_base))
        ],
    ]
    config["model_list"].insert(
        0, deployment("account", upstream, "account", model="gpt-4o", api_base=taker["account"].api_base)
    )
    config["keys"] += [
        {"key": "sk-poor-1", "alias": "poor", "max_budget": 0.05},
        {"key": "sk-one-picture", "alias": "one-picture", "max_budget": 0.05},
        {"key": "sk-five-seconds", "alias": "five-seconds", "max_budget": 0.0005},
        {"key": "sk-voice-only", "alias": "voice-only", "models": ["voice"]},
    ]
    with running(config) as started:
        yield started
