"""What callers say of answers, and the routers that learn from it: the same in every worker, and after a restart.

Ratings go to one log that all workers share, each on disk before its sender is told. Every worker reads the log in its
order and updates its own router by it, so all workers know the same. From time to time one of them saves what its
router has learned and how far it had read; whoever starts goes on from there.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import logging
import math
import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from routewright.errors import Conflict, NotFound
from routewright.routing.artefact import Artefact
from routewright.routing.choices import ENTRIES, Choice, Choices
from routewright.routing.router import Router

ROTATE_BYTES = 16 * 1024 * 1024
POLL_BYTES = 64 * 1024
"""Read at once: some dozen ratings, so that no request waits long behind them."""
SAVE_S = 60.0
MAX_REMEMBERED = 64 * ENTRIES
"""Ratings known to have been given: more than choices that can still be found."""
_POSITION = "position of the log"
log = logging.getLogger("routewright")


class Line(msgspec.Struct):
    """One rating."""

    call: str
    """Digest of the request's own id, hex."""
    key_hash: str
    route: str
    artefact: str
    model: int
    propensity: float | None
    score: float
    at: float
    x: str
    """The prompt's feature vector, float32, base64."""

    def vector(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.frombuffer(base64.b64decode(self.x), dtype=np.float32)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


class Reader:
    """Reads the log from a position on; a position is the number of a file and a place in it."""

    def __init__(self, folder: Path, position: tuple[int, int] = (1, 0)) -> None:
        self._folder = folder
        self.position = position

    def lines(self, most_bytes: int = ROTATE_BYTES) -> list[Line]:
        """What has come since the last time, or about as much of it. A line that is no rating is passed over."""
        found: list[Line] = []
        while True:
            number, offset = self.position
            is_over = log_path(self._folder, number + 1).exists()  # looked at first: then nobody writes to this one
            try:
                with log_path(self._folder, number).open("rb") as file:
                    file.seek(offset)
                    data = file.read(most_bytes)
            except FileNotFoundError:
                return found
            end = data.rfind(b"\n") + 1
            self.position = (number, offset + end)
            for text in data[:end].splitlines():
                try:
                    found.append(_decode(text))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    if text:
                        log.warning("feedback: a line of file %d is no rating; it is passed over", number)
            if not is_over or len(data) == most_bytes:
                return found
            self.position = (number + 1, 0)


def log_path(folder: Path, number: int) -> Path:
    return folder / f"feedback-{number:06d}.jsonl"


class Feedback:
    """One worker's part of it."""

    def __init__(self, folder: Path, worker: int, *, slot: int | None = None) -> None:
        """`slot`: what this worker's choices are kept under, if not its number; no two processes at once have it."""
        self._folder = folder
        self._saves = worker == 0
        self.choices = Choices(folder, worker if slot is None else slot)
        self._learners: dict[str, Learner] = {}
        self._thread_lock = threading.Lock()
        self._rated: dict[str, float] = {}
        self._rated_reader = Reader(folder)
        self._saved_s = time.monotonic()

    # --- from callers ---------------------------------------------------------------------------------------------

    def rate(self, key_hash: str, *, is_master: bool, request_id: str, score: float) -> bool:
        """Take a rating; False: the same was given before. Blocks for the disk: call it from a thread.

        Raises NotFound for an id that is unknown, forgotten or another caller's, Conflict where another
        score was given, OSError where the disk takes none.
        """
        choice = self.choices.find(request_id) if self._folder.is_dir() else None
        if choice is None or (choice.key_hash != key_hash and not is_master):
            raise NotFound(
                "no request of this key with this id was placed by a router that learns, or it is too long ago",
                param="request_id",
            )
        call = f"{choice.call:016x}"
        with self._thread_lock, self._only_writer() as number:
            for line in self._rated_reader.lines():
                self._note(line.call, line.score)
            before = self._rated.get(call)
            if before is not None and before != score:
                raise Conflict("this request was rated before, with another score", param="score")
            if before is None:
                self._append(number, choice, call, score)
        return before is None

    @contextmanager
    def _only_writer(self) -> Iterator[int]:
        """No other worker writes meanwhile; the number of the file to write to."""
        fd = os.open(self._folder / "feedback.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            number = max([int(path.stem[9:]) for path in self._folder.glob("feedback-*.jsonl")], default=1)
            path = log_path(self._folder, number)
            yield number + (path.exists() and path.stat().st_size >= ROTATE_BYTES)
        finally:
            os.close(fd)

    def _append(self, number: int, choice: Choice, call: str, score: float) -> None:
        line = Line(
            call=call,
            key_hash=choice.key_hash,
            route=choice.route,
            artefact=choice.artefact,
            model=choice.model,
            propensity=None if math.isnan(choice.propensity) else round(choice.propensity, 6),
            score=score,
            at=time.time(),
            x=base64.b64encode(choice.x.astype(np.float32).tobytes()).decode("ascii"),
        )
        data = _encode(line) + b"\n"
        fd = os.open(log_path(self._folder, number), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data  # a writer was killed in the middle of its line
            if os.write(fd, data) != len(data):
                os.ftruncate(fd, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        finally:
            os.close(fd)

    def _note(self, call: str, score: float) -> None:
        self._rated[call] = score
        if len(self._rated) > MAX_REMEMBERED:
            del self._rated[next(iter(self._rated))]

    # --- to routers -----------------------------------------------------------------------------------------------

    def learned(self, artefact: Artefact) -> Router:
        """The artefact's router as it is after all ratings so far; it goes on learning by `poll`."""
        name = artefact.sha256[:12]
        learner = self._learners.get(name)
        if learner is None:
            learner = self._learners[name] = Learner(artefact, self._folder)
            while learner.poll():
                pass
        return learner.router

    def ratings_of(self, artefact: str) -> int:
        """How many ratings this worker's router of that file, by short id, has learned from."""
        learner = self._learners.get(artefact)
        return 0 if learner is None else learner.ratings

    def forget_others(self, artefacts: Collection[str]) -> None:
        """Save and leave alone the routers whose files serve no more; given by short id."""
        for name in self._learners.keys() - set(artefacts):
            learner = self._learners.pop(name)
            if self._saves:
                learner.save()

    def poll(self, now: float) -> None:
        """Read what has come. Called once a tick; costs a look at one file where nothing has."""
        for learner in self._learners.values():
            learner.poll()
        if self._saves and now - self._saved_s >= SAVE_S:
            self._saved_s = now
            self.save()

    def save(self) -> None:
        """Save what was learned since it was last saved; a disk that takes nothing is tried again later."""
        for learner in self._learners.values() if self._saves else ():
            learner.save()


class Learner:
    """One router and how far it has read."""

    def __init__(self, artefact: Artefact, folder: Path) -> None:
        self._name = artefact.sha256[:12]
        self._path = folder / f"state-{self._name}.safetensors"
        self._is_saved = True
        self.router = artefact.router
        self.ratings = 0
        """Learned from, since the router was fitted."""
        self._reader = Reader(folder)
        if self._path.exists():
            self._load(artefact)

    def _load(self, artefact: Artefact) -> None:
        given = artefact.router
        try:
            arrays = safetensors.numpy.load(self._path.read_bytes())
            number, offset, ratings = (int(value) for value in arrays.pop(_POSITION))
            router = type(given).from_state(given.params(), arrays, n_features=given.n_features_)
            if router.n_models != given.n_models:
                raise ValueError("another number of models")
        except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
            log.warning("feedback: %s can't be used (%s); all ratings are read again", self._path.name, error)
            return
        self.router = router
        self.ratings = ratings
        self._reader.position = (number, offset)

    def poll(self) -> bool:
        """Learn from what has come, or a part of it; whether there was anything."""
        lines = self._reader.lines(POLL_BYTES)
        for line in lines:
            if line.artefact != self._name:
                continue
            try:
                self.router.update(line.vector(), line.model, line.score, key=line.key_hash)
                self.ratings += 1
            except ValueError as error:
                log.warning("feedback: a rating can't be learned from: %s", error)
            self._is_saved = False
        return bool(lines)

    def save(self) -> None:
        if self._is_saved:
            return
        arrays = {**self.router.state(), _POSITION: np.array([*self._reader.position, self.ratings], dtype=np.int64)}
        partial = self._path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(safetensors.numpy.save({name: np.ascontiguousarray(a) for name, a in arrays.items()}))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        except OSError as error:
            log.error("feedback: what was learned can't be saved: %s", error.strerror)
            return
        self._is_saved = True
