"""The control plane as one ASGI application. Rights are checked by the front, from the table in `endpoints`."""

from __future__ import annotations

from fastapi import FastAPI

from routewright import __version__
from routewright.admin.cache import add_cache
from routewright.admin.config import add_config
from routewright.admin.config_values import add_config_values
from routewright.admin.control import Control, ErrorBody, answer_error
from routewright.admin.guardrails import add_guardrails
from routewright.admin.health import add_health
from routewright.admin.models import add_models
from routewright.admin.pages import add_pages
from routewright.admin.provider_budgets import add_provider_budgets
from routewright.admin.router import add_router
from routewright.admin.spend import add_spend
from routewright.admin.tools import add_tools
from routewright.errors import GatewayError


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
    app.add_exception_handler(GatewayError, answer_error)
    for prefix in ("", "/v1"):
        add_health(app, control, prefix)
        add_models(app, control, prefix)
        add_provider_budgets(app, control, prefix)
        add_router(app, control, prefix)
        add_spend(app, control, prefix)
        add_tools(app, control, prefix)
        add_config(app, control, prefix)
        add_config_values(app, control, prefix)
        add_cache(app, control, prefix)
        add_guardrails(app, control, prefix)
    add_pages(app)
    return app
