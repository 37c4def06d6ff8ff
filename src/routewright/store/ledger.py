"""The ledger's tables: records of the journal go in, each once, and what an owner has spent comes out.

A record's row, the hourly sums that it belongs to and the place in the journal up to which all is in are written in
one transaction, and the sums move only by rows that were really inserted. So reading a journal again, after whatever
crash, changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, Table, and_, false, func, or_, select
from sqlalchemy.dialects import sqlite

from routewright.store.incoming import MOST, Incoming, Row
from routewright.store.lineage import hashes_of
from routewright.store.schema import (
    journal_positions,
    spend,
    spend_days,
    spend_hours,
    spend_models,
    spend_organizations,
    spend_tags,
    spend_texts,
)

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
TOGETHER = 64
"""Rows to a statement: a statement's own cost, shared by so many, is nothing beside that of a row."""
FAILED = frozenset({"refused", "upstream_failed"})
_OWNERS = ("key_hash", "user_id", "team_id", "customer_id", "model", "provider")
_OWNERS_OF_ORGANIZATIONS = ("organization_id", "key_hash", "user_id", "team_id", "model", "provider")
_OWNERS_BY_DAY = tuple(name for name in _OWNERS if name != "customer_id")
_SUMS = (
    "cost_nusd", "baseline_nusd", "prompt_tokens", "completion_tokens", "cached_tokens", "cache_creation_tokens",
    "requests", "failed_requests", "unpriced_requests",
)  # fmt: skip
_COLUMNS = {
    "team": ("team_id",),
    "user": ("user_id",),
    "customer": ("customer_id",),
    "provider": ("provider",),
    "tag": (),
    "team_member": ("team_id", "user_id"),
    "model_per_team": ("team_id", "model"),
    "model_per_user": ("user_id", "model"),
    "organization": ("organization_id",),
    "organization_member": ("organization_id", "user_id"),
    "model_per_organization": ("organization_id", "model"),
}
_OF_ORGANIZATIONS = frozenset({"organization", "organization_member", "model_per_organization"})
_TAG_SUMS = ("cost_nusd", "total_tokens", "requests")


def insert_rows(connection: Connection, records: Sequence[Incoming]) -> int:
    """Put in what is not there yet, and move the sums by it; how many that were."""
    if not records:
        return 0
    fresh = records if _are_all_new(connection, records) else _insert_new(connection, records)
    if not fresh:
        return 0
    said = [each for each in fresh if each.texts is not None]
    if said:
        _add_texts(connection, said)
    ours = [each for each in fresh if each.row.organization_id]
    add_sums(connection, _sums(fresh), _sums(ours, _owners_of_organization) if ours else {})
    add_tags(connection, _tags(fresh))
    return len(fresh)


Sums = Mapping[tuple[Any, ...], Sequence[int]]


def add_sums(connection: Connection, hours: Sums, of_organizations: Sums) -> None:
    """Move the sums by the hour, those of their days and models, and those of organizations.

    Keys and values stand in the order of the tables' columns.
    """
    _add(connection, spend_hours, ("hour_at_ms", *_OWNERS), _SUMS, hours)
    _add(connection, spend_days, ("day_at_ms", *_OWNERS_BY_DAY), _SUMS, _by_day(hours))
    _add(connection, spend_models, ("hour_at_ms", "model"), _SUMS, _by_model(hours))
    _add(connection, spend_organizations, ("hour_at_ms", *_OWNERS_OF_ORGANIZATIONS), _SUMS, of_organizations)


def add_tags(connection: Connection, tags: Sums) -> None:
    """Move the sums of tags by the hour."""
    _add(connection, spend_tags, ("hour_at_ms", "tag"), _TAG_SUMS, tags)


def _are_all_new(connection: Connection, records: Sequence[Incoming]) -> bool:
    """Put them in as the driver does it fastest; False, and nothing done, where one of them was there already."""
    rows = [each.row for each in records]
    together = 0
    if connection.dialect.name == "sqlite":  # psycopg reads a long statement anew each time, and that costs far more
        together = len(rows) - len(rows) % TOGETHER
    with connection.begin_nested() as savepoint:
        count = _insert_together(connection, rows[:together]) if together else 0
        if together < len(rows):
            count += connection.exec_driver_sql(_statement_of(connection.dialect), rows[together:]).rowcount
        if count == len(rows):
            return True
        savepoint.rollback()
    return False


def _insert_together(connection: Connection, rows: Sequence[Row]) -> int:
    """So many rows to a statement, and what stands in all of them, such as what nobody uses, handed over once in it."""
    columns = list(zip(*rows, strict=True))
    is_shared = tuple([column[0] == column[-1] and column.count(column[0]) == len(rows) for column in columns])
    shared = [column[0] for column, shares in zip(columns, is_shared, strict=True) if shares]
    own = list(zip(*[column for column, shares in zip(columns, is_shared, strict=True) if not shares], strict=True))
    statement = _for_many(_statement_of(connection.dialect), is_shared)
    count = 0
    for at in range(0, len(own), TOGETHER):
        values = (*shared, *chain.from_iterable(own[at : at + TOGETHER]))
        count += connection.exec_driver_sql(statement, values).rowcount
    return count


def _add_texts(connection: Connection, records: Iterable[Incoming]) -> None:
    rows = [
        {"call_id": row.call_id, "attempt": row.attempt, "ended_at_ms": row.ended_at_ms,
         "request": texts[0], "response": texts[1]}
        for row, _, _, texts in records if texts is not None
    ]  # fmt: skip
    connection.execute(spend_texts.insert(), rows)


_statements: dict[str, str] = {}


def _statement_of(dialect: Dialect) -> str:
    """What goes to the driver for one row. SQLAlchemy's own way costs more for a row than the database does."""
    known = _statements.get(dialect.name)
    if known is None:
        # Only so do places, which a tuple fills, stand for the values on both databases.
        positional: Dialect = dialect if dialect.positional else type(dialect)(paramstyle="format")  # type: ignore[call-arg]
        compiled = insert_into(dialect, spend).compile(dialect=positional, column_keys=list(Row._fields))
        if compiled.positiontup != list(Row._fields):
            raise AssertionError("the columns of `spend` stand in another order than those of a row")
        known = _statements[dialect.name] = str(compiled)
    return known


@lru_cache(maxsize=64)
def _for_many(statement: str, is_shared: tuple[bool, ...]) -> str:
    """`statement` for TOGETHER rows, whose shared values come first of all."""
    start, end = statement.index("VALUES (") + len("VALUES "), statement.index(") ON CONFLICT") + 1
    shared, own = count(1), count(1 + sum(is_shared))
    rows = [f"({', '.join([f'?{next(shared if shares else own)}' for shares in is_shared])})"]
    places = [place if shares else "" for place, shares in zip(rows[0][1:-1].split(", "), is_shared, strict=True)]
    for _ in range(1, TOGETHER):
        rows.append(f"({', '.join([place or f'?{next(own)}' for place in places])})")
    return statement[:start] + ", ".join(rows) + statement[end:]


def _insert_new(connection: Connection, records: Sequence[Incoming]) -> list[Incoming]:
    """Put in those that are not there yet, one by one; which they were. Such are records that are read again."""
    statement = _statement_of(connection.dialect)
    return [each for each in records if connection.exec_driver_sql(statement, each.row).rowcount == 1]


def insert_into(dialect: Dialect, table: Table) -> Any:
    """Both dialects say it alike; SQLAlchemy has an `insert` of its own for each."""
    if dialect.name == "postgresql":
        # Importing it costs a tenth of a second, which an embedded database need not pay.
        from sqlalchemy.dialects import postgresql

        statement: Any = postgresql.insert(table)
    else:
        statement = sqlite.insert(table)
    return statement.on_conflict_do_nothing(index_elements=["call_id", "attempt"]) if table is spend else statement


def _at(*names: str) -> Any:
    """Takes these out of a row, in one call that is C's."""
    return itemgetter(*[Row._fields.index(name) for name in names])


_owners_of, _owners_of_organization, _ended_at_ms = _at(*_OWNERS), _at(*_OWNERS_OF_ORGANIZATIONS), _at("ended_at_ms")
_figures = [_at(name) for name in _SUMS[: _SUMS.index("requests")]]
_end_of, _is_priced = _at("ended"), _at("is_priced")


def _sums(records: Iterable[Incoming], owners_of: Callable[[Row], tuple[Any, ...]] = _owners_of) -> Sums:
    """By the hour and its owners. Most records of a batch have the same, so they are told apart first and added up
    column by column."""
    groups: defaultdict[tuple[Any, ...], list[Incoming]] = defaultdict(list)
    for each in records:
        groups[owners_of(each[0])].append(each)
    sums: dict[tuple[Any, ...], list[int]] = {}
    for owners, of_owners in groups.items():
        names = tuple([name or "" for name in owners])
        for hour_at_ms, group in _by_hour(of_owners):
            rows = [each[0] for each in group]
            whole = [each[0] for each in group if not each.is_part]
            ends = list(map(_end_of, whole))
            unpriced = [row for row in rows if not _is_priced(row)]
            values = [
                *[sum(map(figure, rows)) for figure in _figures],
                len(whole),
                sum(map(ends.count, FAILED)),
                len(unpriced) - list(map(_end_of, unpriced)).count("refused"),
            ]
            key = (hour_at_ms, *names)
            known = sums.get(key)  # None and "" are one owner
            sums[key] = values if known is None else [a + b for a, b in zip(known, values, strict=True)]
    return sums


def _by_hour(records: list[Incoming]) -> Iterable[tuple[int, list[Incoming]]]:
    ends = [_ended_at_ms(each[0]) for each in records]
    first, last = min(ends) // HOUR_MS, max(ends) // HOUR_MS
    if first == last:
        return [(first * HOUR_MS, records)]
    hours: defaultdict[int, list[Incoming]] = defaultdict(list)
    for end, each in zip(ends, records, strict=True):
        hours[end // HOUR_MS * HOUR_MS].append(each)
    return hours.items()


def _by_day(hours: Mapping[tuple[Any, ...], Sequence[int]]) -> dict[tuple[Any, ...], list[int]]:
    """Days, which know no end users, from hours."""
    at = _OWNERS.index("customer_id") + 1
    sums: dict[tuple[Any, ...], list[int]] = {}
    for (hour_at_ms, *owners), values in hours.items():
        key = (hour_at_ms // DAY_MS * DAY_MS, *owners[: at - 1], *owners[at:])
        known = sums.get(key)
        sums[key] = list(values) if known is None else [a + b for a, b in zip(known, values, strict=True)]
    return sums


def _by_model(hours: Mapping[tuple[Any, ...], Sequence[int]]) -> dict[tuple[Any, ...], list[int]]:
    """Hours of a model, whoever asked, from hours."""
    at = _OWNERS.index("model") + 1
    sums: dict[tuple[Any, ...], list[int]] = {}
    for hour, values in hours.items():
        key = (hour[0], hour[at])
        known = sums.get(key)
        sums[key] = list(values) if known is None else [a + b for a, b in zip(known, values, strict=True)]
    return sums


def _tags(records: Iterable[Incoming]) -> dict[tuple[Any, ...], list[int]]:
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row, tags, is_part, _ in records:
        for tag in dict.fromkeys(tags) if tags else ():
            key = (row.ended_at_ms // HOUR_MS * HOUR_MS, tag)
            values = [row.cost_nusd, row.prompt_tokens + row.completion_tokens, int(not is_part)]
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
    statement = insert_into(connection.dialect, table)
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


def read_positions(connection: Connection) -> dict[str, int]:
    """The same of every file."""
    wanted = select(journal_positions.c.name, journal_positions.c.read_bytes)
    return {row.name: row.read_bytes for row in connection.execute(wanted)}


def write_position(connection: Connection, name: str, read_bytes: int) -> None:
    statement = insert_into(connection.dialect, journal_positions).values(name=name, read_bytes=read_bytes)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"read_bytes": statement.excluded.read_bytes})
    )


def forget_position(connection: Connection, name: str) -> None:
    connection.execute(journal_positions.delete().where(journal_positions.c.name == name))


# --- what was spent -------------------------------------------------------------------------------------------------


def spent_nusd(connection: Connection, scope: str, owner: str, from_ms: int, to_ms: int) -> int:
    """Nano-dollars of an owner's calls that ended from `from_ms` on and before `to_ms`; scopes as in `Allowance`."""
    to_ms = min(to_ms, MOST)
    if scope == "deployment":
        return _of_rows(connection, spend.c.deployment_id == owner, from_ms, to_ms)
    whose = whose_rows(connection, scope, owner)
    total = 0
    # The largest sums first; what they leave over at the edges comes from the next smaller, and at last from the rows.
    edges = [(from_ms, to_ms)]
    if scope in _OF_ORGANIZATIONS:
        part, edges = _of_sums(connection, spend_organizations, whose(spend_organizations), HOUR_MS, edges)
        return part + sum([_of_rows(connection, whose(spend), start, end) for start, end in edges])
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


def whose_rows(connection: Connection, scope: str, owner: str) -> Callable[[Table], ColumnElement[bool]]:
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
