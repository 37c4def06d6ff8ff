"""`routewright` with a clock in each worker's event loop: how long were the loop's longest pauses?

A timer wants to run every millisecond; a pause is the time by which it comes late. On SIGRTMIN the worker writes the
longest pause of every second since the last one to BENCH_PAUSES, and begins anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

from routewright.app import processes
from routewright.app.worker import WorkerProcess
from routewright.cli import main

PERIOD_S = 0.001


class WatchedProcess(WorkerProcess):
    """A worker that keeps its timer's lateness."""

    async def _serve(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> int:
        self._longest_s: list[float] = []
        self._second = 0
        self._due_s = time.perf_counter() + PERIOD_S
        loop.call_later(PERIOD_S, self._tick_of_clock, loop)
        loop.add_signal_handler(signal.SIGRTMIN, self._tell)
        return await super()._serve(loop, listener)

    def _tick_of_clock(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = time.perf_counter()
        late_s = now_s - self._due_s
        if int(now_s) != self._second or not self._longest_s:
            self._second = int(now_s)
            self._longest_s.append(late_s)
        elif late_s > self._longest_s[-1]:
            self._longest_s[-1] = late_s
        self._due_s = now_s + PERIOD_S
        loop.call_later(PERIOD_S, self._tick_of_clock, loop)

    def _tell(self) -> None:
        longest_s, self._longest_s = self._longest_s, []
        path = Path(os.environ["BENCH_PAUSES"])
        whole = path.with_suffix(".part")
        whole.write_text(json.dumps([late_s * 1e3 for late_s in longest_s[1:-1]]))  # whole seconds alone
        whole.rename(path)


if __name__ == "__main__":
    processes.WorkerProcess = WatchedProcess  # type: ignore[misc]
    main()
