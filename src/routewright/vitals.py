"""What is so at this moment in one worker, as gauges: asked for at a scrape and never before."""

from __future__ import annotations

import operator
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from routewright import __version__
from routewright.admission.leases import Sharing
from routewright.admission.limits import Admission
from routewright.admission.meters import BudgetMeter
from routewright.catalog import Catalog
from routewright.deadlines import TICK_S
from routewright.record.exports import Exports
from routewright.record.families import Gauge
from routewright.record.journal import Journal
from routewright.record.lag import lag_of
from routewright.record.metrics import OF_DEPLOYMENT, Metrics, labels_of
from routewright.routing.live import LiveRouters
from routewright.storage import Storage
from routewright.types import NUSD_PER_USD, Health

HEALTHY, PARTIAL, OUT = 0, 1, 2
DELAY_KEPT_S = 30.0
_PAGE_BYTES = resource.getpagesize()
_WORKER = ("worker",)
_KEY, _TEAM, _USER = ("hashed_api_key", "api_key_alias"), ("team",), ("user",)
SUM, MOST, LEAST = operator.add, max, min
Merge = Callable[[float, float], float]
GAUGES: tuple[tuple[str, str, tuple[str, ...], Merge], ...] = (
    ("routewright_build_info", "1, and which version this is", ("version",), MOST),
    ("litellm_in_flight_requests", "Requests that are being answered", (), SUM),
    ("routewright_connections", "Clients that are connected", (), SUM),
    ("routewright_draining", "Workers that take no new work", (), SUM),
    (
        "routewright_loop_delay_seconds",
        "How late a worker's loop came to a tick, at worst in half a minute",
        _WORKER,
        MOST,
    ),
    ("routewright_worker_cpu_seconds", "Processor time of a worker so far", _WORKER, MOST),
    ("routewright_worker_resident_bytes", "Memory of a worker", _WORKER, MOST),
    ("routewright_journal_failing", "Workers whose records the disk refuses", (), SUM),
    ("routewright_journal_unwritten_bytes", "Records that wait for the disk", (), SUM),
    ("routewright_store_connected", "Workers that reach the store", (), SUM),
    ("routewright_store_away", "Workers that need the store and don't reach it", (), SUM),
    ("routewright_ledger_lag_bytes", "Records on disk that are not in the ledger yet", (), MOST),
    ("routewright_ledger_lag_seconds", "How long the oldest of them waits", (), MOST),
    ("litellm_deployment_state", "0 well, 1 failing at times, 2 left alone after failures", OF_DEPLOYMENT, MOST),
    ("litellm_deployment_rpm_limit", "Requests a minute that a deployment may get", OF_DEPLOYMENT, MOST),
    ("litellm_deployment_tpm_limit", "Tokens a minute that a deployment may get", OF_DEPLOYMENT, MOST),
    ("routewright_deployment_in_flight", "Requests that a deployment is answering", OF_DEPLOYMENT, SUM),
    ("litellm_remaining_requests_metric", "Requests that a provider said it still takes", OF_DEPLOYMENT, LEAST),
    ("litellm_remaining_tokens_metric", "Tokens that a provider said it still takes", OF_DEPLOYMENT, LEAST),
    ("routewright_export_waiting_bytes", "Records that a receiver has still to get", ("receiver",), SUM),
    ("routewright_valkey_connected", "Workers that reach the Valkey which limits are leased from", (), SUM),
    ("routewright_valkey_round_trip_seconds", "From a worker's word to the Valkey to its answer", _WORKER, MOST),
    ("routewright_valkey_machines", "Machines that share limits over the Valkey, this one among them", (), MOST),
    ("routewright_leases", "Limits and budgets that workers lease from the Valkey", (), SUM),
    ("routewright_router_info", "1 for the router file that serves a route", ("route", "artefact"), MOST),
    ("routewright_router_warnings", "What is wrong with the routers that serve", (), MOST),
    ("routewright_router_reload_failed", "1 while the newest router file was refused", (), MOST),
    ("litellm_remaining_api_key_budget_metric", "US dollars left to a key", _KEY, MOST),
    ("litellm_api_key_max_budget_metric", "US dollars that a key may spend", _KEY, MOST),
    ("litellm_api_key_budget_remaining_hours_metric", "Hours until a key's budget is new", _KEY, MOST),
    ("litellm_remaining_team_budget_metric", "US dollars left to a team", _TEAM, MOST),
    ("litellm_team_max_budget_metric", "US dollars that a team may spend", _TEAM, MOST),
    ("litellm_team_budget_remaining_hours_metric", "Hours until a team's budget is new", _TEAM, MOST),
    ("litellm_remaining_user_budget_metric", "US dollars left to a user", _USER, MOST),
    ("litellm_user_max_budget_metric", "US dollars that a user may spend", _USER, MOST),
    ("litellm_user_budget_remaining_hours_metric", "Hours until a user's budget is new", _USER, MOST),
)
"""Name, help, labels, and what several workers' values make together."""
_LEFT = (
    ("litellm_remaining_requests_metric",
     (b"x-ratelimit-remaining-requests", b"anthropic-ratelimit-requests-remaining")),
    ("litellm_remaining_tokens_metric", (b"x-ratelimit-remaining-tokens", b"anthropic-ratelimit-tokens-remaining")),
)  # fmt: skip
"""In which of an answer's fields a provider tells it. Source: OpenAI, Rate limits; Anthropic, Rate limits."""
TOLD_KEPT_S = 60.0
"""Limits are by the minute: what was left before that says nothing about now."""
_BUDGETS = {"key": "api_key", "team": "team", "user": "user"}
"""Scope of a budget -> LiteLLM's word for it."""


class Delays:
    """How late the loop comes to its ticks, at worst in the last half minute: what every request may have to wait."""

    def __init__(self, now: float) -> None:
        self._last_s = now
        self._worst: list[tuple[float, float]] = []

    def on_tick(self, now: float) -> None:
        late_s, self._last_s = max(0.0, now - self._last_s - TICK_S), now
        self._worst = [
            each for each in self._worst if each[1] > late_s and now - each[0] < DELAY_KEPT_S
        ]  # only what is worse than all that came after it can still be the worst
        self._worst.append((now, late_s))

    @property
    def worst_s(self) -> float:
        return self._worst[0][1] if self._worst else 0.0


@dataclass(slots=True)
class Vitals:
    """Where to look. What a reload replaces is asked for by a function."""

    worker: int
    catalog: Callable[[], Catalog]
    routing: Callable[[], LiveRouters]
    connections: Callable[[], tuple[int, int]]
    """How many clients are connected, and how many of them wait for an answer."""
    is_draining: Callable[[], bool]
    journal: Journal
    storage: Storage
    admission: Admission
    metrics: Metrics
    delays: Delays
    exports: Exports
    sharing: Callable[[], Sharing] | None
    """None: no Valkey."""

    def gauges(self) -> list[Gauge]:
        """Every gauge, always in the same order."""
        made = {name: Gauge(name, about, labels, merge) for name, about, labels, merge in GAUGES}
        self._of_worker(made)
        self._of_deployments(made)
        self._of_routers(made)
        self._of_budgets(made)
        return list(made.values())

    def _of_worker(self, made: dict[str, Gauge]) -> None:
        worker, usage = (str(self.worker),), resource.getrusage(resource.RUSAGE_SELF)
        connected, busy = self.connections()
        made["routewright_build_info"].set((__version__,), 1)
        made["routewright_loop_delay_seconds"].set(worker, self.delays.worst_s)
        made["routewright_worker_cpu_seconds"].set(worker, usage.ru_utime + usage.ru_stime)
        made["routewright_worker_resident_bytes"].set(worker, _resident_bytes())
        made["litellm_in_flight_requests"].set((), busy)
        made["routewright_connections"].set((), connected)
        made["routewright_draining"].set((), self.is_draining())
        made["routewright_journal_failing"].set((), self.journal.is_failing)
        made["routewright_journal_unwritten_bytes"].set((), self.journal.unwritten_bytes)
        made["routewright_store_connected"].set((), self.storage.is_connected)
        made["routewright_store_away"].set((), self.storage.is_away)
        lag = lag_of(self.journal.folder, self.storage.followed)
        made["routewright_ledger_lag_bytes"].set((), lag.size_bytes)
        made["routewright_ledger_lag_seconds"].set((), lag.age_s(int(time.time() * 1000)))
        for receiver, size in self.exports.waiting_bytes():
            made["routewright_export_waiting_bytes"].set((receiver,), size)
        if self.sharing is not None:
            is_connected, round_trip_s, machines, leases = self.sharing()
            made["routewright_valkey_connected"].set((), is_connected)
            made["routewright_valkey_machines"].set((), machines)
            made["routewright_leases"].set((), leases)
            if is_connected:
                made["routewright_valkey_round_trip_seconds"].set(worker, round_trip_s)

    def _of_deployments(self, made: dict[str, Gauge]) -> None:
        now = time.monotonic()
        for group in self.catalog().groups():
            for deployment in group.deployments:
                labels, allowance = labels_of(deployment), deployment.allowance
                made["litellm_deployment_state"].set(labels, _state(deployment.health, now))
                made["routewright_deployment_in_flight"].set(labels, deployment.health.in_flight)
                if now - deployment.health.told_s < TOLD_KEPT_S:
                    for gauge, fields in _LEFT:
                        left = _number(deployment.health.told, fields)
                        if left is not None:
                            made[gauge].set(labels, left)
                if allowance is not None and allowance.rpm is not None:
                    made["litellm_deployment_rpm_limit"].set(labels, allowance.rpm)
                if allowance is not None and allowance.tpm is not None:
                    made["litellm_deployment_tpm_limit"].set(labels, allowance.tpm)

    def _of_routers(self, made: dict[str, Gauge]) -> None:
        routing = self.routing()
        for route, artefact in routing.artefacts().items():
            made["routewright_router_info"].set((route, artefact), 1)
        made["routewright_router_warnings"].set((), len(routing.warnings))
        made["routewright_router_reload_failed"].set((), routing.last_error is not None)

    def _of_budgets(self, made: dict[str, Gauge]) -> None:
        now_ms, aliases = int(time.time() * 1000), self.metrics.aliases()
        for budget, spent_nusd, end_ms in self.admission.spent.budgets():
            word, amount_nusd = _BUDGETS.get(budget.allowance.scope), budget.amount_nusd(now_ms)
            if word is None or amount_nusd is None:
                continue
            owner, most = _owner(budget, aliases), made[f"litellm_{word}_max_budget_metric"]
            if owner not in most.series:
                most.set(owner, amount_nusd / NUSD_PER_USD)
                left_nusd = max(0, amount_nusd - spent_nusd)
                made[f"litellm_remaining_{word}_budget_metric"].set(owner, left_nusd / NUSD_PER_USD)
                if end_ms:
                    hours = made[f"litellm_{word}_budget_remaining_hours_metric"]
                    hours.set(owner, max(0, end_ms - now_ms) / 3_600_000)


def _owner(budget: BudgetMeter, aliases: dict[str, str]) -> tuple[str, ...]:
    owner = budget.allowance.owner
    return (owner, aliases.get(owner, "")) if budget.allowance.scope == "key" else (owner,)


def _state(health: Health, now: float) -> int:
    if health.cooldown_until_s > now:
        return OUT
    return PARTIAL if health.consecutive_failures or health.cooldown_until_s else HEALTHY


def _number(headers: Mapping[bytes, bytes], fields: Sequence[bytes]) -> int | None:
    """The first of these that is there and is a whole number."""
    for name in fields:
        text = headers.get(name, b"")
        if text.isdigit() and len(text) < 19:
            return int(text)
    return None


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        # Not Linux: the most that it ever was, in kilobytes, or in bytes on macOS.
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if os.uname().sysname == "Darwin" else most * 1024
