"""Rows of whole numbers that all workers of a machine share, found by the name of what they count.

The rows lie in memory that every worker maps; one lock guards them all, so that a call is counted for each of its
owners or for none. It is a lock on a byte of the file, which the kernel lets go of when its holder dies. Rows come and
go while the gateway runs: a name's row is one of the few that its hash points to, and the one that nobody has used for
longest makes room when these are taken.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
import tempfile

from routewright.errors import Overloaded

ROWS = 32_768
PROBES = 16
IDLE_MS = 120_000
"""A row unused for so long may be given to another name: every window of limits has ended by then, and what a budget
has spent is in the ledger."""

TAG, WINDOW, FIRST, SECOND, TOUCHED, LATEST, ASKED, SINCE, SURE, HELD, FIRST_WORKER = range(11)
"""Cells of a row: whose it is; the start of its window; two counts; when it was last used; the latest window it ever
had; up to when the ledger is asked what was spent, and what was spent since; after how many deaths of workers that was
made sure of; what running requests hold; and from FIRST_WORKER on how much of that each worker's requests do."""

_HEADER = 8
_RELOADS, _MADE, _CONFIG_LOADS, _DEATHS, _SCRAPES, _FLUSHES = range(6)
_CELL_BYTES = 8


class Counters:
    """The shared rows; made before the `workers` processes are forked."""

    def __init__(self, workers: int, rows: int = ROWS) -> None:
        self.run_id = secrets.randbits(63)
        """The same in all workers, another at each start."""
        self.workers = workers
        self.width = FIRST_WORKER + workers
        self._rows = rows
        self._hash_key = secrets.token_bytes(16)
        """Nobody can choose a name whose row is another's."""
        self.fd: int | None = None
        self._wrote = _HEADER + rows * self.width
        """Behind the rows: up to when all that each worker has settled is on disk, in monotonic milliseconds."""
        size = (self._wrote + workers) * _CELL_BYTES
        if workers > 1:
            # A file without a name: nothing is left behind, and forked workers share both pages and the lock.
            with tempfile.TemporaryFile() as file:
                file.truncate(size)
                self.fd = os.dup(file.fileno())
            self.cells = memoryview(mmap.mmap(self.fd, size)).cast("q")
        else:
            self.cells = memoryview(mmap.mmap(-1, size)).cast("q")

    def lock(self) -> None:
        if self.fd is not None:
            fcntl.lockf(self.fd, fcntl.LOCK_EX, 1)

    def unlock(self) -> None:
        if self.fd is not None:
            fcntl.lockf(self.fd, fcntl.LOCK_UN, 1)

    def tag(self, *names: str) -> int:
        """The number that a row is known by, never 0; names are scope and owner, and for money the window."""
        digest = hashlib.blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=8, key=self._hash_key)
        return (int.from_bytes(digest.digest(), "big") >> 1) or 1

    def find(self, tag: int, now_ms: int) -> int:
        """Index of the first cell of a tag's row, made where there is none. Under the lock.

        Raises Overloaded where every row that it could have is in use.
        """
        cells, width = self.cells, self.width
        first = tag % (self._rows - PROBES)
        oldest, oldest_ms = -1, now_ms - IDLE_MS
        for base in range(_HEADER + first * width, _HEADER + (first + PROBES) * width, width):
            here = cells[base]
            if here == tag:
                return base
            if not here:
                self._take(base, tag, now_ms)
                return base
            if cells[base + TOUCHED] < oldest_ms and not cells[base + HELD]:
                oldest, oldest_ms = base, cells[base + TOUCHED]
        if oldest < 0:
            raise Overloaded("too many keys, teams and users are counted at this moment")
        self._take(oldest, tag, now_ms)
        return oldest

    def _take(self, base: int, tag: int, now_ms: int) -> None:
        cells = self.cells
        for at in range(base, base + self.width):
            cells[at] = 0
        cells[base + TOUCHED] = now_ms
        cells[base] = tag
        cells[_MADE] += 1

    def forget_worker(self, worker: int) -> None:
        """A worker that died holds nothing any more: its parallel requests and its reservations ended with it."""
        self.lock()
        try:
            cells, width = self.cells, self.width
            for base in range(_HEADER, self._wrote, width):
                if cells[base]:
                    cells[base + FIRST_WORKER + worker] = 0
                    # Summed anew: it may have died between the two.
                    cells[base + HELD] = sum(cells[base + FIRST_WORKER : base + width])
            cells[_DEATHS] += 1
        finally:
            self.unlock()

    @property
    def deaths(self) -> int:
        """How many workers have died so far: each may have counted what it did not live to write down."""
        return self.cells[_DEATHS]

    def note_written(self, worker: int, now_ms: int) -> None:
        """All that a worker has settled before this monotonic moment is on disk."""
        self.cells[self._wrote + worker] = now_ms

    def all_written(self, since_ms: int) -> bool:
        """Whether every worker has said so of a moment that is no earlier."""
        return min(self.cells[self._wrote : self._wrote + self.workers]) >= since_ms

    @property
    def reloads(self) -> int:
        """How often some worker was told to read the router files again; every worker looks at it."""
        return self.cells[_RELOADS]

    @reloads.setter
    def reloads(self, count: int) -> None:
        self.cells[_RELOADS] = count

    @property
    def config_loads(self) -> int:
        """How often some worker was told to read the configuration again; every worker looks at it."""
        return self.cells[_CONFIG_LOADS]

    @config_loads.setter
    def config_loads(self, count: int) -> None:
        self.cells[_CONFIG_LOADS] = count

    @property
    def scrapes(self) -> int:
        """How often `/metrics` was asked for at some worker; every worker then says what it has counted."""
        return self.cells[_SCRAPES]

    @scrapes.setter
    def scrapes(self, count: int) -> None:
        self.cells[_SCRAPES] = count

    @property
    def flushes(self) -> int:
        """How often some worker was told to forget the answers it keeps; every worker looks at it."""
        return self.cells[_FLUSHES]

    @flushes.setter
    def flushes(self, count: int) -> None:
        self.cells[_FLUSHES] = count
