"""Where an upstream's name leads: looked up beside the event loop, kept, and kept on where nobody can say any more.

A resolver that fails or hangs is like a database that does: what was last known serves on. A name that hangs holds up
those who wait for it and nobody else; the loop's own look-ups share a few threads, and two dead names would take them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

AGAIN_S = 1.0
"""Between two look-ups of a name that can't be found, or whose addresses take no connection."""
log = logging.getLogger("routewright")
Lookup = Callable[[str], tuple[str, ...]]


def look_up(host: str) -> tuple[str, ...]:
    """Its addresses, the most suitable first. Raises OSError. Takes as long as the system's resolver likes."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


class _Name:
    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self.due_s = 0.0
        """When to look it up again."""
        self.lookup: asyncio.Future[None] | None = None
        self.failure: OSError | None = None


class Addresses:
    """What one worker knows of its upstreams' names. Their number is bounded: they come from the configuration."""

    def __init__(self, fresh_s: float, look_up: Lookup = look_up) -> None:
        self.fresh_s = fresh_s
        self._look_up = look_up
        self._names: dict[str, _Name] = {}

    async def of(self, host: str) -> tuple[str, ...]:
        """At least one address, if need be an old one. Raises OSError where none has ever been found."""
        if _is_address(host):
            return (host,)
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = _Name()
        loop = asyncio.get_running_loop()
        if name.lookup is None and loop.time() >= name.due_s:
            name.lookup = self._begin(loop, host, name)
        if not name.addresses and name.lookup is not None:
            await asyncio.shield(name.lookup)
        if name.addresses:
            return name.addresses
        raise OSError(f"{host} can't be looked up") from name.failure

    def answered(self, host: str, address: str) -> None:
        """This one took a connection: it comes first until the name is looked up again."""
        name = self._names.get(host)
        if name is not None and address in name.addresses[1:]:
            name.addresses = (address, *(each for each in name.addresses if each != address))

    def failed(self, host: str) -> None:
        """None of its addresses took a connection: it may have moved."""
        name = self._names.get(host)
        if name is not None:
            name.due_s = min(name.due_s, asyncio.get_running_loop().time() + AGAIN_S)

    def _begin(self, loop: asyncio.AbstractEventLoop, host: str, name: _Name) -> asyncio.Future[None]:
        done: asyncio.Future[None] = loop.create_future()

        def take(addresses: tuple[str, ...], failure: OSError | None) -> None:
            if addresses:
                name.addresses = addresses
            if failure is not None and name.failure is None:
                still = "; where it last was serves on" if name.addresses else ""
                log.warning("upstream %s can't be looked up (%s)%s", host, failure.strerror or failure, still)
            elif failure is None and name.failure is not None:
                log.info("upstream %s is looked up again", host)
            name.failure = failure
            name.due_s = loop.time() + (self.fresh_s if addresses else AGAIN_S)
            name.lookup = None
            done.set_result(None)

        def work() -> None:
            try:
                addresses, failure = self._look_up(host), None
            except OSError as error:
                addresses, failure = (), error
            except UnicodeError:  # no name of a host
                addresses, failure = (), OSError("it is no name of a host")
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(take, addresses, failure)

        # One for each name at most, and none that the end of the process would wait for.
        threading.Thread(target=work, name="resolver", daemon=True).start()
        return done


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
