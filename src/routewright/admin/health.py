"""Probes, paths and counters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel

from routewright import endpoints
from routewright.admin.control import Control
from routewright.errors import InvalidRequest
from routewright.health_checks import Result


class HealthAnswer(BaseModel):
    """The gateway answers."""

    status: str
    version: str


def _check(result: Result) -> dict[str, Any]:
    at = datetime.fromtimestamp(result.checked_at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "model_name": result.model_name,
        "model_id": result.deployment,
        "status": "healthy" if result.is_healthy else "unhealthy",
        "healthy_count": int(result.is_healthy),
        "unhealthy_count": int(not result.is_healthy),
        "error_message": result.error,
        "response_time_ms": result.response_ms,
        "checked_by": "background",
        "checked_at": at,
    }


def _whole(text: str, name: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise InvalidRequest(f"{name} must be an integer from {least} to {most}", param=name)
    return int(text)


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

    @app.get(
        prefix + "/health/latest", summary="The last check of each deployment", tags=["health"],
        include_in_schema=in_schema,
    )  # fmt: skip
    async def latest() -> Any:
        """Of background health checks, LiteLLM's shape; empty where they are off."""
        found = control.health_checks.latest()
        return {
            "latest_health_checks": {name: _check(each) for name, each in found.items()},
            "total_models": len(found),
        }

    @app.get(
        prefix + "/health/history", summary="Checks of the last time", tags=["health"], include_in_schema=in_schema
    )
    async def history(model: str = "", status_filter: str = "", limit: str = "100", offset: str = "0") -> Any:
        """Newest first; the last twenty of each deployment are kept."""
        most, first = _whole(limit, "limit", 1, 1000), _whole(offset, "offset", 0, 1_000_000)
        found = [
            each for each in map(_check, reversed(control.health_checks.results()))
            if model in ("", each["model_name"]) and status_filter in ("", each["status"])
        ]  # fmt: skip
        return {
            "health_checks": found[first : first + most],
            "total_records": len(found),
            "limit": most,
            "offset": first,
        }

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
