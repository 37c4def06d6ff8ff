"""OpenAI's Responses as an upstream of clients of other dialects: requests, answers, typed events, errors."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent

from harness import anthropic, dialect, responses
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    UnsupportedField,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefusedRequest,
)
from routewright.metered import UnitPrices
from routewright.types import Call, Deployment, Price
from values import HELLO, call, deployment, gemini_call, messages_call, responses_call

PRICE = Price(
    input_usd_per_token=1e-6, output_usd_per_token=4e-6, cached_input_usd_per_token=1e-7,
    cache_creation_usd_per_token=2e-6, reasoning_usd_per_token=5e-6, source="config",
)  # fmt: skip
GPT = deployment("public/gpt", upstream_model="gpt-5.2", by_responses="all", price=PRICE)
PLAIN = deployment("public/4o", upstream_model="gpt-4o", by_responses="all")
CLAUDE = deployment("public/claude", provider="anthropic", upstream_model="claude-sonnet-4-5")
FUNCTION = {"name": "weather", "description": "Now", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": FUNCTION}]
THINKS = {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4000}


def sent(upstream: Deployment = GPT, **fields: Any) -> dict[str, Any]:
    return request_json(upstream.exchanges["chat"].request_bytes(call(**fields), upstream))


EVERY = 1 if os.environ.get("ROUTEWRIGHT_LONG") else 61
"""Bytes from one place where a stream is cut to the next."""


def said(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part]}]}


def answered(*output: Any, asked: Call | None = None, **changed: Any) -> Relayed:
    return Relayed(asked or call(), GPT, [dialect.to_json(responses.response(*output, **changed))])


def streamed(packets: list[bytes], asked: Call | None = None) -> Relayed:
    return Relayed(asked or call(stream=True, stream_options={"include_usage": True}), GPT, packets)


def delta_of(relayed: Relayed, name: str) -> str:
    return "".join(choice["delta"].get(name) or "" for chunk in relayed.chunks for choice in chunk["choices"])


# --- requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "version", "target"),
    [
        ("https://x.openai.azure.com", None, "/openai/v1/responses"),
        ("https://x.openai.azure.com", "2025-02-01-preview", "/openai/v1/responses"),
        ("https://x.openai.azure.com/openai", "2025-04-01-preview", "/openai/responses?api-version=2025-04-01-preview"),
        ("https://x.openai.azure.com/openai/v1", "2025-04-01-preview", "/openai/v1/responses"),
        ("https://x.openai.azure.com", "preview", "/openai/v1/responses"),
    ],
)
def test_azure_has_responses_beside_its_deployments(address: str, version: str | None, target: str) -> None:
    azure = deployment(provider="azure", api_base=address, api_version=version, by_responses="all")
    lines = head_lines(azure.exchanges["chat"].request_bytes(call(), azure))
    assert lines[0] == f"POST {target} HTTP/1.1"
    assert "api-key: sk-upstream-credential" in lines


def test_request() -> None:
    request = GPT.exchanges["chat"].request_bytes(call(stream=True), GPT)
    assert head_lines(request)[0] == "POST /v1/responses HTTP/1.1"
    assert request_json(request) == {
        "model": "gpt-5.2",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "stream": True,
    }
    assert "include" not in sent(PLAIN)  # a model that does not think refuses to be asked for its thoughts


def test_every_field_that_has_a_word_there() -> None:
    body = sent(
        max_tokens=50, temperature=0.5, top_p=0.9, parallel_tool_calls=False, service_tier="flex", user="u",
        reasoning_effort="low", verbosity="low", prompt_cache_key="k", safety_identifier="s",
        web_search_options={"search_context_size": "low", "user_location": {"type": "approximate", "approximate":
                            {"country": "CH"}}},
        tools=TOOLS, tool_choice="required",
        response_format={"type": "json_schema",
                         "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}},
    )  # fmt: skip
    assert body["max_output_tokens"] == 50
    assert (body["temperature"], body["top_p"], body["parallel_tool_calls"]) == (0.5, 0.9, False)
    assert (body["service_tier"], body["user"]) == ("flex", "u")
    assert (body["prompt_cache_key"], body["safety_identifier"]) == ("k", "s")
    assert body["reasoning"] == {"effort": "low"}
    schema = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}
    assert body["text"] == {"verbosity": "low", "format": schema}
    assert body["tools"] == [
        {"type": "function", **FUNCTION, "strict": False},
        {"type": "web_search", "search_context_size": "low", "user_location": {"type": "approximate", "country": "CH"}},
    ]
    assert body["tool_choice"] == "required"
    assert sent(max_tokens=1)["max_output_tokens"] == 16  # fewer are refused there
    assert "reasoning" not in sent(PLAIN, reasoning_effort="low")
    assert sent(response_format={"type": "json_object"})["text"] == {"format": {"type": "json_object"}}


def test_tool_choices() -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    assert sent(tools=TOOLS, tool_choice=named)["tool_choice"] == {"type": "function", "name": "weather"}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    assert sent(tools=TOOLS, tool_choice=allowed)["tool_choice"] == {
        "type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("stop", {"stop": ["x"]}), ("seed", {"seed": 7}), ("n", {"n": 2}), ("logprobs", {"logprobs": True}),
        ("tools[0].type", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
        ("messages[0].content[0]", said({"type": "input_audio", "input_audio": {}})),
        ("messages[0].content[0]", said({"type": "file", "file": {"filename": "f"}})),
    ],
)  # fmt: skip
def test_what_responses_have_no_word_for_is_refused_by_name(param: str, fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedField) as caught:
        sent(**fields)
    assert caught.value.param == param


def test_what_may_be_lost_is_left_out() -> None:
    lenient = deployment(upstream_model="gpt-5.2", by_responses="all", drops_unsupported=True)
    body = sent(lenient, stop=["x"], seed=7, tools=[{"type": "custom", "custom": {"name": "x"}}])
    assert body.keys() == {"model", "input", "store", "include"}


def test_defaults_and_dropped_params_of_the_deployment_hold() -> None:
    own = deployment(upstream_model="gpt-5.2", by_responses="all", default_params={"reasoning_effort": "high"},
                     drop_params=("include", "user"))  # fmt: skip
    body = sent(own, user="u")
    assert (body["reasoning"], body.keys() & {"include", "user"}) == ({"effort": "high"}, set())


def test_conversation_with_pictures_files_and_tools() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "See"},
            {"type": "image_url", "image_url": {"url": "https://e.com/a.png", "detail": "low"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}]},
        {"role": "assistant", "content": "Let me look.", "tool_calls": [dialect.TOOL_CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "12 °C"}]},
        {"role": "assistant", "content": None, "refusal": "No."},
    ]  # fmt: skip
    assert sent(messages=messages)["input"] == [
        {"type": "message", "role": "system", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "See"},
            {"type": "input_image", "image_url": "https://e.com/a.png", "detail": "low"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "function_call", "call_id": "call_1", "name": "weather",
         "arguments": dialect.TOOL_CALL["function"]["arguments"]},
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "12 °C"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ]  # fmt: skip


def test_ids_that_another_provider_made_are_shortened_on_both_sides() -> None:
    long = "call_" + "x" * 90
    tool = {**dialect.TOOL_CALL, "id": long}
    messages = [*HELLO, {"role": "assistant", "tool_calls": [tool]},
                {"role": "tool", "tool_call_id": long, "content": "12"}]  # fmt: skip
    made, result = sent(messages=messages)["input"][1:]
    assert made["call_id"] == result["call_id"]
    assert len(made["call_id"]) <= 40


# --- answers -------------------------------------------------------------------------------------------------------


def test_answer() -> None:
    used = responses.usage(100, 40, cached=80, reasoned=12, written=10)
    relayed = answered(
        responses.reasoning("Let me see", "Then"), responses.message(responses.text("Hello", responses.CITATION)),
        responses.CALL, {"type": "web_search_call", "id": "ws_1", "status": "completed"}, usage=used,
    )  # fmt: skip
    [choice] = relayed.json["choices"]
    message = choice["message"]
    assert (relayed.json["id"], relayed.json["model"]) == ("resp_upstream1", "public/gpt")
    assert (message["content"], choice["finish_reason"]) == ("Hello", "tool_calls")
    assert message["reasoning_content"] == "Let me see\n\nThen"
    assert message["tool_calls"][0] == dialect.TOOL_CALL
    assert message["annotations"][0]["url_citation"]["url"] == "https://e.com/a"
    usage = relayed.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (100, 40, 80)
    assert (usage.reasoning_tokens, usage.cache_creation_tokens) == (12, 10)
    assert relayed.outcome.cost_nusd == 10 * 1000 + 80 * 100 + 10 * 2000 + 28 * 4000 + 12 * 5000


@pytest.mark.parametrize("is_native", [False, True])
@pytest.mark.parametrize("is_stream", [False, True])
def test_searches_are_paid_beside_the_tokens(is_native: bool, is_stream: bool) -> None:
    own = deployment(upstream_model="gpt-4o", by_responses="all",
                     price=replace(PRICE, units=UnitPrices(per_query=0.01)))  # fmt: skip
    used: Any = {"usage": responses.usage(100, 10), "tool_usage": {"web_search": {"num_requests": 2}}}
    told = responses.Told()
    told.begin()
    told.text("Hi")
    make = responses_call if is_native else call
    asked = make(stream=True) if is_stream else make()
    packets = told.end(**used) if is_stream else [dialect.to_json(responses.response(*told.output, **used))]
    relayed = Relayed(asked, own, packets)
    assert relayed.outcome.cost_nusd == 100 * 1000 + 10 * 4000 + 2 * 10_000_000
    assert relayed.usage.units.known() == {"queries": 2}
    unpriced = Relayed(asked, GPT, packets)  # where nobody says what a search costs the tokens are what is known
    assert (unpriced.outcome.cost_nusd, unpriced.outcome.is_priced) == (100 * 1000 + 10 * 4000, True)


def test_answer_is_the_same_whole_and_streamed() -> None:
    raw = responses.every_event()
    whole = json.loads(raw[-1].partition(b"data: ")[2])["response"]
    one = Relayed(call(), GPT, [dialect.to_json(whole)])
    other = streamed(raw)
    message = one.json["choices"][0]["message"]
    for name in ("content", "reasoning_content", "refusal"):
        assert message[name] == delta_of(other, name)
    assert one.usage == other.usage
    assert one.outcome.cost_nusd == other.outcome.cost_nusd > 0
    blocks = [block for chunk in other.chunks for choice in chunk["choices"]
              for block in choice["delta"].get("thinking_blocks") or ()]  # fmt: skip
    assert message["thinking_blocks"] == blocks


@pytest.mark.parametrize(
    ("changed", "finish"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({}, "stop"),
        ({"status": ...}, "stop"),
    ],
)
def test_finish_reasons(changed: dict[str, Any], finish: str) -> None:
    item = responses.message(responses.text("Hi"))
    assert answered(item, **changed).json["choices"][0]["finish_reason"] == finish


def test_refusal_is_told_as_one() -> None:
    message = answered(responses.message(responses.refusal("I can't."))).json["choices"][0]["message"]
    assert (message["refusal"], message["content"]) == ("I can't.", None)


def test_own_count_where_the_upstream_has_none() -> None:
    """F8."""
    relayed = answered(responses.message(responses.text("x" * 40)), usage=None)
    assert relayed.usage.is_estimated
    assert relayed.json["usage"]["completion_tokens"] == 10


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        ("rate_limit_exceeded", "slow down", UpstreamRateLimited),
        ("server_error", "It broke", UpstreamError),
        ("invalid_prompt", "not this", UpstreamRefusedRequest),
        ("context_length_exceeded", "too long", ContextLengthExceeded),
        ("content_filter", "no", ContentPolicyViolation),
        ("something_new", "?", UpstreamError),
        (None, "?", UpstreamError),
    ],
)
def test_failure_inside_an_answer_and_a_stream_is_the_same(code: str, words: str, kind: type[GatewayError]) -> None:
    """COMPAT 6."""
    whole = answered(status="failed", error={"code": code, "message": words}, usage=None)
    assert type(whole.error) is kind
    for packet in (responses.failed(code, words), responses.error_event(code, words)):
        relayed = streamed([packet])
        assert type(relayed.error) is kind
        assert relayed.body == b""


def bad(**changed: Any) -> bytes:
    return dialect.to_json(responses.response(**changed))


RUBBISH = {
    "empty": b"",
    "HTML": b"<html>",
    "list": b"[]",
    "no output": bad(output=...),
    "output is text": bad(output="x"),
    "an item is text": bad(output=["x"]),
    "an item without type": bad(output=[{}]),
    "a call without a name": bad(output=[{"type": "function_call", "call_id": "c", "arguments": "{}"}]),
    "arguments are an object": bad(output=[{**responses.CALL, "arguments": {}}]),
    "still at work": bad(status="in_progress"),
    "not UTF-8": dialect.to_json(responses.response(responses.message(responses.text("x")))).replace(b"gpt", b"\xff")
    .replace(b'"x"', b'"\xff"'),
}  # fmt: skip


@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    """F8."""
    assert type(Relayed(call(), GPT, [body]).error) is UpstreamBadResponse


# --- streams -------------------------------------------------------------------------------------------------------


def test_fixture_has_every_kind_of_event_that_the_reference_names() -> None:
    named = {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(get_args(ResponseStreamEvent)[0])}
    made = {json.loads(event.partition(b"data: ")[2])["type"] for event in responses.every_event()}
    assert named - made == {"error", "response.failed", "response.incomplete"}


def test_stream_of_everything() -> None:
    relayed = streamed(responses.every_event())
    assert delta_of(relayed, "content") == "Grüezi 🐕"
    assert delta_of(relayed, "reasoning_content") == "Let me see … ja\n\nThenRaw"
    calls = [made for chunk in relayed.chunks for choice in chunk["choices"]
             for made in choice["delta"].get("tool_calls") or ()]  # fmt: skip
    assert [made["id"] for made in calls if made.get("id")] == ["call_1", "call_2"]
    assert "".join(made["function"]["arguments"] for made in calls if made["index"] == 0) == '{"city":"Zürich"}'
    assert [choice["finish_reason"] for chunk in relayed.chunks for choice in chunk["choices"]][-1] == "tool_calls"
    assert relayed.chunks[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 80}


@pytest.mark.parametrize("asked", [
    call(stream=True), messages_call(stream=True, **THINKS), gemini_call(is_stream=True),
], ids=["chat", "messages", "gemini"])  # fmt: skip
def test_same_stream_cut_at_every_byte_gives_the_same(asked: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """R29: byte by byte, and in two at places all over it; at every one of them where ROUTEWRIGHT_LONG is set."""
    exchange = GPT.exchanges[asked.endpoint]
    monkeypatch.setattr(exchange, "_clock", lambda: 1.0)
    raw = b"".join(responses.every_event())
    expected = streamed([raw], asked)
    assert expected.outcome.ended == "complete"
    for place in range(1, len(raw), EVERY):
        relayed = streamed([raw[:place], raw[place:]], asked)
        assert relayed.body == expected.body, place
    assert relayed.usage == expected.usage
    by_bytes = streamed([raw[place : place + 1] for place in range(len(raw))], asked)
    assert by_bytes.body == expected.body


def test_item_that_came_without_deltas_is_told_when_it_is_done() -> None:
    told = responses.Told()
    told.begin()
    for item in (responses.reasoning("Hm"), responses.message(responses.text("Hello")), responses.CALL):
        told.say("response.output_item.done", output_index=len(told.output), item=item)
        told.output.append(item)
    relayed = streamed(told.end())
    assert (delta_of(relayed, "reasoning_content"), delta_of(relayed, "content")) == ("Hm", "Hello")
    assert relayed.chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_stream_broken_off_is_never_told_as_whole() -> None:
    """F9, R15, R16."""
    raw = b"".join(responses.text_events(["The quick", " brown fox"]))
    for place in range(len(raw)):
        relayed = Relayed(call(stream=True), GPT, [raw[:place], b""], breaks_off=True)
        if not relayed.sent:
            assert isinstance(relayed.error, UpstreamError)
            continue
        *_, last, done = relayed.body.decode().strip().split("\n\n")
        assert done == "data: [DONE]"
        if place < len(raw) - 1:
            assert "error" in json.loads(last.removeprefix("data: ")), place
            assert relayed.outcome.ended == "upstream_failed"


def test_failure_after_the_first_word_is_an_error_event() -> None:
    """R16."""
    events = responses.text_events(["Hel", "lo"])
    relayed = streamed([*events[:6], responses.failed()])
    assert relayed.chunks[-1]["error"]["code"] == "upstream_error"
    assert relayed.usage.is_estimated


# --- thinking that travels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [False, True])
def test_thinking_goes_to_an_anthropic_client_and_comes_back_as_the_item_it_was(is_stream: bool) -> None:
    told = responses.Told()
    told.begin()
    told.thinking(["Let me", " see"])
    told.thinking(item_id="rs_2")
    told.call('{"city":"Bern"}')
    raw = told.end()
    asked = messages_call(stream=is_stream, tools=[{"name": "weather", "input_schema": {"type": "object"}}], **THINKS)
    assert request_json(GPT.exchanges["messages"].request_bytes(asked, GPT))["reasoning"]["summary"] == "auto"
    if is_stream:
        relayed = Relayed(asked, GPT, raw)
        starts = [value["content_block"] for name, value in relayed.events if name == "content_block_start"]
        deltas = [value["delta"] for name, value in relayed.events if name == "content_block_delta"]
        thinking = {**starts[0], "thinking": "Let me see",
                    "signature": next(each["signature"] for each in deltas if "signature" in each)}  # fmt: skip
        content = [thinking, starts[1], {**starts[2], "input": {"city": "Bern"}}]
    else:
        content = Relayed(asked, GPT, [dialect.to_json(responses.response(*told.output))]).json["content"]
    assert [block["type"] for block in content] == ["thinking", "redacted_thinking", "tool_use"]
    history = [*HELLO, {"role": "assistant", "content": content},
               {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1",
                                             "content": "12"}]}]  # fmt: skip
    again = messages_call(messages=history, **THINKS)
    items = request_json(GPT.exchanges["messages"].request_bytes(again, GPT))["input"]
    summary = [{"type": "summary_text", "text": "Let me see"}]
    sealed = {"type": "reasoning", "encrypted_content": responses.SEALED}
    assert items[1:3] == [{**sealed, "id": "rs_1", "summary": summary}, {**sealed, "id": "rs_2", "summary": []}]
    assert [item["type"] for item in items[3:]] == ["function_call", "function_call_output"]
    body = CLAUDE.exchanges["messages"].request_bytes(again, CLAUDE)
    assert [block["type"] for block in request_json(body)["messages"][1]["content"]] == ["tool_use"]


def test_thinking_that_others_sealed_stays_with_them() -> None:
    turn = {"role": "assistant", "content": "Hi", "thinking_blocks": [anthropic.THINKING, anthropic.REDACTED]}
    assert [item["type"] for item in sent(messages=[*HELLO, turn])["input"]] == ["message", "message"]
    ours = {**turn, "thinking_blocks": [{"type": "thinking", "thinking": "Hm", "signature": "oai1.rs_1.x"}]}
    body = request_json(CLAUDE.exchanges["chat"].request_bytes(call(messages=[*HELLO, ours]), CLAUDE))
    assert body["messages"][1]["content"] == [{"type": "text", "text": "Hi"}]
    nova = deployment(provider="bedrock", upstream_model="anthropic.claude-sonnet-4-5-v1:0")
    body = request_json(nova.exchanges["chat"].request_bytes(call(messages=[*HELLO, ours]), nova))
    assert body["messages"][1]["content"] == [{"text": "Hi"}]


# --- anything ------------------------------------------------------------------------------------------------------

JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
EVENTS = responses.every_event()
ASKED = [call(stream=True), messages_call(stream=True, **THINKS)]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_stream_ends_in_an_answer_or_an_error(data: st.DataObject) -> None:
    """F8: never an error of ours."""
    made = [EVENTS[1]]
    for raw in data.draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=10)):
        value = json.loads(raw.partition(b"data: ")[2])
        if data.draw(st.booleans()):
            inner = data.draw(st.sampled_from([value, value.get("item") or value, value.get("response") or value]))
            inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSONISH)
        made.append(dialect.event(value))
    relayed = Relayed(data.draw(st.sampled_from(ASKED)), GPT, [b"".join(made), b""])
    assert relayed.is_over


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_answer_is_read_or_refused(data: st.DataObject) -> None:
    """F8."""
    whole = json.loads(EVENTS[-1].partition(b"data: ")[2])["response"]
    inner = data.draw(st.sampled_from([whole, *whole["output"], whole["usage"]]))
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSONISH)
    relayed = Relayed(call(), GPT, [dialect.to_json(whole)])
    assert relayed.is_over
    assert relayed.error is None or isinstance(relayed.error, GatewayError)


@settings(max_examples=200, deadline=None)
@given(
    fields=st.dictionaries(
        st.sampled_from(["tools", "tool_choice", "response_format", "reasoning_effort", "thinking", "verbosity",
                         "web_search_options", "max_tokens"]),
        JSONISH | st.sampled_from([[{"type": "function"}], {"type": "json_schema"}]), max_size=3),
    message=st.dictionaries(st.sampled_from(["content", "tool_calls", "thinking_blocks", "refusal", "tool_call_id"]),
                            JSONISH, max_size=3),
    role=st.sampled_from(["user", "assistant", "tool", "system"]),
)  # fmt: skip
def test_any_request_is_carried_over_or_refused(fields: Any, message: Any, role: str) -> None:
    """1c of RELIABILITY.md: never an error of ours."""
    try:
        asked = call(messages=[*HELLO, {"role": role, "content": "x", **message}], **fields)
        assert GPT.exchanges["chat"].request_bytes(asked, GPT)
    except InvalidRequest:
        pass
