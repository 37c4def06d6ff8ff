"""The bridge to the control plane: a request that the front has checked becomes one call of an ASGI application.

Source: ASGI 3.0, HTTP connection scope. The body is whole before the application is called.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from routewright.errors import InternalError, error_body, error_headers
from routewright.server.lines import field_lines
from routewright.types import HttpRequest, Responder

Message = MutableMapping[str, Any]
AsgiApplication = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
log = logging.getLogger("routewright")

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSAFE = re.compile(rb"[\r\n\x00]")
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"server", b"keep-alive"})


class AsgiBridge:
    """Calls an ASGI application, which `load` makes when the first request for it comes."""

    def __init__(self, load: Callable[[], AsgiApplication]) -> None:
        self._load = load
        self._application: AsgiApplication | None = None

    async def handle(self, request: HttpRequest, client: Responder) -> None:
        """Answer; an application that fails gives a 500 of ours."""
        # A task of its own: what runs there asks for the current task.
        await asyncio.get_running_loop().create_task(self._call(request, client))

    async def _call(self, request: HttpRequest, client: Responder) -> None:
        exchange = _Exchange(request, client)
        try:
            if self._application is None:
                self._application = self._load()
            await self._application(_scope(request), exchange.receive, exchange.send)
            if not exchange.is_complete:
                raise RuntimeError("the control plane sent no whole response")
        except Exception:
            log.exception("request %s failed", request.request_id)
            if not exchange.has_begun:
                error = InternalError("internal error; the log has it under this request id")
                fields = [*error_headers(error), ("x-request-id", request.request_id)]
                client.hold_response(500, field_lines(fields), error_body(error))
            client.release()


class _Exchange:
    """One request's `receive` and `send`."""

    def __init__(self, request: HttpRequest, client: Responder) -> None:
        self._request = request
        self._client = client
        self._status = 500
        self._fields = b""
        self._was_received = False
        self._left = asyncio.Event()
        self.has_begun = False
        self.is_complete = False

    async def receive(self) -> Message:
        if not self._was_received:
            self._was_received = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        self._client.on_gone = self._left.set
        if not self._client.is_gone:
            await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._fields = _fields(message.get("headers", ()), self._request.request_id)
            return
        if self.is_complete:
            raise RuntimeError("the control plane sent more after its last byte")
        body, has_more = message.get("body", b""), message.get("more_body", False)
        if not self.has_begun and not has_more:
            self._client.hold_response(self._status, self._fields, body)
        elif not self.has_begun:
            self.has_begun = True
            self._client.begin(self._status, self._fields, body)
            return
        elif has_more:
            self._client.write(body)
            return
        else:
            self._client.hold(body)
        self.is_complete = True
        self._client.release()


def _scope(request: HttpRequest) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET" if request.method == "HEAD" else request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode("ascii"),
        "query_string": request.query.encode("ascii"),
        "root_path": "",
        "headers": [*request.headers.items(), (b"content-length", b"%d" % len(request.body))],
        "client": (request.peer, 0),
        "server": None,
        "state": {"request": request},
    }


def _fields(headers: Any, request_id: str) -> bytes:
    lines = []
    for name, value in headers:
        if name.lower() in _FRAMING:
            continue
        if not _TOKEN.fullmatch(name) or _UNSAFE.search(value):
            raise ValueError("a response header of the control plane is not a header")
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(f"x-request-id: {request_id}\r\n".encode("ascii"))
    return b"".join(lines)
