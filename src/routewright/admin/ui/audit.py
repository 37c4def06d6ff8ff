"""Who changed what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from routewright.admin.ui.desk import Reply, Route, Visit

if TYPE_CHECKING:
    from routewright.admin.ui.book import Book

FILTERS = ("kind", "action", "actor", "object_id")
MAX_TEXT = 256
MOST_SHOWN = 200


def routes(book: Book) -> list[Route]:
    async def page(visit: Visit) -> Reply:
        of = {name: visit.query[name].strip()[:MAX_TEXT] for name in FILTERS if visit.query.get(name, "").strip()}
        number = visit.query.get("page", "1")[:6]
        number = number if number.isdecimal() and int(number) else "1"
        found = await visit.manage("audit", None, page=number, size="50", **of)
        for row in found["audit_logs"]:
            row["changes"] = changes(row["before"], row["after"])
        return await book.page(
            visit, "audit.html", title="Audit", section="/ui/audit", found=found, of=of, filters=FILTERS,
            kept=urlencode(of),
        )  # fmt: skip

    return [Route("GET", "/ui/audit", page)]


def changes(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    """(field, what it was, what it is), both as text."""
    names = sorted({*(before or {}), *(after or {})})
    return [(name, _text((before or {}).get(name)), _text((after or {}).get(name))) for name in names]


def _text(value: Any) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"
