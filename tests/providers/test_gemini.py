"""Google's Gemini as an upstream: requests, answers, streams and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import gemini
from harness.dialect import to_json
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    UnsupportedField,
    UpstreamAuthError,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefusedRequest,
)
from routewright.providers.gemini import NO_SIGNATURE, SIGNATURE_MARK
from routewright.types import Price
from values import HELLO, call, deployment, messages_call

PRICE = Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6, cached_input_usd_per_token=1e-7, source="config")
FLASH = "gemini-2.5-flash"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def google(model: str = FLASH, **changed: Any):
    base = "https://generativelanguage.googleapis.com/v1beta"
    return deployment("public/gemini", provider="gemini", upstream_model=model, api_base=base, price=PRICE, **changed)


GOOGLE = google()


def sent_bytes(model: str = FLASH, drops: bool = False, **fields: Any) -> bytes:
    own = google(model, drops_unsupported=drops)
    return own.exchanges["chat"].request_bytes(call(**fields), own)


def sent(model: str = FLASH, drops: bool = False, **fields: Any) -> dict[str, Any]:
    return request_json(sent_bytes(model, drops, **fields))


def answered(body: Any, **fields: Any) -> Relayed:
    return Relayed(call(**fields), GOOGLE, [body if isinstance(body, bytes) else to_json(body)])


def streamed(packets: list[bytes], **fields: Any) -> Relayed:
    return Relayed(call(**{"stream": True, "stream_options": {"include_usage": True}, **fields}), GOOGLE, packets)


# --- requests ------------------------------------------------------------------------------------------------------


def test_head_has_the_model_in_its_path_and_google_s_key() -> None:
    lines = head_lines(sent_bytes())
    assert lines[0] == f"POST /v1beta/models/{FLASH}:generateContent HTTP/1.1"
    assert "x-goog-api-key: sk-upstream-credential" in lines
    assert not any("authorization" in line for line in lines)
    streaming = head_lines(sent_bytes(stream=True))
    assert streaming[0] == f"POST /v1beta/models/{FLASH}:streamGenerateContent?alt=sse HTTP/1.1"


def test_embeddings_go_by_google_s_door_for_openai_s_dialect() -> None:
    lines = head_lines(GOOGLE.exchanges["embeddings"].request_bytes(call("embeddings"), GOOGLE))
    assert lines[0] == "POST /v1beta/openai/embeddings HTTP/1.1"
    assert "authorization: Bearer sk-upstream-credential" in lines


def test_address_of_that_door_is_spoken_to_in_openai_s_dialect() -> None:
    own = deployment(provider="gemini", api_base="https://generativelanguage.googleapis.com/v1beta/openai")
    lines = head_lines(own.exchanges["chat"].request_bytes(call(), own))
    assert lines[0] == "POST /v1beta/openai/chat/completions HTTP/1.1"


def test_smallest_request() -> None:
    assert sent() == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_system_settings_and_bounds() -> None:
    body = sent(
        messages=[{"role": "system", "content": "Be brief."}, *HELLO, {"role": "developer", "content": "Rhyme."}],
        temperature=1.5, top_p=0.9, top_k=5, seed=7, presence_penalty=0.1, frequency_penalty=0.2, max_tokens=50,
        stop=["a", "b"],
    )  # fmt: skip
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Rhyme."}]}
    assert body["generationConfig"] == {
        "temperature": 1.5,
        "topP": 0.9,
        "topK": 5,
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "maxOutputTokens": 50,
        "stopSequences": ["a", "b"],
    }
    alone = sent(messages=[{"role": "system", "content": "Be brief."}])
    assert alone["contents"]


def test_media() -> None:
    parts = [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.webp?x=1"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "input_audio", "input_audio": {"data": "BB==", "format": "mp3"}},
    ]
    [turn] = sent(messages=[{"role": "user", "content": parts}])["contents"]
    assert turn["parts"] == [
        {"text": "See"},
        {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.com/cat.webp?x=1"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "BB=="}},
    ]


@pytest.mark.parametrize("url", ["gs://bucket/x.png", "file:///etc/passwd", "http://10.0.0.1/x.png"])
def test_address_that_reaches_inside_is_refused(url: str) -> None:
    """T7: a bucket would be read with the credential's rights."""
    with pytest.raises(InvalidRequest):
        sent(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])


def test_tools_round_trip() -> None:
    """The signature that Gemini gave with a call comes back with it; a call of another model is marked as such."""
    calls = [
        {
            "id": f"call_1{SIGNATURE_MARK}CiQB/8K+w==",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Zürich"}'},
        },
        {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    history = [
        *HELLO,
        {"role": "assistant", "content": "Let me look.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "12 °C"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
        {"role": "user", "content": "and?"},
    ]
    body = sent(messages=history, tools=[WEATHER])
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me look."},
                {
                    "functionCall": {"name": "weather", "args": {"city": "Zürich"}},
                    "thoughtSignature": "CiQB/8K+w==",
                },
                {"functionCall": {"name": "now", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"result": "12 °C"}}},
                {"functionResponse": {"name": "now", "response": {"result": "noon"}}},
                {"text": "and?"},
            ],
        },
    ]
    declared = {"name": "weather", "description": "The weather now"}
    schema = WEATHER["function"]["parameters"]
    assert body["tools"] == [{"functionDeclarations": [{**declared, "parametersJsonSchema": schema}]}]
    foreign = [*HELLO, {"role": "assistant", "tool_calls": calls[1:]}, *history[3:4]]
    part = sent("gemini-3-pro", messages=foreign)["contents"][1]["parts"][0]
    assert part["thoughtSignature"] == NO_SIGNATURE


def test_result_of_no_call_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent(messages=[*HELLO, {"role": "tool", "tool_call_id": "x", "content": "y"}])
    assert caught.value.param == "messages[1].tool_call_id"


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "weather"}}, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
def test_tool_choice(asked: Any, mode: dict[str, Any]) -> None:
    assert sent(tools=[WEATHER], tool_choice=asked)["toolConfig"] == {"functionCallingConfig": mode}


def test_tools_of_gemini_itself_and_web_search() -> None:
    assert sent(tools=[{"urlContext": {}}], web_search_options={})["tools"] == [
        {"urlContext": {}},
        {"googleSearch": {}},
    ]


def test_json() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    config = sent(response_format=asked)["generationConfig"]
    assert config == {"responseMimeType": "application/json", "responseJsonSchema": schema}
    assert sent(response_format={"type": "json_object"})["generationConfig"] == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("model", "fields", "config"),
    [
        (FLASH, {"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        (FLASH, {"reasoning_effort": "low"}, {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-3-pro", {"reasoning_effort": "high"}, {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-3-flash", {"reasoning_effort": "none"}, {"thinkingLevel": "minimal"}),
        (
            FLASH,
            {"thinking": {"type": "enabled", "budget_tokens": 99}},
            {"thinkingBudget": 99, "includeThoughts": True},
        ),
        (FLASH, {"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}),
        ("gemini-2.0-flash", {"reasoning_effort": "low"}, None),
    ],
)
def test_thinking(model: str, fields: dict[str, Any], config: dict[str, Any] | None) -> None:
    assert sent(model, **fields).get("generationConfig", {}).get("thinkingConfig") == config


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("n", {"n": 2}),
        ("logprobs", {"logprobs": True}),
        ("logit_bias", {"logit_bias": {"1": 1}}),
        ("modalities", {"modalities": ["image"]}),
        ("something_else", {"something_else": 1}),
        ("tools[0].type", {"tools": [{"type": "custom", "custom": {}}]}),
        ("tool_choice", {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools"}}),
    ],
)
def test_what_can_not_be_carried_over_is_refused_by_name_or_dropped(param: str, fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedField) as caught:
        sent(**fields)
    assert caught.value.param == param
    assert sent(drops=True, **fields)["contents"]


# --- answers -------------------------------------------------------------------------------------------------------


def test_answer_with_thoughts_text_and_calls() -> None:
    figures = gemini.usage(129, 28, thoughtsTokenCount=12, cachedContentTokenCount=100)
    body = gemini.response({"text": "Hm", "thought": True}, {"text": "Let me look."}, gemini.SIGNED_CALL,
                           usageMetadata=figures)  # fmt: skip
    relayed = answered(body)
    answer = relayed.json
    choice = answer["choices"][0]
    assert (answer["id"], answer["model"], choice["finish_reason"]) == ("resp-1", "public/gemini", "tool_calls")
    assert (choice["message"]["content"], choice["message"]["reasoning_content"]) == ("Let me look.", "Hm")
    [tool] = choice["message"]["tool_calls"]
    assert tool["id"] == f"call_resp-1_0{SIGNATURE_MARK}CiQB/8K+w=="
    assert json.loads(tool["function"]["arguments"]) == gemini.CALL["functionCall"]["args"]
    usage = relayed.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (129, 40)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (100, 12)
    assert relayed.outcome.cost_nusd == 29 * 1000 + 100 * 100 + 40 * 4000


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
     ("OTHER", "stop"), ("SOMETHING_NEW", "stop")],
)  # fmt: skip
def test_finish_reasons(theirs: str, ours: str) -> None:
    assert answered(gemini.response({"text": "x"}, finish=theirs)).json["choices"][0]["finish_reason"] == ours


def test_answer_that_google_itself_could_not_read_is_none() -> None:
    """R15: no invented stop."""
    for reason in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"):
        assert type(answered(gemini.response(finish=reason)).error) is UpstreamError
        assert type(streamed([gemini.event(gemini.response(finish=reason)), b""]).error) is UpstreamError


def test_blocked_prompt_is_a_policy_violation() -> None:
    body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": gemini.usage(9, 0)}
    assert type(answered(body).error) is ContentPolicyViolation
    assert type(streamed([gemini.event(body), b""]).error) is ContentPolicyViolation


def test_grounding_is_annotations() -> None:
    body = gemini.response({"text": "x"})
    body["candidates"][0]["groundingMetadata"] = {"groundingChunks": [{"web": {"uri": "https://e.com", "title": "E"}}]}
    [note] = answered(body).json["choices"][0]["message"]["annotations"]
    assert note["url_citation"]["url"] == "https://e.com"


@pytest.mark.parametrize("figures", [..., None, {}, {"promptTokenCount": -1}, {"promptTokenCount": "9"}, [1]])
def test_own_count_where_there_are_no_figures(figures: Any) -> None:
    """F8."""
    relayed = answered(gemini.response({"text": "x" * 40}, usageMetadata=figures))
    assert relayed.usage.is_estimated
    assert relayed.usage.completion_tokens == 10


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"candidates":[]}', b'{"candidates":["x"]}', b'{"candidates":[{"content":5}]}',
     b'{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}',
     to_json(gemini.response({"text": "there"}))[:-4],
     to_json(gemini.response({"text": "there"})).replace(b"there", b"\xff")],
)  # fmt: skip
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    """F8."""
    assert type(answered(body).error) is UpstreamBadResponse


# --- streams -------------------------------------------------------------------------------------------------------


def test_stream_of_every_event() -> None:
    relayed = streamed(gemini.every_event())
    *chunks, last = relayed.chunks
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    ids = [f"call_resp-1_0{SIGNATURE_MARK}CiQB/8K+w==", "call_resp-1_1"]
    assert [delta for delta in deltas if "tool_calls" not in delta] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Let me"},
        {"reasoning_content": " see … ja"},
        {"content": "Grüezi"},
        {"content": " 🐕"},
        {},
    ]
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert [call["id"] for call in calls if "id" in call] == ids
    assert json.loads(calls[1]["function"]["arguments"]) == gemini.CALL["functionCall"]["args"]
    assert calls[3]["function"]["arguments"] == "{}"
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert last["usage"]["completion_tokens"] == 40
    assert (relayed.usage.cached_tokens, relayed.usage.reasoning_tokens) == (100, 12)
    assert relayed.outcome.ended == "complete"


def test_same_stream_for_an_anthropic_client() -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
    relayed = Relayed(messages_call(stream=True, **thinking), GOOGLE, gemini.every_event())
    starts = [value["content_block"]["type"] for name, value in relayed.events if name == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use", "tool_use"]
    assert relayed.events[-2][1]["delta"]["stop_reason"] == "tool_use"
    assert relayed.events[-2][1]["usage"] == {
        "input_tokens": 29,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 100,
        "output_tokens": 40,
    }
    config = request_json(relayed)["generationConfig"]
    assert config == {"maxOutputTokens": 2000, "thinkingConfig": {"thinkingBudget": 512, "includeThoughts": True}}


def test_same_stream_cut_at_every_byte_gives_the_same() -> None:
    """R29."""
    raw = b"".join(gemini.every_event())
    expected = stripped(streamed([raw, b""]).body)
    for place in range(1, len(raw)):
        assert stripped(streamed([raw[:place], raw[place:], b""]).body) == expected, place


def stripped(body: bytes) -> bytes:
    """Two runs may lie on both sides of a second."""
    created = body.partition(b'"created":')[2][:10]
    return body.replace(b'"created":' + created, b'"created":0')


def test_stream_broken_off_at_every_byte_is_never_told_as_whole() -> None:
    """F9, R15, R16: with FIN too, since nothing but the finish reason says that an answer is whole."""
    raw = b"".join(gemini.text_events(["The quick", " brown fox"]))
    for breaks_off in (True, False):
        for place in range(len(raw)):
            relayed = Relayed(call(stream=True), GOOGLE, [raw[:place], b""], breaks_off=breaks_off)
            if not relayed.body:
                assert relayed.error is not None, place
                continue
            told = relayed.chunks
            is_whole = place > raw.rindex(b"}")  # the blank line is as good as said
            assert ("error" in told[-1]) == (breaks_off or not is_whole), place
            assert (relayed.outcome.ended == "complete") == (is_whole and not breaks_off)


def test_error_in_mid_stream_is_told() -> None:
    """R16."""
    failing = gemini.event(gemini.error(503, "UNAVAILABLE", "overloaded"))
    relayed = streamed([gemini.text_events(["Hel"])[0], failing, b""])
    assert relayed.chunks[-1]["error"]["code"] == "upstream_error"
    assert type(streamed([failing, b""]).error) is UpstreamError


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), is_stream=st.booleans())
def test_any_answer_is_read_or_refused(data: st.DataObject, is_stream: bool) -> None:
    """F8: never an error of ours."""
    values = [json.loads(raw.partition(b"data: ")[2]) for raw in gemini.every_event()]
    chosen = data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=6))
    made = []
    for value in json.loads(json.dumps(chosen)):
        candidate = value["candidates"][0]
        parts = candidate["content"]["parts"]
        inner = data.draw(
            st.sampled_from(
                [
                    value,
                    candidate,
                    candidate["content"],
                    *parts,
                    value["usageMetadata"],
                    *(part["functionCall"] for part in parts if "functionCall" in part),
                ]
            )
        )
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSONISH)
        made.append(value)
    if is_stream:
        assert streamed([*(gemini.event(value) for value in made), b""]).is_over
    else:
        relayed = answered(made[0])
        assert relayed.error is None or isinstance(relayed.error, GatewayError)


# --- errors --------------------------------------------------------------------------------------------------------


BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "33.2s"}


@pytest.mark.parametrize(
    ("code", "status", "words", "details", "expected"),
    [
        (400, "INVALID_ARGUMENT", "contents is not specified", [], UpstreamRefusedRequest),
        (400, "INVALID_ARGUMENT", "The input token count (2000000) exceeds the maximum", [], ContextLengthExceeded),
        (400, "INVALID_ARGUMENT", "API key not valid", [BAD_KEY], UpstreamAuthError),
        (403, "PERMISSION_DENIED", "no", [], UpstreamAuthError),
        (404, "NOT_FOUND", "models/x is not found", [], UpstreamRefusedRequest),
        (429, "RESOURCE_EXHAUSTED", "quota", [RETRY], UpstreamRateLimited),
        (500, "INTERNAL", "oops", [], UpstreamError),
        (503, "UNAVAILABLE", "overloaded", [], UpstreamError),
    ],
)
def test_error_table(code: int, status: str, words: str, details: list[Any], expected: type[GatewayError]) -> None:
    """F4-F7 for this dialect."""
    body = gemini.error(code, status, words, *details)
    for shape in (body, [body]):
        error = Relayed(call(), GOOGLE, [to_json(shape)], status=code, headers={}).error
        assert type(error) is expected
        if code == 429:
            assert error.retry_after_s == 34
    assert type(streamed([gemini.event(body), b""]).error) is expected


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":"x"}', b'{"error":{"message":"m","details":[5]}}'])
def test_error_body_of_another_shape(body: bytes) -> None:
    assert type(Relayed(call(), GOOGLE, [body], status=503, headers={}).error) is UpstreamError
