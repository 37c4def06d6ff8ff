"""The gateway's processes: the sockets and counters that they share, one worker or a supervisor over several."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket

from routewright.admission.counters import Counters
from routewright.app.changes import Load
from routewright.app.worker import RUN_FOLDER, WorkerProcess
from routewright.config.problems import ConfigError
from routewright.leasing import names
from routewright.reloading import in_force
from routewright.server.handover import Successor, inherited, say_ready, take_sockets, when_ready
from routewright.server.workers import Supervisor, listening_sockets
from routewright.settings import Settings
from routewright.store_process import wait_until_ended

log = logging.getLogger("routewright")


def serve(settings: Settings, load: Load | None = None) -> int:
    """Run the gateway until it is told to stop. Returns the exit status; raises OSError where the port is taken.

    `load` reads the same configuration again, as it is then.
    """
    # Until it can be obeyed it must not end this process, as it would by default.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    server = settings.server
    server.data_dir.mkdir(parents=True, exist_ok=True)
    before = inherited()
    if before is None:
        sockets = listening_sockets(server.host, server.port, server.workers)
        counters = Counters(server.workers)
    else:
        sockets = take_sockets(before.listeners)
        if len(sockets) == 1:
            sockets *= server.workers
        if len(sockets) != server.workers:
            raise ValueError("the number of workers can't be changed by a handover")
        counters = Counters(server.workers, inherited=before.counters)
    if settings.valkey is not None:
        names.prepare(counters, server.data_dir, server.data_dir / RUN_FOLDER)
    if not settings.keys and settings.master_key is None:
        log.warning("no key is configured: whoever reaches this port may use every model")
    scheme = "https" if server.tls_cert else "http"
    log.info("serving on %s://%s:%d", scheme, server.host, sockets[0].getsockname()[1])

    ready = before.ready if before is not None else when_ready(server.workers)

    def on_ready() -> None:
        say_ready(ready)

    def start_successor() -> Successor:
        counters.share()
        return Successor(sockets, counters.fd, server.workers)

    has_successor = False
    try:
        if server.workers == 1:
            only = WorkerProcess(settings, counters, 0, load, on_ready=on_ready, start_successor=start_successor)
            status = only.run(sockets[0])
            has_successor = only.ending.has_successor
            return status

        own = os.getpid()

        def run_worker(worker: int, listener: socket.socket) -> int:
            current = settings
            if counters.config_loads and load is not None:  # this worker takes the place of one that died
                with contextlib.suppress(ConfigError, ValueError):
                    current = in_force(settings, load({}))
            of_several = WorkerProcess(current, counters, worker, load, on_ready=on_ready, supervisor=own)
            return of_several.run(listener)

        supervisor = Supervisor(run_worker, sockets, counters.forget_worker, start_successor)
        status = supervisor.run()
        has_successor = supervisor.has_successor
        return status
    finally:
        if not has_successor:  # else the store's process is the successor's by now
            wait_until_ended(server.data_dir / RUN_FOLDER)
