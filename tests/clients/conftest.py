"""One gateway before a model of each dialect, every one of which an agent can work with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.agents import agents, work
from harness.gateway import Gateway, base_config, deployment, running
from harness.upstream import Upstream


@pytest.fixture(scope="session")
def spoken(upstream: Upstream) -> Iterator[Gateway]:
    config = base_config(upstream, router_settings={"num_retries": 0, "disable_cooldowns": True})
    config["model_list"] += [
        *agents(upstream),
        deployment("rank", upstream, "rank", provider="cohere", model="rerank-v3.5"),
    ]
    with running(config) as started:
        yield started


@pytest.fixture(autouse=True)
def _agents_at_work(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    work(upstream)
