"""What Anthropic's Messages API sends: messages, stream events and errors, made by hand from its reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.dialect import to_json

TOOL_USE = {"type": "tool_use", "id": "toolu_01", "name": "weather", "input": {"city": "Zürich", "unit": "°C"}}
THINKING = {"type": "thinking", "thinking": "Let me see … ja", "signature": "EqQBCgIYAhIM=="}
REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pz"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def usage(input_tokens: int = 9, output_tokens: int = 3, **more: Any) -> dict[str, Any]:
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, **more}


def message(*blocks: Mapping[str, Any], stop_reason: str = "end_turn", **changed: Any) -> dict[str, Any]:
    """A whole message; a key changed to `...` is left out."""
    body = {
        "id": "msg_upstream_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-upstream",
        "content": list(blocks) or [text("Hello there")],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage(),
        **changed,
    }
    return {name: value for name, value in body.items() if value is not ...}


def event(value: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), to_json(value))


PING = event({"type": "ping"})
STOP = event({"type": "message_stop"})


def start(**figures: Any) -> bytes:
    whole = message(stop_reason=None, usage=usage(9, 1, **figures))
    return event({"type": "message_start", "message": {**whole, "content": []}})


def block_start(index: int, block: Mapping[str, Any]) -> bytes:
    return event({"type": "content_block_start", "index": index, "content_block": dict(block)})


def delta(index: int, **fields: Any) -> bytes:
    return event({"type": "content_block_delta", "index": index, "delta": fields})


def block_stop(index: int) -> bytes:
    return event({"type": "content_block_stop", "index": index})


def end(stop_reason: str = "end_turn", output_tokens: int = 3, stop_sequence: str | None = None, **more: Any) -> bytes:
    figures = {"output_tokens": output_tokens, **more}
    said = {"stop_reason": stop_reason, "stop_sequence": stop_sequence}
    return event({"type": "message_delta", "delta": said, "usage": figures})


def text_block(index: int, texts: Iterable[str]) -> list[bytes]:
    deltas = [delta(index, type="text_delta", text=words) for words in texts]
    return [block_start(index, text("")), *deltas, block_stop(index)]


def tool_block(index: int, name: str, pieces: Sequence[str], call_id: str = "toolu_01") -> list[bytes]:
    block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    deltas = [delta(index, type="input_json_delta", partial_json=piece) for piece in pieces]
    return [block_start(index, block), *deltas, block_stop(index)]


def thinking_block(index: int, texts: Iterable[str], signature: str) -> list[bytes]:
    deltas = [delta(index, type="thinking_delta", thinking=words) for words in texts]
    sealed = delta(index, type="signature_delta", signature=signature)
    return [block_start(index, {"type": "thinking", "thinking": "", "signature": ""}), *deltas, sealed,
            block_stop(index)]  # fmt: skip


def message_events(*texts: str) -> list[bytes]:
    """The events of a whole stream of text."""
    return [start(), PING, *text_block(0, texts), end(output_tokens=len(texts)), STOP]


def every_event() -> list[bytes]:
    """A stream with each kind of event and delta that the reference names."""
    return [
        start(cache_read_input_tokens=100, cache_creation_input_tokens=20),
        PING,
        *thinking_block(0, ["Let me", " see … ja"], "EqQBCgIYAhIM=="),
        block_start(1, REDACTED),
        block_stop(1),
        *text_block(2, ["Grüezi", " 🐕,", " it is"]),
        delta(2, type="citations_delta", citation={"type": "char_location", "cited_text": "x"}),
        block_start(3, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}),
        delta(3, type="input_json_delta", partial_json='{"query":"x"}'),
        block_stop(3),
        block_start(4, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}),
        block_stop(4),
        *tool_block(5, "weather", ["", '{"ci', 'ty":"Zür', 'ich"}']),
        PING,
        *tool_block(6, "now", [], "toolu_02"),
        event({"type": "something_new", "data": {"x": 1}}),
        end("tool_use", 40, output_tokens_details={"thinking_tokens": 12}),
        STOP,
    ]


def error(kind: str, words: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_upstream"}


def error_event(kind: str, words: str = "Overloaded") -> bytes:
    return event({"type": "error", "error": {"type": kind, "message": words}})


def answer_to(request: Mapping[str, Any], words: str) -> dict[str, Any]:
    return message(text(words), model=request["model"])
