"""Lines of keys that replaced one another: whichever of them made a call, its cost is the line's.

A line is named by the hash of its first key, so it outlives every key in it, and so do its budgets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, or_, select, union_all

from routewright.store.database import now_ms
from routewright.store.rows import Row, spent_nusd
from routewright.store.schema import former_keys, keys

_AT_ONCE = 500
"""Databases bound the number of parameters."""


def line_of(key: Mapping[str, Any]) -> str:
    """The name of a stored key's line."""
    line: str = key["lineage_hash"] or key["key_hash"]
    return line


def hashes_of(connection: Connection, line: str) -> list[str]:
    """Every key that a line has ever had. A key that nobody stored is a line of its own."""
    wanted = union_all(
        select(former_keys.c.key_hash).where(former_keys.c.lineage_hash == line),
        select(keys.c.key_hash).where(keys.c.lineage_hash == line),
    )
    return list(dict.fromkeys([line, *connection.scalars(wanted)]))


def is_former(connection: Connection, key_hash: str) -> bool:
    """Whether a key was replaced once; it never comes back, since somebody may have had a reason to replace it."""
    return connection.scalar(select(former_keys.c.key_hash).where(former_keys.c.key_hash == key_hash)) is not None


def replace(connection: Connection, before: Mapping[str, Any]) -> str:
    """Note that a key is replaced; the line that its successor is in."""
    line = line_of(before)
    connection.execute(
        insert(former_keys).values(key_hash=before["key_hash"], lineage_hash=line, replaced_at_ms=now_ms())
    )
    return line


def successors(connection: Connection, hashes: Collection[str]) -> dict[str, str]:
    """Former key -> the stored key that stands in its place now, for those that have one."""
    found: dict[str, str] = {}
    wanted = list(hashes)
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        pairs = select(former_keys.c.key_hash, keys.c.key_hash).join(
            keys, former_keys.c.lineage_hash == keys.c.lineage_hash
        )
        for old, new in connection.execute(pairs.where(former_keys.c.key_hash.in_(part))):
            found[old] = new
    return found


def last_of(connection: Connection, line: str) -> str:
    """The key that a line has now; the line's own name where there is none any more."""
    found: str | None = connection.scalar(
        select(keys.c.key_hash).where(or_(keys.c.lineage_hash == line, keys.c.key_hash == line)).limit(1)
    )
    return found or line


def spent_by_keys(connection: Connection, rows: Sequence[Row]) -> dict[str, int]:
    """Nano-dollars in the ledger by key, its line's past included."""
    lines = {row["key_hash"]: line_of(row) for row in rows}
    members: dict[str, list[str]] = {line: [line] for line in lines.values()}
    for old, line in _former(connection, {row["lineage_hash"] for row in rows if row["lineage_hash"]}):
        members[line].append(old)
    spent = spent_nusd(connection, "key_hash", sorted({*lines, *(one for each in members.values() for one in each)}))
    return {key_hash: sum(spent.get(one, 0) for one in {key_hash, *members[line]}) for key_hash, line in lines.items()}


def _former(connection: Connection, lines: Collection[str]) -> Iterable[tuple[str, str]]:
    if not lines:
        return ()
    wanted = select(former_keys.c.key_hash, former_keys.c.lineage_hash)
    found = connection.execute(wanted.where(former_keys.c.lineage_hash.in_(sorted(lines))))
    return [(old, line) for old, line in found]
