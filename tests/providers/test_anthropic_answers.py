"""Anthropic's Messages as an upstream: their answers, streams and errors to what OpenAI's clients read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import anthropic
from harness.dialect import to_json
from harness.relay import Relayed
from routewright.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    GatewayError,
    UpstreamAuthError,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefusedRequest,
    UpstreamTimeout,
)
from routewright.providers.anthropic import JSON_TOOL
from routewright.types import Price
from values import call, deployment

PRICE = Price(
    input_usd_per_token=3e-6,
    output_usd_per_token=15e-6,
    cached_input_usd_per_token=3e-7,
    cache_creation_usd_per_token=3.75e-6,
    cache_creation_long_usd_per_token=6e-6,
    source="config",
)
CLAUDE = deployment("public/claude", provider="anthropic", upstream_model="claude-opus-4-6", price=PRICE)
ASKING = {"stream": True, "stream_options": {"include_usage": True}}


def answered(body: Any, **fields: Any) -> Relayed:
    data = body if isinstance(body, bytes) else to_json(body)
    return Relayed(call(**fields), CLAUDE, [data])


def streamed(packets: list[bytes], **fields: Any) -> Relayed:
    return Relayed(call(**{"stream": True, **fields}), CLAUDE, packets)


# --- answers -------------------------------------------------------------------------------------------------------


def test_answer_of_text() -> None:
    answer = answered(anthropic.message()).json
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "id": "msg_upstream_1",
        "object": "chat.completion",
        "model": "public/claude",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }


def test_answer_with_thinking_text_and_tools() -> None:
    whole = anthropic.message(
        anthropic.THINKING, anthropic.REDACTED, anthropic.text("Let me look."), anthropic.TOOL_USE,
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}, stop_reason="tool_use",
    )  # fmt: skip
    choice = answered(whole).json["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me look."
    assert choice["message"]["reasoning_content"] == anthropic.THINKING["thinking"]
    assert choice["message"]["thinking_blocks"] == [anthropic.THINKING, anthropic.REDACTED]
    [tool] = choice["message"]["tool_calls"]
    assert (tool["id"], tool["type"], tool["function"]["name"]) == ("toolu_01", "function", "weather")
    assert json.loads(tool["function"]["arguments"]) == anthropic.TOOL_USE["input"]


def test_answer_of_tools_alone_has_no_content() -> None:
    message = answered(anthropic.message(anthropic.TOOL_USE, stop_reason="tool_use")).json["choices"][0]["message"]
    assert message["content"] is None
    assert len(message["tool_calls"]) == 1


def test_json_that_came_by_the_tool_is_the_content() -> None:
    block = {"type": "tool_use", "id": "toolu_9", "name": JSON_TOOL, "input": {"a": "ü"}}
    choice = answered(anthropic.message(block, stop_reason="tool_use")).json["choices"][0]
    assert json.loads(choice["message"]["content"]) == {"a": "ü"}
    assert choice["finish_reason"] == "stop"
    assert "tool_calls" not in choice["message"]


def test_citations_are_annotations() -> None:
    cited = {"type": "text", "text": "It is.", "citations": [{"type": "web_search_result_location", "title": "T",
             "url": "https://example.com", "encrypted_index": "x", "cited_text": "y"}]}  # fmt: skip
    message = answered(anthropic.message(anthropic.text("Yes. "), cited)).json["choices"][0]["message"]
    about = {"url": "https://example.com", "title": "T", "start_index": 5, "end_index": 11}
    assert message["annotations"] == [{"type": "url_citation", "url_citation": about}]


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons(stop_reason: str, finish_reason: str) -> None:
    choice = answered(anthropic.message(stop_reason=stop_reason)).json["choices"][0]
    assert choice["finish_reason"] == finish_reason
    events = [anthropic.start(), *anthropic.text_block(0, ["x"]), anthropic.end(stop_reason), anthropic.STOP]
    assert streamed(events).chunks[-1]["choices"][0]["finish_reason"] == finish_reason


def test_usage_of_every_token_class_is_told_and_priced() -> None:
    """R28: a golden bill. 10 fresh, 100 read, 20 written for minutes and 30 for an hour; 40 out, 12 of them thought."""
    figures = anthropic.usage(
        10, 40, cache_read_input_tokens=100, cache_creation_input_tokens=50,
        cache_creation={"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
        output_tokens_details={"thinking_tokens": 12},
    )  # fmt: skip
    relayed = answered(anthropic.message(usage=figures))
    assert relayed.json["usage"] == {
        "prompt_tokens": 160,
        "completion_tokens": 40,
        "total_tokens": 200,
        "prompt_tokens_details": {"cached_tokens": 100},
        "cache_creation_input_tokens": 50,
        "cache_read_input_tokens": 100,
        "completion_tokens_details": {"reasoning_tokens": 12},
    }
    assert relayed.outcome.cost_nusd == 10 * 3000 + 100 * 300 + 20 * 3750 + 30 * 6000 + 40 * 15000
    assert b"x-litellm-response-cost: 0.000915000\r\n" in relayed.fields


@pytest.mark.parametrize(
    "figures", [..., None, {}, {"input_tokens": -1, "output_tokens": 3}, {"input_tokens": 10**18, "output_tokens": 3},
                {"input_tokens": "9", "output_tokens": 3}, [1]]
)  # fmt: skip
def test_figures_that_can_not_be_believed_give_way_to_our_own(figures: Any) -> None:
    """F8, T15: an estimate, marked as one."""
    relayed = answered(anthropic.message(anthropic.text("x" * 40), usage=figures))
    assert relayed.usage.is_estimated
    assert relayed.json["usage"]["completion_tokens"] == relayed.usage.completion_tokens == 10


RUBBISH = {
    "empty": b"",
    "HTML": b"<html>busy</html>",
    "list": b"[]",
    "cut off": to_json(anthropic.message())[:-5],
    "no content": to_json(anthropic.message(content=...)),
    "content is text": to_json(anthropic.message(content="x")),
    "a block without type": to_json(anthropic.message(content=[{}])),
    "no stop reason": to_json(anthropic.message(stop_reason=None)),
    "not UTF-8": to_json(anthropic.message()).replace(b"there", b"\xff"),
    "OpenAI's": b'{"choices":[{"message":{"content":"x"}}]}',
}


@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    """F8."""
    assert type(answered(body).error) is UpstreamBadResponse


def test_error_under_a_200() -> None:
    assert type(answered(anthropic.error("overloaded_error", "Overloaded")).error) is UpstreamError


# --- streams -------------------------------------------------------------------------------------------------------


def test_stream_of_text() -> None:
    relayed = streamed(anthropic.message_events("Hel", "lo"))
    first, *_ = relayed.chunks
    assert {key: first[key] for key in ("id", "object", "model")} == {
        "id": "msg_upstream_1",
        "object": "chat.completion.chunk",
        "model": "public/claude",
    }
    assert len({(chunk["id"], chunk["created"]) for chunk in relayed.chunks}) == 1
    assert [chunk["choices"][0]["delta"] for chunk in relayed.chunks] == [
        {"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {},
    ]  # fmt: skip
    assert [chunk["choices"][0]["finish_reason"] for chunk in relayed.chunks] == [None, None, None, "stop"]
    assert all("usage" not in chunk for chunk in relayed.chunks)
    assert relayed.outcome.ended == "complete"


def test_stream_of_every_event() -> None:
    relayed = streamed(anthropic.every_event(), **ASKING)
    *chunks, last = relayed.chunks
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Let me"},
        {"reasoning_content": " see … ja"},
        {"thinking_blocks": [anthropic.THINKING]},
        {"thinking_blocks": [anthropic.REDACTED]},
        {"content": "Grüezi"},
        {"content": " 🐕,"},
        {"content": " it is"},
        tool_delta(0, id="toolu_01", name="weather", arguments=""),
        tool_delta(0, arguments='{"ci'),
        tool_delta(0, arguments='ty":"Zür'),
        tool_delta(0, arguments='ich"}'),
        tool_delta(1, id="toolu_02", name="now", arguments=""),
        tool_delta(1, arguments="{}"),
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 129
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 100}
    assert last["usage"]["completion_tokens_details"] == {"reasoning_tokens": 12}
    usage = relayed.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (129, 40, 100)
    assert (usage.cache_creation_tokens, usage.reasoning_tokens, usage.is_estimated) == (20, 12, False)


def tool_delta(index: int, *, id: str = "", name: str = "", arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    head = {"index": index, "id": id, "type": "function"} if id else {"index": index}
    return {"tool_calls": [{**head, "function": function}]}


def test_streamed_json_that_came_by_the_tool_is_the_content() -> None:
    block = anthropic.tool_block(0, JSON_TOOL, ['{"a"', ":1}"])
    chunks = streamed([anthropic.start(), *block, anthropic.end("tool_use"), anthropic.STOP]).chunks
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == '{"a":1}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_same_stream_cut_at_every_byte_gives_the_same(newline: bytes) -> None:
    """R29: no character, event or argument is lost or doubled, wherever the packets end."""
    raw = b"".join(anthropic.every_event()).replace(b"\n", newline)
    expected = streamed([raw], **ASKING)
    assert expected.outcome.ended == "complete"
    whole = without_created(expected.body)
    for place in range(1, len(raw)):
        relayed = streamed([raw[:place], raw[place:]], **ASKING)
        assert without_created(relayed.body) == whole, place
        assert relayed.usage == expected.usage
    single = streamed([raw[place : place + 1] for place in range(len(raw))], **ASKING)
    assert without_created(single.body) == whole


def without_created(body: bytes) -> bytes:
    """Two runs may lie on both sides of a second."""
    _, _, after = body.partition(b'"created":')
    if not after:
        return body
    created = after[:10]
    return body.replace(b'"created":' + created, b'"created":0')


def test_stream_broken_off_at_every_byte_is_never_told_as_whole() -> None:
    """F9, R15, R16: what came goes on, then an error; no invented finish, and a bill for what went by."""
    raw = b"".join(anthropic.message_events("The quick", " brown fox"))
    finish_at = raw.index(b"message_delta")
    for place in range(len(raw)):
        relayed = Relayed(call(stream=True), CLAUDE, [raw[:place], b""], breaks_off=True)
        assert relayed.is_over
        if b"content_block_delta" not in raw[:place].rpartition(b"\n\n")[0]:
            assert isinstance(relayed.error, UpstreamError), place
            continue
        told = relayed.chunks
        if place < raw.rindex(b"event: message_stop"):
            assert "error" in told[-1], place
            assert relayed.outcome.ended == "upstream_failed"
            assert relayed.usage.prompt_tokens > 0
        finishes = [chunk["choices"][0]["finish_reason"] for chunk in told if "choices" in chunk]
        assert any(finishes) == (place > finish_at and b"end_turn" in raw[:place].rpartition(b"\n\n")[0]), place


def test_stream_that_ends_after_its_finish_is_whole() -> None:
    events = anthropic.message_events("Hel", "lo")[:-1]
    relayed = streamed(events)
    assert relayed.outcome.ended == "complete"
    assert relayed.chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_error_before_there_is_anything_to_say_can_be_answered_elsewhere() -> None:
    """S: message_start alone has told the client nothing."""
    relayed = streamed([anthropic.start(), anthropic.PING, anthropic.error_event("overloaded_error")])
    assert type(relayed.error) is UpstreamError
    assert relayed.error.try_next
    assert relayed.body == b""


def test_error_in_mid_stream_is_told() -> None:
    """R16."""
    relayed = streamed([*anthropic.message_events("Hel")[:5], anthropic.error_event("api_error", "sk-ant-secret12345")])
    *_, last = relayed.chunks
    assert last["error"]["code"] == "upstream_error"
    assert b"secret" not in relayed.body
    assert relayed.outcome.ended == "upstream_failed"


ODD_STREAMS = {
    "not JSON": b"event: ping\ndata: hello\n\n",
    "no type": b"data: {}\n\n",
    "list": b"data: []\n\n",
    "delta before the start": anthropic.delta(0, type="text_delta", text="x"),
    "block before the start": anthropic.block_start(0, anthropic.text("x")),
    "end before the start": anthropic.end(),
    "two starts": anthropic.start() + anthropic.start(),
    "stop without a reason": anthropic.start() + anthropic.STOP,
    "delta without delta": anthropic.start() + b'data: {"type":"content_block_delta","index":0}\n\n',
    "block without block": anthropic.start() + b'data: {"type":"content_block_start","index":0}\n\n',
    "OpenAI's": b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n',
}


@pytest.mark.parametrize("raw", ODD_STREAMS.values(), ids=ODD_STREAMS)
def test_odd_stream_is_a_bad_response(raw: bytes) -> None:
    """F8, R29: a second message_start among them."""
    relayed = streamed([raw, b""])
    assert type(relayed.error) is UpstreamBadResponse


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
EVENTS = anthropic.every_event()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_stream_ends_in_an_answer_or_an_error(data: st.DataObject) -> None:
    """F8: events left out, doubled, exchanged or with a field replaced by anything: never an error of ours."""
    events = data.draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=12))
    made = []
    for raw in events:
        value = json.loads(raw.partition(b"data: ")[2])
        if data.draw(st.booleans()):
            inner = data.draw(st.sampled_from([value, *(part for part in value.values() if isinstance(part, dict))]))
            if inner:
                inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSONISH)
        made.append(b"data: " + to_json(value) + b"\n\n")
    relayed = streamed([b"".join(made), b""])
    assert relayed.is_over
    if relayed.error is None:
        assert relayed.chunks


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_answer_is_read_or_refused(data: st.DataObject) -> None:
    """F8."""
    whole = anthropic.message(anthropic.THINKING, anthropic.text("x"), anthropic.TOOL_USE, stop_reason="tool_use")
    inner = data.draw(st.sampled_from([whole, *whole["content"], whole["usage"]]))
    changed = json.loads(json.dumps(whole))
    place = changed if inner is whole else next(
        part for part in [*changed["content"], changed["usage"]] if part == inner
    )  # fmt: skip
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSONISH)
    relayed = answered(changed)
    if relayed.error is None:
        assert relayed.json["object"] == "chat.completion"
    else:
        assert isinstance(relayed.error, UpstreamError)


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "words", "expected"),
    [
        (400, "invalid_request_error", "max_tokens: field required", UpstreamRefusedRequest),
        (400, "invalid_request_error", "prompt is too long: 215000 tokens > 200000 maximum", ContextLengthExceeded),
        (400, "invalid_request_error", "input length and `max_tokens` exceed context limit", ContextLengthExceeded),
        (400, "invalid_request_error", "Output blocked by content filtering policy", ContentPolicyViolation),
        (400, "invalid_request_error", "Your credit balance is too low", UpstreamAuthError),
        (401, "authentication_error", "invalid x-api-key", UpstreamAuthError),
        (402, "billing_error", "no money", UpstreamAuthError),
        (403, "permission_error", "not allowed", UpstreamAuthError),
        (404, "not_found_error", "model: claude-x", UpstreamRefusedRequest),
        (413, "request_too_large", "too large", UpstreamRefusedRequest),
        (429, "rate_limit_error", "slow down", UpstreamRateLimited),
        (500, "api_error", "Internal server error", UpstreamError),
        (504, "timeout_error", "took too long", UpstreamError),
        (529, "overloaded_error", "Overloaded", UpstreamError),
    ],
)
def test_error_table(status: int, kind: str, words: str, expected: type[GatewayError]) -> None:
    """F4-F7 for this dialect; COMPAT 6."""
    body = to_json(anthropic.error(kind, words))
    relayed = Relayed(call(), CLAUDE, [body], status=status, headers={b"retry-after": b"7"})
    assert type(relayed.error) is expected
    assert relayed.error.status == {402: 502, 401: 502, 403: 502, 413: 400, 500: 502, 504: 502, 529: 502}.get(
        status, 502 if expected is UpstreamAuthError else status
    )
    if status == 429:
        assert relayed.error.retry_after_s == 7
    if expected is UpstreamRefusedRequest and status == 404:
        assert relayed.error.code == "model_not_found"
    events = streamed([anthropic.start(), anthropic.error_event(kind, words)])
    if kind != "timeout_error" and "credit" not in words:
        assert type(events.error) is expected


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":"x"}', b'{"error":{"message":5}}'])
def test_error_body_of_another_shape(body: bytes) -> None:
    relayed = Relayed(call(), CLAUDE, [body], status=503)
    assert type(relayed.error) is UpstreamError
    assert type(Relayed(call(), CLAUDE, [body], status=408).error) is UpstreamTimeout


def test_error_text_is_cleaned() -> None:
    """K, T16: neither our credential nor an address gets out."""
    words = "bad key sk-upstream-credential at https://10.0.0.1/x"
    relayed = Relayed(call(), CLAUDE, [to_json(anthropic.error("invalid_request_error", words))], status=400)
    assert "credential" not in relayed.error.message
    assert "10.0.0.1" not in relayed.error.message
