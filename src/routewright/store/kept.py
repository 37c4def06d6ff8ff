"""What callers asked to have kept: found by its id and owner together, gone after its time or where room runs out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from routewright.store.schema import kept

MAX_ALL_BYTES = 256 * 1024 * 1024
"""Of everything that is kept; beyond it the oldest goes."""
MAX_CHAIN = 200
"""Responses that one conversation may be read back through."""
MAX_CHAIN_BYTES = 10 * 1024 * 1024
"""Of these together: as much as a request itself may have."""
_AT_ONCE = 200


def keep(connection: Connection, row: Mapping[str, Any], now_ms: int, *, most_bytes: int = MAX_ALL_BYTES) -> None:
    """Put one in, and make room: what has had its time goes, then the oldest."""
    connection.execute(delete(kept).where(kept.c.expires_at_ms <= now_ms))
    connection.execute(insert(kept).values(**row))
    held = int(connection.scalar(select(func.sum(kept.c.size_bytes))) or 0)
    while held > most_bytes:
        oldest = connection.execute(
            select(kept.c.object_id, kept.c.size_bytes)
            .where(kept.c.object_id != row["object_id"])
            .order_by(kept.c.created_at_ms)
            .limit(_AT_ONCE)
        ).all()
        if not oldest:
            return
        gone = []
        for object_id, size in oldest:
            if held <= most_bytes:
                break
            gone.append(object_id)
            held -= size
        connection.execute(delete(kept).where(kept.c.object_id.in_(gone)))


def find(connection: Connection, object_id: str, owner: str | None, now_ms: int) -> dict[str, Any] | None:
    """`owner`: None for whoever may see all."""
    wanted = select(kept).where(kept.c.object_id == object_id, kept.c.expires_at_ms > now_ms)
    if owner is not None:
        wanted = wanted.where(kept.c.owner == owner)
    row = connection.execute(wanted).mappings().first()
    return None if row is None else dict(row)


def forget(connection: Connection, object_id: str, owner: str | None) -> bool:
    """Whether there was one."""
    statement = delete(kept).where(kept.c.object_id == object_id)
    if owner is not None:
        statement = statement.where(kept.c.owner == owner)
    return connection.execute(statement).rowcount > 0


def chain(connection: Connection, object_id: str, owner: str | None, now_ms: int) -> list[str] | None:
    """The bodies that lead to one, oldest first, its own last; None where any of them is gone or somebody else's,
    or where they are more than may be read back."""
    bodies: list[str] = []
    size = 0
    at: str | None = object_id
    while at is not None:
        row = find(connection, at, owner, now_ms)
        if row is None or len(bodies) >= MAX_CHAIN:
            return None
        size += row["size_bytes"]
        if size > MAX_CHAIN_BYTES:
            return None
        bodies.append(row["body"])
        at = row["previous_id"]
    return bodies[::-1]
