"""What Google's Gemini API sends: answers, stream events and errors, made by hand from its reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.dialect import to_json, vector

CALL = {"functionCall": {"name": "weather", "args": {"city": "Zürich", "unit": "°C"}}}
SIGNED_CALL = {**CALL, "thoughtSignature": "CiQB/8K+w=="}


def usage(prompt: int = 9, candidates: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "totalTokenCount": prompt + candidates + more.get("thoughtsTokenCount", 0),
        **more,
    }


def response(*parts: Mapping[str, Any], finish: str | None = "STOP", **changed: Any) -> dict[str, Any]:
    """A whole answer; a key changed to `...` is left out."""
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    body = {
        "candidates": [candidate],
        "usageMetadata": usage(),
        "modelVersion": "gemini-upstream",
        "responseId": "resp-1",
        **changed,
    }
    return {name: value for name, value in body.items() if value is not ...}


def predictions(request: Mapping[str, Any]) -> dict[str, Any]:
    """Vertex AI's embeddings, one an instance."""
    places = range(len(request["instances"]))
    figures = {"truncated": False, "token_count": 4.0}
    return {"predictions": [{"embeddings": {"values": vector(place), "statistics": figures}} for place in places]}


def event(value: Mapping[str, Any]) -> bytes:
    return b"data: %b\r\n\r\n" % to_json(value)


def text_events(texts: Iterable[str]) -> list[bytes]:
    texts = list(texts)
    events = [event(response({"text": words}, finish=None, usageMetadata=usage(9, place + 1)))
              for place, words in enumerate(texts)]  # fmt: skip
    return [*events, event(response({"text": ""}, usageMetadata=usage(9, len(texts))))]


def every_event() -> list[bytes]:
    """Thoughts, text, calls with and without arguments, figures of every class."""
    figures = usage(129, 28, thoughtsTokenCount=12, cachedContentTokenCount=100)
    return [
        event(response({"text": "Let me", "thought": True}, finish=None)),
        event(response({"text": " see … ja", "thought": True}, finish=None)),
        event(response({"text": "Grüezi"}, {"text": " 🐕"}, finish=None)),
        event(response(SIGNED_CALL, finish=None)),
        event(response({"functionCall": {"name": "now", "args": {}}}, finish=None)),
        event(response({"text": ""}, usageMetadata=figures)),
    ]


def error(code: int, status: str, words: str, *details: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": words, "status": status, "details": list(details)}}
