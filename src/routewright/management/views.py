"""Rows as LiteLLM's clients read them: its names and nesting, dollars for nano-dollars, ISO times, null for unset."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from routewright.management.fields import (
    BUDGET_FIELDS,
    CUSTOMER_FIELDS,
    KEY,
    ORGANIZATION_FIELDS,
    TEAM_FIELDS,
    USER_FIELDS,
    Table,
)
from routewright.store.database import now_ms
from routewright.store.rows import Row
from routewright.types import NUSD_PER_USD
from routewright.windows import Window

_LISTS = frozenset({"models", "allowed_routes", "allowed_cache_controls"})
_MAPPINGS = frozenset({"aliases", "config", "permissions", "metadata", "model_max_budget"})
"""What LiteLLM gives as an empty list or object where it is not set."""


def iso(at_ms: int | None) -> str | None:
    """A time, in UTC."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def dollars(nusd: int | None) -> float | None:
    return None if nusd is None else nusd / NUSD_PER_USD


def _budgets_by_model(value: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        model: {"budget_limit": dollars(entry["max_budget_nusd"]), "time_period": entry["budget_duration"]}
        for model, entry in (value or {}).items()
    }


def _fields(table: Table, row: Row) -> dict[str, Any]:
    """Every field of a table that a row can tell, as it would be written."""
    extra = row.get("extra") or {}
    found: dict[str, Any] = {}
    for name, field in table.items():
        if field.column == "-":
            continue
        value = extra.get(name) if field.column == "extra" else row.get(field.column or name)
        if field.column.endswith("_nusd"):
            value = dollars(value)
        elif field.column.endswith("_at_ms"):
            value = iso(value)
        elif name == "model_max_budget":
            value = _budgets_by_model(value)
        if value is None and name in _LISTS:
            value = []
        if value is None and name in _MAPPINGS:
            value = {}
        found[name] = value
    return found


def _history(row: Row) -> dict[str, Any]:
    return {
        "created_at": iso(row["created_at_ms"]),
        "created_by": row["created_by"],
        "updated_at": iso(row["updated_at_ms"]),
        "updated_by": row["updated_by"],
    }


def _reset_at(row: Row) -> str | None:
    """When the budget's window ends: windows go by the calendar, so nobody has to reset them."""
    duration = row["budget_duration"]
    return None if duration is None else iso(Window(duration).bounds(now_ms())[1])


def _spend(row: Row, ledger_nusd: int) -> float:
    return ((row["spend_before_nusd"] or 0) + ledger_nusd) / NUSD_PER_USD


def budget_table(row: Row | None) -> dict[str, Any] | None:
    """`litellm_budget_table`: the budget that something points to."""
    return None if row is None else budget(row)


def key(row: Row, ledger_nusd: int = 0, budget_row: Row | None = None) -> dict[str, Any]:
    """`info` of `/key/info`, and what `/key/list` gives as a full object."""
    found = _fields(KEY, row)
    del found["send_invite_email"]
    return {
        **found,
        "key_name": row["key_name"],
        "spend": _spend(row, ledger_nusd),
        "expires": iso(row["expires_at_ms"]),
        "model_spend": {},
        "budget_reset_at": _reset_at(row),
        "is_service_account": row["is_service_account"],
        "litellm_budget_table": budget_table(budget_row),
        **_history(row),
    }


def made_key(row: Row, clear: str, asked: Mapping[str, Any], budget_row: Row | None = None) -> dict[str, Any]:
    """The one answer that holds a key itself."""
    return {
        **key(row, 0, budget_row),
        "duration": asked.get("duration"),
        "send_invite_email": asked.get("send_invite_email"),
        "key": clear,
        "token": row["key_hash"],
        "token_id": row["key_hash"],
    }


def team(row: Row, members: list[Row], ledger_nusd: int = 0, budget_row: Row | None = None) -> dict[str, Any]:
    """LiteLLM's team object."""
    return {
        "team_id": row["team_id"],
        **_fields(TEAM_FIELDS, row),
        "spend": _spend(row, ledger_nusd),
        "admins": [member["user_id"] for member in members if member["role"] == "admin"],
        "members": [member["user_id"] for member in members],
        "members_with_roles": [
            {"user_id": member["user_id"], "user_email": None, "role": member["role"]} for member in members
        ],
        "budget_reset_at": _reset_at(row),
        "litellm_budget_table": budget_table(budget_row),
        **_history(row),
    }


def membership(row: Row, ledger_nusd: int = 0) -> dict[str, Any]:
    """One entry of `team_memberships`."""
    return {
        "team_id": row["team_id"],
        "user_id": row["user_id"],
        "role": row["role"],
        "budget_id": row["budget_id"],
        "spend": _spend(row, ledger_nusd),
        "litellm_budget_table": {
            "max_budget": dollars(row["max_budget_nusd"]),
            "budget_duration": row["budget_duration"],
            "rpm_limit": row["rpm_limit"],
            "tpm_limit": row["tpm_limit"],
        },
    }


def organization(
    row: Row, members: list[dict[str, Any]], teams: list[Row], ledger_nusd: int = 0, budget_row: Row | None = None
) -> dict[str, Any]:
    """LiteLLM's organization object. It keeps limits in a budget of every organization's own; ours are on the row, and
    read in both places."""
    own = {name: value for name, value in _fields(BUDGET_FIELDS, row).items() if value not in (None, {})}
    return {
        "organization_id": row["organization_id"],
        **_fields(ORGANIZATION_FIELDS, row),
        "spend": _spend(row, ledger_nusd),
        "members": members,
        "teams": [team(each, []) for each in teams],
        "budget_reset_at": _reset_at(row),
        "litellm_budget_table": {
            **(budget(budget_row) if budget_row is not None else _fields(BUDGET_FIELDS, {})),
            "budget_id": row["budget_id"],
            **own,
        },
        **_history(row),
    }


def organization_membership(row: Row, ledger_nusd: int = 0) -> dict[str, Any]:
    """One entry of an organization's `members`."""
    return {
        "user_id": row["user_id"],
        "organization_id": row["organization_id"],
        "user_role": row["user_role"],
        "spend": _spend(row, ledger_nusd),
        "budget_id": row["budget_id"],
        "litellm_budget_table": {"max_budget": dollars(row["max_budget_nusd"])},
        "created_at": iso(row["created_at_ms"]),
        "updated_at": iso(row["updated_at_ms"]),
    }


def user(row: Row, teams: list[str], ledger_nusd: int = 0) -> dict[str, Any]:
    """`user_info` of `/user/info`."""
    return {
        "user_id": row["user_id"],
        **_fields(USER_FIELDS, row),
        "spend": _spend(row, ledger_nusd),
        "teams": teams,
        "budget_reset_at": _reset_at(row),
        **_history(row),
    }


def customer(row: Row, ledger_nusd: int = 0, budget_row: Row | None = None) -> dict[str, Any]:
    return {
        "user_id": row["customer_id"],
        **_fields(CUSTOMER_FIELDS, row),
        "spend": _spend(row, ledger_nusd),
        "litellm_budget_table": budget_table(budget_row),
        **_history(row),
    }


def budget(row: Row) -> dict[str, Any]:
    return {
        "budget_id": row["budget_id"],
        **_fields(BUDGET_FIELDS, row),
        "budget_reset_at": _reset_at(row),
        **_history(row),
    }


def audit(row: Row) -> dict[str, Any]:
    return {
        "id": row["audit_id"],
        "at": iso(row["at_ms"]),
        "actor": row["actor"],
        "actor_role": row["actor_role"],
        "request_id": row["request_id"],
        "action": row["action"],
        "kind": row["kind"],
        "object_id": row["object_id"],
        "before": row["before"],
        "after": row["after"],
    }
