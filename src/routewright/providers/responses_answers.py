"""OpenAI's Responses as an upstream: its answers, its typed events and its errors.

Source: OpenAI API reference, "The response object", "Streaming events", as of 2026-11.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from routewright.dialect import Pieces, Stream
from routewright.errors import GatewayError, UpstreamError
from routewright.metered import SearchedUsage, Units
from routewright.providers import responses
from routewright.providers.failures import cleaned, error_for
from routewright.providers.openai import error_of
from routewright.providers.translation import (
    DECODE_ERRORS,
    TranslatedExchange,
    TranslatedStream,
    bad_answer,
    bad_event,
    count,
    decoded,
    is_count,
    message_with,
)
from routewright.types import Call, Deployment, Usage

ENDS = {"response.completed": "completed", "response.incomplete": "incomplete"}
PART_BREAK = "\n\n"
"""Between two parts of what a model tells of its thinking."""
_CALLERS_FAULT = re.compile(
    r"invalid_|image_|unsupported_|empty_image|failed_to_download|context_length|string_above|content_|\w+_policy"
)
"""Codes of errors about what was asked. An error inside a stream has no status of its own."""


def usage_of(given: Any, by_tools: Any = None) -> Usage | None:
    """Figures that can be believed, else None. `by_tools`: `tool_usage`, of which searches are counted."""
    if type(given) is not dict:
        return None
    prompt, output = given.get("input_tokens"), given.get("output_tokens")
    if not (is_count(prompt) and is_count(output)):
        return None
    usage = Usage(prompt, output)
    details = given.get("input_tokens_details")
    if type(details) is dict:
        usage.cached_tokens = min(count(details.get("cached_tokens")), prompt)
        usage.cache_creation_tokens = min(count(details.get("cache_write_tokens")), prompt - usage.cached_tokens)
    details = given.get("output_tokens_details")
    if type(details) is dict:
        usage.reasoning_tokens = count(details.get("reasoning_tokens"))
    about = by_tools.get("web_search") if type(by_tools) is dict else None
    searches = count(about.get("num_requests")) if type(about) is dict else 0
    return SearchedUsage(**msgspec.structs.asdict(usage), units=Units(queries=searches)) if searches else usage


def failure_of(given: Any, deployment: Deployment) -> GatewayError:
    """What an error inside a stream, or in a response that failed, means for the caller."""
    about = given if type(given) is dict else {}
    message, code, param = cleaned(about.get("message"), about.get("code"), about.get("param"), deployment)
    if code == "rate_limit_exceeded":
        status = 429
    else:
        status = 400 if code is not None and _CALLERS_FAULT.match(code) else 500
    return error_for(status, {}, 0.0, message=message, code=code, param=param)


# --- answers ------------------------------------------------------------------------------------------------------


class Item(msgspec.Struct):
    """An item of an answer, as far as it is read; of kinds that are not read only the type is."""

    type: str
    id: str | None = None
    content: list[dict[str, Any]] | None = None
    summary: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None


class Why(msgspec.Struct):
    reason: str | None = None


class Response(msgspec.Struct):
    id: str = ""
    status: str | None = None
    output: list[Item] | None = None
    incomplete_details: Why | None = None
    usage: Any = None
    tool_usage: Any = None
    error: Any = None


_decode_answer = msgspec.json.Decoder(Response).decode


def _texts(parts: list[dict[str, Any]] | None, kind: str, name: str = "text") -> list[str]:
    return [part[name] for part in parts or () if part.get("type") == kind and type(part.get(name)) is str]


def _thoughts(item: Item) -> str:
    return PART_BREAK.join([*_texts(item.summary, "summary_text"), *_texts(item.content, "reasoning_text")])


def message_of(output: list[Item]) -> dict[str, Any]:
    """The items of an answer as a chat's message. What the provider's own tools did is not the client's to answer."""
    texts: list[str] = []
    thoughts: list[str] = []
    blocks: list[dict[str, Any]] = []
    refusals: list[str] = []
    calls: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for item in output:
        if item.type == "message":
            texts += _texts(item.content, "output_text")
            refusals += _texts(item.content, "refusal", "refusal")
            notes += [note for part in item.content or () for note in _notes(part.get("annotations"))]
        elif item.type == "reasoning":
            told = _thoughts(item)
            thoughts.append(told)
            if item.id and item.encrypted_content:
                blocks.append(block_of(told, responses.sealed(item.id, item.encrypted_content)))
        elif item.type == "function_call":
            given = item.arguments
            if not (item.call_id and item.name) or type(given) not in (str, type(None)):
                raise bad_answer()
            function = {"name": item.name, "arguments": given or "{}"}  # some servers write nothing for none
            calls.append({"id": item.call_id, "type": "function", "function": function})
    return message_with(
        texts, calls, thoughts="".join(thoughts), blocks=blocks, notes=notes, refusal="".join(refusals)
    )  # fmt: skip


def block_of(text: str, seal: str) -> dict[str, Any]:
    if text:
        return {"type": "thinking", "thinking": text, "signature": seal}
    return {"type": "redacted_thinking", "data": seal}


def _notes(given: Any) -> list[dict[str, Any]]:
    """Citations, as a chat has them."""
    if type(given) is not list:
        return []
    return [
        {"type": "url_citation", "url_citation": {name: value for name, value in note.items() if name != "type"}}
        for note in given
        if type(note) is dict and note.get("type") == "url_citation"
    ]


def finish_of(response: Response, *, has_tools: bool) -> str:
    """In OpenAI's words for a chat."""
    if response.status == "incomplete":
        why = response.incomplete_details.reason if response.incomplete_details is not None else None
        return "content_filter" if why == "content_filter" else "length"
    return "tool_calls" if has_tools else "stop"


# --- event streams ------------------------------------------------------------------------------------------------


class Event(msgspec.Struct):
    type: str
    response: Response | None = None
    item: Item | None = None
    output_index: int = 0
    delta: Any = None
    message: Any = None
    code: Any = None
    param: Any = None
    error: Any = None


_decode_event = msgspec.json.Decoder(Event).decode


class EventStream(TranslatedStream):
    """Typed events as pieces. An item that came without its deltas is told when it is done."""

    def __init__(self, call: Call, pieces: Pieces, deployment: Deployment) -> None:
        super().__init__(call, pieces)
        self._deployment = deployment
        self._has_begun = False
        self._tools: dict[int, int] = {}
        """By place in the output."""
        self._told: set[tuple[int, str]] = set()
        """Items of which some was told, by place and kind."""
        self._is_next_part = False

    def _event(self, data: bytes) -> bytes:
        if self.is_done or not data:
            return b""
        try:
            event = _decode_event(data)
        except DECODE_ERRORS as error:
            if data.strip() == b"[DONE]":
                return b""
            raise bad_event(error) from error
        kind = event.type
        if kind == "response.output_text.delta":
            return self._say("text", event.output_index, event.delta)
        if kind in ENDS:
            return self._end(event.response)
        if kind == "error":
            raise failure_of(event.error or {"code": event.code, "message": event.message, "param": event.param},
                             self._deployment)  # fmt: skip
        if kind == "response.failed":
            raise failure_of(event.response.error if event.response is not None else None, self._deployment)
        if not self._has_begun:
            if event.response is None:
                raise bad_event()
            self._has_begun = True
            return self._pieces.begin(event.response.id, None)
        if kind == "response.function_call_arguments.delta":
            return self._arguments(event.output_index, event.delta)
        if kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            return self._think(event.output_index, event.delta)
        if kind == "response.reasoning_summary_part.added":
            self._is_next_part = (event.output_index, "thinking") in self._told
        elif kind == "response.refusal.delta":
            return self._say("refusal", event.output_index, event.delta)
        elif kind == "response.output_item.added" and event.item is not None and event.item.type == "function_call":
            return self._tool(event.output_index, event.item)
        elif kind == "response.output_item.done" and event.item is not None:
            return self._item(event.output_index, event.item)
        return b""  # ends of parts, what the provider's own tools do, and kinds that are yet to come

    def _say(self, kind: str, place: int, text: Any) -> bytes:
        if type(text) is not str or not self._has_begun:
            raise bad_event()
        self.output_chars += len(text)
        self._told.add((place, "message"))
        return self._pieces.text(text) if kind == "text" else self._pieces.refusal(text)

    def _think(self, place: int, text: Any) -> bytes:
        if type(text) is not str:
            raise bad_event()
        if self._is_next_part:
            text, self._is_next_part = PART_BREAK + text, False
        self.output_chars += len(text)
        self._told.add((place, "thinking"))
        return self._pieces.thinking(text) if text else b""

    def _tool(self, place: int, item: Item) -> bytes:
        if not (item.call_id and item.name) or place in self._tools:
            raise bad_event()
        self._tools[place] = len(self._tools)
        return self._pieces.tool(self._tools[place], item.call_id, item.name)

    def _arguments(self, place: int, text: Any) -> bytes:
        if type(text) is not str or place not in self._tools:
            raise bad_event()
        if not text:
            return b""
        self.output_chars += len(text)
        self._told.add((place, "arguments"))
        return self._pieces.arguments(self._tools[place], text)

    def _item(self, place: int, item: Item) -> bytes:
        """The end of an item, which holds all of it."""
        out = b""
        if item.type == "message" and (place, "message") not in self._told:
            for text in _texts(item.content, "output_text"):
                out += self._say("text", place, text)
            for text in _texts(item.content, "refusal", "refusal"):
                out += self._say("refusal", place, text)
        elif item.type == "function_call":
            if place not in self._tools:
                out = self._tool(place, item)
            if (place, "arguments") not in self._told:
                out += self._arguments(place, item.arguments or "{}")
        elif item.type == "reasoning":
            if (place, "thinking") not in self._told and (told := _thoughts(item)):
                out = self._think(place, told)
            if item.id and item.encrypted_content:
                seal = responses.sealed(item.id, item.encrypted_content)
                has_text = (place, "thinking") in self._told
                out += self._pieces.signature(seal) if has_text else self._pieces.redacted_thinking(seal)
            self._is_next_part = False
        return out

    def _end(self, response: Response | None) -> bytes:
        if response is None or not self._has_begun:
            raise bad_event()
        self.usage = usage_of(response.usage, response.tool_usage) or self.usage
        self.finish_seen = True
        out = self._pieces.finish(finish_of(response, has_tools=bool(self._tools)))
        self.finish()
        return out


class Translated(TranslatedExchange):
    """Serves our clients of other dialects by `/responses`."""

    error_of = staticmethod(error_of)
    request_bytes = staticmethod(responses.request_bytes)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        response = decoded(_decode_answer, body)
        if response.error or response.status == "failed":
            raise failure_of(response.error, deployment)
        if response.status == "cancelled":
            raise UpstreamError("the upstream gave the answer up")
        if response.output is None or response.status not in (None, "completed", "incomplete"):
            raise bad_answer()
        message = message_of(response.output)
        reason = finish_of(response, has_tools="tool_calls" in message)
        return self._answered(
            call, deployment, response.id, message, reason, usage_of(response.usage, response.tool_usage)
        )

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return EventStream(call, self._pieces(call, deployment), deployment)
