"""Whose the objects at providers are: files, batches and their like. What is not the asker's is not there for it.

A provider's own ids are the ids here, so what was stored by another owner is never replaced: a provider that gives an
id twice has made a mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, literal, or_, select, update

from routewright.errors import UpstreamBadResponse
from routewright.store.ledger import insert_into, whose_rows
from routewright.store.schema import owned, spend

FORGOTTEN_AFTER_MS = 24 * 3600 * 1000
"""What its provider has deleted by itself stays known for so long."""
CLAIM_MS = 10 * 60 * 1000
"""Whoever counts what a batch used is left alone for so long; then it has died over it."""
MOST_FOUND = 100
ENDPOINT, REQUEST, MOST_NAME = "batch", "batch-", 64
"""Of a batch's record: its endpoint, and what its `request_id` is made of."""


def put(connection: Connection, rows: Sequence[Mapping[str, Any]], now_ms: int) -> None:
    """Put them in; what is there already stays. Raises UpstreamBadResponse, which has to undo the transaction, where
    one of the ids is another owner's."""
    connection.execute(delete(owned).where(owned.c.expires_at_ms <= now_ms - FORGOTTEN_AFTER_MS, ~owned.c.is_open))
    statement = insert_into(connection.dialect, owned).on_conflict_do_nothing(index_elements=["object_id"])
    connection.execute(statement, [dict(row) for row in rows])
    known = select(owned.c.object_id, owned.c.owner, owned.c.deployment_id)
    known = known.where(owned.c.object_id.in_([row["object_id"] for row in rows]))
    there = {row.object_id: (row.owner, row.deployment_id) for row in connection.execute(known)}
    if any(there[row["object_id"]] != (row["owner"], row["deployment_id"]) for row in rows):
        raise UpstreamBadResponse("the provider gave an id that it has given to somebody else")


def find(connection: Connection, ids: Sequence[str], owner: str | None) -> list[dict[str, Any]]:
    """Those of `ids` that are there for the asker; `owner`: None for whoever may see all."""
    wanted = select(owned).where(owned.c.object_id.in_(list(ids)[:MOST_FOUND]))
    if owner is not None:
        wanted = wanted.where(owned.c.owner == owner)
    return [dict(row) for row in connection.execute(wanted).mappings()]


def page(
    connection: Connection,
    kind: str,
    owner: str | None,
    now_ms: int,
    *,
    after: str | None,
    limit: int,
    is_ascending: bool,
    purpose: str | None,
    model: str | None,
) -> list[dict[str, Any]] | None:
    """At most `limit` of one kind, newest first unless `is_ascending`; None where `after` is not there."""
    is_there = or_(owned.c.expires_at_ms.is_(None), owned.c.expires_at_ms > now_ms)
    wanted = select(owned).where(owned.c.kind == kind, is_there)
    for column, value in ((owned.c.owner, owner), (owned.c.purpose, purpose), (owned.c.model, model)):
        if value is not None:
            wanted = wanted.where(column == value)
    if after is not None:
        mark = find(connection, [after], owner)
        if not mark or mark[0]["kind"] != kind:
            return None
        at = mark[0]["created_at_ms"]
        wanted = wanted.where(_behind(at, after, is_ascending=is_ascending))
    order = (owned.c.created_at_ms, owned.c.object_id)
    wanted = wanted.order_by(*(order if is_ascending else [column.desc() for column in order])).limit(limit)
    return [dict(row) for row in connection.execute(wanted).mappings()]


def _behind(at_ms: int, object_id: str, *, is_ascending: bool) -> ColumnElement[bool]:
    """What comes later in the order; two objects may have been made in the same millisecond."""
    at, name = owned.c.created_at_ms, owned.c.object_id
    if is_ascending:
        return or_(at > at_ms, and_(at == at_ms, name > object_id))
    return or_(at < at_ms, and_(at == at_ms, name < object_id))


def saw(connection: Connection, object_id: str, body: str) -> None:
    """How an object was seen last."""
    connection.execute(update(owned).where(owned.c.object_id == object_id).values(body=body))


def forget(connection: Connection, object_id: str) -> None:
    """It is gone. What it cost stays open until it is counted."""
    connection.execute(delete(owned).where(owned.c.object_id == object_id, ~owned.c.is_open))


def claim(connection: Connection, object_id: str, now_ms: int) -> int | None:
    """The nano-dollars held, if the asker is to count what a batch used: one of all workers, as long as it lives.
    0 for who comes after one that has died over it, and may have given them back. Here they are held until there is a
    record of what it used: a gateway that dies in between knows of them when it starts again."""
    found = connection.execute(
        select(owned.c.held_nusd, owned.c.claimed_until_ms).where(
            owned.c.object_id == object_id, owned.c.is_open, owned.c.claimed_until_ms <= now_ms
        ).with_for_update()
    ).first()  # fmt: skip
    if found is None:
        return None
    mine = update(owned).where(owned.c.object_id == object_id)
    connection.execute(mine.values(claimed_until_ms=now_ms + CLAIM_MS))
    return 0 if found.claimed_until_ms else int(found.held_nusd)


def give_up(connection: Connection, object_id: str) -> None:
    """What was claimed could not be counted; somebody else may try."""
    mine = update(owned).where(owned.c.object_id == object_id, owned.c.is_open)
    connection.execute(mine.values(claimed_until_ms=0))


def settle(connection: Connection, object_id: str) -> None:
    """What it used is on record."""
    connection.execute(update(owned).where(owned.c.object_id == object_id).values(is_open=False, held_nusd=0))


def still_open(connection: Connection, after: tuple[int, str], now_ms: int, limit: int) -> list[dict[str, Any]]:
    """Batches that nobody has counted or claimed, oldest first, behind one of a time and an id."""
    wanted = select(owned).where(owned.c.is_open, owned.c.claimed_until_ms <= now_ms)
    wanted = wanted.where(_behind(*after, is_ascending=True)).order_by(owned.c.created_at_ms, owned.c.object_id)
    return [dict(row) for row in connection.execute(wanted.limit(limit)).mappings()]


def held_nusd(connection: Connection, scope: str, owner: str, from_ms: int, to_ms: int) -> int:
    """Nano-dollars that an owner's open batches may come to, of those made from one moment on and before another.

    Not of one that is in the ledger: it is to be asked after this, so that no batch is left out of both.
    """
    name = func.substr(literal(REQUEST).concat(owned.c.object_id), 1, MOST_NAME)
    is_recorded = exists().where(spend.c.request_id == name, spend.c.endpoint == ENDPOINT)
    then = and_(owned.c.is_open, owned.c.created_at_ms >= from_ms, owned.c.created_at_ms < to_ms, ~is_recorded)
    if scope == "tag":
        rows = connection.execute(select(owned.c.held_nusd, owned.c.tags).where(then))
        return sum(held for held, tags in rows if tags and owner in tags)
    if scope == "deployment":
        theirs = owned.c.deployment_id == owner
    else:
        theirs = whose_rows(connection, scope, owner)(owned)
    return int(connection.scalar(select(func.sum(owned.c.held_nusd)).where(then, theirs)) or 0)
