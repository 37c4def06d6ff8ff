"""`/organization/*`: organizations above teams and keys, and who is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, select

from routewright.errors import InvalidRequest, NotFound, PermissionDenied
from routewright.management import belonging, fields, teams, views
from routewright.management.fields import ORGANIZATION_FIELDS, ORGANIZATION_MEMBER, read_fields
from routewright.management.request import Request, new_id
from routewright.store import schema
from routewright.store.database import now_ms
from routewright.store.reports import totals
from routewright.store.rows import Row, find, get

MAX_AT_ONCE = 100
Reply = dict[str, Any]
_ID = frozenset({"organization_id"})


def new(request: Request) -> Reply:
    """`/organization/new`."""
    body = request.body
    fields.required(body, "organization_alias")
    written = read_fields(ORGANIZATION_FIELDS, body, frozenset({request.actor.role}), known=_ID)
    given = body.get("organization_id")
    row = {
        **written,
        "organization_id": new_id() if given is None else fields.identity(given, "organization_id"),
        "blocked": bool(written.get("blocked")),
        "budget_started_at_ms": now_ms(),
        "extra": written.extra or None,
    }
    return _view(request, request.writer.add(schema.organizations, row))


def update(request: Request) -> Reply:
    """`/organization/update`: the fields given, all others stay. Null clears one."""
    before, roles = _governed(request)
    written = read_fields(ORGANIZATION_FIELDS, request.body, roles, known=_ID, keeps_nulls=True)
    if written.get("organization_alias", "") is None:
        raise InvalidRequest("organization_alias: expected a name", param="organization_alias")
    return _view(request, request.writer.change(schema.organizations, before, teams.changed(before, written)))


def delete(request: Request) -> list[Reply]:
    """`/organization/delete`: the organizations with their teams, those teams' keys, their own keys and members."""
    wanted = fields.names(request.body.get("organization_ids"), "organization_ids")
    if len(wanted) > MAX_AT_ONCE:
        raise InvalidRequest(f"organization_ids: at most {MAX_AT_ONCE} at once", param="organization_ids")
    connection, writer = request.connection, request.writer
    told = []
    for organization_id in wanted:
        row = belonging.organization(request, organization_id)
        told.append(_view(request, row))
        for team in find(connection, schema.teams, schema.teams.c.organization_id == organization_id):
            teams.remove(connection, writer, team)
        for table in (schema.keys, schema.organization_members):
            for owned in find(connection, table, table.c.organization_id == organization_id):
                writer.remove(table, owned)
        writer.remove(schema.organizations, row)
    return told


# --- members -------------------------------------------------------------------------------------------------------


def member_add(request: Request) -> Reply:
    """`/organization/member_add`: `member` is one `{role, user_id or user_email}`, or a list of them. Users who are not
    known yet are made."""
    row, roles = _governed(request)
    body = dict(request.body)
    body.pop("organization_id")
    members = teams.members_of(body.pop("member", None))
    if not members:
        raise InvalidRequest("member: expected at least one", param="member")
    of_all = read_fields(ORGANIZATION_MEMBER, body, roles)
    added = [add_member(request, row["organization_id"], member, of_all) for member in members]
    users = [get(request.connection, schema.users, member["user_id"]) for member in added]
    return {
        "organization_id": row["organization_id"],
        "updated_users": [views.user(user, []) for user in users if user is not None],
        "updated_organization_memberships": [views.organization_membership(member) for member in added],
    }


def add_member(
    request: Request, organization_id: str, member: Mapping[str, Any], of_all: Mapping[str, Any] | None = None
) -> Row:
    if set(member) - {"role", "user_id", "user_email"}:
        raise InvalidRequest("expected members as {role, user_id or user_email}", param="member")
    role = ORGANIZATION_MEMBER["role"].read(member.get("role", fields.USER), "role")
    user = teams.user_of(request, member, may_make=True)
    return request.writer.add(
        schema.organization_members,
        {"user_role": role, **(of_all or {}), "organization_id": organization_id, "user_id": user["user_id"],
         "budget_started_at_ms": now_ms()},
    )  # fmt: skip


def member_update(request: Request) -> Reply:
    """`/organization/member_update`: a member's role, and budget in the organization."""
    row, roles = _governed(request)
    before = _member(request, row)
    known = _ID | {"user_id", "user_email"}
    written = read_fields(ORGANIZATION_MEMBER, request.body, roles, known=known, keeps_nulls=True)
    if written.get("user_role", "") is None:
        del written["user_role"]
    return views.organization_membership(request.writer.change(schema.organization_members, before, dict(written)))


def member_delete(request: Request) -> Reply:
    """`/organization/member_delete`: the membership, and the member's keys of the organization itself."""
    row, _ = _governed(request)
    member = _member(request, row)
    keys = schema.keys
    of_the_two = (keys.c.organization_id == row["organization_id"], keys.c.user_id == member["user_id"])
    for key in find(request.connection, keys, *of_the_two, keys.c.team_id.is_(None)):
        request.writer.remove(keys, key)
    request.writer.remove(schema.organization_members, member)
    return views.organization_membership(member)


def _member(request: Request, row: Row) -> Row:
    user = teams.user_of(request, request.body, may_make=False)
    found = get(request.connection, schema.organization_members, row["organization_id"], user["user_id"])
    if found is None:
        raise NotFound("this user is not in the organization", param="user_id")
    return found


# --- reading -------------------------------------------------------------------------------------------------------


def info(request: Request) -> Any:
    """`/organization/info`: one by `organization_id`; LiteLLM's older form asks for several in `organizations`."""
    several = request.body.get("organizations")
    if several is not None:
        return [_view(request, _seen(request, each)) for each in fields.names(several, "organizations")[:MAX_AT_ONCE]]
    asked = request.asked("organization_id") or request.body.get("organization_id")
    return _view(request, _seen(request, asked or request.actor.organization_id))


def list_organizations(request: Request) -> list[Reply]:
    """`/organization/list`: all, or those that the caller is a member of."""
    table = schema.organizations
    where: list[ColumnElement[bool]] = []
    if request.reaches_own_only:
        where.append(table.c.organization_id.in_(sorted(request.actor.organizations)))
    alias = request.asked("org_alias")
    if alias is not None:
        where.append(table.c.organization_alias.contains(alias, autoescape=True))
    return [_view(request, row) for row in find(request.connection, table, *where)]


def _seen(request: Request, organization_id: Any) -> Row:
    row = None
    if organization_id is not None:
        organization_id = fields.identity(organization_id, "organization_id")
        if not request.reaches_own_only or organization_id in request.actor.organizations:
            row = get(request.connection, schema.organizations, organization_id)
    if row is None:
        raise NotFound("there is no such organization, or you are not in it", param="organization_id")
    return row


def _governed(request: Request) -> tuple[Row, frozenset[str]]:
    """The organization a request speaks of, and what the caller is towards it. One it does not govern is refused."""
    organization_id = fields.required(request.body, "organization_id", fields.identity)
    roles = request.actor.towards_organization(organization_id)
    if not roles:
        raise PermissionDenied("you do not govern this organization")
    return belonging.organization(request, organization_id), roles


def _view(request: Request, row: Row) -> Reply:
    """Members and teams as the caller may see them: one who does not govern it sees itself, and its own teams."""
    organization_id, actor = row["organization_id"], request.actor
    members, of_teams = schema.organization_members, schema.teams
    whose = [members.c.organization_id == organization_id]
    which = [of_teams.c.organization_id == organization_id]
    if request.reaches_own_only and organization_id not in actor.governs:
        whose.append(members.c.user_id == actor.user_id)
        which.append(of_teams.c.team_id.in_(sorted(actor.teams)))
    spent = {
        each["user_id"]: each["cost_nusd"]
        for each in totals(request.connection, ["user_id"], of={"organization_id": [organization_id]})
    }
    budget = get(request.connection, schema.budgets, row["budget_id"]) if row["budget_id"] else None
    return views.organization(
        row,
        [
            views.organization_membership(member, spent.get(member["user_id"], 0))
            for member in find(request.connection, members, *whose)
        ],
        find(request.connection, of_teams, *which),
        sum(spent.values()),
        budget,
    )


def memberships_of(request: Request, user_id: str) -> list[Reply]:
    """For `/user/info`."""
    table = schema.organization_members
    rows = request.connection.execute(select(table).where(table.c.user_id == user_id)).mappings()
    return [views.organization_membership(dict(row)) for row in rows]
