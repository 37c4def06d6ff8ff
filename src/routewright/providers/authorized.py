"""A dialect's requests with a token that expires: the line is put in when a request is sent."""

from __future__ import annotations

from collections.abc import Mapping

from routewright.credentials import Credential
from routewright.dialect import Exchange, Stream
from routewright.errors import GatewayError
from routewright.types import Call, Deployment, Usage


class Authorized:
    """An exchange whose requests carry `authorization: Bearer`."""

    def __init__(self, exchange: Exchange, credential: Credential) -> None:
        self._exchange = exchange
        self._credential = credential
        self.stream_type = exchange.stream_type
        self.unframe = exchange.unframe

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        """Raises CredentialMissing, and what the dialect raises."""
        request = self._exchange.request_bytes(call, deployment)
        if not request:
            return request
        line, _, rest = request.partition(b"\r\n")
        return b"%b\r\nauthorization: Bearer %b\r\n%b" % (line, self._credential.bearer(), rest)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        return self._exchange.read_answer(body, call, deployment)

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return self._exchange.open_stream(call, deployment)

    def error_of(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
    ) -> GatewayError:
        if status == 401:
            self._credential.is_doubted = True
        return self._exchange.error_of(status, headers, body, deployment, now_s)
