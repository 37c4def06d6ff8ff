"""What a worker may ask of the store's process, by name."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from routewright.errors import StorageUnavailable
from routewright.grants import AccessGroups, AuditNote, Person
from routewright.keeper.adjusting import Adjusting
from routewright.keeper.alerts import Alerts
from routewright.keeper.belongings import (
    owned_claim,
    owned_find,
    owned_forget,
    owned_give_up,
    owned_open,
    owned_page,
    owned_put,
    owned_saw,
    owned_settle,
)
from routewright.keeper.glances import Glances
from routewright.management import audit, config_values, people, sessions
from routewright.management.answer import answer
from routewright.management.grants import customers_of, grants_of
from routewright.management.models import stored_models
from routewright.management.seal import Seal
from routewright.storage import Adjustable, ConfigWrite, Crossing, KeeperSettings, ManageRequest
from routewright.store import kept
from routewright.store.database import Database, now_ms
from routewright.store.follower import Follower
from routewright.store.ledger import spent_nusd
from routewright.store.lineage import last_of
from routewright.store.owned import held_nusd

SETTLED_S = 0.1
"""A call that a worker has settled is on disk by then: it is written at the end of the same turn of its loop."""


@dataclass(slots=True)
class Tools:
    """What operations work with."""

    database: Database
    settings: KeeperSettings
    follower: Follower
    alerts: Alerts
    adjusting: Adjusting
    logins: sessions.LoginAttempts = field(default_factory=sessions.LoginAttempts)
    glances: Glances = field(default_factory=Glances)
    seal: Seal = field(init=False)

    def __post_init__(self) -> None:
        self.seal = Seal(self.settings.salt or self.settings.master_key)


@dataclass(frozen=True, slots=True)
class Operation:
    """Runs in a thread. `changes`: its answer waits until every worker here has acted on what it changed."""

    run: Callable[[Tools, msgspec.Raw], Any]
    changes: bool = False
    needs_database: bool = True
    is_patient: bool = False
    """For people who look at pages: keys that are looked up, and requests, go first."""


def _grants(tools: Tools, body: msgspec.Raw) -> Any:
    hashes, groups = msgspec.msgpack.decode(body, type=tuple[list[str], AccessGroups])
    return tools.database.read(lambda connection: grants_of(connection, hashes, groups))


def _customers(tools: Tools, body: msgspec.Raw) -> Any:
    ids = msgspec.msgpack.decode(body, type=list[str] | None)
    return tools.database.read(lambda connection: customers_of(connection, ids))


def _config(tools: Tools, body: msgspec.Raw) -> Any:
    return tools.database.read(config_values.values)


def _config_write(tools: Tools, body: msgspec.Raw) -> Any:
    asked = msgspec.msgpack.decode(body, type=ConfigWrite)
    if not asked.writes:
        return tools.database.read(lambda connection: config_values.work(connection, asked))
    return tools.database.write(lambda connection: config_values.work(connection, asked))


def _models(tools: Tools, body: msgspec.Raw) -> Any:
    return tools.database.read(lambda connection: stored_models(connection, tools.seal))


def _manage(tools: Tools, body: msgspec.Raw) -> Any:
    return answer(tools.database, tools.seal, msgspec.msgpack.decode(body, type=ManageRequest))


def _adjust(tools: Tools, body: msgspec.Raw) -> Any:
    tools.adjusting.take(msgspec.msgpack.decode(body, type=Adjustable))


def _alert(tools: Tools, body: msgspec.Raw) -> Any:
    crossing = msgspec.msgpack.decode(body, type=Crossing)
    if crossing.scope == "key":
        # Counted by the name of its line; who reads the alert knows the key that there is now.
        with contextlib.suppress(StorageUnavailable):
            line = crossing.owner
            key_hash = tools.database.read(lambda connection: last_of(connection, line))
            crossing = msgspec.structs.replace(crossing, owner=key_hash)
    tools.alerts.put(crossing)


def _spent(tools: Tools, body: msgspec.Raw) -> Any:
    questions = msgspec.msgpack.decode(body, type=list[tuple[str, str, int, int]])
    time.sleep(SETTLED_S)
    tools.follower.drain()
    return tools.database.read(
        lambda connection: [
            held_nusd(connection, *question) + spent_nusd(connection, *question) for question in questions
        ]
    )


def _session_begin(tools: Tools, body: msgspec.Raw) -> Any:
    key_hash, token_hash, address, request_id = msgspec.msgpack.decode(body, type=tuple[str, str, str, str])
    door = sessions.Door(token_hash, address, request_id)
    return sessions.begin(tools.database, tools.logins, tools.settings.master_key, key_hash, door)


def _session_begin_person(tools: Tools, body: msgspec.Raw) -> Any:
    person, state, token_hash, address, request_id = msgspec.msgpack.decode(
        body, type=tuple[Person, str, str, str, str]
    )
    return people.begin(tools.database, person, state, sessions.Door(token_hash, address, request_id))


def _session_refused(tools: Tools, body: msgspec.Raw) -> Any:
    why, address, request_id = msgspec.msgpack.decode(body, type=tuple[str, str, str])
    door = sessions.Door("", address, request_id)
    if tools.logins.may_note():
        tools.database.write(
            lambda connection: sessions.refused(connection, door, "unknown", "", why=why, way="provider")
        )


def _session_find(tools: Tools, body: msgspec.Raw) -> Any:
    token_hash = msgspec.msgpack.decode(body, type=str)
    return tools.database.read(lambda connection: sessions.find(connection, tools.settings.master_key, token_hash))


def _session_end(tools: Tools, body: msgspec.Raw) -> Any:
    token_hash, request_id = msgspec.msgpack.decode(body, type=tuple[str, str])
    master_key = tools.settings.master_key
    tools.database.write(lambda connection: sessions.end(connection, master_key, token_hash, request_id))


def _note(tools: Tools, body: msgspec.Raw) -> Any:
    note = msgspec.msgpack.decode(body, type=AuditNote)
    tools.database.write(lambda connection: audit.note(connection, note))


def _glance(tools: Tools, body: msgspec.Raw) -> Any:
    return tools.glances.answer(tools.database, body)


def _keep(tools: Tools, body: msgspec.Raw) -> Any:
    row = msgspec.msgpack.decode(body, type=dict[str, Any])
    tools.database.write(lambda connection: kept.keep(connection, row, now_ms()))


def _kept_find(tools: Tools, body: msgspec.Raw) -> Any:
    object_id, owner = msgspec.msgpack.decode(body, type=tuple[str, str | None])
    found = tools.database.read(lambda connection: kept.find(connection, object_id, owner, now_ms()))
    return None if found is None else found["body"]


def _kept_forget(tools: Tools, body: msgspec.Raw) -> Any:
    object_id, owner = msgspec.msgpack.decode(body, type=tuple[str, str | None])
    return tools.database.write(lambda connection: kept.forget(connection, object_id, owner))


def _kept_chain(tools: Tools, body: msgspec.Raw) -> Any:
    object_id, owner = msgspec.msgpack.decode(body, type=tuple[str, str | None])
    return tools.database.read(lambda connection: kept.chain(connection, object_id, owner, now_ms()))


OPERATIONS: dict[str, Operation] = {
    "adjust": Operation(_adjust, needs_database=False),
    "config": Operation(_config),
    "config_write": Operation(_config_write, changes=True),
    "alert": Operation(_alert, needs_database=False),
    "customers": Operation(_customers),
    "grants": Operation(_grants),
    "keep": Operation(_keep),
    "kept_chain": Operation(_kept_chain),
    "kept_find": Operation(_kept_find),
    "kept_forget": Operation(_kept_forget),
    "models": Operation(_models),
    "note": Operation(_note),
    "owned_claim": Operation(owned_claim),
    "owned_find": Operation(owned_find),
    "owned_forget": Operation(owned_forget),
    "owned_give_up": Operation(owned_give_up),
    "owned_open": Operation(owned_open),
    "owned_page": Operation(owned_page),
    "owned_put": Operation(owned_put),
    "owned_saw": Operation(owned_saw),
    "owned_settle": Operation(owned_settle),
    "manage": Operation(_manage, changes=True),
    "spent": Operation(_spent),
    "session_begin": Operation(_session_begin),
    "session_begin_person": Operation(_session_begin_person, changes=True),
    "session_refused": Operation(_session_refused),
    "session_find": Operation(_session_find),
    "session_end": Operation(_session_end, changes=True),
    "glance": Operation(_glance, is_patient=True),
}
