"""What Ollama's own API sends: answers and lines of a stream, made by hand from its documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.dialect import to_json, vector

STREAM_HEADERS = {"content-type": "application/x-ndjson"}
CALL = {"function": {"name": "weather", "arguments": {"city": "Zürich"}}}


def response(words: str, *, done: bool = True, **changed: Any) -> dict[str, Any]:
    """A whole answer, or one line of a stream."""
    message = {"role": "assistant", "content": words, **changed.pop("message", {})}
    body: dict[str, Any] = {"model": "llama", "created_at": "2026-11-01T00:00:00Z", "message": message, "done": done}
    if done:
        body.update(done_reason="stop", total_duration=1, prompt_eval_count=9, eval_count=3)
    return {name: value for name, value in {**body, **changed}.items() if value is not ...}


def embeddings(request: Mapping[str, Any]) -> dict[str, Any]:
    rows = [vector(place) for place in range(len(request["input"]))]
    return {"model": "llama", "embeddings": rows, "prompt_eval_count": 4 * len(rows)}


def line(value: Mapping[str, Any]) -> bytes:
    return to_json(value) + b"\n"


def text_lines(texts: Iterable[str]) -> list[bytes]:
    return [*[line(response(words, done=False)) for words in texts], line(response(""))]


def every_line() -> list[bytes]:
    return [
        line(response("", done=False, message={"thinking": "Let me see"})),
        line(response("Grüezi 🐕", done=False)),
        line(response("", done=False, message={"tool_calls": [CALL]})),
        line(response("", done=False, message={"tool_calls": [{"function": {"name": "now"}}]})),
        line(response("", prompt_eval_count=100, eval_count=40)),
    ]
