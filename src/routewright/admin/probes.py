"""What load balancers ask every second: alive, ready, healthy. Answered without loading the rest of the control plane.

An ASGI application as small as one can be; FastAPI, which documents these endpoints, answers with the same methods.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from routewright import __version__
from routewright.errors import GatewayError, ShuttingDown, StorageUnavailable, error_headers, error_object
from routewright.routing.live import LiveRouters
from routewright.storage import Storage
from routewright.wire.json import encode

NAMES = frozenset({"health", "liveliness", "readiness"})


class Probes:
    """The answers; each raises GatewayError where it would be no."""

    def __init__(
        self,
        is_draining: Callable[[], bool],
        routing: LiveRouters,
        storage: Storage | None = None,
        deployments: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """`deployments`: what the master is told of them, beside that the gateway is well."""
        self._deployments = deployments
        self._is_draining = is_draining
        self.routing = routing
        self._storage = storage
        self.callbacks: tuple[str, ...] = ()
        """Who is told of requests after their end, by the names of the configuration."""
        self.cache_type: str | None = None
        """Of the response cache, in LiteLLM's words."""

    def health(self) -> dict[str, Any]:
        return {"status": "healthy", "version": __version__}

    def liveliness(self) -> str:
        return "I'm alive!"

    def readiness(self) -> dict[str, Any]:
        if self._is_draining():
            raise ShuttingDown("this server is shutting down")
        storage = self._storage
        if storage is not None and storage.is_wanted and not storage.was_connected:
            # Later on, what is known goes on without the database; before it was seen once, nothing is known.
            raise StorageUnavailable("the database has not been reached yet")
        return {
            "status": "healthy",
            "db": "connected" if storage is not None and storage.is_connected else "Not connected",
            "cache": self.cache_type,
            "litellm_version": None,
            "version": __version__,
            "success_callbacks": list(self.callbacks),
            "router": "warning" if self.routing.warnings or self.routing.last_error else "ready",
        }

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """ASGI: the front has found the endpoint, so its name is one of `NAMES`."""
        status, headers = 200, [("content-type", "application/json")]
        try:
            request = scope["state"]["request"]
            body = getattr(self, request.endpoint.name)()
            if request.endpoint.name == "health" and request.caller.is_master:
                body |= self._deployments()
        except GatewayError as error:
            status, headers, body = error.status, error_headers(error), error_object(error)
        lines = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": encode(body)})
