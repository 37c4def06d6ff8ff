"""Which dialect a deployment's provider speaks, and how it serves each of our endpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from routewright.credentials import Credential
from routewright.dialect import Exchange, Stream
from routewright.errors import GatewayError, UnsupportedField
from routewright.providers import (
    anthropic,
    anthropic_answers,
    anthropic_native,
    bedrock,
    bedrock_answers,
    cohere,
    cohere_answers,
    gemini,
    gemini_answers,
    gemini_native,
    litellm_sdk,
    media,
    mistral,
    mock,
    ollama,
    ollama_answers,
    openai,
    openai_translated,
    rerank,
    vertex,
)
from routewright.providers.authorized import Authorized
from routewright.providers.names import PROVIDERS
from routewright.providers.translation import encode
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment, Usage


class _Alone:
    """What asks no upstream gets nothing back from it."""

    stream_type = b""
    unframe = None

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        raise AssertionError("nothing was asked")

    def error_of(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
    ) -> GatewayError:
        raise AssertionError("nothing was asked")


class Unserved(_Alone):
    """An endpoint that the provider has nothing for."""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        raise UnsupportedField(f"the provider of this model serves no {call.endpoint}", param="model")

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        raise AssertionError("nothing was asked")


class OwnCount(_Alone):
    """A count of tokens for providers that count for nobody: the estimate that limits go by."""

    def __init__(self, name: str) -> None:
        self._name = name
        """Of the figure, in the client's dialect."""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        return b""

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        return encode({self._name: call.prompt_tokens_estimate}), Usage()


_UNSERVED = Unserved()
_OWN_COUNTS: Mapping[str, Exchange] = {
    "count_tokens": OwnCount("input_tokens"),
    "count_content": OwnCount("totalTokens"),
}
_OTHERS: Mapping[str, Exchange] = {
    "images": media.Images(),
    "speech": media.Speech(),
    "moderations": media.Moderations(),
    "rerank": rerank.Rerank(),
}
_NO_OTHERS: Mapping[str, Exchange] = dict.fromkeys(_OTHERS, _UNSERVED)
_OPENAI_TRANSLATED = openai_translated.Translated(time.time)
_ANTHROPIC = anthropic_answers.Translated(time.time)
_GEMINI = gemini_answers.Translated(time.time)
_COHERE = cohere_answers.Translated(time.time)
_OLLAMA = ollama_answers.Translated(time.time)
_VERTEX_CLAUDE = vertex.Claude(time.time)
_VERTEX_EMBEDDINGS = vertex.Embeddings()
_TALKS = ("chat", "messages", "generate_content", "responses")
"""Endpoints whose answer is a conversation's next turn."""
_EXCHANGES: Mapping[str, Mapping[str, Exchange]] = {
    "openai": {
        "chat": openai,
        "completions": openai,
        "embeddings": openai,
        "messages": _OPENAI_TRANSLATED,
        "generate_content": _OPENAI_TRANSLATED,
        "responses": _OPENAI_TRANSLATED,
        **_OWN_COUNTS,
        **_OTHERS,
    },
    "anthropic": {
        **_OWN_COUNTS,
        "chat": _ANTHROPIC,
        "completions": _UNSERVED,
        "embeddings": _UNSERVED,
        "messages": anthropic_native.Messages(),
        "generate_content": _ANTHROPIC,
        "responses": _ANTHROPIC,
        "count_tokens": anthropic_native.CountTokens(),
    },
    "gemini": {
        "chat": _GEMINI,
        "completions": _UNSERVED,
        "embeddings": openai,
        "messages": _GEMINI,
        "generate_content": gemini_native.Generate(),
        "responses": _GEMINI,
        **_OWN_COUNTS,
        "count_content": gemini_native.Count(),
    },
    "cohere": {
        **dict.fromkeys(_TALKS, _COHERE),
        "completions": _UNSERVED,
        "embeddings": cohere_answers.Embeddings(),
        **_OWN_COUNTS,
    },
    "ollama": {
        **dict.fromkeys(_TALKS, _OLLAMA),
        "completions": openai,
        "embeddings": ollama_answers.Embeddings(),
        **_OWN_COUNTS,
    },
}
_HEADS = {
    "openai": openai.request_heads,
    "anthropic": anthropic.request_heads,
    "gemini": gemini.request_heads,
    "cohere": cohere.request_heads,
    "ollama": ollama.request_heads,
}
_DOORS_OF_OPENAI = {"gemini": "/openai", "cohere": "/compatibility/v1", "ollama": "/v1"}
"""What an address ends with where the provider serves OpenAI's dialect beside its own."""


def mocked(text: str) -> dict[str, Exchange]:
    """What answers in words without an upstream, per endpoint."""
    plain, translated = mock.Mocked(openai, text), mock.Mocked(_OPENAI_TRANSLATED, text)
    return {
        **dict.fromkeys(("chat", "completions", "embeddings"), plain),
        **dict.fromkeys(("messages", "generate_content", "responses"), translated),
    }


def spoken(
    settings: DeploymentSettings, upstream_model: str, credential: Credential | None = None
) -> tuple[Mapping[str, Exchange], Mapping[str, bytes]]:
    """Per endpoint of ours the exchange that serves it, and per endpoint of the dialect the head of its requests.

    `credential`: one that expires, which each request asks for anew.
    """
    if settings.mock_response is not None:
        exchanges, heads = spoken(replace(settings, mock_response=None), upstream_model, credential)
        return {**exchanges, **mocked(settings.mock_response)}, heads
    if settings.sdk_params is not None:
        own = {**_EXCHANGES["openai"], **_NO_OTHERS}
        return own, litellm_sdk.request_heads(settings, upstream_model)
    provider = PROVIDERS.get(settings.provider)
    if provider is not None and provider.dialect == "bedrock":
        return {**_NO_OTHERS, **_converse(settings, upstream_model, credential)}, {}
    exchanges, heads = _spoken(settings, upstream_model)
    if settings.provider == "cohere":  # whose chat is spoken in one dialect or another, and which ranks beside both
        heads = {**heads, "rerank": openai.request_heads(settings, upstream_model)["rerank"]}
        exchanges = {**exchanges, "rerank": _OTHERS["rerank"]}
    if credential is not None:
        exchanges = {endpoint: Authorized(exchange, credential) for endpoint, exchange in exchanges.items()}
    return {**_NO_OTHERS, **exchanges}, heads


def _converse(
    settings: DeploymentSettings, upstream_model: str, credential: Credential | None
) -> Mapping[str, Exchange]:
    signer = bedrock.Signer(settings, upstream_model, time.time, credential)
    converse = bedrock_answers.Translated(signer, time.time)
    served: dict[str, Exchange] = dict.fromkeys(_TALKS, converse)
    return {"completions": _UNSERVED, "embeddings": _UNSERVED, **_OWN_COUNTS, **served}


def _spoken(settings: DeploymentSettings, upstream_model: str) -> tuple[Mapping[str, Exchange], Mapping[str, bytes]]:
    provider = PROVIDERS.get(settings.provider)
    if provider is not None and provider.dialect == "vertex":
        own = vertex.exchanges(upstream_model, _EXCHANGES, _VERTEX_CLAUDE, _VERTEX_EMBEDDINGS)
        return own, vertex.request_heads(settings, upstream_model)
    dialect = provider.dialect if provider is not None else "openai"
    if dialect not in _HEADS:
        dialect = "openai"  # Azure, whose paths and key are all that tells it apart
    elif dialect in _DOORS_OF_OPENAI and settings.api_base.endswith(_DOORS_OF_OPENAI[dialect]):
        dialect = "openai"
    if settings.provider == "mistral":
        return {**_EXCHANGES["openai"], "chat": mistral}, openai.request_heads(settings, upstream_model)
    return _EXCHANGES[dialect], _HEADS[dialect](settings, upstream_model)
