"""`routewright import-litellm`: what a LiteLLM database holds of keys, owners, models, audit, and what was spent.

Clients keep their keys: LiteLLM too knows them by SHA-256. The source is only read. What is here already stays as it
is, and of daily sums what has come since is added: it may be run twice, and while LiteLLM still serves.

What an owner has spent stands in its row there, and by the day in other tables. What those tell goes into the ledger's
sums; only the rest of the row's figure is kept with the owner, as spent before the ledger began.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, exc, inspect, select, text

from routewright.errors import GatewayError
from routewright.management import litellm_audit
from routewright.management.commands import open_database
from routewright.management.durations import is_duration
from routewright.management.fields import ORG_ADMIN, ROLES, USER, USER_VIEWER, anything, dollars, names_to_budgets
from routewright.management.litellm_models import TABLE as MODELS
from routewright.management.litellm_models import Models, Skip
from routewright.management.litellm_spend import READ, Days, told
from routewright.store import imported, schema
from routewright.store.database import Database, SchemaTooNew, now_ms, unavailable
from routewright.store.rows import Row, Writer, find
from routewright.types import NUSD_PER_USD

ACTOR = "import-litellm"
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_LEFT_OUT = ("LiteLLM_SpendLogs",)
Source = Mapping[str, Any]


def import_command(source_url: str, data_dir: Path, database_url: str | None, secret: str | None) -> int:
    """Import and print what became of each table; 1 where a database can't be used. `secret` opens stored models."""
    try:
        source, target = Database(source_url), open_database(data_dir, database_url)
        report = import_litellm(source, target, Models(secret))
    except (GatewayError, SchemaTooNew, ValueError) as error:
        print(f"routewright: {getattr(error, 'message', None) or error}", file=sys.stderr)
        return 1
    source.close()
    target.close()
    for line in report:
        print(line)
    return 0


def import_litellm(source: Database, target: Database, models: Models) -> list[str]:
    """What was found, taken, there already and left out, a line each. All of it is taken in one transaction."""
    tables, others = _read(source)
    models.check(tables[MODELS])
    days = Days(tables)

    def work(connection: Connection) -> list[str]:
        lines = []
        if imported.is_first(connection):
            _lessen(connection, days)
        for name, table, make in _PLAN:
            rows = tables[name]
            if table is schema.team_members:
                rows = _memberships(tables)
            lines += _take(connection, name, table, rows, make, days)
        lines += _take(connection, MODELS, schema.models, tables[MODELS], models.row)
        lines += told(days, imported.take(connection, days.rows), tables)
        return lines + litellm_audit.take(connection, tables[litellm_audit.TABLE])

    lines = target.write(work)
    return [*lines, *(f"{name}: {count} rows left out" for name, count in others.items() if count)]


def _read(source: Database) -> tuple[dict[str, list[Source]], dict[str, int]]:
    """Every row that is taken, and how many there are of what is not. In a transaction that can't write."""
    wanted = {MODELS, litellm_audit.TABLE, *READ, *(name for name, _, _ in _PLAN)}
    try:
        with source.engine.connect() as connection, connection.begin():
            connection.execute(text("SET TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ"))
            there = set(inspect(connection).get_table_names())
            if "LiteLLM_VerificationToken" not in there:
                raise ValueError("this is no database of LiteLLM: it has no LiteLLM_VerificationToken")
            tables = {name: _rows(connection, name) if name in there else [] for name in wanted}
            counts = {name: _count(connection, name) for name in _LEFT_OUT if name in there}
    except exc.OperationalError as error:
        raise unavailable(error) from error
    return tables, counts


def _quoted(name: str) -> str:
    assert name.replace("_", "").isalnum()
    return f'"{name}"'


def _rows(connection: Connection, name: str) -> list[Source]:
    statement = text("SELECT * FROM " + _quoted(name))  # noqa: S608 - a name of the tables above
    return [dict(row) for row in connection.execute(statement).mappings()]


def _count(connection: Connection, name: str) -> int:
    statement = text("SELECT count(*) FROM " + _quoted(name))  # noqa: S608 - a name of the tables above
    return int(connection.execute(statement).scalar() or 0)


def _lessen(connection: Connection, days: Days) -> None:
    """Owners that were imported without daily sums, by an earlier version: what these tell is not spent twice."""
    writer = Writer(connection, ACTOR, "proxy_admin", None)
    for _, table, _ in _PLAN:
        if "spend_before_nusd" not in table.c:
            continue
        for row in find(connection, table, table.c.created_by == ACTOR, table.c.spend_before_nusd > 0):
            spent = days.of(table.name, tuple(row[column.name] for column in table.primary_key.columns))
            if spent:
                writer.change(table, row, {"spend_before_nusd": max(0, row["spend_before_nusd"] - spent)})


def _take(
    connection: Connection,
    name: str,
    table: Table,
    rows: Sequence[Source],
    make: Callable[[Source], Row],
    days: Days | None = None,
) -> list[str]:
    key = [column.name for column in table.primary_key.columns]
    known = {tuple(row) for row in connection.execute(select(*table.primary_key.columns))}
    unique = [column for column in table.columns if column.unique]
    used = {column.name: set(connection.scalars(select(column).where(column.is_not(None)))) for column in unique}
    writer = Writer(connection, ACTOR, "proxy_admin", None)
    taken = there = 0
    reasons: dict[str, int] = {}
    for source in rows:
        try:
            row = make(source)
        except (Skip, GatewayError, KeyError, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, Skip) else "a field that can't be read"
            reasons[reason] = reasons.get(reason, 0) + 1
            continue
        identity = tuple(row[column] for column in key)
        if identity in known:
            there += 1
            continue
        known.add(identity)
        for column, values in used.items():
            if row.get(column) in values:
                row[column] = None  # somebody else's name or address; the key itself is what counts
                reasons[f"taken without {column}, which is in use"] = (
                    reasons.get(f"taken without {column}, which is in use", 0) + 1
                )
            elif row.get(column) is not None:
                values.add(row[column])
        if days is not None and row.get("spend_before_nusd"):
            row["spend_before_nusd"] = max(0, row["spend_before_nusd"] - days.of(table.name, identity))
        writer.add(table, row)
        taken += 1
    lines = [f"{name}: {len(rows)} found, {taken} taken, {there} there already"]
    return lines + [f"{name}: {count} {reason}" for reason, count in sorted(reasons.items())]


# --- rows ----------------------------------------------------------------------------------------------------------


def _identity(source: Source, name: str) -> str:
    value = source.get(name)
    if not isinstance(value, str) or not value:
        raise Skip("left out: no id")
    return value


def _nusd(value: Any) -> int | None:
    """US dollars; LiteLLM keeps them as floating point."""
    return None if value is None else dollars(float(value), "max_budget")


def _spent(source: Source) -> int:
    return max(0, round(float(source.get("spend") or 0.0) * NUSD_PER_USD))


def _ms(value: Any) -> int | None:
    if not isinstance(value, datetime):
        return None
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)


def _whole(source: Source, name: str) -> int | None:
    value = source.get(name)
    return None if value is None else int(value)


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = json.loads(value)
    found: dict[str, Any] = anything(value, "metadata") if isinstance(value, dict) else {}
    return found


def _duration(value: Any) -> str | None:
    return value if isinstance(value, str) and is_duration(value) else None


def _limits(source: Source) -> Row:
    return {name: _whole(source, name) for name in ("rpm_limit", "tpm_limit", "max_parallel_requests")}


def _budget(source: Source) -> Row:
    return {
        "max_budget_nusd": _nusd(source.get("max_budget")),
        "soft_budget_nusd": _nusd(source.get("soft_budget")),
        "budget_duration": _duration(source.get("budget_duration")),
    }


def _owner(source: Source) -> Row:
    """What every owner of a budget has."""
    return {
        **_limits(source),
        **_budget(source),
        "budget_id": source.get("budget_id"),
        "budget_started_at_ms": _ms(source.get("created_at")) or now_ms(),
        "spend_before_nusd": _spent(source),
    }


def _by_model(source: Source, metadata: dict[str, Any]) -> Row:
    """LiteLLM keeps limits by model in the metadata."""
    budgets = _mapping(source.get("model_max_budget"))
    return {
        "model_rpm_limit": metadata.pop("model_rpm_limit", None) or None,
        "model_tpm_limit": metadata.pop("model_tpm_limit", None) or None,
        "model_max_budget": names_to_budgets(budgets, "model_max_budget") if budgets else None,
    }


def _key(source: Source) -> Row:
    token = source.get("token")
    if not isinstance(token, str) or not _HASH.match(token):
        raise Skip("left out: not kept by its hash")
    metadata = _mapping(source.get("metadata"))
    by_model = _by_model(source, metadata)
    tags = metadata.pop("tags", None)
    extra = {"permissions": _mapping(source.get("permissions")), "config": _mapping(source.get("config"))}
    return {
        "key_hash": token,
        "key_name": source.get("key_name") or f"sk-...{token[-4:]}",
        "key_alias": source.get("key_alias"),
        "user_id": source.get("user_id"),
        "team_id": source.get("team_id"),
        "organization_id": source.get("organization_id"),
        "key_type": "default",
        "blocked": bool(source.get("blocked")),
        "is_service_account": "service_account_id" in metadata,
        "expires_at_ms": _ms(source.get("expires")),
        "models": list(source.get("models") or []),
        "aliases": _mapping(source.get("aliases")) or None,
        "allowed_routes": list(source.get("allowed_routes") or []) or None,
        **_owner(source),
        **by_model,
        "metadata": metadata or None,
        "tags": tags if isinstance(tags, list) else None,
        "extra": {name: value for name, value in extra.items() if value} or None,
    }


def _team(source: Source) -> Row:
    metadata = _mapping(source.get("metadata"))
    return {
        "team_id": _identity(source, "team_id"),
        "team_alias": source.get("team_alias"),
        "organization_id": source.get("organization_id"),
        "blocked": bool(source.get("blocked")),
        "models": list(source.get("models") or []),
        **_owner(source),
        **_by_model(source, metadata),
        "metadata": metadata or None,
    }


def _user(source: Source) -> Row:
    role = source.get("user_role")
    metadata = _mapping(source.get("metadata"))
    return {
        "user_id": _identity(source, "user_id"),
        "user_email": source.get("user_email"),
        "user_alias": source.get("user_alias"),
        "user_role": role if role in ROLES else USER,
        "models": list(source.get("models") or []),
        **_owner(source),
        **_by_model(source, metadata),
        "metadata": metadata or None,
    }


def _customer(source: Source) -> Row:
    return {
        "customer_id": _identity(source, "user_id"),
        "alias": source.get("alias"),
        "blocked": bool(source.get("blocked")),
        "default_model": source.get("default_model"),
        "budget_id": source.get("budget_id"),
        "budget_started_at_ms": now_ms(),
        "spend_before_nusd": _spent(source),
    }


def _named_budget(source: Source) -> Row:
    budgets = _mapping(source.get("model_max_budget"))
    return {
        "budget_id": _identity(source, "budget_id"),
        **_limits(source),
        **_budget(source),
        "model_max_budget": names_to_budgets(budgets, "model_max_budget") if budgets else None,
    }


def _organization(source: Source) -> Row:
    metadata = _mapping(source.get("metadata"))
    return {
        "organization_id": _identity(source, "organization_id"),
        "organization_alias": source.get("organization_alias") or _identity(source, "organization_id"),
        "blocked": False,
        "models": list(source.get("models") or []),
        "budget_id": source.get("budget_id"),
        "budget_started_at_ms": _ms(source.get("created_at")) or now_ms(),
        "spend_before_nusd": _spent(source),
        **_by_model({}, metadata),
        "metadata": metadata or None,
    }


def _organization_member(source: Source) -> Row:
    role = source.get("user_role")
    return {
        "organization_id": _identity(source, "organization_id"),
        "user_id": _identity(source, "user_id"),
        "user_role": role if role in (ORG_ADMIN, USER_VIEWER) else USER,
        "budget_id": source.get("budget_id"),
        "budget_started_at_ms": now_ms(),
        "spend_before_nusd": _spent(source),
    }


def _memberships(tables: Mapping[str, list[Source]]) -> list[Source]:
    """Members as the teams list them, with the budgets of the memberships."""
    of_pair = {(row.get("team_id"), row.get("user_id")): row for row in tables["LiteLLM_TeamMembership"]}
    found: dict[tuple[Any, Any], Source] = {}
    for team in tables["LiteLLM_TeamTable"]:
        listed = team.get("members_with_roles")
        listed = json.loads(listed) if isinstance(listed, str) else listed
        for member in listed if isinstance(listed, list) else []:
            if isinstance(member, dict) and member.get("user_id"):
                pair = (team.get("team_id"), member["user_id"])
                found[pair] = {"team_id": pair[0], "user_id": pair[1], "role": member.get("role")}
    for pair, membership in of_pair.items():
        found[pair] = {"role": "user", "team_id": pair[0], "user_id": pair[1], **found.get(pair, {}),
                       "spend": membership.get("spend"), "budget_id": membership.get("budget_id")}  # fmt: skip
    return list(found.values())


def _member(source: Source) -> Row:
    return {
        "team_id": _identity(source, "team_id"),
        "user_id": _identity(source, "user_id"),
        "role": "admin" if source.get("role") == "admin" else "user",
        "budget_id": source.get("budget_id"),
        "budget_started_at_ms": now_ms(),
        "spend_before_nusd": _spent(source),
    }


_PLAN: tuple[tuple[str, Table, Callable[[Source], Row]], ...] = (
    ("LiteLLM_BudgetTable", schema.budgets, _named_budget),
    ("LiteLLM_OrganizationTable", schema.organizations, _organization),
    ("LiteLLM_UserTable", schema.users, _user),
    ("LiteLLM_OrganizationMembership", schema.organization_members, _organization_member),
    ("LiteLLM_TeamTable", schema.teams, _team),
    ("LiteLLM_TeamMembership", schema.team_members, _member),
    ("LiteLLM_EndUserTable", schema.customers, _customer),
    ("LiteLLM_VerificationToken", schema.keys, _key),
)
