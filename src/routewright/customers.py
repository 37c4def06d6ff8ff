"""End users: what those that are stored may use, and the configuration's word for all others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from routewright.admission.limits import Admission
from routewright.admission.owners import CallOwners
from routewright.errors import PermissionDenied, StorageUnavailable
from routewright.grants import Change, EndUser
from routewright.settings import BudgetSettings
from routewright.storage import Storage
from routewright.types import Allowance

RETRY_S = 1.0
_decode = msgspec.msgpack.Decoder(list[EndUser]).decode


class Customers:
    """Keeps the stored ones in memory, and admission told. Without any, and without budgets of the configuration, a
    call's end user costs nothing to anybody."""

    def __init__(self, storage: Storage, admission: Admission) -> None:
        self._storage = storage
        self._admission = admission
        self._stored: dict[str, EndUser] = {}
        self._retry: asyncio.Task[None] | None = None
        self._tried_s = 0.0
        self._is_stale = False
        """Something has changed that could not be read."""
        self.configure(BudgetSettings(), {})

    def configure(self, default: BudgetSettings, tags: Mapping[str, BudgetSettings]) -> None:
        """`default`: of end users that have no budget of their own."""
        self._default = default
        self._has_tags = bool(tags)
        allowances = {tag: budget.allowance("tag", tag) for tag, budget in tags.items()}
        self._owners = CallOwners(self._admission.meters_of, customer=self._allowance, tags=allowances)
        self._tell()

    def _allowance(self, customer_id: str) -> Allowance | None:
        """Raises PermissionDenied for one that is blocked, StorageUnavailable while it is not known who is."""
        if self._is_stale:
            raise StorageUnavailable("what end users may use is not known now; try again")
        found = self._stored.get(customer_id)
        if found is None:
            default = self._default
            return default.allowance("customer", customer_id) if default.max_budget_nusd is not None else None
        if found.is_blocked:
            raise PermissionDenied("this end user is blocked")
        own = found.allowance
        if own.budget_nusd is None and self._default.max_budget_nusd is not None:
            return _with_budget(own, self._default)
        return own

    def region_of(self, customer_id: str) -> str | None:
        """Where its requests must stay. Raises StorageUnavailable while it is not known."""
        if self._is_stale:
            raise StorageUnavailable("what end users may use is not known now; try again")
        found = self._stored.get(customer_id)
        return None if found is None else found.allowed_region

    async def changed(self, changes: Sequence[Change]) -> None:
        """Read again what a change touches."""
        kinds = {change.kind for change in changes}
        ids: list[str] | None = [change.object_id for change in changes if change.kind == "customer"]
        if kinds & {"all", "budget"} or self._is_stale:
            ids = None
        elif not ids:
            return
        try:
            found = _decode(await self._storage.ask("customers", ids))
        except StorageUnavailable:
            self._is_stale = True
            self._tell()
            return
        self._is_stale = False
        if ids is None:
            self._stored.clear()
        for customer_id in ids or ():
            self._stored.pop(customer_id, None)
        self._stored.update({each.customer_id: each for each in found})
        self._tell()

    def on_tick(self, now: float) -> None:
        """Try again what could not be read."""
        if self._is_stale and now - self._tried_s >= RETRY_S and (self._retry is None or self._retry.done()):
            self._tried_s = now
            self._retry = asyncio.get_running_loop().create_task(self.changed(()))

    def _tell(self) -> None:
        self._owners.forget()
        is_needed = self._stored or self._has_tags or self._is_stale or self._default.max_budget_nusd is not None
        self._admission.owners_of_call = self._owners if is_needed else None


def _with_budget(own: Allowance, default: BudgetSettings) -> Allowance:
    """A stored end user without a budget of its own has the one of all."""
    return replace(own, budget_nusd=default.max_budget_nusd, budget_duration=default.budget_duration)
