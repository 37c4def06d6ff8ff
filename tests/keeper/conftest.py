"""Gateways with a store behind them, of two workers each: on SQLite, and on Postgres."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.gateway import Gateway, base_config, running
from harness.postgres import Postgres
from harness.upstream import Upstream

WORKERS = 2


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def stored(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway whose keys outlive it."""
    if request.param == "sqlite":
        with running(base_config(upstream), workers=WORKERS) as gateway:
            yield gateway
        return
    server: Postgres = request.getfixturevalue("postgres")
    address = server.new_database()
    with running(base_config(upstream), workers=WORKERS, environment={"DATABASE_URL": address}) as gateway:
        yield gateway
    server.drop(address)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A server that a test may stop."""
    server = Postgres()
    yield server
    server.close()
