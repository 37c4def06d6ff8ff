"""Mistral's API: OpenAI's dialect, save that a field it does not know is refused with 422.

Source: Mistral API reference, "Chat Completion", as of 2026-11. Usage comes with the last chunk, unasked.
"""

from __future__ import annotations

from routewright.providers import openai
from routewright.providers.histories import own_history
from routewright.providers.openai import error_of, open_stream, read_answer, stream_type, unframe
from routewright.providers.translation import WITHOUT_MEANING, encode
from routewright.types import Call, Deployment

__all__ = ["error_of", "open_stream", "read_answer", "request_bytes", "stream_type", "unframe"]

_NAMES = {"max_completion_tokens": "max_tokens", "seed": "random_seed"}
_KEPT = frozenset({"model", "messages", "stream"})


def request_bytes(call: Call, deployment: Deployment) -> bytes:
    """The whole upstream request: fields by Mistral's names, without those about what OpenAI itself keeps."""
    if call.endpoint != "chat":
        return openai.request_bytes(call, deployment)
    given = {**deployment.default_params, **call.body}
    body = {
        _NAMES.get(name, name): value
        for name, value in given.items()
        if value is not None and name not in deployment.drop_params and (name in _KEPT or name not in WITHOUT_MEANING)
    }
    body["model"] = deployment.upstream_model
    body["messages"] = own_history(body["messages"], "mistral")
    encoded = encode(body)
    return b"%b%d\r\n\r\n%b" % (deployment.request_heads["chat"], len(encoded), encoded)
