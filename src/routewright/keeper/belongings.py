"""What a worker may ask of the store about objects at providers, and who sees more than its own of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection

from routewright.errors import PermissionDenied
from routewright.management.fields import ADMIN
from routewright.management.request import actor_of
from routewright.store import owned
from routewright.store.database import now_ms

if TYPE_CHECKING:
    from routewright.keeper.operations import Tools

MOST_OPEN = 20


class Asker(msgspec.Struct, frozen=True, array_like=True):
    """Who wants to see something."""

    owner: str | None
    """None: the master, who sees all."""
    key_hash: str


def _sees(connection: Connection, asker: Asker) -> str | None:
    """Whose objects are there for the asker; None: everybody's. An administrator's stored key is as good as the
    master's."""
    if asker.owner is None:
        return None
    try:
        role = actor_of(connection, asker.key_hash, is_master=False).role
    except PermissionDenied:  # a key of the configuration
        return asker.owner
    return None if role == ADMIN else asker.owner


def owned_put(tools: Tools, body: msgspec.Raw) -> Any:
    rows = msgspec.msgpack.decode(body, type=list[dict[str, Any]])
    tools.database.write(lambda connection: owned.put(connection, rows, now_ms()))


def owned_find(tools: Tools, body: msgspec.Raw) -> Any:
    asker, ids = msgspec.msgpack.decode(body, type=tuple[Asker, list[str]])
    return tools.database.read(lambda connection: owned.find(connection, ids, _sees(connection, asker)))


def owned_page(tools: Tools, body: msgspec.Raw) -> Any:
    asker, kind, wishes = msgspec.msgpack.decode(body, type=tuple[Asker, str, dict[str, Any]])
    return tools.database.read(
        lambda connection: owned.page(connection, kind, _sees(connection, asker), now_ms(), **wishes)
    )


def owned_saw(tools: Tools, body: msgspec.Raw) -> Any:
    object_id, seen = msgspec.msgpack.decode(body, type=tuple[str, str])
    tools.database.write(lambda connection: owned.saw(connection, object_id, seen))


def owned_forget(tools: Tools, body: msgspec.Raw) -> Any:
    object_id = msgspec.msgpack.decode(body, type=str)
    tools.database.write(lambda connection: owned.forget(connection, object_id))


def owned_claim(tools: Tools, body: msgspec.Raw) -> Any:
    object_id = msgspec.msgpack.decode(body, type=str)
    return tools.database.write(lambda connection: owned.claim(connection, object_id, now_ms()))


def owned_give_up(tools: Tools, body: msgspec.Raw) -> Any:
    object_id = msgspec.msgpack.decode(body, type=str)
    tools.database.write(lambda connection: owned.give_up(connection, object_id))


def owned_settle(tools: Tools, body: msgspec.Raw) -> Any:
    object_id = msgspec.msgpack.decode(body, type=str)
    tools.database.write(lambda connection: owned.settle(connection, object_id))


def owned_open(tools: Tools, body: msgspec.Raw) -> Any:
    after = msgspec.msgpack.decode(body, type=tuple[int, str])
    return tools.database.read(lambda connection: owned.still_open(connection, after, now_ms(), MOST_OPEN))
