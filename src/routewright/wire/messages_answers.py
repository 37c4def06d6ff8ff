"""Anthropic's Messages as a client dialect: answers and event streams from any provider, as its clients read them.

Source: Claude API reference, "Create a Message", "Streaming messages", "Errors", as of 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routewright.dialect import Chat
from routewright.errors import GatewayError, UpstreamBadResponse, anthropic_error_object
from routewright.types import Call, Usage
from routewright.wire.json import encode

STOP_REASONS = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use",
    "content_filter": "refusal",
}  # fmt: skip


def usage_object(usage: Usage) -> dict[str, int]:
    """Anthropic counts cached tokens apart: `input_tokens` is what neither came from a cache nor went into one."""
    cached = usage.cached_tokens + usage.cache_creation_tokens
    return {
        "input_tokens": max(0, usage.prompt_tokens - cached),
        "cache_creation_input_tokens": usage.cache_creation_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def event(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), encode(value))


def shows_thinking(call: Call) -> bool:
    """Whether the client expects blocks of thinking: others take the first block for the answer."""
    thinking = call.body.get("thinking")
    return type(thinking) is dict and thinking.get("type") != "disabled"


def answer(chat: Chat, call: Call, usage: Usage) -> bytes:
    """A whole message."""
    choice = chat["choices"][0]
    finish = choice.get("finish_reason")
    stop_sequence = choice.get("stop_sequence")
    reason = STOP_REASONS.get(finish, "end_turn") if stop_sequence is None else "stop_sequence"
    message: dict[str, Any] = {
        "id": _message_id(chat.get("id")),
        "type": "message",
        "role": "assistant",
        "model": chat["model"],
        "content": _blocks(choice["message"], shows_thinking=shows_thinking(call)),
        "stop_reason": reason,
        "stop_sequence": stop_sequence,
        "usage": usage_object(usage),
    }
    return encode(message)


def _message_id(given: Any) -> str:
    text = given if type(given) is str and given else "unnamed"
    return text if text.startswith("msg_") else f"msg_{text}"


def _blocks(message: dict[str, Any], *, shows_thinking: bool) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if shows_thinking:
        reasoning = message.get("reasoning_content")
        if message.get("thinking_blocks"):
            blocks += message["thinking_blocks"]
        elif reasoning:
            blocks.append({"type": "thinking", "thinking": reasoning, "signature": ""})
    text = message.get("content") or message.get("refusal")
    if text:
        blocks.append({"type": "text", "text": text})
    for call in message.get("tool_calls") or ():
        function = call["function"]
        blocks.append(
            {"type": "tool_use", "id": call["id"], "name": function["name"], "input": _input(function["arguments"])}
        )
    return blocks


def _input(arguments: str) -> dict[str, Any]:
    if not arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamBadResponse("the upstream called a tool with arguments that are not JSON") from error
    if type(value) is not dict:
        raise UpstreamBadResponse("the upstream called a tool with arguments that are no object")
    return value


class MessagesPieces:
    """An answer's pieces as events: one block after the other, each begun and ended, figures at both ends.

    What the prompt's tokens are is known at the end with most providers, so the start says our own estimate.
    """

    def __init__(self, call: Call, model: str) -> None:
        self._estimate = call.prompt_tokens_estimate
        self._shows_thinking = shows_thinking(call)
        self._model = model
        self._opening = b""
        self._block = -1
        self._kind = ""
        """Of the open block; empty while none is."""
        self._before = b""
        """Of a delta of the open block."""
        self._tools: dict[int, int] = {}
        self._reason = "end_turn"
        self._stop_sequence: str | None = None

    def begin(self, answer_id: str, usage: Usage | None) -> bytes:
        """Said together with the first block."""
        figures = usage_object(usage or Usage(self._estimate, 0))
        message: dict[str, Any] = {
            "id": _message_id(answer_id),
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": figures,
        }
        self._opening = event({"type": "message_start", "message": message})
        return b""

    def _open(self, kind: str, block: dict[str, Any], delta: bytes) -> bytes:
        """End the block before, begin this one."""
        out = self._close()
        self._block += 1
        self._kind = kind
        self._before = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b:'
            % (self._block, delta)
        )
        return out + event({"type": "content_block_start", "index": self._block, "content_block": block})

    def _close(self) -> bytes:
        opening, self._opening = self._opening, b""
        if not self._kind:
            return opening
        self._kind = ""
        return opening + event({"type": "content_block_stop", "index": self._block})

    def text(self, text: str) -> bytes:
        if not text:
            return b""
        if self._kind == "text":
            return b"%b%b}}\n\n" % (self._before, encode(text))
        opened = self._open("text", {"type": "text", "text": ""}, b'text_delta","text"')
        return b"%b%b%b}}\n\n" % (opened, self._before, encode(text))

    refusal = text

    def thinking(self, text: str) -> bytes:
        if not self._shows_thinking or not text:
            return b""
        opened = b""
        if self._kind != "thinking":
            block = {"type": "thinking", "thinking": "", "signature": ""}
            opened = self._open("thinking", block, b'thinking_delta","thinking"')
        return b"%b%b%b}}\n\n" % (opened, self._before, encode(text))

    def signature(self, signature: str) -> bytes:
        if not self._shows_thinking or self._kind != "thinking":
            return b""
        delta = {"type": "signature_delta", "signature": signature}
        said = event({"type": "content_block_delta", "index": self._block, "delta": delta})
        return said + self._close()  # it is the last of its block

    def redacted_thinking(self, data: str) -> bytes:
        if not self._shows_thinking:
            return b""
        return self._open("redacted_thinking", {"type": "redacted_thinking", "data": data}, b"") + self._close()

    def tool(self, tool: int, call_id: str, name: str) -> bytes:
        block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        opened = self._open("tool_use", block, b'input_json_delta","partial_json"')
        self._tools[tool] = self._block
        return opened

    def arguments(self, tool: int, text: str) -> bytes:
        if self._kind != "tool_use" or self._tools.get(tool) != self._block:
            raise UpstreamBadResponse("the upstream went back to an earlier tool call")
        return b"%b%b}}\n\n" % (self._before, encode(text))

    def finish(self, reason: str, stop_sequence: str | None = None) -> bytes:
        """Said at the end, with the figures."""
        self._reason = STOP_REASONS.get(reason, "end_turn") if stop_sequence is None else "stop_sequence"
        self._stop_sequence = stop_sequence
        return b""

    def end(self, usage: Usage) -> bytes:
        delta = {"stop_reason": self._reason, "stop_sequence": self._stop_sequence}
        said = event({"type": "message_delta", "delta": delta, "usage": usage_object(usage)})
        return b"%b%b%b" % (self._close(), said, event({"type": "message_stop"}))

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return event(anthropic_error_object(error, request_id))
