"""A connection to an egress proxy, until it has become one to somebody else."""

from __future__ import annotations

import asyncio
from typing import cast

from routewright.errors import UpstreamUnavailable
from routewright.tunnel import read_connect_answer


class Tunnel(asyncio.Protocol):
    """Asks as soon as it is connected."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self._answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._answer.done():
            return
        try:
            status = read_connect_answer(self._received)
        except ValueError as error:
            self._answer.set_exception(UpstreamUnavailable(f"the egress proxy can't be understood: {error}"))
        else:
            if status is not None:
                self._answer.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(UpstreamUnavailable("the egress proxy has closed the connection"))

    async def opened(self) -> asyncio.Transport:
        """The way through. Raises UpstreamUnavailable where the proxy gives none."""
        status = await self._answer
        if not 200 <= status < 300:
            raise UpstreamUnavailable(f"the egress proxy gives no connection: {status}")
        return self._transport

    def abort(self) -> None:
        self._transport.abort()
        if self._answer.done() and not self._answer.cancelled():
            self._answer.exception()  # nobody waits for it any more
