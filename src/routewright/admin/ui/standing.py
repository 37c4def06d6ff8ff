"""How every deployment does in all workers of this machine, while somebody looks at it.

Health is each worker's own. A worker that serves the pages leaves a mark; as long as it is fresh, every worker writes
down once a second what it knows, in a small file. Where nobody looks, one `stat` a second is all it costs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from routewright.types import Health

EVERY_S = 1.0
WATCHED_S = 20.0
STALE_S = 10.0
"""A file that old is of a worker that has ended."""


class Told(msgspec.Struct, array_like=True):
    """One deployment in one worker."""

    in_flight: int
    requests: int
    failures: int
    """Of those of the last minute or so."""
    cooldown_s: float
    """Seconds left; 0: none."""
    pace_s: float
    """Of a whole answer, by output token; 0: not known."""


class _File(msgspec.Struct):
    at_s: float
    deployments: dict[str, Told]


@dataclass(slots=True)
class Sum:
    """One deployment in all workers."""

    in_flight: int = 0
    requests: int = 0
    failures: int = 0
    cooldown_s: float = 0.0
    cooling: int = 0
    """Workers that leave it alone."""
    pace_s: float = 0.0
    """The quickest worker's."""


class Standing:
    """This worker's part of it, and the sum of all."""

    def __init__(self, folder: Path, worker: int, workers: int, healths: Callable[[], Mapping[str, Health]]) -> None:
        self._folder = folder
        self._worker = worker
        self._workers = workers
        self._healths = healths
        self._mark = folder / "watched"
        self._looked_s = 0.0

    def on_tick(self, now: float) -> None:
        """Write this worker's part where somebody wants it."""
        if self._workers == 1 or now - self._looked_s < EVERY_S:
            return
        self._looked_s = now
        try:
            if time.time() - self._mark.stat().st_mtime > WATCHED_S:
                return
            path = self._path(self._worker)
            partial = path.with_suffix(".partial")
            partial.write_bytes(msgspec.msgpack.encode(_File(time.time(), self._own())))
            partial.replace(path)
        except OSError:
            return  # nobody has looked yet, or the disk is full: there is nothing to show, and nothing else is harmed

    def all(self) -> dict[str, Sum]:
        """By the deployment's id. Those that nobody has asked yet are left out."""
        parts = [self._own()]
        if self._workers > 1:
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                self._mark.touch()
                os.utime(self._mark)
            parts += [
                part for worker in range(self._workers) if worker != self._worker and (part := self._read(worker))
            ]
        sums: dict[str, Sum] = {}
        for part in parts:
            for name, told in part.items():
                total = sums.setdefault(name, Sum())
                if told.pace_s:
                    total.pace_s = min(total.pace_s or told.pace_s, told.pace_s)
                total.in_flight += told.in_flight
                total.requests += told.requests
                total.failures += told.failures
                total.cooldown_s = max(total.cooldown_s, told.cooldown_s)
                total.cooling += told.cooldown_s > 0
        return sums

    def _own(self) -> dict[str, Told]:
        now = time.monotonic()
        return {
            name: Told(
                health.in_flight, health.requests, health.failures, max(0.0, health.cooldown_until_s - now),
                health.pace_s,
            )
            for name, health in self._healths().items()
        }  # fmt: skip

    def _path(self, worker: int) -> Path:
        return self._folder / f"standing-{worker}.msgpack"

    def _read(self, worker: int) -> dict[str, Told]:
        try:
            found = msgspec.msgpack.decode(self._path(worker).read_bytes(), type=_File)
        except (OSError, msgspec.DecodeError):
            return {}
        return found.deployments if time.time() - found.at_s < STALE_S else {}
