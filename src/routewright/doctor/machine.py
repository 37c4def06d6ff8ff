"""The machine: disk, clock, file descriptors, listen queue, processors and memory."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from routewright.doctor.findings import Finding, good, problem, warning
from routewright.record.lag import Lag

MIB, GIB = 1 << 20, 1 << 30
LEAST_FREE_BYTES, LITTLE_FREE_BYTES = 64 * MIB, GIB
SLOW_SYNC_S = 0.1
LATE_LEDGER_S = 300.0
LEAST_FILES, FEW_FILES = 256, 4096
FEW_WAITING = 1024
BUILT_S = 1_790_000_000
"""September 2026: a clock before that is wrong."""
SKEW_S = 30.0


def of_disk(data_dir: Path) -> Iterator[Finding]:
    """Can the journal be written and synced, and for how long?"""
    place = data_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe = data_dir / f".doctor-{os.getpid()}"
        began = time.perf_counter()
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, b"x" * 4096)
            os.fsync(fd)
        finally:
            os.close(fd)
            probe.unlink()
        took_s = time.perf_counter() - began
    except OSError as error:
        yield problem("disk", f"{data_dir} can't be written to: {error.strerror}",
                      "give --data-dir a folder that the gateway's user owns, on a disk with room")  # fmt: skip
        return
    if took_s > SLOW_SYNC_S:
        yield warning("disk", f"writing 4 KiB to {data_dir} to the disk took {took_s * 1000:.0f} ms",
                      "the journal is synced once a second; a disk this slow makes the database late")  # fmt: skip
    free = shutil.disk_usage(data_dir).free
    text = f"{free / GIB:.1f} GiB free in {data_dir}"
    if free < LEAST_FREE_BYTES:
        yield problem("disk", text, "free space: without it keys with budgets get 503")
    elif free < LITTLE_FREE_BYTES:
        yield warning(
            "disk", text, "a record is about 1 KB: a million requests that the database has not taken need 1 GB"
        )
    else:
        yield good("disk", text)
    mode = data_dir.stat().st_mode & 0o077
    if mode & 0o007:
        yield warning("disk", f"{data_dir} may be read by every user of this machine",
                      "chmod 700: it holds who asked what when, and hashes of keys")  # fmt: skip


def of_ledger(lag: Lag, now_ms: int) -> Iterator[Finding]:
    """Does what was served become rows?"""
    if not lag.size_bytes:
        yield good("ledger", "every record of the journal is in it")
        return
    age_s = lag.age_s(now_ms)
    text = f"{lag.size_bytes / MIB:.1f} MiB of records are not in it yet, the oldest for {_span(age_s)}"
    if age_s > LATE_LEDGER_S:
        yield warning("ledger", text, "they are brought in while a gateway runs here and its database answers; until "
                      "then they count in no report, and none is lost: keep the folder")  # fmt: skip
    else:
        yield good("ledger", text)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def of_clock(skew_s: float | None, told_by: str = "") -> Iterator[Finding]:
    """`skew_s`: how far it is from somebody else's, None where nobody could be asked."""
    if time.time() < BUILT_S:
        yield problem("clock", f"it is {time.strftime('%Y-%m-%d %H:%M')} by this machine's clock",
                      "set the clock, and keep it with chrony or systemd-timesyncd")  # fmt: skip
    elif skew_s is None:
        yield good("clock", "plausible; nobody could be asked for the time")
    elif abs(skew_s) > SKEW_S:
        yield warning("clock", f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} {told_by}",
                      "keep it with chrony or systemd-timesyncd: signed requests (Bedrock) are refused, and budgets "
                      "begin at the wrong time")  # fmt: skip
    else:
        yield good("clock", f"within {max(1, round(abs(skew_s)))} s of {told_by}")


def of_limits(workers: int) -> Iterator[Finding]:
    """File descriptors, listen queue, processors, memory."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LEAST_FILES:
        yield problem(
            "limits", f"at most {hard} open files a process", "raise it: ulimit -n, or LimitNOFILE= of the unit"
        )
    elif hard != resource.RLIM_INFINITY and hard < FEW_FILES:
        yield warning("limits", f"at most {hard} open files a process",
                      "a stream takes two: raise it with ulimit -n, or LimitNOFILE= of the unit")  # fmt: skip
    else:
        yield good(
            "limits", "open files: as many as wanted" if hard == resource.RLIM_INFINITY else f"{hard} open files"
        )
    waiting = _number(Path("/proc/sys/net/core/somaxconn"))
    if waiting is not None and waiting < FEW_WAITING:
        yield warning("limits", f"at most {waiting} connections may wait to be taken",
                      "sysctl net.core.somaxconn=4096, so that a burst of new clients is not refused")  # fmt: skip
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if workers > cores:
        yield warning(
            "limits", f"{workers} workers on {cores} cores", "no more workers than cores: they only take turns"
        )
    else:
        yield good("limits", f"{cores} cores")
    memory = _memory_bytes()
    wanted = 256 * MIB + workers * 128 * MIB
    if memory is not None and memory < wanted:
        yield warning("limits", f"{memory / MIB:.0f} MiB of memory",
                      f"{wanted / MIB:.0f} MiB are a beginning for {workers} workers and the ledger")  # fmt: skip
    elif memory is not None:
        yield good("limits", f"{memory / GIB:.1f} GiB of memory")


def _memory_bytes() -> int | None:
    """What this process may use: the container's limit, else what the machine has."""
    found = [
        _number(Path(path)) for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    ]
    with contextlib.suppress(ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((each for each in found if each is not None), default=None)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
