"""Dialects that nobody speaks are not imported; those that are wait for no request."""

from __future__ import annotations

from typing import Any

from harness.gateway import Gateway, base_config, deployment, running
from harness.upstream import Upstream

ASKED: dict[str, Any] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "/v1/responses": {"input": "hi"},
    "/v1/embeddings": {"input": "hi"},
}


def imported(gateway: Gateway) -> set[str]:
    """Modules of `providers` that any of its processes has imported so far. Python leaves out those that were asked for
    by name, and tells what these import in turn."""
    lines = [
        line.rpartition("|")[2].strip() for line in gateway.output().splitlines() if line.startswith("import time")
    ]
    return {line.removeprefix("routewright.providers.") for line in lines if line.startswith("routewright.providers.")}


def test_only_dialects_that_are_spoken_are_imported_and_before_the_first_request(upstream: Upstream) -> None:
    config = base_config(upstream)
    with running(config, environment={"PYTHONPROFILEIMPORTTIME": "1"}) as started:
        for path, body in ASKED.items():
            model = "embed" if path.endswith("embeddings") else "gpt-4o"
            assert started.request("POST", path, {"model": model, **body}).status == 200
        google = {"contents": [{"parts": [{"text": "hi"}]}]}
        assert started.request("POST", "/v1beta/models/gpt-4o:generateContent", google).status == 200
        others = ("anthropic", "bedrock", "cohere", "gemini", "ollama", "responses")
        found = imported(started)
        assert "openai" in found
        assert not [name for name in found if name.startswith(others)]

    config["model_list"].append(deployment("claude-*", upstream, "claude", provider="anthropic", model="claude-*"))
    with running(config, environment={"PYTHONPROFILEIMPORTTIME": "1"}) as started:
        at_start = imported(started)
        assert "anthropic_answers" in at_start
        assert started.chat("claude-opus-4-6").status == 200
        assert imported(started) == at_start
