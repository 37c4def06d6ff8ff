"""What the modules of the control plane share: what they may see and do, and the shape of an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from routewright.admin.exposition import MetricsPage
from routewright.admin.probes import Probes
from routewright.auth import Keys
from routewright.caching.cache import Cache
from routewright.catalog import Catalog
from routewright.errors import GatewayError, error_headers, error_object
from routewright.guardrails.rail import Rails
from routewright.health_checks import HealthChecks
from routewright.reloading import Difference
from routewright.routing.feedback import Feedback
from routewright.routing.live import LiveRouters
from routewright.settings import BudgetSettings, DeploymentSettings, Settings
from routewright.types import Caller, HttpRequest

Values = dict[str, dict[str, Any]]
"""Section -> name -> value."""


class ConfigDesk(Protocol):
    """Settings that may be changed while serving; `app.overrides` has it."""

    changeable: Mapping[str, Mapping[str, str]]
    """Section -> name -> what it is for."""

    async def look(self, caller: Caller) -> tuple[Values, Values]:
        """(what the file says, what was changed). Raises PermissionDenied for who is no administrator."""

    async def write(
        self, caller: Caller, request_id: str, seen: Values, writes: Sequence[tuple[str, str, Any]]
    ) -> Settings:
        """Change settings everywhere, None: back to the file's; the configuration as it is then."""


@dataclass(slots=True)
class Control:
    """What the control plane may see and do."""

    catalog: Catalog
    routing: LiveRouters
    feedback: Feedback
    metrics_page: MetricsPage
    keys: Keys
    probes: Probes
    spread_reload: Callable[[], None]
    """Tell the other workers that the router files were read again."""
    reload_config: Callable[[], Awaitable[Difference]]
    """Read the configuration again, here and in every other worker. Raises GatewayError; then nothing has changed."""
    spent: Callable[[Sequence[tuple[str, str, int, int]]], Awaitable[Sequence[int]]]
    """Nano-dollars that the ledger has of a scope and owner, from a moment on and before another (ms since 1970)."""
    cache: Callable[[], Cache | None]
    """The response cache of this worker."""
    rails: Callable[[], Rails | None]
    """The guardrails that are configured."""
    spread_flush: Callable[[], None]
    """Tell the other workers to forget what they keep."""
    health_checks: HealthChecks
    config: ConfigDesk
    provider_budgets: Mapping[str, BudgetSettings] = field(default_factory=dict)
    deployments: Sequence[DeploymentSettings] = ()
    """What is served, by its settings."""
    stored_ids: frozenset[str] = frozenset()
    """Ids of those that the store keeps."""


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


def request_of(request: Request) -> HttpRequest:
    """The front's own request, caller and all."""
    found: HttpRequest = request.scope["state"]["request"]
    return found


async def answer_error(request: Request, error: Exception) -> Response:
    """One of our errors as its answer."""
    assert isinstance(error, GatewayError)
    headers = dict(error_headers(error))
    return JSONResponse(error_object(error), error.status, headers)
