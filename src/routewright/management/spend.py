"""`/spend/*` and `/global/spend/report`: what was spent, from the ledger, in LiteLLM's shapes.

Days are those of UTC and both ends count; a call belongs to the day that it ended on.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from sqlalchemy import select

from routewright.errors import InvalidRequest, PermissionDenied
from routewright.management import views
from routewright.management.request import Request
from routewright.management.rights import Actor
from routewright.store import schema
from routewright.store.ledger import DAY_MS, FAILED
from routewright.store.lineage import hashes_of
from routewright.store.reports import by_line, logs, tag_totals, texts, totals
from routewright.store.rows import get
from routewright.types import NUSD_PER_USD

DEFAULT_LOGS, MAX_LOGS = 100, 1000
MAX_DAYS = 3700
CALL_TYPES = {
    "chat": "acompletion", "completions": "atext_completion", "embeddings": "aembedding", "files": "acreate_file",
    "batches": "acreate_batch", "batch": "aretrieve_batch",
}  # fmt: skip
"""LiteLLM's words for our endpoints."""
_REPORTS = {
    "team": ("team_id", "teams", "team_name"),
    "customer": ("customer_id", "customers", "customer"),
    "internal_user": ("user_id", "users", "user"),
    "api_key": ("key_hash", "api_keys", "api_key"),
    "model": ("model", "models", "model"),
    "organization": ("organization_id", "organizations", "organization"),
}


def list_logs(request: Request) -> list[dict[str, Any]]:
    """Single calls, newest first; or sums by the day where both dates are given and `summarize` is not false."""
    of = _own(request)
    for name, column in (("user_id", "user_id"), ("team_id", "team_id"), ("end_user", "customer_id"),
                         ("model", "model"), ("organization_id", "organization_id")):  # fmt: skip
        _narrow(of, column, request.asked(name))
    key = request.asked("api_key")
    _narrow(of, "key_hash", hash_of(key) if key is not None else None)
    _with_former(request, of)
    from_ms, to_ms = dates(request)
    request_id = request.asked("request_id")
    is_summary = request.asked("summarize") != "false" and request_id is None
    if is_summary and request.asked("start_date") and request.asked("end_date"):
        return _by_day(request, of, from_ms, to_ms)
    most, before = limit(request), _cursor(request.asked("before"))
    for column in ("request_id", "call_id") if request_id is not None else ("",):
        also = {column: [request_id]} if request_id is not None else {}
        rows = logs(request.connection, of={**of, **also}, from_ms=from_ms, to_ms=to_ms, limit=most, before=before)
        if rows:
            found = [(row, _texts(request, row) if request_id is not None else None) for row in rows]
            # Whoever reads what somebody has said is in the audit, as on the pages; their own words are their own.
            if not request.reaches_own_only and any(said is not None for _, said in found):
                request.readings.append(("prompt", rows[0]["request_id"]))
            return [_log(row, said) for row, said in found]
    return []


def _texts(request: Request, row: Mapping[str, Any]) -> tuple[str, str] | None:
    """What was asked and answered: for administrators, and for whose call it was. Leading a team is no reason."""
    actor = request.actor
    is_own = row["key_hash"] == actor.key_hash or (row["user_id"] is not None and row["user_id"] == actor.user_id)
    if request.reaches_own_only and not is_own:
        return None
    return texts(request.connection, row["call_id"], row["attempt"])


def keys(request: Request) -> list[dict[str, Any]]:
    """Keys by what they have spent, dearest first."""
    from_ms, to_ms = dates(request)
    of = _own(request)
    _with_former(request, of)
    sums = by_line(request.connection, totals(request.connection, ["key_hash"], from_ms=from_ms, to_ms=to_ms, of=of))
    sums = sums[: limit(request)]
    stored = _rows(request, schema.keys, "key_hash", sums)
    found = []
    for row in sums:
        key_hash = row["key_hash"]
        about = stored.get(key_hash)
        if about is not None:
            told = {**views.key(about), "spend": _usd(row) + about["spend_before_nusd"] / 1e9}
        else:
            told = {"key_name": None, "key_alias": _alias(request, key_hash), "spend": _usd(row)}
        found.append({"token": key_hash, **told, **_figures(row)})
    return found


def users(request: Request) -> list[dict[str, Any]]:
    """Users by what they have spent."""
    return _owners(request, "user_id", schema.users, lambda row: views.user(row, []))


def teams(request: Request) -> list[dict[str, Any]]:
    """Teams by what they have spent."""
    return _owners(request, "team_id", schema.teams, lambda row: views.team(row, []))


def tags(request: Request) -> list[dict[str, Any]]:
    """Tags of requests: how many calls carried each, and what they cost."""
    from_ms, to_ms = dates(request)
    wanted = request.asked("tags")
    sums = tag_totals(
        request.connection, from_ms=from_ms, to_ms=to_ms, tags=wanted.split(",") if wanted is not None else ()
    )
    return [
        {
            "individual_request_tag": row["tag"],
            "log_count": row["requests"],
            "total_spend": _usd(row),
            "total_tokens": row["total_tokens"],
        }
        for row in sums[: limit(request)]
    ]


def report(request: Request) -> list[dict[str, Any]]:
    """Spend by the day and by `group_by`: team (default), customer, internal_user, api_key, model or organization."""
    group = request.asked("group_by") or "team"
    if group not in _REPORTS:
        raise InvalidRequest(f"group_by: expected {', '.join(_REPORTS)}", param="group_by")
    column, plural, name = _REPORTS[group]
    from_ms, to_ms = dates(request, is_required=True)
    of: dict[str, list[str]] = {}
    for asked, owner in (("team_id", "team_id"), ("internal_user_id", "user_id"), ("customer_id", "customer_id"),
                         ("organization_id", "organization_id")):  # fmt: skip
        _narrow(of, owner, request.asked(asked))
    key = request.asked("api_key")
    _narrow(of, "key_hash", hash_of(key) if key is not None else None)
    _with_former(request, of)
    if {"customer_id", "organization_id"} <= {column, *of}:
        raise InvalidRequest("there are no sums of an organization's customers", param="organization_id")
    by = list(dict.fromkeys(["day_at_ms", column, "model"]))
    sums = by_line(request.connection, totals(request.connection, by, from_ms=from_ms, to_ms=to_ms, of=of))
    names = {}
    if group == "team":
        rows = _rows(request, schema.teams, "team_id", sums)
        names = {team_id: row["team_alias"] for team_id, row in rows.items() if row["team_alias"]}
    elif group == "organization":
        rows = _rows(request, schema.organizations, "organization_id", sums)
        names = {each: row["organization_alias"] for each, row in rows.items()}
    days: dict[int, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in sums:
        days[row["day_at_ms"]][row[column]].append(row)
    return [
        {
            "group_by_day": _iso_day(day),
            plural: [
                {
                    name: names.get(owner, owner) or None,
                    **({column: owner or None} if group in ("team", "organization") else {}),
                    **_totals_of(rows),
                    "metadata": [{"model": row["model"] or None, "spend": _usd(row), **_figures(row)} for row in rows],
                }
                for owner, rows in owners.items()
            ],
        }
        for day, owners in sorted(days.items())
    ]


# --- parts of them ------------------------------------------------------------------------------------------------


def _own(request: Request) -> dict[str, list[str]]:
    """What the caller may see at most: an administrator all, a team's leader the team, who governs an organization
    that, others what is their own."""
    if not request.reaches_own_only:
        return {}
    actor, team_id = request.actor, request.asked("team_id")
    organization_id = request.asked("organization_id")
    if organization_id is not None and organization_id in actor.governs:
        return {"organization_id": [organization_id]}
    if team_id is not None and team_id in actor.leads:
        return {"team_id": [team_id]}
    if actor.user_id is None:
        return {"key_hash": [actor.key_hash]}
    return {"user_id": [actor.user_id], **bound_to(actor)}


def bound_to(actor: Actor) -> dict[str, list[str]]:
    """A key for one team or one organization sees what was spent there."""
    if actor.team_id is not None:
        return {"team_id": [actor.team_id]}
    return {"organization_id": [actor.organization_id]} if actor.organization_id is not None else {}


def _narrow(of: dict[str, list[str]], column: str, value: str | None) -> None:
    """Ask for one owner only. Raises PermissionDenied for one that the caller may not see."""
    if value is None:
        return
    if value not in of.setdefault(column, [value]):
        raise PermissionDenied("you may see your own spend only")
    of[column] = [value]


def _with_former(request: Request, of: dict[str, list[str]]) -> None:
    """Keys that a key has replaced are meant with it: their calls are its past."""
    asked = of.get("key_hash")
    if asked is not None:
        rows = [row for key_hash in asked if (row := get(request.connection, schema.keys, key_hash)) is not None]
        of["key_hash"] = list(dict.fromkeys(asked + [
            one for row in rows if row["lineage_hash"] for one in hashes_of(request.connection, row["lineage_hash"])
        ]))  # fmt: skip


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest() if key.startswith("sk-") else key


def _moment(text: str, name: str) -> tuple[int, bool]:
    """(milliseconds, is a whole day). Raises InvalidRequest."""
    try:
        if len(text) == len("2026-01-01"):
            day = date.fromisoformat(text)
            return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000, True
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{name}: expected a day such as 2026-01-31", param=name) from None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000), False


def dates(request: Request, *, is_required: bool = False) -> tuple[int, int | None]:
    """First millisecond of `start_date`, and the one after `end_date`."""
    start, end = request.asked("start_date"), request.asked("end_date")
    for name, value in (("start_date", start), ("end_date", end)):
        if is_required and value is None:
            raise InvalidRequest(f"{name}: expected a day such as 2026-01-31", param=name)
    from_ms = _moment(start, "start_date")[0] if start is not None else 0
    to_ms = None
    if end is not None:
        to_ms, is_day = _moment(end, "end_date")
        to_ms += DAY_MS if is_day else 1
        if to_ms <= from_ms or (start is not None and to_ms - from_ms > MAX_DAYS * DAY_MS):
            raise InvalidRequest(f"end_date: expected a day from start_date on, at most {MAX_DAYS} later",
                                 param="end_date")  # fmt: skip
    return from_ms, to_ms


def limit(request: Request) -> int:
    text = request.asked("limit")
    if text is None:
        return DEFAULT_LOGS
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_LOGS:
        raise InvalidRequest(f"limit: expected a whole number from 1 to {MAX_LOGS}", param="limit")
    return int(text)


def _cursor(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    at_ms, _, row_id = text.partition("-")
    if not (at_ms + row_id).isascii() or not at_ms.isdigit() or not row_id.isdigit() or len(text) > 40:
        raise InvalidRequest("before: expected the `cursor` of a row", param="before")
    return int(at_ms), int(row_id)


def _owners(request: Request, column: str, table: Any, view: Any) -> list[dict[str, Any]]:
    from_ms, to_ms = dates(request)
    of: dict[str, list[str]] = {}
    _narrow(of, column, request.asked(column))
    sums = totals(request.connection, [column], from_ms=from_ms, to_ms=to_ms, of=of)
    sums = [row for row in sums if row[column]][: limit(request)]
    stored = _rows(request, table, column, sums)
    found = []
    for row in sums:
        about = stored.get(row[column])
        told = view(about) if about is not None else {column: row[column]}
        before = about["spend_before_nusd"] if about is not None else 0
        found.append({**told, "spend": _usd(row) + before / 1e9, **_figures(row)})
    return found


def _by_day(request: Request, of: Mapping[str, Sequence[str]], from_ms: int, to_ms: int | None) -> list[dict[str, Any]]:
    """LiteLLM's summary: for each day what was spent, by whom and on what."""
    days: dict[int, dict[str, Any]] = {}
    by = ["day_at_ms", "key_hash", "user_id", "model"]
    for row in totals(request.connection, by, from_ms=from_ms, to_ms=to_ms, of=of):
        day = days.setdefault(
            row["day_at_ms"],
            {"startTime": _iso_day(row["day_at_ms"])[:10], "spend": 0.0, "users": {}, "models": {}, "api_keys": {}},
        )
        day["spend"] += _usd(row)
        for place, name in (("users", row["user_id"]), ("models", row["model"]), ("api_keys", row["key_hash"])):
            if name:
                day[place][name] = day[place].get(name, 0.0) + _usd(row)
    return [days[day] for day in sorted(days)]


def _rows(request: Request, table: Any, column: str, sums: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ids = {row[column] for row in sums}
    found = request.connection.execute(select(table).where(table.c[column].in_(ids))).mappings() if ids else ()
    return {row[column]: dict(row) for row in found}


def _alias(request: Request, key_hash: str) -> str | None:
    """What a key of the configuration was called last; the store has no row of it."""
    table = schema.spend
    wanted = select(table.c.key_alias).where(table.c.key_hash == key_hash).order_by(table.c.ended_at_ms.desc())
    return request.connection.execute(wanted.limit(1)).scalar()


def _usd(row: Mapping[str, Any]) -> float:
    return int(row["cost_nusd"]) / 1e9


def _figures(row: Mapping[str, Any]) -> dict[str, int]:
    return {
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "total_tokens": row["prompt_tokens"] + row["completion_tokens"],
        "api_requests": row["requests"],
        "failed_requests": row["failed_requests"],
        "unpriced_requests": row["unpriced_requests"],
    }


def _totals_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "total_spend": sum(row["cost_nusd"] for row in rows) / 1e9,
        "total_tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows),
        "api_requests": sum(row["requests"] for row in rows),
    }


def _iso_day(day_at_ms: int) -> str:
    return datetime.fromtimestamp(day_at_ms / 1000, UTC).isoformat()


def _said(texts: tuple[str, str] | None) -> dict[str, Any]:
    """A call's words, where they are kept: what the model was to answer, the answer, and the whole request."""
    if texts is None:
        return {"messages": None, "response": None, "proxy_server_request": None}
    request, response = (_decoded(text) for text in texts)
    asked = request if isinstance(request, dict) else {}
    messages = next((asked[name] for name in ("messages", "input", "contents", "prompt") if name in asked), request)
    return {"messages": messages, "response": response, "proxy_server_request": request}


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # an answer that was cut, or is no JSON
        return text


def _log(row: Mapping[str, Any], said: tuple[str, str] | None = None) -> dict[str, Any]:
    """A call, in LiteLLM's words; `cursor` is ours, and gets the page after it by `before`."""
    has_failed = row["ended"] in FAILED
    notes = (row["extra"] or {}).get("notes", {})
    return {
        "request_id": row["request_id"],
        "call_id": row["call_id"],
        "call_type": CALL_TYPES.get(row["endpoint"], row["endpoint"]),
        "api_key": row["key_hash"],
        "key_alias": row["key_alias"],
        "spend": _usd(row),
        "total_tokens": row["prompt_tokens"] + row["completion_tokens"],
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "startTime": views.iso(row["started_at_ms"]),
        "endTime": views.iso(row["ended_at_ms"]),
        "completionStartTime": views.iso(row["first_byte_at_ms"]),
        "model": row["model"],
        "model_id": row["deployment_id"],
        "model_group": row["model_asked"],
        "custom_llm_provider": row["provider"],
        "api_base": None,
        "user": row["user_id"],
        "end_user": row["customer_id"],
        "team_id": row["team_id"],
        "organization_id": row["organization_id"],
        "metadata": {
            "status_code": row["status"],
            "error_code": row["error_code"],
            "ended": row["ended"],
            "is_stream": row["is_stream"],
            "attempt": row["attempt"],
            "cached_tokens": row["cached_tokens"],
            "cache_creation_tokens": row["cache_creation_tokens"],
            "reasoning_tokens": row["reasoning_tokens"],
            "audio_tokens": row["audio_tokens"],
            "is_estimated": row["is_estimated"],
            "is_priced": row["is_priced"],
            "price_version": row["price_version"],
            "decision": (row["extra"] or {}).get("decision"),
            "units": (row["extra"] or {}).get("units"),
            "saved_usd": notes.get("saved_nusd", 0) / NUSD_PER_USD,
            "similarity": notes.get("similarity"),
            "guardrails": notes.get("guardrails", []),
            "blocked_by": notes.get("blocked_by"),
            "found": notes.get("found", {}),
        },
        "cache_hit": str(bool(notes.get("cache_hit"))),
        "cache_key": notes.get("cache_key"),
        "request_tags": row["tags"] or [],
        "requester_ip_address": row["peer"],
        "session_id": row["session_id"],
        "status": "failure" if has_failed else "success",
        **_said(said),
        "cursor": f"{row['ended_at_ms']}-{row['row_id']}",
    }
