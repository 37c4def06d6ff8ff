"""Values that the stations hand to each other. Nothing here does I/O, reads a clock or imports a station."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from routewright.dialect import ClientDialect, Exchange
    from routewright.metered import UnitPrices


class Secret:
    """Text that must not be printed. `reveal` gives it to the one place that sends it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not serialised")


class Access(IntEnum):
    """What an endpoint asks of its caller."""

    OPEN = 0
    KEY = 1
    MASTER = 2


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An HTTP path we serve."""

    name: str
    methods: tuple[str, ...]
    access: Access
    is_proxied: bool
    """Goes to the gateway; everything else goes to the control plane."""
    takes_body: bool = True
    speaks: str = "openai"
    """The client dialect in which its errors are told."""
    is_kept: bool = False
    """Has to do with responses that are kept: `keeping.py` answers, or hands on to the gateway."""
    is_carried: bool = False
    """Its body is handed on as it comes, and never held whole."""
    is_stored: bool = False
    """Speaks of what is stored: the store's process answers. Who may do what is decided there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one owner may use; None is no limit. Its counts are found by `scope` and `owner`, whatever the rest says."""

    scope: str
    """`key`, `team`, `user`, `team_member`, `customer`, `tag`, `model_per_key`, `model_per_team`, `deployment`."""
    owner: str
    """Unique in its scope: a key's hash, a team's id; `team/user`, `key/model` where it belongs to two."""
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None
    budget_nusd: int | None = None
    soft_budget_nusd: int | None = None
    """Crossing it raises an alert and stops nobody."""
    budget_duration: str | None = None
    """Length of the budget's window, `30d`; None: it is never reset."""
    spent_before_nusd: int = 0
    """Spend that the ledger does not know, such as what was imported; counts where the budget is never reset."""
    extra_nusd: int = 0
    """A temporary increase of the budget, until `extra_until_ms` (wall clock)."""
    extra_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the holder of a virtual key, or of the master key."""

    key_hash: str
    """SHA-256 of the key, hex; `""` where no key was asked for."""
    alias: str | None
    is_master: bool
    models: frozenset[str] | None
    """Names and wildcards the key may use; None is all."""
    dial: tuple[float, float] | None = None
    """Least and most quality that the key may ask of a route; None: 0..1."""
    limits: Any = None
    """What admission keeps for this key; opaque to everybody else."""
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    endpoints: frozenset[str] | None = None
    """Names of the endpoints that the key may call; None is all that need no master."""
    aliases: Mapping[str, str] | None = None
    """Names of the key's own for models."""
    tags: tuple[str, ...] = ()
    """Of the key and its team: its requests go where they lead, where deployments are chosen by tags. Each call has
    them beside its own."""
    cache_controls: frozenset[str] | None = None
    """Names of the cache controls that the key may use; None is all."""
    guardrails: tuple[str, ...] = ()
    """Names of guardrails that look at all of the key's requests."""
    stores_prompts: bool = False
    """What is asked with it, and answered, is to be kept."""


class HttpRequest:
    """One request as the front took it apart. One object per connection, used again for each request."""

    __slots__ = (
        "body",
        "caller",
        "endpoint",
        "has_caller_id",
        "headers",
        "method",
        "model_in_path",
        "path",
        "peer",
        "query",
        "request_id",
        "upload",
    )

    method: str
    path: str
    """Without query; ASCII, not decoded."""
    query: str
    headers: Mapping[bytes, bytes]
    """Names in lower case; a repeated field is joined by `, `. Without Content-Length; may be shared: only read."""
    body: bytes
    endpoint: Endpoint
    caller: Caller
    model_in_path: str | None
    """What `/models/{id}`, `/engines/{id}/...` or `/key/{key}/regenerate` names, not decoded."""
    upload: Any
    """Set for endpoints that are carried: the body on its way, `server.upload.Upload`; None where there is none."""
    peer: str
    """Address of the socket's other end; never taken from a header."""
    request_id: str
    has_caller_id: bool
    """`request_id` is the caller's choice, so it may come twice."""


class Responder(Protocol):
    """The client's side of one exchange, as a station sees it. `fields` are whole header lines, `b"a: b\\r\\n"`."""

    @property
    def is_gone(self) -> bool:
        """The client has left; what is sent now goes nowhere."""

    on_gone: Callable[[], None] | None
    on_pause: Callable[[bool], None] | None
    """Called with True when the client's socket takes no more, with False when it does again."""

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        """Send the head of a streamed response and its first bytes in one write."""

    def write(self, data: bytes) -> None:
        """Send more of a streamed response."""

    def hold(self, last: bytes, *, close: bool = False) -> None:
        """Keep the last bytes of a streamed response back until `release`; with `close` the connection ends there."""

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        """Keep a whole response back until `release`."""

    def release(self) -> None:
        """Send what is held; the exchange ends with it."""


CHARS_PER_TOKEN = 4
"""English averages 4.2 characters a token with current tokenizers; an estimate, marked as such where it is billed."""

# --- what a client asks -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Prompt:
    """What a router may know of a request."""

    text: str
    """The last user message, or all of the prompt where there are no messages; text parts only."""
    system: str = ""
    has_tools: bool = False
    has_images: bool = False
    wants_json: bool = False
    task: str = ""
    """A label that the caller gave in `routing.task`; empty without one."""
    key_hash: str = ""
    """Who asks, for routers that tell callers apart; empty for all others."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What an answer of a route's candidate may be expected to take at most; None: no bound."""

    max_cost_usd: float | None = None
    max_latency_s: float | None = None

    def within(self, other: Caps | None) -> Caps:
        """The tighter of both, each by itself."""
        if other is None:
            return self
        costs = [cap for cap in (self.max_cost_usd, other.max_cost_usd) if cap is not None]
        latencies = [cap for cap in (self.max_latency_s, other.max_latency_s) if cap is not None]
        return Caps(min(costs, default=None), min(latencies, default=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mock:
    """What a request asks for in place of an upstream's answer, to try out a configuration."""

    field: str
    """The request's field that says so."""
    text: str = ""
    """The answer; empty: the upstream's own."""
    first_fails_by: str = ""
    """How the model itself is to fail, so that its fallbacks answer: a name in `errors.KINDS`, or `ContextWindow`."""


class Call:
    """One inference request after parsing: what every station needs, and the body as it will go upstream."""

    __slots__ = (
        "allowed_region",
        "body",
        "caps",
        "client",
        "content_policy_fallbacks",
        "context_window_fallbacks",
        "drop_params",
        "endpoint",
        "fallbacks",
        "forwarded",
        "has_images",
        "has_tools",
        "is_stream",
        "max_tokens",
        "metadata_tags",
        "mock",
        "model",
        "n_choices",
        "num_retries",
        "prompt_tokens_estimate",
        "quality",
        "session_id",
        "stream_timeout_s",
        "task",
        "timeout_s",
        "user",
        "wants_json",
        "wants_usage",
        "wishes",
        "without_fallbacks",
    )

    endpoint: str
    """`chat`, `completions`, `embeddings` or one of another dialect's, by the table of endpoints."""
    client: ClientDialect
    model: str
    """As the client wrote it."""
    body: dict[str, Any]
    """In the client's dialect, checked and without our extensions; `model` still the client's word."""
    forwarded: Mapping[str, str]
    """Headers of the client's that an upstream of its own dialect may read: a short list, named in lower case."""
    drop_params: bool | None
    """Leave out what can't be carried over to another dialect, rather than refuse it; None: the deployment's word."""
    is_stream: bool
    wants_usage: bool
    """The client asked for `stream_options.include_usage`."""
    max_tokens: int | None
    n_choices: int
    prompt_tokens_estimate: int
    quality: float | None
    caps: Caps | None
    task: str
    has_tools: bool
    has_images: bool
    wants_json: bool
    timeout_s: float | None
    stream_timeout_s: float | None
    """To the first byte of a stream."""
    num_retries: int | None
    fallbacks: list[str] | None
    """The request's own, in place of the configured; here and below None: it names none."""
    context_window_fallbacks: list[str] | None
    content_policy_fallbacks: list[str] | None
    without_fallbacks: bool
    allowed_region: str | None
    """Where it may be answered: a region's name, `eu` or `us`."""
    session_id: str | None
    """The conversation that it belongs to, in the caller's words."""
    mock: Mock | None
    user: str | None
    metadata_tags: tuple[str, ...]
    wishes: Mapping[str, Any] | None
    """`cache`, `caching` and `guardrails` as the client wrote them; None where it wrote none."""


# --- where it may go ----------------------------------------------------------------------------------------------


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


@dataclass(slots=True)
class Usage:
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
        """Set what it cost, where that takes more than the price of tokens."""
        raise NotImplementedError


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
        self.is_probed = False
        """One request is finding out whether a cooldown was long enough."""


NUSD_PER_USD = 1_000_000_000


class Deployment:
    """Where a request can be sent, with everything that can be had before one comes."""

    __slots__ = (
        "allowance",
        "audio_input_nusd",
        "audio_output_nusd",
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
