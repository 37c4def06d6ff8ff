"""Gemini's `generateContent` as a client dialect: bodies to calls, requests in OpenAI's form, answers and streams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import anthropic, dialect, gemini
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import InvalidRequest, MissingField, RefusedField, UnsupportedField, UpstreamBadResponse
from routewright.wire.chat import prompt_of
from values import deployment, gemini_call, http_request

GPT = deployment("public/gpt")
CLAUDE = deployment("public/claude", provider="anthropic", upstream_model="claude-opus-4-6")
GOOGLE = deployment("public/gemini", provider="gemini", upstream_model="gemini-2.5-flash",
                    api_base="https://generativelanguage.googleapis.com/v1beta")  # fmt: skip
SCHEMA = {"type": "OBJECT", "properties": {"city": {"type": "STRING", "nullable": True}}, "required": ["city"]}


def chat(*, is_dropped: bool = False, **fields: Any) -> dict[str, Any]:
    call = gemini_call(**fields)
    return call.client.as_chat(call, plain=True, is_dropped=is_dropped)


def said(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


# --- calls ---------------------------------------------------------------------------------------------------------


def test_what_a_router_and_the_limits_go_by() -> None:
    call = gemini_call(
        contents=[said({"text": "What is it?"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}),
                  said(gemini.CALL, role="model"),
                  said({"functionResponse": {"name": "weather", "response": {"result": "12"}}})],
        system_instruction={"parts": [{"text": "Be brief."}]},
        tools=[{"functionDeclarations": [{"name": "weather"}]}],
        generationConfig={"maxOutputTokens": 50, "responseMimeType": "application/json"},
        routing={"quality": 0.3},
    )  # fmt: skip
    prompt = prompt_of(call)
    assert (prompt.text, prompt.system) == ("What is it?", "Be brief.")
    assert (prompt.has_tools, prompt.has_images, prompt.wants_json) == (True, True, True)
    assert (call.model, call.max_tokens, call.quality, call.is_stream) == ("gpt-4o", 50, 0.3, False)
    assert call.prompt_tokens_estimate > 800


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"contents": None}, MissingField, "contents"),
        ({"contents": []}, InvalidRequest, "contents"),
        ({"contents": ["x"]}, InvalidRequest, "contents[0].parts"),
        ({"contents": [{"parts": "x"}]}, InvalidRequest, "contents[0].parts"),
        ({"generationConfig": []}, InvalidRequest, "generationConfig"),
        ({"generationConfig": {"maxOutputTokens": 0}}, InvalidRequest, "generationConfig.maxOutputTokens"),
        ({"api_base": "http://x"}, RefusedField, "api_base"),
    ],
)
def test_faulty_request_is_refused_by_name(fields: dict[str, Any], kind: type[InvalidRequest], param: str) -> None:
    with pytest.raises(kind) as caught:
        gemini_call(**fields)
    assert caught.value.param == param


def test_names_may_be_written_as_google_s_own_examples_do() -> None:
    call = gemini_call(
        contents=[said({"text": "What?"}, {"inline_data": {"mime_type": "image/png", "data": "AA=="}}),
                  said({"function_call": {"name": "f", "args": {"a_b": {"c_d": 1}}}}, role="model"),
                  said({"function_response": {"name": "f", "response": {"an_other": 2}}})],
        tools=[{"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties":
                                           {"a_b": {"type": "OBJECT"}}}}]}],
        tool_config={"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}},
        generation_config={"max_output_tokens": 50, "stop_sequences": ["x"], "response_mime_type": "application/json",
                           "response_schema": {"type": "OBJECT", "properties": {"an_answer": {"type": "STRING"}}}},
        drop_params=True,
    )  # fmt: skip
    assert (call.max_tokens, call.has_images, call.wants_json, call.drop_params) == (50, True, True, True)
    chat = call.client.as_chat(call, plain=True, is_dropped=False)
    assert chat["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,AA=="
    assert json.loads(chat["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"a_b": {"c_d": 1}}
    assert json.loads(chat["messages"][2]["content"]) == {"an_other": 2}
    assert chat["tool_choice"]["function"]["name"] == "f"
    assert set(chat["tools"][0]["function"]["parameters"]["properties"]) == {"a_b"}
    assert set(chat["response_format"]["json_schema"]["schema"]["properties"]) == {"an_answer"}
    assert (chat["max_tokens"], chat["stop"]) == (50, ["x"])


def test_stream_without_events_is_refused() -> None:
    from routewright.wire.gemini import parse_generate

    request = http_request({"contents": [said({"text": "hi"})]}, "/v1beta/models/m:streamGenerateContent")
    with pytest.raises(InvalidRequest) as caught:
        parse_generate(request)
    assert caught.value.param == "alt"


# --- in OpenAI's form ----------------------------------------------------------------------------------------------


def test_settings_and_instructions() -> None:
    config = {"temperature": 0.5, "topP": 0.9, "topK": 5, "maxOutputTokens": 50, "stopSequences": ["x"], "seed": 7,
              "presencePenalty": 0.1, "frequencyPenalty": 0.2, "candidateCount": 1,
              "thinkingConfig": {"thinkingBudget": 6000}}  # fmt: skip
    made = chat(systemInstruction={"parts": [{"text": "Be brief."}]}, generationConfig=config)
    assert made == {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "max_tokens": 50,
        "stop": ["x"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "reasoning_effort": "medium",
    }


def test_tools_round_trip() -> None:
    history = [
        said({"text": "weather?"}),
        said({"text": "hm", "thought": True}, {"text": "Let me look."}, gemini.SIGNED_CALL, role="model"),
        said({"functionResponse": {"name": "weather", "response": {"result": "12 °C"}}}, {"text": "and?"}),
    ]
    made = chat(
        contents=history,
        tools=[{"functionDeclarations": [{"name": "weather", "description": "Now", "parameters": SCHEMA},
                                         {"name": "now"}]}],
        toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
    )  # fmt: skip
    _, assistant, result, rest = made["messages"]
    [call] = assistant["tool_calls"]
    assert assistant["content"] == "Let me look."
    assert json.loads(call["function"]["arguments"]) == gemini.CALL["functionCall"]["args"]
    assert result == {"role": "tool", "tool_call_id": call["id"], "content": "12 °C"}
    assert rest == {"role": "user", "content": "and?"}
    [tool] = made["tools"]
    assert tool["function"]["parameters"] == {
        "type": "object",
        "properties": {"city": {"type": ["string", "null"]}},
        "required": ["city"],
    }
    assert made["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


def test_media_and_json() -> None:
    parts = [{"inlineData": {"mimeType": "image/png", "data": "AA=="}},
             {"inlineData": {"mimeType": "application/pdf", "data": "BB=="}},
             {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}}]  # fmt: skip
    made = chat(contents=[said(*parts)], generationConfig={"responseSchema": SCHEMA})
    assert [part["type"] for part in made["messages"][0]["content"]] == ["image_url", "file", "image_url"]
    assert made["response_format"]["json_schema"]["schema"]["type"] == "object"
    config = {"responseMimeType": "application/json"}
    assert chat(generationConfig=config)["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("cachedContent", {"cachedContent": "cachedContents/1"}),
        ("tools[0].googleSearch", {"tools": [{"googleSearch": {}}]}),
        ("generationConfig.candidateCount", {"generationConfig": {"candidateCount": 2}}),
        ("generationConfig.speechConfig", {"generationConfig": {"speechConfig": {}}}),
        ("contents[0].parts[0]", {"contents": [said({"executableCode": {}}, {"text": "x"})]}),
    ],
)
def test_what_only_gemini_has_is_refused_by_name_or_dropped(param: str, fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedField) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert chat(is_dropped=True, **fields)["messages"]


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PART = st.dictionaries(
    st.sampled_from(["text", "inlineData", "fileData", "functionCall", "functionResponse", "thought"]),
    JSONISH | st.sampled_from([{"name": "f"}, {"name": "f", "args": {}}, {"mimeType": "image/png"}]),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(PART, max_size=3),
    role=st.sampled_from(["user", "model", None]),
    fields=st.dictionaries(
        st.sampled_from(["tools", "toolConfig", "generationConfig", "systemInstruction", "safetySettings"]),
        JSONISH | st.sampled_from([[{"functionDeclarations": [{}]}], {"thinkingConfig": 5}, {"responseSchema": {}}]),
        max_size=3,
    ),
)
def test_any_request_is_read_or_refused(parts: list[Any], role: Any, fields: dict[str, Any]) -> None:
    """1c of RELIABILITY.md: never an error of ours."""
    for is_dropped in (False, True):
        try:
            made = chat(is_dropped=is_dropped, contents=[{"role": role, "parts": parts}], **fields)
        except InvalidRequest:
            continue
        assert json.dumps(made)


# --- answers and streams -------------------------------------------------------------------------------------------


def google_events(relayed: Relayed) -> list[Any]:
    *events, end = relayed.body.decode().split("\n\n")
    assert end == ""
    return [json.loads(event.removeprefix("data: ")) for event in events]


def parts_in(events: list[Any]) -> list[Any]:
    return [part for event in events for part in event["candidates"][0]["content"]["parts"] if part != {"text": ""}]


def test_answer_of_openai_s_and_anthropic_s() -> None:
    body = dialect.to_json(dialect.chat_completion("So.", tool_calls=[dialect.TOOL_CALL]))
    answer = Relayed(gemini_call(), GPT, [body]).json
    [candidate] = answer["candidates"]
    assert candidate["content"]["parts"] == [
        {"text": "So."},
        {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Zürich", "unit": "°C"}}},
    ]
    assert (candidate["finishReason"], answer["modelVersion"]) == ("STOP", "public/gpt")
    assert answer["usageMetadata"] == {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}
    message = dialect.to_json(anthropic.message(anthropic.THINKING, anthropic.text("x"), stop_reason="max_tokens"))
    thinking = {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
    answer = Relayed(gemini_call(**thinking), CLAUDE, [message]).json
    assert answer["candidates"][0]["content"]["parts"][0] == {"text": anthropic.THINKING["thinking"], "thought": True}
    assert answer["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_stream_of_anthropic_s_events() -> None:
    relayed = Relayed(gemini_call(is_stream=True), CLAUDE, anthropic.every_event())
    events = google_events(relayed)
    assert parts_in(events) == [
        {"text": "Grüezi"},
        {"text": " 🐕,"},
        {"text": " it is"},
        {"functionCall": {"id": "toolu_01", "name": "weather", "args": {"city": "Zürich"}}},
        {"functionCall": {"id": "toolu_02", "name": "now", "args": {}}},
    ]
    assert events[-1]["candidates"][0]["finishReason"] == "STOP"
    assert events[-1]["usageMetadata"]["thoughtsTokenCount"] == 12
    assert {event["responseId"] for event in events} == {"msg_upstream_1"}


@pytest.mark.parametrize("upstream", [GPT, CLAUDE])
def test_same_stream_cut_at_every_byte_gives_the_same(upstream: Any) -> None:
    """R29."""
    raw = b"".join(dialect.chat_events(["Grü", "ezi 🐕"], tool_arguments=['{"a"', ":1}"]))
    if upstream is CLAUDE:
        raw = b"".join(anthropic.every_event())
    expected = Relayed(gemini_call(is_stream=True), upstream, [raw]).body
    for place in range(1, len(raw)):
        assert Relayed(gemini_call(is_stream=True), upstream, [raw[:place], raw[place:]]).body == expected, place


def test_stream_broken_off_is_an_error_and_never_a_stop() -> None:
    """F9, R15, R16."""
    raw = b"".join(anthropic.message_events("The quick", " brown fox"))
    for place in range(0, len(raw), 3):
        relayed = Relayed(gemini_call(is_stream=True), CLAUDE, [raw[:place], b""], breaks_off=True)
        if relayed.body:
            assert google_events(relayed)[-1]["error"]["status"] == "INTERNAL"
            assert b"finishReason" not in relayed.body


def test_arguments_that_are_no_json_are_a_bad_response() -> None:
    events = dialect.chat_events([], tool_arguments=["{"])
    assert type(Relayed(gemini_call(is_stream=True), GPT, events).error) is UpstreamBadResponse


# --- Gemini's clients at Gemini ------------------------------------------------------------------------------------


def test_body_and_answer_pass_as_they_came() -> None:
    fields = {"tools": [{"googleSearch": {}}], "something_new": {"a": 1}}
    raw = dialect.to_json(gemini.response(gemini.SIGNED_CALL, usageMetadata=gemini.usage(9, 3, thoughtsTokenCount=5)))
    relayed = Relayed(gemini_call(**fields), GOOGLE, [raw])
    assert head_lines(relayed.request)[0] == "POST /v1beta/models/gemini-2.5-flash:generateContent HTTP/1.1"
    assert request_json(relayed) == {"contents": [said({"text": "hi"})], **fields}
    assert relayed.body == raw
    assert (relayed.usage.completion_tokens, relayed.usage.reasoning_tokens) == (8, 5)
    with pytest.raises(InvalidRequest):
        Relayed(gemini_call(cachedContent="cachedContents/1"), GOOGLE, [raw])


def test_events_pass_as_they_came() -> None:
    raw = b"".join(gemini.every_event())
    expected = raw.replace(b"\r\n", b"\n")
    for place in range(1, len(raw), 2):
        relayed = Relayed(gemini_call(is_stream=True), GOOGLE, [raw[:place], raw[place:], b""])
        assert relayed.body == expected, place
        assert relayed.usage.cached_tokens == 100
    assert relayed.held.startswith(b"data: ")
    cut = Relayed(gemini_call(is_stream=True), GOOGLE, [raw[:400], b""])
    assert google_events(cut)[-1]["error"]["code"] == 502


def test_count_is_asked_of_google() -> None:
    from routewright.wire.gemini import parse_count

    call = parse_count(http_request({"contents": [said({"text": "hi"})]}, "/v1beta/models/gpt-4o:countTokens"))
    relayed = Relayed(call, GOOGLE, [b'{"totalTokens": 14}'])
    assert head_lines(relayed.request)[0] == "POST /v1beta/models/gemini-2.5-flash:countTokens HTTP/1.1"
    assert request_json(relayed)["generateContentRequest"]["model"] == "models/gemini-2.5-flash"
    assert relayed.json == {"totalTokens": 14}
