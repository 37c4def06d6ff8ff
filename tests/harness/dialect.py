"""What an OpenAI-style server sends: response bodies, stream events and HTTP framing, as plain bytes and dicts."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CREATED = 1_700_000_000
STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Zürich","unit":"°C"}'},
}


def to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def usage(prompt_tokens: int = 9, completion_tokens: int = 3) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def chat_completion(
    text: str | None = "Hello there", *, model: str = "upstream-model", **changed: Any
) -> dict[str, Any]:
    """A whole chat completion; a key changed to `...` is left out."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if "tool_calls" in changed:
        message["tool_calls"] = changed.pop("tool_calls")
    body: dict[str, Any] = {
        "id": "chatcmpl-upstream-1",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
            }
        ],
        "usage": usage(),
        "system_fingerprint": "fp_upstream",
    }
    body.update(changed)
    return {name: value for name, value in body.items() if value is not ...}


def text_completion(text: str = "Hello there", *, model: str = "upstream-model") -> dict[str, Any]:
    return {
        "id": "cmpl-upstream-1",
        "object": "text_completion",
        "created": CREATED,
        "model": model,
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(),
    }


def vector(seed: int, size: int = 8) -> list[float]:
    """Numbers that a float32 holds exactly, so that both encodings can be compared."""
    return [((seed * 37 + place * 11) % 64 - 32) / 64 for place in range(size)]


def embeddings(request: Mapping[str, Any], *, model: str = "upstream-model") -> dict[str, Any]:
    """One vector per input, in the encoding asked for."""
    asked = request["input"]
    is_one = isinstance(asked, str) or (bool(asked) and isinstance(asked[0], int))
    count = 1 if is_one else len(asked)
    rows: list[Any] = [vector(place) for place in range(count)]
    if request.get("encoding_format") == "base64":
        rows = [base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode() for row in rows]
    return {
        "object": "list",
        "model": model,
        "data": [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(rows)],
        "usage": {"prompt_tokens": 4 * count, "total_tokens": 4 * count},
    }


def openai_error(
    message: str, *, code: str | None = None, type: str = "invalid_request_error", param: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


# --- streams ----------------------------------------------------------------------------------------------------


def event(value: Any, *, newline: str = "\n", spaced: bool = False) -> bytes:
    """One server-sent event."""
    text = json.dumps(value, ensure_ascii=False) if spaced else to_json(value).decode()
    return f"data: {text}{newline}{newline}".encode()


DONE = b"data: [DONE]\n\n"


def chunk(delta: Mapping[str, Any] | None, finish: str | None = None, *, model: str = "upstream-model", **changed: Any):
    body: dict[str, Any] = {
        "id": "chatcmpl-upstream-1",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "choices": [] if delta is None else [{"index": 0, "delta": dict(delta), "finish_reason": finish}],
    }
    body.update(changed)
    return body


def chat_chunks(
    texts: Iterable[str],
    *,
    tool_arguments: Sequence[str] = (),
    usage_shape: str | None = "empty_choices",
    used: Any = ...,
) -> list[dict[str, Any]]:
    """The chunks of a stream. `usage_shape`: `empty_choices` as OpenAI, `one_empty_choice` as others do, None."""
    chunks = [chunk({"role": "assistant", "content": ""})]
    texts = list(texts)
    chunks.extend(chunk({"content": text}) for text in texts)
    if tool_arguments:
        head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
        chunks.append(chunk({"tool_calls": [head]}))
        chunks.extend(
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in tool_arguments
        )
    chunks.append(chunk({}, "tool_calls" if tool_arguments else "stop"))
    if used is ...:
        used = usage(completion_tokens=len(texts))
    if usage_shape == "empty_choices":
        chunks.append(chunk(None, usage=used))
    elif usage_shape == "one_empty_choice":
        chunks.append(chunk({}, usage=used))
    return chunks


def chat_events(texts: Iterable[str], **shape: Any) -> list[bytes]:
    """The events of a whole stream, `[DONE]` at the end."""
    return [event(value) for value in chat_chunks(texts, **shape)] + [DONE]


# --- HTTP -------------------------------------------------------------------------------------------------------


def head(status: int, headers: Mapping[str, str], *, reason: str = "Scripted") -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1")


def response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole response with Content-Length."""
    fields = {"content-type": "application/json", **(headers or {}), "content-length": str(len(body))}
    return head(status, fields) + body


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_HTTP_CHUNK = b"0\r\n\r\n"


def chunked_stream(packets: Iterable[bytes], headers: Mapping[str, str] | None = None) -> list[bytes]:
    """A streamed response: the head, then each packet as one HTTP chunk, then the end."""
    fields = {**STREAM_HEADERS, **(headers or {}), "transfer-encoding": "chunked"}
    return [head(200, fields), *(http_chunk(packet) for packet in packets), LAST_HTTP_CHUNK]
