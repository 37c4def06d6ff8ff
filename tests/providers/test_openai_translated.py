"""The OpenAI dialect behind Anthropic's clients: requests, answers and streams."""

from __future__ import annotations

import json
from typing import Any

import anthropic as sdk
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import dialect
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import UnsupportedField, UpstreamBadResponse, UpstreamError
from routewright.types import Price
from values import deployment, messages_call

PRICE = Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6, cached_input_usd_per_token=1e-7, source="config")
GPT = deployment("public/gpt", upstream_model="gpt-4o", price=PRICE)
THINKS = {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4000}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}


def sent(provider: str = "openai", model: str = "gpt-4o", drops: bool = False, **fields: Any) -> dict[str, Any]:
    own = deployment(provider=provider, upstream_model=model, drops_unsupported=drops)
    return request_json(own.exchanges["messages"].request_bytes(messages_call(**fields), own))


def answered(body: Any, **fields: Any) -> Relayed:
    return Relayed(messages_call(**fields), GPT, [body if isinstance(body, bytes) else dialect.to_json(body)])


def streamed(packets: list[bytes], **fields: Any) -> Relayed:
    return Relayed(messages_call(stream=True, **fields), GPT, packets)


# --- requests ------------------------------------------------------------------------------------------------------


def test_request_goes_to_the_chat_endpoint() -> None:
    call = messages_call(system="Be brief.", stream=True)
    request = GPT.exchanges["messages"].request_bytes(call, GPT)
    assert head_lines(request)[0] == "POST /v1/chat/completions HTTP/1.1"
    assert request_json(request) == {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "max_completion_tokens": 100,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_each_server_gets_the_fields_that_it_knows() -> None:
    assert sent("hosted_vllm", top_k=5)["top_k"] == 5
    assert sent("hosted_vllm")["max_tokens"] == 100
    with pytest.raises(UnsupportedField) as caught:
        sent(top_k=5)
    assert caught.value.param == "top_k"
    assert "top_k" not in sent(top_k=5, drops=True)
    assert "reasoning_effort" not in sent(**THINKS)
    assert sent(model="gpt-5-mini", **THINKS)["reasoning_effort"] == "low"
    assert "reasoning_effort" not in sent(model="gpt-5-mini", thinking={"type": "disabled"})


def test_defaults_and_dropped_params_of_the_deployment_hold() -> None:
    own = deployment(default_params={"temperature": 0.3, "seed": 7}, drop_params=("user",))
    call = messages_call(metadata={"user_id": "u"}, temperature=0.9)
    body = request_json(own.exchanges["messages"].request_bytes(call, own))
    assert (body["temperature"], body["seed"]) == (0.9, 7)
    assert "user" not in body


# --- answers -------------------------------------------------------------------------------------------------------


def test_answer_of_text() -> None:
    relayed = answered(dialect.chat_completion())
    assert relayed.json == {
        "id": "msg_chatcmpl-upstream-1",
        "type": "message",
        "role": "assistant",
        "model": "public/gpt",
        "content": [{"type": "text", "text": "Hello there"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 9,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
        },
    }
    assert relayed.outcome.cost_nusd == 9 * 1000 + 3 * 4000
    sdk.types.Message.model_validate(relayed.json)


def test_answer_with_tools() -> None:
    relayed = answered(dialect.chat_completion("Let me look.", tool_calls=[dialect.TOOL_CALL]))
    assert relayed.json["content"] == [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Zürich", "unit": "°C"}},
    ]
    assert relayed.json["stop_reason"] == "tool_use"


def test_reasoning_is_shown_to_those_who_asked_for_thinking() -> None:
    body = dialect.chat_completion()
    body["choices"][0]["message"]["reasoning_content"] = "Hm"
    assert answered(body, **THINKS).json["content"][0] == {"type": "thinking", "thinking": "Hm", "signature": ""}
    assert [block["type"] for block in answered(body).json["content"]] == ["text"]


@pytest.mark.parametrize(
    ("finish", "stop"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal"), ("tool_calls", "tool_use"),
     (None, "end_turn"), ("new", "end_turn")],
)  # fmt: skip
def test_finish_reasons(finish: str | None, stop: str) -> None:
    body = dialect.chat_completion()
    body["choices"][0]["finish_reason"] = finish
    assert answered(body).json["stop_reason"] == stop


def test_cached_tokens_are_told_apart_and_priced() -> None:
    """R28: 100 of the prompt, 80 of them cached."""
    used = {**dialect.usage(100, 10), "prompt_tokens_details": {"cached_tokens": 80}}
    relayed = answered(dialect.chat_completion(usage=used))
    assert relayed.json["usage"]["input_tokens"] == 20
    assert relayed.json["usage"]["cache_read_input_tokens"] == 80
    assert relayed.outcome.cost_nusd == 20 * 1000 + 80 * 100 + 10 * 4000


def test_own_count_where_the_upstream_has_none() -> None:
    """F8."""
    relayed = answered(dialect.chat_completion("x" * 40, usage=...))
    assert relayed.usage.is_estimated
    assert relayed.json["usage"]["output_tokens"] == 10


def bad_tool(arguments: Any) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return dialect.chat_completion(None, tool_calls=[call])


RUBBISH = {
    "empty": b"",
    "HTML": b"<html>",
    "list": b"[]",
    "no choices": b'{"id":"x"}',
    "empty choices": b'{"choices":[]}',
    "a choice is text": b'{"choices":["x"]}',
    "no message": b'{"choices":[{}]}',
    "content is a number": b'{"choices":[{"message":{"content":5}}]}',
    "a tool without a name": b'{"choices":[{"message":{"tool_calls":[{"id":"x","function":{}}]}}]}',
    "arguments are no JSON": dialect.to_json(bad_tool("{")),
    "arguments are a list": dialect.to_json(bad_tool("[1]")),
    "not UTF-8": dialect.to_json(dialect.chat_completion()).replace(b"there", b"\xff"),
}


@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    """F8."""
    assert type(answered(body).error) is UpstreamBadResponse


# --- streams -------------------------------------------------------------------------------------------------------


def test_stream_of_text() -> None:
    relayed = streamed(dialect.chat_events(["Hel", "lo"]))
    assert [name for name, _ in relayed.events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    message = gathered(relayed)
    assert message.model == "public/gpt"
    assert message.content[0].text == "Hello"
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("end_turn", 9, 2)


def gathered(relayed: Relayed) -> sdk.types.Message:
    """The message that these events say, put together by the reference's rules and judged by the SDK's types."""
    message: dict[str, Any] = {}
    arguments: dict[int, str] = {}
    for name, value in relayed.events:
        if name == "message_start":
            message = value["message"]
        elif name == "content_block_start":
            assert value["index"] == len(message["content"])
            message["content"].append(value["content_block"])
        elif name == "content_block_delta":
            assert value["index"] == len(message["content"]) - 1
            block, delta = message["content"][-1], value["delta"]
            kind = delta.pop("type")
            for field, piece in delta.items():
                if kind == "input_json_delta":
                    arguments[value["index"]] = arguments.get(value["index"], "") + piece
                else:
                    block[field] += piece
        elif name == "message_delta":
            message |= value["delta"]
            message["usage"] |= value["usage"]
    for index, text in arguments.items():
        message["content"][index]["input"] = json.loads(text)
    return sdk.types.Message.model_validate(message)


def every_chunk() -> list[bytes]:
    """Reasoning, text, two tools, a refusal, figures: what servers of this dialect stream."""
    chunk = dialect.chunk
    chunks = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "Let me"}),
        chunk({"reasoning": " see … ja"}),
        chunk({"content": "Grüezi"}),
        chunk({"content": " 🐕", "tool_calls": None}),
        chunk({"tool_calls": [tool_delta(0, "call_1", "weather", "")]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": 'ty":"Zürich"}'}}]}),
        chunk({"tool_calls": [tool_delta(1, "call_2", "now", "{}")]}),
        chunk({}, "tool_calls"),
        chunk(None, usage={**dialect.usage(100, 12), "prompt_tokens_details": {"cached_tokens": 80}}),
    ]
    return [*(dialect.event(value) for value in chunks), dialect.DONE]


def tool_delta(index: int, call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_stream_of_everything() -> None:
    relayed = streamed(every_chunk(), **THINKS)
    message = gathered(relayed)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[0].thinking == "Let me see … ja"
    assert message.content[1].text == "Grüezi 🐕"
    assert message.content[2].input == {"city": "Zürich"}
    assert (message.content[3].id, message.content[3].name, message.content[3].input) == ("call_2", "now", {})
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (20, 80)
    names = [name for name, _ in relayed.events]
    assert names.count("message_start") == names.count("message_stop") == 1
    assert names.count("content_block_start") == names.count("content_block_stop") == 4
    assert relayed.usage.cached_tokens == 80
    assert [block.type for block in gathered(streamed(every_chunk())).content] == ["text", "tool_use", "tool_use"]


def test_answer_without_a_word_has_a_start_and_an_end() -> None:
    relayed = streamed(dialect.chat_events([]))
    assert [name for name, _ in relayed.events] == ["message_start", "message_delta", "message_stop"]
    assert gathered(relayed).content == []


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_same_stream_cut_at_every_byte_gives_the_same(newline: bytes) -> None:
    """R29: no character or argument is lost, no message_start comes twice."""
    raw = b"".join(every_chunk()).replace(b"\n", newline)
    expected = streamed([raw], **THINKS)
    for place in range(1, len(raw)):
        relayed = streamed([raw[:place], raw[place:]], **THINKS)
        assert relayed.body == expected.body, place
        assert relayed.usage == expected.usage
    assert streamed([raw[place : place + 1] for place in range(len(raw))], **THINKS).body == expected.body


def test_stream_broken_off_at_every_byte_is_never_told_as_whole() -> None:
    """F9, R15, R16."""
    raw = b"".join(dialect.chat_events(["The quick", " brown fox"]))
    finished_at = raw.index(b"\n\n", raw.index(b'"finish_reason":"stop"')) + 2
    for place in range(len(raw)):
        relayed = Relayed(messages_call(stream=True), GPT, [raw[:place], b""], breaks_off=True)
        if relayed.error is not None and not relayed.sent:
            assert isinstance(relayed.error, UpstreamError)
            assert relayed.body == b""
            continue
        names = [name for name, _ in relayed.events]
        assert names[0] == "message_start"
        if place < finished_at or names[-1] == "error":
            assert names[-1] == "error", place
            assert "message_stop" not in names
            assert relayed.outcome.ended == "upstream_failed"
            assert relayed.usage.prompt_tokens > 0


def test_error_inside_the_stream_is_an_error_event() -> None:
    """R16."""
    relayed = streamed([*dialect.chat_events(["Hel", "lo"])[:2], dialect.event({"error": {"message": "x"}})])
    name, value = relayed.events[-1]
    assert (name, value["error"]["type"], value["request_id"]) == ("error", "api_error", "request-1")


def test_tool_that_is_gone_back_to_is_a_bad_response() -> None:
    events = [
        dialect.event(dialect.chunk({"tool_calls": [tool_delta(0, "a", "x", "")]})),
        dialect.event(dialect.chunk({"tool_calls": [tool_delta(1, "b", "y", "")]})),
        dialect.event(dialect.chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})),
    ]
    assert streamed(events).events[-1][1]["error"]["type"] == "api_error"


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
EVENTS = every_chunk()[:-1]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_stream_ends_in_an_answer_or_an_error(data: st.DataObject) -> None:
    """F8: never an error of ours."""
    made = []
    for raw in data.draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=10)):
        value = json.loads(raw.partition(b"data: ")[2])
        if data.draw(st.booleans()):
            inner = data.draw(st.sampled_from([value, *value["choices"], *(c["delta"] for c in value["choices"])]))
            if inner:
                inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSONISH)
        made.append(dialect.event(value))
    relayed = streamed([b"".join(made) + dialect.DONE, b""], **THINKS)
    assert relayed.is_over
    if relayed.body:
        assert relayed.events[-1][0] in ("message_stop", "error")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_answer_is_read_or_refused(data: st.DataObject) -> None:
    """F8."""
    whole = json.loads(json.dumps(dialect.chat_completion("x", tool_calls=[dialect.TOOL_CALL])))
    choice = whole["choices"][0]
    call = choice["message"]["tool_calls"][0]
    inner = data.draw(st.sampled_from([whole, choice, choice["message"], call, call["function"], whole["usage"]]))
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSONISH)
    relayed = answered(whole)
    if relayed.error is None:
        assert relayed.json["type"] == "message"
    else:
        assert isinstance(relayed.error, UpstreamError)
