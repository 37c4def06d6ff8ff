"""Asks every deployment now and then whether it answers, where the configuration says so; and what traffic has shown.

One worker asks, in the same way as requests are sent: what fails cools a deployment down as a request's failure does,
and what it used is in the ledger, under no key. The results lie in a file that the others read when they are asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from routewright.catalog import Catalog, make_group
from routewright.errors import GatewayError
from routewright.flow import Flow
from routewright.providers.names import split_model
from routewright.record.ledger import Ledger
from routewright.settings import AttemptSettings, DeploymentSettings, HealthCheckSettings
from routewright.types import Call, Caller, Deployment, Group, Health, Outcome
from routewright.upstream.relay import Upstream
from routewright.wire.chat import parse_shared

PROMPT = "Answer with one word: are you well?"
MAX_TOKENS = 16
"""Of an answer; some providers refuse to answer in fewer."""
KEPT = 20
"""Results of one deployment, of the checks before the last."""
FIRST_AFTER_S = 5.0
"""After a start: first let those in who wait."""
CHECKED_MODES = frozenset({"chat", "completion", "embedding"})
NOBODY = Caller(key_hash="", alias="health-check", is_master=False, models=None)
log = logging.getLogger("routewright")


class Result(msgspec.Struct):
    """How one check of a deployment went."""

    deployment: str
    """Its id."""
    model_name: str
    is_healthy: bool
    error: str | None
    response_ms: float
    checked_at_ms: int
    """Wall clock, since 1970."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Result]).decode


class _NoClient:
    """Where an answer goes that only had to come."""

    is_gone = False

    def __init__(self) -> None:
        self.on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[bool], None] | None = None

    def begin(self, status: int, fields: bytes, first: bytes) -> None: ...

    def write(self, data: bytes) -> None: ...

    def hold(self, last: bytes, *, close: bool = False) -> None: ...

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None: ...

    def release(self) -> None: ...


class HealthChecks:
    """One worker's view; the first worker is the one that asks."""

    def __init__(
        self, folder: Path, *, is_asking: bool, upstream: Upstream, ledger: Ledger, new_id: Callable[[], str]
    ) -> None:
        self._path = folder / "health.json"
        self._is_asking = is_asking
        self._upstream = upstream
        self._ledger = ledger
        self._new_id = new_id
        self._settings: HealthCheckSettings | None = None
        self._attempts = AttemptSettings()
        self._catalog: Catalog | None = None
        self._deployments: Sequence[DeploymentSettings] = ()
        self._due_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._results: dict[str, deque[Result]] = {}

    def configure(
        self,
        settings: HealthCheckSettings | None,
        attempts: AttemptSettings,
        catalog: Catalog,
        deployments: Sequence[DeploymentSettings],
    ) -> None:
        """What is served now, and how often it is looked at; None: never."""
        self._settings, self._attempts, self._catalog, self._deployments = settings, attempts, catalog, deployments

    def on_tick(self, now: float) -> None:
        settings = self._settings
        if settings is None or not self._is_asking:
            return
        if not self._due_s:
            self._due_s = now + min(FIRST_AFTER_S, settings.interval_s)
            self._take(self._read())
        if now >= self._due_s and (self._task is None or self._task.done()):
            self._due_s = now + settings.interval_s
            self._task = asyncio.get_running_loop().create_task(self._round(settings))

    def stop(self) -> None:
        """The process ends."""
        if self._task is not None:
            self._task.cancel()

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _round(self, settings: HealthCheckSettings) -> None:
        gate = asyncio.Semaphore(settings.at_once)

        async def one(entry: DeploymentSettings, group: Group, deployment: Deployment) -> None:
            async with gate:
                self._take([await self._check(entry, group, deployment)])

        await asyncio.gather(*[one(*target) for target in self._targets()])
        served = {each.id for each in self._deployments}
        self._results = {name: results for name, results in self._results.items() if name in served}
        self._write()

    def _targets(self) -> Iterable[tuple[DeploymentSettings, Group, Deployment]]:
        """Who is to be asked; a wildcard only where `health_check_model` says for what."""
        assert self._catalog is not None
        for entry in self._deployments:
            if entry.skips_health_check or entry.mode not in CHECKED_MODES:
                continue
            if entry.health_check_model is not None:
                provider, model = split_model(entry.health_check_model)
                asked = replace(entry, upstream_model=model if provider == entry.provider else entry.health_check_model)
                # How it does there says nothing of the model that requests are for: a health of its own.
                group = make_group(entry.model_name, [(asked, Health())], self._attempts)
                yield entry, group, group.deployments[0]
            elif (found := self._catalog.group(entry.model_name)) is not None:
                for deployment in found.deployments:
                    if deployment.id == entry.id:
                        yield entry, found, deployment

    async def _check(self, entry: DeploymentSettings, group: Group, deployment: Deployment) -> Result:
        call = _call(entry)
        call_id = self._new_id()
        outcome = Outcome(call.endpoint, NOBODY, call_id, call_id, time.monotonic())
        outcome.call = call
        done: asyncio.Future[GatewayError | None] = asyncio.get_running_loop().create_future()

        async def ask() -> None:
            error = await self._upstream.check(call, group, deployment, _NoClient(), outcome)
            if not done.done():  # else the process ends, and nobody waits any more
                done.set_result(error)

        def on_crash(crash: BaseException) -> None:
            if not done.done():
                done.set_exception(crash)

        Flow(ask(), on_crash)
        try:
            error = await done
            message = None if error is None else f"{error.code}: {error.message}"
        except Exception:
            log.exception("the health check of deployment %s failed", deployment.id)
            message = "internal_error"
        finally:
            if outcome.usage is not None:
                outcome.ended_at_ms = int(time.time() * 1000)
                self._ledger.settle(outcome, lambda: None)
        if message is not None:
            log.warning("health check: deployment %s does not answer: %s", deployment.id, message)
        took_ms = round((time.monotonic() - outcome.started_s) * 1000, 1)
        return Result(entry.id, entry.model_name, message is None, message, took_ms, int(time.time() * 1000))

    def _take(self, results: Iterable[Result]) -> None:
        for result in results:
            self._results.setdefault(result.deployment, deque(maxlen=KEPT)).append(result)

    # --- the file ---------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        partial = self._path.with_suffix(".partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(_encode([each for results in self._results.values() for each in results]))
            partial.replace(self._path)
        except OSError as error:
            log.error("health checks can't be kept: %s", error.strerror)

    def _read(self) -> list[Result]:
        try:
            return _decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError):
            return []

    # --- telling ----------------------------------------------------------------------------------------------------

    def results(self) -> list[Result]:
        """Oldest first; empty where nobody checks."""
        if self._settings is None:
            return []
        return sorted(self._read(), key=lambda each: each.checked_at_ms)

    def latest(self) -> dict[str, Result]:
        """By deployment."""
        return {each.deployment: each for each in self.results()}

    def endpoints(self, now: float) -> dict[str, Any]:
        """LiteLLM's lists: who answers, by the last check and by what this worker's traffic has shown since."""
        assert self._catalog is not None
        latest = self.latest()
        details = self._settings is None or self._settings.tells_details
        lists: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        healths = {
            deployment.id: deployment.health for group in self._catalog.groups() for deployment in group.deployments
        }
        for entry in self._deployments:
            told: dict[str, Any] = {"model": f"{entry.provider}/{entry.upstream_model}", "model_id": entry.id}
            health, check = healths.get(entry.id), latest.get(entry.id)
            is_resting = health is not None and health.cooldown_until_s > now
            is_healthy = not is_resting and (check is None or check.is_healthy)
            if details:
                told |= {"model_name": entry.model_name, "api_base": entry.api_base}
                if check is not None:
                    told |= {"response_time_ms": check.response_ms, "checked_at": check.checked_at_ms / 1000}
                if is_resting and health is not None:
                    told["error"] = f"rests for {health.cooldown_until_s - now:.0f} s after failures"
                elif check is not None and check.error is not None:
                    told["error"] = check.error
            lists[is_healthy].append(told)
        return {
            "healthy_endpoints": lists[True],
            "unhealthy_endpoints": lists[False],
            "healthy_count": len(lists[True]),
            "unhealthy_count": len(lists[False]),
        }


def _call(entry: DeploymentSettings) -> Call:
    body: dict[str, Any] = {"model": entry.model_name.replace("*", "health-check")}
    endpoint = {"chat": "chat", "completion": "completions", "embedding": "embeddings"}[entry.mode]
    if endpoint == "chat":
        body["messages"] = [{"role": "user", "content": PROMPT}]
    else:
        body["prompt" if endpoint == "completions" else "input"] = PROMPT
    if endpoint != "embeddings":
        body["max_tokens"] = entry.health_check_max_tokens or MAX_TOKENS
    call = parse_shared(endpoint, body, None)
    call.prompt_tokens_estimate = len(PROMPT) // 4
    call.num_retries, call.without_fallbacks = 0, True
    call.timeout_s = entry.health_check_timeout_s
    return call
