"""`/user/daily/activity` and its kin for teams and organizations, `/global/spend*`, `/global/activity*`: days and
their sums, in LiteLLM's shapes. All of it comes from the ledger's sums, however many calls there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from routewright.errors import PermissionDenied
from routewright.management.request import Request
from routewright.management.spend import bound_to, dates, hash_of, limit
from routewright.store import schema
from routewright.store.database import now_ms
from routewright.store.ledger import DAY_MS
from routewright.store.reports import by_line, totals
from routewright.store.rows import find, get

DEFAULT_DAYS = 30
_BREAKDOWN = {"models": "model", "providers": "provider", "api_keys": "key_hash"}
Sums = Sequence[Mapping[str, Any]]


def of_user(request: Request) -> dict[str, Any]:
    """Days of `user_id`, of everybody for an administrator who names nobody, else the caller's own."""
    of: dict[str, list[str]] = {}
    user_id = request.asked("user_id")
    if request.reaches_own_only:
        actor = request.actor
        if user_id is not None and user_id != actor.user_id:
            raise PermissionDenied("you may see your own activity only")
        of = {"key_hash": [actor.key_hash]} if actor.user_id is None else {"user_id": [actor.user_id]}
        of |= bound_to(actor)
    elif user_id is not None:
        of = {"user_id": [user_id]}
    return _daily(request, of, {})


def of_team(request: Request) -> dict[str, Any]:
    """Days of `team_ids`, by team too; who leads teams sees those."""
    asked = request.asked("team_ids")
    teams = None if asked is None else asked.split(",")
    if request.reaches_own_only:
        leads = sorted(request.actor.leads)
        if not set(teams or leads) <= set(leads):
            raise PermissionDenied("you may see the activity of teams that you lead")
        teams = teams or leads
    return _daily(request, {} if teams is None else {"team_id": teams}, {"entities": "team_id"})


def of_organization(request: Request) -> dict[str, Any]:
    """Days of `organization_ids`, by organization too; who governs organizations sees those."""
    asked = request.asked("organization_ids") or request.asked("organization_id")
    wanted = None if asked is None else asked.split(",")
    if request.reaches_own_only:
        governs = sorted(request.actor.governs)
        if not set(wanted or governs) <= set(governs):
            raise PermissionDenied("you may see the activity of organizations that you govern")
        wanted = wanted or governs
    of = {} if wanted is None else {"organization_id": wanted}
    return _daily(request, of, {"entities": "organization_id"})


def _daily(request: Request, of: dict[str, list[str]], more: Mapping[str, str]) -> dict[str, Any]:
    key, model = request.asked("api_key"), request.asked("model")
    if key is not None:
        of["key_hash"] = [each for each in [hash_of(key)] if each in of.get("key_hash", [each])]
    if model is not None:
        of["model"] = [model]
    from_ms, to_ms = _days(request)
    breakdown = {**_BREAKDOWN, **more}
    columns = ["day_at_ms", *breakdown.values()]
    sums = by_line(request.connection, totals(request.connection, columns, from_ms=from_ms, to_ms=to_ms, of=of))
    days = _grouped(sums, "day_at_ms")
    number, size = request.page(DEFAULT_DAYS)
    newest_first = sorted(days, reverse=True)
    shown = newest_first[(number - 1) * size : number * size]
    pages = -(-len(days) // size)
    return {
        "results": [
            {
                "date": _day(day),
                "metrics": _metrics(days[day]),
                "breakdown": {
                    name: {
                        owner: {"metrics": _metrics(rows), "metadata": _about(request, column, owner)}
                        for owner, rows in _grouped(days[day], column).items()
                        if owner
                    }
                    for name, column in breakdown.items()
                },
            }
            for day in shown
        ],
        "metadata": {
            **{f"total_{name}": value for name, value in _metrics(sums).items() if name != "total_tokens"},
            "total_tokens": _metrics(sums)["total_tokens"],
            "page": number,
            "total_pages": pages,
            "has_more": number < pages,
        },
    }


def _about(request: Request, column: str, owner: str) -> dict[str, Any]:
    if column == "key_hash":
        row = get(request.connection, schema.keys, owner)
        return {"key_alias": row["key_alias"] if row else None, "team_id": row["team_id"] if row else None}
    if column == "team_id":
        row = get(request.connection, schema.teams, owner)
        return {"team_alias": row["team_alias"] if row else None}
    if column == "organization_id":
        row = get(request.connection, schema.organizations, owner)
        return {"organization_alias": row["organization_alias"] if row else None}
    return {}


def spend(request: Request) -> dict[str, Any]:
    """`/global/spend`: all that was ever spent."""
    sums = totals(request.connection, ["provider"])
    return {"spend": _usd(sums), "max_budget": 0.0}


def spend_by_day(request: Request) -> list[dict[str, Any]]:
    """`/global/spend/logs`: a sum for each day."""
    of = {}
    key = request.asked("api_key")
    if key is not None:
        of["key_hash"] = [hash_of(key)]
    days = _grouped(_sums(request, ["day_at_ms"], of), "day_at_ms")
    return [{"date": _day(day), "spend": _usd(days[day])} for day in sorted(days)]


def spend_by_key(request: Request) -> list[dict[str, Any]]:
    """`/global/spend/keys`: those who have spent most."""
    sums = by_line(request.connection, _sums(request, ["key_hash"]))[: limit(request)]
    known = {row["key_hash"]: row for row in find(
        request.connection, schema.keys, schema.keys.c.key_hash.in_([row["key_hash"] for row in sums])
    )}  # fmt: skip
    return [
        {
            "api_key": row["key_hash"],
            "key_alias": known[row["key_hash"]]["key_alias"] if row["key_hash"] in known else None,
            "key_name": known[row["key_hash"]]["key_name"] if row["key_hash"] in known else None,
            "total_spend": _usd([row]),
        }
        for row in sums
    ]


def spend_by_team(request: Request) -> dict[str, Any]:
    """`/global/spend/teams`: each team's days, and its total."""
    sums = _sums(request, ["day_at_ms", "team_id"])
    names = {row["team_id"]: row["team_alias"] or row["team_id"] for row in find(request.connection, schema.teams)}
    by_team = {names.get(team, team) or "Unassigned": rows for team, rows in _grouped(sums, "team_id").items()}
    days = _grouped(sums, "day_at_ms")
    return {
        "daily_spend": [
            {"date": _day(day), **{names.get(row["team_id"], row["team_id"]) or "Unassigned": _usd([row])
                                   for row in days[day]}}
            for day in sorted(days)
        ],
        "teams": list(by_team),
        "total_spend_per_team": [{"team_id": team, "total_spend": _usd(rows)} for team, rows in by_team.items()],
    }  # fmt: skip


def spend_by_model(request: Request) -> list[dict[str, Any]]:
    """`/global/spend/models`."""
    return [
        {"model": row["model"] or None, "total_spend": _usd([row])}
        for row in _sums(request, ["model"])[: limit(request)]
    ]


def spend_by_provider(request: Request) -> list[dict[str, Any]]:
    """`/global/spend/provider`."""
    return [{"provider": row["provider"] or None, "spend": _usd([row])} for row in _sums(request, ["provider"])]


def activity(request: Request) -> dict[str, Any]:
    """`/global/activity`: requests and tokens by the day."""
    return _activity(_sums(request, ["day_at_ms"]))


def activity_by_model(request: Request) -> list[dict[str, Any]]:
    """`/global/activity/model`."""
    by_model = _grouped(_sums(request, ["day_at_ms", "model"]), "model")
    return [{"model": model or None, **_activity(rows)} for model, rows in by_model.items()]


def _activity(sums: Sums) -> dict[str, Any]:
    days = _grouped(sums, "day_at_ms")
    figures = {day: _metrics(rows) for day, rows in days.items()}
    return {
        "daily_data": [
            {"date": _day(day), "api_requests": figures[day]["api_requests"],
             "total_tokens": figures[day]["total_tokens"]}
            for day in sorted(days)
        ],
        "sum_api_requests": sum(each["api_requests"] for each in figures.values()),
        "sum_total_tokens": sum(each["total_tokens"] for each in figures.values()),
    }  # fmt: skip


# --- parts of them ------------------------------------------------------------------------------------------------


def _days(request: Request) -> tuple[int, int | None]:
    from_ms, to_ms = dates(request)
    if not from_ms:
        from_ms = ((to_ms or now_ms()) // DAY_MS - DEFAULT_DAYS) * DAY_MS
    return from_ms, to_ms


def _sums(request: Request, by: Sequence[str], of: Mapping[str, Sequence[str]] | None = None) -> list[dict[str, Any]]:
    from_ms, to_ms = _days(request)
    return totals(request.connection, by, from_ms=from_ms, to_ms=to_ms, of=of)


def _grouped(sums: Sums, name: str) -> dict[Any, list[Mapping[str, Any]]]:
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for row in sums:
        found.setdefault(row[name], []).append(row)
    return found


def _metrics(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """LiteLLM's names for the sums of some rows."""
    rows = list(rows)

    def total(name: str) -> int:
        return sum(row[name] for row in rows)

    requests, failed = total("requests"), total("failed_requests")
    return {
        "spend": _usd(rows),
        "prompt_tokens": total("prompt_tokens"),
        "completion_tokens": total("completion_tokens"),
        "cache_read_input_tokens": total("cached_tokens"),
        "cache_creation_input_tokens": total("cache_creation_tokens"),
        "total_tokens": total("prompt_tokens") + total("completion_tokens"),
        "successful_requests": requests - failed,
        "failed_requests": failed,
        "api_requests": requests,
    }


def _usd(rows: Iterable[Mapping[str, Any]]) -> float:
    total: float = sum(row["cost_nusd"] for row in rows) / 1e9
    return total


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
