"""Probes, paths and counters."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel

from routewright import endpoints
from routewright.admin.control import Control


class HealthAnswer(BaseModel):
    """The gateway answers."""

    status: str
    version: str


def add_health(app: FastAPI, control: Control, prefix: str) -> None:
    in_schema = not prefix

    @app.get(
        prefix + "/health",
        summary="Is the gateway well?",
        response_model=HealthAnswer,
        tags=["health"],
        include_in_schema=in_schema,
    )
    async def health() -> Any:
        """No key, no provider called."""
        return control.probes.health()

    async def liveliness() -> Any:
        """The process answers."""
        return control.probes.liveliness()

    for path in ("/health/liveliness", "/health/liveness"):
        app.get(prefix + path, summary="Does the process answer?", tags=["health"], include_in_schema=in_schema)(
            liveliness
        )

    @app.get(prefix + "/health/readiness", summary="May traffic come?", tags=["health"], include_in_schema=in_schema)
    async def readiness() -> Any:
        """503 while this process drains."""
        return control.probes.readiness()

    @app.get(prefix + "/routes", summary="Every path", tags=["health"], include_in_schema=in_schema)
    async def routes() -> Any:
        """Every path that is served."""
        return {
            "routes": [
                {"path": path, "methods": list(endpoint.methods), "name": endpoint.name}
                for path, endpoint in endpoints.paths()
            ]
        }

    @app.get(
        prefix + "/metrics",
        summary="Counters for Prometheus",
        response_class=PlainTextResponse,
        tags=["health"],
        include_in_schema=in_schema,
    )
    async def metrics() -> Any:
        """Counters in Prometheus' text format."""
        text, content_type = await control.metrics_page.text()
        return Response(text, media_type=content_type)
