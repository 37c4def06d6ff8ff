"""The packaged router, a small fitted one, and five candidates."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import make_candidate

import routewright.routing as routing
from routewright.routing.artefact import Artefact, read_artefact
from routewright.types import RouteCandidate

DEFAULT = Path(routing.__file__).with_name("default_router.safetensors")


@pytest.fixture(scope="session")
def default_artefact() -> Artefact:
    return read_artefact(DEFAULT)


@pytest.fixture(scope="session")
def candidates() -> list[RouteCandidate]:
    return [
        make_candidate("gpt-4o", 2.5, 10),
        make_candidate("gpt-4o-mini", 0.15, 0.6),
        make_candidate("claude-3-5-sonnet", 3, 15),
        make_candidate("claude-3-5-haiku", 0.8, 4),
        make_candidate("llama-3.1-8b-instruct", 0.05, 0.08),
    ]
