"""Admits second attempts by the caller's own limits and budgets, and records the attempt that did not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from routewright.admission.limits import Admission
from routewright.errors import GatewayError
from routewright.types import Call, Candidates, Group, Outcome


class Hedges:
    """`upstream.hedging.Desk`."""

    def __init__(self, admission: Admission, record: Callable[[Outcome], None]) -> None:
        """`record`: puts a part of a request into the ledger."""
        self._admission = admission
        self._record = record

    def admit(self, outcome: Outcome, call: Call, group: Group) -> Any:
        """None where a limit or a budget has no room, or it is not known whether it has."""
        try:
            return self._admission.admit(outcome.caller, call, Candidates((group,)))
        except GatewayError:
            return None

    def close(self, held: Any, outcome: Outcome) -> None:
        usage = outcome.usage
        tokens = 0 if usage is None else usage.prompt_tokens + usage.completion_tokens
        outcome.ended_at_ms = int(time.time() * 1000)
        self._admission.settle(
            held, tokens, outcome.cost_nusd, deployment=outcome.deployment, ended_at_ms=outcome.ended_at_ms
        )
        if usage is not None:
            self._record(outcome)
