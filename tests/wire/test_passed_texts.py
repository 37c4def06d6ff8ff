"""Texts of bodies that pass through, whatever their shape: no JSON makes it fail, and paths find theirs."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from routewright.wire.texts import passed_answer_slots, passed_slots, slots_at
from routewright.wire.transcripts import NoTranscript, Transcript

KEYS = st.sampled_from(
    ["messages", "input", "prompt", "contents", "query", "documents", "text", "message", "chat_history", "requests",
     "content", "parts", "choices", "output", "candidates", "role", "type", "tool_calls", "function", "arguments",
     "source", "data", "function_call", "custom", "summary", "instructions", "prediction", "systemInstruction"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "mask", '{"a": "mask"}', "message"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_json_can_be_looked_over_and_put_back(body: dict[str, Any]) -> None:
    for slots in (
        passed_slots(body), passed_answer_slots(body), passed_answer_slots(body, is_known=True),
        passed_slots(body, ("messages[*].content", "input")),
    ):  # fmt: skip
        if slots is not None:
            texts = slots.texts
            assert not slots.put(list(texts))
            slots.put([text.replace("mask", "<X>") for text in texts])


def test_texts_at_paths_are_found_and_nothing_else() -> None:
    body = {"a": [{"b": "1", "c": "2"}, {"b": ["3", {"d": "4"}]}, 5, "6"], "e": {"f": "7", "": "8"}, "g": "9"}

    def at(*paths: str) -> list[str]:
        return sorted(slots_at(body, paths).texts)

    assert at("a[*].b") == ["1", "3", "4"]
    assert at("a[*]") == ["1", "2", "3", "4", "6"]
    assert at("a") == ["1", "2", "3", "4", "6"]
    assert at("e.f", "g") == ["7", "9"]
    assert at("e[*].f", "a.b", "x", "g.h", "a[*].b[*].d") == ["4"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode), st.sampled_from(
    [b"application/json", b"text/plain", b"text/vtt", b"application/x-subrip", b"text/event-stream; charset=utf-8", b""]
))  # fmt: skip
def test_any_transcript_is_read_or_refused(body: bytes, kind: bytes) -> None:
    try:
        transcript = Transcript(body, kind)
        assert transcript.put(list(transcript.texts)) == body
        transcript.put([text + "x" for text in transcript.texts])
    except NoTranscript:
        pass
