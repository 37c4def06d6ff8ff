"""Values that the stations hand to each other. Nothing here does I/O, reads a clock or imports a station."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol


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


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the holder of a virtual key, or of the master key."""

    key_hash: str
    """SHA-256 of the key, hex; `""` where no key was asked for."""
    alias: str | None
    is_master: bool
    models: frozenset[str] | None
    """Names and wildcards the key may use; None is all."""
    limits: Any = None
    """What admission keeps for this key; opaque to everybody else."""


class HttpRequest:
    """One request as the front took it apart. One object per connection, used again for each request."""

    __slots__ = (
        "body",
        "caller",
        "endpoint",
        "headers",
        "method",
        "path",
        "peer",
        "query",
        "received_s",
        "request_id",
    )

    method: str
    path: str
    """Without query; ASCII, not decoded."""
    query: str
    headers: dict[bytes, bytes]
    """Names in lower case; a repeated field is joined by `, `."""
    body: bytes
    endpoint: Endpoint
    caller: Caller
    peer: str
    """Address of the socket's other end; never taken from a header."""
    request_id: str
    received_s: float
    """Monotonic time at which the request was complete."""


class Responder(Protocol):
    """The client's side of one exchange, as a station sees it. `fields` are whole header lines, `b"a: b\\r\\n"`."""

    is_gone: bool
    """The client has left; what is sent now goes nowhere."""
    on_gone: Callable[[], None] | None
    on_pause: Callable[[bool], None] | None
    """Called with True when the client's socket takes no more, with False when it does again."""

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        """Send the head of a streamed response and its first bytes in one write."""

    def write(self, data: bytes) -> None:
        """Send more of a streamed response."""

    def hold(self, last: bytes) -> None:
        """Keep the last bytes of a streamed response back until `release`."""

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        """Keep a whole response back until `release`."""

    def release(self) -> None:
        """Send what is held; the exchange ends with it."""


# --- what a client asks -----------------------------------------------------------------------------------------


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


class Call:
    """One inference request after parsing: what every station needs, and the body as it will go upstream."""

    __slots__ = (
        "body",
        "endpoint",
        "has_images",
        "has_tools",
        "is_stream",
        "max_tokens",
        "metadata_tags",
        "model",
        "n_choices",
        "num_retries",
        "prompt_tokens_estimate",
        "quality",
        "timeout_s",
        "user",
        "wants_json",
        "wants_usage",
        "without_fallbacks",
        "fallbacks",
        "task",
    )

    endpoint: str
    """`chat`, `completions` or `embeddings`."""
    model: str
    """As the client wrote it."""
    body: dict[str, Any]
    """Checked and without our extensions; `model` still the client's word."""
    is_stream: bool
    wants_usage: bool
    """The client asked for `stream_options.include_usage`."""
    max_tokens: int | None
    n_choices: int
    prompt_tokens_estimate: int
    quality: float | None
    task: str
    has_tools: bool
    has_images: bool
    wants_json: bool
    timeout_s: float | None
    num_retries: int | None
    fallbacks: list[str] | None
    without_fallbacks: bool
    user: str | None
    metadata_tags: tuple[str, ...]


# --- where it may go --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per token; None where nobody has said."""

    input_usd_per_token: float | None = None
    output_usd_per_token: float | None = None
    cached_input_usd_per_token: float | None = None
    source: str = "none"
    """`config`, `genai-prices` or `none`."""

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

    __slots__ = ("confidence", "costs_usd", "order", "reason", "scores", "margin")

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
    """Tokens of one answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    is_estimated: bool = False


Json = Mapping[str, Any] | Sequence[Any] | str | int | float | bool | None


@dataclass(slots=True)
class ControlReply:
    """A whole response of the control plane, before it is bytes."""

    status: int
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
