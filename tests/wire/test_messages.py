"""Anthropic's Messages as a client dialect: bodies to calls, and the same request in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import anthropic
from routewright.errors import (
    InvalidRequest,
    MissingField,
    RefusedField,
    ThreadsUnserved,
    UnsupportedField,
    UpstreamTimeout,
    anthropic_error_object,
)
from routewright.wire.chat import TOKENS_PER_IMAGE, prompt_of
from routewright.wire.messages import MESSAGES
from values import HELLO, messages_call

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
PDF = {
    "type": "document",
    "title": "a.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
}
CACHED = {"type": "ephemeral"}
TOOL = {
    "name": "weather",
    "description": "The weather now",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    "cache_control": CACHED,
}


def chat(*, plain: bool = True, is_dropped: bool = False, **fields: Any) -> dict[str, Any]:
    call = messages_call(**fields)
    return call.client.as_chat(call, plain=plain, is_dropped=is_dropped)


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


# --- calls ---------------------------------------------------------------------------------------------------------


def test_smallest_request() -> None:
    call = messages_call()
    assert (call.endpoint, call.model, call.max_tokens, call.is_stream) == ("messages", "gpt-4o", 100, False)
    assert (call.has_tools, call.has_images, call.wants_json, call.user) == (False, False, False, None)
    assert call.client is MESSAGES


def test_what_a_router_and_the_limits_go_by() -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": [anthropic.text("x" * 40), IMAGE]}
    call = messages_call(
        system=[{"type": "text", "text": "Be brief."}],
        messages=[user(anthropic.text("What is it?")), {"role": "assistant", "content": [anthropic.TOOL_USE]},
                  user(result)],
        tools=[TOOL], stream=True, metadata={"user_id": "u-1"},
        output_config={"format": {"type": "json_schema", "schema": {}}},
    )  # fmt: skip
    prompt = prompt_of(call)
    assert (prompt.text, prompt.system) == ("What is it?", "Be brief.")
    assert (prompt.has_tools, prompt.has_images, prompt.wants_json) == (True, True, True)
    assert (call.is_stream, call.user) == (True, "u-1")
    small = messages_call(messages=[user(anthropic.text("What is it?"))])
    assert call.prompt_tokens_estimate > small.prompt_tokens_estimate + TOKENS_PER_IMAGE + 10


def test_our_extensions_are_read_and_taken_out() -> None:
    call = messages_call(routing={"quality": 0.3}, fallbacks=["a"], tags=["t"], drop_params=True)
    assert (call.quality, call.fallbacks, call.metadata_tags, call.drop_params) == (0.3, ["a"], ("t",), True)
    assert set(call.body) == {"model", "max_tokens", "messages"}


def test_betas_are_kept_for_an_upstream_that_reads_them() -> None:
    call = messages_call(headers={"anthropic_beta": "context-1m-2025-08-07", "anthropic_version": "2023-06-01"})
    assert call.forwarded == {"anthropic-beta": "context-1m-2025-08-07"}
    assert messages_call().forwarded == {}


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"max_tokens": ...}, MissingField, "max_tokens"),
        ({"max_tokens": "5"}, InvalidRequest, "max_tokens"),
        ({"messages": ...}, MissingField, "messages"),
        ({"messages": []}, InvalidRequest, "messages"),
        ({"messages": ["x"]}, InvalidRequest, "messages.0"),
        ({"messages": [{"role": "tool", "content": "x"}]}, InvalidRequest, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, InvalidRequest, "messages.0.content"),
        ({"messages": [user("x")]}, InvalidRequest, "messages.0.content.0"),
        ({"messages": [user({"type": "text", "text": 5})]}, InvalidRequest, "messages.0.content.0.text"),
        ({"system": 5}, InvalidRequest, "system"),
        ({"tools": {}}, InvalidRequest, "tools"),
        ({"stream": 1}, InvalidRequest, "stream"),
        ({"api_key": "x"}, RefusedField, "api_key"),
        ({"api_base": "http://x"}, RefusedField, "api_base"),
    ],
)
def test_faulty_request_is_refused_by_name(fields: dict[str, Any], kind: type[InvalidRequest], param: str) -> None:
    with pytest.raises(kind) as caught:
        messages_call(**fields)
    assert caught.value.param == param


def test_thinking_that_nobody_signed_is_left_out() -> None:
    """It came from a model of another provider; Anthropic would refuse the whole request for it."""
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    history = [*HELLO, {"role": "assistant", "content": [unsigned, anthropic.text("So.")]}, *HELLO]
    assert messages_call(messages=history).body["messages"][1]["content"] == [anthropic.text("So.")]
    signed = [*HELLO, {"role": "assistant", "content": [anthropic.THINKING, anthropic.text("So.")]}, *HELLO]
    assert messages_call(messages=signed).body["messages"][1]["content"] == [anthropic.THINKING, anthropic.text("So.")]


def test_count_tokens_needs_no_bound_and_streams_nothing() -> None:
    call = messages_call("count_tokens", max_tokens=..., stream=True)
    assert (call.endpoint, call.is_stream) == ("count_tokens", False)


# --- in OpenAI's form ----------------------------------------------------------------------------------------------


def test_text_is_a_string_where_it_stands_alone() -> None:
    assert chat(system="Be brief.", temperature=0.5, top_p=0.9, stop_sequences=["x"], stream=True) == {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["x"],
        "stream": True,
    }


def test_caching_is_told_to_those_who_know_it() -> None:
    block = {"type": "text", "text": "long", "cache_control": CACHED}
    fields = {"system": [block], "messages": [user(block)], "tools": [TOOL]}
    rich, plain = chat(plain=False, **fields), chat(**fields)
    assert rich["messages"][0]["content"] == [block]
    assert rich["messages"][1]["content"] == [block]
    assert rich["tools"][0]["cache_control"] == CACHED
    assert "cache_control" not in json.dumps(plain)
    assert plain["messages"] == [{"role": "system", "content": "long"}, {"role": "user", "content": "long"}]


def test_images_and_documents() -> None:
    linked = {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.jpg"}}
    note = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a note"}}
    nested = {"type": "document", "source": {"type": "content", "content": [anthropic.text("inside"), IMAGE]}}
    [message] = chat(messages=[user(anthropic.text("See"), IMAGE, linked, PDF, note, nested)])["messages"]
    png = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert message["content"] == [
        {"type": "text", "text": "See"},
        png,
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "text", "text": "a note"},
        {"type": "text", "text": "inside"},
        png,
    ]


def test_tools_round_trip() -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": [anthropic.text("12 °C"), IMAGE],
              "is_error": True}  # fmt: skip
    history = [
        *HELLO,
        {"role": "assistant", "content": [anthropic.THINKING, anthropic.text("Let me look."), anthropic.TOOL_USE]},
        user(anthropic.text("well?"), result, {"type": "tool_result", "tool_use_id": "toolu_02"}),
    ]
    made = chat(messages=history, tools=[TOOL], tool_choice={"type": "any", "disable_parallel_tool_use": True})
    _, assistant, first, second, rest = made["messages"]
    assert assistant["content"] == "Let me look."
    assert "thinking_blocks" not in assistant
    [call] = assistant["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("toolu_01", "function", "weather")
    assert json.loads(call["function"]["arguments"]) == anthropic.TOOL_USE["input"]
    assert first == {"role": "tool", "tool_call_id": "toolu_01", "content": "12 °C"}
    assert second == {"role": "tool", "tool_call_id": "toolu_02", "content": ""}
    assert [part["type"] for part in rest["content"]] == ["text", "text", "image_url"]
    assert (made["tool_choice"], made["parallel_tool_calls"]) == ("required", False)
    function = {"name": "weather", "description": "The weather now", "parameters": TOOL["input_schema"]}
    assert made["tools"] == [{"type": "function", "function": function}]

    rich = chat(plain=False, messages=history)["messages"]
    assert rich[1]["thinking_blocks"] == [anthropic.THINKING]
    assert rich[2]["is_error"] is True
    assert [part["type"] for part in rich[2]["content"]] == ["text", "image_url"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tool_choice(given: Any, expected: Any) -> None:
    assert chat(tools=[TOOL], tool_choice=given)["tool_choice"] == expected


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "minimal"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "high"),
        ({"thinking": {"type": "adaptive"}}, "medium"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, "high"),
        ({"thinking": {"type": "disabled"}}, "none"),
        ({}, None),
    ],
)
def test_thinking_is_an_effort(fields: dict[str, Any], effort: str | None) -> None:
    assert chat(**fields).get("reasoning_effort") == effort


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_json_schema(place: str) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    asked = {"type": "json_schema", "schema": schema}
    made = chat(**{place: {"format": asked} if place == "output_config" else asked})
    assert made["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


def test_user_is_as_long_as_openai_takes() -> None:
    assert chat(metadata={"user_id": "u-1"})["user"] == "u-1"
    long = chat(metadata={"user_id": "user_" + "x" * 150})["user"]
    assert len(long) == 64
    assert long == chat(metadata={"user_id": "user_" + "x" * 150})["user"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"mcp_servers": [{"url": "https://example.com"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}]}, "tools.1"),
        (
            {"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}}, anthropic.text("x"))]},
            "messages.0.content.0",
        ),
        ({"messages": [user({"type": "search_result", "source": "x"}, anthropic.text("x"))]}, "messages.0.content.0"),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s"}]}]},
            "messages.1.content.0",
        ),
    ],
)
def test_what_only_anthropic_has_is_refused_by_name_or_dropped(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert chat(is_dropped=True, **fields)["messages"]


def test_hints_of_claude_code_are_no_loss() -> None:
    """What it always sends about how Anthropic should work."""
    made = chat(
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        service_tier="auto", cache_control=CACHED, container=None,
    )  # fmt: skip
    assert set(made) == {"model", "messages", "max_tokens"}


BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "thinking", "x"])},
    optional={
        "text": st.text(max_size=5),
        "source": st.dictionaries(
            st.sampled_from(["type", "data", "url", "content", "media_type"]),
            st.sampled_from(["text", "base64", "url", "content", 5, None, [], [{"type": "text"}], [{}], ["x"]]),
        ),
        "input": st.sampled_from([{}, {"a": 1}, None, "x", 5]),
        "content": st.sampled_from(["x", [], [{"type": "text", "text": "y"}], [{"type": "image"}], None, 5, [5]]),
        "id": st.sampled_from(["a", None, 5]),
        "tool_use_id": st.sampled_from(["a", None, 5]),
        "thinking": st.sampled_from(["t", None, 5]),
    },
)
FIELDS = st.dictionaries(
    st.sampled_from(["system", "tools", "tool_choice", "thinking", "output_config", "metadata", "top_k", "x"]),
    st.sampled_from([None, 5, "x", [], {}, [{}], {"type": "auto"}, {"type": []}, {"type": "enabled"}, {"effort": []},
                     {"format": 5}, {"user_id": 5}, [{"type": "text"}]]),
    max_size=3,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(blocks=st.lists(BLOCKS, max_size=4), role=st.sampled_from(["user", "assistant"]), fields=FIELDS)
def test_any_request_is_read_or_refused(blocks: list[Any], role: str, fields: dict[str, Any]) -> None:
    """1c of RELIABILITY.md: never an error of ours."""
    for plain, is_dropped in ((True, False), (False, True)):
        try:
            made = chat(plain=plain, is_dropped=is_dropped, messages=[{"role": role, "content": blocks}], **fields)
        except InvalidRequest:
            continue
        assert json.dumps(made)


def test_error_is_in_the_shape_that_its_clients_read() -> None:
    """COMPAT 4; R16: an event of its own, never an invented stop."""
    told = MESSAGES.error_event(UpstreamTimeout("too slow"), "req-1").decode()
    name, data, *rest = told.split("\n")
    assert (name, rest) == ("event: error", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == {
        "type": "error",
        "error": {"type": "timeout_error", "message": "too slow"},
        "request_id": "req-1",
    }


def test_schema_of_an_object_without_properties_gets_some() -> None:
    """OpenAI refuses it else; tools of MCP servers have them."""
    for schema in ({"type": "object"}, {"type": "object", "additionalProperties": False}):
        made = chat(tools=[{"name": "now", "input_schema": schema}])
        assert made["tools"][0]["function"]["parameters"] == {**schema, "properties": {}}


def test_threads_are_refused_in_words_that_the_sdk_goes_on_from() -> None:
    with pytest.raises(ThreadsUnserved) as caught:
        messages_call(thread={"type": "create"})
    told = anthropic_error_object(caught.value, "req_1")["error"]
    assert told["details"] == {"error_code": "thread_unsupported_request", "unsupported": ("thread",)}
    assert messages_call(thread=None).endpoint == "messages"
