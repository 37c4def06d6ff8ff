"""Teams and organizations: who shares models, limits and a budget, and what they have spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from routewright.admin.ui.desk import Reply, Route, Visit
from routewright.admin.ui.keys import DAYS, MAX_TEXT, over_time, search
from routewright.errors import NotFound

if TYPE_CHECKING:
    from routewright.admin.ui.book import Book


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the two; templates read it."""

    scope: str
    title: str
    owns: str
    """The scope of what is listed on its page."""
    about: str
    deletes: str
    """What goes with it, for whoever is about to delete one."""

    @property
    def id(self) -> str:
        return f"{self.scope}_id"

    @property
    def alias(self) -> str:
        return f"{self.scope}_alias"

    @property
    def path(self) -> str:
        return f"/ui/{self.scope}s"


KINDS = (
    Kind(
        "team", "Teams", "key", "A team shares models, limits and a budget over all of its keys.",
        "Delete this team and all its keys?",
    ),
    Kind(
        "organization", "Organizations", "team",
        "An organization stands above teams: its models, limits and budget hold for all of their keys together.",
        "Delete this organization with its teams and all their keys?",
    ),
)  # fmt: skip


def routes(book: Book) -> list[Route]:
    return [route for kind in KINDS for route in _routes_of(book, kind)]


def _routes_of(book: Book, kind: Kind) -> list[Route]:
    async def every(visit: Visit) -> Reply:
        text, number = search(visit)
        found = await visit.ask("search_owners", scope=kind.scope, text=text, number=number)
        return await book.page(
            visit, "owners.html", title=kind.title, section=kind.path, kind=kind, found=found, text=text,
            names=await visit.ask("names"),
        )  # fmt: skip

    async def one(visit: Visit) -> Reply:
        row = await visit.ask("owner", scope=kind.scope, name=visit.name[:MAX_TEXT])
        if row is None:
            raise NotFound(f"there is no such {kind.scope}")
        name = row[kind.id]
        days = await visit.ask("spend_by_day", days=DAYS, of={kind.id: name})
        return await book.page(
            visit, "owner.html", title=row[kind.alias] or name, section=kind.path, kind=kind, row=row, days=DAYS,
            owned=await visit.ask("owned", scope=kind.owns, of=kind.scope, name=name), **over_time(days),
        )  # fmt: skip

    return [Route("GET", kind.path, every), Route("GET", kind.path + "/{}", one)]
