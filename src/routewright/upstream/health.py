"""Which deployment of a group to use next, and which to leave alone for a while.

Cooldown by LiteLLM's rules: at once on 429, 401, 403 and timeouts where there is another deployment, else at more than
half failures of at least five in a minute, at more than `allowed_fails`, or after five refused connections in a row. A
deployment that stands alone cools only after those five, or when all of a thousand requests failed: somebody has to
answer. A 404 cools nothing, other than in LiteLLM: behind a wildcard the caller chooses the name that is not found.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from routewright.errors import (
    GatewayError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from routewright.settings import AttemptSettings
from routewright.types import Deployment, Group, Health

WINDOW_S = 60.0
LEAST_REQUESTS = 5
LEAST_REQUESTS_ALONE = 1000
REFUSALS_ALONE = 5
LATENCY_WEIGHT = 0.2
STRATEGIES = frozenset({"simple-shuffle", "least-busy", "latency-based-routing", "cost-based-routing"})
log = logging.getLogger("routewright")


class Balance:
    """Picks deployments and keeps their health."""

    def __init__(self, settings: AttemptSettings, rng: random.Random) -> None:
        self._rng = rng
        self._resting: set[str] = set()
        self.configure(settings)

    def configure(self, settings: AttemptSettings) -> None:
        """Go by these settings from now on."""
        self._settings = settings
        strategy = settings.routing_strategy
        self._strategy = strategy if strategy in STRATEGIES else "simple-shuffle"

    def pick(
        self, group: Group, tried: list[Deployment], now: float, full: Sequence[Deployment] = ()
    ) -> Deployment | None:
        """The deployment to use, an untried one first, none of `full`; None while all others cool down."""
        if len(group.deployments) == 1:
            deployment = group.deployments[0]
            if deployment in full:
                return None
            return deployment if self._may_be_used(deployment.health, now, is_alone=True) else None
        for untried_only in (True, False):
            for tier in group.tiers:
                usable = [
                    deployment
                    for deployment in tier
                    if self._may_be_used(deployment.health, now, is_alone=False)
                    and not (untried_only and deployment in tried)
                    and deployment not in full
                ]
                if usable:
                    return usable[0] if len(usable) == 1 else self._choose(usable)
        return None

    def begin(self, deployment: Deployment, group: Group) -> None:
        """A request goes to `deployment` now. The first after a cooldown is its probe; others wait for the outcome."""
        health = deployment.health
        health.in_flight += 1
        if health.cooldown_until_s and len(group.deployments) > 1:
            health.is_probed = True

    @property
    def is_anything_resting(self) -> bool:
        """Whether any deployment has a cooldown that has not ended with a good answer."""
        return bool(self._resting)

    def is_available(self, group: Group, now: float) -> bool:
        is_alone = len(group.deployments) == 1
        return any(self._may_be_used(deployment.health, now, is_alone=is_alone) for deployment in group.deployments)

    def first_back_s(self, groups: list[Group], now: float) -> int:
        """Seconds until the first of these groups' deployments comes back, 1 at least."""
        waits = [d.health.cooldown_until_s - now for group in groups for d in group.deployments]
        return max(1, min(60, int(-(-min(waits, default=1.0) // 1))))

    @staticmethod
    def _may_be_used(health: Health, now: float, *, is_alone: bool) -> bool:
        if not health.cooldown_until_s:
            return True
        return health.cooldown_until_s <= now and (is_alone or not health.is_probed)

    def _choose(self, usable: list[Deployment]) -> Deployment:
        strategy = self._strategy
        if strategy == "least-busy":
            return min(usable, key=lambda d: (d.health.in_flight, self._rng.random()))
        if strategy == "latency-based-routing":
            return min(usable, key=lambda d: (d.health.latency_s, self._rng.random()))
        if strategy == "cost-based-routing":
            return min(usable, key=lambda d: d.input_nusd + d.output_nusd if d.is_priced else float("inf"))
        weights = [deployment.weight for deployment in usable]
        if sum(weights) <= 0:
            return self._rng.choice(usable)
        return self._rng.choices(usable, weights)[0]

    # --- what attempts report -------------------------------------------------------------------------------------

    def succeeded(self, deployment: Deployment, latency_s: float, now: float) -> None:
        health = deployment.health
        self._count(health, now)
        health.consecutive_failures = 0
        health.latency_s = (
            latency_s if not health.latency_s else health.latency_s + LATENCY_WEIGHT * (latency_s - health.latency_s)
        )
        if health.cooldown_until_s and health.cooldown_until_s <= now:
            health.cooldown_until_s = 0.0
            health.is_probed = False
            self._resting.discard(deployment.id)
            log.info("deployment %s answers again", deployment.id)

    def failed(self, deployment: Deployment, group: Group, error: GatewayError, now: float) -> None:
        """Count a failure that is the upstream's own, and cool the deployment down where the rules say so."""
        health = deployment.health
        is_probe = health.is_probed
        health.is_probed = False
        if not isinstance(error, UpstreamError | UpstreamUnavailable | UpstreamRateLimited):
            return
        self._count(health, now)
        health.failures += 1
        health.consecutive_failures += 1
        if isinstance(error, UpstreamAuthError):
            log.error("deployment %s: the upstream refuses its credential", deployment.id)
        if self._settings.disable_cooldowns:
            return
        if is_probe or self._is_enough(health, error, is_alone=len(group.deployments) == 1):
            cooldown_s = deployment.cooldown_s if deployment.cooldown_s is not None else self._settings.cooldown_s
            if isinstance(error, UpstreamRateLimited) and error.retry_after_s and error.retry_after_s > 1:
                cooldown_s = max(cooldown_s, float(error.retry_after_s))
            until = now + cooldown_s * self._rng.uniform(1.0, 1.1)
            # A fresh failure never shortens a cooldown that runs.
            health.cooldown_until_s = max(health.cooldown_until_s, until)
            self._resting.add(deployment.id)
            log.warning("deployment %s cools down for %.1f s: %s", deployment.id, cooldown_s, error.code)

    def _is_enough(self, health: Health, error: GatewayError, *, is_alone: bool) -> bool:
        if isinstance(error, UpstreamUnavailable) and health.consecutive_failures >= REFUSALS_ALONE:
            return True
        if is_alone:
            return health.requests >= LEAST_REQUESTS_ALONE and health.failures >= health.requests
        if isinstance(error, UpstreamRateLimited | UpstreamAuthError | UpstreamTimeout):
            return True
        if self._settings.allowed_fails is not None:
            return health.failures > self._settings.allowed_fails
        return health.requests >= LEAST_REQUESTS and health.failures * 2 > health.requests

    @staticmethod
    def _count(health: Health, now: float) -> None:
        if now - health.window_started_s >= WINDOW_S:
            health.window_started_s = now
            health.requests = health.failures = 0
        health.requests += 1


class RetryBudget:
    """At most a fifth of the requests may be retries, and ten a second beside them: a failing upstream is not buried.

    Source: Finagle's retry budgets; the figures are `AttemptSettings`'.
    """

    def __init__(self, settings: AttemptSettings, now: float) -> None:
        self._ratio = settings.retry_budget_ratio
        self._per_s = settings.retry_budget_per_s
        self._most = max(10.0, self._per_s * 2)
        self._balance = self._per_s
        self._filled_s = now

    def deposit(self) -> None:
        """A request has come."""
        self._balance = min(self._most, self._balance + self._ratio)

    def withdraw(self, now: float) -> bool:
        """May one retry be made?"""
        self._balance = min(self._most, self._balance + (now - self._filled_s) * self._per_s)
        self._filled_s = now
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True
