"""Providers that are reached through the LiteLLM SDK: OpenAI's dialect, to a process beside the gateway.

Where LiteLLM sends a call, and with what, stands in a header line made once from the configuration, so that such a
deployment is one of OpenAI's dialect in everything else: limits, retries, streams, figures and errors.
"""

from __future__ import annotations

import base64
import json

from routewright.credentials import Credential
from routewright.dialect import Spoken
from routewright.providers import openai_served
from routewright.providers.head import field_lines, head
from routewright.providers.openai import PATHS
from routewright.settings import DeploymentSettings

PARAMS_HEADER = "x-routewright-params"


def request_heads(settings: DeploymentSettings, upstream_model: str) -> dict[str, bytes]:
    """Per endpoint, the request's head up to and with `content-length: `."""
    assert settings.sdk_params is not None
    params = {"provider": settings.provider, **json.loads(settings.sdk_params.reveal())}
    packed = base64.b64encode(json.dumps(params).encode()).decode()
    fields = field_lines(settings, ["accept: application/json, text/event-stream", f"{PARAMS_HEADER}: {packed}"])
    return {endpoint: head(path, fields) for endpoint, path in PATHS.items()}


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    return {**openai_served.EXCHANGES, **openai_served.NO_OTHERS}, request_heads(settings, upstream_model)
