"""A conversation that goes on with another provider than it began with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.relay import request_json
from routewright.providers.histories import own_history, own_id
from values import HELLO, call, deployment

LONG = "call_resp-1_0__thought__" + "x" * 300
HISTORY: list[dict[str, Any]] = [
    *HELLO,
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
        "tool_calls": [{"id": LONG, "type": "function", "function": {"name": "now", "arguments": "{}"},
                        "provider_specific_fields": {"x": 1}}],
    },
    {"role": "tool", "tool_call_id": LONG, "content": "noon"},
]  # fmt: skip


@pytest.mark.parametrize("provider", ["openai", "azure", "mistral"])
def test_strict_provider_gets_no_foreign_field_and_ids_that_it_takes(provider: str) -> None:
    before = json.dumps(HISTORY)
    _, assistant, result = own_history(HISTORY, provider)
    [tool] = assistant["tool_calls"]
    assert set(assistant) == {"role", "content", "tool_calls"}
    assert set(tool) == {"id", "type", "function"}
    assert tool["id"] == result["tool_call_id"] == own_id(LONG, provider)
    assert len(tool["id"]) == 9 if provider == "mistral" else len(tool["id"]) <= 40
    assert json.dumps(HISTORY) == before


def test_others_get_it_as_it_is_and_so_does_a_history_of_their_own() -> None:
    assert own_history(HISTORY, "hosted_vllm") is HISTORY
    plain = [*HELLO, {"role": "assistant", "content": "x", "tool_calls": [{"id": "call_1"}, 5]}, {"role": "tool"}]
    assert own_history(plain, "openai") is plain


def test_next_candidate_still_reads_what_the_first_could_not() -> None:
    asked = call(messages=HISTORY)
    gpt = deployment()
    sent = request_json(gpt.exchanges["chat"].request_bytes(asked, gpt))
    assert "thinking_blocks" not in sent["messages"][1]
    claude = deployment(provider="anthropic", upstream_model="claude-opus-4-6")
    sent = request_json(claude.exchanges["chat"].request_bytes(asked, claude))
    assert sent["messages"][1]["content"][0]["type"] == "thinking"
