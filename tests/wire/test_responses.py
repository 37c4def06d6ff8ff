"""OpenAI's Responses as a client dialect: bodies to calls, requests as chats, answers and typed events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from harness import anthropic, bedrock, dialect, gemini
from harness.relay import Relayed, request_json
from routewright.errors import InvalidRequest, MissingField, UnsupportedField
from routewright.wire.chat import prompt_of
from values import deployment, responses_call

GPT = deployment("public/gpt", upstream_model="gpt-4o")
CLAUDE = deployment("public/claude", provider="anthropic", upstream_model="claude-sonnet-4-5")
GOOGLE = deployment("public/gemini", provider="gemini", upstream_model="gemini-2.5-flash")
TOOL = {"type": "function", "name": "weather", "description": "Now", "parameters": {"type": "object"}, "strict": True}
READ_EVENT = TypeAdapter(ResponseStreamEvent).validate_python
SEALED = {"include": ["reasoning.encrypted_content"]}


def chat(*, plain: bool = True, is_dropped: bool = False, **fields: Any) -> dict[str, Any]:
    call = responses_call(**fields)
    return call.client.as_chat(call, plain=plain, is_dropped=is_dropped)


def events_of(relayed: Relayed) -> list[dict[str, Any]]:
    """Every event is one that the SDK knows, its name agrees, and they are numbered without a gap."""
    found = []
    *events, end = relayed.body.decode().split("\n\n")
    assert end == ""
    for number, event in enumerate(events):
        name, data = event.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name.removeprefix("event: ") == value["type"]
        assert value["sequence_number"] == number
        READ_EVENT(value)
        found.append(value)
    return found


# --- requests ------------------------------------------------------------------------------------------------------


def test_what_a_router_and_the_limits_go_by() -> None:
    call = responses_call(
        instructions="Be brief.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "What is it?"},
                                            {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
               {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}],
        tools=[TOOL], max_output_tokens=50, stream=True, text={"format": {"type": "json_object"}},
    )  # fmt: skip
    prompt = prompt_of(call)
    assert (prompt.text, prompt.system) == ("What is it?", "Be brief.")
    assert (prompt.has_tools, prompt.has_images, prompt.wants_json) == (True, True, True)
    assert (call.max_tokens, call.is_stream) == (50, True)


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"input": None}, MissingField, "input"),
        ({"input": []}, InvalidRequest, "input"),
        ({"input": ["x"]}, InvalidRequest, "input[0]"),
        ({"input": [{"content": "x"}]}, InvalidRequest, "input[0].role"),
        ({"instructions": 5}, InvalidRequest, "instructions"),
        ({"previous_response_id": "resp_1"}, InvalidRequest, "previous_response_id"),
        ({"conversation": "conv_1"}, InvalidRequest, "conversation"),
    ],
)
def test_faulty_request_is_refused_by_name(fields: dict[str, Any], kind: type[InvalidRequest], param: str) -> None:
    with pytest.raises(kind) as caught:
        responses_call(**fields)
    assert caught.value.param == param


def test_request_as_a_chat() -> None:
    made = chat(
        instructions="Be brief.", temperature=0.5, top_p=0.9, max_output_tokens=50, reasoning={"effort": "low"},
        parallel_tool_calls=False, tools=[TOOL], tool_choice={"type": "function", "name": "weather"},
        text={"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}},
        store=True, truncation="disabled", background=False,
    )  # fmt: skip
    function = {name: value for name, value in TOOL.items() if name != "type"}
    assert made == {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_completion_tokens": 50,
        "reasoning_effort": "low",
        "parallel_tool_calls": False,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True},
        },
    }


def test_conversation_with_tools_and_media() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "See"},
                                     {"type": "input_image", "image_url": "https://e.com/a.png", "detail": "low"},
                                     {"type": "input_file", "filename": "a.pdf", "file_data": "data:x/y;base64,AA=="}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "12 °C"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "noon"}]},
    ]  # fmt: skip
    user, assistant, first, second = chat(input=items)["messages"]
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "file"]
    assert (assistant["content"], len(assistant["tool_calls"])) == ("Let me look.", 2)
    assert first == {"role": "tool", "tool_call_id": "c1", "content": "12 °C"}
    assert second == {"role": "tool", "tool_call_id": "c2", "content": "noon"}


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("background", {"background": True}),
        ("top_logprobs", {"top_logprobs": 3}),
        ("max_tool_calls", {"max_tool_calls": 3}),
        ("tools[0]", {"tools": [{"type": "file_search"}]}),
        ("tools[0]", {"tools": [{"type": "web_search"}]}),
        ("input[0].type", {"input": [{"type": "computer_call"}, {"role": "user", "content": "x"}]}),
        ("input[0].content[0]", {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}),
    ],
)
def test_what_a_chat_has_no_place_for_is_refused_by_name_or_dropped(param: str, fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedField) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert chat(is_dropped=True, **fields)["messages"]


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ITEM = st.dictionaries(
    st.sampled_from(["content", "output", "arguments", "call_id", "name", "encrypted_content", "summary"]),
    JSONISH | st.sampled_from([[{"type": "input_text", "text": "x"}], "rw1.bm8=", "rw1.W3t9XQ=="]), max_size=4,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    items=st.lists(ITEM, min_size=1, max_size=3),
    kinds=st.lists(st.sampled_from(["message", "function_call", "function_call_output", "reasoning", "x"]),
                   min_size=3, max_size=3),
    role=st.sampled_from(["user", "assistant", "system"]),
    fields=st.dictionaries(st.sampled_from(["tools", "tool_choice", "text", "reasoning", "metadata", "include"]),
                           JSONISH | st.sampled_from([[{"type": "function"}], {"format": {"type": []}}]), max_size=3),
)  # fmt: skip
def test_any_request_is_carried_over_or_refused(items: list[Any], kinds: list[str], role: str, fields: Any) -> None:
    """1c of RELIABILITY.md: never an error of ours, at any upstream."""
    given_items = [{"type": kind, "role": role, **item} for kind, item in zip(kinds, items, strict=False)]
    for upstream in (GPT, CLAUDE, GOOGLE):
        try:
            call = responses_call(input=given_items, **fields)
            assert upstream.exchanges["responses"].request_bytes(call, upstream)
        except InvalidRequest:
            continue


# --- answers -------------------------------------------------------------------------------------------------------


def test_answer() -> None:
    used = {**dialect.usage(100, 10), "prompt_tokens_details": {"cached_tokens": 80}}
    body = dialect.to_json(dialect.chat_completion("Hello", tool_calls=[dialect.TOOL_CALL], usage=used))
    answer = Relayed(responses_call(tools=[TOOL], metadata={"a": "b"}), GPT, [body]).json
    response = Response.model_validate(answer)
    assert response.output_text == "Hello"
    assert (response.status, response.model, response.metadata) == ("completed", "public/gpt", {"a": "b"})
    assert [item.type for item in response.output] == ["message", "function_call"]
    assert json.loads(response.output[1].arguments)["city"] == "Zürich"
    assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (100, 80)
    assert answer["store"] is False


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [("length", "incomplete", "max_output_tokens"), ("content_filter", "incomplete", "content_filter"),
     ("stop", "completed", None)],
)  # fmt: skip
def test_answer_that_is_not_complete_says_why(finish: str, status: str, reason: str | None) -> None:
    body = dialect.chat_completion()
    body["choices"][0]["finish_reason"] = finish
    answer = Relayed(responses_call(), GPT, [dialect.to_json(body)]).json
    assert answer["status"] == status
    assert answer["incomplete_details"] == (None if reason is None else {"reason": reason})
    events = [dialect.event(dialect.chunk({"content": "x"})), dialect.event(dialect.chunk({}, finish)), dialect.DONE]
    last = events_of(Relayed(responses_call(stream=True), GPT, events))[-1]
    assert last["type"] == f"response.{status}"


def test_thinking_goes_out_sealed_and_comes_back() -> None:
    """Claude wants its thinking back before a tool's result, and this dialect's clients give back what is encrypted."""
    message = anthropic.message(anthropic.THINKING, anthropic.TOOL_USE, stop_reason="tool_use")
    asked = {"tools": [TOOL], "reasoning": {"effort": "low"}, "max_output_tokens": 4000}
    relayed = Relayed(responses_call(**SEALED, **asked), CLAUDE, [dialect.to_json(message)])
    reasoning, call = relayed.json["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": anthropic.THINKING["thinking"]}]
    items = [{"role": "user", "content": "hi"}, reasoning, call,
             {"type": "function_call_output", "call_id": call["call_id"], "output": "12"}]  # fmt: skip
    sent = request_json(CLAUDE.exchanges["responses"].request_bytes(responses_call(input=items, **asked), CLAUDE))
    assert sent["messages"][1]["content"][0] == anthropic.THINKING
    assert sent["thinking"]["type"] == "enabled"
    unsealed = [items[0], call, items[3]]
    sent = request_json(CLAUDE.exchanges["responses"].request_bytes(responses_call(input=unsealed, **asked), CLAUDE))
    assert "thinking" not in sent  # without it Anthropic would refuse to think on from here
    plain = Relayed(responses_call(**asked), CLAUDE, [dialect.to_json(message)]).json["output"][0]
    assert "encrypted_content" not in plain


# --- streams -------------------------------------------------------------------------------------------------------

STREAMS = {
    "openai": (GPT, dialect.chat_events(["Grü", "ezi 🐕"], tool_arguments=['{"a"', ":1}"])),
    "anthropic": (CLAUDE, anthropic.every_event()),
    "gemini": (GOOGLE, gemini.every_event()),
}


@pytest.mark.parametrize("name", STREAMS)
def test_stream_tells_each_item_from_its_beginning_to_its_end(name: str) -> None:
    upstream, packets = STREAMS[name]
    events = events_of(Relayed(responses_call(stream=True, **SEALED), upstream, [*packets, b""]))
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    response = Response.model_validate(events[-1]["response"])
    assert response.output_text.startswith("Grüezi 🐕")
    added = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert added == [item["id"] for item in done] == [item.id for item in response.output]
    assert len(set(added)) == len(added)
    told = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert told == response.output_text
    calls = [item for item in response.output if item.type == "function_call"]
    pieces = [event for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert "".join(event["delta"] for event in pieces) == "".join(call.arguments for call in calls)
    assert all(json.loads(call.arguments) is not None for call in calls)
    if name == "anthropic":
        assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
        assert response.output[0].encrypted_content.startswith("rw1.")
        assert response.usage.output_tokens_details.reasoning_tokens == 12


@pytest.mark.parametrize("name", STREAMS)
def test_same_stream_cut_at_every_byte_gives_the_same(name: str) -> None:
    """R29."""
    upstream, packets = STREAMS[name]
    raw = b"".join(packets)
    expected = timeless(Relayed(responses_call(stream=True), upstream, [raw, b""]).body)
    for place in range(1, len(raw), 2):
        relayed = Relayed(responses_call(stream=True), upstream, [raw[:place], raw[place:], b""])
        assert timeless(relayed.body) == expected, place


def timeless(body: bytes) -> bytes:
    created = body.partition(b'"created_at":')[2][:10]
    return body.replace(b'"created_at":' + created, b'"created_at":0')


def test_stream_broken_off_is_a_failed_response() -> None:
    """COMPAT 4, F9, R15, R16: `response.failed` with the next number, never a completed one."""
    raw = b"".join(bedrock.text_events(["The quick", " brown fox"]))
    nova = deployment(provider="bedrock", api_base="https://b.example.com", upstream_model="amazon.nova-pro-v1:0")
    for upstream, whole in ((nova, raw), (CLAUDE, b"".join(anthropic.message_events("The quick", " brown fox")))):
        for place in range(0, len(whole), 7):
            relayed = Relayed(responses_call(stream=True), upstream, [whole[:place], b""], breaks_off=True)
            if relayed.body:
                last = events_of(relayed)[-1]
                assert last["type"] == "response.failed"
                assert last["response"]["status"] == "failed"
                assert last["response"]["error"]["code"] == "server_error"


PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}


def test_pictures_that_tools_gave_come_after_them() -> None:
    """OpenAI's tool messages hold text alone."""
    calls = [{"type": "function_call", "call_id": name, "name": "see", "arguments": "{}"} for name in ("c1", "c2")]
    results = [
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "so"}, PICTURE]},
        {"type": "function_call_output", "call_id": "c2", "output": [PICTURE]},
    ]
    history = [{"role": "user", "content": "see"}, *calls, *results]
    made = chat(input=[*history, {"role": "user", "content": "well?"}])["messages"]
    assert [message["role"] for message in made] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert [message["content"] for message in made[2:4]] == [[{"type": "text", "text": "so"}], ""]
    assert [part["type"] for part in made[4]["content"]] == ["text", "image_url", "text", "image_url"]
    assert [message["role"] for message in chat(input=history)["messages"]][-1] == "user"
    others = chat(input=history, plain=False)["messages"]
    assert [part["type"] for part in others[2]["content"]] == ["text", "image_url"]


def test_item_that_was_never_kept_is_said_to_be_so() -> None:
    with pytest.raises(InvalidRequest, match="store: false") as caught:
        chat(input=[{"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_1"}], is_dropped=True)
    assert caught.value.param == "input[1]"
