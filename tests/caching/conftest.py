"""A gateway with a cache, in front of one model of each dialect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.gateway import Gateway, base_config, deployment, running
from harness.upstream import Upstream
from harness.wire import secret

OTHER_KEY = secret("other-tenant")
BOUND_KEY = secret("bound-controls")


def models(upstream: Upstream) -> list[dict[str, Any]]:
    return [
        deployment("claude", upstream, "claude", provider="anthropic", model="claude-opus-4-6"),
        deployment("gemini", upstream, "gemini", provider="gemini", model="gemini-2.5-flash"),
        deployment("shaky", upstream, "shaky", num_retries=0),
        deployment("shaky-first", upstream, "shaky", num_retries=0),
    ]


@pytest.fixture(scope="module")
def cached(upstream: Upstream) -> Iterator[Gateway]:
    config = base_config(
        upstream,
        general_settings={"allow_mock_response": True},
        litellm_settings={"cache": True, "cache_params": {"type": "local", "ttl": 300, "max_entry_kb": 64}},
        router_settings={"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"shaky-first": ["gpt-4o"]}]},
    )
    config["model_list"] += models(upstream)
    config["keys"] += [
        {"key": OTHER_KEY, "alias": "other"},
        {"key": BOUND_KEY, "alias": "bound", "allowed_cache_controls": ["ttl"]},
    ]
    with running(config) as started:
        yield started


@pytest.fixture
def up(upstream: Upstream) -> Iterator[Upstream]:
    """The upstream with nothing in its logs."""
    names = ("gpt-4o", "gpt-4o-mini", "claude", "gemini", "shaky", "embed")
    for name in names:
        upstream[name].forget()
    yield upstream
    for name in names:
        upstream[name].forget()
