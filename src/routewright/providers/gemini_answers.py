"""Google's Gemini as an upstream: its answers, event streams and errors.

Source: Gemini API reference, "GenerateContentResponse", "Error codes", as of 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.dialect import Pieces, Stream
from routewright.errors import ContentPolicyViolation, GatewayError, UpstreamAuthError, UpstreamError
from routewright.providers import gemini
from routewright.providers.failures import MAX_RETRY_AFTER_S, cleaned, error_for
from routewright.providers.translation import (
    DECODE_ERRORS,
    TranslatedExchange,
    TranslatedStream,
    bad_answer,
    bad_event,
    count,
    decoded,
    encode,
    is_count,
    raw_arguments,
)
from routewright.types import Call, Deployment, Usage

FINISH_REASONS = {
    "STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter", "RECITATION": "content_filter",
    "LANGUAGE": "content_filter", "BLOCKLIST": "content_filter", "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter", "IMAGE_SAFETY": "content_filter", "MODEL_ARMOR": "content_filter",
}  # fmt: skip
BROKEN = frozenset({"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
                    "MISSING_THOUGHT_SIGNATURE"})  # fmt: skip
"""The model wrote what Google's own server could not read: no answer, whatever came before."""


class _FunctionCall(msgspec.Struct):
    name: str
    args: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None


class _Part(msgspec.Struct):
    text: str | None = None
    thought: bool | None = None
    functionCall: _FunctionCall | None = None  # noqa: N815 - its name on the wire
    thoughtSignature: str | None = None  # noqa: N815


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct):
    content: _Content | None = None
    finishReason: str | None = None  # noqa: N815
    groundingMetadata: Any = None  # noqa: N815


class Response(msgspec.Struct):
    """What of an answer is read, whole or one event of a stream."""

    candidates: list[_Candidate] | None = None
    usageMetadata: Any = None  # noqa: N815
    promptFeedback: Any = None  # noqa: N815
    responseId: str | None = None  # noqa: N815
    error: Any = None


_decode = msgspec.json.Decoder(Response).decode


def usage_of(given: Any) -> Usage | None:
    """Gemini counts thoughts apart from `candidatesTokenCount`; our `completion_tokens` is all that it wrote."""
    if type(given) is not dict or not is_count(given.get("promptTokenCount")):
        return None
    thoughts = count(given.get("thoughtsTokenCount"))
    prompt = given["promptTokenCount"] + count(given.get("toolUsePromptTokenCount"))
    usage = Usage(prompt, count(given.get("candidatesTokenCount")) + thoughts)
    usage.reasoning_tokens = thoughts
    usage.cached_tokens = min(count(given.get("cachedContentTokenCount")), prompt)
    usage.audio_input_tokens = _audio(given.get("promptTokensDetails"))
    usage.audio_output_tokens = _audio(given.get("candidatesTokensDetails"))
    return usage


def _audio(details: Any) -> int:
    if type(details) is not list:
        return 0
    return sum(
        count(entry.get("tokenCount")) for entry in details if type(entry) is dict and entry.get("modality") == "AUDIO"
    )


def _call_id(answer_id: str, place: int, call: _FunctionCall, signature: str | None) -> str:
    """Gemini mostly names no id; the signature that it wants back travels in ours."""
    made = call.id or f"call_{answer_id}_{place}"
    return f"{made}{gemini.SIGNATURE_MARK}{signature}" if signature else made


def _blocked(response: Response) -> GatewayError | None:
    feedback = response.promptFeedback
    if type(feedback) is dict and feedback.get("blockReason"):
        return ContentPolicyViolation("the upstream refuses this content by its policy")
    return None


def _finish(reason: str | None) -> str:
    """In OpenAI's words. Raises UpstreamError where the answer has none that is good."""
    if reason in BROKEN:
        raise UpstreamError("the upstream's model wrote an answer that can't be read")
    return FINISH_REASONS.get(reason or "STOP", "stop")


def _annotations(grounding: Any) -> list[dict[str, Any]]:
    chunks = grounding.get("groundingChunks") if type(grounding) is dict else None
    made = []
    for chunk in chunks if type(chunks) is list else ():
        web = chunk.get("web") if type(chunk) is dict else None
        if type(web) is dict and type(web.get("uri")) is str:
            about = {"url": web["uri"], "title": web.get("title") or "", "start_index": 0, "end_index": 0}
            made.append({"type": "url_citation", "url_citation": about})
    return made


class EventStream(TranslatedStream):
    """Each event is a piece of the answer; figures come with every one, and nothing but its end ends the stream."""

    def __init__(self, call: Call, pieces: Pieces, deployment: Deployment, fallback_id: str) -> None:
        super().__init__(call, pieces)
        self._deployment = deployment
        self._id = fallback_id
        self._has_begun = False
        self._tools = 0

    def _event(self, data: bytes) -> bytes:
        if self.is_done or not data:
            return b""
        try:
            response = _decode(data)
        except DECODE_ERRORS as error:
            raise bad_event(error) from error
        if response.error is not None:
            raise event_error(response.error, self._deployment)
        blocked = _blocked(response)
        if blocked is not None:
            raise blocked
        if response.usageMetadata is not None:
            self.usage = usage_of(response.usageMetadata) or self.usage
        if response.candidates is None and response.usageMetadata is None:
            raise bad_event()
        out = b""
        if not self._has_begun:
            self._has_begun = True
            self._id = response.responseId or self._id
            out = self._pieces.begin(self._id, self.usage)
        for candidate in (response.candidates or ())[:1]:
            if candidate.content is not None:
                for part in candidate.content.parts or ():
                    out += self._part(part)
            if candidate.finishReason is not None and not self.finish_seen:
                reason = _finish(candidate.finishReason)
                self.finish_seen = True
                out += self._pieces.finish("tool_calls" if self._tools and reason == "stop" else reason)
        return out

    def _part(self, part: _Part) -> bytes:
        if part.functionCall is not None:
            tool, call = self._tools, part.functionCall
            self._tools += 1
            arguments = raw_arguments(call.args)
            self.output_chars += len(arguments)
            call_id = _call_id(self._id, tool, call, part.thoughtSignature)
            return self._pieces.tool(tool, call_id, call.name) + self._pieces.arguments(tool, arguments)
        if not part.text:
            return b""
        self.output_chars += len(part.text)
        return self._pieces.thinking(part.text) if part.thought else self._pieces.text(part.text)


# --- errors -------------------------------------------------------------------------------------------------------


def event_error(given: Any, deployment: Deployment) -> GatewayError:
    """An error inside a stream, or under a 200."""
    if type(given) is not dict:
        return UpstreamError("the upstream reported an error")
    status = given.get("code")
    return error_of(status if type(status) is int and status >= 400 else 500, {}, encode({"error": given}),
                    deployment, 0.0)  # fmt: skip


def error_of(
    status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
) -> GatewayError:
    """Google's errors say in `details` what their status does not: that a key is wrong, and how long to wait."""
    try:
        given = msgspec.json.decode(body)
        if type(given) is list and given:  # a stream that fails at once
            given = given[0]
        given = given["error"]
        words, details = given["message"], given.get("details")
    except (*DECODE_ERRORS, KeyError, TypeError, AttributeError):
        words, details = "", None
    message, _, _ = cleaned(words, None, None, deployment)
    entries = [entry for entry in details if type(entry) is dict] if type(details) is list else []
    if status == 400 and any(entry.get("reason") == "API_KEY_INVALID" for entry in entries):
        return UpstreamAuthError("the upstream refuses the gateway's credential")
    error = error_for(status, headers, now_s, message=message, code="model_not_found" if status == 404 else None)
    if status == 429 and b"retry-after" not in headers:
        for entry in entries:
            delay = entry.get("retryDelay")
            if type(delay) is str and delay.endswith("s") and delay[:-1].replace(".", "", 1).isdigit():
                error.retry_after_s = max(1, min(MAX_RETRY_AFTER_S, -(-float(delay[:-1]) // 1).__int__()))
    return error


class Translated(TranslatedExchange):
    """Serves our clients of all dialects by `generateContent`."""

    error_of = staticmethod(error_of)
    request_bytes = staticmethod(gemini.request_bytes)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        response = decoded(_decode, body)
        if response.error is not None:
            raise event_error(response.error, deployment)
        blocked = _blocked(response)
        if blocked is not None:
            raise blocked
        if not response.candidates:
            raise bad_answer()
        candidate = response.candidates[0]
        answer_id = response.responseId or self._new_id()
        message = self._message(candidate, answer_id)
        reason = _finish(candidate.finishReason)
        if "tool_calls" in message and reason == "stop":
            reason = "tool_calls"
        return self._answered(call, deployment, answer_id, message, reason, usage_of(response.usageMetadata))

    @staticmethod
    def _message(candidate: _Candidate, answer_id: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            if part.functionCall is not None:
                call = part.functionCall
                function = {"name": call.name, "arguments": raw_arguments(call.args)}
                call_id = _call_id(answer_id, len(calls), call, part.thoughtSignature)
                calls.append({"id": call_id, "type": "function", "function": function})
            elif part.text is not None:
                (thoughts if part.thought else texts).append(part.text)
        if texts or not calls:
            message["content"] = "".join(texts)
        if calls:
            message["tool_calls"] = calls
        if thoughts:
            message["reasoning_content"] = "".join(thoughts)
        notes = _annotations(candidate.groundingMetadata)
        if notes:
            message["annotations"] = notes
        return message

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return EventStream(call, self._pieces(call, deployment), deployment, self._new_id())
