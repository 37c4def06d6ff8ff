"""An object is its owner's alone, in the order of its making; a batch is counted by one of all who try."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.errors import UpstreamBadResponse
from routewright.store import owned
from routewright.store.database import Database
from store.test_spend_ledger import insert, record

ROW = {"kind": "file", "owner": "key:a", "created_at_ms": 1, "expires_at_ms": None, "deployment_id": "d", "model": "m",
       "provider": "openai", "key_hash": "a", "key_alias": None, "user_id": None, "team_id": "t",
       "organization_id": None, "customer_id": None, "tags": None, "purpose": "batch", "about": None, "body": "{}",
       "is_open": False, "held_nusd": 0, "claimed_until_ms": 0}  # fmt: skip


def put(database: Database, name: str, **more: Any) -> None:
    database.write(lambda connection: owned.put(connection, [{**ROW, "object_id": name, **more}], 10))


def names(database: Database, owner: str | None = "key:a", **more: Any) -> list[str] | None:
    wishes = {"after": None, "limit": 100, "is_ascending": False, "purpose": None, "model": None, **more}
    rows = database.read(lambda connection: owned.page(connection, "file", owner, 10, **wishes))
    return None if rows is None else [row["object_id"] for row in rows]


def test_list_is_the_owners_newest_first_page_by_page(database: Database) -> None:
    for at, name in ((1, "a"), (2, "b"), (2, "c"), (3, "d")):
        put(database, name, created_at_ms=at, purpose="batch" if at < 3 else "vision")
    put(database, "e", owner="key:b", created_at_ms=4)
    assert names(database) == ["d", "c", "b", "a"]
    assert names(database, None) == ["e", "d", "c", "b", "a"]
    assert names(database, limit=2) == ["d", "c"]
    assert names(database, limit=2, after="c") == ["b", "a"]
    assert names(database, is_ascending=True, after="b") == ["c", "d"]
    assert names(database, purpose="vision") == ["d"]
    assert names(database, model="other") == []
    assert names(database, after="e") is None  # somebody else's
    put(database, "old", expires_at_ms=10)
    assert "old" not in (names(database) or [])


def test_id_of_somebody_else_is_not_taken_over(database: Database) -> None:
    put(database, "a", body="first")
    put(database, "a", body="second")  # by two workers that have seen it at once
    for more in ({"owner": "key:b"}, {"deployment_id": "other"}):
        with pytest.raises(UpstreamBadResponse):
            put(database, "a", **more)
    (row,) = database.read(lambda connection: owned.find(connection, ["a"], "key:a"))
    assert row["body"] == "first"
    assert database.read(lambda connection: owned.find(connection, ["a"], "key:b")) == []


def test_batch_is_held_until_one_has_counted_it(database: Database) -> None:
    put(database, "b", kind="batch", is_open=True, held_nusd=50, created_at_ms=100, tags=["x"], user_id="u")

    def held(scope: str, owner: str, start: int = 0, end: int = 1000) -> int:
        return database.read(lambda connection: owned.held_nusd(connection, scope, owner, start, end))

    owners = (("key", "a"), ("team", "t"), ("user", "u"), ("team_member", "t/u"), ("tag", "x"), ("deployment", "d"),
              ("provider", "openai"), ("model_per_key", "a/m"), ("model_per_team", "t/m"))  # fmt: skip
    assert [held(*owner) for owner in owners] == [50] * len(owners)
    assert held("key", "a", 101) == held("key", "a", 0, 100) == held("key", "b") == held("tag", "y") == 0

    def waiting(after: tuple[int, str], now: int = 1000) -> list[str]:
        rows = database.read(lambda connection: owned.still_open(connection, after, now, 5))
        return [row["object_id"] for row in rows]

    assert (waiting((0, "")), waiting((100, "a")), waiting((100, "b")), waiting((101, ""))) == (["b"], ["b"], [], [])
    claims = [database.write(lambda connection: owned.claim(connection, "b", 1000)) for _ in range(2)]
    assert claims == [50, None]
    assert held("key", "a") == 50, "a gateway that dies now finds it held when it starts again"
    database.write(lambda connection: owned.give_up(connection, "b"))
    assert database.write(lambda connection: owned.claim(connection, "b", 1000)) == 50
    late = 1001 + owned.CLAIM_MS  # whoever claimed it has died over it, and may have given back what was held
    assert database.write(lambda connection: owned.claim(connection, "b", late)) == 0
    assert held("key", "a") == 50
    insert(database, record(request_id="batch-b", endpoint="chat"))  # a caller's own choice of a name
    assert held("key", "a") == 50
    insert(database, record(request_id="batch-b", endpoint="batch"))
    assert [held(*owner) for owner in owners] == [0] * len(owners), "its record stands for it from now on"
    database.write(lambda connection: owned.settle(connection, "b"))
    assert database.write(lambda connection: owned.claim(connection, "b", 10 * late)) is None
