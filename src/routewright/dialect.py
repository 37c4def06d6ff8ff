"""The seam between dialects: what the straight line asks of a client's side and of an upstream's. No I/O here.

A pair that speaks the same dialect passes bytes through. Every other pair meets in the middle: requests and whole
answers cross as OpenAI's chat objects, with the additions of COMPAT (`thinking_blocks`, `reasoning_content`,
`cache_control`); a stream crosses piece by piece, as calls of `Pieces`, so that no object is made per chunk. N client
and M upstream dialects are N + M files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from routewright.errors import GatewayError
from routewright.types import Call, Deployment, Usage

Chat = dict[str, Any]
"""The body of a chat completion request, or a whole chat completion, as OpenAI writes it."""
Clock = Callable[[], float]
"""Wall clock, seconds since 1970."""
GATEWAY_SEAL = "rw1."
"""Before thinking of any provider's that travels as the encrypted content of a reasoning item of Responses."""
OPENAI_SEAL = "oai1."
"""Before what OpenAI's Responses sealed of a model's thinking, where it travels as a signature; others refuse it."""


class Pieces(Protocol):
    """A client's event stream in the making: each call is a piece of the answer, and returns the bytes that say it.

    Pieces come in the order in which the upstream said them. What a dialect says at its stream's start it may keep
    until there is something to say, so that a failure before it can still be answered elsewhere.
    """

    def begin(self, answer_id: str, usage: Usage | None) -> bytes:
        """`usage`: what the upstream says at the start of the prompt's tokens."""

    def text(self, text: str) -> bytes: ...

    def thinking(self, text: str) -> bytes:
        """Reasoning that the upstream shows."""

    def signature(self, signature: str) -> bytes:
        """The upstream's seal on the thinking before it: it wants both back with the next request."""

    def redacted_thinking(self, data: str) -> bytes:
        """Thinking that only the upstream can read."""

    def refusal(self, text: str) -> bytes:
        """The model's own words for not answering."""

    def tool(self, tool: int, call_id: str, name: str) -> bytes:
        """A tool call begins; `tool` counts them from 0."""

    def arguments(self, tool: int, text: str) -> bytes:
        """More of the JSON of a tool call's arguments."""

    def finish(self, reason: str, stop_sequence: str | None = None) -> bytes:
        """`reason` in OpenAI's words: stop, length, tool_calls, content_filter."""

    def end(self, usage: Usage) -> bytes:
        """All has been said: the last bytes of the stream."""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """The stream has begun and failed: never an invented end."""


class ClientDialect(Protocol):
    """What the gateway says to clients of one dialect."""

    name: str
    ping: bytes
    """Keeps a quiet stream open."""

    def prompt(self, call: Call) -> tuple[str, str]:
        """(what the user asked last, the system's instructions): the text that a router may look at."""

    def shows_thinking(self, call: Call) -> bool:
        """The client wants to see what the model thinks."""

    def as_chat(self, call: Call, *, plain: bool, is_dropped: bool) -> Chat:
        """The request as OpenAI's; `plain`: without what OpenAI itself does not know. May be the call's own body.

        Raises UnsupportedField for what OpenAI's form can't hold; `is_dropped`: leaves it out instead.
        """

    def answer(self, chat: Chat, call: Call, usage: Usage) -> bytes:
        """A whole answer."""

    def pieces(self, call: Call, model: str, clock: Clock) -> Pieces: ...

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """How a stream that has begun says that it failed: never an invented end."""


class Stream(Protocol):
    """An upstream's event stream on its way to a client.

    `feed` takes whole events, up to a blank line, and returns what the client gets of them. After each call the
    attributes say what has been seen; `last` holds the bytes that must not be sent before the answer is recorded.
    """

    finish_seen: bool
    """The answer is whole, so the stream may end here."""
    is_done: bool
    last: bytes

    def feed(self, events: bytes) -> bytes:
        """Raises UpstreamError and its kin for an error event, and for data that is no event of the dialect."""

    def finish(self) -> None:
        """The upstream has said all."""

    def failure(self, error: GatewayError, request_id: str) -> bytes:
        """What the client is told where the stream has begun and failed."""

    def counted_usage(self, call: Call) -> Usage:
        """The upstream's figures, else our own count of what went by, marked as an estimate."""


class Exchange(Protocol):
    """How one upstream dialect serves one endpoint of ours."""

    stream_type: bytes
    """The media type of its streams; empty: sound of any kind, whose bytes go on as they come."""

    @property
    def unframe(self) -> Callable[[bytes], tuple[bytes, bytes]] | None:
        """Where streams come in frames of their own: (whole frames as server-sent events, the rest)."""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        """The whole upstream request; empty where nobody has to be asked.

        Raises UnsupportedField for what can't be carried over.
        """

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        """An answer in one piece, as the client gets it. Raises UpstreamBadResponse, UpstreamError."""

    def open_stream(self, call: Call, deployment: Deployment) -> Stream: ...

    def error_of(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
    ) -> GatewayError:
        """What an upstream's failure means for the caller."""


Spoken = tuple[Mapping[str, Exchange], Mapping[str, bytes]]
"""Per endpoint of ours the exchange that serves it, and per endpoint of the dialect the head of its requests."""
