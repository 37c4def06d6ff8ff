"""OpenAI's chat, legacy completions and embeddings: what their clients are told.

Source: OpenAI API reference, "The chat completion object" and "The chat completion chunk object"; LiteLLM's
`reasoning_content` and `thinking_blocks` for what OpenAI has no word for.
"""

from __future__ import annotations

from typing import Any

from routewright.dialect import Chat, Clock
from routewright.errors import GatewayError, error_body
from routewright.types import Call, Usage
from routewright.wire.json import encode
from routewright.wire.prompts import last_question, text_of

DONE = b"data: [DONE]\n\n"


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage`; what was cached and reasoned stands there only where there was some."""
    figures: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_tokens or usage.cache_creation_tokens:
        figures["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
        figures["cache_creation_input_tokens"] = usage.cache_creation_tokens
        figures["cache_read_input_tokens"] = usage.cached_tokens
    if usage.reasoning_tokens:
        figures["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return figures


class ChatDialect:
    """OpenAI's clients."""

    name = "openai"
    ping = b": ping\n\n"

    def prompt(self, call: Call) -> tuple[str, str]:
        if call.endpoint != "chat":
            given = call.body.get("prompt", call.body.get("input"))
            if type(given) is list and given and type(given[-1]) is str:
                given = given[-1]
            return given if type(given) is str else "", ""
        messages = call.body["messages"]
        first = messages[0]
        system = text_of(first.get("content")) if first["role"] in ("system", "developer") else ""
        return last_question(messages), system

    def shows_thinking(self, call: Call) -> bool:
        """LiteLLM's `thinking`; how much is to be thought says nothing of who wants to see it."""
        thinking = call.body.get("thinking")
        return type(thinking) is dict and thinking.get("type") != "disabled"

    def as_chat(self, call: Call, *, plain: bool, is_dropped: bool) -> Chat:
        return call.body

    def answer(self, chat: Chat, call: Call, usage: Usage) -> bytes:
        return encode({**chat, "usage": usage_object(usage)})

    def pieces(self, call: Call, model: str, clock: Clock) -> ChatPieces:
        return ChatPieces(model, int(clock()), wants_usage=call.wants_usage)

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return b"data: %b\n\n%b" % (error_body(error), DONE)


CHAT = ChatDialect()


class ChatPieces:
    """An answer's pieces as chunks. All share id and `created`; the first delta has the role; nulls are left out."""

    def __init__(self, model: str, created_s: int, *, wants_usage: bool) -> None:
        self._model, self._created_s, self._wants_usage = model, created_s, wants_usage
        self._opening = b""
        self._before = b""
        self._after = b',"finish_reason":null}],"usage":null}\n\n' if wants_usage else b',"finish_reason":null}]}\n\n'
        self._thinking: list[str] = []
        self._id = ""

    def _chunk(self, delta: bytes) -> bytes:
        opening, self._opening = self._opening, b""
        return b"%b%b%b%b" % (opening, self._before, delta, self._after)

    def begin(self, answer_id: str, usage: Usage | None) -> bytes:
        """The role is said together with the first piece that has something to say."""
        self._id = answer_id
        head = {"id": answer_id, "object": "chat.completion.chunk", "created": self._created_s, "model": self._model}
        self._before = b'data: %b,"choices":[{"index":0,"delta":' % encode(head)[:-1]
        self._opening = self._chunk(b'{"role":"assistant","content":""}')
        return b""

    def text(self, text: str) -> bytes:
        if self._opening:
            return self._chunk(b'{"content":%b}' % encode(text))
        return b'%b{"content":%b}%b' % (self._before, encode(text), self._after)

    def thinking(self, text: str) -> bytes:
        self._thinking.append(text)
        return self._chunk(b'{"reasoning_content":%b}' % encode(text))

    def signature(self, signature: str) -> bytes:
        """One whole block, so that a client can send it back without putting pieces together."""
        block = {"type": "thinking", "thinking": "".join(self._thinking), "signature": signature}
        self._thinking.clear()
        return self._chunk(encode({"thinking_blocks": [block]}))

    def redacted_thinking(self, data: str) -> bytes:
        return self._chunk(encode({"thinking_blocks": [{"type": "redacted_thinking", "data": data}]}))

    def refusal(self, text: str) -> bytes:
        return self._chunk(b'{"refusal":%b}' % encode(text))

    def tool(self, tool: int, call_id: str, name: str) -> bytes:
        call = {"index": tool, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        return self._chunk(encode({"tool_calls": [call]}))

    def arguments(self, tool: int, text: str) -> bytes:
        return self._chunk(b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (tool, encode(text)))

    def finish(self, reason: str, stop_sequence: str | None = None) -> bytes:
        opening, self._opening = self._opening, b""
        usage = b',"usage":null' if self._wants_usage else b""
        return b'%b%b{},"finish_reason":%b}]%b}\n\n' % (opening, self._before, encode(reason), usage)

    def end(self, usage: Usage) -> bytes:
        if not self._wants_usage:
            return DONE
        whole = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created_s,
            "model": self._model,
            "choices": [],
            "usage": usage_object(usage),
        }
        return b"data: %b\n\n%b" % (encode(whole), DONE)

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return CHAT.error_event(error, request_id)
