"""Anthropic's Messages as an upstream: their answers, event streams and errors.

Source: Claude API reference, "Create a Message", "Streaming messages", "Errors", as of 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.dialect import Pieces, Stream
from routewright.errors import GatewayError, UpstreamAuthError, UpstreamError
from routewright.providers import anthropic
from routewright.providers.anthropic import JSON_TOOL
from routewright.providers.failures import cleaned, error_for
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
    raw_arguments,
)
from routewright.types import Call, Deployment, Usage

FINISH_REASONS = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls",
    "refusal": "content_filter", "pause_turn": "stop", "model_context_window_exceeded": "length", "compaction": "stop",
}  # fmt: skip
_NOTHING = msgspec.Raw(b"null")


class _Block(msgspec.Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NOTHING
    citations: Any = None


class _Answer(msgspec.Struct):
    id: str = ""
    content: list[_Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Any = None
    error: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


def usage_of(given: Any) -> Usage | None:
    """Anthropic counts what is cached apart from `input_tokens`; our `prompt_tokens` is all of it."""
    if type(given) is not dict:
        return None
    get = given.get
    fresh, output = get("input_tokens"), get("output_tokens")
    if not (is_count(fresh) and is_count(output)):
        return None
    usage = Usage(fresh, output)
    read, written = get("cache_read_input_tokens"), get("cache_creation_input_tokens")
    if read or written:
        read, written = count(read), count(written)
        usage.prompt_tokens += read + written
        usage.cached_tokens, usage.cache_creation_tokens = read, written
    parts = get("cache_creation")
    if type(parts) is dict:
        usage.cache_creation_long_tokens = min(
            count(parts.get("ephemeral_1h_input_tokens")), usage.cache_creation_tokens
        )
    details = get("output_tokens_details")
    if type(details) is dict:
        usage.reasoning_tokens = min(count(details.get("thinking_tokens")), usage.completion_tokens)
    return usage


def message_of(blocks: list[_Block]) -> dict[str, Any]:
    """Content blocks as a chat message. Blocks of Anthropic's own tools have no place in it and are left out."""
    texts: list[str] = []
    shown: list[str] = []
    thinking: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    answer: str | None = None
    for block in blocks:
        if block.type == "text" and block.text is not None:
            if type(block.citations) is list:
                notes += _annotations(block.citations, sum(map(len, texts)), len(block.text))
            texts.append(block.text)
        elif block.type == "thinking" and block.thinking is not None:
            shown.append(block.thinking)
            whole = {"type": "thinking", "thinking": block.thinking, "signature": block.signature or ""}
            thinking.append(whole)
        elif block.type == "redacted_thinking" and block.data is not None:
            thinking.append({"type": "redacted_thinking", "data": block.data})
        elif block.type == "tool_use" and block.id and block.name:
            arguments = raw_arguments(block.input)
            if block.name == JSON_TOOL:
                answer = arguments
            else:
                function = {"name": block.name, "arguments": arguments}
                calls.append({"id": block.id, "type": "function", "function": function})
    if answer is not None:
        texts, notes = [answer], []  # with what else is said it would not be JSON any more
    return message_with(texts, calls, thoughts="".join(shown), blocks=thinking, notes=notes)


def _annotations(citations: list[Any], start: int, length: int) -> list[dict[str, Any]]:
    made = []
    for citation in citations:
        if type(citation) is dict and type(citation.get("url")) is str:
            about = {"url": citation["url"], "title": citation.get("title") or "", "start_index": start}
            made.append({"type": "url_citation", "url_citation": {**about, "end_index": start + length}})
    return made


# --- event streams ------------------------------------------------------------------------------------------------


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Start(msgspec.Struct):
    id: str = ""
    usage: Any = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Start | None = None
    usage: Any = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


class EventStream(TranslatedStream):
    """Their events as pieces. Figures come twice: the prompt's at the start, all of them with the last delta."""

    def __init__(self, call: Call, pieces: Pieces, deployment: Deployment) -> None:
        super().__init__(call, pieces)
        self._deployment = deployment
        self._figures: dict[str, Any] = {}
        self._tools: dict[int, int] = {}
        """A tool's block -> which tool call it is, from 0; -1 for the one that carries a JSON answer."""
        self._has_arguments = False
        self._input = "{}"
        """Of the open tool's block, as its start had it."""
        self._has_begun = False

    def _event(self, data: bytes) -> bytes:
        if self.is_done or not data:
            return b""
        try:
            event = _decode_event(data)
        except DECODE_ERRORS as error:
            raise bad_event(error) from error
        kind = event.type
        if kind == "content_block_delta":
            delta = event.delta
            if delta is None or not self._has_begun:
                raise bad_event()
            if delta.type == "text_delta" and delta.text is not None:
                self.output_chars += len(delta.text)
                return self._pieces.text(delta.text)
            return self._other_delta(event.index, delta)
        if kind == "content_block_start":
            return self._block_starts(event)
        if kind == "content_block_stop":
            tool = self._tools.get(event.index)
            if tool is None or self._has_arguments:
                return b""
            # A tool without parameters is called with none; other servers of this dialect say all at the block's start.
            self.output_chars += len(self._input)
            return self._pieces.text(self._input) if tool < 0 else self._pieces.arguments(tool, self._input)
        if kind == "message_delta":
            return self._message_delta(event)
        if kind == "message_start":
            if self._has_begun:
                raise bad_event()
            self._has_begun = True
            message = event.message or _Start()
            self._take_figures(message.usage)
            return self._pieces.begin(message.id, self.usage)
        if kind == "message_stop":
            if not self.finish_seen:
                raise bad_event()
            self.finish()
        elif kind == "error":
            raise event_error(event.error, self._deployment)
        return b""  # `ping`, and kinds that are yet to come

    def _other_delta(self, block: int, delta: _Delta) -> bytes:
        if delta.type == "input_json_delta" and delta.partial_json is not None:
            text = delta.partial_json
            tool = self._tools.get(block)
            if not text or tool is None:
                return b""
            self.output_chars += len(text)
            self._has_arguments = True
            return self._pieces.text(text) if tool < 0 else self._pieces.arguments(tool, text)
        if delta.type == "thinking_delta" and delta.thinking is not None:
            if not delta.thinking:
                return b""
            self.output_chars += len(delta.thinking)
            return self._pieces.thinking(delta.thinking)
        if delta.type == "signature_delta" and delta.signature is not None:
            return self._pieces.signature(delta.signature)
        return b""  # citations, which a chunk has no place for

    def _block_starts(self, event: _Event) -> bytes:
        block = event.content_block
        if block is None or not self._has_begun:
            raise bad_event()
        if block.type == "tool_use" and block.id and block.name:
            self._has_arguments, self._input = False, raw_arguments(block.input)
            if block.name == JSON_TOOL:
                self._tools[event.index] = -1
                return b""
            tool = sum(known >= 0 for known in self._tools.values())
            self._tools[event.index] = tool
            return self._pieces.tool(tool, block.id, block.name)
        if block.type == "redacted_thinking" and block.data is not None:
            return self._pieces.redacted_thinking(block.data)
        if block.type == "text" and block.text:
            self.output_chars += len(block.text)
            return self._pieces.text(block.text)
        return b""

    def _message_delta(self, event: _Event) -> bytes:
        if not self._has_begun:
            raise bad_event()
        self._take_figures(event.usage)
        delta = event.delta
        if delta is None or delta.stop_reason is None:
            return b""
        self.finish_seen = True
        reason = FINISH_REASONS.get(delta.stop_reason, "stop")
        if reason == "tool_calls" and not any(tool >= 0 for tool in self._tools.values()):
            reason = "stop"  # the only tool was the JSON answer's
        return self._pieces.finish(reason, delta.stop_sequence)

    def _take_figures(self, given: Any) -> None:
        if type(given) is dict:
            self._figures.update({name: value for name, value in given.items() if value is not None})
            self.usage = usage_of(self._figures)


_EVENT_STATUS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "timeout_error": 504,
    "api_error": 500, "overloaded_error": 529,
}  # fmt: skip


def event_error(given: Any, deployment: Deployment) -> GatewayError:
    """An error inside a stream, which has no status of its own."""
    if type(given) is not dict:
        return UpstreamError("the upstream reported an error")
    message, kind, _ = cleaned(given.get("message"), given.get("type"), None, deployment)
    return error_for(_EVENT_STATUS.get(kind or "", 500), {}, 0.0, message=message)


def error_of(
    status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
) -> GatewayError:
    """Their error body says no more than its status does, but for the message."""
    try:
        given = msgspec.json.decode(body)["error"]["message"]
    except (*DECODE_ERRORS, KeyError, TypeError):
        given = ""
    message, _, _ = cleaned(given, None, None, deployment)
    if status == 400 and "credit balance" in message.lower():
        return UpstreamAuthError("the upstream refuses the gateway's credential: its account is empty")
    code = "model_not_found" if status == 404 else None
    return error_for(status, headers, now_s, message=message, code=code)


class Translated(TranslatedExchange):
    """Serves our clients of other dialects by Anthropic's Messages."""

    can_be_told_one_call = True
    error_of = staticmethod(error_of)
    request_bytes = staticmethod(anthropic.request_bytes)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        answer = decoded(_decode_answer, body)
        if answer.error:
            raise event_error(answer.error, deployment)
        if answer.content is None or answer.stop_reason is None:
            raise bad_answer()
        message = message_of(answer.content)
        reason = FINISH_REASONS.get(answer.stop_reason, "stop")
        if reason == "tool_calls" and "tool_calls" not in message:
            reason = "stop"  # the only tool was the JSON answer's
        usage = usage_of(answer.usage)
        return self._answered(call, deployment, answer.id, message, reason, usage, answer.stop_sequence)

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return EventStream(call, self._pieces(call, deployment), deployment)
