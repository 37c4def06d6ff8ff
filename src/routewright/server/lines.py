"""The first lines of a response: its status, and its fields."""

from __future__ import annotations

import re

from routewright.errors import InternalError

REASONS = {
    100: "Continue", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 301: "Moved Permanently",
    302: "Found", 303: "See Other", 304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 409: "Conflict", 413: "Content Too Large", 414: "URI Too Long",
    415: "Unsupported Media Type", 417: "Expectation Failed", 422: "Unprocessable Content",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}  # fmt: skip
_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in REASONS.items()}
_UNSAFE_IN_FIELD = re.compile(r"[\r\n\x00]")


def status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status\r\n".encode()


def field_lines(pairs: list[tuple[str, str]]) -> bytes:
    """Header lines of name and value. Raises InternalError for a value that would end its line early."""
    for name, value in pairs:
        if _UNSAFE_IN_FIELD.search(name) or _UNSAFE_IN_FIELD.search(value):
            raise InternalError("a response header would have held a line break")
    return "".join([f"{name}: {value}\r\n" for name, value in pairs]).encode("latin-1", "replace")
