"""Ollama's own API as an upstream: its answers, its streams of lines, its errors and embeddings.

Source: Ollama's API documentation, "Generate a chat completion", "Generate embeddings", "Errors", as of 2026-11.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.credentials import Credential
from routewright.dialect import Exchange, Pieces, Spoken, Stream
from routewright.errors import GatewayError, UpstreamError
from routewright.providers import ollama, openai
from routewright.providers.embeddings import answer_of, fields_of, texts_of
from routewright.providers.failures import cleaned, error_for
from routewright.providers.translation import (
    DECODE_ERRORS,
    TranslatedExchange,
    TranslatedStream,
    bad_answer,
    bad_event,
    decoded,
    is_count,
    raw_arguments,
    request_of,
)
from routewright.providers.unasked import talking
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment, Usage


class _Function(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Answer(msgspec.Struct):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    error: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode = msgspec.json.Decoder().decode


def usage_of(answer: _Answer) -> Usage | None:
    """A prompt that is still in the model's memory is counted as none: then the figure is left out."""
    prompt, completion = answer.prompt_eval_count, answer.eval_count
    return Usage(prompt, completion) if is_count(prompt) and is_count(completion) else None


def unframe(data: bytes) -> tuple[bytes, bytes]:
    """Whole lines as events, and the rest."""
    end = data.rfind(b"\n") + 1
    lines = [b"data: %b\n\n" % line for line in data[:end].split(b"\n") if line.strip()]
    return b"".join(lines), data[end:]


class EventStream(TranslatedStream):
    """Each line is a piece of the answer; the one that is `done` has the figures."""

    def __init__(self, call: Call, pieces: Pieces, answer_id: str, forced: str | None) -> None:
        super().__init__(call, pieces)
        self._id = answer_id
        self._forced = forced
        """The tool whose arguments the content is."""
        self._has_begun = False
        self._tools = 0

    def _event(self, data: bytes) -> bytes:
        if self.is_done or not data:
            return b""
        try:
            answer = _decode_answer(data)
        except DECODE_ERRORS as error:
            raise bad_event(error) from error
        if answer.error is not None:
            raise UpstreamError("the upstream reported an error")
        message = answer.message
        if message is None:
            raise bad_event()
        out = b""
        if not self._has_begun:
            self._has_begun = True
            out = self._pieces.begin(self._id, None)
        if message.thinking:
            self.output_chars += len(message.thinking)
            out += self._pieces.thinking(message.thinking)
        if message.content:
            self.output_chars += len(message.content)
            out += self._pieces.text(message.content) if self._forced is None else self._forced_call(message.content)
        for call in message.tool_calls or ():
            arguments = _arguments(call)
            self.output_chars += len(arguments)
            out += self._pieces.tool(self._tools, call.id or f"call_{self._id}_{self._tools}", call.function.name)
            out += self._pieces.arguments(self._tools, arguments)
            self._tools += 1
        if answer.done:
            self.usage = usage_of(answer)
            self.finish_seen = True
            out += self._pieces.finish(_finish(answer.done_reason, has_tools=self._tools > 0))
            self.finish()
        return out

    def _forced_call(self, text: str) -> bytes:
        """More of the arguments of the tool that had to be called."""
        out = b""
        if not self._tools:
            self._tools = 1
            out = self._pieces.tool(0, f"call_{self._id}_0", self._forced or "")
        return out + self._pieces.arguments(0, text)


def _arguments(call: _ToolCall) -> str:
    return raw_arguments(call.function.arguments)


def _finish(reason: str | None, *, has_tools: bool) -> str:
    if reason == "length":
        return "length"
    return "tool_calls" if has_tools else "stop"


def error_of(
    status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
) -> GatewayError:
    """`{"error": "words"}`."""
    try:
        words = _decode(body).get("error")
    except (*DECODE_ERRORS, AttributeError):
        words = ""
    message, _, _ = cleaned(words, None, None, deployment)
    return error_for(status, headers, now_s, message=message, code="model_not_found" if status == 404 else None)


class Translated(TranslatedExchange):
    """Serves our clients of all dialects by `/api/chat`."""

    stream_type = b"application/x-ndjson"
    unframe = staticmethod(unframe)
    error_of = staticmethod(error_of)
    request_bytes = staticmethod(ollama.request_bytes)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        answer = decoded(_decode_answer, body)
        if answer.error is not None:
            raise UpstreamError("the upstream answered with an error")
        if answer.message is None or not answer.done:
            raise bad_answer()
        answer_id = self._new_id()
        given = answer.message
        message: dict[str, Any] = {"role": "assistant", "content": given.content or ""}
        calls = [
            {
                "id": call.id or f"call_{answer_id}_{place}",
                "type": "function",
                "function": {"name": call.function.name, "arguments": _arguments(call)},
            }
            for place, call in enumerate(given.tool_calls or ())
        ]
        forced = ollama.forced_name(call, deployment) if given.content and not calls else None
        if forced is not None:
            function = {"name": forced, "arguments": given.content}
            calls.append({"id": f"call_{answer_id}_0", "type": "function", "function": function})
        if calls:
            message["tool_calls"] = calls
            message["content"] = (given.content or None) if forced is None else None
        if given.thinking:
            message["reasoning_content"] = given.thinking
        reason = _finish(answer.done_reason, has_tools=bool(calls))
        return self._answered(call, deployment, f"chatcmpl-{answer_id}", message, reason, usage_of(answer))

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        forced = ollama.forced_name(call, deployment)
        return EventStream(call, self._pieces(call, deployment), self._new_id(), forced)


_EMBEDDING_FIELDS = frozenset({"dimensions", "truncate", "keep_alive", "options"})


class Embeddings:
    """OpenAI's embeddings by `/api/embed`."""

    stream_type = b""
    unframe = None
    error_of = staticmethod(error_of)

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        body = fields_of(call, deployment, _EMBEDDING_FIELDS, ollama.PROVIDER)
        said = {name: body[name] for name in _EMBEDDING_FIELDS if body.get(name) is not None}
        made = {"model": deployment.upstream_model, "input": texts_of(body, ollama.PROVIDER), **said}
        return request_of(deployment.request_heads["embed"], made)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        whole = decoded(_decode, body)
        if type(whole) is not dict:
            raise bad_answer()
        figure = whole.get("prompt_eval_count")
        return answer_of(whole.get("embeddings"), call, deployment, figure if is_count(figure) else None)

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        raise AssertionError("embeddings are not streamed")


EXCHANGES: Mapping[str, Exchange] = talking(Translated(time.time), completions=openai, embeddings=Embeddings())


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    return EXCHANGES, ollama.request_heads(settings, upstream_model)
