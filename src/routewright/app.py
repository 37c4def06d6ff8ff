"""Builds the parts from settings, joins them to the front, and runs them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import itertools
import logging
import math
import os
import random
import secrets
import signal
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
import uvloop

from routewright import endpoints, logs
from routewright.admin.probes import NAMES as PROBE_NAMES
from routewright.admin.probes import Probes
from routewright.admin.stored import StoredBridge
from routewright.admin.ui.desk import Desk
from routewright.admin.ui.front import Pages
from routewright.admin.ui.sessions import Sessions
from routewright.admin.ui.standing import Standing
from routewright.admission.counters import Counters
from routewright.admission.leases import Leases
from routewright.admission.limits import Admission
from routewright.admission.meters import Meters
from routewright.admission.purses import Purses
from routewright.around import Around
from routewright.auth import KEY_HEADERS, KeyNotInMemory, Keys
from routewright.caching.cache import Cache
from routewright.carriage.line import Carriage
from routewright.carriage.targets import Targets
from routewright.catalog import Catalog
from routewright.config.problems import ConfigError
from routewright.config.stored import read_stored
from routewright.customers import Customers
from routewright.deadlines import Deadlines
from routewright.endpoints import UI
from routewright.errors import (
    Conflict,
    FrontError,
    GatewayError,
    InvalidRequest,
    PermissionDenied,
    ShuttingDown,
    StorageUnavailable,
    UnknownKey,
)
from routewright.gateway import Gateway
from routewright.grants import Change, Grant, Grants
from routewright.guardrails.registry import make_rails
from routewright.guesses import Guesses
from routewright.health_checks import HealthChecks
from routewright.hedges import Hedges
from routewright.keeping import KeptResponses
from routewright.leasing import names
from routewright.orchestration.make import orchestrations
from routewright.record.exports import Exports
from routewright.record.journal import Journal
from routewright.record.ledger import Ledger
from routewright.record.metrics import Metrics, PartMetrics
from routewright.record.snapshots import Snapshots
from routewright.record.tracing import Tracer
from routewright.reloading import ConfigWatch, Difference, difference, in_force
from routewright.routing.feedback import Feedback
from routewright.routing.live import LiveRouters
from routewright.sdk.running import SdkProcess
from routewright.server.asgi import AsgiApplication, AsgiBridge
from routewright.server.handover import Successor, inherited, say_ready, take_sockets, tell_service_manager, when_ready
from routewright.server.protocol import HttpConnection, Worker
from routewright.server.workers import STOPS, Supervisor, listening_sockets, raise_file_limit
from routewright.settings import JOURNAL_FOLDER, BudgetSettings, DeploymentSettings, Settings
from routewright.spending import CrossedBudgets, SpendOfStore
from routewright.storage import KeeperSettings, Storage, socket_path, wait_until_ended
from routewright.stored_keys import StoredKeys
from routewright.types import Access, Group, Health, HttpRequest, Secret
from routewright.upstream.carrier import Carrier
from routewright.upstream.fetch import post
from routewright.upstream.relay import Upstream
from routewright.vitals import Delays, Vitals
from routewright.writes import Writes

if TYPE_CHECKING:
    from routewright.admin.control import Control
    from routewright.admin.exposition import MetricsPage
    from routewright.leasing.worker import Leasing

RESERVED_FDS = 64
REFRESH_S = 5.0
"""How often a budget's spend is looked at again: other replicas may share the database, and a worker may have died."""
GC_THRESHOLDS = (5_000, 20, 20)
"""A request leaves no cycle behind; what an error's traceback leaves is small and may wait."""
ROUTERS_FOLDER = "routers"
RUN_FOLDER = "run"
SDK_SOCKET = "litellm.sock"
ONLINE_FOLDER = "online"
EVERY_KEY = (Change("all", ""),)
Load = Callable[[], Settings]
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
        if caller.endpoints is not None and endpoint.name not in caller.endpoints and endpoint.access != Access.OPEN:
            raise PermissionDenied("this key may not call this endpoint")
        if endpoint is UI:
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


def id_source() -> Callable[[], str]:
    """Ids that no other process or start gives: 16 random hex digits, then a count."""
    prefix = secrets.token_hex(8)
    count = itertools.count(1)
    return lambda: f"{prefix}{next(count):016x}"


def load_book() -> Any:
    """The pages and their templates: twenty milliseconds and some memory that nobody pays before the first look."""
    from routewright.admin.ui.book import Book

    return Book()


class WorkerProcess:
    """One worker: its loop, its parts, and how it ends."""

    def __init__(
        self,
        settings: Settings,
        counters: Counters,
        worker: int,
        load: Load | None = None,
        *,
        on_ready: Callable[[], None] = lambda: None,
        start_successor: Callable[[], Successor] | None = None,
    ) -> None:
        """`load` reads the configuration again; None where there is no file behind it. `on_ready` is called when it
        serves. `start_successor`: where this is the gateway's only process, and no supervisor does that."""
        self.settings = settings
        """What the configuration says; what is served has the store's models as well."""
        self._load = load
        self._knows_models = False
        """The store has said which models it keeps."""
        self._stored_models: tuple[DeploymentSettings, ...] = ()
        self._are_models_stale = False
        self._reasons_told: set[str] = set()
        self._healths: dict[str, Health] = {}
        self._counters = counters
        self._slot = counters.slot(worker)
        self._on_ready = on_ready
        self._start_successor = start_successor
        self._successor: Successor | None = None
        server = settings.server
        new_id = id_source()
        writes = Writes()
        rng = random.Random()  # noqa: S311 - spreads load; guards nothing
        self.deadlines = Deadlines(time.monotonic)
        self.metrics = Metrics()
        self.storage = Storage(_keeper_settings(settings), server.data_dir / RUN_FOLDER, worker)
        has_one_ledger = settings.database_url is not None
        self.leases = Leases(counters, has_one_ledger=has_one_ledger) if settings.valkey is not None else None
        self.leasing = self._make_leasing()
        self.admission = Admission(counters, worker, source=SpendOfStore(self.storage), leases=self.leases)
        if self.leasing is not None:
            self.admission.ask_for = self.leasing.ask_for
        self.alerts = CrossedBudgets(self.storage)
        self.admission.on_crossing = self.alerts.tell if settings.alert_to_webhook_url is not None else None
        self.customers = Customers(self.storage, self.admission)
        self.customers.configure(settings.end_user_budget, settings.tag_budgets)
        self.storage.on_changed.append(self.customers.changed)
        self._access_groups = settings.access_groups
        self.keys = Keys(settings, self.admission.limits_of, self.storage.may_hold_keys)
        stored = self.keys.stored = StoredKeys(self._ask_grants, self._limits_of, self.keys.forget_recent)
        self.storage.on_changed += [stored.changed, self._models_changed]
        self.storage.on_gone = stored.forget_all
        self.guesses = Guesses()
        self._limit_guesses(settings)
        self.purses = Purses(self.admission)
        self.upstream = Upstream(
            settings.attempts, settings.upstream, self.deadlines, writes, rng, self.admission, self.purses,
            Hedges(self.admission, lambda outcome: self.parts.settle(outcome, _nothing)),
        )  # fmt: skip
        self.feedback = Feedback(server.data_dir / ONLINE_FOLDER, worker, slot=self._slot)
        local = self.upstream.pools.local_path = socket_path(server.data_dir / RUN_FOLDER, SDK_SOCKET)
        self.sdk = SdkProcess(local) if worker == 0 else None
        self._tell_sdk(settings)
        self.catalog = self._catalog_of(settings)
        self.routing = self._routers_of(settings, self.catalog)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        folder = server.data_dir / JOURNAL_FOLDER
        self._needs_ledger = _has_budgets(settings) or any(folder.glob("*.jsonl"))
        """Someone will ask what was spent, or an earlier start has left records: have its process ready."""
        self.journal = Journal(folder, f"{stamp}-{os.getpid()}-{worker}-{secrets.token_hex(4)}")
        self.ledger = Ledger(self.journal, self.metrics)
        self.parts = Ledger(self.journal, PartMetrics(self.metrics))
        self.exports = Exports(self.metrics.count_exported)
        self.gateway = Gateway(
            self.catalog,
            self.admission,
            self.routing,
            self.upstream,
            self.ledger,
            new_id,
            orchestrations(self.catalog.routes, self.catalog.group),
            self.parts,
            self._around_of(settings),
        )
        self._tell(settings)
        self.upstream.on_failure = self.metrics.count_failure
        self.upstream.balance.on_cooldown = self.metrics.count_cooldown
        self._store_prompts(settings)
        self.snapshots = Snapshots(
            server.data_dir / RUN_FOLDER, self._slot, counters.slots(), counters.run_id, self.metrics,
            lambda: counters.scrapes,
        )  # fmt: skip
        self._delays = Delays(time.monotonic())
        self._metrics_page: MetricsPage | None = None
        self.health_checks = HealthChecks(
            server.data_dir / RUN_FOLDER,
            is_asking=worker == 0,
            upstream=self.upstream,
            ledger=self.parts,
            new_id=new_id,
        )
        self._tell_health_checks()
        self.probes = Probes(
            lambda: self.front.is_draining,
            self.routing,
            self.storage,
            lambda: self.health_checks.endpoints(self.deadlines.now),
        )
        self.probes.callbacks = _callbacks(settings)
        sessions = Sessions(self.storage)
        self.storage.on_changed.append(sessions.changed)
        self.standing = Standing(server.data_dir / RUN_FOLDER, worker, server.workers, lambda: self._healths)
        self._desk = Desk(
            catalog=self.catalog,
            routing=self.routing,
            keys=self.keys,
            storage=self.storage,
            sessions=sessions,
            standing=self.standing,
            requests_counted=self._requests_counted,
            spread_reload=self._spread_reload,
            reload_config=self._reload_config,
            is_draining=lambda: self.front.is_draining,
            infer=self.gateway.infer,
            workers=server.workers,
            is_tls=server.tls_cert is not None,
            has_master_key=settings.master_key is not None,
            deployments=settings.deployments,
        )
        self.probes.cache_type = _cache_type(settings)
        application = self._application = Application(
            self.keys,
            self.gateway,
            AsgiBridge(lambda: self.probes),
            AsgiBridge(self._load_metrics_page),
            AsgiBridge(self._load_control),
            StoredBridge(self.storage),
            Pages(self._desk, load_book),
            self.metrics,
            Carriage(
                self.gateway,
                Carrier(self.upstream, self.deadlines, self.admission),
                new_id,
                server.data_dir / RUN_FOLDER,
            ),
            KeptResponses(self.gateway, self.storage),
            self.guesses,
        )
        application.metrics_need_key = settings.metrics_need_key
        self._application = application
        application.pass_through(Targets(settings, self.catalog.groups()), settings.key_header_name)
        self.front = Worker(application, settings.limits, self.deadlines, new_id, writes)
        self.metrics.gauges = Vitals(
            worker=worker,
            catalog=lambda: self.catalog,
            routing=lambda: self.routing,
            connections=self.front.busy,
            is_draining=lambda: self.front.is_draining,
            journal=self.journal,
            storage=self.storage,
            admission=self.admission,
            metrics=self.metrics,
            delays=self._delays,
        ).gauges
        self._control: Control | None = None
        self._watch = ConfigWatch(settings.config_files)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloads_seen = counters.reloads
        self._config_loads_seen = counters.config_loads
        self._flushes_seen = counters.flushes
        self._polled_s = 0.0
        self._refreshed_s = 0.0
        self._signals = 0
        self.has_successor = False
        self._drain_until_s = 0.0
        self.deadlines.every_tick(self._on_tick)

    def _make_leasing(self) -> Leasing | None:
        settings = self.settings
        if settings.valkey is None or self.leases is None:
            return None
        # Imported where there is a Valkey: its client's reader is an extra.
        from routewright.leasing.worker import Leasing

        ledger = names.ONE_LEDGER if settings.database_url is not None else names.ledger_id(settings.server.data_dir)
        return Leasing(settings.valkey, self._counters, self.leases, ledger)

    def _catalog_of(self, settings: Settings) -> Catalog:
        catalog = Catalog(
            settings,
            self._is_available,
            lambda: self.upstream.balance.is_anything_resting,
            lambda name: self._healths.setdefault(name, Health()),
            self.upstream.credentials.of,
            self.customers.region_of,
        )
        catalog.is_whole = not self.storage.is_wanted or self._knows_models
        return catalog

    def _routers_of(self, settings: Settings, catalog: Catalog, previous: LiveRouters | None = None) -> LiveRouters:
        folder = settings.server.data_dir / ROUTERS_FOLDER
        return LiveRouters(settings.router, catalog.routes, catalog.route_candidates, folder, self.feedback, previous)

    def _store_prompts(self, settings: Settings) -> None:
        """Of which routes; keys know it of themselves."""
        prompts = settings.prompts
        self.gateway.max_stored_bytes = 0 if prompts.is_forbidden else prompts.max_bytes
        routes = {route.name for route in settings.routes if route.stores_prompts}
        if prompts.stores_all:
            self.gateway.stores_of_route = lambda _: True
        else:
            self.gateway.stores_of_route = routes.__contains__ if routes else None

    def _limit_guesses(self, settings: Settings) -> None:
        limits = settings.limits
        self.guesses.configure(limits.max_wrong_keys_per_minute, limits.trusted_proxies, settings.server.workers)

    def _around_of(self, settings: Settings, previous: Settings | None = None) -> Around:
        """What is kept is kept on, unless who answers it, or how, has changed."""
        if previous is not None and (previous.cache, previous.deployments, previous.routes) == (
            settings.cache, settings.deployments, settings.routes,
        ):  # fmt: skip
            cache = self.gateway.around.cache
        else:
            cache = self._cache_of(settings)
            if previous is not None and self.gateway.around.cache is not None:
                self.gateway.around.cache.close()
        return Around(cache, make_rails(settings.guardrails, self._post))

    def _cache_of(self, settings: Settings) -> Cache | None:
        if settings.cache is None:
            return None
        if not settings.cache.is_shared or settings.valkey is None:
            return Cache(settings.cache)
        # Imported where there is a Valkey: its client's reader is an extra.
        from routewright.caching.shared import Shared

        return Cache(settings.cache, Shared(settings.valkey))

    async def _post(self, address: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> tuple[int, bytes]:
        work = post(self.upstream.pools, address, headers, body, timeout_s)
        return await asyncio.get_running_loop().create_task(work)

    def _is_available(self, group: Group) -> bool:
        return self.upstream.balance.is_available(group, self.deadlines.now)

    async def _spent(self, questions: Sequence[tuple[str, str, int, int]]) -> list[int]:
        return msgspec.msgpack.decode(await self.storage.ask("spent", questions), type=list[int])

    async def _ask_grants(self, hashes: list[str]) -> Grants:
        asked = (hashes, self._access_groups)
        return msgspec.msgpack.decode(await self.storage.ask("grants", asked), type=dict[str, Grant | None])

    def _limits_of(self, grant: Grant) -> Meters | None:
        return self.admission.meters_of(
            grant.allowances, {model: list(own) for model, own in grant.model_allowances.items()}
        )

    def _load_metrics_page(self) -> MetricsPage:
        # Imported when first needed: prometheus-client is no part of the data path.
        from routewright.admin.exposition import MetricsPage

        if self._metrics_page is None:
            self._metrics_page = MetricsPage(self.snapshots, self._next_scrape)
        return self._metrics_page

    def _next_scrape(self) -> int:
        self._counters.scrapes += 1
        return self._counters.scrapes

    def _requests_counted(self) -> int:
        """By all workers; the others write down what they have before the next question."""
        self._next_scrape()
        return sum(numbers[0] for _, _, numbers in self.snapshots.all()[0].raw().tallies)

    def _load_control(self) -> AsgiApplication:
        # Imported when first needed: FastAPI costs a quarter of a second and 16 MB that the data path does not need.
        from routewright.admin.application import make_application
        from routewright.admin.control import Control

        self._control = Control(
            catalog=self.catalog,
            routing=self.routing,
            feedback=self.feedback,
            metrics_page=self._load_metrics_page(),
            keys=self.keys,
            probes=self.probes,
            spread_reload=self._spread_reload,
            reload_config=self._reload_config,
            spent=self._spent,
            cache=lambda: self.gateway.around.cache,
            rails=lambda: self.gateway.around.rails,
            spread_flush=self._spread_flush,
            health_checks=self.health_checks,
        )
        self._tell_control()
        return make_application(self._control)

    def _tell(self, settings: Settings) -> None:
        """Who is told of requests after their end."""
        logs.configure(level=settings.logs.level, as_json=settings.logs.as_json)
        self.journal.on_written = self.exports.configure(settings.logs, settings.exports, settings.traces)
        traces = settings.traces
        self.gateway.tracer = None if traces is None else Tracer(traces, random.Random())  # noqa: S311 - no secret

    def _tell_health_checks(self) -> None:
        settings = self.settings
        served = (*settings.deployments, *self._stored_models)
        self.health_checks.configure(settings.health_checks, settings.attempts, self.catalog, served)

    def _tell_control(self) -> None:
        for told in (self._desk, self._control):
            if told is not None:
                told.catalog, told.routing = self.catalog, self.routing
                told.deployments = (*self.settings.deployments, *self._stored_models)
                told.stored_ids = frozenset(each.id for each in self._stored_models)
        if self._control is not None:
            self._control.provider_budgets = self.settings.attempts.provider_budgets

    # --- changes while serving ------------------------------------------------------------------------------------

    def _apply(self, settings: Settings, stored: tuple[DeploymentSettings, ...]) -> None:
        """Serve by these settings from now on. What can fail is done first; then all of it changes at once."""
        whole = dataclasses.replace(settings, deployments=(*settings.deployments, *stored))
        catalog = self._catalog_of(whole)
        routing = self._routers_of(whole, catalog, self.routing)
        made = orchestrations(catalog.routes, catalog.group)
        around = self._around_of(settings, self.settings if stored == self._stored_models else None)
        self.keys.configure(whole)
        if whole.access_groups != self._access_groups:
            self._access_groups = whole.access_groups
            if self.keys.stored is not None:
                self._run_soon(self.keys.stored.changed(EVERY_KEY))
        self._application.metrics_need_key = settings.metrics_need_key
        if (settings.logs, settings.exports, settings.traces) != _told(self.settings):
            self._tell(settings)
            self.probes.callbacks = _callbacks(settings)
        self.settings, self._stored_models = settings, stored
        self.catalog = self.gateway.catalog = catalog
        self.routing = self.gateway.routing = self.probes.routing = routing
        self.gateway.orchestrations, self.gateway.around = made, around
        self.probes.cache_type = _cache_type(settings)
        self._application.pass_through(Targets(whole, catalog.groups()), whole.key_header_name)
        self.customers.configure(whole.end_user_budget, whole.tag_budgets)
        if _has_budgets(whole):
            self.storage.run()
        self.purses.forget()
        self.upstream.configure(whole.attempts, whole.upstream)
        self.front.limits = whole.limits
        self._limit_guesses(whole)
        self._store_prompts(whole)
        self._watch.files = settings.config_files
        served = {each.id for each in whole.deployments}
        self._tell_health_checks()
        self._healths = {name: health for name, health in self._healths.items() if name in served}
        self.upstream.credentials.keep_only(
            each.credential for each in whole.deployments if each.credential is not None
        )
        self._tell_sdk(whole)
        self._tell_control()

    def _tell_sdk(self, settings: Settings) -> None:
        if self.sdk is not None:
            self.sdk.wanted_by = [each.model_name for each in settings.deployments if each.sdk_params is not None]

    async def _models_changed(self, changes: list[Change]) -> None:
        """A model was added, changed or taken out."""
        if any(change.kind in ("model", "all") for change in changes):
            self._are_models_stale = True
            await self._refresh_models()

    async def _refresh_models(self) -> None:
        """Ask for the stored models; where they can't be had now, the tick tries again."""
        self._are_models_stale = False
        try:
            await self._take_models()
        except StorageUnavailable:
            self._are_models_stale = True

    async def _take_models(self) -> None:
        entries = msgspec.msgpack.decode(await self.storage.ask("models"))
        stored, reasons = read_stored(entries, os.environ, [each.id for each in self.settings.deployments])
        self._knows_models = True
        for reason in reasons:
            if reason not in self._reasons_told:
                self._reasons_told.add(reason)
                log.warning(reason)
        if tuple(stored) == self._stored_models:
            self.catalog.is_whole = True
            return
        self._apply(self.settings, tuple(stored))

    async def _reload_config(self) -> Difference:
        found = await self._load_config()
        self._counters.config_loads += 1
        self._config_loads_seen = self._counters.config_loads
        return found

    async def _load_config(self) -> Difference:
        """Raises InvalidRequest with every fault of the file; then nothing has changed."""
        if self._load is None:
            raise Conflict("this gateway was started without a configuration file")
        try:
            read = await asyncio.to_thread(self._load)
        except (ConfigError, ValueError) as error:
            raise InvalidRequest(str(error)) from error
        new = in_force(self.settings, read)
        found = difference(self.settings, read)
        self._apply(new, self._stored_models)
        log.info("the configuration was read again; changed: %s", found)
        for warning in set(new.warnings) - set(self.settings.warnings):
            log.warning(warning)
        return found

    async def _follow_config(self) -> None:
        try:
            await self._load_config()
        except GatewayError as error:
            log.error("the configuration stays as it was: %s", error.message)

    def _run_soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- running --------------------------------------------------------------------------------------------------

    def run(self, listener: socket.socket) -> int:
        """Serve until a signal has been obeyed. Returns the exit status."""
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(self._serve(loop, listener))
        finally:
            loop.close()

    async def _serve(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> int:
        self.front.max_connections = max(16, raise_file_limit() - RESERVED_FDS)
        self._ended = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        loop.add_signal_handler(signal.SIGUSR1, self._leave)
        if self._start_successor is not None:
            loop.add_signal_handler(signal.SIGUSR2, self._hand_over)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        self.deadlines.sweep()
        self.deadlines.start(loop)
        self.journal.start(loop)
        self.storage.start()
        if self.leasing is not None:
            self.leasing.start()
        if self._needs_ledger:
            self.storage.run()
        server = self.settings.server
        tls = _server_tls(server.tls_cert, server.tls_key)
        self._server = await loop.create_server(
            self.front.connection,
            sock=listener,
            ssl=tls,
            ssl_handshake_timeout=self.settings.limits.head_timeout_s if tls is not None else None,
        )
        # What is loaded by now stays; the collector need not look at it again with every few hundred requests.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._on_ready()
        await self._ended
        self.deadlines.stop()
        self.health_checks.stop()
        self.upstream.pools.close()
        for connection in list(self.front.connections):
            connection.cut()
        await asyncio.sleep(0)
        self.routing.close()
        if self.gateway.around.cache is not None:
            self.gateway.around.cache.close()
        self.journal.close()
        self._counters.note_end(self._slot)
        self.feedback.save()
        if self.leasing is not None:
            await self.leasing.close()
        await self.storage.close()
        self.exports.close()
        if self.sdk is not None:
            self.sdk.close()
        self.snapshots.write()
        return 0

    def _on_signal(self) -> None:
        """First: take no new work and let what runs finish. Second: end what runs now."""
        self._signals += 1
        if self._signals == 1:
            self._drain_until_s = time.monotonic() + self.settings.server.drain_s
            self._server.close()
            self.front.drain()
            log.info("draining: %d requests are running", self.front.busy()[1])
            self._end_if_drained(time.monotonic())
        else:
            self._drain_until_s = time.monotonic()
            self._end_if_drained(time.monotonic())

    def _hand_over(self) -> None:
        """Start a successor, and leave once it serves."""
        if self._successor is not None or self._signals or self.front.is_leaving or self._start_successor is None:
            return
        try:
            successor = self._successor = self._start_successor()
        except OSError as error:
            log.error("no successor can be started: %s", error.strerror)
            return
        asyncio.get_running_loop().add_reader(successor.fd, self._look_at_successor)

    def _look_at_successor(self) -> None:
        successor = self._successor
        found = None if successor is None else successor.look()
        if successor is None or found is None:
            return
        asyncio.get_running_loop().remove_reader(successor.fd)
        successor.close()
        if found:
            self.has_successor = True
            log.info("process %d serves", successor.pid)
            tell_service_manager(f"MAINPID={successor.pid}")
            self._leave()
            return
        self._successor = None
        self._run_soon(asyncio.to_thread(successor.give_up))

    def _leave(self) -> None:
        """A successor takes new connections: end with the last answer, however long that takes."""
        if self._signals or self.front.is_leaving:
            return
        self._server.close()
        self.front.leave()
        self._drain_until_s = math.inf
        log.info("leaving: %d requests are running", self.front.busy()[1])

    def _on_hangup(self) -> None:
        """SIGHUP: read everything again that a file says."""
        self._reload_routers()
        if self._load is not None:
            self._run_soon(self._follow_config())

    def _reload_routers(self) -> None:
        self.routing.reload_soon()  # what is refused is logged, and told by /router/info

    def _on_tick(self, now: float) -> None:
        if self._signals or self.front.is_leaving:
            self._end_if_drained(now)
        if self._successor is not None and not self.has_successor:
            self._look_at_successor()  # it may take too long
        if self._counters.reloads != self._reloads_seen:
            self._reloads_seen = self._counters.reloads
            self._reload_routers()
        if self._counters.flushes != self._flushes_seen:
            self._flushes_seen = self._counters.flushes
            if self.gateway.around.cache is not None:
                self.gateway.around.cache.memory.flush()
        if now - self._polled_s >= self.settings.router.reload_interval_s:
            self._polled_s = now
            self.routing.poll()
        if self._counters.config_loads != self._config_loads_seen:
            self._config_loads_seen = self._counters.config_loads
            self._run_soon(self._follow_config())
        elif self._load is not None and self._watch.has_changed(now):
            self._run_soon(self._follow_config())
        if self._are_models_stale and self.storage.is_connected:
            self._run_soon(self._refresh_models())
        if self.journal.has_records:
            self.storage.run()
        self.health_checks.on_tick(now)
        self.storage.on_tick(now)
        if self.leasing is not None:
            self.leasing.on_tick(now)
        if self.sdk is not None:
            self.sdk.on_tick(now)
        self.keys.on_tick()
        self.guesses.on_tick(now)
        self.customers.on_tick(now)
        self.alerts.on_tick(now)
        if self._counters.are_shared:
            self.journal.flush()
        self.admission.on_tick(is_all_written=not self.journal.is_failing)
        if now - self._refreshed_s >= REFRESH_S:
            self._refreshed_s = now
            self.admission.refresh(is_shared=self.settings.database_url is not None)
            self._counters.look_for_dead()
        self._delays.on_tick(now)
        self.exports.on_tick()
        self.snapshots.on_tick(now)
        self.standing.on_tick(now)
        self.feedback.poll(now)

    def _spread_flush(self) -> None:
        self._counters.flushes += 1
        self._flushes_seen = self._counters.flushes

    def _spread_reload(self) -> None:
        self._counters.reloads += 1
        self._reloads_seen = self._counters.reloads

    def _end_if_drained(self, now: float) -> None:
        if self._ended.done():
            return
        if now >= self._drain_until_s and self._drain_until_s >= 0:
            self._drain_until_s = -1.0
            self.upstream.end_all(ShuttingDown("this server is shutting down"))
            # One more moment, so that the last events reach their clients.
            asyncio.get_running_loop().call_later(0.5, self._end)
        elif not self.front.connections:
            self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def _callbacks(settings: Settings) -> tuple[str, ...]:
    names = [each.name for each in settings.exports if each.wants_success]
    return tuple(names if settings.traces is None else [*names, "otel"])


def _told(settings: Settings) -> tuple[object, object, object]:
    return settings.logs, settings.exports, settings.traces


def _nothing() -> None:
    """Nobody waits for the record of a part."""


def _cache_type(settings: Settings) -> str | None:
    """In LiteLLM's words."""
    if settings.cache is None:
        return None
    return "redis" if settings.cache.is_shared else "local"


def _has_budgets(settings: Settings) -> bool:
    nothing = BudgetSettings()
    if settings.attempts.provider_budgets or any(each.budget is not None for each in settings.deployments):
        return True
    return bool(settings.tag_budgets) or any(
        budget != nothing
        for budget in (
            settings.end_user_budget,
            *[key.budget for key in settings.keys],
            *[budget for key in settings.keys for budget in key.model_max_budget.values()],
        )
    )


def _keeper_settings(settings: Settings) -> KeeperSettings:
    def clear(secret: Secret | None) -> str | None:
        return None if secret is None else secret.reveal()

    shared = None
    if settings.valkey is not None and settings.database_url is not None:
        shared = {**dataclasses.asdict(settings.valkey), "password": clear(settings.valkey.password)}
    return KeeperSettings(
        valkey=shared,
        data_dir=str(settings.server.data_dir.resolve()),
        database_url=clear(settings.database_url),
        alert_url=clear(settings.alert_to_webhook_url),
        spend_kept_ms=None if settings.spend_kept_s is None else settings.spend_kept_s * 1000,
        prompts_kept_ms=settings.prompts.kept_s * 1000,
        master_key=clear(settings.master_key),
        salt=clear(settings.salt_key),
    )


def _server_tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def serve(settings: Settings, load: Load | None = None) -> int:
    """Run the gateway until it is told to stop. Returns the exit status; raises OSError where the port is taken.

    `load` reads the same configuration again, as it is then.
    """
    # Until it can be obeyed it must not end this process, as it would by default.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    server = settings.server
    server.data_dir.mkdir(parents=True, exist_ok=True)
    before = inherited()
    if before is None:
        sockets = listening_sockets(server.host, server.port, server.workers)
        counters = Counters(server.workers)
    else:
        sockets = take_sockets(before.listeners)
        if len(sockets) == 1:
            sockets *= server.workers
        if len(sockets) != server.workers:
            raise ValueError("the number of workers can't be changed by a handover")
        counters = Counters(server.workers, inherited=before.counters)
    if settings.valkey is not None:
        names.prepare(counters, server.data_dir, server.data_dir / RUN_FOLDER)
    if not settings.keys and settings.master_key is None:
        log.warning("no key is configured: whoever reaches this port may use every model")
    scheme = "https" if server.tls_cert else "http"
    log.info("serving on %s://%s:%d", scheme, server.host, sockets[0].getsockname()[1])

    ready = before.ready if before is not None else when_ready(server.workers)

    def on_ready() -> None:
        say_ready(ready)

    def start_successor() -> Successor:
        counters.share()
        return Successor(sockets, counters.fd, server.workers)

    has_successor = False
    try:
        if server.workers == 1:
            only = WorkerProcess(settings, counters, 0, load, on_ready=on_ready, start_successor=start_successor)
            status = only.run(sockets[0])
            has_successor = only.has_successor
            return status

        def run_worker(worker: int, listener: socket.socket) -> int:
            current = settings
            if counters.config_loads and load is not None:  # this worker takes the place of one that died
                with contextlib.suppress(ConfigError, ValueError):
                    current = in_force(settings, load())
            return WorkerProcess(current, counters, worker, load, on_ready=on_ready).run(listener)

        supervisor = Supervisor(run_worker, sockets, counters.forget_worker, start_successor)
        status = supervisor.run()
        has_successor = supervisor.has_successor
        return status
    finally:
        if not has_successor:  # else the store's process is the successor's by now
            wait_until_ended(server.data_dir / RUN_FOLDER)
