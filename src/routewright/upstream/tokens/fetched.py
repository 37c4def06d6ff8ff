"""What a fetch gives, and one bounded request to a token's server, without the loop.

Nothing here follows a redirect: a token's server is named by the configuration.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from routewright.credentials import AwsCredentials
from routewright.settings import ProxySettings
from routewright.tunnel import goes_directly
from routewright.types import Secret

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1024 * 1024


class FetchError(Exception):
    """There is no credential, and why, in words for the log."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A credential and the seconds for which it is good."""

    value: Secret | AwsCredentials
    valid_s: float


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is reached."""

    tls: Callable[[], ssl.SSLContext]
    proxy: ProxySettings | None = None


def ask(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, way: Way, timeout_s: float = TIMEOUT_S
) -> tuple[int, dict[str, str], bytes]:
    """(status, headers in lower case, body). Raises OSError, http.client.HTTPException, FetchError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError("the token's server is no http or https address")
    connection: http.client.HTTPConnection
    proxy, port = way.proxy, parts.port
    if parts.scheme == "https" and proxy is not None and not goes_directly(proxy, parts.hostname, port or 443):
        connection = http.client.HTTPSConnection(proxy.host, proxy.port, timeout=timeout_s, context=way.tls())
        said = proxy.authorization
        connection.set_tunnel(
            parts.hostname, port or 443, {} if said is None else {"proxy-authorization": said.reveal()}
        )
    elif parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.hostname, port, timeout=timeout_s, context=way.tls())
    else:
        connection = http.client.HTTPConnection(parts.hostname, port, timeout=timeout_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, body, dict(headers))
        answer = connection.getresponse()
        data = answer.read(MAX_ANSWER_BYTES + 1)
        if len(data) > MAX_ANSWER_BYTES:
            raise FetchError("the token's server sent too much")
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data
    finally:
        connection.close()
