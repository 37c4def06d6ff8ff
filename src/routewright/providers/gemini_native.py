"""Gemini's clients at Gemini: the body goes on as it came, and the bytes of the answer as they came; usage is read.

Source: Gemini API reference, "Generating content", "Count tokens", as of 2026-11.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.credentials import Credential
from routewright.dialect import Exchange, Spoken, Stream
from routewright.errors import InvalidRequest
from routewright.providers import gemini, gemini_answers, openai
from routewright.providers.gemini_answers import BROKEN, Response, error_of, event_error, usage_of
from routewright.providers.translation import (
    DECODE_ERRORS,
    NativeStream,
    bad_answer,
    bad_event,
    data_of,
    decoded,
    encode,
    is_count,
    own_count,
    request_of,
)
from routewright.providers.unasked import talking
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment, Usage

_decode = msgspec.json.Decoder(Response).decode
_decode_any = msgspec.json.Decoder().decode
_REFUSED = ("cachedContent",)
"""A name in the account behind our credential, which any key could read then."""


def request(call: Call, deployment: Deployment, endpoint: str, body: dict[str, Any]) -> bytes:
    return request_of(deployment.request_heads[endpoint], body)


class Generate:
    """`generateContent` to `generateContent`, and its stream to its stream."""

    stream_type = b"text/event-stream"
    unframe = None
    error_of = staticmethod(error_of)

    def body_of(self, call: Call, deployment: Deployment) -> dict[str, Any]:
        for name in _REFUSED:
            if call.body.get(name) is not None:
                raise InvalidRequest(f"{name} belongs to the provider's account", param=name)
        return {name: value for name, value in call.body.items() if name not in ("model", *deployment.drop_params)}

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        body = self.body_of(call, deployment)
        return request(call, deployment, "stream" if call.is_stream else "generate", body)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        response = decoded(_decode, body)
        if response.error is not None:
            raise event_error(response.error, deployment)
        if response.candidates is None and response.promptFeedback is None:
            raise bad_answer()
        return body, usage_of(response.usageMetadata) or own_count(call, len(body))

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return EventStream(call, deployment)


class EventStream(NativeStream):
    """Events pass as they came. From the finish reason on each waits for the next or the end, since the last of them
    must not be sent before the answer is recorded."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        super().__init__(call, deployment)
        self._held = b""

    def _event(self, event: bytes) -> bytes:
        data = data_of(event)
        if not data:
            return b""
        try:
            response = _decode(data)
        except DECODE_ERRORS as error:
            raise bad_event(error) from error
        if response.error is not None:
            raise event_error(response.error, self._deployment)
        if response.candidates is None and response.usageMetadata is None and response.promptFeedback is None:
            raise bad_event()
        if response.usageMetadata is not None:
            self.usage = usage_of(response.usageMetadata) or self.usage
        for candidate in response.candidates or ():
            if candidate.content is not None:
                self.output_chars += sum(len(part.text or "") for part in candidate.content.parts or ())
            if candidate.finishReason is not None and candidate.finishReason not in BROKEN:
                self.finish_seen = True
        if response.promptFeedback is not None and not response.candidates:
            self.finish_seen = True  # blocked: there is nothing to come
        out, self._held = self._held, b""
        if self.finish_seen:
            self._held = event
            return out
        return out + event

    def finish(self) -> None:
        self.is_done = True
        self.last = self._held


class Count:
    """`countTokens` to the same of Google's, which costs nothing."""

    stream_type = b""
    unframe = None
    error_of = staticmethod(error_of)

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        whole = {**call.body, "model": f"models/{deployment.upstream_model}"}
        return request(call, deployment, "count", {"generateContentRequest": whole})

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        answer = decoded(_decode_any, body)
        if type(answer) is not dict or not is_count(answer.get("totalTokens")):
            raise bad_answer()
        return encode(answer), Usage()

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        raise AssertionError("a count is not streamed")


_TRANSLATED = gemini_answers.Translated(time.time)
EXCHANGES: Mapping[str, Exchange] = talking(
    _TRANSLATED, embeddings=openai, generate_content=Generate(), count_content=Count()
)


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    return EXCHANGES, gemini.request_heads(settings, upstream_model)
