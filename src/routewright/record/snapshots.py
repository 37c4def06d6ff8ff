"""The counters of all workers of a machine, for the one that `/metrics` happened to reach.

Each worker leaves its counters in a small file once a second; a successor of a worker that died starts from them.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from routewright.record.metrics import Counter, Histogram, Metrics

EVERY_S = 1.0
log = logging.getLogger("routewright")


class _Stored(msgspec.Struct):
    run_id: int
    counters: dict[str, list[tuple[tuple[str, ...], float]]]
    histograms: dict[str, list[tuple[tuple[str, ...], list[float]]]]


class Snapshots:
    """Writes this worker's counters, reads the others'. Does nothing where there is one worker."""

    def __init__(self, folder: Path, worker: int, workers: int, run_id: int, metrics: Metrics) -> None:
        """`run_id` is the same in all workers of one start of the gateway, and in no other."""
        self._folder = folder
        self._worker = worker
        self._workers = workers
        self._metrics = metrics
        self._written_s = 0.0
        self._run_id = run_id
        if workers > 1:
            folder.mkdir(parents=True, exist_ok=True)
            before = self._read(worker)
            if before is not None:
                _fill(metrics, before)

    def _path(self, worker: int) -> Path:
        return self._folder / f"metrics-{worker}.msgpack"

    def on_tick(self, now: float) -> None:
        if self._workers > 1 and now - self._written_s >= EVERY_S:
            self._written_s = now
            self.write()

    def write(self) -> None:
        if self._workers == 1:
            return
        stored = _Stored(
            self._run_id,
            {counter.name: list(counter.series.items()) for counter in self._metrics.counters()},
            {histogram.name: list(histogram.series.items()) for histogram in self._metrics.histograms()},
        )
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

    def all(self) -> list[Metrics]:
        """This worker's counters, and the last that the others have left."""
        found = [self._metrics]
        for worker in range(self._workers):
            stored = self._read(worker) if worker != self._worker else None
            if stored is not None:
                metrics = Metrics()
                _fill(metrics, stored)
                found.append(metrics)
        return found


def _fill(metrics: Metrics, stored: _Stored) -> None:
    families: list[Counter | Histogram] = []
    for counter in metrics.counters():
        counter.series.clear()
        counter.series.update(stored.counters.get(counter.name, ()))
        families.append(counter)
    for histogram in metrics.histograms():
        histogram.series.clear()
        histogram.series.update(stored.histograms.get(histogram.name, ()))
        families.append(histogram)
    metrics.continue_from(families)
