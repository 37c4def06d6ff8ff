"""Anthropic's Messages as an upstream: a chat request of OpenAI's to a request of theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import anthropic
from harness.relay import head_lines, request_json
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.providers.anthropic import JSON_TOOL, model_version
from routewright.types import Secret
from values import HELLO, call, deployment

MODEL = "claude-opus-4-6"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def sent(model: str = MODEL, drops: bool = False, **fields: Any) -> dict[str, Any]:
    """The JSON that goes upstream for a chat request."""
    return request_json(sent_bytes(model, drops, **fields))


def sent_bytes(model: str = MODEL, drops: bool = False, **fields: Any) -> bytes:
    claude = claude_deployment(upstream_model=model, drops_unsupported=drops)
    return claude.exchanges["chat"].request_bytes(call(**fields), claude)


def claude_deployment(**changed: Any):
    return deployment("claude", **{"provider": "anthropic", "upstream_model": MODEL, **changed})


def refused(model: str = MODEL, **fields: Any) -> str | None:
    """The field that can't be carried over; with drop_params the request goes."""
    with pytest.raises(UnsupportedField) as caught:
        sent(model, **fields)
    assert (caught.value.status, caught.value.code, caught.value.try_next) == (400, "unsupported_parameter", True)
    return caught.value.param


# --- head ----------------------------------------------------------------------------------------------------------


def test_head_has_path_version_and_key() -> None:
    own = claude_deployment(
        api_base="https://api.anthropic.com/v1", extra_headers=(("anthropic-beta", "x-2025-01-01"),)
    )
    lines = head_lines(own.exchanges["chat"].request_bytes(call(), own))
    assert lines[0] == "POST /v1/messages HTTP/1.1"
    assert {
        "host: api.anthropic.com",
        "x-api-key: sk-upstream-credential",
        "anthropic-version: 2023-06-01",
        "anthropic-beta: x-2025-01-01",
        "content-type: application/json",
    } <= set(lines)
    assert not any("authorization" in line.lower() for line in lines)


def test_configured_version_stands_instead_of_ours() -> None:
    own = claude_deployment(extra_headers=(("Anthropic-Version", "2024-01-01"), ("x-secret", Secret("s"))))
    lines = head_lines(own.exchanges["chat"].request_bytes(call(), own))
    assert [line for line in lines if line.lower().startswith("anthropic-version")] == ["Anthropic-Version: 2024-01-01"]
    assert "x-secret: s" in lines


# --- messages ------------------------------------------------------------------------------------------------------


def test_smallest_request() -> None:
    assert sent() == {
        "model": MODEL,
        "max_tokens": 32_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    assert sent(stream=True)["stream"] is True


def test_system_and_developer_messages_stand_apart() -> None:
    body = sent(messages=[{"role": "system", "content": "Be brief."}, *HELLO])
    assert body["system"] == "Be brief."
    assert len(body["messages"]) == 1
    cached = {"type": "ephemeral"}
    body = sent(
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "Long", "cache_control": cached}]},
            *HELLO,
            {"role": "system", "content": "Now rhyme."},
        ]
    )
    assert body["system"] == [
        {"type": "text", "text": "Long", "cache_control": cached},
        {"type": "text", "text": "Now rhyme."},
    ]


def test_images_and_documents() -> None:
    parts = [
        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "high"}},
        {"type": "image_url", "image_url": "https://example.com/cat.jpg"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
    ]
    [turn] = sent(messages=[{"role": "user", "content": parts}])["messages"]
    assert turn["content"] == [
        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.jpg"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/v.mp4"}},
    ],
)
def test_part_that_has_no_place_is_named(part: dict[str, Any]) -> None:
    assert refused(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]) == (
        "messages[0].content[1]"
    )


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gs://bucket/x", "data:image/png,notbase64", "nothing"])
def test_address_that_nobody_could_fetch_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert caught.value.param == "messages[0].content[0]"


def test_tools_round_trip() -> None:
    """A call, its results and thinking come back to Anthropic as it gave them; results stand in one user's turn."""
    calls = [
        {"id": "toolu_01", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Zürich"}'}},
        {"id": "call:2", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    history = [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "reasoning_content": "hm",
            "thinking_blocks": [anthropic.THINKING, anthropic.REDACTED],
            "tool_calls": calls,
        },
        {"role": "tool", "tool_call_id": "toolu_01", "content": "12 °C"},
        {
            "role": "tool",
            "tool_call_id": "call:2",
            "content": [
                {"type": "text", "text": "noon"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            ],
        },
        {"role": "user", "content": "and?"},
    ]
    body = sent(messages=history, tools=[WEATHER])
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
        {
            "role": "assistant",
            "content": [
                anthropic.THINKING,
                anthropic.REDACTED,
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "toolu_01", "name": "weather", "input": {"city": "Zürich"}},
                {"type": "tool_use", "id": "call_2", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_01", "content": "12 °C"},
                {
                    "type": "tool_result",
                    "tool_use_id": "call_2",
                    "content": [
                        {"type": "text", "text": "noon"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                    ],
                },
                {"type": "text", "text": "and?"},
            ],
        },
    ]
    assert body["tools"] == [
        {
            "name": "weather",
            "description": "The weather now",
            "input_schema": WEATHER["function"]["parameters"],
        }
    ]


@pytest.mark.parametrize("arguments", ["[1]", "{", "null", 5, ["x"]])
def test_arguments_that_are_no_object_are_refused(arguments: Any) -> None:
    function = {"name": "weather", "arguments": arguments}
    history = [*HELLO, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": function}]}]
    with pytest.raises(InvalidRequest) as caught:
        sent(messages=history)
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


def test_empty_turns_are_left_out_and_a_prefilled_one_ends_without_space() -> None:
    history = [*HELLO, {"role": "assistant", "content": ""}, {"role": "user", "content": "again"}]
    [turn] = sent(messages=history)["messages"]
    assert [block["text"] for block in turn["content"]] == ["hi", "again"]
    body = sent(messages=[*HELLO, {"role": "assistant", "content": "The answer is  \n"}])
    assert body["messages"][-1]["content"][-1]["text"] == "The answer is"


# --- fields --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "choice"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
def test_tool_choice(asked: Any, choice: dict[str, Any]) -> None:
    assert sent(tools=[WEATHER], tool_choice=asked)["tool_choice"] == choice
    one_at_a_time = sent(tools=[WEATHER], tool_choice=asked, parallel_tool_calls=False)["tool_choice"]
    assert one_at_a_time == (choice if choice["type"] == "none" else {**choice, "disable_parallel_tool_use": True})


def test_tools_of_anthropic_itself_and_web_search() -> None:
    own = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}
    search = {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Bern"}}}
    body = sent(tools=[own], web_search_options=search)
    assert body["tools"] == [
        own,
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "max_uses": 1,
            "user_location": {"type": "approximate", "city": "Bern"},
        },
    ]
    assert refused(tools=[{"type": "custom", "custom": {"name": "x"}}]) == "tools[0].type"


def test_bounds_samplings_and_stops() -> None:
    body = sent("claude-haiku-4-5", max_tokens=5, temperature=0.5, top_p=0.9, top_k=40, stop=["a", "b"], user="u")
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["top_k"]) == (5, 0.5, 0.9, 40)
    assert body["stop_sequences"] == ["a", "b"]
    assert body["metadata"] == {"user_id": "u"}
    assert sent(max_completion_tokens=7)["max_tokens"] == 7
    assert sent(stop="x")["stop_sequences"] == ["x"]
    assert sent("claude-3-haiku-20240307")["max_tokens"] == 4096
    own = claude_deployment(max_output_tokens=1234)
    assert request_json(own.exchanges["chat"].request_bytes(call(), own))["max_tokens"] == 1234


@pytest.mark.parametrize(
    ("model", "param", "fields"),
    [
        (MODEL, "n", {"n": 2}),
        (MODEL, "seed", {"seed": 1}),
        (MODEL, "logprobs", {"logprobs": True}),
        (MODEL, "logit_bias", {"logit_bias": {"1": 1}}),
        (MODEL, "presence_penalty", {"presence_penalty": 0.1}),
        (MODEL, "frequency_penalty", {"frequency_penalty": -1}),
        (MODEL, "modalities", {"modalities": ["text", "audio"]}),
        (MODEL, "functions", {"functions": [{"name": "f"}]}),
        (MODEL, "something_else", {"something_else": 1}),
        (MODEL, "service_tier", {"service_tier": "flex"}),
        (MODEL, "temperature", {"temperature": 1.5}),
        (MODEL, "stop", {"stop": ["x", "\n"]}),
        (MODEL, "tool_choice", {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools"}}),
        ("claude-opus-4-7", "temperature", {"temperature": 0.3}),
        ("claude-sonnet-5", "top_p", {"top_p": 0.3}),
        ("claude-3-5-haiku-20241022", "reasoning_effort", {"reasoning_effort": "low"}),
        ("claude-sonnet-4-5", "temperature", {"reasoning_effort": "low", "temperature": 0.2}),
    ],
)
def test_what_can_not_be_carried_over_is_refused_by_name_or_dropped(model: str, param: str, fields: Any) -> None:
    assert refused(model, **fields) == param
    for body in (sent(model, drops=True, **fields), sent(model, **fields, drop_params=True)):
        assert param not in body or param in ("stop", "temperature")
        assert "n" not in body
        assert body.get("temperature") is None
    with pytest.raises(UnsupportedField):
        sent(model, drops=True, **fields, drop_params=False)


def test_usual_values_and_what_openai_keeps_for_itself_are_no_loss() -> None:
    body = sent(
        n=1, presence_penalty=0, frequency_penalty=0.0, logprobs=False, temperature=1, top_p=1, seed=None,
        response_format={"type": "text"}, modalities=["text"], metadata={"a": "b"}, store=True, prompt_cache_key="k",
    )  # fmt: skip
    assert set(body) == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("claude-opus-4-6", "low", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (
            "claude-sonnet-5",
            "xhigh",
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "xhigh"}},
        ),
        ("claude-opus-4-6", "none", {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-4-5", "medium", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-3-7-sonnet-20250219", "high", {"thinking": {"type": "enabled", "budget_tokens": 4096}}),
    ],
)
def test_reasoning_effort(model: str, effort: str, expected: dict[str, Any]) -> None:
    body = sent(model, reasoning_effort=effort)
    assert {name: body[name] for name in ("thinking", "output_config") if name in body} == expected


def test_thinking_goes_as_it_is_and_leaves_room_for_the_answer() -> None:
    thinking = {"type": "enabled", "budget_tokens": 40_000}
    body = sent("claude-sonnet-4-5", thinking=thinking)
    assert body["thinking"] == thinking
    assert body["max_tokens"] > 40_000
    small = sent("claude-sonnet-4-5", reasoning_effort="high", max_tokens=2000)
    assert small["thinking"]["budget_tokens"] < small["max_tokens"] == 2000
    assert "thinking" not in sent("claude-sonnet-4-5", reasoning_effort="high", max_tokens=500)


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "array", "items": {"type": "string"}}},
    "required": ["a"],
    "additionalProperties": False,
}


def test_json_schema_by_output_format_where_the_model_has_one() -> None:
    body = sent("claude-opus-4-6", response_format=json_schema(CLOSED), reasoning_effort="low")
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": CLOSED}}
    assert "tools" not in body


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        ("claude-3-5-haiku-20241022", CLOSED),
        (MODEL, {"type": "object", "properties": {"a": {"type": "integer"}}}),
        (MODEL, {**CLOSED, "properties": {"a": {"type": "integer", "minimum": 1}}}),
    ],
)
def test_json_schema_by_a_tool_where_it_has_none(model: str, schema: dict[str, Any]) -> None:
    body = sent(model, response_format=json_schema(schema))
    assert body["tools"][-1]["name"] == JSON_TOOL
    assert body["tools"][-1]["input_schema"] == schema
    assert body["tool_choice"] == {"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": True}


def test_json_object_and_tools_of_the_client_together() -> None:
    body = sent(response_format={"type": "json_object"}, tools=[WEATHER])
    assert [tool["name"] for tool in body["tools"]] == ["weather", JSON_TOOL]
    assert body["tool_choice"] == {"type": "any"}
    thinking = sent(response_format={"type": "json_object"}, reasoning_effort="low")
    assert "tool_choice" not in thinking


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("claude-3-haiku-20240307", (3, 0)),
        ("claude-3-5-sonnet-latest", (3, 5)),
        ("claude-opus-4-20250514", (4, 0)),
        ("claude-opus-4-1-20250805", (4, 1)),
        ("claude-sonnet-5", (5, 0)),
        ("claude-haiku-5-5", (5, 5)),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", (4, 5)),
        ("claude-mythos-preview", (99, 0)),
        ("MiniMax-M2", (0, 0)),
    ],
)
def test_version_of_a_model(model: str, version: tuple[int, int]) -> None:
    assert model_version(model) == version


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["tools", "tool_choice", "response_format", "thinking", "reasoning_effort", "stop", "temperature", "top_k",
     "web_search_options", "service_tier", "parallel_tool_calls", "metadata", "max_tokens", "top_p"]
)  # fmt: skip
PARTS = st.sampled_from(
    ["type", "role", "content", "tool_calls", "text", "image_url", "file", "url", "function", "name",
     "id", "arguments", "thinking_blocks", "tool_call_id", "cache_control"]
)  # fmt: skip
SHAPED = st.recursive(
    JSONISH | st.sampled_from(["user", "assistant", "tool", "system", "text", "image_url", "file", "function"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PARTS, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    fields=st.dictionaries(FIELDS, SHAPED, max_size=4),
    message=st.dictionaries(PARTS, SHAPED, max_size=6),
    role=st.sampled_from(["user", "assistant", "tool", "system"]),
)
def test_any_request_is_carried_over_or_refused(fields: dict[str, Any], message: dict[str, Any], role: str) -> None:
    """1c of RELIABILITY.md: never an error of ours, and what goes upstream is JSON."""
    messages = [*HELLO, {**message, "role": role}]
    for model in (MODEL, "claude-3-haiku-20240307"):
        try:
            body = sent(model, **{**fields, "messages": messages})
        except InvalidRequest:
            continue
        assert json.dumps(body)
