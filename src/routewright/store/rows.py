"""Rows in and out: the few statements that every kind of object needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from routewright.errors import Conflict
from routewright.store.database import now_ms, record_change
from routewright.store.schema import audit, spend_hours

Row = dict[str, Any]
KINDS = {"keys": "key", "teams": "team", "team_members": "member", "users": "user", "customers": "customer",
         "budgets": "budget", "models": "model", "organizations": "organization",
         "organization_members": "organization_member",
         "config_values": "config"}  # fmt: skip
_NOT_AUDITED = frozenset({"sealed", "created_at_ms", "updated_at_ms", "created_by", "updated_by"})


def _is(table: Table, identity: Sequence[str]) -> ColumnElement[bool]:
    columns = list(table.primary_key.columns)
    found = columns[0] == identity[0]
    for column, value in zip(columns[1:], identity[1:], strict=True):
        found = found & (column == value)
    return found


def get(connection: Connection, table: Table, *identity: str) -> Row | None:
    """The row with this primary key."""
    found = connection.execute(select(table).where(_is(table, identity))).mappings().first()
    return None if found is None else dict(found)


def find(connection: Connection, table: Table, *where: ColumnElement[bool], order: Any = None) -> list[Row]:
    """Every row that fits, oldest first."""
    wanted = select(table).where(*where)
    wanted = wanted.order_by(*([order] if order is not None else []), table.c.created_at_ms, *table.primary_key.columns)
    return [dict(row) for row in connection.execute(wanted).mappings()]


def page(
    connection: Connection, table: Table, where: Iterable[ColumnElement[bool]], order: Any, number: int, size: int
) -> tuple[list[Row], int]:
    """(rows of one page, rows in all); pages count from 1."""
    where = list(where)
    total = connection.scalar(select(func.count()).select_from(table).where(*where)) or 0
    wanted = select(table).where(*where).order_by(order, *table.primary_key.columns)
    wanted = wanted.limit(size).offset((number - 1) * size)
    return [dict(row) for row in connection.execute(wanted).mappings()], total


class Writer:
    """The writes of one request: each leaves a line in the audit, and a word for the workers."""

    def __init__(self, connection: Connection, actor: str, role: str, request_id: str | None) -> None:
        self.connection = connection
        self._actor = actor
        self._role = role
        self._request_id = request_id
        self._now = now_ms()

    def add(self, table: Table, values: Mapping[str, Any]) -> Row:
        """Insert; the row as it is then. Raises Conflict where its id or alias is taken."""
        stamps = {"created_at_ms": self._now, "updated_at_ms": self._now, "created_by": self._actor,
                  "updated_by": self._actor}  # fmt: skip
        row = {**stamps, **values}
        try:
            self.connection.execute(insert(table).values(row))
        except IntegrityError as error:
            raise Conflict(f"this {KINDS[table.name]} exists already, or its alias or address is taken") from error
        identity = tuple(row[column.name] for column in table.primary_key.columns)
        made = get(self.connection, table, *identity)
        assert made is not None
        self._note(table, "created", identity, None, made)
        return made

    def change(self, table: Table, before: Row, values: Mapping[str, Any], action: str = "updated") -> Row:
        """Update the row that `before` is; the row as it is then. Raises Conflict where an alias is taken."""
        identity = tuple(before[column.name] for column in table.primary_key.columns)
        stamps = {"updated_at_ms": self._now, "updated_by": self._actor}
        try:
            self.connection.execute(update(table).where(_is(table, identity)).values({**values, **stamps}))
        except IntegrityError as error:
            raise Conflict(f"another {KINDS[table.name]} has this alias or address") from error
        after = get(self.connection, table, *identity)
        assert after is not None
        self._note(table, action, identity, before, after)
        return after

    def remove(self, table: Table, before: Row) -> None:
        """Delete the row that `before` is."""
        identity = tuple(before[column.name] for column in table.primary_key.columns)
        self.connection.execute(delete(table).where(_is(table, identity)))
        self._note(table, "deleted", identity, before, None)

    def _note(self, table: Table, action: str, identity: Sequence[str], before: Row | None, after: Row | None) -> None:
        kind, object_id = KINDS[table.name], "/".join(identity)
        if before is not None and after is not None:
            changed = {name for name in after if before.get(name) != after[name]}
            before = {name: before[name] for name in changed}
            after = {name: after[name] for name in changed}
        elif after is not None:
            after = {name: value for name, value in after.items() if value is not None}
        self.tell(action, kind, object_id, before=_told(before), after=_told(after))
        record_change(self.connection, kind, object_id)

    def tell(
        self, action: str, kind: str, object_id: str, *, before: Row | None = None, after: Row | None = None
    ) -> None:
        """A line in the audit, of what changes no row as well."""
        self.connection.execute(
            insert(audit).values(
                at_ms=self._now, actor=self._actor, actor_role=self._role, request_id=self._request_id,
                action=action, kind=kind, object_id=object_id, before=before, after=after,
            )
        )  # fmt: skip


def _told(row: Row | None) -> Row | None:
    """What the audit keeps: without credentials, and without what stands in the audit's own columns."""
    if row is None:
        return None
    return {name: value for name, value in row.items() if name not in _NOT_AUDITED}


def spent_nusd(connection: Connection, column: str, ids: Sequence[str], since_ms: int = 0) -> dict[str, int]:
    """Nano-dollars that the ledger knows of, by owner; `column` is one of `spend_hours`."""
    if not ids:
        return {}
    owner = spend_hours.c[column]
    wanted = select(owner, func.sum(spend_hours.c.cost_nusd)).where(owner.in_(ids)).group_by(owner)
    if since_ms:
        wanted = wanted.where(spend_hours.c.hour_at_ms >= since_ms)
    return {name: int(total) for name, total in connection.execute(wanted)}
