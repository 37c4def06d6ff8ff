"""The latest choices of routers that learn while serving, kept until somebody says how good they were.

One file a worker, written by it alone and read by all: a ring of entries of one size. An entry holds what an update
needs, and nothing of the prompt but its feature vector. A restart finds what was kept before it.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from routewright.routing.router import Float32

ENTRIES = 8192
"""Per worker; whoever rates an answer does it within so many later ones."""
_NAME = "choices-1-{worker}-{width}.bin"


@dataclass(frozen=True, slots=True)
class Choice:
    """One request that a learning router placed, and that was answered."""

    call: int
    """Digests of the request's two ids, so that no id has to be kept."""
    request: int
    key_hash: str
    """SHA-256 of the caller's key, hex; empty where no key was asked for."""
    route: str
    artefact: str
    model: int
    """Number of the model that answered, among those that the router rates."""
    propensity: float
    """Chance with which it was to be chosen; NaN where another was chosen and failed."""
    at_s: float
    """Wall clock, seconds since 1970."""
    x: Float32


def digest_of(request_id: str) -> int:
    """An id as a number that two ids share by accident only."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest(), "little") or 1


def _entry_type(width: int) -> np.dtype[Any]:
    return np.dtype(
        [("call", "<u8"), ("request", "<u8"), ("at", "<f8"), ("propensity", "<f4"), ("model", "<i4"),
         ("key", "u1", 32), ("has_key", "u1"), ("artefact", "S12"), ("route", "S67"), ("x", "<f4", width)]
    )  # fmt: skip


class Choices:
    """One worker's rings, a file for each width of vector; and the reading of all workers'."""

    def __init__(self, folder: Path, worker: int) -> None:
        self._folder = folder
        self._worker = worker
        self._rings: dict[int, tuple[np.ndarray[Any, Any], int]] = {}

    def keep(self, choice: Choice) -> None:
        """Put a choice in the place of the oldest. Raises OSError where the disk has no room for the file."""
        width = len(choice.x)
        ring, at = self._rings.get(width) or self._open(width)
        entry = ring[at]
        entry["at"] = 0.0  # nobody takes it while it is half written
        entry["call"], entry["request"] = choice.call, choice.request
        entry["propensity"], entry["model"] = choice.propensity, choice.model
        entry["has_key"] = bool(choice.key_hash)
        entry["key"] = np.frombuffer(bytes.fromhex(choice.key_hash or "00" * 32), np.uint8)
        entry["artefact"], entry["route"] = choice.artefact.encode(), choice.route.encode()[:67]
        entry["x"] = choice.x
        entry["at"] = choice.at_s
        self._rings[width] = (ring, (at + 1) % ENTRIES)

    def _open(self, width: int) -> tuple[np.ndarray[Any, Any], int]:
        self._folder.mkdir(parents=True, exist_ok=True)
        kind = _entry_type(width)
        path = self._folder / _NAME.format(worker=self._worker, width=width)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = ENTRIES * kind.itemsize
            if os.fstat(fd).st_size != size:
                # Every byte is written, for a store into a hole of a mapped file would kill us where the disk is full.
                os.ftruncate(fd, 0)
                if os.pwrite(fd, bytes(size), 0) != size:
                    os.ftruncate(fd, 0)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            ring = np.frombuffer(mmap.mmap(fd, size), dtype=kind)
        finally:
            os.close(fd)
        return ring, (int(np.argmax(ring["at"])) + 1) % ENTRIES if ring["at"].any() else 0

    def find(self, request_id: str) -> Choice | None:
        """The latest choice with this id, the caller's or ours, of any worker. May be called from a thread."""
        digest = digest_of(request_id)
        found: Choice | None = None
        for path in self._folder.glob(_NAME.format(worker="*", width="*")):
            choice = _find_in(path, digest)
            if choice is not None and (found is None or choice.at_s > found.at_s):
                found = choice
        return found


def _find_in(path: Path, digest: int) -> Choice | None:
    width = path.stem.rpartition("-")[2]
    kind = _entry_type(int(width)) if width.isdecimal() else None
    if kind is None or path.stat().st_size != ENTRIES * kind.itemsize:
        return None
    ring = np.memmap(path, dtype=kind, mode="r")
    places = np.flatnonzero((ring["call"] == digest) | (ring["request"] == digest))
    if not places.size:
        return None
    place = places[int(np.argmax(ring["at"][places]))]
    entry = ring[place].copy()
    if not entry["at"] or ring[place]["at"] != entry["at"]:
        return None  # it is being overwritten
    return Choice(
        call=int(entry["call"]),
        request=int(entry["request"]),
        key_hash=entry["key"].tobytes().hex() if entry["has_key"] else "",
        route=entry["route"].decode("utf-8", "replace"),
        artefact=entry["artefact"].decode("ascii", "replace"),
        model=int(entry["model"]),
        propensity=float(entry["propensity"]),
        at_s=float(entry["at"]),
        x=entry["x"],
    )
