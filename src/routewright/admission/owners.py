"""Whom a call names beside its key: its end user and its tags, where budgets or limits speak of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from routewright.admission.meters import Meters
from routewright.types import Allowance, Call, Caller

MAX_KNOWN = 10_000
"""End users whose meters are kept; their counts are in the shared rows, so forgetting them costs a look-up only."""


class CallOwners:
    """Finds the meters of a call's end user and tags."""

    __slots__ = ("_customer", "_known", "_meters_of", "_tags")

    def __init__(
        self,
        meters_of: Callable[[Sequence[Allowance]], Meters | None],
        *,
        customer: Callable[[str], Allowance | None] | None,
        tags: Mapping[str, Allowance],
    ) -> None:
        """`customer`: what an end user may use, by its id; it raises PermissionDenied for one that is blocked."""
        self._meters_of = meters_of
        self._customer = customer
        self._tags = {tag: meters for tag, each in tags.items() if (meters := meters_of([each])) is not None}
        self._known: dict[str, Meters | None] = {}

    def forget(self) -> None:
        """What end users may use has changed; their counts stay."""
        self._known.clear()

    def __call__(self, caller: Caller, call: Call) -> Sequence[Meters]:
        """The master key passes over every budget, as its owner made them."""
        if caller.is_master:
            return ()
        found: list[Meters] = []
        if call.user and self._customer is not None:
            meters = self._known.get(call.user)
            if meters is None and call.user not in self._known:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                allowance = self._customer(call.user)
                meters = self._meters_of([allowance]) if allowance is not None else None
                self._known[call.user] = meters
            if meters is not None:
                found.append(meters)
        if self._tags:
            for tag in dict.fromkeys(call.metadata_tags):
                if tag in self._tags:
                    found.append(self._tags[tag])
        return found
