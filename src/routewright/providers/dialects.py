"""Which dialect a deployment's provider speaks, and how it serves each of our endpoints."""

from __future__ import annotations

from collections.abc import Mapping

from routewright.dialect import Exchange
from routewright.providers import openai
from routewright.settings import DeploymentSettings

_OPENAI: Mapping[str, Exchange] = {"chat": openai, "completions": openai, "embeddings": openai}


def spoken(settings: DeploymentSettings, upstream_model: str) -> tuple[Mapping[str, Exchange], Mapping[str, bytes]]:
    """Per endpoint of ours the exchange that serves it, and per endpoint of the dialect the head of its requests."""
    return _OPENAI, openai.request_heads(settings, upstream_model)
