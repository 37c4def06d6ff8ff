"""The processes: one worker alone, or several under a small supervisor that restarts a dead one.

Each worker has a listening socket of its own on the same port (SO_REUSEPORT); the supervisor keeps all of them open,
so connections that wait for a worker that died are taken by its successor. Where the kernel does not spread
connections over such sockets, the workers share one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from routewright.server.handover import Successor, tell_service_manager

BACKLOG = 4096
"""Connections that wait to be taken; one more is tried again by its client's kernel, a second later."""
RESTARTS_TOO_FAST = 5
TOO_FAST_S = 2.0
LET_GO_AFTER = 2
"""A worker that ended as soon as it started so often leaves its connections to the others."""
MOST_PAUSE_S = 1.0
FORK_AGAIN_S = 0.5
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
log = logging.getLogger("routewright")


def listening_sockets(host: str, port: int, workers: int) -> list[socket.socket]:
    """One socket a worker. Raises OSError where the address is taken or not ours."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    spreads = workers > 1 and sys.platform == "linux"
    sockets: list[socket.socket] = []
    try:
        for _ in range(workers if spreads else 1):
            here = address if port or not sockets else sockets[0].getsockname()
            sockets.append(_listening(socket.socket(family, kind, protocol), here, spreads=spreads))
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return sockets if spreads else sockets * workers


def _listening(listener: socket.socket, address: Any, *, spreads: bool) -> socket.socket:
    """`spreads`: one of several on the same address, over which the kernel spreads connections."""
    _bind(listener, address, spreads=spreads)
    listener.listen(BACKLOG)
    return listener


def _bind(listener: socket.socket, address: Any, *, spreads: bool) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if spreads:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def raise_file_limit() -> int:
    """Take all the file descriptors that the system gives; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > 1 << 20:
        hard = 1 << 20
    if soft < hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Supervisor:
    """Forks the workers, restarts those that die, and ends them all on a signal.

    Workers that end as soon as they start end the gateway too, unless others serve: whatever keeps a worker from its
    start, a disk that takes no more or too little memory, is no reason to take away those that have started before.

    SIGUSR2 starts a successor; once it serves, or on SIGUSR1, the workers leave: they take no more connections, and end
    with their last answer.
    """

    def __init__(
        self,
        run_worker: Callable[[int, socket.socket], int],
        sockets: list[socket.socket],
        forget_worker: Callable[[int], None],
        start_successor: Callable[[], Successor],
    ) -> None:
        self._run_worker = run_worker
        self._sockets = sockets
        self._spreads = len(set(map(id, sockets))) > 1
        self._forget_worker = forget_worker
        self._start_successor = start_successor
        self._successor: Successor | None = None
        self.has_successor = False
        self._pids: dict[int, int] = {}
        self._started_s: dict[int, float] = {}
        self._fast_deaths = 0
        self._is_stopping = False
        self._address: Any = sockets[0].getsockname()

    def run(self) -> int:
        """Returns the exit status when every worker has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._pass_on)
        signal.signal(signal.SIGUSR2, self._hand_over)
        signal.signal(signal.SIGUSR1, self._leave)
        for worker in range(len(self._sockets)):
            self._fork(worker)
        failed = 0
        while self._pids:
            pid, status = os.waitpid(-1, 0)
            if pid not in self._pids:
                continue
            worker = self._pids.pop(pid)
            if self._is_stopping:
                failed |= status
                continue
            log.error("worker %d (pid %d) ended with %s; starting another", worker, pid, _describe(status))
            self._forget_worker(worker)
            if time.monotonic() - self._started_s[worker] < TOO_FAST_S:
                self._fast_deaths += 1
                if self._fast_deaths >= RESTARTS_TOO_FAST and not self._is_served():
                    log.error("workers end as soon as they start; giving up")
                    self._stop(signal.SIGTERM, None)
                    failed = 1
                    continue
                if self._fast_deaths >= LET_GO_AFTER and self._spreads:
                    self._sockets[worker].close()
                time.sleep(min(MOST_PAUSE_S, 0.1 * 2**self._fast_deaths))
            else:
                self._fast_deaths = 0
            if not self._is_stopping:
                self._fork(worker)
        return 1 if failed else 0

    def _is_served(self) -> bool:
        """Some worker has come up."""
        now = time.monotonic()
        return any(now - self._started_s[worker] >= TOO_FAST_S for worker in self._pids.values())

    def _listen_again(self) -> None:
        """Where a worker's socket was let go of, it has a new one on the same address; none connects to it before
        the worker itself listens."""
        for worker, listener in enumerate(self._sockets):
            if listener.fileno() < 0:
                self._sockets[worker] = _bind(
                    socket.socket(listener.family, listener.type), self._address, spreads=True
                )

    def _fork(self, worker: int) -> None:
        """Start it. Where the system has no process to give, and others serve, ask again until it has."""
        while not self._is_stopping:
            try:
                self._listen_again()
                self._fork_once(worker)
            except OSError as error:
                log.error("worker %d can't be started: %s", worker, error.strerror)
                if not self._pids:
                    raise
                time.sleep(FORK_AGAIN_S)
            else:
                return

    def _fork_once(self, worker: int) -> None:
        self._started_s[worker] = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        # A stop that came before the child had its own handlers would be the supervisor's in the child.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            pid = 0 if self._is_stopping else os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            raise
        if pid or self._is_stopping:
            if pid:
                self._pids[pid] = worker
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            return
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            self._close_sockets(all_but=self._sockets[worker])
            status = self._run_worker(worker, self._sockets[worker])
        except BaseException:
            log.exception("worker %d failed", worker)
        finally:
            logging.shutdown()
            os._exit(status)

    def _close_sockets(self, all_but: socket.socket | None = None) -> None:
        for listener in self._sockets:
            if listener is not all_but:
                listener.close()

    def _stop(self, number: int, frame: object) -> None:
        self._is_stopping = True
        if self._successor is not None and not self.has_successor and number != signal.SIGUSR1:
            self._successor.stop()
        self._close_sockets()  # else new connections would wait for a worker that takes none
        self._pass_on(number, frame)

    def _hand_over(self, number: int, frame: object) -> None:
        if self._successor is not None or self._is_stopping:
            return
        try:
            self._listen_again()
            successor = self._successor = self._start_successor()
        except OSError as error:
            log.error("no successor can be started: %s", error.strerror)
            return
        threading.Thread(target=self._wait_for, args=(successor,), name="handover", daemon=True).start()

    def _wait_for(self, successor: Successor) -> None:
        if successor.wait() and not self._is_stopping:
            self.has_successor = True
            log.info("process %d serves", successor.pid)
            tell_service_manager(f"MAINPID={successor.pid}")
            os.kill(os.getpid(), signal.SIGUSR1)
        else:
            successor.give_up()
            successor.close()
            self._successor = None

    def _leave(self, number: int, frame: object) -> None:
        if not self._is_stopping:
            self._stop(signal.SIGUSR1, frame)

    def _pass_on(self, number: int, frame: object) -> None:
        for pid in list(self._pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"status {os.WEXITSTATUS(status)}"
