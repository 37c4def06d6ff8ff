"""Ollama's own API as an upstream: requests, answers, streams of lines, errors and embeddings."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import dialect, ollama
from harness.dialect import to_json
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import (
    InvalidRequest,
    UnsupportedField,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRefusedRequest,
)
from values import HELLO, call, deployment, messages_call

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "c-1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Zürich"}'}}


def llama(base: str = "http://localhost:11434", **changed: Any):
    return deployment("public/llama", provider="ollama", upstream_model="llama", api_base=base, **changed)


def sent_bytes(**fields: Any) -> bytes:
    own = llama(**({"drops_unsupported": True} if fields.pop("drops", False) else {}))
    return own.exchanges["chat"].request_bytes(call(**fields), own)


def sent(**fields: Any) -> dict[str, Any]:
    return request_json(sent_bytes(**fields))


def answered(body: Any, status: int = 200, **fields: Any) -> Relayed:
    return Relayed(call(**fields), llama(), [body if isinstance(body, bytes) else to_json(body)], status=status)


def streamed(packets: list[bytes], **fields: Any) -> Relayed:
    return Relayed(call(**{"stream": True, "stream_options": {"include_usage": True}, **fields}), llama(), packets)


def test_request() -> None:
    assert head_lines(sent_bytes())[0] == "POST /api/chat HTTP/1.1"
    body = sent(max_tokens=50, temperature=0.1, top_k=5, stop="x", seed=7, num_ctx=8192, keep_alive="5m",
                options={"num_gpu": 1}, reasoning_effort="minimal", user="u")  # fmt: skip
    assert body == {
        "model": "llama",
        "messages": HELLO,
        "options": {"num_gpu": 1, "temperature": 0.1, "top_k": 5, "seed": 7, "num_ctx": 8192, "num_predict": 50,
                    "stop": ["x"]},
        "keep_alive": "5m",
        "think": "low",
        "stream": False,
    }  # fmt: skip
    assert sent(reasoning_effort="none")["think"] is False
    assert sent(thinking={"type": "enabled", "budget_tokens": 1024})["think"] is True


def test_conversation_with_tools_and_pictures() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "weather?"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "Let me see"},
        {"role": "tool", "tool_call_id": "c-1", "content": [{"type": "text", "text": "12"}]},
    ]
    body = sent(messages=messages, tools=[TOOL], tool_choice="auto")
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "weather?", "images": ["iVBO"]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Zürich"}}}],
            "thinking": "Let me see",
        },
        {"role": "tool", "content": "12", "tool_name": "weather"},
    ]
    assert body["tools"] == [TOOL]
    assert "tools" not in sent(tools=[TOOL], tool_choice="none")
    with pytest.raises(InvalidRequest, match="answers no tool call"):
        sent(messages=[{"role": "tool", "tool_call_id": "c-9", "content": "12"}])
    far = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    with pytest.raises(UnsupportedField, match="inline only"):
        sent(messages=[{"role": "user", "content": [far]}])


def test_json_as_the_answer() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert sent(response_format=asked)["format"] == schema
    assert sent(response_format={"type": "json_object"})["format"] == "json"


@pytest.mark.parametrize(("field", "value"), [("n", 2), ("logit_bias", {"5": 1})])
def test_what_can_t_be_said_is_refused_by_name_or_left_out(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedField) as refused:
        sent(tools=[TOOL], **{field: value})
    assert refused.value.param == field
    assert field not in sent(drops=True, tools=[TOOL], **{field: value})


def test_answer() -> None:
    relayed = answered(ollama.response("Grüezi", message={"thinking": "Let me see"}, done_reason="length"))
    [choice] = relayed.json["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Grüezi", "reasoning_content": "Let me see"}
    assert (choice["finish_reason"], relayed.json["model"]) == ("length", "public/llama")
    assert (relayed.usage.prompt_tokens, relayed.usage.completion_tokens, relayed.usage.is_estimated) == (9, 3, False)

    called = answered(ollama.response("", message={"tool_calls": [ollama.CALL]})).json["choices"][0]
    [tool] = called["message"]["tool_calls"]
    assert (tool["function"]["name"], json.loads(tool["function"]["arguments"])) == ("weather", {"city": "Zürich"})
    assert tool["id"]
    assert called["finish_reason"] == "tool_calls"
    other = Relayed(messages_call(), llama(), [to_json(ollama.response("Hello there"))])
    assert other.json["content"] == [{"type": "text", "text": "Hello there"}]


def test_a_prompt_from_the_model_s_memory_has_no_figure() -> None:
    assert answered(ollama.response("x" * 40, prompt_eval_count=...)).usage.is_estimated


def test_stream_of_every_line() -> None:
    relayed = streamed(ollama.every_line())
    *chunks, last = relayed.chunks
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta for delta in deltas if "tool_calls" not in delta] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Let me see"},
        {"content": "Grüezi 🐕"},
        {},
    ]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    ids = [call["id"] for call in calls if "id" in call]
    assert len(set(ids)) == 2
    assert [call["function"]["arguments"] for call in calls if "id" not in call] == ['{"city":"Zürich"}', "{}"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (100, 40)
    assert relayed.outcome.ended == "complete"


STREAM = b"".join(ollama.every_line())


def without_ids(relayed: Relayed) -> str:
    """Ids are ours here, and new each time."""
    choices = [chunk["choices"] for chunk in relayed.chunks]
    for choice in choices:
        for tool in choice[0]["delta"].get("tool_calls", ()) if choice else ():
            tool.pop("id", None)
    return json.dumps(choices)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_same_stream_cut_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    packets = [STREAM[a:b] for a, b in itertools.pairwise(places) if b > a]
    whole, cut = streamed([STREAM]), streamed(packets)
    assert without_ids(cut) == without_ids(whole)
    assert cut.usage == whole.usage


@pytest.mark.parametrize("kept", range(1, len(ollama.every_line())))
def test_stream_broken_off_is_no_answer(kept: int) -> None:
    """R16."""
    relayed = streamed([*ollama.every_line()[:kept], b""])
    assert isinstance(relayed.error, UpstreamError)
    assert relayed.outcome.ended in ("refused", "upstream_failed")
    assert b'"finish_reason":"stop"' not in relayed.body


def test_an_error_in_a_stream_is_told() -> None:
    first = streamed([b'{"error":"model runner has stopped"}\n', b""])
    assert type(first.error) is UpstreamError
    assert first.status == 0
    later = streamed([ollama.every_line()[1], b'{"error":"model runner has stopped"}\n', b""])
    assert later.outcome.ended == "upstream_failed"
    assert b"upstream_error" in later.body


@pytest.mark.parametrize("line", [b"{}\n", b"nonsense\n", b'{"message":5}\n'])
def test_rubbish_in_a_stream(line: bytes) -> None:
    assert type(streamed([line, b""]).error) is UpstreamBadResponse


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", to_json(ollama.response("x", done=False)), b'{"model":"\xff"}'])
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    assert type(answered(body).error) is UpstreamBadResponse


def test_failures() -> None:
    missing = answered({"error": 'model "x" not found, try pulling it first'}, status=404)
    assert type(missing.error) is UpstreamRefusedRequest
    assert "try pulling it first" in missing.error.message
    assert type(answered({"error": "out of memory"}, status=500).error) is UpstreamError


def test_embeddings_and_completions() -> None:
    asked = call("embeddings", input=["a", "b"], encoding_format="base64")
    own = llama()
    request = request_json(own.exchanges["embeddings"].request_bytes(asked, own))
    assert request == {"model": "llama", "input": ["a", "b"]}
    relayed = Relayed(asked, own, [to_json(ollama.embeddings(request))])
    expected = dialect.embeddings({"input": ["a", "b"], "encoding_format": "base64"})
    assert relayed.json["data"] == expected["data"]
    assert relayed.usage.prompt_tokens == 8
    lines = head_lines(own.exchanges["completions"].request_bytes(call("completions"), own))
    assert lines[0] == "POST /v1/completions HTTP/1.1"


def test_ollama_s_door_for_openai_s_dialect_stays_open() -> None:
    own = llama("http://localhost:11434/v1")
    lines = head_lines(own.exchanges["chat"].request_bytes(call(), own))
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"


PLACE = {"type": "object", "properties": {"city": {"type": "string"}}}
FORCED = {
    "tools": [{"type": "function", "function": {"name": "place", "parameters": PLACE}}],
    "tool_choice": {"type": "function", "function": {"name": "place"}},
}


@pytest.mark.parametrize("choice", [FORCED["tool_choice"], "required"])
def test_tool_that_has_to_be_called_is_the_schema_of_the_answer(choice: Any) -> None:
    """What structured answers of many clients go by."""
    asked = {**FORCED, "tool_choice": choice}
    whole = Relayed(call(**asked), llama(), [to_json(ollama.response('{"city":"Bern"}'))])
    assert (request_json(whole)["format"], request_json(whole)["tools"]) == (PLACE, FORCED["tools"])
    message = whole.json["choices"][0]["message"]
    assert (message["content"], whole.json["choices"][0]["finish_reason"]) == (None, "tool_calls")
    [told] = message["tool_calls"]
    assert told["function"] == {"name": "place", "arguments": '{"city":"Bern"}'}
    lines = ollama.text_lines(['{"city":', '"Bern"}'])
    streamed = Relayed(call(stream=True, **asked), llama(), lines).chunks
    deltas = [one for chunk in streamed for one in chunk["choices"][0]["delta"].get("tool_calls") or ()]
    assert deltas[0]["function"]["name"] == "place"
    assert "".join(one["function"]["arguments"] for one in deltas) == '{"city":"Bern"}'
    assert streamed[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert all(not chunk["choices"][0]["delta"].get("content") for chunk in streamed)


def test_one_of_several_tools_can_not_be_asked_for() -> None:
    two = [*FORCED["tools"], {"type": "function", "function": {"name": "other"}}]
    with pytest.raises(UnsupportedField, match="tool_choice"):
        sent(tools=two, tool_choice="required")
    named = sent(**{**FORCED, "tools": two})
    assert named["tools"] == FORCED["tools"]
