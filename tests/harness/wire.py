"""A client's raw socket: sends exactly the bytes it is given, and reads responses strictly.

Everything any gateway sends to these clients is searched for the canary secrets of the suite (K in RELIABILITY.md).
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CANARY_MARKS = (b"-canary-", b"5d1f0c7a9be2")
"""Every secret of the suite holds both, so that a piece of one is found as well as the whole."""


def secret(name: str) -> str:
    """A credential that must never come out of a gateway."""
    return f"sk-{name}-canary-5d1f0c7a9be2"


def assert_no_secret(data: bytes, where: str) -> None:
    for mark in CANARY_MARKS:
        assert mark not in data, f"a secret in {where}: {data[max(0, data.find(mark) - 300) :][:700]!r}"


PATIENCE_S = 30.0
"""How long a test waits for what is to come, on a machine that does other things too. It is nobody's promise, and costs
nothing where all is well."""
_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ([\x20-\x7e]*)")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\x20-\x7e\x80-\xff\t]*)")


class NotHttpError(AssertionError):
    """What came is no HTTP/1.1 response, or goes on where it should have ended."""


@dataclass(frozen=True)
class Reply:
    """One whole response."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.fields)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The data of each server-sent event, JSON read; comments are left out."""
        return [value if text == "[DONE]" else json.loads(text) for text, value in _event_texts(self.body)]

    @property
    def text(self) -> str:
        """What the assistant said, streamed or not."""
        if self.headers["content-type"].startswith("text/event-stream"):
            deltas = [e["choices"][0]["delta"] for e in self.events if isinstance(e, dict) and e.get("choices")]
            return "".join(delta.get("content") or "" for delta in deltas)
        return self.json["choices"][0]["message"]["content"]


def _event_texts(body: bytes) -> list[tuple[str, str]]:
    texts = []
    for block in body.decode().replace("\r\n", "\n").split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if lines:
            texts.append(("\n".join(lines), "\n".join(lines)))
    return texts


def parse_reply(data: bytes, method: str = "GET", *, at_eof: bool = False) -> tuple[Reply, bytes] | None:
    """Read one response off the front of `data`; None while it is incomplete. 100 Continue counts as a response."""
    assert_no_secret(data, "an answer")
    raw_head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        if data and not b"HTTP/1.1 ".startswith(data[:9]) and not data.startswith(b"HTTP/1.1 "):
            raise NotHttpError(f"not a status line: {data[:200]!r}")
        return None
    first, *lines = raw_head.split(b"\r\n")
    started = _STATUS_LINE.fullmatch(first)
    if started is None:
        raise NotHttpError(f"not a status line: {first!r}")
    fields = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise NotHttpError(f"not a header field: {line!r}")
        fields.append((field[1].decode().lower(), field[2].decode("latin-1")))
    status = int(started[1])
    body = _body(status, dict(fields), rest, method, at_eof)
    if body is None:
        return None
    return Reply(status, tuple(fields), body[0]), body[1]


def _body(
    status: int, headers: Mapping[str, str], rest: bytes, method: str, at_eof: bool
) -> tuple[bytes, bytes] | None:
    if method == "HEAD" or status in (204, 304) or status < 200:
        return b"", rest
    if headers.get("transfer-encoding") == "chunked":
        if "content-length" in headers:
            raise NotHttpError("both Content-Length and Transfer-Encoding")
        return _chunked_body(rest)
    if "content-length" in headers:
        length = int(headers["content-length"])
        return (rest[:length], rest[length:]) if len(rest) >= length else None
    return (rest, b"") if at_eof else None


def _chunked_body(rest: bytes) -> tuple[bytes, bytes] | None:
    pieces = []
    while True:
        line, found, after = rest.partition(b"\r\n")
        if not found:
            return None
        if not re.fullmatch(rb"[0-9A-Fa-f]+", line):
            raise NotHttpError(f"not a chunk size: {line!r}")
        size = int(line, 16)
        if size == 0:
            if len(after) < 2:
                return None
            if after[:2] != b"\r\n":
                raise NotHttpError(f"trailers or rubbish after the last chunk: {after[:100]!r}")
            return b"".join(pieces), after[2:]
        if len(after) < size + 2:
            return None
        if after[size : size + 2] != b"\r\n":
            raise NotHttpError(f"chunk of {size} bytes not followed by CRLF")
        pieces.append(after[:size])
        rest = after[size + 2 :]


def parse_replies(data: bytes, *, at_eof: bool = True) -> tuple[list[Reply], bytes]:
    """Every whole response in `data`, and what is left over."""
    replies = []
    while data:
        parsed = parse_reply(data, at_eof=at_eof)
        if parsed is None:
            break
        reply, data = parsed
        replies.append(reply)
    return replies, data


class Wire:
    """One blocking connection to a gateway."""

    def __init__(self, port: int, *, timeout_s: float = PATIENCE_S, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes:
        """One read; what came is kept for `reply` too. Empty at the end, reset or not."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return data

    def reply(self, method: str = "GET") -> Reply:
        """The next whole response."""
        while True:
            parsed = parse_reply(self.buffer, method)
            if parsed is not None:
                reply, self.buffer = parsed
                return reply
            if not self.receive():
                parsed = parse_reply(self.buffer, method, at_eof=True)
                if parsed is None:
                    raise NotHttpError(f"closed in the middle of a response, after {self.buffer[-300:]!r}")
                reply, self.buffer = parsed
                return reply

    def wait_for(self, text: bytes) -> bytes:
        """Read until this text has come."""
        while text not in self.buffer:
            if not self.receive():
                raise NotHttpError(f"closed before {text!r} came, after {self.buffer[-300:]!r}")
        return self.buffer

    def is_closed(self) -> bool:
        """Has the other side ended the connection, with nothing more to read?"""
        return not self.buffer and not self.receive()

    def stays_silent(self, for_s: float) -> bool:
        """Did nothing come, not even the end, for this long?"""
        before = self.socket.gettimeout()
        self.socket.settimeout(for_s)
        try:
            self.receive()
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)
        return False

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@dataclass
class Exchange:
    """What one of many connections got."""

    received: bytes = b""
    is_closed: bool = False


def exchange_many(
    port: int,
    requests: Sequence[Sequence[bytes]],
    *,
    is_enough: Callable[[bytes], bool] | None = None,
    pause_s: float = 0.02,
    deadline_s: float = 5.0,
    at_once: int = 200,
) -> list[Exchange]:
    """Send each request, given in parts, over a connection of its own, all side by side with a pause between parts.

    A connection is read until the other side ends it, until `is_enough(received)`, or for `deadline_s`.
    """
    results: list[Exchange] = []
    for first in range(0, len(requests), at_once):
        results += _exchange_batch(port, requests[first : first + at_once], is_enough, pause_s, deadline_s)
    return results


def _exchange_batch(
    port: int,
    requests: Sequence[Sequence[bytes]],
    is_enough: Callable[[bytes], bool] | None,
    pause_s: float,
    deadline_s: float,
) -> list[Exchange]:
    exchanges = [Exchange() for _ in requests]
    selector = selectors.DefaultSelector()
    sockets = []
    try:
        for exchange in exchanges:
            opened = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setblocking(False)
            sockets.append(opened)
            selector.register(opened, selectors.EVENT_READ, exchange)
        for place in range(max(len(parts) for parts in requests)):
            if place:
                _read_for(selector, pause_s, None)
            for opened, parts in zip(sockets, requests, strict=True):
                if place < len(parts):
                    _send_all(opened, parts[place])
        _read_for(selector, deadline_s, is_enough)
    finally:
        selector.close()
        for opened in sockets:
            opened.close()
    return exchanges


def _send_all(opened: socket.socket, data: bytes) -> None:
    """Send, unless the other side has already refused and gone."""
    try:
        opened.setblocking(True)
        opened.settimeout(PATIENCE_S)
        opened.sendall(data)
        opened.setblocking(False)
    except (BrokenPipeError, ConnectionResetError):
        opened.setblocking(False)


def _read_for(selector: selectors.BaseSelector, seconds: float, is_enough: Callable[[bytes], bool] | None) -> None:
    """Read whatever comes for this long, or until every connection has ended or has enough."""
    end_s = time.monotonic() + seconds
    for key in list(selector.get_map().values()):
        if is_enough is not None and is_enough(key.data.received):
            selector.unregister(key.fileobj)
    while selector.get_map() and (left_s := end_s - time.monotonic()) > 0:
        for key, _ in selector.select(left_s):
            exchange: Exchange = key.data
            try:
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
            except ConnectionResetError:
                data = b""
            exchange.received += data
            if not data:
                exchange.is_closed = True
            if not data or (is_enough is not None and is_enough(exchange.received)):
                selector.unregister(key.fileobj)


def request_bytes(
    method: str,
    target: str,
    *,
    key: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    host: str = "gateway.test",
) -> bytes:
    """A well-formed request."""
    fields = {"Host": host}
    if key is not None:
        fields["Authorization"] = f"Bearer {key}"
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    fields |= headers or {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + (body or b"")


def assert_error(
    reply: Reply, status: int | Sequence[int], code: str | None = None, *, type: str | None = None, param: Any = ...
) -> None:
    """E in RELIABILITY.md: the one shape, JSON, a request id, and Retry-After where it belongs."""
    statuses = (status,) if isinstance(status, int) else tuple(status)
    assert reply.status in statuses, (reply.status, reply.body[:500])
    headers = reply.headers
    assert headers["content-type"].split(";")[0] == "application/json", headers
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", headers["x-request-id"]), headers
    assert set(reply.json) == {"error"}, reply.body
    error = reply.error
    assert set(error) == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str), error
    assert error["message"], error
    assert isinstance(error["type"], str), error
    assert isinstance(error["code"], str), error
    if reply.status in (429, 503):
        assert headers.get("x-should-retry") == "false" or int(headers["retry-after"]) >= 1, headers
    if code is not None:
        assert error["code"] == code, error
    if type is not None:
        assert error["type"] == type, error
    if param is not ...:
        assert error["param"] == param, error
