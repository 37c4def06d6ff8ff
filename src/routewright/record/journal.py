"""An append-only file of one JSON line per request, on disk before the client has the end of its answer.

All records of one turn of the event loop go out in one write; the answers that belong to them are released right
after it. A file is synced to the disk once a second, by a thread. A line cut short by a crash is the last of its file
and is skipped by the reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from routewright.record.tracing import TraceRecord
from routewright.types import Notes, Texts

ROTATE_BYTES = 64 * 1024 * 1024
MAX_UNWRITTEN_BYTES = 64 * 1024 * 1024
SYNC_S = 1.0
RETRY_S = 1.0
log = logging.getLogger("routewright")


class DecisionRecord(msgspec.Struct, omit_defaults=True):
    """Why a route sent the request where it did."""

    route: str
    chosen: str
    artefact: str = ""
    confidence: float = 0.0
    margin: float = 0.0
    reason: str = ""
    microseconds: float = 0.0
    baseline_model: str = ""
    """The candidate that the router rated best, whatever it costs."""
    baseline_nusd: int = 0
    """What the same tokens would have cost there."""
    stage: str = ""
    """Where several calls answer one request: what this one was for."""
    part_of: str = ""
    """`call_id` of the request that this call was a part of; empty in the request's own record."""
    verdict: str = ""
    """Why this answer was not taken."""
    logprob: float | None = None
    """Mean log-probability of the answer's tokens, where a cascade asked for it."""
    propensity: float | None = None
    """Chance with which this model was to be chosen, where the router explores."""
    rated: list[tuple[str, float, int]] = []
    """The first few candidates in their order: model, expected score, expected cost in nano-dollars."""


class Record(msgspec.Struct):
    """One request, however it ended. `call_id` is its exactly-once key; no caller can choose it."""

    call_id: str
    request_id: str
    started_at: float
    """Wall clock, seconds since 1970."""
    ended_at_ms: int
    """Wall clock, milliseconds since 1970."""
    endpoint: str
    key_hash: str
    key_alias: str | None
    model_asked: str
    model: str | None
    deployment: str | None
    provider: str | None
    status: int
    error_code: str | None
    ended: str
    is_stream: bool
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    usage_estimated: bool
    cost_nusd: int
    is_priced: bool
    latency_ms: float
    ttft_ms: float | None
    attempts: int
    fallbacks: int
    cache_creation_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    price_version: str = ""
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    user: str | None = None
    peer: str | None = None
    """Address that it came from; None where it is not to be kept."""
    tags: tuple[str, ...] = ()
    decision: DecisionRecord | None = None
    notes: Notes | msgspec.UnsetType = msgspec.UNSET
    """What the cache and the guardrails did; left out where there was neither."""
    trace: TraceRecord | msgspec.UnsetType = msgspec.UNSET
    """Of a traced request; left out of all others."""
    failed_attempts: list[tuple[str, str, float, float]] | msgspec.UnsetType = msgspec.UNSET
    """Deployment, error code, and milliseconds from the start of the request to the attempt's start and end."""


class MeteredRecord(Record):
    """A request that was paid by other units than tokens, or used some."""

    units: dict[str, float] = {}


class Journal:
    """One worker's journal in `folder`."""

    def __init__(self, folder: Path, name: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._name = name
        self._part = 0
        self._fd = -1
        self._written = 0
        self._lines: list[bytes] = []
        self._said: dict[int, bytes] = {}
        """Of some of these lines, by their place: what else stands in them on the disk."""
        self._unwritten = bytearray()
        self._waiting: list[Callable[[], None]] = []
        self._is_scheduled = False
        self._is_dirty = False
        self.has_records = False
        """Something was written since the start."""
        self._failing_since_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.on_written: Callable[[list[bytes]], None] | None = None
        """Told of every turn's lines; never waits."""
        self._syncer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-sync")
        self._sync_handle: asyncio.TimerHandle | None = None
        self._encode = msgspec.json.Encoder().encode
        self._open()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sync_handle = loop.call_later(SYNC_S, self._sync)

    @property
    def is_full(self) -> bool:
        """The disk has refused writes for so long that no more records can be held in memory."""
        return len(self._unwritten) > MAX_UNWRITTEN_BYTES

    @property
    def unwritten_bytes(self) -> int:
        """Records that wait for the disk."""
        return len(self._unwritten)

    @property
    def is_failing(self) -> bool:
        return self._failing_since_s > 0

    def append(self, record: Record, then: Callable[[], None], texts: Texts | None = None) -> None:
        """Write at the end of this turn of the loop, and call `then` when that is done. `texts`: what was asked and
        answered, where that is to be kept; it goes to the disk and to nobody who is told of records."""
        if texts is not None:
            said = self._encode({"request_text": texts.request_text, "response_text": texts.response_text})
            self._said[len(self._lines)] = said[1:]
        self._lines.append(self._encode(record))
        self._waiting.append(then)
        # A request that was cut at the very end may be settled after its loop.
        if not self._is_scheduled and self._loop is not None and not self._loop.is_closed():
            self._is_scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what has come, then release the answers that waited for it."""
        self._is_scheduled = False
        lines, self._lines = self._lines, []
        waiting, self._waiting = self._waiting, []
        if lines:
            written = lines
            if self._said:
                said, self._said = self._said, {}
                written = [line if at not in said else line[:-1] + b"," + said[at] for at, line in enumerate(lines)]
            self._write(b"\n".join(written) + b"\n")
            if self.on_written is not None:
                self.on_written(lines)
        for then in waiting:
            try:
                then()
            except Exception:  # one answer's end must not keep the others from theirs
                log.exception("journal: a recorded answer could not be released")

    def _write(self, data: bytes) -> None:
        held = self._unwritten
        if held:
            held += data
            if self._monotonic() - self._failing_since_s < RETRY_S:
                return
        try:
            written = os.write(self._fd, held or data)
        except OSError as error:
            self._hold(error.strerror)
            if not held:
                held += data
            return
        self._is_dirty = self.has_records = True
        self._written += written
        if held:
            del held[:written]
        elif written < len(data):
            held += data[written:]
        if held:
            self._hold("not all was taken")
        elif self._failing_since_s:
            self._failing_since_s = 0.0
            log.warning("journal: the disk takes records again; none was lost")
        if self._written >= ROTATE_BYTES and not held:
            self._rotate()

    def _hold(self, reason: str | None) -> None:
        if not self._failing_since_s:
            log.error("journal: %s; records are held in memory until the disk takes them", reason)
        self._failing_since_s = self._monotonic()

    def _rotate(self) -> None:
        """Go on in a new file; where none can be had, in the old one."""
        old = self._fd
        try:
            self._open()
        except OSError as error:
            log.error("journal: no new file (%s); the old one grows on", error.strerror)
            self._written = 0
            return
        self._syncer.submit(_sync_and_close, old)

    def _open(self) -> None:
        path = self.folder / f"{self._name}-{self._part + 1:04d}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Held until the file is closed, if only by this process's death: who may delete it looks for the lock.
        with contextlib.suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._part += 1
        self._written = 0

    def _sync(self) -> None:
        assert self._loop is not None
        self._sync_handle = self._loop.call_later(SYNC_S, self._sync)
        if self._unwritten and self._monotonic() - self._failing_since_s >= RETRY_S:
            self._write(b"")
        if self._is_dirty:
            self._is_dirty = False
            self._syncer.submit(_sync_quietly, self._fd)

    def close(self) -> None:
        if self._sync_handle is not None:
            self._sync_handle.cancel()
        self.flush()
        if self._unwritten:
            self._failing_since_s = float("-inf")  # no time is left to wait for the disk
            self._write(b"")
            if self._unwritten:
                log.error("journal: %d records are lost, the disk does not take them", self._unwritten.count(b"\n"))
        self._syncer.submit(_sync_and_close, self._fd)
        self._syncer.shutdown(wait=True)


def _sync_and_close(fd: int) -> None:
    _sync_quietly(fd)
    os.close(fd)


def _sync_quietly(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as error:
        log.error("journal: sync failed: %s", error.strerror)


_decode = msgspec.json.Decoder().decode


def has_records(folder: Path) -> bool:
    """Whether there is a record in any file; those of workers that have just begun hold none."""
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # all of it is in the ledger by now
            if path.stat().st_size:
                return True
    return False


def read_journal(folder: Path) -> Iterator[dict[str, Any]]:
    """Every record of every worker, each call once; lines that a crash cut short are left out."""
    seen: set[str] = set()
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                try:
                    record = _decode(line)
                    call_id = record["call_id"]
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
                    continue
                if call_id not in seen:
                    seen.add(call_id)
                    yield record
