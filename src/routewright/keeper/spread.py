"""What was changed, by whomever: told to this machine's workers within a moment of its commit.

SQLite is looked at four times a second. Postgres calls (LISTEN), and is looked at as well, so that a call that got
lost costs two seconds and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection, delete, func, select

from routewright.errors import StorageUnavailable
from routewright.grants import Change
from routewright.storage import Changed
from routewright.store.database import CHANNEL, Database, now_ms
from routewright.store.schema import changes

POLL_S = {False: 0.25, True: 2.0}
TOUCH_S = 1.0
KEPT = 10_000
"""Changes kept in memory for a worker that comes back; one that missed more looks at everything again."""
KEPT_MS = 86_400_000
PRUNE_S = 3600.0
EVERYTHING = [Change("all", "")]
log = logging.getLogger("routewright")


class Spread:
    """Reads `changes` and passes them on."""

    def __init__(self, database: Database, tell: Callable[[Changed], None], touch: Callable[[bool], None]) -> None:
        self._database = database
        self._tell = tell
        self._touch = touch
        self._cursor = 0
        self._known_from = 0
        self._recent: list[tuple[int, Change]] = []
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._touched_s = 0.0
        self._pruned_s = time.monotonic()
        self.is_connected = False
        self.on_begin: list[Callable[[], None]] = []
        """Called once the database has been seen."""

    async def begin(self) -> None:
        """Take note of where the changes stand now."""
        while True:
            try:
                self._cursor = self._known_from = await asyncio.to_thread(self._database.read, _newest)
                break
            except StorageUnavailable:
                await asyncio.sleep(1.0)
        self._mark(True)
        for call in self.on_begin:
            call()
        self.on_begin.clear()

    async def run(self) -> None:
        """Look for ever."""
        if self._database.is_postgres:
            listener = _Listener(self._database, self._wake)
            listener.start()
        poll_s = POLL_S[self._database.is_postgres]
        while True:
            # Not `wait_for`, which forgets that it was cancelled where what it waits for comes in the same turn.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(poll_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.look()
                if time.monotonic() - self._pruned_s > PRUNE_S:
                    self._pruned_s = time.monotonic()
                    await asyncio.to_thread(self._database.write, _prune)
            except StorageUnavailable:
                self._mark(False)
            except Exception:
                log.exception("changes could not be read")
                self._mark(False)

    def wake(self) -> None:
        """Somebody says that there is something new."""
        self._wake.set()

    async def look(self) -> int:
        """Pass on what is new; the number of the newest change. Raises StorageUnavailable."""
        async with self._lock:
            cursor = self._cursor
            found = await asyncio.to_thread(self._database.read, lambda connection: _after(connection, cursor))
            self._mark(True)
            if found:
                self._cursor = found[-1][0]
                self._recent += found
                if len(self._recent) > KEPT:
                    self._known_from = self._recent[-KEPT][0] - 1
                    del self._recent[:-KEPT]
                self._tell(Changed(self._cursor, [change for _, change in found]))
            return self._cursor

    def since(self, seen: int) -> tuple[int, list[Change]]:
        """(newest, changes after `seen`); for one that has seen too little to be told each, that it is everything."""
        if not seen:
            return self._cursor, EVERYTHING
        if seen < self._known_from or seen > self._cursor:
            return self._cursor, EVERYTHING
        return self._cursor, [change for number, change in self._recent if number > seen]

    def _mark(self, is_connected: bool) -> None:
        now = time.monotonic()
        if is_connected != self.is_connected or (is_connected and now - self._touched_s >= TOUCH_S):
            if is_connected != self.is_connected:
                log.log(logging.INFO if is_connected else logging.ERROR,
                        "the database %s", "answers" if is_connected else "does not answer")  # fmt: skip
            self.is_connected = is_connected
            self._touched_s = now
            self._touch(is_connected)


def _newest(connection: Connection) -> int:
    found: int | None = connection.scalar(select(func.max(changes.c.change_id)))
    return found or 0


def _after(connection: Connection, cursor: int) -> list[tuple[int, Change]]:
    wanted = select(changes.c.change_id, changes.c.kind, changes.c.object_id)
    wanted = wanted.where(changes.c.change_id > cursor).order_by(changes.c.change_id)
    return [(number, Change(kind, object_id)) for number, kind, object_id in connection.execute(wanted)]


def _prune(connection: Connection) -> None:
    """Old ones go, save the newest: where all were gone, numbers could be taken for those of another database."""
    newest = _newest(connection)
    connection.execute(delete(changes).where(changes.c.at_ms < now_ms() - KEPT_MS, changes.c.change_id < newest))


class _Listener(threading.Thread):
    """Waits for Postgres to call; a broken connection is replaced."""

    def __init__(self, database: Database, wake: asyncio.Event) -> None:
        super().__init__(name="store-listen", daemon=True)
        self._url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._wake = wake
        self._loop = asyncio.get_running_loop()

    def run(self) -> None:
        # Importing it costs a fifth of a second, which an embedded database need not pay.
        import psycopg

        while not self._loop.is_closed():
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=3) as connection:
                    connection.execute(f"LISTEN {CHANNEL}".encode())
                    self._call()
                    for _ in connection.notifies():
                        self._call()
            except (psycopg.Error, RuntimeError):
                pass  # RuntimeError: the loop has ended in the meantime
            time.sleep(1.0)

    def _call(self) -> None:
        self._loop.call_soon_threadsafe(self._wake.set)
