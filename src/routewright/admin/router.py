"""Which router serves, and where a prompt would go."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from routewright.admin.control import Control, request_of
from routewright.catalog import AUTO
from routewright.errors import InvalidRequest, MissingField, ModelNotFound, StorageUnavailable, clean_text
from routewright.types import Prompt
from routewright.wire.chat import caps_of
from routewright.wire.json import decode_object

MAX_QUERY_CHARS = 200_000
MAX_ID_CHARS = 64
log = logging.getLogger("routewright")


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


class Rating(BaseModel):
    """How good an answer was."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(description="`x-request-id` or `x-litellm-call-id` of the answer")
    score: float = Field(ge=0, le=1, description="0 useless to 1 perfect")


class RatingAnswer(BaseModel):
    """The rating is kept."""

    status: str = Field(description="`recorded`, or `known` where the same was said before")


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
        await control.routing.reload()
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

    @app.post(
        prefix + "/router/feedback",
        summary="Say how good an answer was",
        response_model=RatingAnswer,
        tags=["router"],
        include_in_schema=in_schema,
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": Rating.model_json_schema()}}}
        },
    )
    async def router_feedback(request: Request) -> Any:
        """Rate an answer to a request of this key that a router which learns has placed. Once said, it stands."""
        rating = _rating(decode_object(request_of(request).body))
        caller = request_of(request).caller
        try:
            is_new = await asyncio.to_thread(
                control.feedback.rate,
                caller.key_hash,
                is_master=caller.is_master,
                request_id=rating.request_id,
                score=rating.score,
            )
        except OSError as error:
            log.error("feedback: a rating can't be written: %s", error.strerror)
            raise StorageUnavailable("the rating can't be written now") from None
        return {"status": "recorded" if is_new else "known"}


def _rating(body: dict[str, Any]) -> Rating:
    """Raises InvalidRequest with the field that is wrong."""
    unknown = set(body) - set(Rating.model_fields)
    if unknown:
        raise InvalidRequest("unknown field", param=min(unknown))
    for name in Rating.model_fields:
        if name not in body:
            raise MissingField(f"{name} is required", param=name)
    request_id, score = body["request_id"], body["score"]
    if type(request_id) is not str or not 0 < len(request_id) <= MAX_ID_CHARS:
        raise InvalidRequest(f"request_id must be a string of 1 to {MAX_ID_CHARS} characters", param="request_id")
    if type(score) not in (int, float) or not 0 <= score <= 1:
        raise InvalidRequest("score must be a number from 0 to 1", param="score")
    return Rating(request_id=request_id, score=score)


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
