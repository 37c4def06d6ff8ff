"""How often a failed attempt is followed by another: by policy, and never more than an upstream that fails can bear."""

from __future__ import annotations

from collections.abc import Mapping

from routewright.errors import GatewayError, kind_of
from routewright.settings import AttemptSettings


class RetryPolicies:
    """Retries by kind of error, LiteLLM's `retry_policy` and `model_group_retry_policy`."""

    def __init__(self, settings: AttemptSettings) -> None:
        self._of_all = settings.retry_policy
        self._of_models = settings.model_retry_policy

    @staticmethod
    def of(settings: AttemptSettings) -> RetryPolicies | None:
        """None where nothing is said of kinds."""
        return RetryPolicies(settings) if settings.retry_policy or settings.model_retry_policy else None

    def retries(self, model: str, error: GatewayError) -> int | None:
        """None: nothing is said of this kind, so what holds for all kinds holds for it."""
        policy: Mapping[str, int] = self._of_models.get(model, self._of_all)
        return policy.get(kind_of(error))


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
