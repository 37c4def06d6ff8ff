"""One request of the management API, as its operations see it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from routewright.errors import InvalidRequest, PermissionDenied
from routewright.management import fields
from routewright.management.fields import ORG_ADMIN, TEAM, USER
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
    readings: list[tuple[str, str]] = field(default_factory=list)
    """(kind, id) of what was only read and yet belongs into the audit: written there before the answer is given."""

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
    team_id = key["team_id"]
    # A key made for one team, or for one organization, speaks for that alone, whatever else its user leads.
    bound_to = key["organization_id"] if team_id is None else None
    governs, organizations, governed = _organizations_of(connection, user_id, role, bound_to, team_id)
    teams = _memberships(connection, user_id)
    if bound_to is not None:
        teams = [row for row in teams if row["organization_id"] == bound_to]
    elif team_id is not None:
        teams = [row for row in teams if row["team_id"] == team_id]
    led = {row["team_id"] for row in teams if row["role"] == "admin" and role in (USER, ORG_ADMIN)}
    return Actor(
        name=user_id or key_hash,
        role=role,
        key_hash=key_hash,
        user_id=user_id,
        team_id=team_id,
        organization_id=bound_to,
        key=key,
        leads=frozenset(led | governed),
        teams=frozenset(row["team_id"] for row in teams),
        governs=governs,
        governed_teams=frozenset(governed),
        organizations=organizations,
    )


def _memberships(connection: Connection, user_id: str | None) -> list[Row]:
    """Each team that the user is in, the user's role in it, and its organization."""
    if user_id is None:
        return []
    members, teams = schema.team_members, schema.teams
    wanted = select(members.c.team_id, members.c.role, teams.c.organization_id)
    wanted = wanted.join_from(members, teams, members.c.team_id == teams.c.team_id, isouter=True)
    return [dict(row) for row in connection.execute(wanted.where(members.c.user_id == user_id)).mappings()]


def _organizations_of(
    connection: Connection, user_id: str | None, role: str, bound_to: str | None, team_id: str | None
) -> tuple[frozenset[str], frozenset[str], set[str]]:
    """(organizations that the user governs by this key, those it is in, teams of those it governs)."""
    if user_id is None or team_id is not None:
        return frozenset(), frozenset(), set()
    table = schema.organization_members
    rows = connection.execute(select(table).where(table.c.user_id == user_id)).mappings()
    found = {row["organization_id"]: row["user_role"] for row in rows}
    if bound_to is not None:
        found = {each: its for each, its in found.items() if each == bound_to}
    governs = {each for each, its in found.items() if its == ORG_ADMIN and role in (USER, ORG_ADMIN)}
    governed: set[str] = set()
    if governs:
        of_them = select(schema.teams.c.team_id).where(schema.teams.c.organization_id.in_(governs))
        governed = set(connection.scalars(of_them))
    return frozenset(governs), frozenset(found), governed


def new_id() -> str:
    """For what its maker gave no id."""
    return secrets.token_hex(16)
