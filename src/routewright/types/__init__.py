"""Values that the stations hand to each other. Nothing here does I/O, reads a clock or imports a station."""

from __future__ import annotations

from routewright.types.callers import Access, Allowance, Caller, Endpoint, Secret
from routewright.types.calls import CHARS_PER_TOKEN, Call, Caps, Mock, Prompt
from routewright.types.decisions import Candidates, Decision, OnlineDecision, PartDecision, Rating
from routewright.types.deployments import NUSD_PER_USD, Deployment, Group, Health, Price, RouteCandidate, Usage
from routewright.types.exchange import HttpRequest, Responder
from routewright.types.outcomes import Notes, Outcome, Texts

__all__ = [
    "CHARS_PER_TOKEN",
    "NUSD_PER_USD",
    "Access",
    "Allowance",
    "Call",
    "Caller",
    "Candidates",
    "Caps",
    "Decision",
    "Deployment",
    "Endpoint",
    "Group",
    "Health",
    "HttpRequest",
    "Mock",
    "Notes",
    "OnlineDecision",
    "Outcome",
    "PartDecision",
    "Price",
    "Prompt",
    "Rating",
    "Responder",
    "RouteCandidate",
    "Secret",
    "Texts",
    "Usage",
]
