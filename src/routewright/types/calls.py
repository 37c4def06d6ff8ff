"""What a client asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from routewright.dialect import ClientDialect

CHARS_PER_TOKEN = 4
"""Bytes of UTF-8, rather. English averages 4.2 a token with current tokenizers, Chinese 3 to 4; an estimate, marked as
such where it is billed."""


NOTHING_FORWARDED: Mapping[str, str] = MappingProxyType({})


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


class Call(msgspec.Struct, eq=False):
    """One inference request after parsing: what every station needs, and the body as it will go upstream."""

    endpoint: str
    """`chat`, `completions`, `embeddings` or one of another dialect's, by the table of endpoints."""
    client: ClientDialect
    model: str
    """As the client wrote it."""
    body: dict[str, Any]
    """In the client's dialect, checked and without our extensions; `model` still the client's word."""
    forwarded: Mapping[str, str] = NOTHING_FORWARDED
    """Headers of the client's that an upstream of its own dialect may read: a short list, named in lower case."""
    drop_params: bool | None = None
    """Leave out what can't be carried over to another dialect, rather than refuse it; None: the deployment's word."""
    files: tuple[str, ...] = ()
    """Ids of files in a provider's account that it names: whether they are the caller's is not known here."""
    is_stream: bool = False
    wants_usage: bool = False
    """The client asked for `stream_options.include_usage`."""
    max_tokens: int | None = None
    n_choices: int = 1
    prompt_tokens_estimate: int = 0
    quality: float | None = None
    caps: Caps | None = None
    task: str = ""
    has_tools: bool = False
    has_images: bool = False
    wants_json: bool = False
    timeout_s: float | None = None
    stream_timeout_s: float | None = None
    """To the first byte of a stream."""
    num_retries: int | None = None
    fallbacks: list[str] | None = None
    """The request's own, in place of the configured; here and below None: it names none."""
    context_window_fallbacks: list[str] | None = None
    content_policy_fallbacks: list[str] | None = None
    without_fallbacks: bool = False
    allowed_region: str | None = None
    """Where it may be answered: a region's name, `eu` or `us`."""
    session_id: str | None = None
    """The conversation that it belongs to, in the caller's words."""
    mock: Mock | None = None
    user: str | None = None
    metadata_tags: tuple[str, ...] = ()
    wishes: Mapping[str, Any] | None = None
    """`cache`, `caching` and `guardrails` as the client wrote them; None where it wrote none."""
