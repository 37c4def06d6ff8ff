"""One exchange with a client, as the front and the stations hand it to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from routewright.types.callers import Caller, Endpoint


class HttpRequest:
    """One request as the front took it apart."""

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
