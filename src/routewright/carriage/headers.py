"""Which of a client's headers go on, and which of an upstream's come back, where a request passes through.

Source: RFC 9110, 7.6.1, for what belongs to one connection.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote

from routewright.providers.head import provider_fields
from routewright.types import Deployment

_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade", b"expect", b"host", b"content-length", b"accept-encoding",
     b"content-encoding", b"via", b"forwarded"}
)  # fmt: skip
_CREDENTIALS = frozenset(
    {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"ocp-apim-subscription-key", b"cookie",
     b"x-amz-security-token", b"x-litellm-api-key"}
)  # fmt: skip
_OURS = (b"x-litellm-", b"x-routewright-", b"x-forwarded-", b"x-real-ip", b"x-request-id")
_ALWAYS = re.compile(
    rb"content-type|accept|accept-language|range|if-[a-z-]+|idempotency-key|openai-beta|anthropic-(?:version|beta)"
)
_BACK = (b"content-type", b"content-disposition", b"content-range", b"accept-ranges", b"etag", b"last-modified",
         b"retry-after", b"cache-control")  # fmt: skip


def forwarded_lines(
    headers: Mapping[bytes, bytes],
    *,
    are_all: bool,
    key_header: str | None,
    whose: str,
    without: Collection[bytes] = (),
) -> bytes:
    """A client's headers as lines for the upstream: never a credential, never what belongs to a connection.

    `whose`: names the caller. To the upstream all callers are one, so an idempotency key is made that caller's own;
    else who sends another's would be given the other's answer.
    """
    own = key_header.lower().encode("ascii") if key_header else None
    named = {name.strip().lower() for name in headers.get(b"connection", b"").split(b",")}
    lines = []
    for name, value in headers.items():
        if name in _HOP or name in _CREDENTIALS or name == own or name in named or name in without:
            continue
        if name.startswith(_OURS) or not (are_all or _ALWAYS.fullmatch(name)):
            continue
        if name == b"idempotency-key":
            value = hashlib.sha256(whose.encode() + b"\0" + value).hexdigest().encode("ascii")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def passed_query(query: str) -> str:
    """A request's query without the credential that Google's clients put into it."""
    if "key=" not in query and "%" not in query:
        return query
    return "&".join([pair for pair in query.split("&") if unquote(pair.partition("=")[0]) != "key"])


def answer_lines(headers: Mapping[bytes, bytes], deployment: Deployment) -> bytes:
    """An upstream's headers as lines for the client: what describes the answer, and all else as the provider's."""
    lines = [b"%b: %b\r\n" % (name, headers[name]) for name in _BACK if name in headers]
    return b"%bx-content-type-options: nosniff\r\n%b%b" % (
        b"".join(lines), deployment.reply_fields, provider_fields(headers, deployment),
    )  # fmt: skip
