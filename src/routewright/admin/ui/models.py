"""What is served: deployments with prices, abilities, what stands for them in the router, and how they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from routewright.admin.ui.desk import Reply, Route, Visit
from routewright.admin.ui.overview import deployments
from routewright.errors import NotFound

if TYPE_CHECKING:
    from routewright.admin.ui.book import Book


def routes(book: Book) -> list[Route]:
    async def page(visit: Visit) -> Reply:
        rows = sorted(deployments(visit.desk), key=lambda row: (row["settings"].model_name, row["settings"].id))
        return await book.page(
            visit, "models.html", title="Models", section="/ui/models", rows=rows, stored=visit.desk.stored_ids,
            profiles=profiles(visit.desk.routing.info()),
        )  # fmt: skip

    async def one(visit: Visit) -> Reply:
        rows = [row for row in deployments(visit.desk) if row["settings"].id == visit.name]
        if not rows:
            raise NotFound("no deployment has this id")
        return await book.page(
            visit, "model.html", title=rows[0]["settings"].model_name, section="/ui/models", row=rows[0],
            is_stored=visit.name in visit.desk.stored_ids,
            profile=profiles(visit.desk.routing.info()).get(rows[0]["settings"].model_name),
        )  # fmt: skip

    return [Route("GET", "/ui/models", page), Route("GET", "/ui/models/{}", one)]


def profiles(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By model: what stands for it in the router of the first route that may choose it."""
    found: dict[str, dict[str, Any]] = {}
    for route in info["routes"].values():
        for candidate in route["candidates"]:
            found.setdefault(candidate["model"], candidate)
    return found
