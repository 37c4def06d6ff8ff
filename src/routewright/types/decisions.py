"""Which places may answer a request, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from routewright.types.deployments import Group

if TYPE_CHECKING:
    from routewright.types.outcomes import Outcome


class Candidates(msgspec.Struct, eq=False):
    """What one request may use: a group by its name, or a route and the groups it chooses from."""

    groups: Sequence[Group]
    route: str | None = None
    """The route's name, None for a plain model."""
    allowed: list[int] | None = None
    """Indices into `groups` that this request may use; None is all."""
    quality: float | None = None
    """Where the model's name set the dial (`auto:best`)."""
    dial: tuple[float, float] | None = None
    """Within what the key may set it."""
    key_hash: str = ""
    """Who asks; set where a route may tell callers apart."""
    fallbacks: Sequence[Group] = ()
    context_window_fallbacks: Sequence[Group] = ()
    content_policy_fallbacks: Sequence[Group] = ()


class Rating(msgspec.Struct, eq=False):
    """What a router thinks of the candidates for one prompt; lists run along the route's candidates."""

    order: list[int]
    """Indices of the allowed candidates, best first."""
    scores: list[float]
    costs_usd: list[float]
    confidence: float
    """Calibrated chance, 0..1, that the first choice answers well."""
    margin: float
    """Objective of the first choice minus that of the second."""
    reason: str


class Decision(msgspec.Struct, eq=False):
    """The order in which to try the candidates, and why."""

    groups: Sequence[Group]
    """Best first."""
    candidates: Candidates
    route: str | None = None
    rating: Rating | None = None
    artefact: str = ""
    """Short id of the router file that decided."""
    fields: bytes = b""
    """Header lines for the client."""
    microseconds: float = 0.0


class OnlineDecision(Decision, eq=False, kw_only=True):
    """A decision of a router that learns from how its choices were liked."""

    propensity: float
    """Chance with which the first was to be chosen."""
    remember: Callable[[Outcome], None]
    """Called once the request is over, before its client has the end of the answer."""


class PartDecision(Decision, eq=False, kw_only=True):
    """Why one of the several calls that answer a request was made, by the decision for that request."""

    part_of: str
    """`call_id` of the request; empty in the record of the request itself."""
    stage: str
    """What the call was for: `cascade`, `plan`, `part`, `sum up`."""
    verdict: str = ""
    """Why the answer was not taken; empty where it was, or was not judged."""
    signal: float | None = None
    """Mean log-probability of the answer's tokens, where it was asked for."""

    @classmethod
    def of(cls, whole: Decision, group: Group, stage: str, *, part_of: str) -> PartDecision:
        """With the whole's groups, which its rating runs along; its fallbacks are for the request, not for a part."""
        return cls(
            (group,), Candidates(whole.candidates.groups, whole.candidates.route), route=whole.route,
            rating=whole.rating, artefact=whole.artefact, microseconds=whole.microseconds, part_of=part_of, stage=stage,
        )  # fmt: skip
