"""What Amazon Bedrock's Converse sends: answers, frames of its event streams and errors, by hand from its reference."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from harness.dialect import to_json, vector

STREAM_HEADERS = {"content-type": "application/vnd.amazon.eventstream"}
TOOL_USE = {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Zürich", "unit": "°C"}}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "Let me see … ja", "signature": "EqQBCg=="}}}


def usage(fresh: int = 9, out: int = 3, **more: int) -> dict[str, int]:
    return {"inputTokens": fresh, "outputTokens": out, "totalTokens": fresh + out + sum(more.values()), **more}


def response(*blocks: Mapping[str, Any], stop: str = "end_turn", **changed: Any) -> dict[str, Any]:
    """A whole answer; a key changed to `...` is left out."""
    body = {
        "output": {"message": {"role": "assistant", "content": list(blocks)}},
        "stopReason": stop,
        "usage": usage(),
        "metrics": {"latencyMs": 551},
        **changed,
    }
    return {name: value for name, value in body.items() if value is not ...}


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message in the Amazon event stream encoding."""
    packed = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack(">I", zlib.crc32(message))


def event(kind: str, value: Mapping[str, Any]) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, to_json({**value, "p": "abcdefgh"}))


def exception(kind: str, words: str) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, to_json({"message": words}))


START = event("messageStart", {"role": "assistant"})


def delta(block: int, **fields: Any) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": block, "delta": fields})


def block_stop(block: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": block})


def tool_start(block: int, call_id: str, name: str) -> bytes:
    return event("contentBlockStart", {"contentBlockIndex": block, "start": {"toolUse": {"toolUseId": call_id,
                 "name": name}}})  # fmt: skip


def end(stop: str = "end_turn", **figures: int) -> list[bytes]:
    return [
        event("messageStop", {"stopReason": stop}),
        event("metadata", {"usage": usage(**figures), "metrics": {"latencyMs": 1}}),
    ]


def text_events(texts: Iterable[str]) -> list[bytes]:
    texts = list(texts)
    return [START, *(delta(0, text=words) for words in texts), block_stop(0), *end(out=len(texts))]


def every_event() -> list[bytes]:
    return [
        START,
        delta(0, reasoningContent={"text": "Let me"}),
        delta(0, reasoningContent={"text": " see … ja"}),
        delta(0, reasoningContent={"signature": "EqQBCg=="}),
        block_stop(0),
        delta(1, reasoningContent={"redactedContent": "EmwKAhgB"}),
        block_stop(1),
        delta(2, text="Grüezi"),
        delta(2, text=" 🐕"),
        block_stop(2),
        tool_start(3, "tooluse_1", "weather"),
        delta(3, toolUse={"input": ""}),
        delta(3, toolUse={"input": '{"ci'}),
        delta(3, toolUse={"input": 'ty":"Zürich"}'}),
        block_stop(3),
        tool_start(4, "tooluse_2", "now"),
        block_stop(4),
        event("somethingNew", {"x": 1}),
        *end("tool_use", fresh=9, out=40, cacheReadInputTokens=100, cacheWriteInputTokens=20),
    ]


def invoked(request: Mapping[str, Any]) -> dict[str, Any]:
    """What Cohere's and Titan's embedding models answer to `invoke`."""
    if "inputText" in request:
        return {"embedding": vector(0), "embeddingsByType": {"float": vector(0)}, "inputTextTokenCount": 4}
    rows = [vector(place) for place in range(len(request["texts"]))]
    return {"id": "e-1", "response_type": "embeddings_by_type", "embeddings": {"float": rows}, "texts": []}
