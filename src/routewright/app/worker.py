"""One worker: its parts, what they are told when something changes, and its loop."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import itertools
import logging
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from routewright import logs
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
from routewright.app.caches import make_cache
from routewright.app.changes import Changes, Load, Models
from routewright.app.derived import adjustable, cache_type, callbacks, has_budgets, keeper_settings, server_tls, told_by
from routewright.app.encodings import put_on_record
from routewright.app.ending import Ending
from routewright.app.front import Application
from routewright.app.overrides import ConfigDesk
from routewright.around import Around
from routewright.auth import Keys
from routewright.carriage.line import Carriage
from routewright.carriage.targets import Targets
from routewright.catalog import Catalog, budgets_of, make_deployment
from routewright.customers import Customers
from routewright.deadlines import Deadlines
from routewright.gateway import Gateway
from routewright.grants import Change, Grant, Grants
from routewright.guardrails.registry import make_rails
from routewright.guesses import Guesses
from routewright.health_checks import HealthChecks
from routewright.hedges import Hedges
from routewright.keeping import KeptResponses
from routewright.leasing import names
from routewright.objects.batches import Batches
from routewright.objects.line import Objects
from routewright.objects.named import NamedFiles
from routewright.objects.places import Places
from routewright.orchestration.make import orchestrations
from routewright.record.exports import Exports
from routewright.record.journal import Journal, has_records
from routewright.record.ledger import Ledger
from routewright.record.metrics import Metrics, PartMetrics
from routewright.record.snapshots import Snapshots
from routewright.record.tracing import Tracer
from routewright.routing.feedback import Feedback
from routewright.routing.live import LiveRouters
from routewright.sdk.running import SdkProcess
from routewright.server.asgi import AsgiApplication, AsgiBridge
from routewright.server.front import Worker
from routewright.server.handover import Successor
from routewright.server.workers import BACKLOG, raise_file_limit
from routewright.settings import JOURNAL_FOLDER, Settings
from routewright.spending import CrossedBudgets, SpendOfStore
from routewright.storage import Storage, socket_path
from routewright.stored_keys import StoredKeys
from routewright.types import Group, Health
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
log = logging.getLogger("routewright")


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
        supervisor: int | None = None,
    ) -> None:
        """`load` reads the configuration again; None where there is no file behind it. `on_ready` is called when it
        serves. `start_successor`: where this is the gateway's only process, and no supervisor does that.
        `supervisor`: the process of the one that does, where it is one of several."""
        self._healths: dict[str, Health] = {}
        self._load = load
        self._counters = counters
        self._slot = counters.slot(worker)
        self._on_ready = on_ready
        server = settings.server
        new_id = self._new_id = id_source()
        writes = Writes()
        rng = random.Random()  # noqa: S311 - spreads load; guards nothing
        self.deadlines = Deadlines(time.monotonic)
        self.metrics = Metrics()
        self.storage = Storage(keeper_settings(settings), server.data_dir / RUN_FOLDER)
        self.changes = Changes(settings, load, self.storage, counters, self._apply)
        has_one_ledger = settings.database_url is not None
        self.leases = Leases(counters, has_one_ledger=has_one_ledger) if settings.valkey is not None else None
        self.leasing = self._make_leasing()
        self.admission = Admission(counters, worker, source=SpendOfStore(self.storage), leases=self.leases)
        if self.leasing is not None:
            self.admission.ask_for = self.leasing.ask_for
        self.alerts = CrossedBudgets(self.storage)
        self._tell_store(settings)
        self.customers = Customers(self.storage, self.admission)
        self.customers.configure(settings.end_user_budget, settings.tag_budgets)
        self.storage.on_changed.append(self.customers.changed)
        self._access_groups = settings.access_groups
        self.keys = Keys(settings, self.admission.limits_of, self.storage.may_hold_keys)
        stored = self.keys.stored = StoredKeys(self._ask_grants, self._limits_of, self.keys.forget_recent)
        self.storage.on_changed.append(stored.changed)
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
        self._needs_ledger = has_budgets(settings) or has_records(folder)
        """Someone will ask what was spent, or an earlier start has left records: have its process ready."""
        self.journal = Journal(folder, f"{stamp}-{os.getpid()}-{worker}-{secrets.token_hex(4)}")
        self.ledger = Ledger(self.journal, self.metrics)
        self.parts = Ledger(self.journal, PartMetrics(self.metrics))
        self.exports = Exports(self.metrics.count_exported)
        named = NamedFiles(self.storage, lambda: self.objects.places)
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
            named,
        )
        self._tell(settings)
        self.upstream.on_failure = self.metrics.count_failure
        self.upstream.balance.on_cooldown = self.metrics.count_cooldown
        self._store_prompts(settings)
        self._keep_addresses(settings)
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
        self.probes.callbacks = callbacks(settings)
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
            reload_config=self.changes.reload,
            is_draining=lambda: self.front.is_draining,
            infer=self.gateway.infer,
            workers=server.workers,
            is_tls=server.tls_cert is not None,
            has_master_key=settings.master_key is not None,
            deployments=settings.deployments,
        )
        self._desk.log_in_at(settings.oidc, settings.upstream.proxy)
        self.probes.cache_type = cache_type(settings)
        carrier = Carrier(self.upstream, self.deadlines, self.admission, self.purses)
        carriage = Carriage(self.gateway, carrier, new_id, server.data_dir / RUN_FOLDER)
        self.batches = Batches(
            carrier, self.storage, self.admission, self.purses, self.parts, self.keys.of_hash,
            lambda: self.objects.places, is_looking=worker == 0,
        )  # fmt: skip
        self.objects = Objects(
            self.gateway,
            carriage,
            carrier,
            self.purses,
            self.storage,
            self.batches,
            named,
            server.data_dir / RUN_FOLDER,
        )
        self.objects.places = self._places_of(settings, self.catalog)
        application = self._application = Application(
            self.keys,
            self.gateway,
            AsgiBridge(lambda: self.probes),
            AsgiBridge(self._load_metrics_page),
            AsgiBridge(self._load_control),
            StoredBridge(self.storage),
            Pages(self._desk, load_book),
            self.metrics,
            carriage,
            KeptResponses(self.gateway, self.storage),
            self.objects,
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
            exports=self.exports,
            sharing=None if self.leasing is None else self.leasing.sharing,
        ).gauges
        self._control: Control | None = None
        self._reloads_seen = counters.reloads
        self._flushes_seen = counters.flushes
        self._polled_s = 0.0
        self._refreshed_s = 0.0
        self.ending = Ending(self.front, self.upstream.end_all, server.drain_s, start_successor, supervisor)
        self.deadlines.every_tick(self._on_tick)

    def _make_leasing(self) -> Leasing | None:
        settings = self.changes.settings
        if settings.valkey is None or self.leases is None:
            return None
        # Imported where there is a Valkey: its client's reader is an extra.
        from routewright.leasing.worker import Leasing

        data_dir = settings.server.data_dir
        ledger = names.ONE_LEDGER if settings.database_url is not None else names.ledger_id(data_dir)
        on_replicas = partial(names.remember, data_dir)
        return Leasing(settings.valkey, self._counters, self.leases, ledger, on_replicas)

    def _catalog_of(self, settings: Settings) -> Catalog:
        catalog = Catalog(
            settings,
            self._is_available,
            lambda: self.upstream.balance.is_anything_resting,
            lambda name: self._healths.setdefault(name, Health()),
            self.upstream.credentials.of,
            self.customers.region_of,
        )
        catalog.is_whole = not self.storage.is_wanted or self.changes.knows_models
        return catalog

    def _places_of(self, settings: Settings, catalog: Catalog) -> Places:
        accounts = [
            make_deployment(
                each, model_name=each.model_name, upstream_model="",
                health=self._healths.setdefault(each.id, Health()), credential_of=self.upstream.credentials.of,
            )
            for each in settings.files_accounts
        ]  # fmt: skip
        for account, each in zip(accounts, settings.files_accounts, strict=True):
            account.budgets = budgets_of(each, settings.attempts)
        return Places(catalog, accounts)

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

    def _tell_store(self, settings: Settings) -> None:
        """What its process does by itself."""
        self.storage.adjust(adjustable(settings))
        self.admission.money.on_crossing = self.alerts.tell if settings.alert_to_webhook_url is not None else None

    def _keep_addresses(self, settings: Settings) -> None:
        """Whose address a record keeps. Only behind trusted proxies does it take a look at a header."""
        limits = settings.limits
        if not limits.keeps_addresses:
            self.gateway.address_of = lambda peer, headers: ""
        else:
            self.gateway.address_of = self.guesses.caller_of if limits.trusted_proxies else None

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
            cache = make_cache(settings)
            if previous is not None and self.gateway.around.cache is not None:
                self.gateway.around.cache.close()
        return Around(cache, make_rails(settings.guardrails, self._post))

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
            reload_config=self.changes.reload,
            spent=self._spent,
            cache=lambda: self.gateway.around.cache,
            rails=lambda: self.gateway.around.rails,
            spread_flush=self._spread_flush,
            health_checks=self.health_checks,
            config=ConfigDesk(self.storage, self._load, lambda: self.changes.settings),
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
        settings = self.changes.settings
        self.health_checks.configure(settings.health_checks, settings.attempts, self.catalog, self.changes.served)

    def _tell_control(self) -> None:
        for told in (self._desk, self._control):
            if told is not None:
                told.catalog, told.routing = self.catalog, self.routing
                told.deployments = self.changes.served
                told.stored_ids = self.changes.stored_ids
        if self._control is not None:
            self._control.provider_budgets = self.changes.settings.attempts.provider_budgets

    # --- changes while serving ------------------------------------------------------------------------------------

    def _apply(self, settings: Settings, stored: Models) -> None:
        """Serve by these settings from now on. What can fail is done first; then all of it changes at once."""
        before = self.changes.settings
        if stored == self.changes.stored and settings is before:
            self.catalog.is_whole = True
            return
        whole = dataclasses.replace(settings, deployments=(*settings.deployments, *stored))
        catalog = self._catalog_of(whole)
        routing = self._routers_of(whole, catalog, self.routing)
        made = orchestrations(catalog.routes, catalog.group)
        around = self._around_of(settings, before if stored == self.changes.stored else None)
        self.keys.configure(whole)
        if whole.access_groups != self._access_groups:
            self._access_groups = whole.access_groups
            if self.keys.stored is not None:
                self.changes.run_soon(self.keys.stored.changed(EVERY_KEY))
        self._application.metrics_need_key = settings.metrics_need_key
        if (settings.logs, settings.exports, settings.traces) != told_by(before):
            self._tell(settings)
            self.probes.callbacks = callbacks(settings)
        self.changes.settings, self.changes.stored = settings, stored
        self.catalog = self.gateway.catalog = catalog
        self.routing = self.gateway.routing = self.probes.routing = routing
        self.gateway.orchestrations, self.gateway.around = made, around
        self.probes.cache_type = cache_type(settings)
        self._application.pass_through(Targets(whole, catalog.groups()), whole.key_header_name)
        self.objects.places = self._places_of(whole, catalog)
        self.customers.configure(whole.end_user_budget, whole.tag_budgets)
        self._tell_store(whole)
        if has_budgets(whole):
            self.storage.run()
        self.purses.forget()
        self.upstream.configure(whole.attempts, whole.upstream)
        self.front.limits = whole.limits
        self._limit_guesses(whole)
        self._store_prompts(whole)
        self._keep_addresses(whole)
        self._desk.log_in_at(whole.oidc, whole.upstream.proxy)
        served = {each.id for each in (*whole.deployments, *whole.files_accounts)}
        self._tell_health_checks()
        self._healths = {name: health for name, health in self._healths.items() if name in served}
        self.upstream.credentials.keep_only(
            each.credential for each in (*whole.deployments, *whole.files_accounts) if each.credential is not None
        )
        self._tell_sdk(whole)
        self._tell_control()

    def _tell_sdk(self, settings: Settings) -> None:
        if self.sdk is not None:
            self.sdk.wanted_by = [each.model_name for each in settings.deployments if each.sdk_params is not None]

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
        self._share_descriptors(raise_file_limit())
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        self.ending.obey(loop)
        self.deadlines.sweep()
        self.deadlines.start(loop)
        self.journal.start(loop)
        self.storage.start()
        if self.leasing is not None:
            self.leasing.start()
        if self._needs_ledger:
            self.storage.run()
        server = self.changes.settings.server
        tls = server_tls(server.tls_cert, server.tls_key)
        listening = await loop.create_server(
            self.front.connection,
            sock=listener,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=self.changes.settings.limits.head_timeout_s if tls is not None else None,
        )
        self.ending.close_server = listening.close
        # What is loaded by now stays; the collector need not look at it again with every few hundred requests.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._on_ready()
        await self.ending.over
        self.deadlines.stop()
        self.health_checks.stop()
        self.upstream.pools.close()
        for connection in list(self.front.connections):
            connection.cut()
        await asyncio.sleep(0)
        self.routing.close()
        if self.gateway.around.cache is not None:
            self.gateway.around.cache.close()
        put_on_record(self.parts, self._new_id)
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

    def _share_descriptors(self, limit: int) -> None:
        """Clients and upstreams together never have all of them: the journal and the store get theirs."""
        front, upstreams = self.front, self.upstream.pools.descriptors
        front.max_connections = max(16, limit - RESERVED_FDS)
        most = limit - RESERVED_FDS // 2
        front.most_beside = lambda: most - upstreams.in_use
        upstreams.most = lambda: most - len(front.connections)

    def _on_hangup(self) -> None:
        """SIGHUP: read everything again that a file says."""
        self._reload_routers()
        self.changes.follow()

    def _reload_routers(self) -> None:
        self.routing.reload_soon()  # what is refused is logged, and told by /router/info

    def _on_tick(self, now: float) -> None:
        self.ending.on_tick(now)
        if self._counters.reloads != self._reloads_seen:
            self._reloads_seen = self._counters.reloads
            self._reload_routers()
        if self._counters.flushes != self._flushes_seen:
            self._flushes_seen = self._counters.flushes
            if self.gateway.around.cache is not None:
                self.gateway.around.cache.forget()
        if now - self._polled_s >= self.changes.settings.router.reload_interval_s:
            self._polled_s = now
            self.routing.poll()
        self.changes.on_tick(now)
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
        self.batches.on_tick(now)
        put_on_record(self.parts, self._new_id)
        if self._counters.are_shared:
            self.journal.flush()
        self.admission.spent.on_tick(is_all_written=not self.journal.is_failing)
        if now - self._refreshed_s >= REFRESH_S:
            self._refreshed_s = now
            self.admission.spent.refresh(is_shared=self.changes.settings.database_url is not None)
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


def _nothing() -> None:
    """Nobody waits for the record of a part."""
