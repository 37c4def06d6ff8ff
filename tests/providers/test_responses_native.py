"""OpenAI's clients of Responses at an upstream of Responses: what passes as it came, and what does not."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import dialect, responses
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import InvalidRequest, UpstreamBadResponse, UpstreamError, UpstreamRateLimited
from routewright.types import Deployment, Price
from values import call, deployment, responses_call

PRICE = Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6, cached_input_usd_per_token=1e-7, source="config")
GPT = deployment("public/gpt", upstream_model="gpt-5.2", by_responses="all", price=PRICE)
PLAIN = deployment("public/4o", upstream_model="gpt-4o", by_responses="own")
USER = {"role": "user", "content": "hi"}


def sent(upstream: Deployment = GPT, **fields: Any) -> dict[str, Any]:
    return request_json(upstream.exchanges["responses"].request_bytes(responses_call(**fields), upstream))


def streamed(packets: list[bytes]) -> Relayed:
    return Relayed(responses_call(stream=True), GPT, packets)


# --- requests ------------------------------------------------------------------------------------------------------


def test_request_goes_on_as_it_came() -> None:
    fields = {
        "input": [USER, {"type": "web_search_call", "id": "ws_1", "status": "completed"}],
        "instructions": "Be brief.", "max_output_tokens": 50, "metadata": {"a": "b"}, "truncation": "auto",
        "reasoning": {"effort": "low", "summary": "auto"}, "text": {"verbosity": "low"}, "max_tool_calls": 3,
        "tools": [{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}},
                  {"type": "image_generation"}, {"type": "custom", "name": "sql"},
                  {"type": "mcp", "server_label": "s", "server_url": "https://mcp.example.com"},
                  {"type": "function", "name": "x", "parameters": {"properties": {"file_id": {"type": "string"}}}}],
        "tool_choice": {"type": "web_search"}, "prompt_cache_key": "k", "something_new": {"x": 1}, "stream": True,
    }  # fmt: skip
    request = GPT.exchanges["responses"].request_bytes(responses_call(**fields), GPT)
    assert head_lines(request)[0] == "POST /v1/responses HTTP/1.1"
    ours = {"model": "gpt-5.2", "store": False, "include": ["reasoning.encrypted_content"]}
    assert request_json(request) == {**fields, **ours}


def test_nothing_is_kept_there_whatever_the_client_says() -> None:
    for store in (True, False, None):
        assert sent(store=store)["store"] is False


def test_chats_stay_chats_where_only_own_clients_are_served_by_it() -> None:
    assert head_lines(PLAIN.exchanges["chat"].request_bytes(call(), PLAIN))[0].startswith("POST /v1/chat/completions")
    assert head_lines(PLAIN.exchanges["responses"].request_bytes(responses_call(), PLAIN))[0].startswith(
        "POST /v1/responses"
    )
    assert "include" not in sent(PLAIN)


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("tools[0].type", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}),
        ("tools[0].container", {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}),
        ("tools[0].container.file_ids", {"tools": [{"type": "code_interpreter",
                                                    "container": {"type": "auto", "file_ids": ["f"]}}]}),
        ("tools[0].input_image_mask.file_id", {"tools": [{"type": "image_generation",
                                                          "input_image_mask": {"file_id": "f"}}]}),
        ("tools[0].tunnel_id", {"tools": [{"type": "mcp", "server_label": "s", "tunnel_id": "t"}]}),
        ("input[0].type", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("input[0].content[0].file_id", {"input": [{"role": "user", "content": [{"type": "input_file",
                                                                                 "file_id": "f"}]}]}),
        ("input[0].output[0].file_id", {"input": [{"type": "function_call_output", "call_id": "c",
                                                   "output": [{"type": "input_image", "file_id": "f"}]}]}),
        ("background", {"background": True}),
        ("previous_response_id", {"previous_response_id": "resp_1"}),
        ("conversation", {"conversation": "conv_1"}),
        ("prompt", {"prompt": {"id": "pmpt_1"}}),
    ],
)  # fmt: skip
def test_what_names_things_in_the_provider_s_account_is_refused(param: str, fields: dict[str, Any]) -> None:
    def send() -> None:
        made = responses_call(**fields)
        made.files = ()  # nobody has found them to be the caller's
        GPT.exchanges["responses"].request_bytes(made, GPT)

    with pytest.raises(InvalidRequest) as caught:
        send()
    assert caught.value.param == param


def test_the_operator_may_name_them() -> None:
    """Tools of the deployment's own are nobody else's choice."""
    search = {"type": "file_search", "vector_store_ids": ["vs_1"]}
    own = deployment(upstream_model="gpt-5.2", by_responses="all",
                     default_params={"tools": [search], "max_tokens": 99, "reasoning_effort": "low"})  # fmt: skip
    body = sent(own)
    assert (body["tools"], body["max_output_tokens"], body["reasoning"]) == ([search], 99, {"effort": "low"})
    assert sent(own, tools=[{"type": "web_search"}])["tools"] == [{"type": "web_search"}]


def test_what_may_be_lost_is_left_out() -> None:
    lenient = deployment(upstream_model="gpt-5.2", by_responses="all", drops_unsupported=True)
    body = sent(lenient, background=True, tools=[{"type": "something_new"}], input=[USER, {"type": "item_reference"}])
    assert body.keys() == {"model", "input", "store", "include"}
    assert body["input"] == [USER]


def test_thinking_goes_back_to_the_one_who_sealed_it() -> None:
    thought, said = responses.reasoning("Hm"), responses.message(responses.text("Hi"))
    assert sent(input=[USER, thought, said, USER])["input"] == [USER, thought, said, USER]
    for lost in (responses.reasoning("Hm", sealed=None), responses.reasoning("Hm", sealed="rw1.bm8=")):
        kept = sent(input=[USER, lost, said, responses.CALL])["input"]
        assert [item.get("type") for item in kept] == [None, "message", "function_call"]
        assert all("id" not in item for item in kept)  # each stands by itself now


def test_ids_that_the_gateway_made_are_left_out() -> None:
    ours = responses.message(responses.text("Hi"), item_id="msg_chatcmpl-1_0")
    assert "id" not in sent(input=[USER, ours])["input"][1]
    assert "id" not in sent(input=[USER, {**ours, "id": "msg_" + "x" * 90}])["input"][1]


# --- answers -------------------------------------------------------------------------------------------------------


def test_answer_passes_but_for_the_model_s_name_and_what_is_kept() -> None:
    given = responses.response(
        responses.reasoning("Hm"), responses.message(responses.text("Hi")), service_tier="flex", store=True,
        usage=responses.usage(100, 10, cached=80, reasoned=4), tool_usage={"web_search": {"num_requests": 2}},
    )  # fmt: skip
    relayed = Relayed(responses_call(), GPT, [dialect.to_json(given)])
    assert relayed.json == {**given, "model": "public/gpt", "store": False}
    assert relayed.outcome.cost_nusd == 20 * 1000 + 80 * 100 + 10 * 4000
    assert relayed.usage.reasoning_tokens == 4


def test_own_count_where_the_upstream_has_none() -> None:
    """F8."""
    relayed = Relayed(responses_call(), GPT, [dialect.to_json(responses.response(usage=None))])
    assert relayed.usage.is_estimated
    assert relayed.json["usage"]["output_tokens"] == relayed.usage.completion_tokens


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"output":[1]}', b'{"output":[],"x":"\xff"}'])
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    """F8."""
    assert type(Relayed(responses_call(), GPT, [body]).error) is UpstreamBadResponse


def test_answer_that_failed_is_an_error() -> None:
    body = responses.response(status="failed", error={"code": "rate_limit_exceeded", "message": "x"}, usage=None)
    assert type(Relayed(responses_call(), GPT, [dialect.to_json(body)]).error) is UpstreamRateLimited


# --- streams -------------------------------------------------------------------------------------------------------


def test_stream_passes_event_by_event() -> None:
    raw = responses.every_event()
    relayed = streamed(raw)
    assert relayed.outcome.ended == "complete"
    given = [json.loads(event.partition(b"data: ")[2]) for event in raw]
    told = [value for _, value in relayed.events]
    for value in given:
        if "response" in value:
            value["response"]["model"] = "public/gpt"
    assert told == given
    verbatim = [event for event in raw if b'"response":' not in event]
    assert b"".join(verbatim) in relayed.body
    assert relayed.held.startswith(b"event: response.completed\n")  # it waits for the record
    assert (relayed.usage.prompt_tokens, relayed.usage.cached_tokens, relayed.usage.reasoning_tokens) == (100, 80, 12)
    assert relayed.usage == Relayed(responses_call(), GPT, [dialect.to_json(given[-1]["response"])]).usage


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_same_stream_cut_at_every_byte_gives_the_same(newline: bytes) -> None:
    """R29: byte by byte, and in two at places all over it; at every one of them where ROUTEWRIGHT_LONG is set."""
    raw = b"".join(responses.every_event()).replace(b"\n", newline)
    expected = streamed([raw])
    for place in range(1, len(raw), 1 if os.environ.get("ROUTEWRIGHT_LONG") else 61):
        relayed = streamed([raw[:place], raw[place:]])
        assert relayed.body == expected.body, place
    assert relayed.usage == expected.usage
    assert streamed([raw[place : place + 1] for place in range(len(raw))]).body == expected.body


def test_incomplete_is_an_end_too() -> None:
    told = responses.Told()
    told.begin()
    told.text("Hel")
    relayed = streamed(told.end("incomplete", incomplete_details={"reason": "max_output_tokens"}))
    assert relayed.events[-1][0] == "response.incomplete"
    assert relayed.outcome.ended == "complete"


def test_failure_before_the_first_item_can_be_answered_elsewhere() -> None:
    told = responses.Told()
    told.begin()
    for end in (responses.failed(), responses.error_event()):
        relayed = streamed([*told.events, end])
        assert isinstance(relayed.error, UpstreamError)
        assert relayed.body == b""


def test_stream_broken_off_is_never_told_as_whole() -> None:
    """F9, R15, R16."""
    raw = b"".join(responses.text_events(["The quick", " brown fox"]))
    for place in range(len(raw)):
        relayed = Relayed(responses_call(stream=True), GPT, [raw[:place], b""], breaks_off=True)
        if not relayed.sent:
            assert relayed.body == b"" or place == len(raw) - 1
            continue
        events = [value for _, value in relayed.events]
        assert [value["sequence_number"] for value in events] == list(range(len(events)))
        assert events[0]["type"] == "response.created"
        if place < len(raw) - 1:
            assert events[-1]["type"] == "response.failed", place
            assert events[-1]["response"]["error"]["code"] == "server_error"
            assert relayed.outcome.ended == "upstream_failed"
            assert relayed.usage.prompt_tokens > 0


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
EVENTS = responses.every_event()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_stream_ends_in_an_answer_or_an_error(data: st.DataObject) -> None:
    """F8: never an error of ours."""
    made = []
    for raw in data.draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=10)):
        value = json.loads(raw.partition(b"data: ")[2])
        if data.draw(st.booleans()):
            inner = data.draw(st.sampled_from([value, value.get("response") or value]))
            inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSONISH)
        made.append(dialect.event(value))
    assert streamed([b"".join(made), b""]).is_over


@settings(max_examples=200, deadline=None)
@given(tools=JSONISH, items=st.lists(st.dictionaries(st.sampled_from(["type", "content", "output", "id"]), JSONISH)),
       include=JSONISH)  # fmt: skip
def test_any_request_is_carried_over_or_refused(tools: Any, items: list[Any], include: Any) -> None:
    """1c of RELIABILITY.md: never an error of ours."""
    with contextlib.suppress(InvalidRequest):
        sent(tools=tools, input=[USER, *[{"role": "user", **item} for item in items]], include=include)
