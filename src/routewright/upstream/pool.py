"""Connections to one origin, last in first out, and how a new one is made."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from routewright.deadlines import Deadlines
from routewright.errors import UpstreamError, UpstreamFull, UpstreamTimeout, UpstreamUnavailable
from routewright.providers.head import SDK_ORIGIN
from routewright.settings import ProxySettings, UpstreamSettings
from routewright.tunnel import connect_request, goes_directly
from routewright.upstream.addresses import Addresses
from routewright.upstream.connection import UpstreamConnection
from routewright.upstream.proxied import Tunnel
from routewright.upstream.tokens.fetched import Way
from routewright.writes import Writes

Origin = tuple[str, str, int]
Made = TypeVar("Made", bound=asyncio.BaseProtocol)
LOCAL_START_S = 60.0
"""The LiteLLM SDK takes seconds to be loaded, on a busy machine many."""
LOCAL_AGAIN_S = 0.1
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


def tls_context(ssl_verify: bool | str) -> ssl.SSLContext:
    """Verified against the system's store, or a bundle given by path; not at all only where the settings say so."""
    context = ssl.create_default_context(cafile=ssl_verify if isinstance(ssl_verify, str) else None)
    if ssl_verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Descriptors:
    """Those that connections to all upstreams have together."""

    __slots__ = ("in_use", "most")

    def __init__(self) -> None:
        self.in_use = 0
        self.most: Callable[[], int] = lambda: 1 << 30
        """How many they may have now."""


class Pool:
    """All connections to one origin."""

    def __init__(
        self,
        origin: Origin,
        settings: UpstreamSettings,
        deadlines: Deadlines,
        writes: Writes,
        tls: Callable[[], ssl.SSLContext],
        addresses: Addresses,
        local_path: Path | None = None,
        descriptors: Descriptors | None = None,
        give_up_idle: Callable[[], bool] = lambda: False,
    ) -> None:
        """`give_up_idle`: close a connection that nobody uses, to whatever upstream; False where there is none."""
        self._local_path = local_path
        self._descriptors = descriptors or Descriptors()
        self._give_up_idle = give_up_idle
        self.origin = origin
        self._settings = settings
        self._deadlines = deadlines
        self._writes = writes
        self._tls = tls
        self._addresses = addresses
        self._idle: list[UpstreamConnection] = []
        self._open = 0

    def take(self) -> UpstreamConnection | None:
        """The connection used last, if one is idle and young enough."""
        oldest = self._deadlines.now - self._settings.keepalive_s
        while self._idle:
            connection = self._idle.pop()
            if connection.is_closed:
                continue
            if connection.idle_since_s < oldest:
                connection.close()
                continue
            return connection
        return None

    async def connect(self) -> UpstreamConnection:
        """A new connection. Raises UpstreamFull, UpstreamUnavailable, UpstreamTimeout, UpstreamError where TLS fails.

        Needs a task of its own, which `wait_for` asks for and the straight line runs without.
        """
        self.check_room()
        self._count(1)
        try:
            return await self._connect()
        except BaseException:
            self._count(-1)
            raise

    def check_room(self) -> None:
        """Raises UpstreamFull where no further connection may be made now."""
        if self._open >= self._settings.max_connections_per_origin:
            raise UpstreamFull("all connections to this upstream are in use")
        descriptors = self._descriptors
        if descriptors.in_use >= descriptors.most() and not self._give_up_idle():
            raise UpstreamFull("this server has no room for another connection to an upstream")

    async def _connect(self) -> UpstreamConnection:
        scheme, host, port = self.origin
        loop = asyncio.get_running_loop()
        if scheme == SDK_ORIGIN[0]:
            return await self._connect_locally(loop)
        proxy = self._settings.proxy
        if scheme != "https" or (proxy is not None and goes_directly(proxy, host, port)):
            proxy = None
        name = host if proxy is None else proxy.host
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                if proxy is not None:
                    return await self._connect_by_proxy(loop, proxy)
                return await self._reach(loop, host, port, self._made, self._tls() if scheme == "https" else None)
        except TimeoutError as error:
            self._addresses.failed(name)
            raise UpstreamTimeout("the upstream did not take a connection in time") from error
        except ssl.SSLError as error:
            raise UpstreamError("the upstream's TLS certificate or handshake was refused") from error
        except OSError as error:
            if error.errno in _NO_DESCRIPTOR:
                raise UpstreamFull("this server has no room for another connection to an upstream") from error
            self._addresses.failed(name)
            raise UpstreamUnavailable("the upstream takes no connections") from error

    async def _reach(
        self, loop: asyncio.AbstractEventLoop, host: str, port: int, made: Callable[[], Made],
        tls: ssl.SSLContext | None,
    ) -> Made:  # fmt: skip
        """The first of the name's addresses that takes a connection; each gets its share of the time that is left."""
        addresses = await self._addresses.of(host)
        end_s = loop.time() + self._settings.connect_timeout_s
        for place, address in enumerate(addresses):
            is_last = place == len(addresses) - 1
            share_s = None if is_last else (end_s - loop.time()) / (len(addresses) - place)
            try:
                async with asyncio.timeout(share_s):
                    _, connection = await loop.create_connection(
                        made, address, port, ssl=tls, server_hostname=host if tls is not None else None
                    )
            except (TimeoutError, OSError) as error:
                if isinstance(error, ssl.SSLError):
                    raise  # whoever answers there is not the upstream
                if is_last:
                    raise
            else:
                self._addresses.answered(host, address)
                return connection
        raise AssertionError("a name has at least one address")

    async def _connect_by_proxy(self, loop: asyncio.AbstractEventLoop, proxy: ProxySettings) -> UpstreamConnection:
        """Through a proxy, which sees the upstream's name and what is sealed from it by TLS."""
        _, host, port = self.origin
        tunnel = await self._reach(
            loop, proxy.host, proxy.port, lambda: Tunnel(connect_request(proxy, host, port)), None
        )
        is_whole = False

        def forget(connection: UpstreamConnection) -> None:
            if is_whole:  # until then it is counted by whoever waits for it
                self._forget(connection)

        connection = UpstreamConnection(self._settings.max_head_bytes, self._writes, self._put_back, forget)
        try:
            plain = await tunnel.opened()
            secured = await loop.start_tls(plain, connection, self._tls(), server_hostname=host)
        except BaseException:
            tunnel.abort()
            raise
        if secured is None:
            raise ConnectionResetError("the tunnel was closed")
        is_whole = True
        connection.connection_made(secured)
        return connection

    def _made(self) -> UpstreamConnection:
        return UpstreamConnection(self._settings.max_head_bytes, self._writes, self._put_back, self._forget)

    async def _connect_locally(self, loop: asyncio.AbstractEventLoop) -> UpstreamConnection:
        """To the process beside the gateway, which may still be starting."""
        end_s = loop.time() + LOCAL_START_S
        while True:
            try:
                _, connection = await loop.create_unix_connection(self._made, str(self._local_path))
            except OSError as error:
                if loop.time() >= end_s:
                    raise UpstreamUnavailable("the LiteLLM SDK's process takes no connections") from error
                await asyncio.sleep(LOCAL_AGAIN_S)
            else:
                return connection

    def _put_back(self, connection: UpstreamConnection) -> None:
        connection.idle_since_s = self._deadlines.now
        self._idle.append(connection)

    def _forget(self, connection: UpstreamConnection) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        self._open += change
        self._descriptors.in_use += change

    def keep_for_others(self, made: asyncio.Task[UpstreamConnection]) -> None:
        """A connection that nobody waits for any more; why there is none interests nobody either."""
        if not made.cancelled() and made.exception() is None and not made.result().is_closed:
            self._put_back(made.result())

    def close_one(self) -> bool:
        """Close the connection that was idle for the longest; False: none is."""
        while self._idle:
            connection = self._idle.pop(0)
            if not connection.is_closed:
                connection.close()
                return True
        return False

    def close_old(self, now: float) -> None:
        """Close idle connections past their time; called now and then."""
        oldest = now - self._settings.keepalive_s
        young: list[UpstreamConnection] = []
        for connection in self._idle:
            if connection.is_closed:
                continue
            if connection.idle_since_s < oldest:
                connection.close()
            else:
                young.append(connection)
        self._idle[:] = young

    def configure(self, settings: UpstreamSettings) -> None:
        self._settings = settings

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()


class Pools:
    """A pool per origin. Origins come from the configuration alone, so their number is bounded."""

    def __init__(self, settings: UpstreamSettings, deadlines: Deadlines, writes: Writes) -> None:
        self._settings = settings
        self._deadlines = deadlines
        self._writes = writes
        self._pools: dict[Origin, Pool] = {}
        self._addresses = Addresses(settings.name_fresh_s)
        self.local_path: Path | None = None
        """Socket of the process that holds the LiteLLM SDK."""
        self.descriptors = Descriptors()
        self._tls_context: ssl.SSLContext | None = None
        self._swept_s = 0.0
        deadlines.every_tick(self._sweep)

    def of(self, origin: Origin) -> Pool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(
                origin, self._settings, self._deadlines, self._writes, self.tls, self._addresses, self.local_path,
                self.descriptors, self._give_up_idle,
            )  # fmt: skip
        return pool

    def _give_up_idle(self) -> bool:
        return any(pool.close_one() for pool in self._pools.values())

    def tls(self) -> ssl.SSLContext:
        if self._tls_context is None:
            self._tls_context = tls_context(self._settings.ssl_verify)
        return self._tls_context

    def way(self) -> Way:
        """For what is asked beside the requests."""
        return Way(self.tls, self._settings.proxy)

    def configure(self, settings: UpstreamSettings) -> None:
        """Go by these settings from now on; how TLS is verified is settled at the start."""
        self._settings = settings
        self._addresses.fresh_s = settings.name_fresh_s
        for pool in self._pools.values():
            pool.configure(settings)

    def _sweep(self, now: float) -> None:
        if now - self._swept_s >= 5.0:
            self._swept_s = now
            for pool in self._pools.values():
                pool.close_old(now)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
