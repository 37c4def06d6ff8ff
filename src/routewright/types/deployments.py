"""Where a request may go, and what an answer of that place costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from routewright.types.callers import Allowance

if TYPE_CHECKING:
    from routewright.dialect import Exchange
    from routewright.metered import UnitPrices
    from routewright.types.outcomes import Outcome

NUSD_PER_USD = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per token; None where nobody has said."""

    input_usd_per_token: float | None = None
    output_usd_per_token: float | None = None
    cached_input_usd_per_token: float | None = None
    cache_creation_usd_per_token: float | None = None
    cache_creation_long_usd_per_token: float | None = None
    """For what is kept an hour."""
    reasoning_usd_per_token: float | None = None
    audio_input_usd_per_token: float | None = None
    audio_output_usd_per_token: float | None = None
    units: UnitPrices | None = None
    """What is paid otherwise: pictures, seconds, characters, searches."""
    source: str = "none"
    """`config`, `genai-prices` or `none`."""
    version: str = ""
    """Of the price list that it was taken from, for the record."""

    @property
    def is_known(self) -> bool:
        return self.input_usd_per_token is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteCandidate:
    """What a router needs to know of one model that it may choose."""

    model: str
    """The public `model_name`."""
    upstream_model: str
    """The provider's name for it, by which a profile is found."""
    provider: str
    price: Price
    quality: float | None = None
    """0..1 from `model_info.quality`, where the operator has measured or judged it."""
    max_input_tokens: int | None = None
    supports_vision: bool | None = None
    supports_tools: bool | None = None
    supports_json: bool | None = None


class Usage(msgspec.Struct):
    """Tokens of one answer. The whole of a prompt is `prompt_tokens`, of an answer `completion_tokens`; the others say
    how much of it was of a kind that may have a price of its own."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt: read from the provider's cache."""
    reasoning_tokens: int = 0
    is_estimated: bool = False
    cache_creation_tokens: int = 0
    """Of the prompt: written to the provider's cache."""
    cache_creation_long_tokens: int = 0
    """Of those: to be kept for an hour rather than minutes."""
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0

    def charge(self, outcome: Outcome) -> None:
        """Set what it cost: by the price of its tokens, and by more than that where it has units of its own."""
        if outcome.deployment is not None:
            outcome.cost_nusd = outcome.deployment.cost_nusd(self)


class Health:
    """How a deployment has done lately. `upstream/health.py` writes it; everybody may read it."""

    __slots__ = (
        "consecutive_failures",
        "cooldown_until_s",
        "failures",
        "failures_of",
        "in_flight",
        "is_probed",
        "latencies",
        "pace_s",
        "requests",
        "told",
        "told_s",
        "usual_output_tokens",
        "window_started_s",
    )

    def __init__(self) -> None:
        self.usual_output_tokens = 0.0
        """Moving average over the answers that this worker has seen; 0 before the first. Admission writes it."""
        self.cooldown_until_s = 0.0
        """Monotonic; 0 while nothing is wrong."""
        self.window_started_s = 0.0
        self.requests = 0
        self.failures = 0
        self.failures_of: dict[str, int] | None = None
        """By kind of error, where a policy speaks of kinds."""
        self.consecutive_failures = 0
        self.in_flight = 0
        self.latencies: Any = None
        """What latency-based-routing has measured; None before the first answer, and with every other strategy."""
        self.pace_s = 0.0
        """Moving average of a whole answer's seconds by its output tokens; 0 before the first answer."""
        self.told: Mapping[bytes, bytes] = {}
        """The header of its last answer, in which some providers say what is left of their limits."""
        self.told_s = 0.0
        """When that was; monotonic."""
        self.is_probed = False
        """One request is finding out whether a cooldown was long enough."""


class Deployment:
    """Where a request can be sent, with everything that can be had before one comes."""

    __slots__ = (
        "allowance",
        "audio_input_nusd",
        "audio_output_nusd",
        "batch_input_nusd",
        "batch_output_nusd",
        "budgets",
        "cache_creation_long_nusd",
        "cache_creation_nusd",
        "cached_nusd",
        "cooldown_s",
        "default_params",
        "drop_params",
        "drops_unsupported",
        "exchanges",
        "health",
        "id",
        "input_nusd",
        "is_priced",
        "limits",
        "max_input_tokens",
        "max_output_tokens",
        "max_retries",
        "metrics_model",
        "model_field",
        "model_name",
        "order",
        "origin",
        "output_nusd",
        "price_version",
        "provider",
        "reasoning_nusd",
        "region",
        "reply_fields",
        "request_heads",
        "routed_field",
        "secrets",
        "stream_timeout_s",
        "tags",
        "timeout_s",
        "units",
        "upstream_model",
        "weight",
    )

    id: str
    model_name: str
    """Public; what the client sees as `model`."""
    metrics_model: str
    """The same in the configuration's words: a wildcard where the caller chose the name."""
    provider: str
    upstream_model: str
    origin: tuple[str, str, int]
    """Scheme, host and port."""
    exchanges: Mapping[str, Exchange]
    """Per endpoint of ours, how the upstream's dialect serves it."""
    request_heads: Mapping[str, bytes]
    """Per endpoint of the upstream's dialect, up to and with `content-length: `."""
    reply_fields: bytes
    """Header lines that name this deployment to the client."""
    routed_field: bytes
    """The header line that says which model a route used."""
    model_field: bytes
    """`model_name` as JSON."""
    secrets: Sequence[str]
    """The credential and the values of secret headers, for cleaning them out of error texts."""
    input_nusd: float
    """Nano-dollars per token, here and below."""
    output_nusd: float
    cached_nusd: float
    cache_creation_nusd: float
    cache_creation_long_nusd: float
    reasoning_nusd: float
    audio_input_nusd: float
    audio_output_nusd: float
    batch_input_nusd: float
    """In a batch, whatever kind of token it is."""
    batch_output_nusd: float
    is_priced: bool
    """Its tokens are."""
    units: UnitPrices | None
    """What is paid otherwise than by tokens of text."""
    price_version: str
    """Where the price comes from, and which one it is; empty for an unpriced deployment."""
    weight: float
    order: int
    timeout_s: float | None
    stream_timeout_s: float | None
    max_retries: int | None
    cooldown_s: float | None
    default_params: Mapping[str, Any]
    drop_params: tuple[str, ...]
    drops_unsupported: bool
    """Leave out what the dialect has no word for, rather than refuse the request."""
    max_input_tokens: int | None
    max_output_tokens: int | None
    tags: frozenset[str]
    region: str | None
    health: Health
    allowance: Allowance | None
    """Its own requests and tokens a minute and parallel requests; None where it has no limit."""
    limits: Any
    """What admission keeps for it; opaque to everybody else."""
    budgets: tuple[Allowance, ...]
    """Its own and its provider's; empty where what is spent at it has no cap."""

    def cost_nusd(self, usage: Usage) -> int:
        """What an answer cost, in nano-dollars; 0 for an unpriced deployment (see `is_priced`)."""
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        cost = prompt * self.input_nusd + completion * self.output_nusd
        # Each kind of token that has its own price moves the sum by how much that differs from the usual one.
        if usage.cached_tokens:
            cost += min(usage.cached_tokens, prompt) * (self.cached_nusd - self.input_nusd)
        if usage.reasoning_tokens:
            cost += min(usage.reasoning_tokens, completion) * (self.reasoning_nusd - self.output_nusd)
        if usage.cache_creation_tokens or usage.audio_input_tokens or usage.audio_output_tokens:
            left = prompt - min(usage.cached_tokens, prompt)
            written = min(usage.cache_creation_tokens, left)
            spoken = min(usage.audio_output_tokens, completion - min(usage.reasoning_tokens, completion))
            long = min(usage.cache_creation_long_tokens, written)
            cost += written * (self.cache_creation_nusd - self.input_nusd)
            cost += long * (self.cache_creation_long_nusd - self.cache_creation_nusd)
            cost += min(usage.audio_input_tokens, left - written) * (self.audio_input_nusd - self.input_nusd)
            cost += spoken * (self.audio_output_nusd - self.output_nusd)
        return round(cost)


class Group:
    """All deployments of one public model name."""

    __slots__ = ("dearest_input_nusd", "dearest_output_nusd", "deployments", "lone", "mode", "name", "refusal", "tiers")

    def __init__(self, name: str, mode: str, deployments: Sequence[Deployment]) -> None:
        self.name = name
        self.mode = mode
        self.deployments = tuple(deployments)
        self.dearest_input_nusd = max([max(d.input_nusd, d.cache_creation_nusd) for d in deployments], default=0.0)
        """What a prompt token costs at most, whichever deployment answers."""
        self.dearest_output_nusd = max([max(d.output_nusd, d.reasoning_nusd) for d in deployments], default=0.0)
        self.lone = self.deployments[0] if len(self.deployments) == 1 else None
        self.refusal: Callable[[], Exception] | None = None
        """Where nobody in it may take the request it was made for: makes the error that says why."""
        orders = sorted({deployment.order for deployment in deployments})
        self.tiers = tuple(tuple(d for d in deployments if d.order == order) for order in orders)
        """Deployments by `order`: a later tier is used only while none of the earlier can be."""

    def close(self, refusal: Callable[[], Exception]) -> None:
        """None of its deployments is to be asked."""
        self.refusal = refusal
        self.lone, self.tiers = None, ()
