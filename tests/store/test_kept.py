"""What is kept goes after its time, or where there is no room, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routewright.store import kept
from routewright.store.database import Database, sqlite_url


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(sqlite_url(tmp_path))
    made.migrate()
    yield made
    made.close()


def put(database: Database, name: str, *, at: int, size: int = 10, until: int = 1000, **more: Any) -> None:
    row = {"object_id": name, "kind": "response", "owner": "key:a", "previous_id": None, "created_at_ms": at,
           "expires_at_ms": until, "size_bytes": size, "body": name, **more}  # fmt: skip
    database.write(lambda connection: kept.keep(connection, row, at, most_bytes=35))


def has(database: Database, name: str, *, now: int = 50, owner: str | None = "key:a") -> bool:
    return database.read(lambda connection: kept.find(connection, name, owner, now)) is not None


def test_the_oldest_goes_where_room_runs_out(database: Database) -> None:
    for at, name in enumerate("abcd"):
        put(database, name, at=at)
    assert [has(database, name) for name in "abcd"] == [False, True, True, True]
    put(database, "huge", at=9, size=34)
    assert [has(database, name) for name in "bcd"] == [False] * 3
    assert has(database, "huge")


def test_nothing_outlives_its_time(database: Database) -> None:
    put(database, "a", at=1, until=40)
    assert has(database, "a", now=39)
    assert not has(database, "a", now=40)


def test_a_conversation_is_whole_or_not_there(database: Database) -> None:
    put(database, "a", at=1)
    put(database, "b", at=2, previous_id="a")
    put(database, "c", at=3, previous_id="b")

    def chain(name: str, owner: str | None = "key:a") -> list[str] | None:
        return database.read(lambda connection: kept.chain(connection, name, owner, 50))

    assert chain("c") == ["a", "b", "c"]
    assert chain("c", "key:b") is None
    assert chain("c", None) == ["a", "b", "c"]
    assert database.write(lambda connection: kept.forget(connection, "a", "key:b")) is False
    assert database.write(lambda connection: kept.forget(connection, "a", "key:a")) is True
    assert chain("c") is None


def test_a_conversation_too_long_to_be_read_back_is_not_there(database: Database) -> None:
    """T4: a few words that name a response must not make the gateway hold all that ever led to it."""
    third = kept.MAX_CHAIN_BYTES // 3
    for at, name in enumerate("abcd"):
        more = {"previous_id": chr(ord(name) - 1) if at else None, "size_bytes": third}
        row = {"object_id": name, "kind": "response", "owner": "key:a", "created_at_ms": at, "expires_at_ms": 1000,
               "body": name, **more}  # fmt: skip
        database.write(lambda connection, row=row, at=at: kept.keep(connection, row, at))
    chains = [database.read(lambda connection, name=name: kept.chain(connection, name, None, 50)) for name in "cd"]
    assert chains == [["a", "b", "c"], None]
