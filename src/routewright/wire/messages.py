"""Anthropic's Messages as a client dialect: a client's body to a `Call`, and all that its clients are told.

Source: Claude API reference, "Create a Message" and "Count tokens in a Message", as of 2026-11.
"""

from __future__ import annotations

from typing import Any

from routewright.account_names import files_in
from routewright.dialect import Chat, Clock, Pieces
from routewright.errors import GatewayError, InvalidRequest, MissingField, ThreadsUnserved, anthropic_error_object
from routewright.types import Call, HttpRequest, Usage
from routewright.wire import messages_answers
from routewright.wire.chat import estimated_tokens, parse_shared, size_of
from routewright.wire.json import decode_object, encode
from routewright.wire.messages_chat import as_chat, format_of
from routewright.wire.prompts import last_question, text_of

FORWARDED = ("anthropic-beta",)
"""The client's headers that Anthropic itself may read; `providers/` has the list of values."""
TOKENS_PER_DOCUMENT = 1500
_FILES = frozenset({"document", "container_upload"})


class MessagesDialect:
    """Anthropic's clients."""

    name = "anthropic"
    ping = messages_answers.event({"type": "ping"})

    def prompt(self, call: Call) -> tuple[str, str]:
        return last_question(call.body["messages"]), text_of(call.body.get("system"))

    def shows_thinking(self, call: Call) -> bool:
        return messages_answers.shows_thinking(call)

    def as_chat(self, call: Call, *, plain: bool, is_dropped: bool) -> Chat:
        return as_chat(call.body, plain=plain, is_dropped=is_dropped)

    def answer(self, chat: Chat, call: Call, usage: Usage) -> bytes:
        return messages_answers.answer(chat, call, usage)

    def pieces(self, call: Call, model: str, clock: Clock) -> Pieces:
        return messages_answers.MessagesPieces(call, model)

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return messages_answers.event(anthropic_error_object(error, request_id))


MESSAGES = MessagesDialect()


# --- a client's body to a call ------------------------------------------------------------------------------------


def parse_messages(request: HttpRequest) -> Call:
    """Raises InvalidRequest and its kin, with `param` naming the field."""
    call = _parse("messages", request)
    if call.body.get("thread") is not None:
        raise ThreadsUnserved("conversations are not kept by the upstream here: send the whole of them", param="thread")
    if call.max_tokens is None:
        raise MissingField("max_tokens is required", param="max_tokens")
    return call


def parse_count_tokens(request: HttpRequest) -> Call:
    """The same fields, of which only those count that the prompt is made of."""
    call = _parse("count_tokens", request)
    call.is_stream = False
    call.max_tokens = 1  # what admission has to expect of an answer
    return call


def _parse(endpoint: str, request: HttpRequest) -> Call:
    body = decode_object(request.body)
    call = parse_shared(endpoint, body, None)
    call.client = MESSAGES
    call.forwarded = {
        name: request.headers[name.encode()].decode("latin-1") for name in FORWARDED if name.encode() in request.headers
    }
    messages = body.get("messages")
    if messages is None:
        raise MissingField("messages is required", param="messages")
    if type(messages) is not list or not messages:
        raise InvalidRequest("messages must be a non-empty list", param="messages")
    chars = images = 0
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if type(message) is not dict:
            raise InvalidRequest("each message must be an object", param=where)
        if message.get("role") not in ("user", "assistant", "system"):
            raise InvalidRequest("role must be user or assistant", param=f"{where}.role")
        message_chars, message_images = _measure(message.get("content"), f"{where}.content", call)
        chars += message_chars
        images += message_images
        if message["role"] == "assistant":
            _drop_unsigned(message)
    system = body.get("system")
    if system is not None:
        chars += _measure(system, "system", call)[0]
    tools = body.get("tools")
    if tools is not None:
        if type(tools) is not list or any(type(tool) is not dict for tool in tools):
            raise InvalidRequest("tools must be a list of objects", param="tools")
        if tools:
            call.has_tools = True
            chars += len(encode(tools))
    call.has_images = images > 0
    call.wants_json = type(format_of(body)) is dict
    metadata = body.get("metadata")
    user = metadata.get("user_id") if type(metadata) is dict else None
    if type(user) is str and len(user) <= 512 and "\x00" not in user:
        call.user = user
    call.prompt_tokens_estimate = estimated_tokens(chars, n_messages=len(messages), n_images=images)
    return call


def _measure(content: Any, where: str, call: Call, *, is_inner: bool = False) -> tuple[int, int]:
    """(characters, images) of a content. Raises InvalidRequest where it is none."""
    if type(content) is str:
        return size_of(content), 0
    if type(content) is not list:
        raise InvalidRequest("content must be a string or a list of blocks", param=where)
    chars = images = 0
    for index, block in enumerate(content):
        if type(block) is not dict or type(block.get("type")) is not str:
            raise InvalidRequest("each block must be an object with a type", param=f"{where}.{index}")
        kind = block["type"]
        text = block.get("text")
        if text is not None:
            if type(text) is not str:
                raise InvalidRequest("text must be a string", param=f"{where}.{index}.text")
            chars += size_of(text)
        if kind == "image":
            images += 1
            call.files += files_in(block, f"{where}.{index}")
        elif kind in _FILES:
            chars += TOKENS_PER_DOCUMENT * 4
            call.files += files_in(block, f"{where}.{index}")
        elif kind == "tool_result" and not is_inner:
            inner = block.get("content")
            if inner is not None:
                inner_chars, inner_images = _measure(inner, f"{where}.{index}.content", call, is_inner=True)
                chars += inner_chars
                images += inner_images
        elif kind == "tool_use":
            chars += len(encode(block.get("input")))
        elif kind == "thinking" and type(block.get("thinking")) is str:
            chars += size_of(block["thinking"])
    return chars, images


def _drop_unsigned(message: dict[str, Any]) -> None:
    """Thinking without a signature came from another provider's model: Anthropic refuses it, others don't read it."""
    content = message["content"]
    if type(content) is list and any(block["type"] == "thinking" and not block.get("signature") for block in content):
        message["content"] = [
            block for block in content if block["type"] != "thinking" or block.get("signature")
        ] or [{"type": "text", "text": "."}]  # fmt: skip
