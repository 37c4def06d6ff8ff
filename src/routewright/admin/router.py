"""Which router serves, and where a prompt would go."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from routewright.admin.control import Control, request_of
from routewright.catalog import AUTO
from routewright.errors import InvalidRequest, MissingField, ModelNotFound, clean_text
from routewright.types import Prompt
from routewright.wire.chat import caps_of
from routewright.wire.json import decode_object

MAX_QUERY_CHARS = 200_000


class RouteQuestion(BaseModel):
    """A prompt to explain the routing of."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="The user's message")
    system: str = Field("", description="The system prompt")
    route: str = Field(AUTO, description="A route's name; `auto:best` and `auto:cheap` set the dial")
    quality: float | None = Field(None, ge=0, le=1, description="The dial, 0 cheapest to 1 best")
    task: str = Field("", description="A label of your own")
    max_cost_usd: float | None = Field(None, ge=0, description="No candidate that is expected to cost more")
    max_latency_ms: float | None = Field(None, ge=1, description="No candidate that is expected to take longer")


class Alternative(BaseModel):
    """A candidate that was not chosen."""

    model: str
    score: float
    cost_usd: float | None = None


class RouteAnswer(BaseModel):
    """Which model the prompt would go to, and why."""

    model_config = ConfigDict(extra="allow")

    selected_model: str
    confidence: float
    alternatives: list[Alternative]


class RouterInfo(BaseModel):
    """The router that serves."""

    model_config = ConfigDict(extra="allow")

    routing_strategy: str
    model_path: str
    hot_reload: bool
    last_reload: str


def add_router(app: FastAPI, control: Control, prefix: str) -> None:
    in_schema = not prefix

    @app.get(
        prefix + "/router/info",
        summary="Which router serves, and how it places the models",
        response_model=RouterInfo,
        tags=["router"],
        include_in_schema=in_schema,
    )
    async def router_info() -> Any:
        """Which router serves each route, and where each candidate stands in it."""
        return control.routing.info()

    @app.post(
        prefix + "/router/reload", summary="Read the router files again", tags=["router"], include_in_schema=in_schema
    )
    async def router_reload() -> Any:
        """Read the router files again. A refused file changes nothing: 409 says why."""
        control.routing.reload()
        control.spread_reload()
        return {"status": "reloaded", **control.routing.info()}

    @app.post(
        prefix + "/router/route",
        summary="Where a prompt would go, and why",
        response_model=RouteAnswer,
        tags=["router"],
        include_in_schema=in_schema,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": RouteQuestion.model_json_schema()}},
            }
        },
    )
    async def router_route(request: Request) -> Any:
        """Where a prompt would go, without sending it."""
        question = _question(decode_object(request_of(request).body))
        route, dial = control.catalog.split_dial(question.route)
        quality = dial if question.quality is None else question.quality
        if route not in control.catalog.routes:
            raise ModelNotFound(
                f'route "{clean_text(route)}" is not served here; served: {", ".join(control.catalog.routes)}'
            )
        prompt = Prompt(text=question.query, system=question.system, task=question.task)
        caps = caps_of({"max_cost_usd": question.max_cost_usd, "max_latency_ms": question.max_latency_ms}, prefix="")
        groups = control.catalog.route_groups(route)
        return await control.routing.explain_slowly(route, prompt, quality, caps=caps, groups=groups)


def _question(body: dict[str, Any]) -> RouteQuestion:
    """API_REFERENCE's `{"query": ...}`, with our additions. Raises InvalidRequest."""
    if "query" not in body:
        raise MissingField("query is required", param="query")
    for name in ("query", "system", "route", "task"):
        if type(body.get(name, "")) is not str or len(body.get(name, "")) > MAX_QUERY_CHARS:
            raise InvalidRequest(f"{name} must be a string of at most {MAX_QUERY_CHARS} characters", param=name)
    quality = body.get("quality")
    if quality is not None and (type(quality) not in (int, float) or not 0 <= quality <= 1):
        raise InvalidRequest("quality must be a number from 0 to 1", param="quality")
    caps_of(body, prefix="")
    unknown = set(body) - set(RouteQuestion.model_fields)
    if unknown:
        raise InvalidRequest("unknown field", param=min(unknown))
    return RouteQuestion.model_validate(body)
