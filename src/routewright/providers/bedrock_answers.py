"""Amazon Bedrock's Converse as an upstream: its answers, its binary event streams and its errors.

Source: Amazon Bedrock API reference, "Converse", "ConverseStream"; "Amazon event stream encoding", as of 2026-11.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.dialect import Clock, Pieces, Stream
from routewright.errors import GatewayError, UpstreamBadResponse, UpstreamError
from routewright.providers.anthropic import JSON_TOOL
from routewright.providers.bedrock import Signer, request_bytes
from routewright.providers.failures import cleaned, error_for
from routewright.providers.translation import (
    DECODE_ERRORS,
    TranslatedExchange,
    TranslatedStream,
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
    "model_context_window_exceeded": "length", "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}  # fmt: skip
BROKEN = frozenset({"malformed_model_output", "malformed_tool_use"})


def _finish(reason: str) -> str:
    if reason in BROKEN:
        raise UpstreamError("the upstream's model wrote an answer that can't be read")
    return FINISH_REASONS.get(reason, "stop")


def usage_of(given: Any) -> Usage | None:
    """Converse counts what is cached apart from `inputTokens`; our `prompt_tokens` is all of it."""
    if type(given) is not dict or not (is_count(given.get("inputTokens")) and is_count(given.get("outputTokens"))):
        return None
    read, written = count(given.get("cacheReadInputTokens")), count(given.get("cacheWriteInputTokens"))
    usage = Usage(given["inputTokens"] + read + written, given["outputTokens"])
    usage.cached_tokens, usage.cache_creation_tokens = read, written
    return usage


# --- answers ------------------------------------------------------------------------------------------------------


class _ReasoningText(msgspec.Struct):
    text: str = ""
    signature: str = ""


class _Reasoning(msgspec.Struct):
    reasoningText: _ReasoningText | None = None  # noqa: N815 - its name on the wire
    redactedContent: str | None = None  # noqa: N815
    text: str | None = None
    signature: str | None = None


class _ToolUse(msgspec.Struct):
    toolUseId: str = ""  # noqa: N815
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Block(msgspec.Struct):
    text: str | None = None
    toolUse: _ToolUse | None = None  # noqa: N815
    reasoningContent: _Reasoning | None = None  # noqa: N815


class _Message(msgspec.Struct):
    content: list[_Block]


class _Output(msgspec.Struct):
    message: _Message


class _Answer(msgspec.Struct):
    output: _Output
    stopReason: str  # noqa: N815
    usage: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


def message_of(blocks: list[_Block]) -> dict[str, Any]:
    """Content blocks as a chat message."""
    texts: list[str] = []
    thinking: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    answer: str | None = None
    for block in blocks:
        reasoning, use = block.reasoningContent, block.toolUse
        if block.text is not None:
            texts.append(block.text)
        elif reasoning is not None and reasoning.reasoningText is not None:
            said = reasoning.reasoningText
            thinking.append({"type": "thinking", "thinking": said.text, "signature": said.signature})
        elif reasoning is not None and reasoning.redactedContent is not None:
            thinking.append({"type": "redacted_thinking", "data": reasoning.redactedContent})
        elif use is not None and use.toolUseId and use.name:
            arguments = raw_arguments(use.input)
            if use.name == JSON_TOOL:
                answer = arguments
            else:
                function = {"name": use.name, "arguments": arguments}
                calls.append({"id": use.toolUseId, "type": "function", "function": function})
    if answer is not None:
        texts = [answer]  # with what else is said it would not be JSON any more
    thoughts = "".join(block.get("thinking", "") for block in thinking)
    return message_with(texts, calls, thoughts=thoughts, blocks=thinking)


# --- event streams ------------------------------------------------------------------------------------------------

_LEAST_FRAME = 16
MAX_FRAME_BYTES = 16 * 1024 * 1024
_STRING = 7


def unframe(data: bytes) -> tuple[bytes, bytes]:
    """(whole frames as server-sent events, the rest). Raises UpstreamBadResponse for a frame that is none.

    A frame is two lengths and their checksum, headers, a payload of JSON, and a checksum of all. An event becomes
    `data: {"<its type>": <payload>}`, a failure `data: {"error": {"type", "message"}}`.
    """
    events = []
    at = 0
    while len(data) - at >= _LEAST_FRAME:
        total = int.from_bytes(data[at : at + 4], "big")
        headers_length = int.from_bytes(data[at + 4 : at + 8], "big")
        if zlib.crc32(data[at : at + 8]) != int.from_bytes(data[at + 8 : at + 12], "big"):
            raise UpstreamBadResponse("the upstream's event stream is not framed as it should be")
        if not _LEAST_FRAME <= total <= MAX_FRAME_BYTES or headers_length > total - _LEAST_FRAME:
            raise UpstreamBadResponse("the upstream's event stream is not framed as it should be")
        if len(data) - at < total:
            break
        frame = data[at : at + total]
        if zlib.crc32(frame[:-4]) != int.from_bytes(frame[-4:], "big"):
            raise UpstreamBadResponse("the upstream's event stream is not framed as it should be")
        events.append(_event(_headers(frame[12 : 12 + headers_length]), frame[12 + headers_length : -4]))
        at += total
    return b"".join(events), data[at:]


def _headers(data: bytes) -> dict[bytes, bytes]:
    """Those whose value is text, which is all that Converse sends."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        if name_end + 3 > len(data) or data[name_end] != _STRING:
            raise UpstreamBadResponse("the upstream's event stream is not framed as it should be")
        end = name_end + 3 + int.from_bytes(data[name_end + 1 : name_end + 3], "big")
        found[data[at + 1 : name_end]] = data[name_end + 3 : end]
        at = end
    return found


def _event(headers: Mapping[bytes, bytes], payload: bytes) -> bytes:
    kind = headers.get(b":message-type")
    # Line ends in JSON stand between its tokens only.
    said = payload.replace(b"\r", b" ").replace(b"\n", b" ") or b"{}"
    if kind == b"event":
        return b'data: {"%b":%b}\n\n' % (headers.get(b":event-type", b""), said)
    if kind == b"exception":
        return b'data: {"error":%b,"type":"%b"}\n\n' % (said, headers.get(b":exception-type", b""))
    return b'data: {"error":{"message":"%b"},"type":"%b"}\n\n' % (
        headers.get(b":error-message", b""),
        headers.get(b":error-code", b""),
    )


class _Start(msgspec.Struct):
    toolUse: _ToolUse | None = None  # noqa: N815


class _ToolDelta(msgspec.Struct):
    input: str = ""


class _DeltaPart(msgspec.Struct):
    text: str | None = None
    toolUse: _ToolDelta | None = None  # noqa: N815
    reasoningContent: _Reasoning | None = None  # noqa: N815


class _BlockStart(msgspec.Struct):
    contentBlockIndex: int  # noqa: N815
    start: _Start | None = None


class _BlockDelta(msgspec.Struct):
    contentBlockIndex: int  # noqa: N815
    delta: _DeltaPart


class _BlockStop(msgspec.Struct):
    contentBlockIndex: int  # noqa: N815


class _MessageStop(msgspec.Struct):
    stopReason: str  # noqa: N815


class _Metadata(msgspec.Struct):
    usage: Any = None


class _Event(msgspec.Struct):
    messageStart: Any = None  # noqa: N815
    contentBlockStart: _BlockStart | None = None  # noqa: N815
    contentBlockDelta: _BlockDelta | None = None  # noqa: N815
    contentBlockStop: _BlockStop | None = None  # noqa: N815
    messageStop: _MessageStop | None = None  # noqa: N815
    metadata: _Metadata | None = None
    error: Any = None
    type: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode
_EXCEPTION_STATUS = {
    "throttlingException": 429, "validationException": 400, "serviceUnavailableException": 503,
    "modelTimeoutException": 408, "internalServerException": 500, "modelStreamErrorException": 500,
    "accessDeniedException": 403, "resourceNotFoundException": 404,
}  # fmt: skip


class EventStream(TranslatedStream):
    """Their events as pieces. The figures come last of all, after the stop reason, and end the answer."""

    def __init__(self, call: Call, pieces: Pieces, deployment: Deployment, answer_id: str) -> None:
        super().__init__(call, pieces)
        self._deployment = deployment
        self._id = answer_id
        self._has_begun = False
        self._tools: dict[int, int] = {}
        """A tool's block -> which tool call it is, from 0; -1 for the one that carries a JSON answer."""
        self._has_arguments = False

    def _event(self, data: bytes) -> bytes:
        if self.is_done or not data:
            return b""
        try:
            event = _decode_event(data)
        except DECODE_ERRORS as error:
            raise bad_event(error) from error
        if event.error is not None:
            raise exception_error(event.type, event.error, self._deployment)
        if event.messageStart is not None:
            if self._has_begun:
                raise bad_event()
            self._has_begun = True
            return self._pieces.begin(self._id, None)
        if event.metadata is not None:
            self.usage = usage_of(event.metadata.usage) or self.usage
            if self.finish_seen:
                self.finish()
            return b""
        if not self._has_begun:
            raise bad_event()
        if event.contentBlockDelta is not None:
            return self._delta(event.contentBlockDelta)
        if event.contentBlockStart is not None:
            return self._block_starts(event.contentBlockStart)
        if event.contentBlockStop is not None:
            tool = self._tools.get(event.contentBlockStop.contentBlockIndex, -1)
            return b"" if tool < 0 or self._has_arguments else self._pieces.arguments(tool, "{}")
        if event.messageStop is not None and not self.finish_seen:
            reason = _finish(event.messageStop.stopReason)
            self.finish_seen = True
            if reason == "tool_calls" and not any(tool >= 0 for tool in self._tools.values()):
                reason = "stop"
            return self._pieces.finish(reason)
        return b""

    def _block_starts(self, event: _BlockStart) -> bytes:
        use = event.start.toolUse if event.start is not None else None
        if use is None:
            return b""
        if not (use.toolUseId and use.name):
            raise bad_event()
        self._has_arguments = False
        if use.name == JSON_TOOL:
            self._tools[event.contentBlockIndex] = -1
            return b""
        tool = sum(known >= 0 for known in self._tools.values())
        self._tools[event.contentBlockIndex] = tool
        return self._pieces.tool(tool, use.toolUseId, use.name)

    def _delta(self, event: _BlockDelta) -> bytes:
        delta = event.delta
        if delta.text is not None:
            self.output_chars += len(delta.text)
            return self._pieces.text(delta.text) if delta.text else b""
        if delta.toolUse is not None:
            text = delta.toolUse.input
            tool = self._tools.get(event.contentBlockIndex)
            if not text or tool is None:
                return b""
            self.output_chars += len(text)
            self._has_arguments = True
            return self._pieces.text(text) if tool < 0 else self._pieces.arguments(tool, text)
        reasoning = delta.reasoningContent
        if reasoning is None:
            return b""
        if reasoning.text:
            self.output_chars += len(reasoning.text)
            return self._pieces.thinking(reasoning.text)
        if reasoning.signature:
            return self._pieces.signature(reasoning.signature)
        return self._pieces.redacted_thinking(reasoning.redactedContent) if reasoning.redactedContent else b""


# --- errors -------------------------------------------------------------------------------------------------------


def exception_error(kind: Any, given: Any, deployment: Deployment) -> GatewayError:
    """An exception inside a stream, which has no status of its own."""
    words = given.get("message") if type(given) is dict else None
    message, _, _ = cleaned(words, None, None, deployment)
    return error_for(_EXCEPTION_STATUS.get(kind, 500) if type(kind) is str else 500, {}, 0.0, message=message)


def error_of(
    status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
) -> GatewayError:
    """`{"message": ...}`; a model's own failure is 424, which is no fault of the caller's."""
    if status == 424:
        return UpstreamError("the upstream failed")
    try:
        given = msgspec.json.decode(body)
        words = given.get("message") or given.get("Message")
    except (*DECODE_ERRORS, AttributeError):
        words = ""
    message, _, _ = cleaned(words, None, None, deployment)
    return error_for(status, headers, now_s, message=message, code="model_not_found" if status == 404 else None)


class Translated(TranslatedExchange):
    """Serves our clients of all dialects by Converse. One for each deployment, since each signs for itself."""

    stream_type = b"application/vnd.amazon.eventstream"
    unframe = staticmethod(unframe)
    error_of = staticmethod(error_of)

    def __init__(self, signer: Signer, clock: Clock) -> None:
        super().__init__(clock)
        self._signer = signer

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        return request_bytes(call, deployment, self._signer)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        answer = decoded(_decode_answer, body)
        message = message_of(answer.output.message.content)
        reason = _finish(answer.stopReason)
        if reason == "tool_calls" and "tool_calls" not in message:
            reason = "stop"  # the only tool was the JSON answer's
        return self._answered(call, deployment, self._answer_id(), message, reason, usage_of(answer.usage))

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return EventStream(call, self._pieces(call, deployment), deployment, self._answer_id())

    def _answer_id(self) -> str:
        """Converse names no id."""
        return f"chatcmpl-{self._new_id()}"
