"""Carries requests that pass through: to the first deployment that takes one, as long as nothing of it has gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from routewright.credentials import CredentialMissing
from routewright.deadlines import Deadlines
from routewright.errors import DeploymentsBusy, GatewayError, UpstreamUnavailable
from routewright.types import Call, Deployment, Group, Outcome, Responder
from routewright.upstream.carry import Carry, Sending
from routewright.upstream.relay import Door, Purses, Upstream


class Carrier:
    """Goes by the pools, the health, the limits and the budgets that `Upstream` goes by."""

    def __init__(self, upstream: Upstream, deadlines: Deadlines, door: Door, purses: Purses) -> None:
        self._upstream = upstream
        self._deadlines = deadlines
        self._door = door
        self._purses = purses

    async def carry(
        self,
        call: Call,
        groups: list[Group],
        prepare: Callable[[Deployment], Sending],
        client: Responder,
        outcome: Outcome,
        *,
        is_paid: bool = True,
    ) -> None:
        """Returns when the answer's end is held by `client`, or the client has left. Raises the last GatewayError.

        `is_paid`: it may cost something, so a deployment or a provider whose budget is spent is not asked."""
        error: GatewayError | None = None
        for position, group in enumerate(groups):
            outcome.fallbacks = position
            tried: list[Deployment] = []
            while len(tried) < len(group.deployments):
                now = self._deadlines.now
                deployment = self._upstream.balance.pick(group, tried, now, tried)
                if deployment is None:
                    break
                tried.append(deployment)
                try:
                    error, may_go_on = await self._try(call, group, deployment, prepare, client, outcome, is_paid)
                except (DeploymentsBusy, UpstreamUnavailable) as busy:  # nobody was asked
                    error, may_go_on = busy, True
                if error is None:
                    return
                if not may_go_on or not error.try_next:
                    raise error
        raise error or UpstreamUnavailable(
            "all deployments of this model are resting after failures",
            retry_after_s=self._upstream.balance.first_back_s(groups, self._deadlines.now),
        )

    async def _try(
        self,
        call: Call,
        group: Group,
        deployment: Deployment,
        prepare: Callable[[Deployment], Sending],
        client: Responder,
        outcome: Outcome,
        is_paid: bool,
    ) -> tuple[GatewayError | None, bool]:
        """(why there is no answer, whether somebody else may be asked). Raises DeploymentsBusy, and UpstreamUnavailable
        where a budget of the deployment's has no room."""
        held: Any = None
        purse: Any = None
        try:
            if deployment.allowance is not None:
                while (held := self._door.enter(deployment, call)) is None:
                    await self._door.learn()
                    if client.is_gone:
                        outcome.ended = "client_gone"
                        return None, False
            if is_paid and deployment.budgets:
                purse = await self._purses.open(deployment, call)
                if client.is_gone:
                    outcome.ended = "client_gone"
                    return None, False
            return await self._ask(call, group, deployment, prepare, client, outcome)
        finally:
            if held is not None:
                usage = outcome.usage
                self._door.leave(held, 0 if usage is None else usage.prompt_tokens + usage.completion_tokens)
            if purse is not None:
                self._purses.close(purse, deployment, outcome.cost_nusd)

    async def _ask(
        self,
        call: Call,
        group: Group,
        deployment: Deployment,
        prepare: Callable[[Deployment], Sending],
        client: Responder,
        outcome: Outcome,
    ) -> tuple[GatewayError | None, bool]:
        upstream, balance, health = self._upstream, self._upstream.balance, deployment.health
        outcome.deployment = deployment
        outcome.attempts += 1
        outcome.asked_s = time.monotonic()
        balance.begin(deployment, group)
        may_go_on = True
        error: GatewayError | None
        try:
            pool = upstream.pools.of(deployment.origin)
            is_first = True
            while True:
                try:
                    sending = prepare(deployment)
                except CredentialMissing as missing:
                    failure = await upstream.until_known(missing.credential, client)
                    if client.is_gone:
                        outcome.ended = "client_gone"
                        health.is_probed = False
                        return None, False
                    if failure is not None:
                        raise failure from None
                    sending = prepare(deployment)
                # A kept connection may prove closed only after some of the body is gone: bodies get a fresh one.
                connection = pool.take() if is_first and sending.body is None else None
                if connection is None:
                    connection = await upstream.connect(pool, client)
                    if connection is None:
                        outcome.ended = "client_gone"
                        health.is_probed = False
                        return None, False
                carry = Carry(sending, client, outcome, upstream.settings, self._deadlines.now, call.timeout_s)
                self._deadlines.add(carry)
                try:
                    carry.start(connection)
                    error = await carry.done
                finally:
                    self._deadlines.discard(carry)
                is_first = False
                if error is None or not carry.is_stale or carry.has_begun:
                    break
            may_go_on = not (carry.has_sent or carry.has_begun)
            if carry.has_begun:
                balance_error, error = error, None
            else:
                balance_error = error
        except GatewayError as failure:
            error = balance_error = failure
        except BaseException:
            health.is_probed = False
            raise
        finally:
            health.in_flight -= 1
        if balance_error is not None:
            balance.failed(deployment, group, balance_error, self._deadlines.now)
        elif outcome.ended == "complete":
            balance.succeeded(deployment, self._deadlines.now)
        else:
            health.is_probed = False
        return error, may_go_on
