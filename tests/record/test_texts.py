"""What is kept of a call: the request, and the answer as its client had it, both with an end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness import dialect
from routewright.record.texts import KeptTexts, answer_of, bounded
from values import call


class Client:
    """A client's side that remembers what it was told."""

    def __init__(self) -> None:
        self.is_gone = False
        self.on_gone: Any = None
        self.on_pause: Any = None
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *told, **more: self.told.append((name, *told, more))


def kept(client: Client, most_bytes: int = 4096) -> KeptTexts:
    asked = call(model="auto")
    asked.body = {"model": "m", "messages": [{"role": "user", "content": "Grüße"}]}
    return KeptTexts(asked, client, most_bytes)  # type: ignore[arg-type]


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def test_whole_answer_is_kept_and_passed_on() -> None:
    client = Client()
    texts = kept(client)
    texts.on_gone = texts.on_pause = print
    texts.hold_response(200, b"a: b\r\n", b'{"choices": []}', close=True)
    texts.release()
    assert client.on_gone is client.on_pause is print
    assert client.told == [("hold_response", 200, b"a: b\r\n", b'{"choices": []}', {"close": True}), ("release", {})]
    assert json.loads(texts.response_text) == {"choices": []}
    assert json.loads(texts.request_text) == {"model": "auto", "messages": [{"role": "user", "content": "Grüße"}]}


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_stream_is_kept_as_one_answer_wherever_it_is_cut(size: int) -> None:
    data = b"".join(dialect.chat_events(["Grü", "ße", "!"], used=dialect.usage(3, 4)))
    data = data.removesuffix(dialect.DONE)
    texts = kept(Client())
    texts.begin(200, b"", data[:size])
    for start in range(size, len(data), size):
        texts.write(data[start : start + size])
    texts.hold(dialect.DONE)
    answer = json.loads(texts.response_text)
    assert answer["choices"][0]["message"]["content"] == "Grüße!"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 4


def test_tool_calls_and_choices_are_put_together() -> None:
    def chunk(index: int, **delta: Any) -> dict[str, Any]:
        return {"id": "x", "choices": [{"index": index, "delta": delta}]}

    def piece(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, "function": {"arguments": arguments}, **more}]}

    answer = json.loads(
        answer_of(
            stream(
                chunk(0, role="assistant", content=None),
                chunk(1, role="assistant", content="b"),
                chunk(0, **piece(0, '{"a"', id="one", type="function")),
                chunk(0, **piece(1, "{}", id="two")),
                chunk(0, **piece(0, ": 1}")),
                chunk(1, content="c"),
            )
        )
    )
    first, second = answer["choices"]
    assert [each["function"]["arguments"] for each in first["message"]["tool_calls"]] == ['{"a": 1}', "{}"]
    assert [each["id"] for each in first["message"]["tool_calls"]] == ["one", "two"]
    assert second["message"] == {"role": "assistant", "content": "bc"}


def test_events_of_another_dialect_are_a_list_and_half_an_event_is_left_out() -> None:
    data = b'event: message_start\ndata: {"type": "message_start"}\n\nevent: ping\ndata: {"type": "pi'
    assert json.loads(answer_of(data)) == [{"type": "message_start"}]
    assert json.loads(answer_of(b"")) == []


def test_what_is_long_is_cut_and_says_so() -> None:
    text = json.dumps({"content": "ü" * 1000}, ensure_ascii=False)
    cut = json.loads(bounded(text.encode(), 100))
    assert cut["truncated"]
    assert text.startswith(cut["text"])
    assert 90 < len(cut["text"].encode()) <= 100
    texts = kept(Client(), most_bytes=50)
    for _ in range(10_000):
        texts.write(b"data: {}\n\n" * 10)
    assert len(texts.response_text) < 200
    assert texts._answer_bytes < 50 * 8 + 200
