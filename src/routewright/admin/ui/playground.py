"""Chat with a route or a model, streaming, two side by side; what was chosen, what it cost and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routewright.admin.ui.desk import Reply, Route, Visit, json_reply
from routewright.auth import ANONYMOUS
from routewright.types import NUSD_PER_USD

if TYPE_CHECKING:
    from routewright.admin.ui.book import Book


def routes(book: Book) -> list[Route]:
    async def page(visit: Visit) -> Reply:
        chats = {each.model_name for each in visit.desk.deployments if each.mode in ("chat", "responses")}
        names = [name for name in visit.desk.catalog.names(ANONYMOUS) if name in chats]
        return await book.page(
            visit, "playground.html", title="Playground", section="/ui/playground",
            routes=list(visit.desk.catalog.routes), models=names,
        )  # fmt: skip

    async def cost(visit: Visit) -> Reply:
        """What the ledger knows of a request by now."""
        rows = await visit.ask("request", name=visit.name[:256])
        if not rows:
            return json_reply({"is_known": False})
        return json_reply(
            {
                "is_known": True,
                "cost_usd": sum(row["cost_nusd"] for row in rows) / NUSD_PER_USD,
                "is_priced": all(row["is_priced"] for row in rows),
                "tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows),
            }
        )

    return [Route("GET", "/ui/playground", page), Route("GET", "/ui/cost.json/{}", cost)]
