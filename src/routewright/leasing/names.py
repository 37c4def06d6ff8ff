"""The name that a machine's leases are under, new at each start, and those of starts that have ended here.

A process that was killed can't give back what it held, and what it spent is counted as its own until somebody says that
it is in the ledger. Whoever starts next in the same data folder knows both.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from routewright.admission.counters import Counters

PREFIX, SUFFIX = "replica-", ".lock"
MOST = 8
LEDGER_FILE = "ledger.id"
REPLICAS_FILE = "replicas"
"""How many machines shared limits when this one last heard: who starts while nobody can be asked is one of them."""
ONE_LEDGER = "shared"
"""The ledger's name where all machines have one database."""


def prepare(counters: Counters, data_dir: Path, run_dir: Path) -> None:
    """Before there are workers: take the name that is `counters`', and find those of earlier starts."""
    if not (data_dir / LEDGER_FILE).exists():
        (data_dir / LEDGER_FILE).write_text(secrets.token_hex(16))
    counters.name_fd, counters.ended = take_name(run_dir, counters.name)
    counters.replicas = max(counters.replicas, remembered(data_dir))


def remember(data_dir: Path, replicas: int) -> None:
    """Raises OSError."""
    file = data_dir / REPLICAS_FILE
    made = file.with_name(f"{REPLICAS_FILE}.{os.getpid()}")
    made.write_text(f"{replicas}\n", "ascii")
    made.replace(file)


def remembered(data_dir: Path) -> int:
    """1 where nothing is, or nothing that can be read."""
    try:
        text = (data_dir / REPLICAS_FILE).read_text("ascii").strip()
    except (OSError, ValueError):
        return 1
    return int(text) if text.isdigit() and 1 <= len(text) <= 4 and int(text) else 1


def ledger_id(data_dir: Path) -> str:
    """Names the ledger of a data folder that no other machine's spend goes to; the same after a restart."""
    return (data_dir / LEDGER_FILE).read_text()


def take_name(run_dir: Path, name: str) -> tuple[int, tuple[str, ...]]:
    """Hold `name` for as long as this process or a child of it lives; (what holds it, names nobody holds any more)."""
    run_dir.mkdir(parents=True, exist_ok=True)
    ended = []
    for path in sorted(run_dir.glob(f"{PREFIX}*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True):
        if path.name == f"{PREFIX}{name}{SUFFIX}":
            continue  # of the gateway that hands its rows over to this one
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # another gateway at work in this folder, or one that is being replaced
        finally:
            os.close(fd)
        path.unlink(missing_ok=True)
        ended.append(path.name.removeprefix(PREFIX).removesuffix(SUFFIX))
    fd = os.open(run_dir / f"{PREFIX}{name}{SUFFIX}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd, tuple(ended[:MOST])
