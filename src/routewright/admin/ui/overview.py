"""The first page: is the gateway well, what does it serve, and what does it save. It keeps itself fresh by events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

from routewright.admin.ui import charts, figures
from routewright.admin.ui.desk import Desk, Events, Reply, Route, Visit
from routewright.admin.ui.standing import Sum
from routewright.errors import GatewayError, Overloaded, StorageUnavailable
from routewright.record.lag import lag_of

if TYPE_CHECKING:
    from routewright.admin.ui.book import Book

HOUR_MS = 3_600_000
SPANS = {"24h": (24 * HOUR_MS, "24 hours"), "7d": (168 * HOUR_MS, "7 days"), "30d": (720 * HOUR_MS, "30 days")}
EVERY_S = 3.0
MAX_LISTENERS = 50
"""Pages of one worker that are kept fresh at one time; others are as they were when they were loaded."""
LEAST_BLOCKS = 6
"""Hours or days with traffic, from which on their spread says something."""
_NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Saving:
    """Spend against what the best-rated candidates would have cost."""

    saved_nusd: int
    share: float | None
    low: float | None
    high: float | None
    """The share's 95 % interval from how much hours or days differ; None where there are too few."""


def saving(blocks: Sequence[tuple[int, int]]) -> Saving:
    """From (cost, baseline) of each hour or day: the ratio estimator and its linearised standard error."""
    blocks = [block for block in blocks if block[1] > 0]
    baseline = sum(block[1] for block in blocks)
    saved = baseline - sum(block[0] for block in blocks)
    if not baseline:
        return Saving(0, None, None, None)
    share, n = saved / baseline, len(blocks)
    if n < LEAST_BLOCKS:
        return Saving(saved, share, None, None)
    residuals = sum(((theirs - cost) - share * theirs) ** 2 for cost, theirs in blocks)
    error = _NORMAL_95 * sqrt(n / (n - 1) * residuals) / baseline
    return Saving(saved, share, share - error, share + error)


class Rate:
    """Requests a second now, from the counters of all workers."""

    def __init__(self) -> None:
        self._at_s = 0.0
        self._total = 0.0
        self.per_s: float | None = None

    def look(self, desk: Desk) -> None:
        now = time.monotonic()
        if now - self._at_s < 1.0:
            return
        total = desk.requests_counted()
        if self._at_s and now - self._at_s < 60:
            self.per_s = max(0.0, total - self._total) / (now - self._at_s)
        self._at_s, self._total = now, total


async def facts(visit: Visit, span: str, rate: Rate) -> dict[str, Any]:
    """Everything that the page shows. Raises StorageUnavailable."""
    desk = visit.desk
    span_ms, span_name = SPANS[span]
    sums, times, failures = await asyncio.gather(
        visit.ask("overview", span_ms=span_ms), visit.ask("latencies"), visit.ask("failures")
    )
    rate.look(desk)
    places = {name: place for place, name in enumerate(sums["sums"])}
    total = [sum(values[place] for _, values in sums["by_time"]) for place in range(len(places))]
    cost, base = places["cost_nusd"], places["baseline_nusd"]
    models = [name for name, _ in sums["by_model"] if name]
    classes = charts.colours(models)
    is_hourly = sums["step_ms"] == HOUR_MS
    columns: list[tuple[str, dict[str, float]]] = []
    requests_by: dict[int, dict[str, float]] = {at: {} for at, _ in sums["by_time"]}
    for at, model, requests, _ in sorted(sums["by_both"], key=lambda row: (row[0], row[1])):
        requests_by[at][model or "none"] = requests
    classes["none"] = "c-none"
    for at, parts in requests_by.items():
        columns.append((figures.hour(at) if is_hourly else figures.day(at)[5:], parts))
    slowest = sorted(((name, row) for name, row in times.items() if name), key=lambda item: item[0])
    answers = sum(row[0] for _, row in slowest)
    return {
        "span": span,
        "span_name": span_name,
        "spans": {name: about[1] for name, about in SPANS.items()},
        "block": "hours" if is_hourly else "days",
        "total": {name: total[place] for name, place in places.items()},
        "saving": saving([(values[cost], values[base]) for _, values in sums["by_time"]]),
        "rate": rate.per_s,
        "columns": columns,
        "classes": classes,
        "models": [
            (name, {each: values[place] for each, place in places.items()}, times.get(name))
            for name, values in sums["by_model"]
            if name
        ],
        "unplaced": {
            each: values[place] for name, values in sums["by_model"] if not name for each, place in places.items()
        },
        "typical": sum(row[0] * row[1] for _, row in slowest) / answers if answers else None,
        "first_byte": sum(row[0] * row[3] for _, row in slowest) / answers if answers else None,
        "answers": answers,
        "deployments": deployments(desk),
        "failures": failures,
        "workers": desk.workers,
        "now_ms": sums["now_ms"],
        "warnings": _warnings(desk),
    }


def facts_without_store(visit: Visit, span: str, rate: Rate) -> dict[str, Any]:
    """What can be told while the database does not answer: what this machine does, and what waits for it."""
    desk = visit.desk
    rate.look(desk)
    return {
        "span": span,
        "spans": {name: about[1] for name, about in SPANS.items()},
        "rate": rate.per_s,
        "lag": lag_of(desk.storage.journal_folder, desk.storage.followed),
        "deployments": deployments(desk),
        "workers": desk.workers,
        "warnings": _warnings(desk),
    }


def _warnings(desk: Desk) -> list[str]:
    return [*desk.routing.warnings, *([desk.routing.last_error] if desk.routing.last_error else [])]


def deployments(desk: Desk) -> list[dict[str, Any]]:
    """What is served, and how it does in all workers of this machine."""
    standing: Mapping[str, Sum] = desk.standing.all()
    found = []
    for each in desk.deployments:
        does = standing.get(each.id, Sum())
        state, words = "idle", "not asked yet"
        if does.cooldown_s > 0:
            state, words = "bad", f"rests for {figures.duration(does.cooldown_s * 1000)}"
            if desk.workers > 1:
                words += f" in {does.cooling} of {desk.workers} workers"
        elif does.failures:
            state, words = "warn", f"{does.failures} of {does.requests} failed lately"
        elif does.requests or does.pace_s:
            state, words = "good", "well"
        found.append({"settings": each, "does": does, "state": state, "words": words})
    order = {"bad": 0, "warn": 1, "good": 2, "idle": 3}
    return sorted(found, key=lambda row: (order[row["state"]], row["settings"].model_name, row["settings"].id))


class Live:
    """Keeps the pages of one worker fresh: what is shown of a span is made once for all who look at it."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._listeners = 0
        self._made: dict[str, tuple[float, bytes]] = {}
        self._making: dict[str, asyncio.Task[bytes]] = {}
        self.rate = Rate()

    async def events(self, visit: Visit, span: str) -> AsyncIterator[bytes]:
        """Until the session ends, the gateway drains, or the visitor goes."""
        self._listeners += 1
        try:
            while not visit.desk.is_draining():
                if await visit.desk.sessions.find(visit.token) is None:
                    yield b"event: over\ndata: {}\n\n"
                    return
                try:
                    yield await self._event(visit, span)
                except GatewayError as error:
                    yield b"event: trouble\ndata: %b\n\n" % json.dumps({"message": error.message}).encode()
                await asyncio.sleep(EVERY_S)
        finally:
            self._listeners -= 1

    def has_room(self) -> bool:
        return self._listeners < MAX_LISTENERS

    async def _event(self, visit: Visit, span: str) -> bytes:
        made = self._made.get(span)
        if made is not None and time.monotonic() - made[0] < EVERY_S * 0.9:
            return made[1]
        task = self._making.get(span)
        if task is None:
            task = self._making[span] = asyncio.get_running_loop().create_task(self._make(visit, span))
            task.add_done_callback(lambda _: self._making.pop(span, None))
        return await asyncio.shield(task)

    async def _make(self, visit: Visit, span: str) -> bytes:
        html = await self._book.text_slowly("overview_live.html", **await facts(visit, span, self.rate))
        event = b"data: %b\n\n" % json.dumps({"html": html}).encode()
        self._made[span] = (time.monotonic(), event)
        return event


def routes(book: Book) -> list[Route]:
    live = Live(book)

    def span_of(visit: Visit) -> str:
        span = visit.query.get("span", "24h")
        return span if span in SPANS else "24h"

    async def page(visit: Visit) -> Reply:
        try:
            found = await facts(visit, span_of(visit), live.rate)
        except StorageUnavailable:
            found = facts_without_store(visit, span_of(visit), live.rate)
        return await book.page(visit, "overview.html", title="Overview", section="/ui", **found)

    async def listen(visit: Visit) -> Events:
        if not live.has_room():
            raise Overloaded("too many pages are kept fresh already")
        return Events(live.events(visit, span_of(visit)))

    return [Route("GET", "/ui", page), Route("GET", "/ui/live", listen)]
