"""Tries the candidates in the decided order until one has answered, or nothing is left to try."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from routewright.credentials import Credential, CredentialMissing
from routewright.deadlines import Deadlines
from routewright.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    DeploymentsBusy,
    GatewayError,
    ShuttingDown,
    UpstreamAuthError,
    UpstreamError,
    UpstreamFull,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from routewright.flow import Signal
from routewright.providers.dialects import mocked
from routewright.settings import AttemptSettings, UpstreamSettings
from routewright.types import Call, Decision, Deployment, Group, Mock, Outcome, Responder
from routewright.upstream.attempt import Attempt
from routewright.upstream.carry import Carry
from routewright.upstream.connection import UpstreamConnection
from routewright.upstream.credentials import Credentials
from routewright.upstream.health import Balance
from routewright.upstream.hedging import Desk, Hedging
from routewright.upstream.pool import Pool, Pools
from routewright.upstream.retries import RetryBudget, RetryPolicies
from routewright.upstream.strategies import Fastest
from routewright.writes import Writes

BACKOFF_FIRST_S = 0.5
BACKOFF_MOST_S = 8.0
REFUSED_BACKOFF_S = 0.1


class Door(Protocol):
    """Counts what goes to a deployment against its own limits."""

    def enter(self, deployment: Deployment, call: Call) -> Any:
        """What the call holds until `leave`; None: await `learn` and ask again. Raises DeploymentsBusy."""

    async def learn(self) -> None:
        """Find out what the last `enter` did not know."""

    def leave(self, held: Any, tokens: int) -> None:
        """The call has ended, and used so many tokens."""

    def used(self, deployment: Deployment) -> int:
        """Tokens that it was sent in the minute that is now, as far as they are counted."""


class Purses(Protocol):
    """Counts what is spent at deployments whose spend has a cap."""

    async def open(self, deployment: Deployment, call: Call) -> Any:
        """What is held until `close`. Raises UpstreamUnavailable where a budget has no room for the call."""

    def close(self, held: Any, deployment: Deployment, cost_nusd: int) -> None: ...


class Upstream:
    """Sends a call to the first candidate that answers."""

    def __init__(
        self,
        attempts: AttemptSettings,
        settings: UpstreamSettings,
        deadlines: Deadlines,
        writes: Writes,
        rng: random.Random,
        door: Door,
        purses: Purses | None = None,
        desk: Desk | None = None,
    ) -> None:
        """`purses`: None where no deployment has budgets; `desk`: None where nothing is asked twice at once."""
        self._desk = desk
        self._door = door
        self._purses = purses
        self._attempts = attempts
        self._settings = settings
        self._deadlines = deadlines
        self._rng = rng
        self._waiting: set[Signal[object]] = set()
        """What waits for a connection or for the time to retry."""
        self._ending: GatewayError | None = None
        self.on_failure: Callable[[Deployment, GatewayError], None] | None = None
        """Told of every attempt that an upstream did not answer well."""
        self.pools = Pools(settings, deadlines, writes)
        self.credentials = Credentials(deadlines, self.pools.way)
        self.balance = Balance(attempts, rng, door.used, lambda: deadlines.now)
        self._policies = RetryPolicies.of(attempts)
        self.retry_budget = RetryBudget(attempts, deadlines.now)
        self._hedging = self._make_hedging()

    def configure(self, attempts: AttemptSettings, settings: UpstreamSettings) -> None:
        """Go on with other settings; what runs ends by those that it began with. Connections and health stay."""
        self._attempts, self._settings = attempts, settings
        self.pools.configure(settings)
        self.balance.configure(attempts)
        self._policies = RetryPolicies.of(attempts)
        self._hedging = self._make_hedging()

    def _make_hedging(self) -> Hedging | None:
        if self._desk is None or not self._attempts.hedging:
            return None
        return Hedging(
            self._attempts.hedging, self._try_deployment, balance=self.balance, budget=self.retry_budget,
            door=self._door, desk=self._desk, deadlines=self._deadlines,
        )  # fmt: skip

    @property
    def settings(self) -> UpstreamSettings:
        return self._settings

    async def relay(self, call: Call, decision: Decision, client: Responder, outcome: Outcome) -> None:
        """Returns when the answer's end is held by `client`, or the client has left. Raises the last GatewayError.

        An error after the first byte is not raised: the stream has been told, and `outcome` says so.
        """
        self.retry_budget.deposit()
        error: GatewayError | None = None
        groups = list(decision.groups)
        asked: list[Sequence[Group]] = []
        position = 0
        while position < len(groups):
            if call.mock is not None and call.mock.first_fails_by and not position:
                error = _mocked_failure(call.mock)
            else:
                error = await self._try_group(call, groups[position], client, outcome, error)
            if error is None:
                return
            position += 1
            if not error.try_next or call.without_fallbacks or position > self._attempts.max_fallbacks:
                break
            if position == len(groups):
                more = _fallbacks(decision, error)  # of another kind, where a fallback has failed in another way
                if all(more is not each for each in asked):
                    asked.append(more)
                    groups += [group for group in more if group not in groups]
            outcome.fallbacks = position
            outcome.fell_back_on = error.code
        raise error or UpstreamUnavailable("no deployment can take this request now")

    async def check(
        self, call: Call, group: Group, deployment: Deployment, client: Responder, outcome: Outcome
    ) -> GatewayError | None:
        """Ask this one, whether it rests or not; what it shows counts as any other request's."""
        return await self._try_deployment(call, group, deployment, client, outcome)

    def end_all(self, error: GatewayError) -> None:
        """End every running attempt with `error`: an answer that has begun says so to its client."""
        self._ending = error
        running: list[Attempt | Carry] = [*self._deadlines.members(Attempt), *self._deadlines.members(Carry)]
        for attempt in running:
            attempt.end(error)
        for is_over in list(self._waiting):
            is_over.set(None)

    async def _try_group(
        self, call: Call, group: Group, client: Responder, outcome: Outcome, error: GatewayError | None
    ) -> GatewayError | None:
        """Try deployments of one model. None: the client has its answer, or has left."""
        tried: list[Deployment] = []
        full: list[Deployment] = []
        busy: GatewayError | None = None
        held = purse = None
        paid = outcome
        affinity = self.balance.affinity
        key = None
        if affinity is not None and group.lone is None:
            key = affinity.key_of(call, outcome.caller, group.name)
        retries, most_retries = 0, 0
        while True:
            now = self._deadlines.now
            deployment = self.balance.pick(group, tried, now, full, is_stream=call.is_stream, key=key)
            if deployment is not None and deployment.allowance is not None:
                try:
                    while (held := self._door.enter(deployment, call)) is None:
                        await self._door.learn()
                        if client.is_gone:
                            outcome.ended = "client_gone"
                            return None
                except DeploymentsBusy as refusal:
                    full.append(deployment)
                    busy = refusal if busy is None else min(busy, refusal, key=lambda each: each.retry_after_s or 0)
                    continue
            if deployment is not None and deployment.budgets and self._purses is not None:
                refused: GatewayError | None = None
                try:
                    purse = await self._purses.open(deployment, call)
                except GatewayError as spent:
                    refused = spent
                if (refused is not None or client.is_gone) and held is not None:
                    self._door.leave(held, 0)
                    held = None
                if client.is_gone:
                    if purse is not None:
                        self._purses.close(purse, deployment, 0)
                    outcome.ended = "client_gone"
                    return None
                if refused is not None:
                    full.append(deployment)
                    busy = busy or refused
                    continue
            if deployment is None:
                return (
                    error
                    or busy
                    or _refusal(group)
                    or UpstreamUnavailable(
                        "all deployments of this model are resting after failures",
                        retry_after_s=self.balance.first_back_s([group], now),
                    )
                )
            try:
                if not tried:
                    most_retries = self._retries(call, deployment)
                elif error is not None:
                    is_same = deployment in tried
                    if not self._may_retry(call, group, error, retries, most_retries, is_same=is_same):
                        return error
                    if not self.retry_budget.withdraw(now):
                        return error
                    retries += 1
                    if is_same:
                        wait_s = self._wait_s(len(tried), error)
                        if wait_s > BACKOFF_MOST_S:
                            return error
                        await self._pause(wait_s, client)
                        if client.is_gone:
                            outcome.ended = "client_gone"
                            return None
                tried.append(deployment)
                before = error
                if self._hedging is None or len(tried) > 1:
                    error = await self._try_deployment(call, group, deployment, client, outcome)
                else:
                    error, paid = await self._hedging.attempt(call, group, tried, client, outcome)
            finally:
                if held is not None:
                    usage = paid.usage
                    self._door.leave(held, 0 if usage is None else usage.prompt_tokens + usage.completion_tokens)
                    held = None
                if purse is not None and self._purses is not None:
                    self._purses.close(purse, deployment, paid.cost_nusd)
                    purse = None
            if isinstance(error, UpstreamFull):  # nobody was asked, and another deployment may be elsewhere
                full.append(deployment)
                busy, error = busy or error, before
                continue
            if error is None or outcome.ended == "upstream_failed":
                if key is not None and affinity is not None and outcome.ended == "complete":
                    affinity.note(group, deployment, key, self._deadlines.now)
                return None

    async def _try_deployment(
        self, call: Call, group: Group, deployment: Deployment, client: Responder, outcome: Outcome
    ) -> GatewayError | None:
        exchange = deployment.exchanges[call.endpoint]
        if call.mock is not None and call.mock.text:
            exchange = mocked(call.mock.text).get(call.endpoint, exchange)
        try:
            request = exchange.request_bytes(call, deployment)
        except GatewayError as refused:  # can't be said in this upstream's dialect, or was to fail: nobody was asked
            return refused
        except CredentialMissing as missing:
            failure = await self.until_known(missing.credential, client)
            if client.is_gone:
                outcome.ended = "client_gone"
                return None
            if failure is not None:
                outcome.deployment = deployment
                return failure
            request = exchange.request_bytes(call, deployment)
        outcome.deployment = deployment
        if not request:
            Attempt(call, deployment, exchange, client, outcome, self._settings, self._deadlines.now).answer_alone()
            return None
        trace = outcome.trace
        if trace is not None:
            request = trace.begin(deployment, request)
        outcome.attempts += 1
        health = deployment.health
        self.balance.begin(deployment, group)
        started_s = outcome.asked_s = time.monotonic()
        attempt = None
        try:
            pool = self.pools.of(deployment.origin)
            while True:
                connection = pool.take() if attempt is None else None
                if connection is None:
                    connection = await self.connect(pool, client)
                    if connection is None:
                        outcome.ended = "client_gone"
                        health.is_probed = False
                        return None
                attempt = Attempt(call, deployment, exchange, client, outcome, self._settings, self._deadlines.now)
                self._deadlines.add(attempt)
                try:
                    attempt.start(connection, request)
                    error = await attempt.done
                finally:
                    self._deadlines.discard(attempt)
                if error is None or not attempt.is_stale or attempt.has_begun:
                    break
        except UpstreamFull as full:
            outcome.attempts -= 1
            health.is_probed = False
            return full
        except GatewayError as failure:
            error = failure
        except BaseException:
            health.is_probed = False  # else nobody would probe it again
            raise
        finally:
            health.in_flight -= 1
        if self.balance.latencies is not None:
            _note_latency(self.balance.latencies, deployment, outcome, error, started_s, is_stream=call.is_stream)
        if trace is not None:
            trace.end(deployment, outcome.error if error is None else error.code)
        if error is not None:
            _note_failure(outcome, deployment, error, started_s)
            self.balance.failed(deployment, group, error, self._deadlines.now)
            if self.on_failure is not None:
                self.on_failure(deployment, error)
        elif outcome.ended == "complete":
            self.balance.succeeded(deployment, self._deadlines.now)
        else:
            health.is_probed = False
        return error

    async def connect(self, pool: Pool, client: Responder) -> UpstreamConnection | None:
        """A new connection, or None where the client has left meanwhile; then the connection waits in the pool."""
        pool.check_room()  # what is too much costs no task
        task = asyncio.get_running_loop().create_task(pool.connect())
        is_over = self._interruptible(client)
        task.add_done_callback(is_over.set)
        await is_over
        self._stop_waiting(is_over, client)
        if task.done() and not client.is_gone:
            return task.result()
        task.add_done_callback(pool.keep_for_others)
        if client.is_gone:
            return None
        raise self._ending or ShuttingDown("this server is shutting down")

    async def until_known(self, credential: Credential, client: Responder) -> GatewayError | None:
        """Wait until a credential has been fetched, or could not be; no longer than the client does."""
        is_over = self._interruptible(client)
        self.credentials.when_known(credential, is_over.set)
        await is_over
        self._stop_waiting(is_over, client)
        if self._ending is not None:
            raise self._ending
        if credential.token is not None or credential.aws is not None:
            return None
        return credential.failure or UpstreamAuthError("the gateway has no credential for this upstream")

    async def _pause(self, seconds: float, client: Responder) -> None:
        """Wait, but no longer than the client does. Raises what `end_all` was given."""
        is_over = self._interruptible(client)
        handle = asyncio.get_running_loop().call_later(seconds, is_over.set, None)
        await is_over
        handle.cancel()
        self._stop_waiting(is_over, client)
        if self._ending is not None:
            raise self._ending

    def _interruptible(self, client: Responder) -> Signal[object]:
        is_over: Signal[object] = Signal()
        client.on_gone = lambda: is_over.set(None)
        self._waiting.add(is_over)
        return is_over

    def _stop_waiting(self, is_over: Signal[object], client: Responder) -> None:
        self._waiting.discard(is_over)
        client.on_gone = None

    def _retries(self, call: Call, deployment: Deployment) -> int:
        if call.num_retries is not None:
            return call.num_retries
        if deployment.max_retries is not None:
            return deployment.max_retries
        return self._attempts.num_retries

    def _may_retry(
        self, call: Call, group: Group, error: GatewayError, retries: int, most: int, *, is_same: bool
    ) -> bool:
        if self._policies is not None:
            by_policy = self._policies.retries(group.name, error)
            if by_policy is not None:
                # A request that wants fewer gets fewer.
                return retries < (by_policy if call.num_retries is None else min(by_policy, call.num_retries))
        return retries < most and (error.try_again or (error.try_next and not is_same))

    def _wait_s(self, tries: int, error: GatewayError) -> float:
        # A refused connection has cost nobody anything; it is tried again soon, or the client is told soon.
        first_s = REFUSED_BACKOFF_S if isinstance(error, UpstreamUnavailable) else BACKOFF_FIRST_S
        backoff = min(BACKOFF_MOST_S, first_s * 2.0 ** (tries - 1)) * self._rng.uniform(0.5, 1.0)
        asked = error.retry_after_s or 0
        return max(backoff, self._attempts.retry_after_s, float(asked) if error.status == 429 else 0.0)


def _refusal(group: Group) -> GatewayError | None:
    error = group.refusal() if group.refusal is not None else None
    assert error is None or isinstance(error, GatewayError)
    return error


def _mocked_failure(mock: Mock) -> GatewayError:
    kinds: dict[str, type[GatewayError]] = {
        "ContextWindow": ContextLengthExceeded,
        "ContentPolicyViolationError": ContentPolicyViolation,
    }
    return kinds.get(mock.first_fails_by, UpstreamError)(f"{mock.field}: this model was to fail")


def _note_failure(outcome: Outcome, deployment: Deployment, error: GatewayError, started_s: float) -> None:
    """For the record of the request, which tells the whole story."""
    if outcome.failed_attempts is None:
        outcome.failed_attempts = []
    took = (started_s - outcome.started_s, time.monotonic() - outcome.started_s)
    outcome.failed_attempts.append((deployment.id, error.code or error.type, *took))


def _note_latency(
    latencies: Fastest,
    deployment: Deployment,
    outcome: Outcome,
    error: GatewayError | None,
    started_s: float,
    *,
    is_stream: bool,
) -> None:
    now_s = time.monotonic()
    if isinstance(error, UpstreamTimeout):
        latencies.note_timeout(deployment, now_s - started_s)
    elif outcome.ended == "complete" and outcome.usage is not None:
        first_byte_s, tokens = outcome.first_byte_s - started_s, outcome.usage.completion_tokens
        latencies.note(deployment, first_byte_s, now_s - started_s, tokens, is_stream=is_stream)


def _fallbacks(decision: Decision, error: GatewayError) -> Sequence[Group]:
    """The configured fallbacks for this kind of error."""
    candidates = decision.candidates
    if isinstance(error, ContextLengthExceeded) and candidates.context_window_fallbacks:
        return candidates.context_window_fallbacks
    if isinstance(error, ContentPolicyViolation) and candidates.content_policy_fallbacks:
        return candidates.content_policy_fallbacks
    return candidates.fallbacks
