"""Which router serves, what its dial buys, where a prompt would go; reload, and back to an earlier file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from routewright.admin.ui import charts, figures
from routewright.admin.ui.desk import Reply, Route, Visit, json_reply
from routewright.errors import ArtefactRefused, InvalidRequest, NotFound, StorageUnavailable
from routewright.routing.artefact import Artefact, read_artefact
from routewright.routing.trade import trade_of
from routewright.types import Prompt

if TYPE_CHECKING:
    from routewright.admin.ui.book import Book

MAX_PROMPT = 50_000
DIALS = 20
log = logging.getLogger("routewright")


def routes(book: Book) -> list[Route]:
    async def page(visit: Visit) -> Reply:
        routing = visit.desk.routing
        info = routing.info()
        names = list(info["routes"])
        route = visit.query.get("route") or (names[0] if names else "")
        if route not in info["routes"]:
            if names:
                raise NotFound("there is no such route")
            return await book.page(visit, "router_none.html", title="Router", section="/ui/router")
        plan = routing.plan(route)
        trade = trade_of(plan)
        models = [candidate.model for candidate in plan.candidates]
        classes = charts.colours(models)
        artefact = plan.artefact
        calibration = artefact.calibration
        curve = []
        if calibration is not None:
            curve = list(zip(calibration.x_.tolist(), calibration.y_.tolist(), strict=True))
        try:
            chosen, has_ledger = choices(await visit.ask("choices"), route), True
        except StorageUnavailable:  # which file serves and what it thinks is in memory
            chosen, has_ledger = None, False
        kept = routing.kept(route)
        other = visit.query.get("with", "")
        return await book.page(
            visit, "router.html", title="Router", section="/ui/router", route=route, names=names, info=info,
            about=info["routes"][route], artefact=artefact.summary(), plan=plan, trade=trade, classes=classes,
            calibration=curve, choices=chosen, has_ledger=has_ledger, kept=kept,
            at_dial=min(trade.curve, key=lambda point: abs(point[0] - plan.quality)),
            shares=list(zip(models, min(trade.shares, key=lambda each: abs(each[0] - plan.quality))[1], strict=True)),
            compared=await compare(artefact, other, kept), other=other,
        )  # fmt: skip

    async def attempt(visit: Visit) -> Reply:
        body = visit.read_body()
        text, route = body.get("query"), body.get("route")
        if type(text) is not str or not text.strip() or len(text) > MAX_PROMPT:
            raise InvalidRequest(f"a prompt of 1 to {MAX_PROMPT:,} characters is needed", param="query")
        if type(route) is not str or route not in visit.desk.catalog.routes:
            raise InvalidRequest("there is no such route", param="route")
        groups = visit.desk.catalog.route_groups(route)
        dials = []
        for step in range(DIALS + 1):
            found = await visit.desk.routing.explain_slowly(
                route, Prompt(text=text), step / DIALS, caps=None, groups=groups
            )
            dials.append(found)
        return json_reply({"dials": dials, "quality": visit.desk.routing.plan(route).quality})

    async def reload(visit: Visit) -> Reply:
        visit.need_admin()
        before = _serving(visit)
        await visit.desk.routing.reload()
        visit.desk.spread_reload()
        await visit.note("reloaded", "router", "all routes", before=before, after=_serving(visit))
        log.info("router files were read again, as %s asked on the pages", visit.session.name)
        return json_reply({"status": "reloaded"})

    async def back(visit: Visit) -> Reply:
        visit.need_admin()
        body = visit.read_body()
        route, artefact = body.get("route"), body.get("artefact")
        if type(route) is not str or route not in visit.desk.catalog.routes or type(artefact) is not str:
            raise InvalidRequest("expected a route and a router file that has served it")
        before = visit.desk.routing.info()["routes"][route]["artefact"]
        await visit.desk.routing.roll_back(route, artefact)
        visit.desk.spread_reload()
        await visit.note("rolled back", "router", route, before=before, after=artefact)
        log.info("route %s went back to router %s, as %s asked on the pages", route, artefact, visit.session.name)
        return json_reply({"status": "reloaded"})

    return [
        Route("GET", "/ui/router", page),
        Route("POST", "/ui/router/try", attempt),
        Route("POST", "/ui/router/reload", reload),
        Route("POST", "/ui/router/back", back),
    ]


def _serving(visit: Visit) -> str:
    """The file of each route."""
    return ", ".join(f"{name} {about['artefact']}" for name, about in visit.desk.routing.info()["routes"].items())


def choices(found: dict[str, Any], route: str) -> dict[str, Any] | None:
    """How a route's newest requests were shared among the models, in columns for a chart; None where there are none."""
    by_model: dict[str, list[int]] = found["routes"].get(route, {})
    if not by_model:
        return None
    count = len(next(iter(by_model.values())))
    width = max(1, (found["to_ms"] - found["from_ms"]) // count + 1)
    is_long = found["to_ms"] - found["from_ms"] > 72_000_000
    is_short = found["to_ms"] - found["from_ms"] < 1_440_000
    columns = []
    for place in range(count):
        at = found["from_ms"] + place * width
        whole = sum(bins[place] for bins in by_model.values())
        parts = {model: 100 * bins[place] / whole for model, bins in sorted(by_model.items()) if whole and bins[place]}
        name = figures.moment(at)
        columns.append((name[5:16] if is_long else name[11:] if is_short else name[11:16], parts))
    total = sum(map(sum, by_model.values()))
    return {"columns": columns, "total": total, "classes": charts.colours(list(by_model)), "models": sorted(by_model)}


async def compare(now: Artefact, other: str, kept: Sequence[Any]) -> list[tuple[str, str, str]] | None:
    """(what, of the router that serves, of another that has served): only where they differ. None: nothing is asked."""
    found = next((each for each in kept if each.artefact == other), None)
    if found is None:
        return None
    try:
        then = await asyncio.to_thread(read_artefact, found.path, force=True)
    except ArtefactRefused as error:
        return [("the other can't be read", "", error.message)]
    one, two = _told(now), _told(then)
    return [(name, one.get(name, "–"), two.get(name, "–")) for name in {**one, **two} if one.get(name) != two.get(name)]


def _told(artefact: Artefact) -> dict[str, str]:
    summary = artefact.summary()
    told = {name: str(summary[name]) for name in ("router", "features", "n_features", "created")}
    told["labels"] = ", ".join(summary["labels"])
    for part in ("training", "metrics", "gate"):
        told |= {f"{part}: {name}": str(value) for name, value in summary[part].items()}
    return told
