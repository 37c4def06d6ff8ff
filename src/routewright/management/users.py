"""`/user/*`: people inside, with roles."""

from __future__ import annotations

from typing import Any

from routewright.errors import InvalidRequest, NotFound, PermissionDenied
from routewright.management import belonging, fields, organizations, views
from routewright.management.fields import ADMIN, KEY, USER, USER_FIELDS, read_fields
from routewright.management.keys import make_key
from routewright.management.request import Request, new_id
from routewright.management.teams import changed
from routewright.store import schema
from routewright.store.database import now_ms
from routewright.store.lineage import spent_by_keys
from routewright.store.rows import Row, find, get, page, spent_nusd

Reply = dict[str, Any]


def new(request: Request) -> Reply:
    """`/user/new`: a user and, unless `auto_create_key` is false, a first key."""
    body = dict(request.body)
    makes_key = fields.flag(body.pop("auto_create_key", True), "auto_create_key")
    user_id = body.pop("user_id", None)
    teams = _teams(body.pop("teams", None))
    of_key = {name: body.pop(name) for name in list(body) if name in KEY and name not in USER_FIELDS}
    written = read_fields(USER_FIELDS, body, frozenset({request.actor.role}))
    row = request.writer.add(
        schema.users,
        {
            **written,
            "user_id": new_id() if user_id is None else fields.identity(user_id, "user_id"),
            "user_role": written.get("user_role") or USER,
            "budget_started_at_ms": now_ms(),
            "extra": written.extra or None,
        },
    )
    for team_id in teams:
        if get(request.connection, schema.teams, team_id) is None:
            raise NotFound("there is no such team", param="teams")
        request.writer.add(schema.team_members, {"team_id": team_id, "user_id": row["user_id"], "role": "user"})
    for organization_id in written.given.get("organizations") or ():
        belonging.organization(request, organization_id)
        organizations.add_member(request, organization_id, {"user_id": row["user_id"]})
    about = {**_view(request, row), "teams": teams}
    if not makes_key:
        return {**about, "key": None, "token": None, "key_name": None, "expires": None}
    asked = {**of_key, "user_id": row["user_id"], "models": written.get("models")}
    key, clear, given = make_key(request, asked)
    made = views.made_key(key, clear, given)
    return {**made, **about, "key_alias": key["key_alias"]}


def _teams(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest("teams: expected a list of team ids", param="teams")
    return [fields.identity(entry["team_id"] if isinstance(entry, dict) else entry, "teams") for entry in value]


def update(request: Request) -> Reply:
    """`/user/update`: by `user_id` or `user_email`; the fields given, all others stay."""
    actor, body = request.actor, dict(request.body)
    user_id = body.pop("user_id", None)
    if user_id is None and actor.is_admin and body.get("user_email") is not None:
        email = fields.text(body.pop("user_email"), "user_email")
        before = next(iter(find(request.connection, schema.users, schema.users.c.user_email == email)), None)
    else:
        user_id = actor.user_id if user_id is None else fields.identity(user_id, "user_id")
        if not actor.is_admin and (user_id is None or user_id != actor.user_id or actor.is_bound):
            raise PermissionDenied("your role may change yourself alone", param="user_id")
        before = get(request.connection, schema.users, user_id) if user_id else None
    if before is None:
        raise NotFound("there is no such user", param="user_id")
    written = read_fields(USER_FIELDS, body, frozenset({ADMIN} if actor.is_admin else {USER}), keeps_nulls=True)
    if "organizations" in written.given:
        raise InvalidRequest("members are changed by /organization/member_add and its kin", param="organizations")
    changes = changed(before, written)
    if "user_role" in changes and changes["user_role"] is None:
        changes["user_role"] = USER
    row = request.writer.change(schema.users, before, changes)
    return {"user_id": row["user_id"], "data": _view(request, row)}


def delete(request: Request) -> Reply:
    """`/user/delete`: the users with their keys and memberships; all or none."""
    wanted = fields.names(request.body.get("user_ids"), "user_ids")
    connection, writer = request.connection, request.writer
    for user_id in wanted:
        row = get(connection, schema.users, user_id)
        if row is None:
            raise NotFound("there is no such user", param="user_ids")
        for table in (schema.keys, schema.team_members, schema.organization_members):
            for owned in find(connection, table, table.c.user_id == user_id):
                writer.remove(table, owned)
        writer.remove(schema.users, row)
    return {"deleted_users": wanted}


def info(request: Request) -> Reply:
    """`/user/info`: of `user_id`, else the caller's own."""
    actor = request.actor
    user_id = request.asked("user_id") or actor.user_id
    row = get(request.connection, schema.users, user_id) if user_id else None
    if row is None or (request.reaches_own_only and row["user_id"] != actor.user_id):
        raise NotFound("there is no such user, or it is not you", param="user_id")
    keys = find(request.connection, schema.keys, schema.keys.c.user_id == user_id)
    seen = [key for key in keys if actor.sees_key(key)]
    spent = spent_by_keys(request.connection, seen)
    teams = [get(request.connection, schema.teams, team_id) for team_id in _team_ids(request, row)]
    return {
        "user_id": row["user_id"],
        "user_info": _view(request, row),
        "keys": [{"token": key["key_hash"], **views.key(key, spent[key["key_hash"]])} for key in seen],
        "teams": [views.team(team, []) for team in teams if team is not None],
        "organization_memberships": organizations.memberships_of(request, row["user_id"]),
    }


def list_users(request: Request) -> Reply:
    """`/user/list`."""
    table = schema.users
    number, size = request.page(25)
    where = []
    role, email = request.asked("role"), request.asked("user_email")
    if role is not None:
        where.append(table.c.user_role == role)
    if email is not None:
        where.append(table.c.user_email.contains(email, autoescape=True))
    if request.asked("user_ids") is not None:
        where.append(table.c.user_id.in_(request.query["user_ids"].split(",")))
    rows, total = page(request.connection, table, where, table.c.created_at_ms.desc(), number, size)
    return {"users": [_view(request, row) for row in rows], "total": total, "page": number, "page_size": size,
            "total_pages": -(-total // size)}  # fmt: skip


def _team_ids(request: Request, row: Row) -> list[str]:
    members = schema.team_members
    return [each["team_id"] for each in find(request.connection, members, members.c.user_id == row["user_id"])]


def _view(request: Request, row: Row) -> Reply:
    spent = spent_nusd(request.connection, "user_id", [row["user_id"]]).get(row["user_id"], 0)
    return views.user(row, _team_ids(request, row), spent)
