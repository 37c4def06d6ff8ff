"""Health, models, router and metrics over HTTP. Rights are checked by the front, from the table in `endpoints`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from routewright import __version__, endpoints
from routewright.admin.exposition import exposition
from routewright.admin.probes import Probes
from routewright.admin.reference import reference_page
from routewright.auth import Keys
from routewright.catalog import AUTO, Catalog
from routewright.errors import (
    GatewayError,
    InvalidRequest,
    MissingField,
    ModelNotFound,
    clean_text,
    error_headers,
    error_object,
)
from routewright.record.metrics import Metrics
from routewright.routing.live import LiveRouters
from routewright.types import Access, HttpRequest, Prompt
from routewright.wire.json import decode_object

MODEL_CREATED = 1677610602
"""LiteLLM's constant, so that lists compare equal."""
MAX_QUERY_CHARS = 200_000


@dataclass(frozen=True, slots=True)
class Control:
    """What the control plane may see and do."""

    catalog: Catalog
    routing: LiveRouters
    metrics: Metrics
    keys: Keys
    probes: Probes
    spread_reload: Callable[[], None]
    """Tell the other workers that the router files were read again."""
    all_metrics: Callable[[], list[Metrics]]


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


class RouteQuestion(BaseModel):
    """A prompt to explain the routing of."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="The user's message")
    system: str = Field("", description="The system prompt")
    route: str = Field(AUTO, description="A route's name; `auto:best` and `auto:cheap` set the dial")
    quality: float | None = Field(None, ge=0, le=1, description="The dial, 0 cheapest to 1 best")


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


class HealthAnswer(BaseModel):
    """The gateway answers."""

    status: str
    version: str


def make_application(control: Control) -> FastAPI:
    """The control plane over `control`."""
    app = FastAPI(
        title="routewright",
        version=__version__,
        summary="An OpenAI-compatible gateway that learns which model to send each request to",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        responses={"4XX": {"model": ErrorBody, "description": "Error"}},
    )
    app.add_exception_handler(GatewayError, _answer_error)
    for prefix in ("", "/v1"):
        _add_health(app, control, prefix)
        _add_models(app, control, prefix)
        _add_router(app, control, prefix)
    _add_pages(app)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    headers = dict(error_headers(error))
    return JSONResponse(error_object(error), error.status, headers)


def _request(request: Request) -> HttpRequest:
    """The front's own request, caller and all."""
    found: HttpRequest = request.scope["state"]["request"]
    return found


def _add_health(app: FastAPI, control: Control, prefix: str) -> None:
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
        text, content_type = exposition(control.all_metrics())
        return Response(text, media_type=content_type)


def _add_models(app: FastAPI, control: Control, prefix: str) -> None:
    in_schema = bool(prefix)

    def entry(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": MODEL_CREATED, "owned_by": control.catalog.owner(name)}

    @app.get(prefix + "/models", summary="Models that this key may use", tags=["models"], include_in_schema=in_schema)
    async def models(request: Request) -> Any:
        """What this key may use: routes first, then models."""
        names = control.catalog.names(_request(request).caller)
        return {"object": "list", "data": [entry(name) for name in names]}

    @app.get(prefix + "/models/{model:path}", summary="One model", tags=["models"], include_in_schema=in_schema)
    async def model(request: Request, model: str) -> Any:
        """One model that this key may use; its name may hold slashes, as they are or as `%2F`."""
        model = unquote(model)
        if not control.catalog.has(model, _request(request).caller):
            raise ModelNotFound(f'model "{clean_text(model)}" is not served here')
        return entry(model)


def _add_router(app: FastAPI, control: Control, prefix: str) -> None:
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
        question = _question(decode_object(_request(request).body))
        route, dial = control.catalog.split_dial(question.route)
        quality = dial if question.quality is None else question.quality
        if route not in control.catalog.routes:
            raise ModelNotFound(
                f'route "{clean_text(route)}" is not served here; served: {", ".join(control.catalog.routes)}'
            )
        prompt = Prompt(text=question.query, system=question.system)
        return control.routing.explain(route, prompt, quality)


def _question(body: dict[str, Any]) -> RouteQuestion:
    """API_REFERENCE's `{"query": ...}`, with our additions. Raises InvalidRequest."""
    if "query" not in body:
        raise MissingField("query is required", param="query")
    for name in ("query", "system", "route"):
        if type(body.get(name, "")) is not str or len(body.get(name, "")) > MAX_QUERY_CHARS:
            raise InvalidRequest(f"{name} must be a string of at most {MAX_QUERY_CHARS} characters", param=name)
    quality = body.get("quality")
    if quality is not None and (type(quality) not in (int, float) or not 0 <= quality <= 1):
        raise InvalidRequest("quality must be a number from 0 to 1", param="quality")
    unknown = set(body) - set(RouteQuestion.model_fields)
    if unknown:
        raise InvalidRequest("unknown field", param=min(unknown))
    return RouteQuestion.model_validate(body)


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def root() -> Any:
        return RedirectResponse("/docs", 307)

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


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: the control plane's own, and the proxied endpoints, which FastAPI never sees."""
    document = app.openapi()
    document.setdefault("components", {})["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"},
        "master key": {"type": "http", "scheme": "bearer"},
    }
    for path, summary, required in (
        ("/v1/chat/completions", "Chat completion, plain or streamed", ("model", "messages")),
        ("/v1/completions", "Legacy completion, plain or streamed", ("model", "prompt")),
        ("/v1/embeddings", "Embeddings", ("model", "input")),
    ):
        document["paths"][path] = {"post": _proxied_operation(summary, required)}
    for path, endpoint in [*endpoints.paths(), ("/v1/models/{model}", endpoints.MODEL)]:
        for operation in document["paths"].get(path, {}).values():
            if endpoint.access != Access.OPEN:
                operation["security"] = [{"master key" if endpoint.access == Access.MASTER else "key": []}]
    return document


def _proxied_operation(summary: str, required: tuple[str, ...]) -> dict[str, Any]:
    fields = {
        "model": {"type": "string", "description": "A model, or a route such as `auto`, `auto:best`, `auto:cheap`"},
        "messages": {"type": "array", "items": {"type": "object"}, "description": "OpenAI's messages"},
        "prompt": {"description": "A string, strings, tokens or token lists"},
        "input": {"description": "A string, strings, tokens or token lists"},
        "stream": {"type": "boolean", "description": "Answer with server-sent events"},
        "routing": {"type": "object", "description": "Ours: `quality` 0..1 and `task`, a label of your own"},
    }
    chosen = {name: fields[name] for name in (*required, "stream", "routing")}
    if "input" in required:
        del chosen["stream"]
    return {
        "tags": ["inference"],
        "summary": summary,
        "description": "OpenAI's request and response; every field of OpenAI's API goes on to the provider.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": list(required),
                        "properties": chosen,
                        "additionalProperties": True,
                    }
                }
            },
        },
        "responses": {
            "200": {"description": "OpenAI's object, or its event stream"},
            "4XX": {
                "description": "Error",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
            },
        },
    }
