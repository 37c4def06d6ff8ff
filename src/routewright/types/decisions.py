"""Which places may answer a request, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from routewright.types.deployments import Group

if TYPE_CHECKING:
    from routewright.types.outcomes import Outcome


class Candidates:
    """What one request may use: a group by its name, or a route and the groups it chooses from."""

    __slots__ = ("allowed", "content_policy_fallbacks", "context_window_fallbacks", "dial", "fallbacks", "groups",
                 "key_hash", "quality", "route")  # fmt: skip

    key_hash: str
    """Who asks; set where a route may tell callers apart."""

    def __init__(self, groups: Sequence[Group], route: str | None = None) -> None:
        self.groups = groups
        self.route = route
        """The route's name, None for a plain model."""
        self.allowed: list[int] | None = None
        """Indices into `groups` that this request may use; None is all."""
        self.quality: float | None = None
        """Where the model's name set the dial (`auto:best`)."""
        self.dial: tuple[float, float] | None = None
        """Within what the key may set it."""
        self.fallbacks: Sequence[Group] = ()
        self.context_window_fallbacks: Sequence[Group] = ()
        self.content_policy_fallbacks: Sequence[Group] = ()


class Rating:
    """What a router thinks of the candidates for one prompt; lists run along the route's candidates."""

    __slots__ = ("confidence", "costs_usd", "margin", "order", "reason", "scores")

    def __init__(
        self,
        order: list[int],
        scores: list[float],
        costs_usd: list[float],
        confidence: float,
        margin: float,
        reason: str,
    ) -> None:
        self.order = order
        """Indices of the allowed candidates, best first."""
        self.scores = scores
        self.costs_usd = costs_usd
        self.confidence = confidence
        """Calibrated chance, 0..1, that the first choice answers well."""
        self.margin = margin
        """Objective of the first choice minus that of the second."""
        self.reason = reason


class Decision:
    """The order in which to try the candidates, and why."""

    __slots__ = ("artefact", "candidates", "fields", "groups", "microseconds", "rating", "route")

    def __init__(self, groups: Sequence[Group], candidates: Candidates) -> None:
        self.groups = groups
        """Best first."""
        self.candidates = candidates
        self.route: str | None = None
        self.rating: Rating | None = None
        self.artefact = ""
        """Short id of the router file that decided."""
        self.fields = b""
        """Header lines for the client."""
        self.microseconds = 0.0


class OnlineDecision(Decision):
    """A decision of a router that learns from how its choices were liked."""

    __slots__ = ("propensity", "remember")

    def __init__(
        self, groups: Sequence[Group], candidates: Candidates, propensity: float, remember: Callable[[Outcome], None]
    ) -> None:
        super().__init__(groups, candidates)
        self.propensity = propensity
        """Chance with which the first was to be chosen."""
        self.remember = remember
        """Called once the request is over, before its client has the end of the answer."""


class PartDecision(Decision):
    """Why one of the several calls that answer a request was made, by the decision for that request."""

    __slots__ = ("part_of", "signal", "stage", "verdict")

    def __init__(self, whole: Decision, group: Group, stage: str, *, part_of: str) -> None:
        # The whole's groups, which its rating runs along; its fallbacks are for the request, not for each part.
        super().__init__((group,), Candidates(whole.candidates.groups, whole.candidates.route))
        self.route = whole.route
        self.rating = whole.rating
        self.artefact = whole.artefact
        self.microseconds = whole.microseconds
        self.part_of = part_of
        """`call_id` of the request; empty in the record of the request itself."""
        self.stage = stage
        """What the call was for: `cascade`, `plan`, `part`, `sum up`."""
        self.verdict = ""
        """Why the answer was not taken; empty where it was, or was not judged."""
        self.signal: float | None = None
        """Mean log-probability of the answer's tokens, where it was asked for."""
