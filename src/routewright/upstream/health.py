"""Which deployment of a group to use next, and which to leave alone for a while.

Cooldown by LiteLLM's rules: at once on 429, 401, 403 and timeouts where there is another deployment, else at more than
half failures of at least five in a minute. A deployment that stands alone cools only when all of a thousand requests
failed: somebody has to answer. Where `allowed_fails` or `allowed_fails_policy` is set, it holds in place of all this,
also for one that stands alone. Five refused connections in a row cool always. A 404 cools nothing, other than in
LiteLLM: behind a wildcard the caller chooses the name that is not found.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

from routewright.errors import (
    GatewayError,
    UpstreamAuthError,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
    kind_of,
)
from routewright.settings import AttemptSettings
from routewright.types import Deployment, Group, Health
from routewright.upstream.affinity import Affinity, Key
from routewright.upstream.strategies import Fastest, Used, make_strategy

WINDOW_S = 60.0
LEAST_REQUESTS = 5
LEAST_REQUESTS_ALONE = 1000
REFUSALS_ALONE = 5
log = logging.getLogger("routewright")


class Balance:
    """Picks deployments and keeps their health."""

    def __init__(
        self,
        settings: AttemptSettings,
        rng: random.Random,
        used: Used = lambda _: 0,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`used`: tokens of this minute, by all workers; `now`: monotonic, to a tick."""
        self._rng = rng
        self._used = used
        self._now = now
        self._resting: set[str] = set()
        self.on_cooldown: Callable[[Deployment], None] | None = None
        """Told whenever a deployment begins to be left alone."""
        self.configure(settings)

    def configure(self, settings: AttemptSettings) -> None:
        """Go by these settings from now on."""
        self._settings = settings
        strategy = make_strategy(settings, self._rng, self._used, self._now)
        self._choose = strategy.choose
        self.latencies = strategy if isinstance(strategy, Fastest) else None
        """Wants to be told how long answers took."""
        self.affinity = Affinity.of(settings)
        """Sends alike to the same deployment; None where nothing is to."""
        self._counts_kinds = bool(settings.allowed_fails_policy)

    def pick(
        self,
        group: Group,
        tried: Sequence[Deployment],
        now: float,
        full: Sequence[Deployment] = (),
        *,
        is_stream: bool = False,
        key: Key | None = None,
    ) -> Deployment | None:
        """The deployment to use, an untried one first, none of `full`; None while all others cool down.

        `key`: it belongs somewhere, and goes there where it can.
        """
        lone = group.lone
        if lone is not None:
            if lone in full:
                return None
            return lone if self._may_be_used(lone.health, now, is_alone=True) else None
        for untried_only in (True, False):
            for tier in group.tiers:
                usable = [
                    deployment
                    for deployment in tier
                    if self._may_be_used(deployment.health, now, is_alone=False)
                    and not (untried_only and deployment in tried)
                    and deployment not in full
                ]
                if not usable:
                    continue
                if len(usable) == 1:
                    return usable[0]
                if key is not None and self.affinity is not None:
                    return self.affinity.choose(usable, key, now)
                return self._choose(usable, is_stream)
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

    # --- what attempts report -------------------------------------------------------------------------------------

    def succeeded(self, deployment: Deployment, now: float) -> None:
        health = deployment.health
        self._count(health, now)
        health.consecutive_failures = 0
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
        kind = kind_of(error) if self._counts_kinds else ""
        is_own = isinstance(error, UpstreamError | UpstreamUnavailable | UpstreamRateLimited)
        if not is_own and kind not in self._settings.allowed_fails_policy:
            return
        self._count(health, now)
        if kind:
            if health.failures_of is None:
                health.failures_of = {}
            health.failures_of[kind] = health.failures_of.get(kind, 0) + 1
        if is_own:  # what is of the caller's making counts against its own allowance alone
            health.failures += 1
            health.consecutive_failures += 1
        if isinstance(error, UpstreamAuthError):
            log.error("deployment %s: the upstream refuses its credential", deployment.id)
        if self._settings.disable_cooldowns:
            return
        if (is_probe and is_own) or self._is_enough(health, error, kind, is_alone=len(group.deployments) == 1):
            cooldown_s = deployment.cooldown_s if deployment.cooldown_s is not None else self._settings.cooldown_s
            if isinstance(error, UpstreamRateLimited) and error.retry_after_s and error.retry_after_s > 1:
                cooldown_s = max(cooldown_s, float(error.retry_after_s))
            until = now + cooldown_s * self._rng.uniform(1.0, 1.1)
            # A fresh failure never shortens a cooldown that runs.
            health.cooldown_until_s = max(health.cooldown_until_s, until)
            self._resting.add(deployment.id)
            if self.on_cooldown is not None:
                self.on_cooldown(deployment)
            log.warning("deployment %s cools down for %.1f s: %s", deployment.id, cooldown_s, error.code)

    def _is_enough(self, health: Health, error: GatewayError, kind: str, *, is_alone: bool) -> bool:
        if isinstance(error, UpstreamUnavailable) and health.consecutive_failures >= REFUSALS_ALONE:
            return True
        settings = self._settings
        if kind in settings.allowed_fails_policy:
            return (health.failures_of or {}).get(kind, 0) > settings.allowed_fails_policy[kind]
        if settings.allowed_fails is not None:
            return health.failures > settings.allowed_fails
        if is_alone:
            return health.requests >= LEAST_REQUESTS_ALONE and health.failures >= health.requests
        if isinstance(error, UpstreamRateLimited | UpstreamAuthError | UpstreamTimeout):
            return True
        return health.requests >= LEAST_REQUESTS and health.failures * 2 > health.requests

    @staticmethod
    def _count(health: Health, now: float) -> None:
        if now - health.window_started_s >= WINDOW_S:
            health.window_started_s = now
            health.requests = health.failures = 0
            health.failures_of = None
        health.requests += 1
