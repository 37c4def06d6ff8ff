"""Cohere's API v2 as an upstream: its answers, event streams, errors and embeddings.

Source: Cohere API reference v2, "Chat", "Chat with streaming", "Embed", "Errors", as of 2026-11.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.credentials import Credential
from routewright.dialect import Exchange, Pieces, Spoken, Stream
from routewright.errors import GatewayError, UpstreamError
from routewright.providers import cohere
from routewright.providers.embeddings import answer_of, fields_of, texts_of
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
    request_of,
)
from routewright.providers.unasked import talking
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment, Usage

FINISH_REASONS = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}
BROKEN = frozenset({"ERROR", "TIMEOUT"})


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None


class _Part(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class _Message(msgspec.Struct):
    content: list[_Part] | None = None
    tool_plan: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Answer(msgspec.Struct):
    message: _Message
    finish_reason: str
    id: str = ""
    usage: Any = None


class _Piece(msgspec.Struct):
    content: _Part | list[Any] | None = None
    tool_plan: str | None = None
    tool_calls: _ToolCall | list[Any] | None = None


class _Delta(msgspec.Struct):
    message: _Piece | None = None
    finish_reason: str | None = None
    usage: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    id: str | None = None
    index: int = 0
    delta: _Delta | None = None
    message: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_event = msgspec.json.Decoder(_Event).decode
_decode = msgspec.json.Decoder().decode


def usage_of(given: Any) -> Usage | None:
    """What Cohere bills; all that the model read where that is not said."""
    if type(given) is not dict:
        return None
    for name in ("billed_units", "tokens"):
        figures = given.get(name)
        if type(figures) is dict:
            prompt, completion = _whole(figures.get("input_tokens")), _whole(figures.get("output_tokens"))
            if is_count(prompt) and is_count(completion):
                usage = Usage(prompt, completion)
                usage.cached_tokens = min(count(_whole(given.get("cached_tokens"))), prompt)
                return usage
    return None


def _whole(figure: Any) -> Any:
    """Their figures are written as decimals."""
    return int(figure) if type(figure) is float and figure.is_integer() and abs(figure) < 2**53 else figure


def _finish(reason: str) -> str:
    """In OpenAI's words. Raises UpstreamError where the answer is none."""
    if reason in BROKEN:
        raise UpstreamError("the upstream's model could not finish its answer")
    return FINISH_REASONS.get(reason, "stop")


class EventStream(TranslatedStream):
    """Events by type; the last holds the reason and the figures."""

    def __init__(self, call: Call, pieces: Pieces) -> None:
        super().__init__(call, pieces)
        self._has_begun = False
        self._tools: dict[int, int] = {}

    def _event(self, data: bytes) -> bytes:
        if self.is_done or not data or data.strip() == b"[DONE]":
            return b""
        try:
            event = _decode_event(data)
        except DECODE_ERRORS as error:
            raise bad_event(error) from error
        kind = event.type
        if kind == "message-start":
            if self._has_begun:
                raise bad_event()
            self._has_begun = True
            return self._pieces.begin(event.id or "", None)
        if not self._has_begun:
            if type(event.message) is str:
                raise UpstreamError("the upstream reported an error")
            raise bad_event()
        delta = event.delta
        if kind == "message-end":
            return self._end(delta)
        piece = delta.message if delta is not None else None
        if piece is None:
            return b""  # the ends of parts, citations, and kinds that are yet to come
        if kind in ("content-start", "content-delta") and isinstance(piece.content, _Part):
            return self._content(piece.content)
        if kind == "tool-plan-delta" and piece.tool_plan:
            self.output_chars += len(piece.tool_plan)
            return self._pieces.text(piece.tool_plan)
        if kind in ("tool-call-start", "tool-call-delta") and isinstance(piece.tool_calls, _ToolCall):
            return self._tool(event.index, piece.tool_calls, is_start=kind == "tool-call-start")
        return b""

    def _content(self, part: _Part) -> bytes:
        if part.thinking:
            self.output_chars += len(part.thinking)
            return self._pieces.thinking(part.thinking)
        if part.text:
            self.output_chars += len(part.text)
            return self._pieces.text(part.text)
        return b""

    def _tool(self, index: int, call: _ToolCall, *, is_start: bool) -> bytes:
        function = call.function or _Function()
        out = b""
        if is_start:
            if not (call.id and function.name) or index in self._tools:
                raise bad_event()
            self._tools[index] = len(self._tools)
            out = self._pieces.tool(self._tools[index], call.id, function.name)
        elif index not in self._tools:
            raise bad_event()
        if function.arguments:
            self.output_chars += len(function.arguments)
            out += self._pieces.arguments(self._tools[index], function.arguments)
        return out

    def _end(self, delta: _Delta | None) -> bytes:
        if delta is None or delta.finish_reason is None:
            raise bad_event()
        self.usage = usage_of(delta.usage)
        reason = _finish(delta.finish_reason)
        self.finish_seen = True
        out = self._pieces.finish(reason)
        self.finish()
        return out


def error_of(
    status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
) -> GatewayError:
    """`{"message": ...}`."""
    try:
        words = _decode(body).get("message")
    except (*DECODE_ERRORS, AttributeError):
        words = ""
    message, _, _ = cleaned(words, None, None, deployment)
    known = 401 if status == 498 else status  # theirs for a key that is not taken
    return error_for(known, headers, now_s, message=message, code="model_not_found" if status == 404 else None)


class Translated(TranslatedExchange):
    """Serves our clients of all dialects by `/v2/chat`."""

    error_of = staticmethod(error_of)
    request_bytes = staticmethod(cohere.request_bytes)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        answer = decoded(_decode_answer, body)
        reason = _finish(answer.finish_reason)
        message = _message_of(answer.message)
        return self._answered(call, deployment, answer.id, message, reason, usage_of(answer.usage))

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return EventStream(call, self._pieces(call, deployment))


def _message_of(given: _Message) -> dict[str, Any]:
    texts = [given.tool_plan] if given.tool_plan else []
    texts += [part.text for part in given.content or () if part.text]
    thoughts = [part.thinking for part in given.content or () if part.thinking]
    calls = []
    for call in given.tool_calls or ():
        function = call.function
        if not call.id or function is None or not function.name:
            raise bad_answer()
        about = {"name": function.name, "arguments": function.arguments or "{}"}
        calls.append({"id": call.id, "type": "function", "function": about})
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    return message


_EMBEDDING_FIELDS = frozenset({"dimensions", "input_type", "truncate"})


class Embeddings:
    """OpenAI's embeddings by `/v2/embed`."""

    stream_type = b""
    unframe = None
    error_of = staticmethod(error_of)

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        body = fields_of(call, deployment, _EMBEDDING_FIELDS, cohere.PROVIDER)
        said: dict[str, Any] = {
            "model": deployment.upstream_model,
            "texts": texts_of(body, cohere.PROVIDER),
            "input_type": body.get("input_type") or "search_document",
            "embedding_types": ["float"],
        }
        if body.get("dimensions") is not None:
            said["output_dimension"] = body["dimensions"]
        if body.get("truncate") is not None:
            said["truncate"] = body["truncate"]
        return request_of(deployment.request_heads["embed"], said)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        try:
            whole = decoded(_decode, body)
            vectors = whole["embeddings"]["float"]
            figure = _whole(((whole.get("meta") or {}).get("billed_units") or {}).get("input_tokens"))
        except (KeyError, TypeError, AttributeError) as error:
            raise bad_answer(error) from error
        return answer_of(vectors, call, deployment, figure if is_count(figure) else None)

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        raise AssertionError("embeddings are not streamed")


EXCHANGES: Mapping[str, Exchange] = talking(Translated(time.time), embeddings=Embeddings())


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    return EXCHANGES, cohere.request_heads(settings, upstream_model)
