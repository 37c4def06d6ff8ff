"""What the connections of one process share, and what they serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from routewright.deadlines import Deadlines
from routewright.errors import GatewayError
from routewright.server.head import HeadMemo
from routewright.server.protocol import LEAVE_IDLE_S, HttpConnection
from routewright.settings import FrontLimits
from routewright.types import HttpRequest
from routewright.writes import Writes


class Application(Protocol):
    """What the front serves. It learns of a request twice: when its head is whole, and when its body is."""

    def admit(self, request: HttpRequest) -> asyncio.Future[GatewayError | None] | None:
        """Find the endpoint and the caller, and set them. Raises GatewayError for 404, 405, 401 and 403.

        A future: the key has to be asked for; unless it ends with an error, this is to be called again after it.
        """

    async def handle(self, request: HttpRequest, client: HttpConnection) -> None:
        """Answer; every way out ends with `client.release()`."""

    def refused(self, request_id: str, error: GatewayError) -> None:
        """The front answered with this error by itself."""


class Worker:
    """What the connections of one process share."""

    def __init__(
        self,
        application: Application,
        limits: FrontLimits,
        deadlines: Deadlines,
        new_id: Callable[[], str],
        writes: Writes | None = None,
    ) -> None:
        self.application = application
        self.limits = limits
        self.deadlines = deadlines
        self.new_id = new_id
        self.writes = writes or Writes()
        self.heads = HeadMemo(limits)
        self.connections: set[HttpConnection] = set()
        self.per_address: dict[str, int] = {}
        self.bytes_in_flight = 0
        self.is_draining = False
        self.is_leaving = False
        """Each connection ends with the answer to its next request, at the latest `LEAVE_IDLE_S` after it has none."""
        self.max_connections = 1 << 30
        self.most_beside: Callable[[], int] = lambda: 1 << 30
        """Clients that there may be beside what else has descriptors now."""

    def connection(self) -> HttpConnection:
        return HttpConnection(self)

    def busy(self) -> tuple[int, int]:
        """How many clients are connected, and how many of them wait for an answer."""
        return len(self.connections), sum(connection.is_busy for connection in self.connections)

    def drain(self) -> None:
        """Take no new request; what runs goes on, idle connections end."""
        self.is_draining = self.is_leaving = True
        for connection in list(self.connections):
            connection.end_if_idle()

    def leave(self) -> None:
        """Somebody else takes new connections: end those that are here as their clients can bear it best. One that is
        idle may just be about to be used, so it is given a moment for one more request, which is answered."""
        self.is_leaving = True
        for connection in list(self.connections):
            connection.end_if_idle_for(LEAVE_IDLE_S)
