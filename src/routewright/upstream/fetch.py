"""One small request to a configured address that is no deployment, over the same pools; bounded in time and size."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from routewright.errors import GatewayError, UpstreamBadResponse
from routewright.upstream.pool import Pools

MAX_BYTES = 8 * 1024 * 1024


class _Whole:
    """Reads one response."""

    def __init__(self) -> None:
        self.done: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self.is_stale = False
        self._status = 0
        self._body: list[bytes] = []
        self._size = 0

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._status = status

    def on_data(self, data: bytes, is_last: bool) -> None:
        self._body.append(data)
        self._size += len(data)
        if self.done.done():
            return
        if self._size > MAX_BYTES:
            self.done.set_exception(UpstreamBadResponse("the answer is too large"))
        elif is_last:
            self.done.set_result((self._status, b"".join(self._body)))

    def on_failure(self, error: GatewayError, is_stale: bool) -> None:
        self.is_stale = is_stale
        if not self.done.done():
            self.done.set_exception(error)


async def post(
    pools: Pools, address: str, headers: Mapping[str, str], body: bytes, timeout_s: float
) -> tuple[int, bytes]:
    """(status, body). Raises GatewayError, or TimeoutError. Has to run in a task of its own."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    shown = f"[{host}]" if ":" in host else host
    lines = [f"POST {parts.path or '/'} HTTP/1.1", f"host: {shown}:{port}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
    pool = pools.of((parts.scheme, host, port))
    async with asyncio.timeout(timeout_s):
        connection = pool.take()
        while True:
            is_kept = connection is not None
            if connection is None:
                connection = await pool.connect()
            whole = _Whole()
            connection.send(request, whole)
            try:
                return await whole.done
            except GatewayError:
                if not (is_kept and whole.is_stale):
                    raise
                connection = None
            finally:
                if connection is not None and connection.sink is whole:
                    connection.abandon()
