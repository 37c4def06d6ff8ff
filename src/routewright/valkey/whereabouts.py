"""Where the server is now: at its address, where sentinels say, or at the node of a cluster that our keys are on.

In a cluster all our keys have one hash tag, so that a script may use several of them and one connection is enough;
which node that is, is asked at each connect, as the master's address is asked of the sentinels. So after a failover
nothing has to be noticed but a broken connection, which whoever made it replaces anyway.
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from routewright.settings import ValkeySettings
from routewright.types import Secret
from routewright.valkey.connection import Command, ReplyError, Valkey, ValkeyLost
from routewright.valkey.tls import tls_of

CONNECT_TIMEOUT_S = 2.0
GUIDE_TIMEOUT_S = 0.5
"""For each sentinel or node that is asked the way; the next may know it."""
SLOTS = 16_384
Address = tuple[str, int]


async def connect(settings: ValkeySettings, on_lost: Callable[[], None] | None = None) -> Valkey:
    """A connection that has been let in. Raises ValkeyLost with the reason, which holds no credential."""
    if settings.sentinels:
        address = await _first(settings.sentinels, partial(_master, settings), "sentinel")
    elif settings.cluster:
        address = await _first(settings.cluster, partial(_node_of_our_slot, settings), "node of the cluster")
    else:
        address = settings.host, settings.port
    try:
        made = await _open(settings, address, settings.password, settings.username, CONNECT_TIMEOUT_S, on_lost)
    except (OSError, TimeoutError) as error:
        raise ValkeyLost(_reason(error)) from None
    if settings.sentinels:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                (role,) = await made.ask(("ROLE",))
        except (TimeoutError, ValkeyLost) as error:
            made.close()
            raise ValkeyLost(_reason(error)) from None
        if role[0] != b"master":
            made.close()
            raise ValkeyLost("the sentinels still name a server that is no master any more")
    return made


async def _open(
    settings: ValkeySettings,
    address: Address,
    password: Secret | None,
    username: str | None,
    timeout_s: float,
    on_lost: Callable[[], None] | None = None,
    *,
    is_guide: bool = False,
) -> Valkey:
    """Raises OSError, TimeoutError, ValkeyLost. `is_guide`: it is asked the way only, and has no databases."""
    loop = asyncio.get_running_loop()
    made = Valkey(on_lost)
    try:
        async with asyncio.timeout(timeout_s):
            if settings.path is not None:
                await loop.create_unix_connection(lambda: made, settings.path)
            else:
                tls = tls_of(settings)
                await loop.create_connection(lambda: made, *address, ssl=tls)
            hello: list[Command] = []
            if password is not None:
                hello.append(("AUTH", *((username,) if username else ()), password.reveal()))
            if not is_guide:
                hello.append(("SELECT", settings.db))
            if hello:
                await made.ask(*hello)
    except BaseException:
        made.close()
        raise
    return made


# --- being shown the way ----------------------------------------------------------------------------------------------


async def _first(guides: Iterable[Address], ask: Callable[[Address], Any], what: str) -> Address:
    """What the first of them that knows says."""
    reasons = []
    for guide in guides:
        try:
            found: Address = await ask(guide)
        except (OSError, TimeoutError, ValkeyLost, ReplyError) as error:
            reasons.append(f"{guide[0]}:{guide[1]}: {_reason(error)}")
        else:
            return found
    raise ValkeyLost(f"no {what} knows where the server is ({'; '.join(reasons)})")


async def _asked(settings: ValkeySettings, guide: Address, password: Secret | None, name: str | None, *ask: str) -> Any:
    connection = await _open(settings, guide, password, name, GUIDE_TIMEOUT_S, is_guide=True)
    try:
        async with asyncio.timeout(GUIDE_TIMEOUT_S):
            (reply,) = await connection.ask(ask)
    finally:
        connection.close()
    return reply


async def _master(settings: ValkeySettings, sentinel: Address) -> Address:
    question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.service_name)
    reply = await _asked(settings, sentinel, settings.sentinel_password, None, *question)
    if reply is None:
        raise ValkeyLost(f'it knows no "{settings.service_name}"')
    return _text(reply[0]), int(reply[1])


async def _node_of_our_slot(settings: ValkeySettings, node: Address) -> Address:
    slot = slot_of(settings.namespace)
    for begin, end, holder, *_ in await _asked(
        settings, node, settings.password, settings.username, "CLUSTER", "SLOTS"
    ):
        if begin <= slot <= end:
            # A node that does not know its own name leaves it out.
            return _text(holder[0] or node[0]), int(holder[1])
    raise ValkeyLost(f"nobody holds slot {slot}")


def slot_of(key: str) -> int:
    """The slot of a cluster that a key is on: of what stands in its first braces, else of all of it."""
    tag = key.partition("{")[2].partition("}")
    hashed = tag[0] if tag[0] and tag[1] else key
    return binascii.crc_hqx(hashed.encode("utf-8", "surrogatepass"), 0) % SLOTS


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _reason(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
