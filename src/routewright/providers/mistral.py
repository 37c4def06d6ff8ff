"""Mistral's API: OpenAI's dialect, save that a field it does not know is refused with 422.

Source: Mistral API reference, "Chat Completion", as of 2026-11. Usage comes with the last chunk, unasked.
"""

from __future__ import annotations

from collections.abc import Mapping

from routewright.credentials import Credential
from routewright.dialect import Exchange, Spoken
from routewright.providers import openai, openai_served
from routewright.providers.histories import own_history
from routewright.providers.translation import WITHOUT_MEANING, request_of
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment

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
    return request_of(deployment.request_heads["chat"], body)


class Chat:
    """OpenAI's chat with these requests."""

    stream_type = openai.stream_type
    unframe = None
    request_bytes = staticmethod(request_bytes)
    read_answer = staticmethod(openai.read_answer)
    open_stream = staticmethod(openai.open_stream)
    error_of = staticmethod(openai.error_of)


EXCHANGES: Mapping[str, Exchange] = {**openai_served.EXCHANGES, "chat": Chat()}


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    return EXCHANGES, openai.request_heads(settings, upstream_model)
