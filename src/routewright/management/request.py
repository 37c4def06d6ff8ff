"""One request of the management API, as its operations see it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from routewright.errors import InvalidRequest, PermissionDenied
from routewright.management import fields
from routewright.management.fields import TEAM, USER
from routewright.management.rights import MASTER, OWN, Actor
from routewright.management.seal import Seal
from routewright.store import schema
from routewright.store.rows import Row, Writer, get

MAX_PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class Request:
    """Inside one transaction."""

    connection: Connection
    endpoint: str
    actor: Actor
    body: Mapping[str, Any]
    query: Mapping[str, str]
    named: str | None
    """The name in the middle of the path."""
    request_id: str | None
    seal: Seal

    @property
    def writer(self) -> Writer:
        return Writer(self.connection, self.actor.name, self.actor.role, self.request_id)

    @property
    def reaches_own_only(self) -> bool:
        return self.actor.reach(self.endpoint) == OWN

    def asked(self, name: str) -> str | None:
        """A parameter of the query; None where it is missing or empty."""
        value = self.query.get(name)
        return fields.text(value, name) if value else None

    def page(self, default_size: int) -> tuple[int, int]:
        """(page from 1 on, size)."""
        size = self._number("size", default_size, MAX_PAGE_SIZE)
        return self._number("page", 1, 1_000_000), self._number("page_size", size, MAX_PAGE_SIZE)

    def _number(self, name: str, default: int, most: int) -> int:
        value = self.query.get(name)
        if not value:
            return default
        if not value.isascii() or not value.isdigit() or not 1 <= int(value[:12]) <= most:
            raise InvalidRequest(f"{name}: expected a whole number from 1 to {most}", param=name)
        return int(value)


def actor_of(connection: Connection, key_hash: str, is_master: bool) -> Actor:
    """Who a request's key belongs to. Raises PermissionDenied for a key that nothing is stored about."""
    if is_master:
        return MASTER
    key = get(connection, schema.keys, key_hash)
    if key is None:
        raise PermissionDenied("this key may not manage anything")
    user_id = key["user_id"]
    user = get(connection, schema.users, user_id) if user_id else None
    # A key without a user stands for its team or for a service; a user nobody has described is an ordinary one.
    role = TEAM if user_id is None else USER if user is None else user["user_role"]
    table = schema.team_members
    members = connection.execute(select(table).where(table.c.user_id == user_id)).mappings() if user_id else ()
    of_user: list[Row] = [dict(row) for row in members]
    # A key made for one team speaks for that team alone, whatever else its user leads.
    in_reach = [row for row in of_user if key["team_id"] in (None, row["team_id"])]
    return Actor(
        name=user_id or key_hash,
        role=role,
        key_hash=key_hash,
        user_id=user_id,
        team_id=key["team_id"],
        key=key,
        leads=frozenset(row["team_id"] for row in in_reach if row["role"] == "admin" and role == USER),
        teams=frozenset(row["team_id"] for row in in_reach),
    )


def new_id() -> str:
    """For what its maker gave no id."""
    return secrets.token_hex(16)
