"""POST to a receiver, by a thread that may wait. Follows no redirect: the credential is for this address alone."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from routewright import __version__
from routewright.record.outbox import Undeliverable

TIMEOUT_S = 10.0
MOST_ANSWER_BYTES = 64 * 1024
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, *range(500, 600)})


class Receiver:
    """One address, by one connection that is kept."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"user-agent": f"routewright/{__version__}", **headers}
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, content_type: str) -> bytes:
        """The answer's body. Raises Undeliverable for a refusal, ConnectionError for what may go well later."""
        for is_second in (False, True):
            kept = self._connection
            connection = kept or self._connect()
            self._connection = None
            try:
                connection.request("POST", self._target, body, {**self._headers, "content-type": content_type})
                answer = connection.getresponse()
                text = answer.read(MOST_ANSWER_BYTES)
            except (OSError, http.client.HTTPException):
                connection.close()
                if kept is None or is_second:
                    raise
                continue  # a kept connection may have been closed at its other end since
            if answer.isclosed() and not answer.will_close:
                self._connection = connection
            else:
                connection.close()
            if answer.status < 300:
                return text
            if answer.status in _WORTH_ANOTHER_TRY:
                raise ConnectionError(f"answered {answer.status}")
            raise Undeliverable(f"refused with {answer.status}")
        raise ConnectionError("no answer")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._is_tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
