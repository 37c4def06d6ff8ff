"""Follows the journal into the ledger: whatever lies on disk is in the database soon, and once.

Runs in a thread of the store's process, off every request's path. A database that is down, slow or locked delays rows
and loses none, since they stay in the journal; only one batch is ever in memory. A journal file is deleted once all of
it is in the ledger, nobody writes to it any more, and it has been left alone for a while.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import msgspec
from sqlalchemy import Connection, exc

from routewright.errors import StorageUnavailable
from routewright.store.database import Database
from routewright.store.incoming import Incoming, read_record
from routewright.store.ledger import forget_position, insert_rows, read_position, write_position

EVERY_S = 0.5
MOST_WAIT_S = 5.0
BATCH_BYTES = 1024 * 1024
MOST_LINE_BYTES = 1024 * 1024
SHARE = 0.1
"""Of one processor, while requests come faster than rows go in."""
NICE = 19
"""Of its thread."""
MOST_BACKLOG_BYTES = 256 * 1024 * 1024
KEPT_S = 600.0
"""A file that is in the ledger is kept for so long, for whoever looks at it after a crash."""
log = logging.getLogger("routewright")
Rows = Sequence[tuple[int, Incoming]]
"""Each with the place in its file where it ends."""


class Follower:
    """Moves records from the journal files of one folder to the ledger. `drain` may be called from any thread."""

    def __init__(self, database: Database, folder: Path, *, kept_s: float = KEPT_S) -> None:
        self._database = database
        self._folder = folder
        self._kept_s = kept_s
        self._positions: dict[str, int] = {}
        self._backlog = 0
        self._lock = threading.Lock()

    def followed(self) -> dict[str, int]:
        """Bytes of each file that are in the ledger; from any thread."""
        return self._positions.copy()

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set, and then to the end."""
        if sys.platform == "linux":
            # Of this thread alone: requests, and questions to the store, come before rows.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        wait_s = EVERY_S
        is_failing = False
        while True:
            is_last = stop.wait(wait_s)
            started_s = time.thread_time()
            try:
                if is_last:
                    self.drain()
                    wait_s = 0.0
                else:
                    wait_s = self._pause_s(self._step(), time.thread_time() - started_s)
                if is_failing:
                    log.info("the ledger takes records again; none was lost")
                is_failing = False
            except Exception as error:  # whatever a driver or a disk raises, the records are in the journal
                if not is_failing:
                    log.error("the ledger can't be written (%s); records stay in the journal", type(error).__name__)
                    if not isinstance(error, StorageUnavailable):
                        log.exception("the ledger's failure")
                is_failing, wait_s = True, min(MOST_WAIT_S, max(EVERY_S, wait_s * 2))
            if is_last:
                return

    def _pause_s(self, backlog: int, busy_s: float) -> float:
        """While requests come faster than rows go in, take little of the machine from them: the journal can wait. Once
        they rest, or too much has piled up, go on at once."""
        is_growing = backlog > self._backlog
        self._backlog = backlog
        if not backlog:
            return EVERY_S
        return busy_s * (1 / SHARE - 1) if is_growing and backlog < MOST_BACKLOG_BYTES else 0.0

    def _step(self) -> int:
        """Bring in one batch of each file; bytes that are left."""
        with self._lock:
            return sum([self._drain_file(path, most_batches=1)[1] for path in self._files()])

    def drain(self) -> int:
        """Bring in everything that is on disk by now; how many rows that were. Raises StorageUnavailable."""
        with self._lock:
            return sum([self._drain_file(path)[0] for path in self._files()])

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.jsonl"))

    def _drain_file(self, path: Path, most_batches: int = 1 << 30) -> tuple[int, int]:
        """(rows that were new, bytes left to read)."""
        name = path.name
        at = self._positions.get(name)
        if at is None:
            at = self._positions[name] = self._database.read(lambda connection: read_position(connection, name))
        inserted = left = 0
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                while at < size:
                    if not most_batches:
                        left = size - at
                        break
                    most_batches -= 1
                    file.seek(at)
                    data = file.read(min(BATCH_BYTES, size - at))
                    end = data.rfind(b"\n") + 1
                    if not end and at + len(data) < size:
                        data += file.read(MOST_LINE_BYTES)  # one long record
                        end = data.rfind(b"\n") + 1
                    if not end:
                        break  # half a line: of a record that is being written, or that a crash cut short
                    rows = self._rows(name, data[:end], at)
                    at += end
                    inserted += self._insert(name, rows, at)
                    self._positions[name] = at
                if not left:
                    self._delete_if_done(path, file.fileno(), at)
        except FileNotFoundError:
            self._positions.pop(name, None)
        return inserted, left

    @staticmethod
    def _rows(name: str, data: bytes, start: int) -> Rows:
        rows, at = [], start
        for line in BytesIO(data):  # `splitlines` looks at every byte, for ends of other kinds too
            at += len(line)
            try:
                rows.append((at, read_record(line)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
                log.error("journal %s: no record ends at byte %d: %s", name, at, type(error).__name__)
        return rows

    def _insert(self, name: str, rows: Rows, up_to: int) -> int:
        """Rows and place in one transaction. A row that the database will never take is left out, and said so."""
        values = [row for _, row in rows]

        def work(connection: Connection) -> int:
            count = insert_rows(connection, values)
            write_position(connection, name, up_to)
            return count

        try:
            return self._database.write(work)
        except (exc.DataError, exc.IntegrityError) as error:
            if len(rows) > 1:
                half = len(rows) // 2
                return self._insert(name, rows[:half], rows[half - 1][0]) + self._insert(name, rows[half:], up_to)
            log.error("journal %s: the database refuses the record that ends at byte %d: %s", name, rows[0][0],
                      type(error.orig).__name__)  # fmt: skip
            self._database.write(lambda connection: write_position(connection, name, up_to))
            return 0

    def _delete_if_done(self, path: Path, fd: int, at: int) -> None:
        found = os.fstat(fd)
        if time.time() - found.st_mtime < self._kept_s or _is_written_to(fd):
            return
        if at < found.st_size:
            log.warning("journal %s: its last %d bytes are half a record", path.name, found.st_size - at)
        self._database.write(lambda connection: forget_position(connection, path.name))
        path.unlink()
        self._positions.pop(path.name, None)


def _is_written_to(fd: int) -> bool:
    """Its writer holds a lock on it for as long as it lives."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
