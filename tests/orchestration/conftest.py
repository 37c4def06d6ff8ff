"""A gateway whose routes ask more than once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from speakers import CHEAP, DEAR, MIDDLE, PLANNER, Speaker, config

from harness.gateway import Gateway, running
from harness.upstream import Upstream


@pytest.fixture(scope="session")
def stepping(upstream: Upstream) -> Iterator[Gateway]:
    """One worker with routes that ask more than once."""
    with running(config(upstream)) as started:
        yield started


@pytest.fixture
def cheap(upstream: Upstream) -> Speaker:
    return Speaker(upstream, CHEAP)


@pytest.fixture
def middle(upstream: Upstream) -> Speaker:
    return Speaker(upstream, MIDDLE)


@pytest.fixture
def dear(upstream: Upstream) -> Speaker:
    return Speaker(upstream, DEAR)


@pytest.fixture
def speakers(cheap: Speaker, middle: Speaker, dear: Speaker) -> list[Speaker]:
    return [cheap, middle, dear]


@pytest.fixture
def planner(upstream: Upstream) -> Speaker:
    return Speaker(upstream, PLANNER)
