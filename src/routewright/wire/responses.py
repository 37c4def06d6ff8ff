"""OpenAI's Responses as a client dialect: a client's body to a `Call`, and all that its clients are told.

Nothing is kept between two calls here: `keeping.py` has put what was kept before into the input already.
Source: OpenAI API reference, "Create a model response", as of 2026-11.
"""

from __future__ import annotations

from typing import Any

from routewright.account_names import files_in
from routewright.dialect import Chat, Clock, Pieces
from routewright.errors import GatewayError, InvalidRequest, MissingField, error_object
from routewright.types import Call, HttpRequest, Usage
from routewright.wire import responses_answers
from routewright.wire.chat import estimated_tokens, parse_shared, size_of
from routewright.wire.json import decode_object, encode
from routewright.wire.responses_chat import as_chat

_KEPT = ("previous_response_id", "conversation", "prompt")
"""Names of what OpenAI keeps in its account, which every key of this gateway could name."""


def parse_responses(request: HttpRequest) -> Call:
    """Raises InvalidRequest and its kin, with `param` naming the field."""
    body = decode_object(request.body)
    call = parse_shared("responses", body, request.model_in_path)
    call.client = RESPONSES
    for name in _KEPT:
        if body.get(name) is not None:
            raise InvalidRequest(f"{name} is not served: it names what OpenAI keeps; send the conversation", param=name)
    given = body.get("input")
    if given is None:
        raise MissingField("input is required", param="input")
    chars = images = 0
    if type(given) is str:
        chars = size_of(given)
    elif type(given) is not list or not given:
        raise InvalidRequest("input must be a string or a non-empty list of items", param="input")
    else:
        for index, item in enumerate(given):
            if type(item) is not dict:
                raise InvalidRequest("each item must be an object", param=f"input[{index}]")
            if item.get("type", "message") == "message" and item.get("role") not in (
                "user", "assistant", "system", "developer",
            ):  # fmt: skip
                raise InvalidRequest("a message needs a role", param=f"input[{index}].role")
            item_chars, item_images = _measure(item, call, f"input[{index}]")
            chars += item_chars
            images += item_images
    instructions = body.get("instructions")
    if instructions is not None:
        if type(instructions) is not str:
            raise InvalidRequest("instructions must be a string", param="instructions")
        chars += size_of(instructions)
    if body.get("tools"):
        call.has_tools = True
        chars += len(encode(body["tools"]))
        call.files += files_in(body["tools"], "tools")
    text = body.get("text")
    asked = text.get("format") if type(text) is dict else None
    call.wants_json = type(asked) is dict and asked.get("type") in ("json_object", "json_schema")
    call.has_images = images > 0
    n_messages = 1 if type(given) is str else len(given)
    call.prompt_tokens_estimate = estimated_tokens(chars, n_messages=n_messages, n_images=images)
    return call


def _measure(item: dict[str, Any], call: Call, where: str) -> tuple[int, int]:
    chars = images = 0
    for name in ("content", "output"):
        content = item.get(name)
        if type(content) is str:
            chars += size_of(content)
        elif type(content) is list:
            for part in content:
                if type(part) is not dict:
                    continue
                if type(part.get("text")) is str:
                    chars += size_of(part["text"])
                    continue
                if part.get("type") == "input_image":
                    images += 1
                if "file_id" in part:
                    call.files += files_in(part, f"{where}.{name}")
        elif type(content) is dict:  # a picture of a screen
            call.files += files_in(content, f"{where}.{name}")
    if type(item.get("arguments")) is str:
        chars += size_of(item["arguments"])
    return chars, images


class ResponsesDialect:
    """OpenAI's clients at the Responses endpoint."""

    name = "responses"
    ping = b": ping\n\n"

    def prompt(self, call: Call) -> tuple[str, str]:
        given, system = call.body["input"], call.body.get("instructions") or ""
        if type(given) is str:
            return given, system
        for item in reversed(given):
            if item.get("role") == "user" and (text := _text(item.get("content"))):
                return text, system
        return "", system

    def shows_thinking(self, call: Call) -> bool:
        reasoning = call.body.get("reasoning")
        return type(reasoning) is dict and reasoning.get("summary") is not None

    def as_chat(self, call: Call, *, plain: bool, is_dropped: bool) -> Chat:
        return as_chat(call.body, plain=plain, is_dropped=is_dropped)

    def answer(self, chat: Chat, call: Call, usage: Usage) -> bytes:
        return responses_answers.answer(chat, call, usage)

    def pieces(self, call: Call, model: str, clock: Clock) -> Pieces:
        return responses_answers.ResponsesPieces(call, model, clock())

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        value = {**error_object(error)["error"], "type": "error", "sequence_number": 0}
        return b"event: error\ndata: %b\n\n" % encode(value)


RESPONSES = ResponsesDialect()


def _text(content: Any) -> str:
    if type(content) is str:
        return content
    if type(content) is not list:
        return ""
    return "\n".join([part["text"] for part in content if type(part) is dict and type(part.get("text")) is str])
