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


class Outcome(msgspec.Struct, eq=False):
    """How one request went; filled in on the way, read by the ledger."""

    endpoint: str
    caller: Caller
    request_id: str
    call_id: str
    """Ours alone: a caller can't choose it, so no record can hide behind another."""
    started_s: float
    peer: str = ""
    """Address that the request came from; empty where it is not to be kept."""
    call: Call | None = None
    decision: Decision | None = None
    deployment: Deployment | None = None
    usage: Usage | None = None
    cost_nusd: int = 0
    """Set with `usage`."""
    is_priced: bool | None = None
    """Whether a price was known for what was used; None: as the deployment's tokens."""
    status: int = 0
    error: str | None = None
    ended: str = "refused"
    """`complete`, `client_gone`, `upstream_failed` or `refused`."""
    ended_at_ms: int = 0
    """Wall clock, since 1970: by it a cost belongs to a budget's window."""
    attempts: int = 0
    """Upstream requests made."""
    failed_attempts: list[tuple[str, str, float, float]] | None = None
    """Of each that failed: the deployment's id, the error's code, seconds from the request's start to its start and to
    its end. None: none did."""
    fallbacks: int = 0
    fell_back_on: str | None = None
    """The error for which the candidate before the last was given up."""
    trace: Any = None
    """What `record/tracing.py` notes of a traced request; opaque to everybody else."""
    asked_s: float = 0.0
    """When the deployment that was asked last was asked; monotonic."""
    first_byte_s: float = 0.0
    waited_s: float = 0.0
    """Until its limits were known, and until a slow feature was made of its prompt; most wait for neither."""
    fields: bytes = b""
    """Header lines for the client that are known before an upstream is asked."""
    notes: Notes | None = None
    """Set where a cache or a guardrail had to do with it."""
    texts: Texts | None = None
    """What was asked and answered, where that is to be kept."""

    def bill(self, usage: Usage) -> None:
        """What the answer used, and so what it cost at the deployment that gave it."""
        self.usage = usage
        if type(usage) is not Usage:
            usage.charge(self)
        elif self.deployment is not None:
            self.cost_nusd = self.deployment.cost_nusd(usage)
