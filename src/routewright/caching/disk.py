"""Answers on this machine's disk, which all of its workers share and a restart does not lose: one SQLite file.

All work is done in one thread beside the event loop, and a request waits for it 50 ms at most: a disk that is slow,
full or broken finds nothing and keeps nothing, and no request fails for it. A file that is no database any more is
begun anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from routewright.caching.entry import Entry
from routewright.caching.similar import Question

T = TypeVar("T")
LIMIT_S: Final = 0.05
BUSY_S: Final = 0.04
"""How long one worker waits for another that writes."""
MAX_WAITING: Final = 128
"""Pieces of work; what comes beyond them is not done."""
REST_S: Final = 2.0
USED_S: Final = 60.0
"""When an answer was used last is written down once a minute: a look-up is no write."""
CHECKED_EVERY: Final = 64
"""Answers that are kept between two looks at how much there is."""
LEFT_SHARE: Final = 0.9
"""Of the bound, what is left once some had to go."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, entry BLOB NOT NULL, size INTEGER NOT NULL, expires_s REAL NOT NULL, used_s REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used_s, size);
"""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode
log = logging.getLogger("routewright")


class Disk:
    """Key -> entry, in a file."""

    keeps_questions = False
    name = "disk"

    def __init__(self, folder: Path, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        """`max_bytes`: of the answers; the file is somewhat larger. `clock`: seconds since 1970."""
        self._path = folder / "answers.sqlite3"
        self._max_bytes = max_bytes
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache-disk")
        self._waiting: set[Future[Any]] = set()
        self._file: sqlite3.Connection | None = None
        self._rests_until_s = 0.0
        self._kept = 0

    # --- on the loop ----------------------------------------------------------------------------------------------

    async def get(self, key: str) -> Entry | None:
        """What is kept there; None where nothing is, or where it can't be had in time."""
        if self._is_full():
            return None
        work = asyncio.ensure_future(self._ask(lambda: self._read(key)))
        done, _ = await asyncio.get_running_loop().create_task(asyncio.wait({work}, timeout=LIMIT_S))
        if not done:
            work.cancel()
            return None
        return work.result()

    def put(self, key: str, entry: Entry, question: Question | None = None) -> None:
        """Without waiting: an answer that is not kept is asked for again."""
        if entry.size <= self._max_bytes and not self._is_full():
            self._begin(lambda: self._write(key, entry))

    async def delete(self, keys: Iterable[str]) -> int:
        """How many there were. Raises TimeoutError, OSError."""
        wanted = [(key,) for key in keys]

        def work(file: sqlite3.Connection) -> int:
            return sum(file.execute("DELETE FROM answers WHERE key = ?", key).rowcount for key in wanted)

        return await self._operate(work)

    async def flush(self) -> None:
        """Forget all answers. Raises TimeoutError, OSError."""
        await self._operate(lambda file: file.execute("DELETE FROM answers").rowcount)

    async def ping(self) -> None:
        """Raises TimeoutError, OSError."""
        await self._operate(lambda file: file.execute("SELECT 1").fetchone())

    def close(self) -> None:
        self._thread.submit(self._end)
        self._thread.shutdown(wait=False)

    def _is_full(self) -> bool:
        return len(self._waiting) >= MAX_WAITING or self._rests_until_s > time.monotonic()

    def _begin(self, work: Callable[[], T]) -> Future[T | None]:
        def run() -> T | None:
            try:
                return work()
            except (sqlite3.Error, OSError, msgspec.MsgspecError, RecursionError) as error:
                self._failed(error)
                return None

        begun = self._thread.submit(run)
        self._waiting.add(begun)
        begun.add_done_callback(self._waiting.discard)
        return begun

    async def _ask(self, work: Callable[[], T]) -> T | None:
        return await asyncio.wrap_future(self._begin(work))

    async def _operate(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """For operators, who may wait and hear of it where it fails."""

        def run() -> T:
            try:
                return work(self._opened())
            except sqlite3.Error as error:
                raise OSError(str(error)) from error

        async with asyncio.timeout(5.0):
            return await asyncio.wrap_future(self._thread.submit(run))

    # --- in the thread --------------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._path.chmod(0o600)
                file.execute("PRAGMA journal_mode = WAL")
                file.execute("PRAGMA synchronous = OFF")  # after a crash of the machine it may be gone: it is a cache
                file.executescript(_SCHEMA)
            except BaseException:
                file.close()
                raise
            self._file = file
        return self._file

    def _read(self, key: str) -> Entry | None:
        row = self._opened().execute("SELECT entry, expires_s, used_s FROM answers WHERE key = ?", (key,)).fetchone()
        now_s = self._clock()
        if row is None or row[1] <= now_s:
            return None
        entry = _decode(row[0])
        if now_s - row[2] > USED_S:
            with contextlib.suppress(sqlite3.OperationalError):  # another worker writes
                self._opened().execute("UPDATE answers SET used_s = ? WHERE key = ?", (now_s, key))
        return entry

    def _write(self, key: str, entry: Entry) -> None:
        file, now_s = self._opened(), self._clock()
        row = (key, _encode(entry), entry.size, entry.expires_at_s, now_s)
        file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", row)
        self._kept += 1
        if self._kept % CHECKED_EVERY == 1 or entry.size > self._max_bytes // CHECKED_EVERY:
            self._bound(file, now_s)

    def _bound(self, file: sqlite3.Connection, now_s: float) -> None:
        """What has expired goes, then what was used longest ago."""
        file.execute("DELETE FROM answers WHERE expires_s <= ?", (now_s,))
        (held,) = file.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()
        if held <= self._max_bytes:
            return
        last: tuple[Any, ...] = ()
        for used_s, size in file.execute("SELECT used_s, size FROM answers ORDER BY used_s").fetchall():
            held, last = held - size, (used_s,)
            if held <= self._max_bytes * LEFT_SHARE:
                break
        file.execute("DELETE FROM answers WHERE used_s <= ?", last)

    def _failed(self, error: Exception) -> None:
        """Nothing is asked of it for a while; what is no database any more is put out of the way."""
        if isinstance(error, msgspec.MsgspecError | RecursionError):
            return
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            return
        log.warning("the cache on disk failed (%s): answers are not kept for %d s", error, REST_S)
        self._rests_until_s = time.monotonic() + REST_S
        self._end()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    Path(f"{self._path}{suffix}").unlink()

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(sqlite3.Error):
                file.close()
