"""Deployments that go through the LiteLLM SDK: which of their `litellm_params` it is given."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from routewright.config.extras import has_extra, wanted
from routewright.config.section import Section, plain
from routewright.types import Secret

PYTHON_VARIABLE = "ROUTEWRIGHT_LITELLM_PYTHON"
"""An interpreter of an environment of its own that has LiteLLM, which pins many packages."""
_WORDS = """
    api_key api_version organization region_name project space_id watsonx_region_name tenant_id client_id
    client_secret azure_ad_token azure_username azure_password azure_scope allowed_openai_params hf_model_name
    roles initial_prompt_value final_prompt_value bos_token eos_token
"""
_GIVEN = frozenset(_WORDS.split())
_FAMILIES = re.compile(r"(?:aws|vertex|bedrock|sagemaker|gcs|oci|sap|watsonx)_[a-z0-9_]+\Z")
_OF_STORED = frozenset({"api_key", "api_version", "organization"})
_SECRET = re.compile(r"(?i)key|token|secret|password|credential")
LEAST_SECRET = 6
"""Characters; a shorter value is no credential, and hiding it would garble every message."""


def read_sdk(
    params: Section, provider: str, api_base: str | None, *, drops_unsupported: bool
) -> tuple[Secret, tuple[Secret, ...]] | None:
    """(LiteLLM's arguments as JSON, the secrets among them); None where the fault is noted."""
    python = params.notes.environ.get(PYTHON_VARIABLE)
    if python is not None and not os.access(python, os.X_OK):
        params.error("model", f"{PYTHON_VARIABLE} names no program that can be run")
        return None
    if python is None and not has_extra("litellm"):
        params.error("model", f'provider "{provider}" is reached through the LiteLLM SDK, which {wanted("litellm")}')
        return None
    given: dict[str, Any] = {}
    for name, node in params.entries.items():
        if (name in _GIVEN or _FAMILIES.match(name)) and node.value is not None:
            params.know(name)
            if not params.notes.may_read_files and name not in _OF_STORED:
                params.error(name, "is no matter of a stored model: it might name a file of this machine")
                return None
            given[name] = plain(node, params.notes, params.field(name))
    given = {name: value for name, value in given.items() if value is not None}
    if api_base is not None:
        given["api_base"] = api_base
    if drops_unsupported:
        given["drop_params"] = True
    return Secret(json.dumps(given)), tuple(_secrets(given))


def _secrets(given: Mapping[str, Any]) -> list[Secret]:
    found = []
    for name, value in given.items():
        if isinstance(value, Mapping):
            found += _secrets(value)
        elif _SECRET.search(name) and isinstance(value, str) and len(value) >= LEAST_SECRET:
            found.append(Secret(value))
    return found
