"""A worker's view of who is logged in to the pages: from a cookie to a session that is still good.

Sessions are kept in the store, so they hold in every worker and replica. One that was asked for is remembered; whatever
changes about keys, users, teams or sessions makes a worker forget all of them, and the next request asks again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from routewright.errors import StorageUnavailable
from routewright.grants import Change, Login, Person, Session
from routewright.storage import Storage
from routewright.types import HttpRequest

COOKIE: Final = "routewright_session"
WAY_COOKIE: Final = "routewright_way"
KEPT_S: Final = 60.0
MAX_KEPT: Final = 10_000
MAX_TOKEN: Final = 64
_MEANS_NOTHING: Final = frozenset({"model", "budget", "customer"})
"""Kinds of changes that no session depends on."""


class Sessions:
    """Cookies to sessions."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._kept: dict[str, tuple[float, Session]] = {}
        self._turn = 0

    async def begin(self, key: str, request: HttpRequest) -> tuple[Login, str]:
        """(what came of it, the cookie's value). Raises StorageUnavailable."""
        return await self._begin("session_begin", [hashlib.sha256(key.encode()).hexdigest()], request)

    async def begin_person(self, person: Person, state: str, request: HttpRequest) -> tuple[Login, str]:
        """The same for whoever an identity provider vouches for, by a login's `state`, which serves once."""
        return await self._begin("session_begin_person", [person, state], request)

    async def _begin(self, operation: str, asked: list[Any], request: HttpRequest) -> tuple[Login, str]:
        token = secrets.token_urlsafe(32)
        asked += [_hash(token), request.peer, request.request_id]
        answer = await self._storage.ask(operation, asked, is_repeatable=False)
        return msgspec.msgpack.decode(answer, type=Login), token

    async def refused(self, why: str, request: HttpRequest) -> None:
        """For the audit: somebody came from an identity provider in vain. Raises StorageUnavailable."""
        await self._storage.ask("session_refused", [why, request.peer, request.request_id], is_repeatable=False)

    async def find(self, token: str) -> Session | None:
        """None where nobody is logged in with this cookie. Raises StorageUnavailable."""
        if not token or len(token) > MAX_TOKEN:
            return None
        known = self.known(token)
        if known is not None:
            return known
        token_hash = _hash(token)
        while True:
            turn = self._turn
            try:
                answer = await self._storage.ask("session_find", token_hash)
            except StorageUnavailable:
                remembered = self._remembered(token_hash)
                if remembered is None:
                    raise
                return remembered
            if turn == self._turn:  # else something has changed while the answer was on its way
                break
        found = msgspec.msgpack.decode(answer, type=Session | None)
        if found is None:
            self._kept.pop(token_hash, None)
            return None
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[token_hash] = (time.monotonic(), found)
        return found

    def _remembered(self, token_hash: str) -> Session | None:
        """While the database does not answer: whoever was logged in a while ago may go on looking, as keys go on. The
        master's session is by a key of the file, which no database can block."""
        kept = self._kept.get(token_hash)
        if kept is None or kept[1].expires_at_ms <= time.time() * 1000:
            return None
        return kept[1] if kept[1].is_master or time.monotonic() - kept[0] < self._storage.grace_s else None

    def known(self, token: str) -> Session | None:
        """The same from memory; None where the store has to be asked."""
        kept = self._kept.get(_hash(token))
        if kept is None or time.monotonic() - kept[0] >= KEPT_S or kept[1].expires_at_ms <= time.time() * 1000:
            return None
        return kept[1]

    async def end(self, session: Session, request: HttpRequest) -> None:
        """Log out. When this returns, every worker here knows. Raises StorageUnavailable."""
        self._kept.pop(session.token_hash, None)
        await self._storage.ask("session_end", [session.token_hash, request.request_id])

    async def changed(self, changes: list[Change]) -> None:
        """A key, user or team is no longer as it was, or somebody has logged out."""
        if any(change.kind not in _MEANS_NOTHING for change in changes):
            self._turn += 1
            self._kept.clear()


def token_in(headers: Mapping[bytes, bytes]) -> str:
    """The session's cookie; empty without one."""
    for part in headers.get(b"cookie", b"").split(b";"):
        name, _, value = part.strip().partition(b"=")
        if name == COOKIE.encode():
            return value.decode("ascii", "replace")
    return ""


def csrf_of(token: str) -> str:
    """What a page shows and a write has to repeat: nobody who does not have the cookie can know it."""
    return hmac.new(token.encode(), b"routewright csrf", hashlib.sha256).hexdigest()


def cookie_line(token: str, *, is_secure: bool) -> str:
    """`Set-Cookie`; an empty token takes the cookie away."""
    age = "" if token else "; Max-Age=0"
    return f"{COOKIE}={token}; Path=/ui; HttpOnly; SameSite=Strict{age}{'; Secure' if is_secure else ''}"


def way_in(headers: Mapping[bytes, bytes]) -> bool:
    """Whether this browser was last logged in at an identity provider, and has not logged out."""
    return any(part.strip() == WAY_COOKIE.encode() + b"=1" for part in headers.get(b"cookie", b"").split(b";"))


def way_line(is_elsewhere: bool, *, is_secure: bool) -> str:
    """`Set-Cookie` for it. It says nothing and opens nothing, so it may come along from a link in a mail too."""
    age = "" if is_elsewhere else "; Max-Age=0"
    value = "1" if is_elsewhere else ""
    return f"{WAY_COOKIE}={value}; Path=/ui; HttpOnly; SameSite=Lax{age}{'; Secure' if is_secure else ''}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
