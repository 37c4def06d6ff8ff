"""A whole answer as the events of a stream, for a client that asked for one while the answer had to be held.

Source: OpenAI API reference, chat completion chunks and streamed legacy completions.
"""

from __future__ import annotations

from typing import Any

from routewright.dialect import Pieces
from routewright.types import Usage
from routewright.wire.chat_answers import DONE
from routewright.wire.json import encode

STREAM_FIELDS = b"content-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"


def events_of(answer: dict[str, Any], endpoint: str, wants_usage: bool) -> tuple[bytes, bytes]:
    """The events of an answer, and what must not be sent before it is on record: the figures and `[DONE]`.

    Nothing is invented: texts, tool calls and finish reasons are the answer's own.
    """
    base: dict[str, Any] = {
        name: answer[name] for name in ("id", "created", "model", "system_fingerprint") if name in answer
    }
    is_chat = endpoint == "chat"
    base["object"] = "chat.completion.chunk" if is_chat else "text_completion"
    if wants_usage:
        base["usage"] = None
    events = []
    for choice in answer["choices"]:
        events += _chat_choice(base, choice) if is_chat else [_event(base, [choice])]
    if not wants_usage:
        return b"".join(events), DONE
    return b"".join(events), _event({**base, "usage": answer.get("usage")}, []) + DONE


def _chat_choice(base: dict[str, Any], choice: dict[str, Any]) -> list[bytes]:
    """What was said, and then how it ended."""
    delta = {name: value for name, value in choice["message"].items() if value is not None}
    delta.setdefault("role", "assistant")
    tool_calls = delta.get("tool_calls")
    if type(tool_calls) is list:
        delta["tool_calls"] = [
            {"index": place, **call} if type(call) is dict else call for place, call in enumerate(tool_calls)
        ]
    index = choice.get("index", 0)
    said: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": None}
    if choice.get("logprobs") is not None:
        said["logprobs"] = choice["logprobs"]
    ended = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}
    return [_event(base, [said]), _event(base, [ended])]


def _event(base: dict[str, Any], choices: list[dict[str, Any]]) -> bytes:
    return b"data: %b\n\n" % encode({**base, "choices": choices})


def pieces_of(answer: dict[str, Any], pieces: Pieces, usage: Usage) -> tuple[bytes, bytes]:
    """The same for a client of another dialect: its first choice, piece by piece."""
    choice = answer["choices"][0]
    message = choice["message"]
    out = [pieces.begin(str(answer.get("id", "")), usage)]
    blocks = message.get("thinking_blocks")
    for block in blocks if type(blocks) is list else ():
        if block.get("type") == "redacted_thinking":
            out.append(pieces.redacted_thinking(block.get("data", "")))
        else:
            out += [pieces.thinking(block.get("thinking", "")), pieces.signature(block.get("signature", ""))]
    if not blocks and message.get("reasoning_content"):
        out.append(pieces.thinking(message["reasoning_content"]))
    if message.get("content"):
        out.append(pieces.text(message["content"]))
    if message.get("refusal"):
        out.append(pieces.refusal(message["refusal"]))
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        out.append(pieces.tool(place, str(call.get("id", "")), str(function.get("name", ""))))
        out.append(pieces.arguments(place, function.get("arguments") or "{}"))
    out.append(pieces.finish(choice.get("finish_reason") or "stop"))
    return b"".join(out), pieces.end(usage)
