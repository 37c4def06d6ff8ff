"""The counters of all workers of a machine, for the one that `/metrics` happened to reach.

A scrape asks every worker for its counters as they are; each leaves them in a small file at its next tick. Between
scrapes it does so every few seconds, so that a successor of a worker that died goes on from them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from routewright.record.families import Gauge
from routewright.record.metrics import Metrics, Raw

EVERY_S = 5.0
log = logging.getLogger("routewright")


class _Stored(msgspec.Struct):
    run_id: int
    scrape: int
    counted: Raw


class _Head(msgspec.Struct):
    """What of it is read to see whether it is worth more."""

    run_id: int
    scrape: int


class Snapshots:
    """Writes this worker's counters, reads the others'. Does nothing where there is one worker."""

    def __init__(
        self,
        folder: Path,
        worker: int,
        workers: range,
        run_id: int,
        metrics: Metrics,
        scrapes: Callable[[], int] = lambda: 0,
    ) -> None:
        """`worker` and `workers` are slots, which no two processes have at one time. `run_id` is the same in all
        workers of one start of the gateway, and in no other. `scrapes`: how often somebody has asked for everybody's
        counters."""
        self._folder = folder
        self._worker = worker
        self._workers = workers
        self._metrics = metrics
        self._written_s = 0.0
        self._run_id = run_id
        self._scrapes = scrapes
        self._scrape = -1
        if len(workers) > 1:
            folder.mkdir(parents=True, exist_ok=True)
            before = self._read(worker)
            if before is not None:
                metrics.absorb(before.counted)

    def _path(self, worker: int) -> Path:
        return self._folder / f"metrics-{worker}.msgpack"

    def on_tick(self, now: float) -> None:
        if len(self._workers) > 1 and (now - self._written_s >= EVERY_S or self._scrapes() != self._scrape):
            self._written_s = now
            self.write()

    def write(self) -> None:
        if len(self._workers) == 1:
            return
        self._scrape = self._scrapes()
        stored = _Stored(self._run_id, self._scrape, self._metrics.raw())
        path = self._path(self._worker)
        partial = path.with_suffix(".partial")
        try:
            partial.write_bytes(msgspec.msgpack.encode(stored))
            partial.replace(path)
        except OSError as error:
            log.error("metrics of this worker can't be shared: %s", error.strerror)

    def _read(self, worker: int) -> _Stored | None:
        try:
            stored = msgspec.msgpack.decode(self._path(worker).read_bytes(), type=_Stored)
        except (OSError, msgspec.DecodeError):
            return None
        return stored if stored.run_id == self._run_id else None

    def are_fresh(self, scrape: int) -> bool:
        """Whether every other worker has answered the scrape of this number."""
        return all(self._scrape_of(worker) >= scrape for worker in self._workers if worker != self._worker)

    def _scrape_of(self, worker: int) -> int:
        try:
            head = msgspec.msgpack.decode(self._path(worker).read_bytes(), type=_Head)
        except (OSError, msgspec.DecodeError):
            return -1
        return head.scrape if head.run_id == self._run_id else -1

    def all(self) -> tuple[Metrics, list[Gauge]]:
        """This worker's counters and the last that the others have left, added up; and all gauges."""
        whole = Metrics()
        gauges = {gauge.name: gauge for gauge in self._metrics.gauges()} if self._metrics.gauges is not None else {}
        whole.absorb(self._metrics.raw())
        for worker in self._workers:
            stored = self._read(worker) if worker != self._worker else None
            if stored is None:
                continue
            whole.absorb(stored.counted)
            for name, series in stored.counted.gauges.items():
                if name in gauges:
                    for labels, value in series:
                        gauges[name].set(labels, value)
        return whole, list(gauges.values())
