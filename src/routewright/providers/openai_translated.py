"""The OpenAI dialect for clients of other dialects: their requests as chat, its answers and streams as pieces.

Source: OpenAI API reference, chat completions; vLLM's, DeepSeek's and OpenRouter's for `reasoning_content`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from routewright.dialect import Pieces, Stream
from routewright.errors import UpstreamError
from routewright.providers.histories import own_history
from routewright.providers.openai import error_of, usage_of
from routewright.providers.translation import (
    DECODE_ERRORS,
    TranslatedExchange,
    TranslatedStream,
    bad_answer,
    bad_event,
    decoded,
    drops,
    encode,
    request_of,
    unsupported,
)
from routewright.types import Call, Deployment, Usage

_STRICT = frozenset({"openai", "azure"})
"""Providers that refuse fields they don't know, and `max_tokens` for models that reason."""
_REASONS = re.compile(r"(?:^|/)(?:o[1-9]|gpt-[5-9]|gpt-oss)")
_DONE = b"[DONE]"


def request_bytes(call: Call, deployment: Deployment) -> bytes:
    """The whole upstream request. Raises UnsupportedField for what OpenAI's form has no place for."""
    is_dropped = drops(call, deployment)
    body = dict(call.client.as_chat(call, plain=True, is_dropped=is_dropped))
    if deployment.provider in _STRICT:
        if "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
    elif "max_completion_tokens" in body:
        body["max_tokens"] = body.pop("max_completion_tokens")
    if deployment.provider in _STRICT and "top_k" in body and "top_k" not in deployment.drop_params:
        if not is_dropped:
            raise unsupported("top_k", "OpenAI")
        del body["top_k"]
    if body.get("reasoning_effort") == "none" or not _REASONS.search(deployment.upstream_model):
        body.pop("reasoning_effort", None)  # a hint, which models that don't reason would refuse
    if deployment.default_params:
        body = {**deployment.default_params, **body}
    for name in deployment.drop_params:
        body.pop(name, None)
    body["model"] = deployment.upstream_model
    body["messages"] = own_history(body["messages"], deployment.provider)
    if deployment.provider == "mistral":  # it refuses what it does not know, and tells usage unasked
        body = {name: value for name, value in body.items() if name != "user"}
    elif call.is_stream and "stream_options" not in deployment.drop_params:
        body["stream_options"] = {"include_usage": True}
    return request_of(deployment.request_heads["chat"], body)


# --- answers ------------------------------------------------------------------------------------------------------


def _message_of(given: Any) -> dict[str, Any]:
    """An answer's message, of which everything that is read later is of the right type. Raises UpstreamBadResponse."""
    if type(given) is not dict:
        raise bad_answer()
    message: dict[str, Any] = {"role": "assistant", "content": _text(given.get("content"))}
    reasoning = given.get("reasoning_content") or given.get("reasoning") or _thought(given.get("content"))
    if type(reasoning) is str and reasoning:
        message["reasoning_content"] = reasoning
    if type(given.get("refusal")) is str:
        message["refusal"] = given["refusal"]
    calls = []
    given_calls = given.get("tool_calls") or []
    if type(given_calls) is not list:
        raise bad_answer()
    for call in given_calls:
        function = call.get("function") if type(call) is dict else None
        if type(function) is not dict or not (type(call.get("id")) is type(function.get("name")) is str):
            raise bad_answer()
        arguments = function.get("arguments")
        if type(arguments) is not str:
            arguments = encode({} if arguments is None else arguments).decode()
        calls.append({"id": call["id"], "type": "function",
                      "function": {"name": function["name"], "arguments": arguments or "{}"}})  # fmt: skip
    if calls:
        message["tool_calls"] = calls
    return message


def _text(content: Any) -> str | None:
    if type(content) is list:  # some servers answer in parts
        return "".join(part["text"] for part in content if type(part) is dict and type(part.get("text")) is str)
    if content is not None and type(content) is not str:
        raise bad_answer()
    return content


def _thought(content: Any) -> str:
    """What stands in parts of thinking among an answer's parts, as Mistral's models that reason write it."""
    if type(content) is not list:
        return ""
    return "".join([_text(part.get("thinking")) or "" for part in content if type(part) is dict])


def _reason(finish: str, *, calls_tools: bool) -> str:
    """OpenAI itself says `stop` where a request named the tool to call, and some servers always do: clients of other
    dialects go by the reason when they look for calls."""
    return "tool_calls" if calls_tools and finish == "stop" else finish


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int | None = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    index: int = 0
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode = msgspec.json.Decoder().decode


class EventStream(TranslatedStream):
    """Chunks as pieces."""

    def __init__(self, call: Call, pieces: Pieces) -> None:
        super().__init__(call, pieces)
        self._has_begun = False
        self._ids: list[str] = []
        """Of the tool calls, as they began."""
        self._indices: dict[int, int] = {}
        """The upstream's index of a tool call -> which one it is, from 0."""
        self._lacks_arguments = False
        """Whether the last call has none yet: OpenAI writes `{}`, other servers nothing at all."""

    def _event(self, data: bytes) -> bytes:
        if self.is_done or not data:
            return b""
        if data.strip() == _DONE:
            if not self.finish_seen:
                raise bad_event()
            self.finish()
            return b""
        try:
            chunk = _decode_chunk(data)
        except DECODE_ERRORS as error:
            raise bad_event(error) from error
        if chunk.error:
            raise UpstreamError("the upstream reported an error")
        if chunk.choices is None:
            raise bad_event()
        out = b""
        if not self._has_begun:
            self._has_begun = True
            out = self._pieces.begin(chunk.id or "", None)
        if chunk.usage is not None:
            self.usage = usage_of(chunk.usage) or self.usage
        for choice in chunk.choices:
            if choice.index:
                continue  # one answer was asked for
            delta = choice.delta
            if delta is not None:
                out += self._delta(delta)
            if choice.finish_reason is not None and not self.finish_seen:
                self.finish_seen = True
                out += self._bare_call()
                out += self._pieces.finish(_reason(choice.finish_reason, calls_tools=bool(self._ids)))
        return out

    def _delta(self, delta: _Delta) -> bytes:
        out = b""
        thinking = delta.reasoning_content or delta.reasoning
        if thinking:
            self.output_chars += len(thinking)
            out += self._pieces.thinking(thinking)
        text = delta.content
        if isinstance(text, list):
            thinking, text = _thought(text), _text(text)
            if thinking:
                self.output_chars += len(thinking)
                out += self._pieces.thinking(thinking)
        if text:
            self.output_chars += len(text)
            out += self._pieces.text(text)
        if delta.refusal:
            self.output_chars += len(delta.refusal)
            out += self._pieces.refusal(delta.refusal)
        for call in delta.tool_calls or ():
            out += self._tool(call)
        return out

    def _bare_call(self) -> bytes:
        """The end of a call that came without arguments."""
        if not self._lacks_arguments:
            return b""
        self._lacks_arguments = False
        return self._pieces.arguments(len(self._ids) - 1, "{}")

    def _tool(self, call: _ToolCall) -> bytes:
        """A piece of a tool call. An index begins a call where it is new; some servers give every call the same one,
        and then another id begins the next."""
        function, index = call.function or _Function(), call.index or 0
        out = b""
        tool = self._indices.get(index)
        if tool is None or (call.id and function.name and call.id != self._ids[tool]):
            if not (call.id and function.name):
                raise bad_event()
            out = self._bare_call()
            tool = self._indices[index] = len(self._ids)
            self._ids.append(call.id)
            self._lacks_arguments = True
            out += self._pieces.tool(tool, call.id, function.name)
        if function.arguments:
            self._lacks_arguments = False
            self.output_chars += len(function.arguments)
            out += self._pieces.arguments(tool, function.arguments)
        return out


class Translated(TranslatedExchange):
    """Serves our clients of other dialects by OpenAI's chat completions."""

    can_be_told_one_call = True
    error_of = staticmethod(error_of)
    request_bytes = staticmethod(request_bytes)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        whole = decoded(_decode, body)
        if type(whole) is not dict:
            raise bad_answer()
        if whole.get("error"):
            raise UpstreamError("the upstream answered with an error")
        choices = whole.get("choices")
        if type(choices) is not list or not choices or type(choices[0]) is not dict:
            raise bad_answer()
        message = _message_of(choices[0].get("message"))
        finish = choices[0].get("finish_reason")
        reason = _reason(finish if type(finish) is str else "stop", calls_tools="tool_calls" in message)
        return self._answered(call, deployment, whole.get("id") or "", message, reason, usage_of(whole.get("usage")))

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return EventStream(call, self._pieces(call, deployment))
