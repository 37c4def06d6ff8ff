"""Hands the listening sockets of a running gateway to its successor, so that an upgrade refuses nobody and cuts nobody.

The old process starts the new one by its own command line and gives it its sockets and counters. Once every worker of
the new one serves, the old one takes no more connections: those that wait in a socket's queue are the new one's,
since both hold the same socket. Where the new one does not come up, the old one goes on as if nothing had been asked.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import msgspec

VARIABLE = "ROUTEWRIGHT_HANDOVER"
READY_WITHIN_S = 60.0
STOP_S = 5.0
log = logging.getLogger("routewright")


class Inherited(msgspec.Struct, frozen=True):
    """What a successor is given: numbers of open descriptors."""

    listeners: list[int]
    counters: int
    ready: int
    """One byte is written here for every worker that serves."""


def inherited() -> Inherited | None:
    """What this process was given by the one before it; asked for once, so that no child of ours takes it for its own.

    Raises ValueError where it makes no sense.
    """
    given = os.environ.pop(VARIABLE, None)
    if given is None:
        return None
    try:
        found = msgspec.json.decode(given, type=Inherited)
        for fd in (*found.listeners, found.counters, found.ready):
            os.set_inheritable(fd, False)
    except (msgspec.DecodeError, OSError, OverflowError) as error:
        raise ValueError(f"{VARIABLE} is set by a running gateway alone") from error
    return found


def take_sockets(fds: Sequence[int]) -> list[socket.socket]:
    """The listening sockets behind these descriptors."""
    sockets = [socket.socket(fileno=fd) for fd in fds]
    for listener in sockets:
        listener.setblocking(False)
    return sockets


class Successor:
    """The new process, until it serves or has failed to."""

    def __init__(self, sockets: Sequence[socket.socket], counters_fd: int, workers: int) -> None:
        """Start it. Raises OSError where that can't be done."""
        self._missing = workers
        self._until_s = time.monotonic() + READY_WITHIN_S
        self.fd, ready = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        fds = list(dict.fromkeys(listener.fileno() for listener in sockets))
        given = Inherited(fds, counters_fd, ready)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command that started this very process
                [sys.executable, *sys.orig_argv[1:]],
                pass_fds=[*fds, counters_fd, ready],
                env={**os.environ, VARIABLE: msgspec.json.encode(given).decode()},
            )
        except BaseException:
            os.close(self.fd)
            raise
        finally:
            os.close(ready)
        log.info("handing over to process %d", self._process.pid)

    def look(self) -> bool | None:
        """True once every worker of it serves, False where it has ended before that or took too long."""
        try:
            while self._missing > 0:
                said = os.read(self.fd, 4096)
                if not said:
                    return False
                self._missing -= len(said)
        except BlockingIOError:
            return False if time.monotonic() > self._until_s else None
        return True

    def wait(self) -> bool:
        """The same, when it is known."""
        while (found := self.look()) is None:
            select.select([self.fd], [], [], 1.0)
        return found

    def stop(self) -> None:
        """This gateway is told to stop, so what it has started is not to serve after it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def give_up(self) -> None:
        """It did not come up: see that nothing of it is left."""
        log.error("the new process does not serve; this one goes on")
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        os.close(self.fd)

    @property
    def pid(self) -> int:
        return self._process.pid


def when_ready(workers: int) -> int:
    """Tell the service manager once so many workers serve; where each of them says so."""
    if "NOTIFY_SOCKET" not in os.environ:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    said, ready = os.pipe2(os.O_CLOEXEC)

    def wait() -> None:
        missing = workers
        while missing > 0:
            missing -= len(os.read(said, 4096))
        tell_service_manager("READY=1")

    threading.Thread(target=wait, name="ready", daemon=True).start()
    return ready


def say_ready(fd: int) -> None:
    """This worker serves; the process before it may be gone by now."""
    with contextlib.suppress(OSError):
        os.write(fd, b".")


def tell_service_manager(*states: str) -> None:
    """Tell systemd, where it has started this process, what `sd_notify` would."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.connect("\0" + address[1:] if address[0] == "@" else address)
        line.send("\n".join(states).encode())
