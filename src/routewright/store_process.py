"""Starts the store's process: of all workers of a data folder the one that needs it first, and no other beside it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

SPAWN_AGAIN_S = 3.0
"""A process that ended at once found another at work; starting more would only keep that one from its start."""
STOP_TIMEOUT_S = 10.0
LOCK_NAME = "store.lock"
"""Held by the process for as long as it lives."""
TURN_NAME = "store.turn"
"""Held by the worker that starts it, until it is spoken with."""
log = logging.getLogger("routewright")


class StoreProcess:
    """One worker's part in that. It waits for no other worker: one that has no use for the store starts nothing."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._turn: int | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._again_s = 0.0

    def start(self, settings: bytes) -> bool:
        """Start it, unless that is being done; whether it was. `settings`: the line that it reads first."""
        self.reap()
        if self._children or time.monotonic() < self._again_s:
            return False
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True)
            if self._turn is None:
                self._turn = _lock(self._run_dir / TURN_NAME)
            if self._turn is None:
                return False  # the kernel frees it if that worker dies over it
            self._again_s = time.monotonic() + SPAWN_AGAIN_S
            child = subprocess.Popen(  # noqa: S603 - this very interpreter
                [sys.executable, "-m", "routewright.keeper", str(self._run_dir)],
                stdin=subprocess.PIPE,
                close_fds=True,
            )
        except OSError as error:
            self._again_s = time.monotonic() + SPAWN_AGAIN_S
            log.error("the store's process can't be started: %s", error.strerror)
            return False
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(settings + b"\n")
            child.stdin.flush()  # and left open: its end tells the process that its parent has gone
        self._children.append(child)
        return True

    def is_there(self) -> None:
        """It was reached. Should it end, whoever notices first starts the next one."""
        turn, self._turn = self._turn, None
        if turn is not None:
            os.close(turn)

    def reap(self) -> None:
        for child in self._children:
            if child.poll() is not None:
                _hang_up(child)
        self._children = [child for child in self._children if child.returncode is None]

    def let_go(self) -> None:
        """This worker ends: so does what it started, unless others use it."""
        self.is_there()
        for child in self._children:
            _hang_up(child)

    def wait(self) -> None:
        """Until what was started here has ended, or for a while."""
        end_s = time.monotonic() + STOP_TIMEOUT_S
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, end_s - time.monotonic()))


def _hang_up(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        child.stdin.close()


def _lock(path: Path) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def take_lock(run_dir: Path) -> int | None:
    """The file descriptor that holds the store's lock; None while another process holds it."""
    return _lock(run_dir / LOCK_NAME)


def wait_until_ended(run_dir: Path) -> None:
    """Return when no store's process is left, or after a while: what follows a gateway's end may rely on its files."""
    if not (run_dir / LOCK_NAME).exists():
        return
    end_s = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < end_s:
        fd = take_lock(run_dir)
        if fd is not None:
            os.close(fd)
            return
        time.sleep(0.02)
    log.warning("the store's process is still at work; it ends by itself")
