"""LiteLLM's audit log, as lines of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from routewright.store.schema import audit

TABLE = "LiteLLM_AuditLog"
_PREFIX = "litellm:"
"""Before the source's id, in `request_id`: by it a line is known that was taken before."""
_KINDS = {
    "LiteLLM_VerificationToken": "key", "LiteLLM_TeamTable": "team", "LiteLLM_UserTable": "user",
    "LiteLLM_ProxyModelTable": "model", "LiteLLM_OrganizationTable": "organization",
    "LiteLLM_BudgetTable": "budget", "LiteLLM_EndUserTable": "customer",
}  # fmt: skip
_HIDDEN = ("key", "secret", "password", "credential", "token", "headers", "litellm_params")
_SHOWN = frozenset({"key_name", "key_alias", "key_type", "max_tokens", "total_tokens"})
MAX_BYTES = 64 * 1024


def take(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Add the lines that are not there yet; the report's line."""
    known = set(connection.scalars(select(audit.c.request_id).where(audit.c.request_id.startswith(_PREFIX))))
    fresh = [line for row in rows if (line := _line(row)) is not None]
    new = [line for line in fresh if line["request_id"] not in known]
    if new:
        connection.execute(insert(audit), new)
    lines = [f"{TABLE}: {len(rows)} found, {len(new)} taken, {len(fresh) - len(new)} there already"]
    if len(fresh) < len(rows):
        lines.append(f"{TABLE}: {len(rows) - len(fresh)} left out: no id")
    return lines


def _line(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if not row.get("id"):
        return None
    at = row.get("updated_at")
    moment = at.replace(tzinfo=at.tzinfo or UTC) if isinstance(at, datetime) else datetime.fromtimestamp(0, UTC)
    table = _clean(row.get("table_name"))
    return {
        "at_ms": int(moment.timestamp() * 1000),
        "actor": _clean(row.get("changed_by")) or _clean(row.get("changed_by_api_key")) or "unknown",
        "actor_role": "litellm",
        "request_id": _PREFIX + str(row["id"]),
        "action": _clean(row.get("action")) or "updated",
        "kind": _KINDS.get(table, table or "unknown"),
        "object_id": _clean(row.get("object_id")),
        "before": _values(row.get("before_value")),
        "after": _values(row.get("updated_values")),
    }


def _clean(value: Any) -> str:
    """Nothing that could be a key in the clear."""
    text = value.replace("\0", "") if isinstance(value, str) else ""
    return "sk-***" if text.startswith("sk-") else text


def _values(value: Any) -> Any:
    """Without credentials, which LiteLLM's lines may hold; one that is very long is left out."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        return None
    found = _without_credentials(value)
    return found if len(json.dumps(found, default=str)) <= MAX_BYTES else {"left_out": "too long"}


def _without_credentials(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {_clean(key): _without_credentials(entry, str(key)) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_credentials(entry, name) for entry in value]
    if isinstance(value, str):
        is_hidden = name not in _SHOWN and any(word in name.lower() for word in _HIDDEN)
        return "***" if is_hidden and value else _clean(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)
