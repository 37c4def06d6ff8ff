"""`/team/*`: teams, and who is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from routewright.errors import InvalidRequest, NotFound, PermissionDenied
from routewright.management import belonging, fields, views
from routewright.management.fields import MEMBER, TEAM_ADMIN, TEAM_FIELDS, USER, read_fields
from routewright.management.request import Request, new_id
from routewright.store import schema
from routewright.store.database import now_ms
from routewright.store.lineage import spent_by_keys
from routewright.store.rows import Row, Writer, find, get, spent_nusd

MAX_MEMBERS_AT_ONCE = 500
Reply = dict[str, Any]
_ID = frozenset({"team_id"})


def new(request: Request) -> Reply:
    """`/team/new`."""
    organization_id = request.body.get("organization_id")
    roles = request.actor.towards_organization(organization_id)
    if not roles:
        raise PermissionDenied("your role may make teams in an organization that you govern", param="organization_id")
    written = read_fields(TEAM_FIELDS, request.body, roles | {TEAM_ADMIN}, known=_ID)
    team_id = request.body.get("team_id")
    row = {
        **written,
        "team_id": new_id() if team_id is None else fields.identity(team_id, "team_id"),
        "blocked": bool(written.get("blocked")),
        "budget_started_at_ms": now_ms(),
        "extra": written.extra or None,
    }
    belonging.keep_within(request, row)
    made = request.writer.add(schema.teams, row)
    for member in members_of(written.given.get("members_with_roles")):
        _add_member(request, made, member, roles)
    return _view(request, made)


def update(request: Request) -> Reply:
    """`/team/update`: the fields given, all others stay. Null clears one."""
    before, roles = _led(request)
    written = read_fields(TEAM_FIELDS, request.body, roles, known=_ID, keeps_nulls=True)
    if "members_with_roles" in written.given:
        raise InvalidRequest("members are changed by /team/member_add and its kin", param="members_with_roles")
    changes = changed(before, written)
    if "organization_id" in changes and not request.actor.towards_organization(changes["organization_id"]):
        raise PermissionDenied("you do not govern this organization", param="organization_id")
    belonging.keep_within(request, {**before, **changes}, changes)
    row = request.writer.change(schema.teams, before, changes)
    if row["organization_id"] != before["organization_id"]:
        keys = schema.keys
        for key in find(request.connection, keys, keys.c.team_id == row["team_id"]):
            request.writer.change(keys, key, {"organization_id": row["organization_id"]})
    return {"team_id": row["team_id"], "data": _view(request, row)}


def changed(before: Row, written: fields.Written) -> dict[str, Any]:
    """Columns to update, of what a request gave."""
    changes = dict(written)
    if written.extra:
        extra = {**(before["extra"] or {}), **written.extra}
        changes["extra"] = {name: value for name, value in extra.items() if value is not None} or None
    for name, default in (("blocked", False), ("spend_before_nusd", 0)):
        if name in changes and changes[name] is None:
            changes[name] = default
    return changes


def delete(request: Request) -> Reply:
    """`/team/delete`: the teams with their members and keys; all or none."""
    wanted = fields.names(request.body.get("team_ids"), "team_ids")
    connection, writer = request.connection, request.writer
    for team_id in wanted:
        row, _ = governed(request, team_id)
        remove(connection, writer, row)
    return {"deleted_teams": wanted}


def remove(connection: Connection, writer: Writer, row: Row) -> None:
    """A team with its keys and members."""
    for table in (schema.keys, schema.team_members):
        for owned in find(connection, table, table.c.team_id == row["team_id"]):
            writer.remove(table, owned)
    writer.remove(schema.teams, row)


def block(request: Request) -> Reply:
    """`/team/block`."""
    return _set_blocked(request, True)


def unblock(request: Request) -> Reply:
    """`/team/unblock`."""
    return _set_blocked(request, False)


def _set_blocked(request: Request, is_blocked: bool) -> Reply:
    before, _ = governed(request, fields.required(request.body, "team_id", fields.identity))
    row = request.writer.change(schema.teams, before, {"blocked": is_blocked}, "blocked" if is_blocked else "unblocked")
    return _view(request, row)


# --- members -------------------------------------------------------------------------------------------------------


def member_add(request: Request) -> Reply:
    """`/team/member_add`: `member` is one `{role, user_id or user_email}`, or a list of them."""
    team, roles = _led(request)
    body = dict(request.body)
    body.pop("team_id")
    members = members_of(body.pop("member", None))
    if not members:
        raise InvalidRequest("member: expected at least one", param="member")
    of_all = read_fields(MEMBER, body, roles)
    added = [_add_member(request, team, member, roles, of_all) for member in members]
    return {
        **_view(request, team),
        "updated_users": [{"user_id": row["user_id"]} for row in added],
        "updated_team_memberships": [views.membership(row) for row in added],
    }


def members_of(value: Any) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    entries = value if isinstance(value, list) else [value]
    if len(entries) > MAX_MEMBERS_AT_ONCE or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidRequest("expected members as {role, user_id or user_email}", param="member")
    return entries


def _add_member(
    request: Request,
    team: Row,
    member: Mapping[str, Any],
    roles: frozenset[str] = fields.ADMINS,
    of_all: Mapping[str, Any] | None = None,
) -> Row:
    unknown = set(member) - {"role", "user_id", "user_email"}
    if unknown:
        raise InvalidRequest("expected members as {role, user_id or user_email}", param="member")
    role = MEMBER["role"].read(member.get("role", "user"), "role")
    if role == "admin" and roles.isdisjoint(MEMBER["role"].writers):
        raise PermissionDenied("your role may not make somebody a team's admin", param="role")
    user = user_of(request, member, may_make=not roles.isdisjoint(fields.GOVERNORS))
    return request.writer.add(
        schema.team_members,
        {**(of_all or {}), "team_id": team["team_id"], "user_id": user["user_id"], "role": role,
         "budget_started_at_ms": now_ms()},
    )  # fmt: skip


def user_of(request: Request, member: Mapping[str, Any], *, may_make: bool) -> Row:
    """The user a request names by id or address; one that is new is made where the caller `may_make` users."""
    user_id, email = member.get("user_id"), member.get("user_email")
    if user_id is None and email is None:
        raise InvalidRequest("expected user_id or user_email", param="member")
    users = schema.users
    if user_id is not None:
        found = get(request.connection, users, fields.identity(user_id, "user_id"))
    else:
        found = next(
            iter(find(request.connection, users, users.c.user_email == fields.text(email, "user_email"))), None
        )
    if found is not None:
        return found
    if not may_make:
        raise NotFound("there is no such user", param="member")
    made = {
        "user_id": user_id or new_id(),
        "user_email": None if email is None else fields.text(email, "user_email"),
        "user_role": USER,
    }
    return request.writer.add(users, made)


def member_update(request: Request) -> Reply:
    """`/team/member_update`: a member's role, budget and limits in the team."""
    team, roles = _led(request)
    before = _member(request, team)
    written = read_fields(MEMBER, request.body, roles, known=_ID | {"user_id", "user_email"}, keeps_nulls=True)
    if written.get("role", "") is None:
        del written["role"]
    row = request.writer.change(schema.team_members, before, dict(written))
    return {"team_id": row["team_id"], "user_id": row["user_id"], "user_email": None,
            "max_budget_in_team": views.dollars(row["max_budget_nusd"]), "role": row["role"],
            "rpm_limit": row["rpm_limit"], "tpm_limit": row["tpm_limit"]}  # fmt: skip


def member_delete(request: Request) -> Reply:
    """`/team/member_delete`: the membership, and the member's keys in the team."""
    team, roles = _led(request)
    member = _member(request, team)
    if member["role"] == "admin" and roles.isdisjoint(fields.GOVERNORS):
        raise PermissionDenied("your role may not take a team's admin out", param="user_id")
    keys = schema.keys
    for key in find(request.connection, keys, keys.c.team_id == team["team_id"], keys.c.user_id == member["user_id"]):
        request.writer.remove(keys, key)
    request.writer.remove(schema.team_members, member)
    return _view(request, team)


def _member(request: Request, team: Row) -> Row:
    user = user_of(request, request.body, may_make=False)
    found = get(request.connection, schema.team_members, team["team_id"], user["user_id"])
    if found is None:
        raise NotFound("this user is not in the team", param="user_id")
    return found


# --- models --------------------------------------------------------------------------------------------------------


def model_add(request: Request) -> Reply:
    """`/team/model/add`."""
    before, _ = governed(request, fields.required(request.body, "team_id", fields.identity))
    wanted = fields.names(request.body.get("models"), "models")
    return _set_models(request, before, list(dict.fromkeys([*(before["models"] or []), *wanted])))


def model_delete(request: Request) -> Reply:
    """`/team/model/delete`. The last one can't be taken: an empty list would mean all models."""
    before, _ = governed(request, fields.required(request.body, "team_id", fields.identity))
    wanted = fields.names(request.body.get("models"), "models")
    left = [name for name in before["models"] or [] if name not in wanted]
    if before["models"] and not left:
        left = ["no-default-models"]
    return _set_models(request, before, left)


def _set_models(request: Request, before: Row, models: list[str]) -> Reply:
    belonging.keep_within(request, {**before, "models": models}, ("models",))
    return _view(request, request.writer.change(schema.teams, before, {"models": models}))


# --- reading -------------------------------------------------------------------------------------------------------


def info(request: Request) -> Reply:
    """`/team/info`."""
    team_id = request.asked("team_id") or request.actor.team_id
    row = get(request.connection, schema.teams, team_id) if team_id else None
    if row is None or not _sees(request, row["team_id"]):
        raise NotFound("there is no such team, or you are not in it", param="team_id")
    keys = find(request.connection, schema.keys, schema.keys.c.team_id == row["team_id"])
    seen = [key for key in keys if request.actor.sees_key(key)]
    spent = spent_by_keys(request.connection, seen)
    members = find(request.connection, schema.team_members, schema.team_members.c.team_id == row["team_id"])
    if request.reaches_own_only and row["team_id"] not in request.actor.leads:
        members = [member for member in members if member["user_id"] == request.actor.user_id]
    return {
        "team_id": row["team_id"],
        "team_info": _view(request, row),
        "keys": [{"token": key["key_hash"], **views.key(key, spent[key["key_hash"]])} for key in seen],
        "team_memberships": [views.membership(member) for member in members],
    }


def list_teams(request: Request) -> list[Reply]:
    """`/team/list`: those of `user_id`, or all that the caller may see."""
    user_id = request.asked("user_id")
    table, members = schema.teams, schema.team_members
    where: list[ColumnElement[bool]] = []
    if request.reaches_own_only:
        where.append(table.c.team_id.in_(sorted(request.actor.teams | request.actor.governed_teams)))
    organization_id = request.asked("organization_id")
    if organization_id is not None:
        where.append(table.c.organization_id == organization_id)
    if user_id is not None:
        where.append(table.c.team_id.in_(select(members.c.team_id).where(members.c.user_id == user_id)))
    return [_view(request, row) for row in find(request.connection, table, *where)]


def _sees(request: Request, team_id: str) -> bool:
    return not request.reaches_own_only or team_id in request.actor.teams | request.actor.governed_teams


def _get(request: Request, team_id: str) -> Row:
    found = get(request.connection, schema.teams, team_id)
    if found is None:
        raise NotFound("there is no such team", param="team_id")
    return found


def governed(request: Request, team_id: str) -> tuple[Row, frozenset[str]]:
    """A team to do with as one likes: an administrator's any, else one of an organization that the caller governs."""
    roles = request.actor.towards_team(team_id)
    if roles.isdisjoint(fields.GOVERNORS):
        raise PermissionDenied("you do not govern this team's organization")
    return _get(request, team_id), roles


def _led(request: Request) -> tuple[Row, frozenset[str]]:
    """The team a request speaks of, and what the caller is towards it. One it does not lead is refused."""
    team_id = fields.required(request.body, "team_id", fields.identity)
    roles = request.actor.towards_team(team_id)
    if not roles:
        raise PermissionDenied("you do not lead this team")
    return _get(request, team_id), roles


def _view(request: Request, row: Row) -> Reply:
    team_id = row["team_id"]
    members = find(request.connection, schema.team_members, schema.team_members.c.team_id == team_id)
    spent = spent_nusd(request.connection, "team_id", [team_id]).get(team_id, 0)
    budget = get(request.connection, schema.budgets, row["budget_id"]) if row["budget_id"] else None
    return views.team(row, members, spent, budget)
