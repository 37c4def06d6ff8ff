"""Amazon Bedrock's Converse as an upstream: signatures, requests, answers, framed streams and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import bedrock
from harness.dialect import to_json
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import (
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    UnsupportedField,
    UpstreamAuthError,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefusedRequest,
    UpstreamTimeout,
)
from routewright.providers.anthropic import JSON_TOOL
from routewright.providers.bedrock_answers import unframe
from routewright.providers.sigv4 import signed_headers
from routewright.settings import AwsCredentials
from routewright.types import Price, Secret
from values import HELLO, call, deployment, messages_call

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-pro-v1:0"
EXAMPLE = AwsCredentials(
    key_id="AKIDEXAMPLE", secret_key=Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), region="us-east-1"
)
PRICE = Price(
    input_usd_per_token=3e-6, output_usd_per_token=15e-6, cached_input_usd_per_token=3e-7,
    cache_creation_usd_per_token=3.75e-6, source="config",
)  # fmt: skip
CACHED = {"type": "ephemeral"}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": {"type": "object"}}}


def aws(model: str = CLAUDE, **changed: Any):
    values = {
        "provider": "bedrock",
        "upstream_model": model,
        "api_base": "https://bedrock-runtime.us-east-1.amazonaws.com",
        "api_key": None,
        "aws": EXAMPLE,
        "price": PRICE,
    }
    return deployment("public/claude", **{**values, **changed})


AWS = aws()


def sent(model: str = CLAUDE, drops: bool = False, **fields: Any) -> dict[str, Any]:
    own = aws(model, drops_unsupported=drops)
    return request_json(own.exchanges["chat"].request_bytes(call(**fields), own))


def answered(body: Any, **fields: Any) -> Relayed:
    return Relayed(call(**fields), AWS, [body if isinstance(body, bytes) else to_json(body)])


def streamed(packets: list[bytes], **fields: Any) -> Relayed:
    return Relayed(call(**{"stream": True, "stream_options": {"include_usage": True}, **fields}), AWS, packets)


# --- signatures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_published_vectors_of_the_signature(method: str, signature: str) -> None:
    """get-vanilla and post-vanilla of AWS's test suite for signature version 4."""
    at_s = 1_440_938_160  # 2015-08-30T12:36:00Z
    headers = signed_headers(method, "/", {"host": "example.amazonaws.com"}, b"", EXAMPLE, "service", at_s)
    assert headers["x-amz-date"] == "20150830T123600Z"
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )


def test_signature_of_a_request_to_bedrock() -> None:
    """As botocore 1.44 signs the same request: a colon in the path, a session's token, a body."""
    credentials = AwsCredentials(
        key_id="AKIDEXAMPLE", secret_key=EXAMPLE.secret_key, session_token=Secret("SESSION"), region="us-west-2"
    )
    headers = {"host": "bedrock-runtime.us-west-2.amazonaws.com", "content-type": "application/json"}
    path = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse"
    signed = signed_headers("POST", path, headers, b'{"messages":[]}', credentials, "bedrock", 1_440_938_160)
    assert signed["authorization"].endswith(BOTOCORE)


BOTOCORE = "Signature=c319419f2b77e87d4824857a906325029e83b929b0c3cc8047d1872bb6fb85b2"


def test_head_is_signed_or_bears_a_token() -> None:
    request = AWS.exchanges["chat"].request_bytes(call(stream=True), AWS)
    lines = head_lines(request)
    assert lines[0] == "POST /model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream HTTP/1.1"
    assert any(line.startswith("authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") for line in lines)
    assert any(line.startswith("x-amz-date: 20") for line in lines)
    bearing = aws(api_key=Secret("bedrock-token"), aws=None)
    lines = head_lines(bearing.exchanges["chat"].request_bytes(call(), bearing))
    assert "authorization: Bearer bedrock-token" in lines
    assert not any("x-amz-date" in line for line in lines)
    assert EXAMPLE.secret_key.reveal() in AWS.secrets


# --- requests ------------------------------------------------------------------------------------------------------


def test_smallest_request() -> None:
    assert sent(NOVA) == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


def test_system_settings_and_caches() -> None:
    system = {"role": "system", "content": [{"type": "text", "text": "Long", "cache_control": CACHED}]}
    fields = {"messages": [system, *HELLO], "max_tokens": 50, "temperature": 0.5, "top_p": 0.9, "stop": "x", "top_k": 5}
    body = sent(**fields)
    assert body["system"] == [{"text": "Long"}, {"cachePoint": {"type": "default"}}]
    assert body["inferenceConfig"] == {"maxTokens": 50, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"]}
    assert body["additionalModelRequestFields"] == {"top_k": 5}
    assert sent(NOVA, **fields)["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 5}}
    assert sent("meta.llama3-1-8b-instruct-v1:0", **{**fields, "top_k": None})["system"] == [{"text": "Long"}]


def test_media() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AA=="}},
        {"type": "file", "file": {"filename": "Q3/report.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
    ]
    [turn] = sent(messages=[{"role": "user", "content": parts}])["messages"]
    assert turn["content"] == [
        {"image": {"format": "jpeg", "source": {"bytes": "AA=="}}},
        {"document": {"format": "pdf", "name": "Q3 report pdf 1", "source": {"bytes": "JVBERi0="}}},
    ]
    linked = {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg"}}
    with pytest.raises(UnsupportedField) as caught:
        sent(messages=[{"role": "user", "content": [linked]}])
    assert caught.value.param == "messages[0].content[0]"


def test_tools_round_trip() -> None:
    thinking = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}]
    long_id = "call:" + "x" * 100
    calls = [{"id": long_id, "type": "function", "function": {"name": "weather", "arguments": '{"city":"Zürich"}'}}]
    history = [
        *HELLO,
        {"role": "assistant", "content": "Let me look.", "thinking_blocks": thinking, "tool_calls": calls},
        {"role": "tool", "tool_call_id": long_id, "content": "12 °C", "is_error": True},
        {"role": "user", "content": "and?"},
    ]
    body = sent(messages=history, tools=[{**WEATHER, "cache_control": CACHED}], tool_choice="required")
    _, assistant, result = body["messages"]
    use = assistant["content"][3]["toolUse"]
    assert assistant["content"][:3] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "d"}},
        {"text": "Let me look."},
    ]
    assert (use["name"], use["input"]) == ("weather", {"city": "Zürich"})
    assert len(use["toolUseId"]) <= 64
    assert result["content"] == [
        {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"text": "12 °C"}], "status": "error"}},
        {"text": "and?"},
    ]
    assert body["toolConfig"] == {
        "tools": [
            {"toolSpec": {"name": "weather", "description": "Now", "inputSchema": {"json": {"type": "object"}}}},
            {"cachePoint": {"type": "default"}},
        ],
        "toolChoice": {"any": {}},
    }


def test_thinking_of_claude() -> None:
    body = sent(reasoning_effort="low")
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    assert "additionalModelRequestFields" not in sent(NOVA, reasoning_effort="low")


def test_json_by_a_tool() -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    config = sent(response_format=asked)["toolConfig"]
    assert config["toolChoice"] == {"tool": {"name": JSON_TOOL}}
    both = sent(response_format={"type": "json_object"}, tools=[WEATHER])["toolConfig"]
    assert both["toolChoice"] == {"any": {}}
    assert len(both["tools"]) == 2


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("n", {"n": 2}),
        ("seed", {"seed": 1}),
        ("logprobs", {"logprobs": True}),
        ("tools[0].type", {"tools": [{"type": "custom"}]}),
        ("tool_choice", {"tools": [WEATHER], "tool_choice": {"type": "x"}}),
    ],
)
def test_what_can_not_be_carried_over_is_refused_by_name_or_dropped(param: str, fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedField) as caught:
        sent(**fields)
    assert caught.value.param == param
    assert sent(drops=True, **fields)["messages"]


def test_embeddings_are_not_served() -> None:
    with pytest.raises(UnsupportedField):
        AWS.exchanges["embeddings"].request_bytes(call("embeddings"), AWS)


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.dictionaries(
    st.sampled_from(["tools", "tool_choice", "response_format", "thinking", "reasoning_effort", "stop", "top_k",
                     "guardrailConfig", "tool_calls", "thinking_blocks", "tool_call_id"]),
    JSONISH | st.sampled_from([[{}], [{"type": "function"}], {"type": "json_schema"}, [{"function": {"name": "x"}}]]),
    max_size=4,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(fields=FIELDS, message=FIELDS, role=st.sampled_from(["user", "assistant", "tool", "system"]))
def test_any_request_is_carried_over_or_refused(fields: dict[str, Any], message: dict[str, Any], role: str) -> None:
    """1c of RELIABILITY.md: never an error of ours."""
    for model in (CLAUDE, NOVA):
        try:
            assert sent(model, messages=[*HELLO, {"content": "x", **message, "role": role}], **fields)
        except InvalidRequest:
            continue


# --- answers -------------------------------------------------------------------------------------------------------


def test_answer_with_thinking_text_and_tools() -> None:
    figures = bedrock.usage(10, 40, cacheReadInputTokens=100, cacheWriteInputTokens=20)
    relayed = answered(bedrock.response(bedrock.THOUGHT, {"text": "So."}, bedrock.TOOL_USE, stop="tool_use",
                                        usage=figures))  # fmt: skip
    choice = relayed.json["choices"][0]
    assert (relayed.json["model"], choice["finish_reason"]) == ("public/claude", "tool_calls")
    assert choice["message"]["content"] == "So."
    assert choice["message"]["reasoning_content"] == "Let me see … ja"
    assert choice["message"]["thinking_blocks"][0]["signature"] == "EqQBCg=="
    [tool] = choice["message"]["tool_calls"]
    assert json.loads(tool["function"]["arguments"]) == bedrock.TOOL_USE["toolUse"]["input"]
    assert (relayed.usage.prompt_tokens, relayed.usage.cached_tokens) == (130, 100)
    assert relayed.outcome.cost_nusd == 10 * 3000 + 100 * 300 + 20 * 3750 + 40 * 15000


@pytest.mark.parametrize(
    ("stop", "finish"),
    [("end_turn", "stop"), ("max_tokens", "length"), ("guardrail_intervened", "content_filter"),
     ("stop_sequence", "stop"), ("new", "stop")],
)  # fmt: skip
def test_stop_reasons(stop: str, finish: str) -> None:
    assert answered(bedrock.response({"text": "x"}, stop=stop)).json["choices"][0]["finish_reason"] == finish


def test_broken_answer_is_none() -> None:
    """R15."""
    assert type(answered(bedrock.response({"text": "x"}, stop="malformed_tool_use")).error) is UpstreamError


@pytest.mark.parametrize("figures", [..., None, {}, {"inputTokens": -1, "outputTokens": 1}, "x"])
def test_own_count_where_there_are_no_figures(figures: Any) -> None:
    """F8."""
    assert answered(bedrock.response({"text": "x" * 40}, usage=figures)).usage.is_estimated


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"output":{}}', to_json(bedrock.response({"text": "x"}, stopReason=...)),
             to_json(bedrock.response({"text": "there"})).replace(b"there", b"\xff")]
)  # fmt: skip
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    """F8."""
    assert type(answered(body).error) is UpstreamBadResponse


# --- streams -------------------------------------------------------------------------------------------------------


def test_stream_of_every_event() -> None:
    relayed = streamed(bedrock.every_event())
    *chunks, last = relayed.chunks
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta for delta in deltas if "tool_calls" not in delta] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Let me"},
        {"reasoning_content": " see … ja"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "Let me see … ja", "signature": "EqQBCg=="}]},
        {"thinking_blocks": [{"type": "redacted_thinking", "data": "EmwKAhgB"}]},
        {"content": "Grüezi"},
        {"content": " 🐕"},
        {},
    ]
    pieces = [delta["tool_calls"][0]["function"]["arguments"] for delta in deltas if "tool_calls" in delta]
    assert pieces == ["", '{"ci', 'ty":"Zürich"}', "", "{}"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert last["usage"]["prompt_tokens"] == 129
    assert relayed.outcome.ended == "complete"


def test_same_stream_for_an_anthropic_client() -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
    relayed = Relayed(messages_call(stream=True, **thinking), AWS, bedrock.every_event())
    starts = [value["content_block"]["type"] for name, value in relayed.events if name == "content_block_start"]
    assert starts == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert relayed.events[-2][1]["usage"]["cache_read_input_tokens"] == 100


def stripped(relayed: Relayed) -> bytes:
    """Without what tells the time of the run."""
    body = relayed.body
    for name in (b'"created":', b'"id":"chatcmpl-'):
        value = body.partition(name)[2][: 10 if name == b'"created":' else 14].rstrip(b'",')
        body = body.replace(name + value, name + b"0")
    return body


def test_same_stream_cut_at_every_byte_gives_the_same() -> None:
    """R29, through the binary frames."""
    raw = b"".join(bedrock.every_event())
    expected = stripped(streamed([raw, b""]))
    assert b"[DONE]" in expected
    for place in range(1, len(raw)):
        assert stripped(streamed([raw[:place], raw[place:], b""])) == expected, place
    assert stripped(streamed([raw[place : place + 1] for place in range(len(raw))] + [b""])) == expected


def test_stream_broken_off_at_every_byte_is_never_told_as_whole() -> None:
    """F9, R15, R16."""
    events = bedrock.text_events(["The quick", " brown fox"])
    raw = b"".join(events)
    finished = len(raw) - len(events[-1])
    for breaks_off in (True, False):
        for place in range(len(raw)):
            relayed = Relayed(call(stream=True), AWS, [raw[:place], b""], breaks_off=breaks_off)
            if not relayed.body:
                assert relayed.error is not None, place
                continue
            is_whole = place >= finished and not breaks_off
            assert ("error" in relayed.chunks[-1]) != is_whole, place
            assert (relayed.outcome.ended == "complete") == is_whole


@pytest.mark.parametrize("place", range(0, 60, 3))
def test_frame_with_a_flipped_bit_is_a_bad_response(place: int) -> None:
    """T15: both checksums are checked."""
    raw = bytearray(b"".join(bedrock.text_events(["Hel", "lo"])))
    raw[place] ^= 0x10
    relayed = streamed([bytes(raw), b""])
    assert type(relayed.error) is UpstreamBadResponse


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_frames_or_a_bad_response(data: bytes) -> None:
    try:
        unframe(data)
    except UpstreamBadResponse:
        return


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_stream_ends_in_an_answer_or_an_error(data: st.DataObject) -> None:
    """F8: frames left out, doubled, exchanged or of any payload: never an error of ours."""
    kinds = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]
    odd = st.builds(
        bedrock.event,
        st.sampled_from(kinds),
        st.dictionaries(
            st.sampled_from(["contentBlockIndex", "delta", "start", "stopReason", "usage", "role"]), JSONISH, max_size=3
        ),
    )
    frames = data.draw(st.lists(st.sampled_from(bedrock.every_event()) | odd, min_size=1, max_size=12))
    assert streamed([b"".join(frames), b""]).is_over


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "words", "expected"),
    [
        (400, "validationException", "messages: at least one", UpstreamRefusedRequest),
        (400, "validationException", "Input is too long for requested model.", ContextLengthExceeded),
        (403, "accessDeniedException", "no access", UpstreamAuthError),
        (404, "resourceNotFoundException", "no such model", UpstreamRefusedRequest),
        (408, "modelTimeoutException", "slow", UpstreamTimeout),
        (424, "modelStreamErrorException", "model failed", UpstreamError),
        (429, "throttlingException", "slow down", UpstreamRateLimited),
        (500, "internalServerException", "oops", UpstreamError),
        (503, "serviceUnavailableException", "busy", UpstreamError),
    ],
)
def test_error_table(status: int, kind: str, words: str, expected: type[GatewayError]) -> None:
    """F4-F7 for this dialect, by status and inside a stream."""
    error = Relayed(call(), AWS, [to_json({"message": words})], status=status, headers={}).error
    assert type(error) is expected
    assert type(streamed([bedrock.START, bedrock.exception(kind, words), b""]).error) is expected


def test_exception_in_mid_stream_is_told() -> None:
    """R16."""
    relayed = streamed([*bedrock.text_events(["Hel"])[:2], bedrock.exception("throttlingException", "x"), b""])
    assert relayed.chunks[-1]["error"]["code"] == "upstream_rate_limited"
