"""All pages: their routes, their templates, and the few files beside them."""

from __future__ import annotations

import asyncio
import hashlib
from time import perf_counter
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from routewright import __version__
from routewright.admin.ui import audit, charts, figures, keys, models, overview, owners, playground, requests, router
from routewright.admin.ui.desk import Desk, Reply, Route, Visit, folder_of
from routewright.errors import GatewayError

TURN_S = 0.0002
"""How long a page is rendered before the loop's other work has a turn."""
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_SECTIONS = (
    ("/ui", "Overview", "overview"),
    ("/ui/requests", "Requests", "requests"),
    ("/ui/router", "Router", "router"),
    ("/ui/models", "Models", "models"),
    ("/ui/keys", "Keys", "keys"),
    ("/ui/teams", "Teams", "teams"),
    ("/ui/organizations", "Organizations", "organizations"),
    ("/ui/budgets", "Budgets", "budgets"),
    ("/ui/playground", "Playground", "playground"),
    ("/ui/audit", "Audit", "audit"),
)
"""Address, title and icon of each page in the navigation."""


class Book:
    """Loaded when the first page is asked for."""

    def __init__(self) -> None:
        self._files: dict[str, Reply] = {}
        for path in sorted(folder_of("static").iterdir()):
            if path.suffix in _TYPES:
                caching = (("cache-control", "public, max-age=86400, immutable"),)
                self._files[path.name] = Reply(path.read_bytes(), _TYPES[path.suffix], headers=caching)
        self._stamp = hashlib.sha256(b"".join(reply.body for reply in self._files.values())).hexdigest()[:10]
        self._templates = Environment(
            loader=FileSystemLoader(folder_of("templates")),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(figures.FILTERS)
        self._templates.globals.update(
            charts=charts,
            figures_count=figures.count,
            figures_usd=figures.usd,
            figures_dollars=figures.dollars,
            figures_percent_of_100=lambda value: f"{value:.0f} %",
            sections=_SECTIONS,
            version=__version__,
            asset=self._asset,
            colour=charts.colour,
        )
        for name in self._templates.list_templates():
            self._templates.get_template(name)  # compiled now, in the thread that makes this book
        parts = (overview, requests, keys, owners, router, models, playground, audit)
        self.routes: list[Route] = [route for part in parts for route in part.routes(self)]

    def static(self, name: str) -> Reply | None:
        """One of the files that came with the pages."""
        return self._files.get(name)

    def _asset(self, name: str) -> str:
        """Its address, which changes with its content."""
        return f"/ui/static/{name}?{self._stamp}"

    def text(self, template: str, **values: Any) -> str:
        """A small page, at once."""
        return self._templates.get_template(template).render(**values)

    async def text_slowly(self, template: str, **values: Any) -> str:
        """A part of a page. Between its pieces others have their turn: a table takes the time of twenty requests."""
        pieces = []
        until_s = perf_counter() + TURN_S
        for piece in self._templates.get_template(template).generate(**values):
            pieces.append(piece)
            if perf_counter() > until_s:
                await asyncio.sleep(0)
                until_s = perf_counter() + TURN_S
        return "".join(pieces)

    async def page(self, visit: Visit, template: str, *, title: str, section: str, **values: Any) -> Reply:
        """A whole page."""
        text = await self.text_slowly(
            template, title=title, section=section, session=visit.session, csrf=visit.csrf, may_write=visit.may_write,
            **values,
        )  # fmt: skip
        return Reply(text.encode())

    def login(self, desk: Desk, after: str) -> Reply:
        """`after`: where they wanted to go."""
        elsewhere = None if desk.oidc is None else desk.oidc.settings.label
        return Reply(
            self.text("login.html", has_master_key=desk.has_master_key, elsewhere=elsewhere, after=after).encode()
        )

    def welcome(self, after: str) -> Reply:
        """Between another site and the first page."""
        return Reply(self.text("welcome.html", after=after).encode())

    def failure(self, error: GatewayError, request_id: str) -> Reply:
        """A page that says what went wrong, and under which id the log has it."""
        return Reply(self.text("failure.html", error=error, request_id=request_id).encode(), status=error.status)
