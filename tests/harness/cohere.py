"""What Cohere's API v2 sends: answers and stream events, made by hand from its reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.dialect import to_json, vector

CALL = {"id": "weather_x1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Zürich"}'}}


def usage(fresh: int = 9, out: int = 3) -> dict[str, Any]:
    return {
        "billed_units": {"input_tokens": float(fresh), "output_tokens": float(out)},
        "tokens": {"input_tokens": fresh + 60.0, "output_tokens": out + 4.0},
    }


def response(*parts: Mapping[str, Any], finish: str = "COMPLETE", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": list(parts), **message}
    return {"id": "co-1", "finish_reason": finish, "message": said, "usage": usage()}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def embeddings(request: Mapping[str, Any]) -> dict[str, Any]:
    rows = [vector(place) for place in range(len(request["texts"]))]
    billed = {"billed_units": {"input_tokens": 4.0 * len(rows)}}
    return {"id": "e-1", "embeddings": {"float": rows}, "texts": request["texts"], "meta": billed}


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), to_json({"type": kind, **fields}))


def piece(kind: str, index: int = 0, **message: Any) -> bytes:
    return event(kind, index=index, delta={"message": message})


START = event("message-start", id="co-1", delta={"message": {"role": "assistant", "content": [], "tool_plan": ""}})


def end(finish: str = "COMPLETE", **figures: Any) -> bytes:
    return event("message-end", delta={"finish_reason": finish, "usage": usage(**figures)})


def text_events(texts: Iterable[str]) -> list[bytes]:
    deltas = [piece("content-delta", content={"text": words}) for words in texts]
    return [START, piece("content-start", content=text("")), *deltas, event("content-end", index=0), end()]


def every_event() -> list[bytes]:
    """A stream with each kind of event that the reference names."""
    return [
        START,
        piece("content-start", content={"type": "thinking", "thinking": ""}),
        piece("content-delta", content={"thinking": "Let me see"}),
        event("content-end", index=0),
        piece("tool-plan-delta", tool_plan="I will"),
        piece("tool-plan-delta", tool_plan=" ask 🐕"),
        piece("citation-start", citations={"start": 1, "end": 2, "text": "x", "sources": []}),
        event("citation-end", index=0),
        piece("tool-call-start", tool_calls={**CALL, "function": {"name": "weather", "arguments": ""}}),
        piece("tool-call-delta", tool_calls={"function": {"arguments": '{"city":'}}),
        piece("tool-call-delta", tool_calls={"function": {"arguments": '"Zürich"}'}}),
        event("tool-call-end", index=0),
        event("something-new", index=3),
        end("TOOL_CALL", fresh=100, out=40),
    ]
