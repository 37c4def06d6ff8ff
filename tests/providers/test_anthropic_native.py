"""Anthropic's clients at Anthropic: bytes pass as they came, the model's name and the credential are ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import anthropic
from harness.dialect import to_json
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import UpstreamBadResponse, UpstreamError
from routewright.providers.anthropic_native import betas
from routewright.types import Price
from values import deployment, messages_call

PRICE = Price(input_usd_per_token=3e-6, output_usd_per_token=15e-6, cached_input_usd_per_token=3e-7, source="config")
CLAUDE = deployment("public/claude", provider="anthropic", upstream_model="claude-opus-4-6", price=PRICE)


def answered(body: Any, **fields: Any) -> Relayed:
    return Relayed(messages_call(**fields), CLAUDE, [body if isinstance(body, bytes) else to_json(body)])


def streamed(packets: list[bytes]) -> Relayed:
    return Relayed(messages_call(stream=True), CLAUDE, packets)


# --- requests ------------------------------------------------------------------------------------------------------


def test_body_goes_on_as_it_came() -> None:
    """Fields that we don't know too: Anthropic judges them."""
    fields = {
        "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [{"role": "user", "content": [anthropic.text("hi"), {"type": "search_result", "source": "s"}]}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": []},
        "something_new": {"a": [1, None]},
        "stream": True,
    }
    request = CLAUDE.exchanges["messages"].request_bytes(messages_call(**fields), CLAUDE)
    assert head_lines(request)[0] == "POST /v1/messages HTTP/1.1"
    assert request_json(request) == {"model": "claude-opus-4-6", "max_tokens": 100, **fields}


def test_betas_go_by_a_list() -> None:
    """COMPAT 4: none that reaches into the account behind our credential."""
    asked = "claude-code-20250219,interleaved-thinking-2025-05-14,files-api-2025-04-14,fast-mode-2026-02-01, nonsense"
    assert betas(asked) == "interleaved-thinking-2025-05-14"
    call = messages_call(headers={"anthropic_beta": asked})
    lines = head_lines(CLAUDE.exchanges["messages"].request_bytes(call, CLAUDE))
    assert [line for line in lines if "anthropic-beta" in line] == ["anthropic-beta: interleaved-thinking-2025-05-14"]
    assert not betas(None)


def test_defaults_that_mean_the_same_here_hold() -> None:
    own = deployment(provider="anthropic", default_params={"temperature": 0.3, "seed": 7}, drop_params=("metadata",))
    call = messages_call(metadata={"user_id": "u"})
    body = request_json(own.exchanges["messages"].request_bytes(call, own))
    assert body["temperature"] == 0.3
    assert not {"seed", "metadata"} & set(body)


# --- answers -------------------------------------------------------------------------------------------------------


def test_answer_passes_with_our_name_of_the_model() -> None:
    figures = anthropic.usage(10, 40, cache_read_input_tokens=100)
    raw = to_json(anthropic.message(anthropic.THINKING, anthropic.TOOL_USE, stop_reason="tool_use", usage=figures))
    relayed = answered(raw)
    assert relayed.body == raw.replace(b'"model":"claude-upstream"', b'"model":"public/claude"')
    assert (relayed.usage.prompt_tokens, relayed.usage.cached_tokens) == (110, 100)
    assert relayed.outcome.cost_nusd == 10 * 3000 + 100 * 300 + 40 * 15000


def test_model_that_stands_twice_is_replaced_in_its_own_place() -> None:
    block = {"type": "tool_use", "id": "t", "name": "n", "input": {"model": "mine"}}
    answer = answered(anthropic.message(block)).json
    assert (answer["model"], answer["content"][0]["input"]) == ("public/claude", {"model": "mine"})


def test_answer_without_figures_gets_ours() -> None:
    """F8."""
    relayed = answered(anthropic.message(usage=...))
    assert relayed.usage.is_estimated
    assert relayed.json["usage"]["output_tokens"] == relayed.usage.completion_tokens > 0


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"type":"message"}', b'{"content":"x"}', b'{"content":["x"]}',
             to_json(anthropic.message())[:-3], to_json(anthropic.message()).replace(b"there", b"\xff")]
)  # fmt: skip
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    """F8."""
    assert type(answered(body).error) is UpstreamBadResponse


# --- streams -------------------------------------------------------------------------------------------------------


def test_events_pass_as_they_came() -> None:
    raw = b"".join(anthropic.every_event())
    relayed = streamed([raw])
    early_ping = anthropic.start(cache_read_input_tokens=100, cache_creation_input_tokens=20) + anthropic.PING
    expected = raw.replace(early_ping, early_ping.removesuffix(anthropic.PING), 1)  # a ping before any block
    assert relayed.body == expected.replace(b'"model":"claude-upstream"', b'"model":"public/claude"')
    usage = relayed.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (129, 40, 100)
    assert relayed.outcome.ended == "complete"


def test_same_stream_cut_at_every_byte_gives_the_same() -> None:
    """R29."""
    raw = b"".join(anthropic.every_event())
    expected = streamed([raw])
    for place in range(1, len(raw)):
        relayed = streamed([raw[:place], raw[place:]])
        assert relayed.body == expected.body, place
        assert relayed.usage == expected.usage


def test_stream_broken_off_at_every_byte_is_never_told_as_whole() -> None:
    """F9, R15, R16."""
    raw = b"".join(anthropic.message_events("The quick", " brown fox"))
    for place in range(len(raw)):
        relayed = Relayed(messages_call(stream=True), CLAUDE, [raw[:place], b""], breaks_off=True)
        if not relayed.sent:
            assert isinstance(relayed.error, UpstreamError)
            continue
        names = [name for name, _ in relayed.events]
        assert (names[0], names[-1]) == ("message_start", "error")
        assert "message_stop" not in names
        assert relayed.outcome.ended == "upstream_failed"
        assert relayed.usage.prompt_tokens == 9


def test_stream_that_ends_after_its_stop_reason_is_whole() -> None:
    relayed = streamed(anthropic.message_events("Hel", "lo")[:-1])
    assert relayed.events[-1][0] == "message_stop"
    assert relayed.outcome.ended == "complete"


def test_event_without_its_name_gets_it() -> None:
    raw = b"".join(anthropic.message_events("Hel", "lo"))
    nameless = b"".join(line + b"\n" for line in raw.split(b"\n")[:-1] if not line.startswith(b"event:"))
    assert [name for name, _ in streamed([nameless]).events][-2:] == ["message_delta", "message_stop"]


def test_error_before_the_first_block_can_be_answered_elsewhere() -> None:
    relayed = streamed([anthropic.start(), anthropic.PING, anthropic.error_event("overloaded_error")])
    assert type(relayed.error) is UpstreamError
    assert relayed.body == b""


JSONISH = st.none() | st.integers(-5, 10**12) | st.text(max_size=5) | st.just([]) | st.just({}) | st.just({"a": [1]})
EVENTS = anthropic.every_event()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_stream_ends_in_an_answer_or_an_error(data: st.DataObject) -> None:
    """F8: never an error of ours."""
    made = []
    for raw in data.draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=12)):
        value = json.loads(raw.partition(b"data: ")[2])
        if data.draw(st.booleans()):
            inner = data.draw(st.sampled_from([value, *(part for part in value.values() if isinstance(part, dict))]))
            if inner:
                inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSONISH)
        made.append(b"data: " + to_json(value) + b"\n\n")
    relayed = streamed([b"".join(made), b""])
    assert relayed.is_over


# --- counting ------------------------------------------------------------------------------------------------------


def test_count_is_asked_of_anthropic_and_costs_nothing() -> None:
    call = messages_call("count_tokens", max_tokens=..., system="x", temperature=0.5, stream=True)
    relayed = Relayed(call, CLAUDE, [b'{"input_tokens": 14}'])
    assert head_lines(relayed.request)[0] == "POST /v1/messages/count_tokens HTTP/1.1"
    assert set(request_json(relayed)) == {"model", "messages", "system"}
    assert relayed.json == {"input_tokens": 14}
    assert relayed.outcome.cost_nusd == 0
    assert relayed.usage.prompt_tokens == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"input_tokens":-1}', b'{"input_tokens":"5"}'])
def test_count_that_is_none_is_a_bad_response(body: bytes) -> None:
    assert type(Relayed(messages_call("count_tokens"), CLAUDE, [body]).error) is UpstreamBadResponse


def test_other_providers_count_by_the_estimate() -> None:
    gpt = deployment()
    call = messages_call("count_tokens")
    exchange = gpt.exchanges["count_tokens"]
    assert exchange.request_bytes(call, gpt) == b""
    body, usage = exchange.read_answer(b"", call, gpt)
    assert json.loads(body) == {"input_tokens": call.prompt_tokens_estimate}
    assert usage.prompt_tokens == 0
