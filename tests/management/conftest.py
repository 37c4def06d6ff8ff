"""Operations of the management API on both databases, without a gateway in between."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from harness.postgres import Postgres
from routewright.management.answer import perform
from routewright.management.request import actor_of
from routewright.management.rights import MASTER
from routewright.management.seal import Seal
from routewright.store.database import Database, sqlite_url


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Desk:
    """Where one asks. Without a key it is the master that asks."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seal = Seal("a salt")

    def ask(
        self, endpoint: str, body: Mapping[str, Any] | None = None, *, by: str | None = None,
        named: str | None = None, **query: str,
    ) -> Any:  # fmt: skip
        """What the endpoint gives to the holder of `by`. Raises GatewayError."""
        return perform(
            self.database, endpoint,
            lambda connection: MASTER if by is None else actor_of(connection, hash_of(by), False),
            body=body or {}, query=query, seal=self.seal, named=named, request_id="request-1",
        )  # fmt: skip

    def key(self, **fields: Any) -> str:
        """A fresh key."""
        made: str = self.ask("key_generate", fields)["key"]
        return made

    def user(self, user_id: str, role: str, **fields: Any) -> None:
        self.ask("user_new", {"user_id": user_id, "user_role": role, "auto_create_key": False, **fields})

    def audit(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("audit", size="500")["audit_logs"]
        return found


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def new_desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Desk]]:
    """Makes desks over empty databases."""
    opened: list[tuple[Database, str]] = []

    def make() -> Desk:
        if request.param == "sqlite":
            address = sqlite_url(tmp_path_factory.mktemp("store"))
        else:
            server: Postgres = request.getfixturevalue("postgres")
            address = server.new_database()
        database = Database(address)
        database.migrate()
        opened.append((database, address))
        return Desk(database)

    yield make
    for database, address in opened:
        database.close()
        if request.param == "postgres":
            request.getfixturevalue("postgres").drop(address)


@pytest.fixture
def desk(new_desk: Callable[[], Desk]) -> Desk:
    return new_desk()
