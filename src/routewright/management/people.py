"""People whom an identity provider vouches for: their user, a key nobody holds, and the session that it begins.

A session is always a key's, so what ends one ends these too: the key blocked or deleted, the user's role changed. This
key is known by its hash alone; the hash is of something that no header can hold, so nobody can ever send it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from routewright.errors import Conflict
from routewright.grants import Login, Person
from routewright.management.fields import ADMIN
from routewright.management.grants import NO_MODELS
from routewright.management.sessions import LENGTH_MS, ROLES, Door, opened, refused
from routewright.store import lineage
from routewright.store.database import Database, now_ms
from routewright.store.rows import Row, Writer, find, get
from routewright.store.schema import keys, sessions, users
from routewright.windows import FOREVER_MS

ACTOR, ACTOR_ROLE = "identity provider", ""
SPENT_MS = 3_600_000
"""A state of a login is of no use to anybody after ten minutes; so long it is known to be spent."""
MAX_NAME = 64


def begin(database: Database, person: Person, state: str, door: Door) -> Login:
    """Log in whoever a provider vouches for, once by each state, or say why not. Either is in the audit."""
    try:
        return database.write(lambda connection: _begin(connection, person, state, door))
    except IntegrityError:  # the same state at the same moment: the other one was first
        return Login(refusal="state")


def _begin(connection: Connection, person: Person, state: str, door: Door) -> Login:
    way = f"provider {person.issuer}"
    if not _spend(connection, state):
        refused(connection, door, person.user_id, "", why="state", way=way)
        return Login(refusal="state")
    writer = Writer(connection, ACTOR, ACTOR_ROLE, door.request_id)
    user = _user(writer, person)
    role = user["user_role"] if user is not None else None
    if user is None or role not in ROLES:
        refused(connection, door, person.user_id, role or "", why="role", way=way)
        return Login(refusal="role")
    key = _key(writer, person, role)
    if key["blocked"]:
        refused(connection, door, person.user_id, role, why="key", way=way)
        return Login(refusal="key")
    lasts_ms = min(LENGTH_MS, person.session_s * 1000)
    until_ms = min(now_ms() + lasts_ms, key["expires_at_ms"] or FOREVER_MS)
    return Login(session=opened(connection, door, key["key_hash"], role, person.user_id, way, until_ms))


def _spend(connection: Connection, state: str) -> bool:
    """False where it was spent before. It is kept as a session that nobody can have, and goes as sessions go."""
    token_hash = hashlib.sha256(b"state\n" + state.encode()).hexdigest()
    if connection.scalar(select(sessions.c.token_hash).where(sessions.c.token_hash == token_hash)) is not None:
        return False
    now = now_ms()
    connection.execute(
        insert(sessions).values(
            token_hash=token_hash, key_hash="", role="", created_at_ms=now, expires_at_ms=now + SPENT_MS
        )
    )
    return True


def _user(writer: Writer, person: Person) -> Row | None:
    """Their row, with what the provider says now; None where neither it nor anybody here gives them a role."""
    row = get(writer.connection, users, person.user_id)
    role = person.role or (row["user_role"] if row is not None else person.default_role)
    if role is None or (row is None and role not in ROLES):
        return None
    told: Row = {"user_role": role}
    if person.name:
        told["user_alias"] = person.name
    if person.email and not find(writer.connection, users, users.c.user_email == person.email):
        told["user_email"] = person.email
    if row is None:
        return writer.add(users, {**told, "user_id": person.user_id, "budget_started_at_ms": now_ms()})
    changes = {name: value for name, value in told.items() if row[name] != value}
    return writer.change(users, row, changes) if changes else row


def _key(writer: Writer, person: Person, role: str) -> Row:
    """Theirs, made when they first come. Who may only look may spend nothing, until an administrator lets them."""
    number = 0
    while lineage.is_former(writer.connection, key_hash := _hash(person, number)):
        number += 1  # that one was rotated, and does not come back
    row = get(writer.connection, keys, key_hash)
    if row is None:
        name = f"login of {person.name or person.user_id}"
        values: dict[str, Any] = {
            "key_hash": key_hash, "key_name": name[:MAX_NAME], "key_type": "default", "blocked": False,
            "is_service_account": False, "user_id": person.user_id, "budget_started_at_ms": now_ms(),
            "models": None if role == ADMIN else [NO_MODELS],
        }  # fmt: skip
        return writer.add(keys, values)
    if row["user_id"] != person.user_id:
        raise Conflict("this login was another user's before; delete its key first")
    return row


def _hash(person: Person, number: int) -> str:
    """The line ends in it keep it from being any key's: none can be sent in a header."""
    return hashlib.sha256(f"login\n{person.issuer}\n{person.subject}\n{number}".encode()).hexdigest()
