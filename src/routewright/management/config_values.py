"""Settings that were changed while serving, in the store: read by every worker, written by administrators."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection

from routewright.errors import Conflict, PermissionDenied
from routewright.management.request import actor_of
from routewright.storage import ConfigWrite
from routewright.store import schema
from routewright.store.rows import Writer, find

Values = dict[str, dict[str, Any]]
"""Section -> name -> value."""


def values(connection: Connection) -> Values:
    """All that was changed."""
    found: Values = {}
    for row in find(connection, schema.config_values):
        found.setdefault(row["section"], {})[row["name"]] = row["value"]
    return found


def work(connection: Connection, asked: ConfigWrite) -> Values:
    """Write what is asked, and give all there is then. Raises PermissionDenied for who is no administrator, and
    Conflict where somebody else has written since the caller looked."""
    actor = actor_of(connection, asked.key_hash, asked.is_master)
    if not actor.is_admin:
        raise PermissionDenied("your role may not do this")
    before = values(connection)
    if not asked.writes:
        return before
    if msgspec.to_builtins(asked.seen) != before:
        raise Conflict("somebody else has changed the configuration at the same time; look at it and try again")
    table = schema.config_values
    rows = {(row["section"], row["name"]): row for row in find(connection, table)}
    writer = Writer(connection, actor.name, actor.role, asked.request_id)
    for section, name, value in asked.writes:
        row = rows.get((section, name))
        if value is not None and row is not None:
            writer.change(table, row, {"value": value})
        elif value is not None:
            writer.add(table, {"section": section, "name": name, "value": value})
        elif row is not None:
            writer.remove(table, row)
    return values(connection)
