"""Budgets of what is asked rather than of who asks: of a provider, and of a deployment.

They are counted as every budget is: what a call may cost is reserved before it is sent and settled after it, over all
workers, and the ledger says what was spent before a start.
"""

from __future__ import annotations

import time
from typing import Any

from routewright.admission.limits import Admission
from routewright.errors import BudgetExceeded, UpstreamUnavailable
from routewright.types import Call, Caller, Candidates, Deployment, Group

LONGEST_WAIT_S = 60
"""What a client is told to wait at most: by then another provider may be there."""


class Purses:
    """Opens and closes the purse of a deployment; only those with `budgets` have one."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._holders: dict[str, tuple[Deployment, Caller, Group]] = {}

    def forget(self) -> None:
        """The deployments have changed; what was spent is not forgotten by it."""
        self._holders.clear()

    def _holder_of(self, deployment: Deployment) -> tuple[Caller, Group]:
        held = self._holders.get(deployment.id)
        if held is None or held[0] is not deployment:
            # Like a key with these budgets, whose call can go to this deployment only. As the master it names no other
            # owners: the caller's own were asked before.
            meters = self._admission.meters_of(deployment.budgets)
            holder = Caller(key_hash="", alias=None, is_master=True, models=None, limits=meters)
            held = self._holders[deployment.id] = (deployment, holder, Group(deployment.model_name, "", [deployment]))
        return held[1], held[2]

    async def open(self, deployment: Deployment, call: Call) -> Any:
        """What is held until `close`. Raises UpstreamUnavailable where a budget has no room for the call, and
        StorageUnavailable where it can't be known what was spent."""
        holder, group = self._holder_of(deployment)
        try:
            while (reservation := self._admission.admit(holder, call, Candidates((group,)))) is None:
                await self._admission.learn()
        except BudgetExceeded as error:
            wait_s = LONGEST_WAIT_S if error.retry_after_s is None else min(LONGEST_WAIT_S, error.retry_after_s)
            message = "the budget for this model's deployments or their provider is spent"
            raise UpstreamUnavailable(message, retry_after_s=wait_s) from None
        return reservation

    def close(self, held: Any, deployment: Deployment, cost_nusd: int, ended_at_ms: int | None = None) -> None:
        """The call has ended, and cost so much there. `ended_at_ms`: as the store will say, where that is not now."""
        at_ms = int(time.time() * 1000) if ended_at_ms is None else ended_at_ms
        self._admission.settle(held, 0, cost_nusd, deployment=deployment, ended_at_ms=at_ms)

    def recount(self, deployment: Deployment, call: Call, cost_nusd: int, held_nusd: int, held_at_ms: int) -> None:
        """What a call cost whose answer came long after it, in place of what was held for it."""
        holder, _ = self._holder_of(deployment)
        self._admission.recount(holder, call, deployment.model_name, cost_nusd, held_nusd, held_at_ms)
