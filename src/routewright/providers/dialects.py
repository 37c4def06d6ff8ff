"""Which dialect a deployment's provider speaks, and how it serves each of our endpoints.

A dialect that no deployment speaks is not imported. They are found by name while a configuration is read, never while a
request waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from typing import cast

from routewright.credentials import Credential
from routewright.dialect import Exchange, Spoken
from routewright.providers import mock, openai, openai_served
from routewright.providers.authorized import Authorized
from routewright.providers.names import PROVIDERS
from routewright.settings import DeploymentSettings

Speaker = Callable[[DeploymentSettings, str, Credential | None], Spoken]

MODULES = {
    "anthropic": "anthropic_native",
    "bedrock": "bedrock_embeddings",
    "cohere": "cohere_answers",
    "gemini": "gemini_native",
    "litellm": "litellm_sdk",
    "mistral": "mistral",
    "ollama": "ollama_answers",
    "openai": "openai_served",
    "responses": "responses_native",
    "vertex": "vertex",
}
"""Each has `spoken`, a `Speaker`."""
_DOORS_OF_OPENAI = {"gemini": "/openai", "cohere": "/compatibility/v1", "ollama": "/v1"}
"""What an address ends with where the provider serves OpenAI's dialect beside its own."""


def dialect_of(settings: DeploymentSettings) -> str:
    if settings.sdk_params is not None:
        return "litellm"
    if settings.provider == "mistral":
        return "mistral"
    provider = PROVIDERS.get(settings.provider)
    dialect = provider.dialect if provider is not None else "openai"
    if dialect in ("openai", "azure"):  # whose paths and key are all that tells them apart
        return "openai" if settings.by_responses == "none" else "responses"
    door = _DOORS_OF_OPENAI.get(dialect)
    return "openai" if door is not None and settings.api_base.endswith(door) else dialect


def _speaker(dialect: str) -> Speaker:
    return cast("Speaker", import_module(f"routewright.providers.{MODULES[dialect]}").spoken)


def load(deployments: Iterable[DeploymentSettings]) -> None:
    """Import what these speak, so that nothing is left for a request: a wildcard's deployments are made by one."""
    for dialect in {dialect_of(settings) for settings in deployments}:
        _speaker(dialect)


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None = None) -> Spoken:
    """`credential`: one that expires, which each request asks for anew."""
    if settings.mock_response is not None:
        exchanges, heads = spoken(replace(settings, mock_response=None), upstream_model, credential)
        return {**exchanges, **mocked(settings.mock_response)}, heads
    dialect = dialect_of(settings)
    exchanges, heads = _speaker(dialect)(settings, upstream_model, credential)
    if settings.provider == "cohere":  # whose chat is spoken in one dialect or another, and which ranks beside both
        heads = {**heads, "rerank": openai.request_heads(settings, upstream_model)["rerank"]}
        exchanges = {**exchanges, "rerank": openai_served.OTHERS["rerank"]}
    if credential is not None and dialect != "bedrock":  # which signs its requests
        exchanges = {endpoint: Authorized(exchange, credential) for endpoint, exchange in exchanges.items()}
    return {**openai_served.NO_OTHERS, **exchanges}, heads


def mocked(text: str) -> dict[str, Exchange]:
    """What answers in words without an upstream, per endpoint."""
    plain, translated = mock.Mocked(openai, text), mock.Mocked(openai_served.TRANSLATED, text)
    return {
        **dict.fromkeys(("chat", "completions", "embeddings"), plain),
        **dict.fromkeys(("messages", "generate_content", "responses"), translated),
    }
