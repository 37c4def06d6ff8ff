"""The ledger as a list that can be narrowed, and the whole story of one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from routewright.admin.ui import charts, figures, said
from routewright.admin.ui.desk import Reply, Route, Visit
from routewright.auth import ANONYMOUS
from routewright.errors import NotFound

if TYPE_CHECKING:
    from routewright.admin.ui.book import Book

MAX_TEXT = 256
FILTERS = (
    ("model", "Model"), ("route", "Route"), ("key_hash", "Key (hash)"), ("team_id", "Team"), ("user_id", "User"),
    ("customer_id", "End user"),
)  # fmt: skip
SINCE = {"": "any time", "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days"}
_SINCE_MS = {"1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000}
CHART_LEAST_MS = 0.05
_NOTHING = {
    "route": "", "chosen": "", "artefact": "", "confidence": 0.0, "margin": 0.0, "reason": "", "microseconds": 0.0,
    "baseline_model": "", "stage": "", "part_of": "", "verdict": "", "logprob": None, "propensity": None,
}  # fmt: skip
"""What a record leaves out of a decision."""


def cursor(text: str) -> tuple[int, int] | None:
    """(ended_at_ms, row_id) of the last row of the page before; None for what is none."""
    at_ms, _, row_id = text.partition("-")
    if len(text) > 40 or not at_ms.isascii() or not at_ms.isdigit() or not row_id.isascii() or not row_id.isdigit():
        return None
    return int(at_ms), int(row_id)


def routes(book: Book) -> list[Route]:
    async def page(visit: Visit) -> Reply:
        query = visit.query
        of = {name: query[name].strip()[:MAX_TEXT] for name, _ in FILTERS if query.get(name, "").strip()}
        failed = query.get("failed") == "1"
        since = query.get("since", "") if query.get("since", "") in SINCE else ""
        before = cursor(query.get("before", ""))
        now_ms = figures.now_ms()
        found = await visit.ask(
            "requests",
            of=of,
            failed=failed,
            from_ms=now_ms - _SINCE_MS[since] if since else 0,
            before=list(before) if before is not None else [],
        )
        rows, kept = found["rows"], {**of, **({"failed": "1"} if failed else {}), **({"since": since} if since else {})}
        older = None
        if found["has_more"]:
            older = urlencode({**kept, "before": f"{rows[-1]['ended_at_ms']}-{rows[-1]['row_id']}"})
        elif found["searched_to_ms"] is not None:
            older = urlencode({**kept, "before": f"{found['searched_to_ms']}-0"})
        return await book.page(
            visit, "requests.html", title="Requests", section="/ui/requests", rows=rows, of=of, failed=failed,
            since=since, spans=SINCE, filters=FILTERS, older=older, is_first=before is None, kept=urlencode(kept),
            searched_to_ms=found["searched_to_ms"], models=visit.desk.catalog.names(ANONYMOUS),
        )  # fmt: skip

    async def find(visit: Visit) -> Reply:
        name = visit.query.get("id", "").strip()[:MAX_TEXT]
        return Reply(b"", status=303, headers=(("location", "/ui/requests/" + figures.quoted(name)),))

    async def one(visit: Visit) -> Reply:
        rows = await visit.ask("request", name=visit.name[:MAX_TEXT])
        if not rows:
            raise NotFound("no request with this id is in the ledger; a new one is there after a second")
        if any(row["texts"] is not None for row in rows):
            # Before it is shown: where the audit can't be written, nobody reads what somebody else has said.
            await visit.note("read", "prompt", rows[0]["request_id"])
        calls = [call(row) for row in rows]
        whole = next((each for each in calls if not each["decision"].get("part_of")), calls[-1])
        return await book.page(
            visit, "request.html", title="Request", section="/ui/requests", whole=whole, calls=calls,
            deployments={each.id: each for each in visit.desk.deployments},
        )  # fmt: skip

    return [
        Route("GET", "/ui/requests", page),
        Route("GET", "/ui/find", find),
        Route("GET", "/ui/requests/{}", one),
    ]


def call(row: Mapping[str, Any]) -> dict[str, Any]:
    """One call of a request, with what its page draws."""
    extra = row["extra"] or {}
    decision, failed = extra.get("decision") or {}, extra.get("failed_attempts") or []
    rated: Sequence[Sequence[Any]] = decision.get("rated") or []
    return {
        **row,
        "is_placed": bool(decision),
        "decision": {**_NOTHING, **decision},
        "failed_attempts": failed,
        "rated": rated,
        "best_score": max((score for _, score, _ in rated), default=0.0),
        "took_ms": row["ended_at_ms"] - row["started_at_ms"],
        "said": said.read(row["texts"]),
        "waterfall": waterfall(row, decision, failed),
    }


def waterfall(row: Mapping[str, Any], decision: Mapping[str, Any], failed: Sequence[Sequence[Any]]) -> Any:
    """The decision, each attempt that failed, the wait for the first byte, and the rest of the answer."""
    whole = float(row["ended_at_ms"] - row["started_at_ms"])
    parts: list[tuple[str, str, float, float]] = []
    at = decision.get("microseconds", 0.0) / 1000
    if at:
        parts.append(("deciding", "choose", 0.0, at))
    for _, code, start, end in failed:
        parts.append((f"failed: {code}"[:26], "fail", start, end))
        at = max(at, end)
    whole = max(whole, at)
    first = row["first_byte_at_ms"]
    if first is not None:
        # The ledger's times are whole milliseconds, so the wait may seem to end before it began.
        first_ms = min(max(float(first - row["started_at_ms"]), at), whole)
        parts.append(("waiting for first byte", "wait", at, first_ms))
        if row["is_stream"]:
            parts.append(("streaming", "flow", first_ms, whole))
        elif whole - first_ms > CHART_LEAST_MS:
            parts.append(("reading the answer", "flow", first_ms, whole))
    return charts.waterfall(parts, whole, figures.duration) if parts else ""
