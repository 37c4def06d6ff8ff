"""Anthropic's clients at Anthropic: the body goes on as it came, and the bytes of the answer as they came.

What is ours are the model's name on both sides, the credential, and which betas may be asked for. `usage` is read.
Source: Claude API reference, "Create a Message", "Streaming messages", "Count tokens", "Beta headers", as of 2026-11.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.credentials import Credential
from routewright.dialect import OPENAI_SEAL, Exchange, Spoken, Stream
from routewright.providers import anthropic, anthropic_answers
from routewright.providers.anthropic_answers import error_of, event_error, usage_of
from routewright.providers.translation import (
    DECODE_ERRORS,
    NativeStream,
    bad_answer,
    bad_event,
    data_of,
    decoded,
    encode,
    is_count,
    is_foreign,
    own_count,
)
from routewright.providers.unasked import talking
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment, Usage

BETAS = frozenset(
    {"claude-code", "interleaved-thinking", "fine-grained-tool-streaming", "token-efficient-tools", "output-128k",
     "output-300k", "context-management", "context-1m", "prompt-caching", "prompt-caching-scope", "extended-cache-ttl",
     "pdfs", "computer-use", "structured-outputs", "advanced-tool-use", "tool-search-tool", "tool-examples", "effort",
     "search-results", "web-search", "web-fetch", "code-execution", "token-counting", "thinking-token-count",
     "model-context-window-exceeded", "compact", "task-budgets", "thinking-display-updates", "redact-thinking",
     "adaptive-thinking", "cache-diagnosis", "inline-tools", "mid-conversation-tool-changes",
     "mid-conversation-output-config", "thinking-binding-controls", "advisor-tool"}
)  # fmt: skip
"""Betas by name, whatever their date. Not those that reach into the account behind our credential (files, skills,
agents, user profiles), that have Anthropic call others in it (MCP), or that are billed by another price (fast mode)."""
_OPENAI_SEAL = b'"' + OPENAI_SEAL.encode()
_DATE = re.compile(r"-20\d{2}-\d{2}-\d{2}\Z")

_DEFAULTS = frozenset({"max_tokens", "temperature", "top_p", "top_k", "thinking", "service_tier", "tools"})
"""Of a deployment's default parameters, those that mean the same here."""
_COUNTED = frozenset(
    {"messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format", "context_management",
     "cache_control"}
)  # fmt: skip


def betas(given: str | None) -> str:
    """The client's betas that are on the list; others are left out, since clients name new ones all the time."""
    if not given:
        return ""
    asked = [beta.strip() for beta in given.split(",")]
    return ",".join([beta for beta in asked if _DATE.sub("", beta) in BETAS and _DATE.search(beta)])


def beta_line(call: Call) -> str:
    """The header line of the betas that the client may ask for; empty where there are none."""
    forwarded = betas(call.forwarded.get("anthropic-beta"))
    return f"anthropic-beta: {forwarded}\r\n" if forwarded else ""


def completed(body: dict[str, Any], deployment: Deployment) -> dict[str, Any]:
    """The client's body with the deployment's defaults, by the upstream's name for the model."""
    if deployment.default_params:
        body = {**{name: value for name, value in deployment.default_params.items() if name in _DEFAULTS}, **body}
    if deployment.drop_params:
        body = {name: value for name, value in body.items() if name not in deployment.drop_params}
    body["model"] = deployment.upstream_model
    return body


def encoded_body(body: dict[str, Any]) -> bytes:
    """Without thinking that OpenAI sealed: a conversation may have begun there."""
    encoded = encode(body)
    if _OPENAI_SEAL not in encoded:
        return encoded
    messages = [_own(message) for message in body["messages"]]
    return encode({**body, "messages": messages})


def _own(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if message["role"] != "assistant" or type(content) is not list:
        return message
    left = [
        block for block in content if block["type"] not in ("thinking", "redacted_thinking") or not is_foreign(block)
    ]
    return {**message, "content": left or [{"type": "text", "text": "."}]}


def _request(call: Call, deployment: Deployment, endpoint: str, body: dict[str, Any]) -> bytes:
    encoded = encoded_body(completed(body, deployment))
    line = beta_line(call).encode("ascii")
    return b"%b%d\r\n%b\r\n%b" % (deployment.request_heads[endpoint], len(encoded), line, encoded)


# --- messages -----------------------------------------------------------------------------------------------------


class _Answer(msgspec.Struct):
    model: Any = None
    content: list[Any] | None = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode = msgspec.json.Decoder().decode
_MODEL_NAME = b'"model"'
_MODEL_FIELD = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')


class Messages:
    """`/v1/messages` to `/v1/messages`."""

    stream_type = b"text/event-stream"
    unframe = None
    error_of = staticmethod(error_of)

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        return _request(call, deployment, "messages", dict(call.body))

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        answer = decoded(_decode_answer, body)
        if answer.error:
            raise event_error(answer.error, deployment)
        if answer.content is None or any(type(block) is not dict for block in answer.content):
            raise bad_answer()
        usage = usage_of(answer.usage)
        if usage is None:
            whole = _decode(body)
            usage = own_count(call, len(encode(answer.content)))
            figures = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
            return encode({**whole, "model": deployment.model_name, "usage": figures}), usage
        if type(answer.model) is str and body.count(_MODEL_NAME) == 1:
            found = _MODEL_FIELD.search(body)
            if found is not None:
                ours = deployment.model_field
                return b'%b"model":%b%b' % (body[: found.start()], ours, body[found.end() :]), usage
        return encode({**_decode(body), "model": deployment.model_name}), usage

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return EventStream(call, deployment)


class _Delta(msgspec.Struct):
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    stop_reason: Any = None


class _Event(msgspec.Struct):
    type: str
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class EventStream(NativeStream):
    """Events pass as they came, save for the model's name at the start. The start waits for the first block, so that
    a failure before it can still be answered elsewhere; the last event waits for the record."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        super().__init__(call, deployment)
        self._opening = b""
        self._has_begun = False
        self._figures: dict[str, Any] = {}

    def _event(self, event: bytes) -> bytes:
        data = data_of(event)
        if self.is_done or not data:
            return b""
        try:
            said = _decode_event(data)
        except DECODE_ERRORS as error:
            raise bad_event(error) from error
        kind = said.type
        if kind == "content_block_delta":
            delta = said.delta
            if delta is None or not self._has_begun:
                raise bad_event()
            self.output_chars += len(delta.text or delta.partial_json or delta.thinking or "")
        elif kind == "message_start":
            return self._start(data)
        elif kind == "error":
            raise event_error(said.error, self._deployment)
        elif not self._has_begun:
            if kind == "ping":
                return b""
            raise bad_event()
        elif kind == "message_delta":
            self._take_figures(said.usage)
            if said.delta is not None and said.delta.stop_reason is not None:
                self.finish_seen = True
        elif kind == "message_stop":
            if not self.finish_seen:
                raise bad_event()
            self.is_done = True
            self.last = self._framed(kind, event, data)
            return b""
        elif kind == "ping" and self._opening:
            return b""
        return self._framed(kind, event, data)

    def _framed(self, kind: str, event: bytes, data: bytes) -> bytes:
        """With its name, which clients go by, and after the start if that has still to be told."""
        if not event.startswith(b"event:"):
            event = b"event: %b\ndata: %b\n\n" % (kind.encode(), data.strip())
        opening, self._opening = self._opening, b""
        return opening + event if opening else event

    def _start(self, data: bytes) -> bytes:
        if self._has_begun:
            raise bad_event()
        self._has_begun = True
        whole = _decode(data)
        message = whole.get("message")
        if type(message) is not dict:
            raise bad_event()
        self._take_figures(message.get("usage"))
        message["model"] = self._deployment.model_name
        self._opening = b"event: message_start\ndata: %b\n\n" % encode(whole)
        return b""

    def _take_figures(self, given: Any) -> None:
        if type(given) is dict:
            self._figures.update({name: value for name, value in given.items() if value is not None})
            self.usage = usage_of(self._figures)

    def finish(self) -> None:
        self.is_done = True
        opening, self._opening = self._opening, b""
        self.last = opening + STOP


# --- counting -----------------------------------------------------------------------------------------------------


class CountTokens:
    """`/v1/messages/count_tokens` to the same of Anthropic's, which costs nothing."""

    stream_type = b""
    unframe = None
    error_of = staticmethod(error_of)

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        body = {name: value for name, value in call.body.items() if name in _COUNTED}
        return _request(call, deployment, "count_tokens", body)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        answer = decoded(_decode, body)
        if type(answer) is not dict or not is_count(answer.get("input_tokens")):
            raise bad_answer()
        return encode(answer), Usage()

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        raise AssertionError("a count is not streamed")


_TRANSLATED = anthropic_answers.Translated(time.time)
EXCHANGES: Mapping[str, Exchange] = talking(_TRANSLATED, messages=Messages(), count_tokens=CountTokens())


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    return EXCHANGES, anthropic.request_heads(settings, upstream_model)
