"""What a client asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routewright.dialect import ClientDialect

CHARS_PER_TOKEN = 4
"""Bytes of UTF-8, rather. English averages 4.2 a token with current tokenizers, Chinese 3 to 4; an estimate, marked as
such where it is billed."""


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
        "files",
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
    files: tuple[str, ...]
    """Ids of files in a provider's account that it names: whether they are the caller's is not known here."""
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
