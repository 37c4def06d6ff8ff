"""The API's documents: for people, and for generators of clients."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from routewright.admin.document import described
from routewright.admin.reference import reference_page


def add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def root() -> Any:
        return RedirectResponse("/ui", 307)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Any:
        return JSONResponse(described(app))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Any:
        headers = {
            "content-security-policy": "default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }
        page, digest = reference_page(described(app))
        headers["content-security-policy"] = headers["content-security-policy"].replace("{digest}", digest)
        return HTMLResponse(page, headers=headers)
