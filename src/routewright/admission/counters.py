"""Rows of whole numbers that all workers of a machine share, found by the name of what they count.

A gateway that hands over to its successor shares them with it, so that both count as one while the last calls of the
old one run. Each has slots of its own for its workers, by which one can tell whose what is held is.

The rows lie in memory that every worker maps; one lock guards them all, so that a call is counted for each of its
owners or for none. It is a lock on a byte of the file, which the kernel lets go of when its holder dies. Rows come and
go while the gateway runs: a name's row is one of the few that its hash points to, and the one that nobody has used for
longest makes room when these are taken.
"""

from __future__ import annotations

import contextlib
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

GENERATIONS = 4
"""Gateways that may share the rows: the one that serves, and those before it whose last streams still run."""

LEASE_CELLS = 14
"""Of each row, behind those of the workers: what `leases` keeps there."""

_HEADER = 16
_RELOADS, _MADE, _CONFIG_LOADS, _DEATHS, _SCRAPES, _FLUSHES, _REPLICAS, _HEARD, _LAYOUT, _NAME, _HASH_KEY = range(11)
_CELL_BYTES = 8
_ALL_WRITTEN = 1 << 62
"""Of a slot that nobody has: nothing will ever be written by it."""


class Counters:
    """The shared rows; made before the `workers` processes are forked."""

    def __init__(self, workers: int, rows: int = ROWS, *, inherited: int | None = None) -> None:
        """`inherited`: descriptor of the rows of the gateway that hands over to this one. Raises ValueError where they
        are laid out in another way, or where too many gateways still use them."""
        self.run_id = secrets.randbits(63)
        """The same in all workers, another at each start."""
        self.workers = workers
        self._slots = workers * GENERATIONS
        self.lease = FIRST_WORKER + self._slots
        """Where the cells of leases begin."""
        self.width = self.lease + LEASE_CELLS
        self._rows = rows
        self.name_fd: int | None = None
        """Tells that `name` is in use, for as long as it is open in any process."""
        self.ended: tuple[str, ...] = ()
        """Names of earlier starts in this data folder."""
        self._wrote = _HEADER + rows * self.width
        """Behind the rows: up to when all that each worker has settled is on disk, in monotonic milliseconds."""
        size = (self._wrote + self._slots) * _CELL_BYTES
        # A file without a name: nothing is left behind, and forked workers share both pages and the lock.
        self.fd = _unnamed_file(size) if inherited is None else inherited
        if os.fstat(self.fd).st_size != size:
            raise ValueError("the rows have another size")
        self.cells = memoryview(mmap.mmap(self.fd, size)).cast("q")
        layout = rows << 20 | self._slots
        if inherited is None:
            self.cells[_LAYOUT], self.cells[_NAME] = layout, secrets.randbits(63)
            for at in (_HASH_KEY, _HASH_KEY + 1):
                self.cells[at] = secrets.randbits(63)
            for slot in range(self._slots):
                self.cells[self._wrote + slot] = _ALL_WRITTEN
        elif self.cells[_LAYOUT] != layout:
            raise ValueError("the rows have another layout")
        self._hash_key = bytes(self.cells[_HASH_KEY : _HASH_KEY + 2])
        """Nobody can choose a name whose row is another's."""
        self.are_shared = workers > 1 or inherited is not None
        """Another process may count here too; one that is alone needs no lock."""
        self._generation = self._take_generation()

    def _take_generation(self) -> int:
        """Slots that no living gateway has; held by a lock that ends with this process."""
        for generation in range(GENERATIONS):
            with contextlib.suppress(OSError):
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 + generation)
                for worker in range(self.workers):
                    if self.cells[self._wrote + generation * self.workers + worker] != _ALL_WRITTEN:
                        self._forget_slot(generation * self.workers + worker)
                return generation
        raise ValueError(f"{GENERATIONS} gateways share the rows already: their last streams still run")

    def slot(self, worker: int) -> int:
        """Where a worker of this gateway is counted, from 0 on."""
        return self._generation * self.workers + worker

    def slots(self) -> range:
        """Of the workers of this gateway."""
        return range(self.slot(0), self.slot(0) + self.workers)

    def share(self) -> None:
        """From now on another process counts here too."""
        self.are_shared = True

    @property
    def name(self) -> str:
        """What other machines know these rows by, whichever process counts in them."""
        return f"{self.cells[_NAME]:016x}"

    def lock(self) -> None:
        if self.are_shared:
            fcntl.lockf(self.fd, fcntl.LOCK_EX, 1)

    def unlock(self) -> None:
        if self.are_shared:
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
        slot = self.slot(worker)
        self._forget_slot(slot)
        self.note_written(slot, 0)  # its successor is about to begin

    def _forget_slot(self, slot: int) -> None:
        self.lock()
        try:
            cells, width = self.cells, self.width
            for base in range(_HEADER, self._wrote, width):
                if cells[base]:
                    cells[base + FIRST_WORKER + slot] = 0
                    # Summed anew: it may have died between the two.
                    cells[base + HELD] = sum(cells[base + FIRST_WORKER : base + self.lease])
            cells[self._wrote + slot] = _ALL_WRITTEN
            cells[_DEATHS] += 1
        finally:
            self.unlock()

    @property
    def deaths(self) -> int:
        """How many workers have died so far: each may have counted what it did not live to write down."""
        return self.cells[_DEATHS]

    def note_written(self, slot: int, now_ms: int) -> None:
        """All that a worker has settled before this monotonic moment is on disk."""
        self.cells[self._wrote + slot] = now_ms

    def note_end(self, slot: int) -> None:
        """A worker has ended, and all it settled is on disk."""
        self.cells[self._wrote + slot] = _ALL_WRITTEN

    def all_written(self, since_ms: int) -> bool:
        """Whether every worker has said so of a moment that is no earlier."""
        return min(self.cells[self._wrote : self._wrote + self._slots]) >= since_ms

    def look_for_dead(self) -> None:
        """Clear the slots of gateways before this one that have ended without a word."""
        for generation in range(GENERATIONS):
            slots = range(generation * self.workers, (generation + 1) * self.workers)
            if generation == self._generation or all(self.cells[self._wrote + s] == _ALL_WRITTEN for s in slots):
                continue
            with contextlib.suppress(OSError):
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 + generation)
                for slot in slots:
                    self._forget_slot(slot)
                fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, 1 + generation)

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

    @property
    def replicas(self) -> int:
        """Machines that share limits, this one among them, as last known."""
        return max(1, self.cells[_REPLICAS])

    @replicas.setter
    def replicas(self, count: int) -> None:
        self.cells[_REPLICAS] = count

    @property
    def heard_ms(self) -> int:
        """When some worker last had an answer of the server that limits are leased from; 0 once one finds it away."""
        return self.cells[_HEARD]

    @heard_ms.setter
    def heard_ms(self, mono_ms: int) -> None:
        self.cells[_HEARD] = mono_ms


def _unnamed_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("routewright-counters", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, size)
    return fd
