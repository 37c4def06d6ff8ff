"""Cohere's API v2 as an upstream: requests, answers, streams, errors and embeddings."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import cohere, dialect
from harness.dialect import to_json
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    UnsupportedField,
    UpstreamAuthError,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefusedRequest,
)
from values import HELLO, call, deployment, messages_call

TOOL = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "now"}}
CALL = {"id": "c-1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Zürich"}'}}


def command(base: str = "https://api.cohere.com/v2", **changed: Any):
    return deployment("public/command", provider="cohere", upstream_model="command-a", api_base=base, **changed)


def sent_bytes(**fields: Any) -> bytes:
    own = command(**({"drops_unsupported": True} if fields.pop("drops", False) else {}))
    return own.exchanges["chat"].request_bytes(call(**fields), own)


def sent(**fields: Any) -> dict[str, Any]:
    return request_json(sent_bytes(**fields))


def answered(body: Any, status: int = 200, **fields: Any) -> Relayed:
    return Relayed(call(**fields), command(), [body if isinstance(body, bytes) else to_json(body)], status=status)


def streamed(packets: list[bytes], **fields: Any) -> Relayed:
    return Relayed(call(**{"stream": True, "stream_options": {"include_usage": True}, **fields}), command(), packets)


def test_request() -> None:
    lines = head_lines(sent_bytes())
    assert lines[0] == "POST /v2/chat HTTP/1.1"
    assert "authorization: Bearer sk-upstream-credential" in lines
    body = sent(max_completion_tokens=50, temperature=0.1, top_p=0.9, top_k=5, stop="x", seed=7,
                presence_penalty=0.1, reasoning_effort="none", user="u")  # fmt: skip
    assert body == {
        "model": "command-a", "messages": HELLO, "max_tokens": 50, "temperature": 0.1, "p": 0.9, "k": 5,
        "stop_sequences": ["x"], "seed": 7, "presence_penalty": 0.1, "thinking": {"type": "disabled"}, "stream": False,
    }  # fmt: skip


def test_conversation_with_tools_pictures_and_instructions() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "weather?"}, picture]},
        {"role": "assistant", "content": "I will ask", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c-1", "content": "12"},
        {"role": "assistant", "content": "Cold."},
    ]
    body = sent(messages=messages, tools=[TOOL, OTHER], tool_choice="required")
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "weather?"}, picture]},
        {"role": "assistant", "tool_plan": "I will ask", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c-1", "content": "12"},
        {"role": "assistant", "content": "Cold."},
    ]
    assert body["tool_choice"] == "REQUIRED"
    assert body["tools"][1]["function"] == {"name": "now", "parameters": {"type": "object", "properties": {}}}
    named = sent(tools=[TOOL, OTHER], tool_choice={"type": "function", "function": {"name": "weather"}})
    assert (named["tools"], named["tool_choice"]) == ([TOOL], "REQUIRED")
    with pytest.raises(InvalidRequest, match="names no tool"):
        sent(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "nothing"}})


def test_json_as_the_answer() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert sent(response_format=asked)["response_format"] == {"type": "json_object", "json_schema": schema}
    assert sent(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(("field", "value"), [("n", 2), ("logprobs", True), ("logit_bias", {"5": 1})])
def test_what_can_t_be_said_is_refused_by_name_or_left_out(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedField) as refused:
        sent(**{field: value})
    assert refused.value.param == field
    assert field not in sent(drops=True, **{field: value})


def test_answer() -> None:
    thought = {"type": "thinking", "thinking": "Let me see"}
    relayed = answered(cohere.response(thought, cohere.text("Grüezi"), finish="MAX_TOKENS"))
    [choice] = relayed.json["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Grüezi", "reasoning_content": "Let me see"}
    assert (choice["finish_reason"], relayed.json["model"]) == ("length", "public/command")
    assert (relayed.usage.prompt_tokens, relayed.usage.completion_tokens, relayed.usage.is_estimated) == (9, 3, False)

    called = answered(cohere.response(finish="TOOL_CALL", tool_plan="I will", tool_calls=[cohere.CALL])).json
    assert called["choices"][0]["message"] == {
        "role": "assistant", "content": "I will", "tool_calls": [cohere.CALL]
    }  # fmt: skip
    assert called["choices"][0]["finish_reason"] == "tool_calls"
    body = to_json(cohere.response(cohere.text("Hello there")))
    other = Relayed(messages_call(), command(), [body])
    assert other.json["content"] == [{"type": "text", "text": "Hello there"}]


def test_stream_of_every_event() -> None:
    relayed = streamed(cohere.every_event())
    *chunks, last = relayed.chunks
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta for delta in deltas if "tool_calls" not in delta] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Let me see"},
        {"content": "I will"},
        {"content": " ask 🐕"},
        {},
    ]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("weather_x1", "weather")
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Zürich"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (100, 40)
    assert relayed.outcome.ended == "complete"


STREAM = b"".join(cohere.every_event())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_same_stream_cut_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    packets = [STREAM[a:b] for a, b in itertools.pairwise(places) if b > a]
    whole, cut = streamed([STREAM]), streamed(packets)
    assert [chunk["choices"] for chunk in cut.chunks] == [chunk["choices"] for chunk in whole.chunks]
    assert cut.usage == whole.usage


@pytest.mark.parametrize("kept", range(1, len(cohere.every_event())))
def test_stream_broken_off_is_no_answer(kept: int) -> None:
    """R16."""
    relayed = streamed([*cohere.every_event()[:kept], b""])
    assert isinstance(relayed.error, UpstreamError)
    assert relayed.outcome.ended in ("refused", "upstream_failed")
    assert b'"finish_reason":"stop"' not in relayed.body


@pytest.mark.parametrize(
    "events",
    [[b"data: {}\n\n"], [b"data: nonsense\n\n"], [cohere.piece("content-delta", content={"text": "x"})],
     [cohere.START, cohere.START], [cohere.START, cohere.piece("tool-call-delta", tool_calls={"function": {}})],
     [cohere.START, cohere.event("message-end")]],
)  # fmt: skip
def test_rubbish_in_a_stream(events: list[bytes]) -> None:
    assert type(streamed([*events, b""]).error) is UpstreamBadResponse


def test_a_model_that_fails_is_no_answer() -> None:
    assert type(answered(cohere.response(finish="ERROR")).error) is UpstreamError
    assert type(streamed([cohere.START, cohere.end("TIMEOUT")]).error) is UpstreamError


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"message":5,"finish_reason":"COMPLETE"}', b'{"id":"\xff"}'])
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    assert type(answered(body).error) is UpstreamBadResponse


@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        (401, "invalid api token", UpstreamAuthError),
        (498, "invalid token", UpstreamAuthError),
        (429, "trial key", UpstreamRateLimited),
        (404, "model 'x' not found", UpstreamRefusedRequest),
        (400, "too many tokens: size limit exceeded", ContextLengthExceeded),
        (503, "", UpstreamError),
    ],
)
def test_failures(status: int, words: str, error: type[Exception]) -> None:
    assert type(answered({"message": words}, status=status).error) is error


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_embeddings(encoding: str | None) -> None:
    asked = call("embeddings", input=["a", "b"], dimensions=8, **({"encoding_format": encoding} if encoding else {}))
    own = command()
    request = request_json(own.exchanges["embeddings"].request_bytes(asked, own))
    assert request == {
        "model": "command-a", "texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"],
        "output_dimension": 8,
    }  # fmt: skip
    relayed = Relayed(asked, own, [to_json(cohere.embeddings(request))])
    expected = dialect.embeddings({"input": ["a", "b"], "encoding_format": encoding})
    assert relayed.json["data"] == expected["data"]
    assert (relayed.usage.prompt_tokens, relayed.usage.is_estimated) == (8, False)
    with pytest.raises(UnsupportedField):
        own.exchanges["embeddings"].request_bytes(call("embeddings", input=[[1, 2]]), own)


def test_cohere_s_door_for_openai_s_dialect_stays_open() -> None:
    own = command("https://api.cohere.ai/compatibility/v1")
    lines = head_lines(own.exchanges["chat"].request_bytes(call(), own))
    assert lines[0] == "POST /compatibility/v1/chat/completions HTTP/1.1"
