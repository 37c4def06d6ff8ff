"""How a request went, for all who are told of it."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from routewright.types.callers import Caller
from routewright.types.calls import Call
from routewright.types.decisions import Decision
from routewright.types.deployments import Deployment, Usage


class Notes(msgspec.Struct, omit_defaults=True):
    """What the cache and the guardrails did for a request."""

    cache_hit: bool = False
    cache_key: str = ""
    """Under which the answer is kept, or was found."""
    saved_nusd: int = 0
    """What the answer cost when it was made, where it was found in the cache."""
    similarity: float = 0.0
    """Cosine of the prompt to the one that the answer was given to, where that was another."""
    guardrails: list[str] = []
    """Names of those that looked at it."""
    blocked_by: str = ""
    found: dict[str, int] = {}
    """What they found or masked, by kind; never what it was."""


class Texts(Protocol):
    """A call's request and response as JSON."""

    @property
    def request_text(self) -> str:
        """What was asked."""

    @property
    def response_text(self) -> str:
        """What the client was sent so far."""


class Outcome:
    """How one request went; filled in on the way, read by the ledger."""

    __slots__ = (
        "asked_s",
        "attempts",
        "call",
        "call_id",
        "caller",
        "cost_nusd",
        "decision",
        "deployment",
        "ended",
        "ended_at_ms",
        "endpoint",
        "error",
        "failed_attempts",
        "fallbacks",
        "fell_back_on",
        "fields",
        "first_byte_s",
        "is_priced",
        "notes",
        "peer",
        "request_id",
        "started_s",
        "status",
        "texts",
        "trace",
        "usage",
        "waited_s",
    )

    def __init__(self, endpoint: str, caller: Caller, request_id: str, call_id: str, started_s: float) -> None:
        self.endpoint = endpoint
        self.caller = caller
        self.request_id = request_id
        self.call_id = call_id
        """Ours alone: a caller can't choose it, so no record can hide behind another."""
        self.started_s = started_s
        self.peer = ""
        """Address that the request came from; empty where it is not to be kept."""
        self.call: Call | None = None
        self.decision: Decision | None = None
        self.deployment: Deployment | None = None
        self.usage: Usage | None = None
        self.cost_nusd = 0
        """Set with `usage`."""
        self.is_priced: bool | None = None
        """Whether a price was known for what was used; None: as the deployment's tokens."""
        self.status = 0
        self.error: str | None = None
        self.ended = "refused"
        """`complete`, `client_gone`, `upstream_failed` or `refused`."""
        self.ended_at_ms = 0
        """Wall clock, since 1970: by it a cost belongs to a budget's window."""
        self.attempts = 0
        """Upstream requests made."""
        self.failed_attempts: list[tuple[str, str, float, float]] | None = None
        """Of each that failed: the deployment's id, the error's code, seconds from the request's start to its start and
        to its end. None: none did."""
        self.fallbacks = 0
        self.fell_back_on: str | None = None
        """The error for which the candidate before the last was given up."""
        self.trace: Any = None
        """What `record/tracing.py` notes of a traced request; opaque to everybody else."""
        self.asked_s = 0.0
        """When the deployment that was asked last was asked; monotonic."""
        self.first_byte_s = 0.0
        self.waited_s = 0.0
        """Until its limits were known, and until a slow feature was made of its prompt; most wait for neither."""
        self.fields = b""
        """Header lines for the client that are known before an upstream is asked."""
        self.notes: Notes | None = None
        """Set where a cache or a guardrail had to do with it."""
        self.texts: Texts | None = None
        """What was asked and answered, where that is to be kept."""

    def bill(self, usage: Usage) -> None:
        """What the answer used, and so what it cost at the deployment that gave it."""
        self.usage = usage
        if type(usage) is not Usage:
            usage.charge(self)
        elif self.deployment is not None:
            self.cost_nusd = self.deployment.cost_nusd(usage)
