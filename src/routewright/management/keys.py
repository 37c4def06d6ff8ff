"""`/key/*`: virtual keys."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, func, select

from routewright.errors import Conflict, InvalidRequest, MissingField, NotFound, PermissionDenied, clean_text
from routewright.management import belonging, fields, views
from routewright.management.durations import after
from routewright.management.fields import ADMIN, KEY, ORG_ADMIN, TEAM_ADMIN, USER, USER_VIEWER, Written, read_fields
from routewright.management.grants import allowed_endpoints, covers, grants_of, meant
from routewright.management.request import Request
from routewright.management.rights import Actor
from routewright.store import lineage, schema
from routewright.store.database import now_ms
from routewright.store.rows import Row, find, get, page

PREFIX = "sk-"
MAX_AT_ONCE = 500
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_KEY = re.compile(r"sk-[\x21-\x7e]{16,253}\Z")
_NUMBERS = ("rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget_nusd")
_OWNERS = ("team_id", "user_id", "organization_id")
Reply = dict[str, Any]


def hash_of(token: str) -> str:
    """A key's hash; a hash stands for itself, so that nobody needs the key to manage it."""
    return token if _HASH.match(token) else hashlib.sha256(token.encode()).hexdigest()


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(24)


def _name_of(clear: str) -> str:
    return f"{PREFIX}...{clear[-4:]}"


# --- making --------------------------------------------------------------------------------------------------------


def generate(request: Request) -> Reply:
    """`/key/generate`."""
    return _made(request, *make_key(request, request.body))


def generate_for_service(request: Request) -> Reply:
    """`/key/service-account/generate`: a key that belongs to a team and to nobody in it."""
    if request.body.get("team_id") is None:
        raise MissingField("team_id is required", param="team_id")
    if request.body.get("user_id") is not None:
        raise InvalidRequest("a service account has no user", param="user_id")
    return _made(request, *make_key(request, request.body, is_service_account=True))


def _made(request: Request, row: Row, clear: str, asked: Mapping[str, Any]) -> Reply:
    budget = get(request.connection, schema.budgets, row["budget_id"]) if row["budget_id"] else None
    return views.made_key(row, clear, asked, budget)


def make_key(
    request: Request, body: Mapping[str, Any], *, is_service_account: bool = False
) -> tuple[Row, str, Mapping[str, Any]]:
    """(the key's row, the key, the fields that were asked for)."""
    actor = request.actor
    owner = {name: body.get(name) for name in _OWNERS}
    if not actor.is_admin:
        owner["team_id"] = owner["team_id"] if owner["team_id"] is not None else actor.team_id
        if owner["organization_id"] is None:
            owner["organization_id"] = actor.organization_id
        if owner["user_id"] is None and not is_service_account:
            owner["user_id"] = actor.user_id
    roles = _roles_for_new(actor, owner, is_service_account)
    asked = dict(body)
    for name, own in (("user_id", actor.user_id), ("organization_id", actor.organization_id)):
        if not actor.is_admin and own is not None and asked.get(name) == own:
            del asked[name]  # naming oneself, or what one is bound to, sets nothing
    written = read_fields(KEY, asked, roles)
    given = written.given
    team = _check_owner(request, owner, roles)
    owner["organization_id"] = belonging.of_key(request, owner["organization_id"], team)
    clear = given.get("key") or new_key()
    if not _KEY.match(clear):
        raise InvalidRequest("key: expected sk- and 16 or more visible ASCII characters", param="key")
    _refuse_former(request, clear, "key")
    length = given.get("duration") or (team or {}).get("team_member_key_duration")
    row: Row = {
        **written,
        **owner,
        "key_hash": hashlib.sha256(clear.encode()).hexdigest(),
        "key_name": _name_of(clear),
        "key_type": written.get("key_type") or "default",
        "blocked": bool(written.get("blocked")),
        "is_service_account": is_service_account,
        "expires_at_ms": after(now_ms(), length) if length else None,
        "budget_started_at_ms": now_ms(),
        "extra": written.extra or None,
    }
    _stay_within(request, row, inherits=True)
    return request.writer.add(schema.keys, row), clear, given


def _roles_for_new(actor: Actor, owner: Mapping[str, Any], is_service_account: bool) -> frozenset[str]:
    if actor.is_admin:
        return frozenset({ADMIN})
    team_id = owner["team_id"]
    if team_id is not None and team_id in actor.leads:
        governs = team_id in actor.governed_teams
        return frozenset({ORG_ADMIN, TEAM_ADMIN, USER}) if governs else frozenset({TEAM_ADMIN, USER})
    if team_id is None and owner["organization_id"] in actor.governs:
        return frozenset({ORG_ADMIN, TEAM_ADMIN, USER})
    is_own = owner["user_id"] is not None and owner["user_id"] == actor.user_id
    if is_service_account or not is_own or (team_id is not None and team_id not in actor.teams):
        raise PermissionDenied("your role may make keys for yourself and for teams that you are in or lead")
    if actor.organization_id is not None and team_id is None and owner["organization_id"] != actor.organization_id:
        raise PermissionDenied("this key is for one organization alone", param="organization_id")
    return frozenset({USER})


def _check_owner(request: Request, owner: Mapping[str, Any], roles: frozenset[str]) -> Row | None:
    """Team and user of a key have to be ones that its maker may speak for. Returns the team."""
    team_id, user_id = owner["team_id"], owner["user_id"]
    team = None
    if team_id is not None:
        team = get(request.connection, schema.teams, fields.identity(team_id, "team_id"))
        if team is None:
            raise NotFound("there is no such team", param="team_id")
    if user_id is not None:
        fields.identity(user_id, "user_id")
    if ADMIN in roles or user_id is None or user_id == request.actor.user_id:
        return team
    if team_id is not None:
        member = get(request.connection, schema.team_members, team_id, user_id)
    else:
        member = get(request.connection, schema.organization_members, owner["organization_id"], user_id)
    user = get(request.connection, schema.users, user_id)
    if member is None or (user is not None and user["user_role"] not in (USER, USER_VIEWER)):
        # Else the leader of a team could make a key that speaks for an administrator.
        raise PermissionDenied(
            "your role may make keys for ordinary members of a team that you lead, or an organization that you govern",
            param="user_id",
        )
    return team


# --- never more than its maker has ----------------------------------------------------------------------------------


def _stay_within(request: Request, row: Row, *, inherits: bool = False, before: Row | None = None) -> None:
    """Raises PermissionDenied where a key would allow more than the key it is made with, or than it did before.

    `inherits`: what a new key leaves open is filled in from its maker's.
    """
    actor = request.actor
    if not actor.key_hash:
        return
    grant = grants_of(request.connection, [actor.key_hash])[actor.key_hash]
    if grant is None:
        raise PermissionDenied("this key may not manage anything")
    if grant.endpoints is not None:
        own = allowed_endpoints(row["key_type"], row.get("allowed_routes"))
        if inherits and own is None:
            row["key_type"] = actor.key["key_type"]
            row["allowed_routes"] = actor.key["allowed_routes"]
        elif own is None or not set(own) <= set(grant.endpoints):
            raise PermissionDenied("a key may not reach more endpoints than its maker's", param="allowed_routes")
    if actor.is_admin:
        return
    _keep_models(row, grant.models, inherits)
    bounds: list[Mapping[str, Any]] = [actor.key]
    if before is not None and before["created_by"] != actor.name:
        bounds.append(before)  # what somebody else has set may be narrowed, not widened
        _keep_models(row, meant(before["models"]), inherits=False)
        _keep_routes(row, before)
    for bound in bounds:
        _keep_numbers(row, bound, inherits)
        _keep_expiry(row, bound, inherits)


def _keep_models(row: Row, allowed: tuple[str, ...] | None, inherits: bool) -> None:
    if allowed is None:
        return
    if not row.get("models") and inherits:
        row["models"] = list(allowed) or ["no-default-models"]
        return
    for name in row.get("models") or ["*"]:
        if name != "no-default-models" and not any(covers(pattern, name) for pattern in allowed):
            raise PermissionDenied("a key may not use more models than its maker's", param="models")


def _keep_routes(row: Row, bound: Mapping[str, Any]) -> None:
    most = allowed_endpoints(bound["key_type"], bound["allowed_routes"])
    own = allowed_endpoints(row["key_type"], row.get("allowed_routes"))
    if most is not None and (own is None or not set(own) <= set(most)):
        raise PermissionDenied("this key may not be given more endpoints than it had", param="allowed_routes")


def _keep_numbers(row: Row, bound: Mapping[str, Any], inherits: bool) -> None:
    for name in _NUMBERS:
        most = bound.get(name)
        if most is None:
            continue
        if row.get(name) is None and inherits:
            row[name] = most
            if name == "max_budget_nusd":
                if row.get("budget_duration") not in (None, bound.get("budget_duration")):
                    raise PermissionDenied("the window of a budget may not differ from its maker's",
                                           param="budget_duration")  # fmt: skip
                row["budget_duration"] = bound.get("budget_duration")
        elif row.get(name) is None or row[name] > most:
            raise PermissionDenied("a key may not be given more than its maker's has", param=name.removesuffix("_nusd"))
        elif name == "max_budget_nusd" and row.get("budget_duration") != bound.get("budget_duration"):
            raise PermissionDenied("the window of a budget may not differ from its maker's", param="budget_duration")
    for name in ("model_rpm_limit", "model_tpm_limit"):
        own = row.get(name) or {}
        for model, most in (bound.get(name) or {}).items():
            if model not in own and inherits:
                own = {**own, model: most}
            elif model not in own or own[model] > most:
                raise PermissionDenied("a key may not be given more than its maker's has", param=name)
        row[name] = own or None
    own_budgets = row.get("model_max_budget") or {}
    for model, budget in (bound.get("model_max_budget") or {}).items():
        if model not in own_budgets and inherits:
            own_budgets = {**own_budgets, model: budget}
            continue
        found = own_budgets.get(model)
        if (
            found is None
            or found["budget_duration"] != budget["budget_duration"]
            or found["max_budget_nusd"] > budget["max_budget_nusd"]
        ):
            raise PermissionDenied("a key may not be given more than its maker's has", param="model_max_budget")
    row["model_max_budget"] = own_budgets or None


def _keep_expiry(row: Row, bound: Mapping[str, Any], inherits: bool) -> None:
    latest = bound.get("expires_at_ms")
    if latest is None:
        return
    if row.get("expires_at_ms") is None and inherits:
        row["expires_at_ms"] = latest
    elif row.get("expires_at_ms") is None or row["expires_at_ms"] > latest:
        raise PermissionDenied("a key may not live longer than its maker's", param="duration")


# --- changing ------------------------------------------------------------------------------------------------------


def _theirs(request: Request, token: Any) -> tuple[Row, frozenset[str]]:
    """The key a request speaks of, and what its caller is towards it. One that is not theirs is not found."""
    row = get(request.connection, schema.keys, hash_of(fields.text(token, "key", 4096)))
    roles = request.actor.towards_key(row) if row is not None else frozenset()
    if row is None or not roles:
        raise NotFound("there is no such key, or it is not yours", param="key")
    return row, roles


def update(request: Request) -> Reply:
    """`/key/update`: the fields given, all others stay. Null clears one."""
    token = fields.required(request.body, "key", lambda value, name: fields.text(value, name, 4096))
    row = _update(request, token, {name: value for name, value in request.body.items() if name != "key"})
    return {"key": row["key_hash"], **views.key(row)}


def _update(request: Request, token: str, body: Mapping[str, Any]) -> Row:
    before, roles = _theirs(request, token)
    written = read_fields(KEY, body, roles, keeps_nulls=True)
    given = written.given
    changes = _changes(before, written)
    if "duration" in given:
        length = given["duration"]
        changes["expires_at_ms"] = after(now_ms(), length) if length else None
    if not given.keys().isdisjoint(_OWNERS):
        owner = {name: changes.get(name, before[name]) for name in _OWNERS}
        team = get(request.connection, schema.teams, owner["team_id"]) if owner["team_id"] else None
        _roles_for_new(request.actor, owner, before["is_service_account"])
        _check_owner(request, owner, roles)
        if "organization_id" in given or (team is not None and team["organization_id"]):
            changes["organization_id"] = belonging.of_key(request, given.get("organization_id"), team)
    for name, default in (("blocked", False), ("key_type", "default"), ("spend_before_nusd", 0)):
        if name in changes and changes[name] is None:
            changes[name] = default
    final = {**before, **changes}
    _stay_within(request, final, before=before)
    return request.writer.change(schema.keys, before, {name: final[name] for name in changes})


def _changes(before: Row, written: Written) -> dict[str, Any]:
    changes = dict(written)
    if written.extra:
        extra = {**(before["extra"] or {}), **written.extra}
        changes["extra"] = {name: value for name, value in extra.items() if value is not None} or None
    return changes


def bulk_update(request: Request) -> Reply:
    """`/key/bulk_update`: `{"keys": [{"key": ..., fields}]}`; all or none of them."""
    entries = request.body.get("keys")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_AT_ONCE:
        raise InvalidRequest(f"keys: expected a list of 1 to {MAX_AT_ONCE} objects", param="keys")
    updated = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise InvalidRequest("keys: expected objects", param="keys")
        token = fields.required(entry, "key", lambda value, name: fields.text(value, name, 4096))
        row = _update(request, token, {name: value for name, value in entry.items() if name != "key"})
        updated.append({"key": row["key_hash"], "key_info": views.key(row)})
    return {"total_requested": len(entries), "successful_updates": updated, "failed_updates": []}


def delete(request: Request) -> Reply:
    """`/key/delete`: by `keys` (keys or hashes) or by `key_aliases`; all or none of them."""
    tokens = _list(request.body, "keys")
    aliases = _list(request.body, "key_aliases")
    unknown = set(request.body) - {"keys", "key_aliases"}
    if unknown:
        raise InvalidRequest("unknown field", param=clean_text(min(unknown))[:64])
    if not tokens and not aliases:
        raise MissingField("keys or key_aliases is required", param="keys")
    rows = [(token, _theirs(request, token)[0]) for token in tokens]
    for alias in aliases:
        found = find(request.connection, schema.keys, schema.keys.c.key_alias == alias)
        rows += [(alias, _theirs(request, row["key_hash"])[0]) for row in found]
        if not found:
            raise NotFound("there is no such key, or it is not yours", param="key_aliases")
    for _, row in rows:
        request.writer.remove(schema.keys, row)
    # A key is not repeated, whoever sent it: answers end up in logs.
    return {"deleted_keys": [token if token in aliases or _HASH.match(token) else row["key_hash"]
                             for token, row in rows]}  # fmt: skip


def _list(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name)
    if value is None:
        return []
    if isinstance(value, list) and len(value) > MAX_AT_ONCE:
        raise InvalidRequest(f"{name}: at most {MAX_AT_ONCE} at once", param=name)
    return [fields.text(entry, name, 4096) for entry in value] if isinstance(value, list) else fields.names(value, name)


def regenerate(request: Request) -> Reply:
    """`/key/{key}/regenerate`: another key with the same rights; the old one is void at once."""
    token = request.named or request.body.get("key")
    if token is None:
        raise MissingField("key is required", param="key")
    before, roles = _theirs(request, token)
    body = {name: value for name, value in request.body.items() if name not in ("key", "new_key", "grace_period")}
    written = read_fields(KEY, body, roles, keeps_nulls=True)
    changes = _changes(before, written)
    if written.given.get("duration"):
        changes["expires_at_ms"] = after(now_ms(), written.given["duration"])
    final = {**before, **changes}
    _stay_within(request, final, before=before)
    if request.body.get("new_key") is not None and ADMIN not in roles:
        raise PermissionDenied('your role may not set "new_key"', param="new_key")
    clear = fields.text(request.body["new_key"], "new_key") if request.body.get("new_key") else new_key()
    if not _KEY.match(clear):
        raise InvalidRequest("new_key: expected sk- and 16 or more visible ASCII characters", param="new_key")
    if hash_of(clear) == before["key_hash"]:
        raise Conflict("new_key: expected another key than the one that it replaces", param="new_key")
    _refuse_former(request, clear, "new_key")
    writer = request.writer
    writer.remove(schema.keys, before)
    row = writer.add(
        schema.keys,
        {
            **final,
            "key_hash": hashlib.sha256(clear.encode()).hexdigest(),
            "key_name": _name_of(clear),
            # What the old key has spent is the new one's past: its budgets and limits do not begin again.
            "lineage_hash": lineage.replace(request.connection, before),
            "created_by": before["created_by"],
            "created_at_ms": before["created_at_ms"],
            "updated_by": request.actor.name,
            "updated_at_ms": now_ms(),
        },
    )
    return _made(request, row, clear, written.given)


def _refuse_former(request: Request, clear: str, field: str) -> None:
    if lineage.is_former(request.connection, hashlib.sha256(clear.encode()).hexdigest()):
        raise Conflict("this key was replaced by another one, and does not come back", param=field)


def block(request: Request) -> Reply:
    """`/key/block`."""
    return _set_blocked(request, True)


def unblock(request: Request) -> Reply:
    """`/key/unblock`."""
    return _set_blocked(request, False)


def _set_blocked(request: Request, is_blocked: bool) -> Reply:
    token = fields.required(request.body, "key", lambda value, name: fields.text(value, name, 4096))
    unknown = set(request.body) - {"key"}
    if unknown:
        raise InvalidRequest("unknown field", param=clean_text(min(unknown))[:64])
    before, roles = _theirs(request, token)
    if roles.isdisjoint(KEY["blocked"].writers):
        raise PermissionDenied('your role may not set "blocked"', param="blocked")
    row = request.writer.change(schema.keys, before, {"blocked": is_blocked}, "blocked" if is_blocked else "unblocked")
    return {"token": row["key_hash"], **views.key(row)}


# --- reading -------------------------------------------------------------------------------------------------------


def info(request: Request) -> Reply:
    """`/key/info`: a key or hash in `key`, else the caller's own."""
    token = request.query.get("key") or None
    key_hash = hash_of(fields.text(token, "key", 4096)) if token else request.actor.key_hash
    row = get(request.connection, schema.keys, key_hash) if key_hash else None
    if row is None or not request.actor.sees_key(row):
        raise NotFound("there is no such key, or it is not yours", param="key")
    spent = lineage.spent_by_keys(request.connection, [row])[row["key_hash"]]
    budget = get(request.connection, schema.budgets, row["budget_id"]) if row["budget_id"] else None
    # LiteLLM repeats what it was asked with; a key in the clear is not repeated here.
    return {"key": row["key_hash"], "info": views.key(row, spent, budget)}


def health(request: Request) -> Reply:
    """`/key/health`: the key is good, since the answer came."""
    return {"key": "healthy", "logging_callbacks": None}


def list_keys(request: Request) -> Reply:
    """`/key/list`: hashes, or whole objects with `return_full_object`."""
    table = schema.keys
    number, size = request.page(10)
    where = _seen(request)
    for name, column in (("user_id", table.c.user_id), ("team_id", table.c.team_id),
                         ("organization_id", table.c.organization_id), ("key_alias", table.c.key_alias),
                         ("key_hash", table.c.key_hash)):  # fmt: skip
        value = request.asked(name)
        if value is not None:
            where.append(column == value)
    sort_by = request.query.get("sort_by") or "created_at"
    columns = {"created_at": table.c.created_at_ms, "updated_at": table.c.updated_at_ms,
               "key_alias": table.c.key_alias, "user_id": table.c.user_id, "team_id": table.c.team_id,
               "spend": table.c.spend_before_nusd}  # fmt: skip
    if sort_by not in columns:
        raise InvalidRequest(f"sort_by: expected one of {', '.join(columns)}", param="sort_by")
    order = columns[sort_by]
    rows, total = page(
        request.connection, table, where, order.asc() if request.query.get("sort_order") == "asc" else order.desc(),
        number, size,
    )  # fmt: skip
    keys: list[Any] = [row["key_hash"] for row in rows]
    if request.query.get("return_full_object") == "true":
        spent = lineage.spent_by_keys(request.connection, rows)
        keys = [{"token": row["key_hash"], **views.key(row, spent[row["key_hash"]])} for row in rows]
    return {"keys": keys, "total_count": total, "current_page": number, "total_pages": -(-total // size)}


def aliases(request: Request) -> Reply:
    """`/key/aliases`."""
    column = schema.keys.c.key_alias
    number, size = request.page(50)
    where = [*_seen(request), column.is_not(None)]
    search = request.asked("search")
    if search is not None:
        where.append(column.contains(search, autoescape=True))
    total = request.connection.scalar(select(func.count()).select_from(schema.keys).where(*where)) or 0
    wanted = select(column).where(*where).order_by(column).limit(size).offset((number - 1) * size)
    return {"aliases": list(request.connection.scalars(wanted)), "total_count": total, "current_page": number,
            "total_pages": -(-total // size), "size": size}  # fmt: skip


def _seen(request: Request) -> list[ColumnElement[bool]]:
    """What the caller may see of all keys."""
    if not request.reaches_own_only:
        return []
    actor, table = request.actor, schema.keys
    own = table.c.key_hash == actor.key_hash
    if actor.user_id is not None:
        of_user = table.c.user_id == actor.user_id
        if actor.team_id is not None:
            of_user &= table.c.team_id == actor.team_id
        elif actor.organization_id is not None:
            of_user &= table.c.organization_id == actor.organization_id
        own |= of_user
    if actor.leads:
        own |= table.c.team_id.in_(sorted(actor.leads))
    if actor.governs:
        own |= table.c.team_id.is_(None) & table.c.organization_id.in_(sorted(actor.governs))
    return [own]
