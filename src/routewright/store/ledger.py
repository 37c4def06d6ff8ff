"""The ledger's tables: records of the journal go in, each once, and what an owner has spent comes out.

A record's row, the hourly sums that it belongs to and the place in the journal up to which all is in are written in
one transaction, and the sums move only by rows that were really inserted. So reading a journal again, after whatever
crash, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, false, func, or_, select
from sqlalchemy.dialects import sqlite

from routewright.store.lineage import hashes_of
from routewright.store.schema import journal_positions, spend, spend_days, spend_hours, spend_tags

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MOST = 2**62
"""Of any figure: a sum of a few still fits its column."""
FAILED = frozenset({"refused", "upstream_failed"})
_OWNERS = ("key_hash", "user_id", "team_id", "customer_id", "model", "provider")
_OWNERS_BY_DAY = tuple(name for name in _OWNERS if name != "customer_id")
_SUMS = (
    "cost_nusd", "baseline_nusd", "prompt_tokens", "completion_tokens", "cached_tokens", "cache_creation_tokens",
    "requests", "failed_requests", "unpriced_requests",
)  # fmt: skip
_COLUMNS = {
    "team": ("team_id",),
    "user": ("user_id",),
    "customer": ("customer_id",),
    "tag": (),
    "team_member": ("team_id", "user_id"),
    "model_per_team": ("team_id", "model"),
    "model_per_user": ("user_id", "model"),
}
_TAG_SUMS = ("cost_nusd", "total_tokens", "requests")


def row_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A journal's record as a row of `spend`. Raises KeyError, TypeError or ValueError for what is no record."""
    ended_at_ms = int(record["ended_at_ms"]) if "ended_at_ms" in record else None
    started_at_ms = int(record["started_at"] * 1000)
    if ended_at_ms is None:
        ended_at_ms = started_at_ms + int(record["latency_ms"])
    first_ms = record.get("ttft_ms")
    decision = record.get("decision") or {}
    cost = _whole(record["cost_nusd"])
    return {
        "call_id": record["call_id"],
        "attempt": _whole(record["attempts"]),
        "request_id": _text(record["request_id"]) or "",
        "started_at_ms": started_at_ms,
        "first_byte_at_ms": None if first_ms is None else started_at_ms + int(first_ms),
        "ended_at_ms": ended_at_ms,
        "endpoint": _text(record["endpoint"]) or "",
        "key_hash": _text(record["key_hash"]) or "",
        "key_alias": _text(record.get("key_alias")),
        "user_id": _text(record.get("user_id")),
        "team_id": _text(record.get("team_id")),
        "organization_id": _text(record.get("organization_id")),
        "customer_id": _text(record.get("user")),
        "model_asked": _text(record.get("model_asked")),
        "model": _text(record.get("model")),
        "deployment_id": _text(record.get("deployment")),
        "provider": _text(record.get("provider")),
        "route": _text(decision.get("route")),
        "status": _whole(record["status"]),
        "error_code": _text(record.get("error_code")),
        "ended": _text(record["ended"]) or "",
        "is_stream": bool(record["is_stream"]),
        "prompt_tokens": _whole(record["prompt_tokens"]),
        "completion_tokens": _whole(record["completion_tokens"]),
        "cached_tokens": _whole(record.get("cached_tokens", 0)),
        "cache_creation_tokens": _whole(record.get("cache_creation_tokens", 0)),
        "reasoning_tokens": _whole(record.get("reasoning_tokens", 0)),
        "audio_tokens": _whole(record.get("audio_input_tokens", 0)) + _whole(record.get("audio_output_tokens", 0)),
        "is_estimated": bool(record.get("usage_estimated", False)),
        "cost_nusd": cost,
        "baseline_nusd": 0 if decision.get("part_of") else _whole(decision.get("baseline_nusd", 0)) or cost,
        "is_priced": bool(record.get("is_priced", False)),
        "price_version": _text(record.get("price_version")) or None,
        "session_id": _text(record.get("session_id")),
        "peer": _text(record.get("peer")),
        "tags": [_text(tag) for tag in record.get("tags") or ()] or None,
        "extra": {"decision": _clean(decision)} if decision else None,
    }


def _text(value: Any) -> str | None:
    """Postgres has no U+0000 in a text."""
    if value is None:
        return None
    if type(value) is not str:
        raise TypeError("expected text")
    return value.replace("\0", "")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    return {name: _clean(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("expected a whole number")
    return max(0, min(value, MOST))


def insert_rows(connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
    """Put in what is not there yet, and move the sums by it; how many that were."""
    if not rows:
        return 0
    statement = _insert(connection, spend).on_conflict_do_nothing(index_elements=["call_id", "attempt"])
    inserted = connection.execute(statement.returning(spend.c.call_id, spend.c.attempt), rows).all()
    if not inserted:
        return 0
    new = {(call_id, attempt) for call_id, attempt in inserted}
    # A call that stands twice in one batch was inserted once.
    fresh = list(
        {(row["call_id"], row["attempt"]): row for row in rows if (row["call_id"], row["attempt"]) in new}.values()
    )
    _add(connection, spend_hours, ("hour_at_ms", *_OWNERS), _SUMS, _sums(fresh, HOUR_MS, _OWNERS))
    _add(connection, spend_days, ("day_at_ms", *_OWNERS_BY_DAY), _SUMS, _sums(fresh, DAY_MS, _OWNERS_BY_DAY))
    _add(connection, spend_tags, ("hour_at_ms", "tag"), _TAG_SUMS, _tags(fresh))
    return len(fresh)


def _insert(connection: Connection, table: Table) -> Any:
    """Both dialects say it alike; SQLAlchemy has an `insert` of its own for each."""
    if connection.dialect.name == "postgresql":
        # Importing it costs a tenth of a second, which an embedded database need not pay.
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    return sqlite.insert(table)


def _sums(rows: Iterable[Mapping[str, Any]], span_ms: int, owners: Sequence[str]) -> dict[tuple[Any, ...], list[int]]:
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        key = (row["ended_at_ms"] // span_ms * span_ms, *[row[name] or "" for name in owners])
        is_part = _is_part(row)
        has_failed = row["ended"] in FAILED and not is_part
        is_unpriced = not row["is_priced"] and row["ended"] != "refused"
        values = [*[row[name] for name in _SUMS[:6]], int(not is_part), int(has_failed), int(is_unpriced)]
        known = sums.get(key)
        sums[key] = values if known is None else [a + b for a, b in zip(known, values, strict=True)]
    return sums


def _is_part(row: Mapping[str, Any]) -> bool:
    """One of several calls that answer one request: its cost counts, its number does not."""
    extra = row["extra"]
    return bool(extra and extra["decision"].get("part_of"))


def _tags(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], list[int]]:
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        for tag in dict.fromkeys(row["tags"] or ()):
            key = (row["ended_at_ms"] // HOUR_MS * HOUR_MS, tag)
            values = [row["cost_nusd"], row["prompt_tokens"] + row["completion_tokens"], int(not _is_part(row))]
            known = sums.get(key)
            sums[key] = values if known is None else [a + b for a, b in zip(known, values, strict=True)]
    return sums


def _add(
    connection: Connection,
    table: Table,
    key: Sequence[str],
    names: Sequence[str],
    sums: Mapping[tuple[Any, ...], Sequence[int]],
) -> None:
    if not sums:
        return
    statement = _insert(connection, table)
    moved = {name: table.c[name] + statement.excluded[name] for name in names}
    statement = statement.on_conflict_do_update(index_elements=list(key), set_=moved)
    # Always in the same order: two writers of one database then never wait for each other in a ring.
    rows = [dict(zip((*key, *names), (*at, *values), strict=True)) for at, values in sorted(sums.items())]
    connection.execute(statement, rows)


# --- places in the journal ------------------------------------------------------------------------------------------


def read_position(connection: Connection, name: str) -> int:
    """Bytes of a journal file that are in the ledger."""
    wanted = select(journal_positions.c.read_bytes).where(journal_positions.c.name == name)
    return connection.execute(wanted).scalar() or 0


def write_position(connection: Connection, name: str, read_bytes: int) -> None:
    statement = _insert(connection, journal_positions).values(name=name, read_bytes=read_bytes)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"read_bytes": statement.excluded.read_bytes})
    )


def forget_position(connection: Connection, name: str) -> None:
    connection.execute(journal_positions.delete().where(journal_positions.c.name == name))


# --- what was spent -------------------------------------------------------------------------------------------------


def spent_nusd(connection: Connection, scope: str, owner: str, from_ms: int, to_ms: int) -> int:
    """Nano-dollars of an owner's calls that ended from `from_ms` on and before `to_ms`; scopes as in `Allowance`."""
    to_ms = min(to_ms, MOST)
    whose = _whose(connection, scope, owner)
    total = 0
    # The largest sums first; what they leave over at the edges comes from the next smaller, and at last from the rows.
    edges = [(from_ms, to_ms)]
    if scope not in ("customer", "tag"):
        part, edges = _of_sums(connection, spend_days, whose(spend_days), DAY_MS, edges)
        total += part
    table = spend_tags if scope == "tag" else spend_hours
    is_theirs = spend_tags.c.tag == owner if scope == "tag" else whose(table)
    part, edges = _of_sums(connection, table, is_theirs, HOUR_MS, edges)
    if scope == "tag":
        return total + part + sum([_of_tagged_rows(connection, owner, start, end) for start, end in edges])
    return total + part + sum([_of_rows(connection, whose(spend), start, end) for start, end in edges])


def _of_sums(
    connection: Connection, table: Table, is_theirs: ColumnElement[bool], span_ms: int, edges: list[tuple[int, int]]
) -> tuple[int, list[tuple[int, int]]]:
    """(what whole spans come to, what is left of `edges`)."""
    start_column = table.c["day_at_ms" if "day_at_ms" in table.c else "hour_at_ms"]
    total, left = 0, []
    for start, end in edges:
        first = -(-start // span_ms) * span_ms
        last = end if end == MOST else end // span_ms * span_ms
        if first >= last:
            left.append((start, end))
            continue
        wanted = select(func.sum(table.c.cost_nusd)).where(is_theirs, start_column >= first, start_column < last)
        total += int(connection.execute(wanted).scalar() or 0)
        left += [(one, other) for one, other in ((start, first), (last, end)) if one < other]
    return total, left


def _then(from_ms: int, to_ms: int) -> ColumnElement[bool]:
    return and_(spend.c.ended_at_ms >= from_ms, spend.c.ended_at_ms < to_ms)


def _of_rows(connection: Connection, is_theirs: ColumnElement[bool], from_ms: int, to_ms: int) -> int:
    """The same from the single rows, for parts of an hour."""
    wanted = select(func.sum(spend.c.cost_nusd)).where(_then(from_ms, to_ms), is_theirs)
    return int(connection.execute(wanted).scalar() or 0)


def _of_tagged_rows(connection: Connection, tag: str, from_ms: int, to_ms: int) -> int:
    wanted = select(spend.c.cost_nusd, spend.c.tags).where(_then(from_ms, to_ms), spend.c.tags.is_not(None))
    return sum(cost for cost, tags in connection.execute(wanted) if tag in tags)


def _whose(connection: Connection, scope: str, owner: str) -> Callable[[Table], ColumnElement[bool]]:
    """Whose a row of a table is. An owner of two parts is `first/second`, and either part may hold a slash itself; a
    key is a line of keys, and no name of one holds any."""
    if scope == "key":
        hashes = hashes_of(connection, owner)
        return lambda table: table.c.key_hash.in_(hashes)
    if scope == "model_per_key":
        line, _, model = owner.partition("/")
        hashes = hashes_of(connection, line)
        return lambda table: and_(table.c.key_hash.in_(hashes), table.c.model == model)
    columns = _COLUMNS.get(scope)
    if columns is None:
        raise ValueError(f"unknown scope {scope}")
    if len(columns) < 2:
        return lambda table: table.c[columns[0]] == owner
    first, second = columns
    parts = owner.split("/")
    ways = [("/".join(parts[:at]), "/".join(parts[at:])) for at in range(1, len(parts))]
    if not ways:
        return lambda _: false()
    return lambda table: or_(*[and_(table.c[first] == one, table.c[second] == other) for one, other in ways])
