"""The environment of the clients that pin many packages: LiteLLM's SDK, pydantic-ai, instructor and others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2]


def clients_python() -> str:
    """Its interpreter; skips by name where it was not made (`make clients`)."""
    given = os.environ.get("ROUTEWRIGHT_CLIENTS_PYTHON")
    python = Path(given) if given else HERE / ".venv" / "clients" / "bin" / "python"
    if not python.is_file():
        pytest.skip("the environment of clients is not there (make clients): LiteLLM's SDK and others are not tried")
    return str(python)
