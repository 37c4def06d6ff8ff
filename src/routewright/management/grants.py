"""Stored rows -> what a key may do: everything that its team, its user and its budgets add or take away."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, select

from routewright import endpoints
from routewright.grants import EndUser, Grant, with_members
from routewright.store import schema
from routewright.store.lineage import line_of
from routewright.store.rows import Row
from routewright.types import Access, Allowance

ALL_TEAM_MODELS, ALL_MODELS, NO_MODELS = "all-team-models", "all-proxy-models", "no-default-models"
ALL_ORGANIZATION_MODELS = "all-org-models"
STORES_PROMPTS = "store_prompts_in_spend_logs"
"""In the metadata of a key or a team."""
LLM_ROUTES, INFO_ROUTES, MANAGEMENT_ROUTES = "llm_api_routes", "info_routes", "management_routes"
_LIMITS = ("rpm_limit", "tpm_limit", "max_parallel_requests")
_BUDGET = ("max_budget_nusd", "soft_budget_nusd", "budget_duration")


def grants_of(
    connection: Connection, hashes: Collection[str], groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Grant | None]:
    """What each key may do, in a handful of statements however many they are; None where there is no such key.

    `groups`: the models of each access group, which a list may name in place of them.
    """
    keys = _by_id(connection, schema.keys, "key_hash", hashes)
    teams = _by_id(connection, schema.teams, "team_id", _values(keys.values(), "team_id"))
    users = _by_id(connection, schema.users, "user_id", _values(keys.values(), "user_id"))
    pairs = {(row["team_id"], row["user_id"]) for row in keys.values() if row["team_id"] and row["user_id"]}
    members: dict[tuple[str, str], Row] = {}
    if pairs:
        table = schema.team_members
        wanted = select(table).where(
            table.c.team_id.in_({team for team, _ in pairs}), table.c.user_id.in_({user for _, user in pairs})
        )
        for row in connection.execute(wanted).mappings():
            members[(row["team_id"], row["user_id"])] = dict(row)
    of_key = {key_hash: organization_of(key, teams.get(key["team_id"])) for key_hash, key in keys.items()}
    organizations = _by_id(connection, schema.organizations, "organization_id", set(filter(None, of_key.values())))
    org_members = _organization_members(connection, keys, of_key) if organizations else {}
    owners = [*keys.values(), *teams.values(), *users.values(), *members.values(), *organizations.values(),
              *org_members.values()]  # fmt: skip
    budgets = _by_id(connection, schema.budgets, "budget_id", _values(owners, "budget_id"))
    made: dict[str, Grant | None] = dict.fromkeys(hashes)
    for key_hash, key in keys.items():
        team, user = teams.get(key["team_id"]), users.get(key["user_id"])
        organization_id = of_key[key_hash]
        made[key_hash] = _grant(
            key, team, user, members.get((key["team_id"], key["user_id"])),
            _Organization(organization_id, organizations.get(organization_id or ""),
                          org_members.get((organization_id or "", key["user_id"] or ""))),
            budgets, groups or {},
        )  # fmt: skip
    return made


def organization_of(key: Row, team: Row | None) -> str | None:
    """A key's organization is its team's; its own where it has no team, or one without."""
    found: str | None = (team or {}).get("organization_id") or key["organization_id"]
    return found


class _Organization(NamedTuple):
    """Of one key; the rows are None where nothing is stored, as of one whose organization was not imported."""

    organization_id: str | None
    row: Row | None
    member: Row | None


def _organization_members(
    connection: Connection, keys: Mapping[str, Row], of_key: Mapping[str, str | None]
) -> dict[tuple[str, str], Row]:
    pairs = {(of_key[key_hash], key["user_id"]) for key_hash, key in keys.items() if key["user_id"]}
    table = schema.organization_members
    wanted = select(table).where(
        table.c.organization_id.in_({one for one, _ in pairs if one}), table.c.user_id.in_({user for _, user in pairs})
    )
    return {(row["organization_id"], row["user_id"]): dict(row) for row in connection.execute(wanted).mappings()}


def _values(rows: Iterable[Row], name: str) -> set[str]:
    return {row[name] for row in rows if row.get(name)}


def _by_id(connection: Connection, table: Table, name: str, ids: Collection[str]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    wanted = list(ids)
    for start in range(0, len(wanted), 500):  # databases bound the number of parameters
        statement = select(table).where(table.c[name].in_(wanted[start : start + 500]))
        found |= {row[name]: dict(row) for row in connection.execute(statement).mappings()}
    return found


def _grant(
    key: Row, team: Row | None, user: Row | None, member: Row | None, organization: _Organization,
    budgets: Mapping[str, Row], groups: Mapping[str, Sequence[str]],
) -> Grant:  # fmt: skip
    key_hash, team_id, user_id = key["key_hash"], key["team_id"], key["user_id"]
    line = line_of(key)  # what a key may use is counted for all that it has replaced
    allowances = [_allowance("key", line, key, budgets, temporary=True)]
    by_model: dict[str, list[Allowance]] = {}
    _add_by_model(by_model, "model_per_key", line, key, budgets)
    depends = [f"key:{key_hash}"]
    organization_id = organization.organization_id
    for kind, owner, row in (
        ("team", team_id, team), ("user", user_id, user), ("organization", organization_id, organization.row),
    ):  # fmt: skip
        if owner:
            depends.append(f"{kind}:{owner}")
        if owner and row is not None:
            allowances.append(_allowance(kind, owner, row, budgets))
            _add_by_model(by_model, f"model_per_{kind}", owner, row, budgets)
    if team_id and user_id:
        owner = f"{team_id}/{user_id}"
        depends.append(f"member:{owner}")
        of_member = _member(member or {}, team or {})
        allowances.append(_allowance("team_member", owner, of_member, budgets))
    if organization_id and user_id:
        depends.append(f"organization_member:{organization_id}/{user_id}")
        if organization.member is not None:
            owner = f"{organization_id}/{user_id}"
            allowances.append(_allowance("organization_member", owner, organization.member, budgets))
    all_of_them = (key, team, user, member, organization.row, organization.member)
    depends += [f"budget:{row['budget_id']}" for row in all_of_them if row and row.get("budget_id")]
    return Grant(
        key_hash=key_hash,
        key_alias=key["key_alias"],
        user_id=user_id,
        team_id=team_id,
        organization_id=organization_id,
        refusal=_refusal(key, team, organization.row),
        expires_at_ms=key["expires_at_ms"],
        models=_models(key, team, user, organization.row, groups),
        aliases={**((team or {}).get("model_aliases") or {}), **(key["aliases"] or {})},
        endpoints=allowed_endpoints(key["key_type"], key["allowed_routes"]),
        tags=tuple(dict.fromkeys([*(key["tags"] or ()), *((team or {}).get("tags") or ())])),
        allowances=tuple(each for each in allowances if _limits_anything(each)),
        model_allowances={model: tuple(own) for model, own in by_model.items()},
        cache_controls=_cache_controls(key),
        guardrails=tuple(dict.fromkeys([*_guardrails(key), *_guardrails(team)])),
        depends_on=tuple(dict.fromkeys(depends)),
        stores_prompts=any(((row or {}).get("metadata") or {}).get(STORES_PROMPTS) is True for row in (key, team)),
    )


def _cache_controls(key: Row) -> tuple[str, ...] | None:
    """An empty list allows all, as with LiteLLM."""
    allowed = (key["extra"] or {}).get("allowed_cache_controls")
    return tuple(allowed) if allowed else None


def _guardrails(row: Row | None) -> list[str]:
    """LiteLLM keeps them in `metadata` too."""
    if row is None:
        return []
    given = (row["extra"] or {}).get("guardrails") or (row["metadata"] or {}).get("guardrails")
    return [name for name in given if isinstance(name, str)] if isinstance(given, list) else []


def _refusal(key: Row, team: Row | None, organization: Row | None) -> str | None:
    if key["blocked"]:
        return "This key is blocked"
    if key["team_id"] and team is None:
        return "This key's team does not exist any more"
    if team is not None and team["blocked"]:
        return "This key's team is blocked"
    if organization is not None and organization["blocked"]:
        return "This key's organization is blocked"
    return None


# --- models --------------------------------------------------------------------------------------------------------


def _models(
    key: Row, team: Row | None, user: Row | None, organization: Row | None, groups: Mapping[str, Sequence[str]]
) -> tuple[str, ...] | None:
    """What all of them allow. A user's list is for keys without a team, as with LiteLLM."""
    lists = [key["models"]]
    if team is None and ALL_TEAM_MODELS in (key["models"] or ()):
        return ()  # the models of a team that there is not
    if organization is None and any(
        ALL_ORGANIZATION_MODELS in ((row or {}).get("models") or ()) for row in (key, team)
    ):
        return ()
    if organization is not None:
        lists.append(organization["models"])
    if team is not None:
        lists.append(team["models"])
    elif user is not None:
        lists.append(user["models"])
    allowed: tuple[str, ...] | None = None
    for each in lists:
        own = meant(each)
        if own is not None:
            own = with_members(own, groups)
            allowed = own if allowed is None else both(allowed, own)
    return allowed


def meant(models: Sequence[str] | None) -> tuple[str, ...] | None:
    """A stored list without LiteLLM's special names; None is all, which an empty list means too."""
    if not models or any(name in models for name in (ALL_MODELS, ALL_TEAM_MODELS, ALL_ORGANIZATION_MODELS)):
        return None
    return tuple(name for name in models if name != NO_MODELS)


def both(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """What two lists of names and wildcards both allow. Wildcards that only overlap allow nothing together."""
    one, other = tuple(one), tuple(other)
    kept = [name for name in one if any(covers(pattern, name) for pattern in other)]
    kept += [name for name in other if any(covers(pattern, name) for pattern in one)]
    return tuple(dict.fromkeys(kept))


def covers(pattern: str, name: str) -> bool:
    """Whether a pattern allows all that `name`, itself perhaps a pattern, allows. Only `*` is special."""
    if pattern == name or pattern == "*":
        return True
    if "*" not in pattern:
        return False
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name, re.DOTALL) is not None


# --- limits and budgets --------------------------------------------------------------------------------------------


def with_budget(row: Mapping[str, Any], budgets: Mapping[str, Row]) -> Mapping[str, Any]:
    """A row, completed by the budget that it points to."""
    budget = budgets.get(row.get("budget_id") or "")
    if budget is None:
        return row
    found = dict(row)
    if found.get("max_budget_nusd") is None:
        found.update({name: budget[name] for name in ("max_budget_nusd", "budget_duration")})
    for name in (*_LIMITS, "soft_budget_nusd", "model_max_budget"):
        if found.get(name) is None:
            found[name] = budget[name]
    return found


def _allowance(
    scope: str, owner: str, row: Mapping[str, Any], budgets: Mapping[str, Row], *, temporary: bool = False
) -> Allowance:
    found = with_budget(row, budgets)
    return Allowance(
        scope=scope,
        owner=owner,
        rpm=found.get("rpm_limit"),
        tpm=found.get("tpm_limit"),
        parallel=found.get("max_parallel_requests"),
        budget_nusd=found.get("max_budget_nusd"),
        soft_budget_nusd=found.get("soft_budget_nusd"),
        budget_duration=found.get("budget_duration"),
        spent_before_nusd=found.get("spend_before_nusd") or 0,
        extra_nusd=(row.get("temp_budget_increase_nusd") or 0) if temporary else 0,
        extra_until_ms=(row.get("temp_budget_expires_at_ms") or 0) if temporary else 0,
    )


def _limits_anything(allowance: Allowance) -> bool:
    return any(
        value is not None
        for value in (allowance.rpm, allowance.tpm, allowance.parallel, allowance.budget_nusd,
                      allowance.soft_budget_nusd)
    )  # fmt: skip


def _member(member: Row, team: Row) -> Row:
    """A member's own limits, else what the team gives each member."""
    found = dict(member)
    for name, of_team in (("max_budget_nusd", "team_member_budget_nusd"), ("rpm_limit", "team_member_rpm_limit"),
                          ("tpm_limit", "team_member_tpm_limit")):  # fmt: skip
        if found.get(name) is None:
            found[name] = team.get(of_team)
            if name == "max_budget_nusd" and found.get("budget_duration") is None:
                found["budget_duration"] = team.get("budget_duration")
    return found


def _add_by_model(
    by_model: dict[str, list[Allowance]], scope: str, owner: str, row: Row, budgets: Mapping[str, Row]
) -> None:
    found = with_budget(row, budgets)
    rpm, tpm = found.get("model_rpm_limit") or {}, found.get("model_tpm_limit") or {}
    budget = found.get("model_max_budget") or {}
    for model in dict.fromkeys([*rpm, *tpm, *budget]):
        own = budget.get(model) or {}
        by_model.setdefault(model, []).append(
            Allowance(
                scope=scope,
                owner=f"{owner}/{model}",
                rpm=rpm.get(model),
                tpm=tpm.get(model),
                budget_nusd=own.get("max_budget_nusd"),
                budget_duration=own.get("budget_duration"),
            )
        )


def customers_of(connection: Connection, ids: Sequence[str] | None) -> list[EndUser]:
    """End users that are stored, by id; None is all of them."""
    wanted = select(schema.customers)
    if ids is not None:
        wanted = wanted.where(schema.customers.c.customer_id.in_(ids))
    rows = [dict(row) for row in connection.execute(wanted).mappings()]
    budgets = _by_id(connection, schema.budgets, "budget_id", _values(rows, "budget_id"))
    return [
        EndUser(
            customer_id=row["customer_id"],
            is_blocked=bool(row["blocked"]),
            allowance=_allowance("customer", row["customer_id"], row, budgets),
            allowed_region=(row["extra"] or {}).get("allowed_model_region"),
        )
        for row in rows
    ]


# --- endpoints -----------------------------------------------------------------------------------------------------

_OF_GROUP: dict[str, frozenset[str]] = {
    LLM_ROUTES: frozenset(
        name
        for _, e in endpoints.every()
        if e.is_proxied or e.is_carried or e.is_kept or e.is_owned
        for name in (e.name, e.name_to_read)
    )
    | {"models", "model"},
    INFO_ROUTES: frozenset(
        {e.name_to_read for _, e in endpoints.every() if e.access == Access.KEY and "GET" in e.methods}
        | {"models", "model"}
    ),
    MANAGEMENT_ROUTES: frozenset({e.name for _, e in endpoints.every() if e.is_stored} | {"models", "model"}),
}
_OF_TYPE = {"llm_api": LLM_ROUTES, "management": MANAGEMENT_ROUTES, "read_only": INFO_ROUTES}


def allowed_endpoints(key_type: str, routes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of the endpoints that a key may call; None: all that need no master."""
    allowed = _OF_GROUP.get(_OF_TYPE.get(key_type, ""))
    if routes:
        named: set[str] = set()
        for route in routes:
            named |= _OF_GROUP.get(route, frozenset())
            short = route[3:] if route.startswith("/v1/") else route  # each path is served with and without
            named |= {
                endpoint.name for path, endpoint in endpoints.every() if covers(route, path) or covers(short, path)
            }
        allowed = frozenset(named) if allowed is None else allowed & named
    return None if allowed is None else tuple(sorted(allowed))
