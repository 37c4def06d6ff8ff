"""Keys and budgets: found, made, changed, blocked, rotated; what was spent, on screen and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from routewright.admin.ui import charts, figures
from routewright.admin.ui.desk import Reply, Route, Visit, json_reply
from routewright.auth import ANONYMOUS
from routewright.errors import FrontError, NotFound
from routewright.types import NUSD_PER_USD

if TYPE_CHECKING:
    from routewright.admin.ui.book import Book

ACTIONS = frozenset({
    "key_generate", "key_update", "key_block", "key_unblock", "key_regenerate", "key_delete", "team_new", "team_update",
    "team_block", "team_unblock", "team_delete", "organization_new", "organization_update", "organization_delete",
    "budget_new", "budget_update", "budget_delete", "model_new", "model_update", "model_delete",
})  # fmt: skip
"""What may be done from a page; with which rights, the management API decides."""
DAYS = 30
EXPORT_DAYS = 90
MAX_TEXT = 256
_EXPORTED = (
    "key_hash", "key_alias", "team_id", "team_alias", "user_id", "model", "requests", "failed_requests",
    "prompt_tokens", "completion_tokens", "cached_tokens",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def routes(book: Book) -> list[Route]:
    async def do(visit: Visit) -> Reply:
        if visit.name not in ACTIONS:
            raise FrontError(404, "not_found", "there is no such action", close=False)
        visit.need_admin()
        return json_reply(await visit.manage(visit.name, visit.read_body()))

    async def keys(visit: Visit) -> Reply:
        text, number = search(visit)
        found = await visit.ask("search_keys", text=text, number=number)
        return await book.page(
            visit, "keys.html", title="Keys", section="/ui/keys", found=found, text=text,
            models=visit.desk.catalog.names(ANONYMOUS), names=await visit.ask("names"),
        )  # fmt: skip

    async def key(visit: Visit) -> Reply:
        row = await visit.ask("owner", scope="key", name=visit.name[:MAX_TEXT])
        if row is None:
            raise NotFound("no stored key has this hash; keys of the configuration are changed there")
        days = await visit.ask("spend_by_day", days=DAYS, of={"key_hash": row["key_hash"]})
        return await book.page(
            visit, "key.html", title=row["key_alias"] or row["key_name"], section="/ui/keys", row=row, days=DAYS,
            models=visit.desk.catalog.names(ANONYMOUS), names=await visit.ask("names"), **over_time(days),
        )  # fmt: skip

    async def budgets(visit: Visit) -> Reply:
        found = await visit.manage("budget_list")
        return await book.page(visit, "budgets.html", title="Budgets", section="/ui/budgets", budgets=found)

    async def export(visit: Visit) -> Reply:
        rows = await visit.ask("spend_table", days=EXPORT_DAYS)
        name = f'attachment; filename="spend-{figures.day(figures.now_ms())}.csv"'
        return Reply(as_csv(rows), "text/csv; charset=utf-8", headers=(("content-disposition", name),))

    return [
        Route("POST", "/ui/do/{}", do),
        Route("GET", "/ui/keys", keys),
        Route("GET", "/ui/keys/{}", key),
        Route("GET", "/ui/budgets", budgets),
        Route("GET", "/ui/spend.csv", export),
    ]


def search(visit: Visit) -> tuple[str, int]:
    """(what is looked for, which page)."""
    number = visit.query.get("page", "1")[:6]
    return visit.query.get("q", "").strip()[:MAX_TEXT], max(1, int(number)) if number.isdecimal() else 1


def over_time(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Spend by day and model, for a chart."""
    now = figures.now_ms() // 86_400_000 * 86_400_000
    by_day: dict[int, dict[str, float]] = {now - place * 86_400_000: {} for place in reversed(range(DAYS))}
    for row in sorted(rows, key=lambda row: row["model"]):
        if row["cost_nusd"] and row["day_at_ms"] in by_day:
            by_day[row["day_at_ms"]][row["model"] or "none"] = row["cost_nusd"] / NUSD_PER_USD
    models = sorted({row["model"] for row in rows if row["model"]})
    return {
        "columns": [(figures.day(day)[5:], parts) for day, parts in by_day.items()],
        "classes": {**charts.colours(models), "none": "c-none"},
        "spent_models": models,
        "requests": sum(row["requests"] for row in rows),
        "cost_nusd": sum(row["cost_nusd"] for row in rows),
        "saved_nusd": sum(row["baseline_nusd"] - row["cost_nusd"] for row in rows),
    }


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """One line a day, key and model. A name that a spreadsheet would calculate is quoted by an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["day", *_EXPORTED, "cost_usd", "saved_usd"])
    for row in rows:
        values = [row[name] if row[name] is not None else "" for name in _EXPORTED]
        cost, base = row["cost_nusd"], row["baseline_nusd"]
        money = [f"{cost / NUSD_PER_USD:.9f}", f"{(base - cost) / NUSD_PER_USD:.9f}"]
        writer.writerow([figures.day(row["day_at_ms"]), *map(_plain, values), *money])
    return text.getvalue().encode()


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
