"""What the front serves: it finds the endpoint and the caller, and hands the request to whoever answers it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qs

from routewright import endpoints
from routewright.admin.probes import NAMES as PROBE_NAMES
from routewright.admin.stored import StoredBridge
from routewright.admin.ui.front import Pages
from routewright.auth import KEY_HEADERS, KeyNotInMemory, Keys
from routewright.carriage.line import Carriage
from routewright.carriage.targets import Targets
from routewright.endpoints import UI, UI_LOGIN
from routewright.errors import FrontError, GatewayError, PermissionDenied, UnknownKey
from routewright.gateway import Gateway
from routewright.guesses import Guesses
from routewright.keeping import KeptResponses
from routewright.objects.line import Objects
from routewright.record.metrics import Metrics
from routewright.server.asgi import AsgiBridge
from routewright.server.protocol import HttpConnection
from routewright.types import Access, HttpRequest

log = logging.getLogger("routewright")


class Application:
    """What the front serves: the table's endpoints, by the gateway or the control plane."""

    def __init__(
        self,
        keys: Keys,
        gateway: Gateway,
        probes: AsgiBridge,
        page: AsgiBridge,
        control: AsgiBridge,
        stored: StoredBridge,
        pages: Pages,
        metrics: Metrics,
        carriage: Carriage,
        kept: KeptResponses,
        objects: Objects,
        guesses: Guesses,
    ) -> None:
        self._keys = keys
        self._guesses = guesses
        self._pages = pages
        self._gateway = gateway
        self._bridges: dict[str, AsgiBridge | Pages] = {
            **dict.fromkeys(PROBE_NAMES, probes),
            "metrics": page,
            UI.name: pages,
        }
        """Those that do not need the whole control plane."""
        self.metrics_need_key = False
        self._control = control
        self._stored = stored
        self._metrics = metrics
        self._carriage = carriage
        self._kept = kept
        self._objects = objects
        self._find = endpoints.find

    def pass_through(self, targets: Targets, key_header: str | None) -> None:
        """Let requests pass through to these."""
        self._carriage.targets, self._carriage.key_header = targets, key_header
        self._find = self._carriage.find_first if targets.overrides else endpoints.find

    def admit(self, request: HttpRequest) -> asyncio.Future[GatewayError | None] | None:
        try:
            endpoint, model = self._find(request.path, request.method)
        except FrontError as error:
            endpoint, model = self._carriage.find(request.path, request.method, error), None
        request.endpoint = endpoint
        request.model_in_path = model
        headers = request.headers if endpoint.speaks != "gemini" else google_key_moved(request)
        access = endpoint.access
        if access == Access.OPEN and endpoint.name == "metrics" and self.metrics_need_key:
            access = Access.KEY
        try:
            caller = request.caller = self._keys.authenticate(headers, access)
        except KeyNotInMemory as cold:
            if self._guesses.failing:
                self._guesses.check(request.peer, request.headers, None)
            assert self._keys.stored is not None
            return self._keys.stored.look_up(cold.digest)
        except UnknownKey:
            self._guesses.note_wrong(request.peer, request.headers)
            raise
        except GatewayError:
            if self._guesses.failing:  # what is known of a key is not told to whoever guesses
                self._guesses.check(request.peer, request.headers, None)
            raise
        if self._guesses.failing and endpoint.access != Access.OPEN:
            self._guesses.check(request.peer, request.headers, caller.key_hash)
        named = caller.endpoints
        if (
            named is not None
            and endpoint.name not in named
            and endpoint.access != Access.OPEN
            and not (request.method in ("GET", "HEAD") and endpoint.name_to_read in named)
        ):
            raise PermissionDenied("this key may not call this endpoint")
        if endpoint is UI or endpoint is UI_LOGIN:
            return self._pages.admit(request)
        return None

    def _recognise_master(self, request: HttpRequest) -> None:
        """On an open path that has more to say to the master. A wrong key is a guess here too, and no error."""
        try:
            caller = self._keys.authenticate(request.headers, Access.MASTER)
            if self._guesses.failing:
                self._guesses.check(request.peer, request.headers, caller.key_hash)
            request.caller = caller
        except UnknownKey:
            with contextlib.suppress(GatewayError):
                self._guesses.note_wrong(request.peer, request.headers)
        except (GatewayError, KeyNotInMemory):
            pass

    def handle(self, request: HttpRequest, client: HttpConnection) -> Coroutine[Any, Any, None]:
        if request.endpoint.is_proxied:
            return self._gateway.infer(request, client)
        if request.endpoint.is_kept:
            kept = self._kept
            return (
                kept.create(request, client) if request.endpoint.name == "responses" else kept.manage(request, client)
            )
        if request.endpoint.is_owned:
            return self._objects.handle(request, client)
        if request.endpoint.is_carried:
            return self._carriage.carry(request, client)
        if request.endpoint.is_stored:
            return self._stored.handle(request, client)
        if request.endpoint.name == "health" and request.headers.keys() & KEY_HEADERS:
            self._recognise_master(request)
        return self._bridges.get(request.endpoint.name, self._control).handle(request, client)

    def refused(self, request_id: str, error: GatewayError) -> None:
        self._metrics.front_errors.add((str(error.status), error.code or ""))
        if error.status >= 500:
            log.warning("request %s: %s %s: %s", request_id, error.status, error.code, error.message)


def google_key_moved(request: HttpRequest) -> Mapping[bytes, bytes]:
    """Google's clients put the key into a header of their own, or into the query: to where it is looked for."""
    key = request.headers.get(b"x-goog-api-key")
    if key is None and "key=" in request.query:
        key = parse_qs(request.query).get("key", [""])[0].encode("utf-8", "surrogateescape")
    return request.headers if not key else {**request.headers, b"x-api-key": key}
