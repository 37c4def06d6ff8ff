"""A whole answer told as a stream and gathered again is the same answer, in every client's dialect."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import anthropic, dialect, gemini
from routewright.types import Call, Usage
from routewright.wire.gathered import whole_of
from routewright.wire.told import split_end, stream_of
from values import call, gemini_call, responses_call

TEXT = st.text(max_size=30)


def both_ways(whole: dict[str, Any], asked: Call) -> dict[str, Any]:
    said = stream_of(msgspec.json.encode(whole), asked)
    assert said is not None
    stream = b"".join(said)
    assert said[1], "the end waits for the record"
    assert split_end(stream)[0] + split_end(stream)[1] == stream
    made = whole_of(stream, asked, Usage(9, 3))
    assert made is not None
    found: dict[str, Any] = msgspec.json.decode(made)
    return found


@given(TEXT, st.booleans(), st.sampled_from(["stop", "length", "content_filter"]))
def test_chat(text: str, wants_usage: bool, finish: str) -> None:
    whole = dialect.chat_completion(text or None)
    whole["choices"][0]["finish_reason"] = finish
    del whole["choices"][0]["logprobs"]
    options = {"stream_options": {"include_usage": True}} if wants_usage else {}
    assert both_ways(whole, call(stream=True, **options)) == whole


def test_chat_with_tools_reasoning_and_several_choices() -> None:
    message = {
        "role": "assistant", "content": None, "tool_calls": [dialect.TOOL_CALL, {**dialect.TOOL_CALL, "id": "call_2"}],
        "reasoning_content": "Let me", "thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "s"}],
    }  # fmt: skip
    whole = dialect.chat_completion()
    logprobs = {"content": [{"token": "a", "logprob": -1.0}], "refusal": None}
    whole["choices"] = [
        {"index": 0, "message": message, "finish_reason": "tool_calls"},
        {"index": 1, "message": {"role": "assistant", "content": "b", "refusal": "no"}, "finish_reason": "stop",
         "logprobs": logprobs},
    ]  # fmt: skip
    found = both_ways(whole, call(stream=True))
    del logprobs["refusal"]
    assert found == whole


def test_completion() -> None:
    whole = dialect.text_completion("Grüezi")
    assert both_ways(whole, call("completions", stream=True)) == whole


BLOCKS = [
    anthropic.THINKING, anthropic.REDACTED, anthropic.text("Grüezi"), anthropic.TOOL_USE,
    {"type": "text", "text": "x", "citations": [{"type": "char_location", "cited_text": "x"}]},
    {"type": "tool_use", "id": "t2", "name": "now", "input": {}},
]  # fmt: skip


@given(st.lists(st.sampled_from(BLOCKS), max_size=5), st.sampled_from(["end_turn", "tool_use", "max_tokens"]))
def test_messages(blocks: list[dict[str, Any]], reason: str) -> None:
    whole = {**anthropic.message(stop_reason=reason), "content": blocks}
    assert both_ways(whole, call("messages", max_tokens=9, stream=True)) == whole


def test_gemini() -> None:
    parts = [{"text": "Let me", "thought": True}, {"text": "Grüezi"}, gemini.SIGNED_CALL]
    whole = gemini.response(*parts)
    asked = gemini_call()
    assert both_ways(whole, asked) == whole


def test_gemini_stream_becomes_one_answer() -> None:
    stream = b"".join(gemini.every_event()).replace(b"\r\n", b"\n")
    whole = msgspec.json.decode(whole_of(stream, gemini_call(), Usage()) or b"null")
    assert [part.get("text") for part in whole["candidates"][0]["content"]["parts"]] == [
        "Let me see … ja", "Grüezi 🐕", None, None,
    ]  # fmt: skip
    assert whole["usageMetadata"]["thoughtsTokenCount"] == 12


def test_responses() -> None:
    about = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "incomplete_details": None}
    text = {"type": "output_text", "text": "Grüezi", "annotations": [{"type": "url_citation", "url": "u"}],
            "logprobs": []}  # fmt: skip
    output = [
        {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me"}]},
        {"id": "m_1", "type": "message", "status": "completed", "role": "assistant", "content": [text]},
        {"id": "m_2", "type": "message", "status": "completed", "role": "assistant",
         "content": [{"type": "refusal", "refusal": "no"}]},
        {"id": "f_1", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}"},
    ]  # fmt: skip
    whole = {**about, "output": output, "usage": {"input_tokens": 1, "output_tokens": 2}}
    assert both_ways(whole, responses_call(stream=True)) == whole


@pytest.mark.parametrize(
    "stream",
    [
        b"", b"data: [DONE]\n\n", b"data: {}\n\n", b"data: [1]\n\n", b"data: {\n\n", b"nonsense",
        dialect.event(dialect.chunk({"content": "never ended"})) + dialect.DONE,
        dialect.event(dialect.chunk({"audio": {"id": "x"}}, "stop")) + dialect.DONE,
        dialect.event({"error": {"message": "x"}}) + dialect.DONE,
        dialect.event({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 7}]}, "finish_reason": "stop"}]}),
    ],
)  # fmt: skip
def test_stream_that_has_no_whole_form_gives_none(stream: bytes) -> None:
    assert whole_of(stream, call(), Usage()) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"choices":[1]}', b'{"choices":[{"message":null}]}'])
def test_answer_that_has_no_form_as_a_stream_gives_none(body: bytes) -> None:
    for asked in (call(), call("messages", max_tokens=9), responses_call()):
        assert stream_of(body, asked) is None or body == b"{}"
