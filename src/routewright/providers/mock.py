"""Answers that no upstream gives: `mock_response` of a deployment, or of a request where the configuration allows it.

An answer is made in OpenAI's dialect and goes through the same reading as an upstream's, so that every client's
dialect, streams and figures are as they are with a real one. A text that names one of LiteLLM's exceptions is that
failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.dialect import Exchange, Stream
from routewright.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    GatewayError,
    UnsupportedField,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamTimeout,
)
from routewright.types import CHARS_PER_TOKEN, Call, Deployment, Usage

FAILURES: Mapping[str, type[GatewayError]] = {
    "litellm.RateLimitError": UpstreamRateLimited,
    "litellm.ContextWindowExceededError": ContextLengthExceeded,
    "litellm.ContentPolicyViolationError": ContentPolicyViolation,
    "litellm.InternalServerError": UpstreamError,
    "litellm.Timeout": UpstreamTimeout,
}
CREATED = 1_677_610_602
_encode = msgspec.json.Encoder().encode


class Mocked:
    """One endpoint; `inner` reads what it makes up."""

    unframe = None
    stream_type = b"text/event-stream"

    def __init__(self, inner: Exchange, text: str) -> None:
        self._inner = inner
        self._text = text

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        """Nothing: nobody is asked. Raises the failure that the text names."""
        failure = FAILURES.get(self._text)
        if failure is not None:
            raise failure(f"mock_response: {self._text}")
        if call.endpoint == "embeddings":
            raise UnsupportedField("mock_response is for answers in words, not for embeddings", param="mock_response")
        return b""

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        """`body` is empty."""
        if call.endpoint == "completions":
            choice: dict[str, Any] = {"index": 0, "text": self._text, "finish_reason": "stop", "logprobs": None}
        else:
            message = {"role": "assistant", "content": self._text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
        kind = "text_completion" if call.endpoint == "completions" else "chat.completion"
        return self._inner.read_answer(
            _encode({**_base(kind), "choices": [choice], "usage": _usage(call, self._text)}), call, deployment
        )

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return self._inner.open_stream(call, deployment)

    def events(self, call: Call) -> bytes:
        """The whole stream, as an upstream would send it."""
        base = _base("text_completion" if call.endpoint == "completions" else "chat.completion.chunk")
        choices: list[dict[str, Any]]
        if call.endpoint == "completions":
            choices = [{"index": 0, "text": self._text, "finish_reason": "stop", "logprobs": None}]
        else:
            delta = {"role": "assistant", "content": self._text}
            choices = [
                {"index": 0, "delta": delta, "finish_reason": None},
                {"index": 0, "delta": {}, "finish_reason": "stop"},
            ]
        chunks = [{**base, "choices": [choice]} for choice in choices]
        chunks.append({**base, "choices": [], "usage": _usage(call, self._text)})
        return b"".join([b"data: %b\n\n" % _encode(chunk) for chunk in chunks]) + b"data: [DONE]\n\n"

    def error_of(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
    ) -> GatewayError:
        raise AssertionError("nobody was asked")


def _base(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-mock", "object": kind, "created": CREATED, "model": "mock"}


def _usage(call: Call, text: str) -> dict[str, int]:
    prompt, completion = call.prompt_tokens_estimate, max(1, len(text) // CHARS_PER_TOKEN)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
