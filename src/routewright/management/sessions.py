"""Who is logged in to the pages: a session begins with a key, and ends with it, with its role, or by logging out."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from routewright.errors import GatewayError
from routewright.grants import Login, Session
from routewright.management.fields import ADMIN, VIEWER
from routewright.management.grants import grants_of
from routewright.management.request import actor_of
from routewright.store.database import Database, now_ms, record_change
from routewright.store.rows import Writer
from routewright.store.schema import sessions

LENGTH_MS = 12 * 3_600_000
"""A working day and a little; nothing prolongs it."""
ROLES = frozenset({ADMIN, VIEWER})
MAX_FAILED = 10
FAILED_S = 60.0
"""From one address; behind a proxy all share one, so the time is short."""
MAX_ADDRESSES = 10_000
MAX_NOTED = 100
"""Failed attempts a minute that the audit keeps, from everywhere; more say nothing new, and fill a disk."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where somebody comes in: the cookie to be, and whence they ask."""

    token_hash: str
    address: str
    request_id: str


class LoginAttempts:
    """Failed attempts to log in, by the address that they came from. Several threads call; each step is atomic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, list[float]] = {}
        self._noted: list[float] = []

    def wait_s(self, address: str) -> float:
        """Seconds until the address may try again; 0: now."""
        now = self._clock()
        recent = [at for at in self._failed.get(address, ()) if now - at < FAILED_S]
        return 0.0 if len(recent) < MAX_FAILED else FAILED_S - (now - recent[-MAX_FAILED])

    def failed(self, address: str) -> None:
        """Count one."""
        now = self._clock()
        if len(self._failed) >= MAX_ADDRESSES:
            self._failed = {each: times for each, times in self._failed.items() if now - times[-1] < FAILED_S}
        recent = [at for at in self._failed.get(address, ()) if now - at < FAILED_S]
        self._failed[address] = [*recent[-MAX_FAILED:], now]

    def may_note(self) -> bool:
        """Whether the audit keeps this one."""
        now = self._clock()
        self._noted = [at for at in self._noted if now - at < FAILED_S]
        self._noted.append(now)
        return len(self._noted) <= MAX_NOTED


def begin(database: Database, attempts: LoginAttempts, master_key: str | None, key_hash: str, door: Door) -> Login:
    """Log in with a key, or say why not. Either is in the audit."""
    wait_s = attempts.wait_s(door.address)
    if wait_s > 0:
        return Login(refusal="attempts", wait_s=int(wait_s) + 1)

    def work(connection: Connection) -> Login:
        found = _holder(connection, master_key, key_hash)
        if found is None or found[0] not in ROLES:
            refusal = "key" if found is None else "role"
            if attempts.may_note():
                who = ("unknown", "") if found is None else (found[1], found[0])
                refused(connection, door, *who, why=refusal, way="key")
            return Login(refusal=refusal)
        role, name, is_master, key_expires_at_ms = found
        return Login(session=opened(connection, door, key_hash, role, name, "key", key_expires_at_ms, is_master))

    login = database.write(work)
    if login.session is None:
        attempts.failed(door.address)
    return login


def opened(
    connection: Connection, door: Door, key_hash: str, role: str, name: str, way: str, until_ms: int | None,
    is_master: bool = False,
) -> Session:  # fmt: skip
    """A session for whoever has shown who they are; in the audit, with the way they showed it. `until_ms`: when at the
    latest what they showed is worth nothing any more."""
    now = now_ms()
    expires = min(now + LENGTH_MS, until_ms or now + LENGTH_MS)
    connection.execute(delete(sessions).where(sessions.c.expires_at_ms < now))
    connection.execute(
        insert(sessions).values(
            token_hash=door.token_hash, key_hash=key_hash, role=role, created_at_ms=now, expires_at_ms=expires
        )
    )
    writer = Writer(connection, name, role, door.request_id)
    writer.tell("logged in", "session", name, after={"address": door.address, "by": way})
    return Session(
        token_hash=door.token_hash, key_hash=key_hash, role=role, name=name, is_master=is_master, expires_at_ms=expires
    )


def refused(connection: Connection, door: Door, name: str, role: str, *, why: str, way: str) -> None:
    """Somebody who is not let in, for the audit."""
    writer = Writer(connection, name, role, door.request_id)
    writer.tell("refused", "session", name, after={"address": door.address, "by": way, "why": why})


def find(connection: Connection, master_key: str | None, token_hash: str) -> Session | None:
    """The session behind a cookie, where its key is still good and its role is still what it was."""
    row = connection.execute(select(sessions).where(sessions.c.token_hash == token_hash)).mappings().first()
    if row is None or row["expires_at_ms"] <= now_ms():
        return None
    found = _holder(connection, master_key, row["key_hash"])
    if found is None or found[0] != row["role"]:
        return None
    role, name, is_master, key_expires_at_ms = found
    expires = min(row["expires_at_ms"], key_expires_at_ms or row["expires_at_ms"])
    return Session(
        token_hash=token_hash, key_hash=row["key_hash"], role=role, name=name, is_master=is_master,
        expires_at_ms=expires,
    )  # fmt: skip


def end(connection: Connection, master_key: str | None, token_hash: str, request_id: str) -> None:
    """Log out, in every worker."""
    session = find(connection, master_key, token_hash)
    if session is not None:
        Writer(connection, session.name, session.role, request_id).tell("logged out", "session", session.name)
    connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash))
    record_change(connection, "session", token_hash, is_kept=False)


def _holder(connection: Connection, master_key: str | None, key_hash: str) -> tuple[str, str, bool, int | None] | None:
    """(role, name, is the master, when the key expires) of a key that is good now; else None."""
    if master_key is not None:
        of_master = hashlib.sha256(master_key.encode()).hexdigest()
        if hmac.compare_digest(of_master, key_hash):
            return ADMIN, "master", True, None
    grant = grants_of(connection, [key_hash])[key_hash]
    if grant is None or grant.refusal is not None:
        return None
    if grant.expires_at_ms is not None and grant.expires_at_ms <= now_ms():
        return None
    try:
        actor = actor_of(connection, key_hash, is_master=False)
    except GatewayError:
        return None
    return actor.role, actor.name, False, grant.expires_at_ms
