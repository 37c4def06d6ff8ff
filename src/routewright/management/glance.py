"""What the pages ask of the ledger, answered from its sums and from bounded numbers of its newest rows.

Times are milliseconds since 1970. Every answer is plain JSON values. No question looks at more than MOST_SEARCHED of
the single rows, so a page costs about the same whether the ledger holds a thousand calls or a hundred million.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, literal_column, or_, select, tuple_

from routewright.store.database import now_ms
from routewright.store.incoming import MOST
from routewright.store.ledger import DAY_MS, HOUR_MS, spent_nusd
from routewright.store.reports import texts, totals
from routewright.store.rows import Row
from routewright.store.schema import budgets, keys, organizations, spend, spend_models, teams, users
from routewright.windows import Window

MOST_SEARCHED = 100_000
"""Rows of one search that no index helps; older ones are another search."""
TIMED = 2_000
"""Newest answers that latencies are told of."""
CHOICES = 20_000
"""Newest requests to routes that shares of choices are told of."""
BINS = 24
PAGE = 50
HOURLY_MS = 49 * HOUR_MS
"""Spans up to this are shown by the hour, longer ones by the day."""
_SUMS = (
    "requests", "failed_requests", "prompt_tokens", "completion_tokens", "cost_nusd", "baseline_nusd",
    "unpriced_requests",
)  # fmt: skip
_FAILED: ColumnElement[bool] = literal_column("spend.error_code IS NOT NULL")
"""In the words of the index over them."""
_LISTED = (
    "row_id", "call_id", "request_id", "started_at_ms", "first_byte_at_ms", "ended_at_ms", "endpoint", "key_hash",
    "key_alias", "team_id", "user_id", "model_asked", "model", "deployment_id", "provider", "route", "status",
    "error_code", "ended", "is_stream", "prompt_tokens", "completion_tokens", "cost_nusd", "baseline_nusd", "is_priced",
)  # fmt: skip
_TABLES = {"key": keys, "team": teams, "organization": organizations}
_BY_INDEX = ("key_hash", "team_id", "user_id", "customer_id")
_BY_SEARCH = ("model", "model_asked", "route", "provider", "endpoint", "deployment_id")


# --- the overview --------------------------------------------------------------------------------------------------


def overview(connection: Connection, *, span_ms: int) -> dict[str, Any]:
    """Sums of the last `span_ms` by the hour or day, and by model: lists in the order of `sums`."""
    now = now_ms()
    is_hourly = span_ms <= HOURLY_MS
    table, step = spend_models, HOUR_MS if is_hourly else DAY_MS
    hour = table.c.hour_at_ms
    first = (now - span_ms) // step * step + step
    start = hour - hour % step
    wanted = select(start, table.c.model, *[func.sum(table.c[name]) for name in _SUMS])
    wanted = wanted.where(hour >= first).group_by(start, table.c.model)
    by_time: dict[int, list[int]] = {at: [0] * len(_SUMS) for at in range(first, now + 1, step)}
    by_model: dict[str, list[int]] = {}
    by_both: list[tuple[int, str, int, int]] = []
    for at, model, *sums in connection.execute(wanted):
        values = [int(value) for value in sums]
        for known in (by_time.setdefault(at, [0] * len(_SUMS)), by_model.setdefault(model, [0] * len(_SUMS))):
            for place, value in enumerate(values):
                known[place] += value
        by_both.append((at, model, values[0], values[4]))
    return {
        "sums": list(_SUMS),
        "now_ms": now,
        "step_ms": step,
        "by_time": sorted(by_time.items()),
        "by_model": sorted(by_model.items(), key=lambda item: (-item[1][4], -item[1][0], item[0])),
        "by_both": by_both,
    }


def latencies(connection: Connection) -> dict[str, list[float]]:
    """By model: answers looked at, then median and 95th percentile of the whole answer and of its first byte, in ms."""
    wanted = (
        select(spend.c.model, spend.c.ended_at_ms - spend.c.started_at_ms, spend.c.first_byte_at_ms
               - spend.c.started_at_ms)
        .where(spend.c.ended == "complete")
        .order_by(spend.c.ended_at_ms.desc())
        .limit(TIMED)
    )  # fmt: skip
    whole: dict[str, list[int]] = defaultdict(list)
    first: dict[str, list[int]] = defaultdict(list)
    for model, took, waited in connection.execute(wanted):
        whole[model or ""].append(took)
        if waited is not None:
            first[model or ""].append(waited)
    return {
        model: [len(times), *_percentiles(times), *_percentiles(first[model])] for model, times in sorted(whole.items())
    }


def _percentiles(values: list[int]) -> tuple[float, float]:
    """Median and 95th percentile; 0 of nothing."""
    values.sort()
    if not values:
        return 0.0, 0.0
    return float(values[len(values) // 2]), float(values[min(len(values) - 1, int(len(values) * 0.95))])


def failures(connection: Connection, *, limit: int = 8) -> list[Row]:
    """The newest requests that failed."""
    wanted = select(*[spend.c[name] for name in _LISTED]).where(_FAILED)
    wanted = wanted.order_by(spend.c.ended_at_ms.desc()).limit(limit)
    return [dict(row) for row in connection.execute(wanted).mappings()]


# --- requests ------------------------------------------------------------------------------------------------------


def requests(
    connection: Connection,
    *,
    of: Mapping[str, str],
    failed: bool = False,
    from_ms: int = 0,
    to_ms: int | None = None,
    before: Sequence[int] = (),
    limit: int = 50,
) -> dict[str, Any]:
    """One page of the ledger, newest first. `before`: (ended_at_ms, row_id) of the last row of the page before.

    `searched_to_ms`: where a search that no index helps was broken off; None: all was looked at.
    """
    wanted = select(*[spend.c[name] for name in _LISTED])
    for name, value in of.items():
        if name not in (*_BY_INDEX, *_BY_SEARCH):
            raise ValueError(f"no requests by {name}")
        wanted = wanted.where(spend.c[name] == value)
    if failed:
        wanted = wanted.where(_FAILED)
    start = tuple(before) or ((to_ms, 0) if to_ms is not None else ())
    if start:
        wanted = wanted.where(tuple_(spend.c.ended_at_ms, spend.c.row_id) < start)
    searched_to = None
    if not failed and any(name in of for name in _BY_SEARCH) and not any(name in of for name in _BY_INDEX):
        searched_to = _bound(connection, start)
        if searched_to is not None and searched_to <= from_ms:
            searched_to = None
    least = max(from_ms, searched_to or 0)
    if least:
        wanted = wanted.where(spend.c.ended_at_ms >= least)
    wanted = wanted.order_by(spend.c.ended_at_ms.desc(), spend.c.row_id.desc()).limit(limit + 1)
    rows = [dict(row) for row in connection.execute(wanted).mappings()]
    has_more = len(rows) > limit
    return {"rows": rows[:limit], "has_more": has_more, "searched_to_ms": None if has_more else searched_to}


def _bound(connection: Connection, start: tuple[int, ...]) -> int | None:
    """When the last of the MOST_SEARCHED newest rows before `start` ended."""
    wanted = select(spend.c.ended_at_ms)
    if start:
        wanted = wanted.where(spend.c.ended_at_ms <= start[0])
    wanted = wanted.order_by(spend.c.ended_at_ms.desc()).offset(MOST_SEARCHED).limit(1)
    found: int | None = connection.execute(wanted).scalar()
    return found


def request(connection: Connection, *, name: str) -> list[Row]:
    """Every call of one request, by the request's id or a call's: the first first.

    `texts`: what was asked and answered, as JSON, or None. Whoever may see the pages is an administrator, and may see
    what is kept of anybody, as by `/spend/logs`.
    """
    for column in (spend.c.request_id, spend.c.call_id):
        wanted = select(spend).where(column == name).order_by(spend.c.started_at_ms, spend.c.row_id).limit(50)
        rows = [dict(row) for row in connection.execute(wanted).mappings()]
        if rows:
            return [{**row, "texts": texts(connection, row["call_id"], row["attempt"])} for row in rows]
    return []


# --- routes --------------------------------------------------------------------------------------------------------


def choices(connection: Connection) -> dict[str, Any]:
    """By route: how many of the newest requests went to each model, over time in BINS equal parts."""
    newest = (
        select(spend.c.ended_at_ms, spend.c.route, spend.c.model)
        .order_by(spend.c.ended_at_ms.desc())
        .limit(CHOICES)
        .subquery()
    )
    wanted = select(newest).where(newest.c.route.is_not(None), newest.c.model.is_not(None))
    rows = [(at, route, model) for at, route, model in connection.execute(wanted)]
    if not rows:
        return {"from_ms": 0, "to_ms": 0, "routes": {}}
    first, last = min(row[0] for row in rows), max(row[0] for row in rows)
    width = max(1, (last - first) // BINS + 1)
    found: dict[str, dict[str, list[int]]] = {}
    for at, route, model in rows:
        bins = found.setdefault(route, {}).setdefault(model, [0] * BINS)
        bins[(at - first) // width] += 1
    return {"from_ms": first, "to_ms": last, "routes": found}


# --- owners --------------------------------------------------------------------------------------------------------


def spend_by_day(connection: Connection, *, days: int, of: Mapping[str, str]) -> list[dict[str, Any]]:
    """Sums by day and model of one owner, or of all."""
    from_ms = (now_ms() // DAY_MS - days + 1) * DAY_MS
    chosen = {name: [value] for name, value in of.items()}
    return totals(connection, ["day_at_ms", "model"], from_ms=from_ms, of=chosen)


def spend_table(connection: Connection, *, days: int) -> list[dict[str, Any]]:
    """For export: sums by day, key, team, user and model, with the names of keys and teams."""
    from_ms = (now_ms() // DAY_MS - days + 1) * DAY_MS
    rows = totals(connection, ["day_at_ms", "key_hash", "team_id", "user_id", "model"], from_ms=from_ms)
    key_names = _names(connection, keys.c.key_hash, keys.c.key_alias, {row["key_hash"] for row in rows})
    team_names = _names(connection, teams.c.team_id, teams.c.team_alias, {row["team_id"] for row in rows})
    for row in rows:
        row["key_alias"] = key_names.get(row["key_hash"])
        row["team_alias"] = team_names.get(row["team_id"])
    return sorted(rows, key=lambda row: (row["day_at_ms"], row["key_hash"], row["model"]))


def _names(connection: Connection, column: Any, name: Any, ids: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    wanted = sorted(ids)
    for start in range(0, len(wanted), 500):
        statement = select(column, name).where(column.in_(wanted[start : start + 500]), name.is_not(None))
        found |= {row[0]: row[1] for row in connection.execute(statement)}
    return found


def names(connection: Connection) -> dict[str, list[list[str | None]]]:
    """Teams, users and organizations to choose from in a form: id and name, the first few hundred."""
    team_rows = connection.execute(select(teams.c.team_id, teams.c.team_alias).order_by(teams.c.team_id).limit(300))
    user_rows = connection.execute(select(users.c.user_id, users.c.user_alias).order_by(users.c.user_id).limit(300))
    table = organizations.c
    wanted = select(table.organization_id, table.organization_alias).order_by(table.organization_id).limit(300)
    return {
        "teams": [list(row) for row in team_rows],
        "users": [list(row) for row in user_rows],
        "organizations": [list(row) for row in connection.execute(wanted)],
    }


def search_keys(connection: Connection, *, text: str, number: int) -> dict[str, Any]:
    """Keys by a part of their alias, team or user, or by the start of their hash; newest first, with their spend."""
    table = keys
    parts = [table.c.key_alias, table.c.team_id, table.c.user_id]
    where = or_(*[part.contains(text, autoescape=True) for part in parts],
                table.c.key_hash.startswith(text, autoescape=True)) if text else None  # fmt: skip
    return _owners(connection, table, "key", where, number)


def search_owners(connection: Connection, *, scope: str, text: str, number: int) -> dict[str, Any]:
    """Teams or organizations by a part of their id or alias, with their spend."""
    table = _TABLES[scope]
    parts = [table.c[f"{scope}_id"], table.c[f"{scope}_alias"]]
    where = or_(*[part.contains(text, autoescape=True) for part in parts]) if text else None
    return _owners(connection, table, scope, where, number)


def owned(connection: Connection, *, scope: str, of: str, name: str) -> dict[str, Any]:
    """The newest keys or teams of a team or an organization, with their spend."""
    table = _TABLES[scope]
    return _owners(connection, table, scope, table.c[f"{of}_id"] == name, 1)


def owner(connection: Connection, *, scope: str, name: str) -> Row | None:
    """One key, team or organization, with its spend."""
    table = _TABLES[scope]
    column = next(iter(table.primary_key.columns))
    found = _owners(connection, table, scope, column == name, 1)["rows"]
    return found[0] if found else None


def _owners(
    connection: Connection, table: Table, scope: str, where: ColumnElement[bool] | None, number: int
) -> dict[str, Any]:
    chosen = [] if where is None else [where]
    total = connection.scalar(select(func.count()).select_from(table).where(*chosen)) or 0
    wanted = select(table).where(*chosen).order_by(table.c.created_at_ms.desc(), *table.primary_key.columns)
    wanted = wanted.limit(PAGE).offset((number - 1) * PAGE)
    rows = [dict(row) for row in connection.execute(wanted).mappings()]
    _add_spend(connection, scope, rows)
    return {"rows": rows, "total": total, "number": number, "pages": -(-total // PAGE)}


def _add_spend(connection: Connection, scope: str, rows: Sequence[Row]) -> None:
    """To each row: the budget in force, what its window has spent, when that ends, and the spend of thirty days."""
    column = "key_hash" if scope == "key" else f"{scope}_id"
    now = now_ms()
    month = totals(
        connection, [column], from_ms=now - 30 * DAY_MS, of={column: [row[column] for row in rows]}
    ) if rows else []  # fmt: skip
    by_owner = {row[column]: row["cost_nusd"] for row in month}
    named = {row["budget_id"] for row in rows if row["budget_id"]}
    shared = {
        row["budget_id"]: dict(row)
        for row in connection.execute(select(budgets).where(budgets.c.budget_id.in_(named))).mappings()
    } if named else {}  # fmt: skip
    for row in rows:
        row["month_nusd"] = by_owner.get(row[column], 0)
        budget = row if row["max_budget_nusd"] is not None else shared.get(row["budget_id"], row)
        row["budget_nusd"], duration = budget["max_budget_nusd"], budget["budget_duration"]
        row["budget_window"] = duration
        row["spent_nusd"], row["window_end_ms"] = None, None
        if row["budget_nusd"] is not None:
            start, end = Window(duration).bounds(now) if duration else (0, None)
            row["window_end_ms"] = end
            spent = spent_nusd(connection, scope, row[column], start, MOST if end is None else end)
            row["spent_nusd"] = spent + (0 if duration else row["spend_before_nusd"])


QUESTIONS: dict[str, Callable[..., Any]] = {
    "overview": overview,
    "latencies": latencies,
    "failures": failures,
    "requests": requests,
    "request": request,
    "choices": choices,
    "spend_by_day": spend_by_day,
    "spend_table": spend_table,
    "names": names,
    "search_keys": search_keys,
    "search_owners": search_owners,
    "owned": owned,
    "owner": owner,
}
