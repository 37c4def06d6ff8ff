"""`python -m routewright.keeper RUN_DIR`, started by a worker, which writes the settings to standard input."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import msgspec

from routewright import logs
from routewright.storage import KeeperSettings
from routewright.store_process import take_lock


def main() -> int:
    """Returns the exit status."""
    # A terminal's Ctrl-C and a service manager's SIGTERM reach this process too; it ends after the last worker has.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    run_dir = Path(sys.argv[1])
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return 0  # the worker that started this died before it could say what for
    settings = msgspec.json.decode(line, type=KeeperSettings)
    lock = take_lock(run_dir)
    if lock is None:
        return 0
    level, _, form = os.environ.get(logs.FOR_CHILDREN, "INFO").partition(" ")
    logs.configure(level=level, as_json=form == "json")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from routewright.keeper.process import Keeper  # costs half a second, which a second process need not pay

    asyncio.run(Keeper(settings, run_dir).run())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
