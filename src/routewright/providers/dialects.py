"""Which dialect a deployment's provider speaks, and how it serves each of our endpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NoReturn

from routewright.dialect import Exchange, Stream
from routewright.errors import GatewayError, UnsupportedField
from routewright.providers import anthropic, anthropic_answers, openai
from routewright.providers.names import PROVIDERS
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment, Usage


class Unserved:
    """An endpoint that the provider has nothing for."""

    stream_type = b""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        raise UnsupportedField(f"the provider of this model serves no {call.endpoint}", param="model")

    def _never(self) -> NoReturn:
        raise AssertionError("nothing is asked, so nothing comes back")

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        self._never()

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        self._never()

    def error_of(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
    ) -> GatewayError:
        self._never()


_UNSERVED = Unserved()
_ANTHROPIC = anthropic_answers.Translated(time.time)

_EXCHANGES: Mapping[str, Mapping[str, Exchange]] = {
    "openai": {"chat": openai, "completions": openai, "embeddings": openai},
    "anthropic": {"chat": _ANTHROPIC, "completions": _UNSERVED, "embeddings": _UNSERVED},
}
_HEADS = {"openai": openai.request_heads, "anthropic": anthropic.request_heads}


def spoken(settings: DeploymentSettings, upstream_model: str) -> tuple[Mapping[str, Exchange], Mapping[str, bytes]]:
    """Per endpoint of ours the exchange that serves it, and per endpoint of the dialect the head of its requests."""
    provider = PROVIDERS.get(settings.provider)
    dialect = provider.dialect if provider is not None else "openai"
    if dialect not in _HEADS:
        dialect = "openai"  # Azure's paths and key are all that tells it apart
    return _EXCHANGES[dialect], _HEADS[dialect](settings, upstream_model)
