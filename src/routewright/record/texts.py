"""What a call asked and was answered, kept for those calls alone whose route or key asks for it.

A client's side that writes down what passes; every other call has none, and nothing of it is kept anywhere. Both texts
are JSON and have an end: what is longer is cut, and says so.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routewright.passing import Behind
from routewright.types import Call, Responder

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
STREAM_FACTOR = 8
"""A streamed answer is so many times as long as what it says: each chunk repeats the envelope."""


class KeptTexts(Behind):
    """Passes everything on to the client, and keeps it."""

    __slots__ = ("_answer", "_answer_bytes", "_call", "_is_stream", "_most_bytes")

    def __init__(self, call: Call, client: Responder, most_bytes: int) -> None:
        super().__init__(client)
        self._most_bytes = most_bytes
        self._answer: list[bytes] = []
        self._answer_bytes = 0
        self._is_stream = False
        self._call = call

    @property
    def request_text(self) -> str:
        """As it went on: with what guardrails have masked in it."""
        call = self._call
        return bounded(_encode({**call.body, "model": call.model}), self._most_bytes)

    @property
    def response_text(self) -> str:
        """A stream's events as one answer, where they are OpenAI's, else in a list."""
        data = b"".join(self._answer)
        return bounded(answer_of(data) if self._is_stream else data, self._most_bytes)

    def _keep(self, data: bytes) -> None:
        most = self._most_bytes * (STREAM_FACTOR if self._is_stream else 1) + 1
        if self._answer_bytes < most:
            self._answer.append(data[: most - self._answer_bytes])
            self._answer_bytes += len(data)

    # --- the client's side -----------------------------------------------------------------------------------------

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        self._is_stream = True
        self._keep(first)
        self._client.begin(status, fields, first)

    def write(self, data: bytes) -> None:
        self._keep(data)
        self._client.write(data)

    def hold(self, last: bytes, *, close: bool = False) -> None:
        self._keep(last)
        self._client.hold(last, close=close)

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        self._keep(body)
        self._client.hold_response(status, fields, body, close=close)

    def release(self) -> None:
        self._client.release()


def bounded(data: bytes, most_bytes: int) -> str:
    """The text, or what fits of it in an object that says so."""
    if len(data) <= most_bytes:
        return data.decode("utf-8", "replace")
    return _encode({"truncated": True, "text": data[:most_bytes].decode("utf-8", "ignore")}).decode()


def answer_of(stream: bytes) -> bytes:
    """What the events of a stream come to."""
    events: list[Any] = []
    for line in stream.split(b"\n"):
        if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
            try:
                events.append(_decode(line[5:]))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # cut at the end
    if events and all(type(event) is dict and type(event.get("choices")) is list for event in events):
        return _encode(_joined(events))
    return _encode(events)


def _joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Chunks of OpenAI's as one chat completion, or one completion."""
    choices: dict[Any, dict[str, Any]] = {}
    usage = None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for piece in chunk["choices"]:
            if type(piece) is not dict:
                continue
            choice = choices.setdefault(piece.get("index", 0), {"index": piece.get("index", 0), "finish_reason": None})
            choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
            if type(piece.get("text")) is str:
                choice["text"] = choice.get("text", "") + piece["text"]
            if type(piece.get("delta")) is dict:
                _add(choice.setdefault("message", {}), piece["delta"])
    first = chunks[0]
    return {
        "id": first.get("id"), "created": first.get("created"), "model": first.get("model"),
        "choices": list(choices.values()), "usage": usage,
    }  # fmt: skip


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Texts grow, lists of numbered parts (tool calls) grow part by part, everything else is as it was said last."""
    for name, value in delta.items():
        known = message.get(name)
        if type(value) is str and type(known) is str and name not in ("role", "id", "type"):
            message[name] = known + value
        elif type(value) is list:
            parts = message.setdefault(name, [])
            for part in value:
                index = part.get("index") if type(part) is dict else None
                same = [each for each in parts if type(each) is dict and each.get("index") == index]
                if index is not None and same:
                    _add(same[0], part)
                else:
                    parts.append(part)
        elif type(value) is dict and type(known) is dict:
            _add(known, value)
        elif value is not None:
            message[name] = value
