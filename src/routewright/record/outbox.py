"""What goes out beside the requests: records that wait for somebody who may be slow, broken or gone.

The loop's thread puts lines in and never waits; a thread of the outbox's own takes them out and sends them, in batches,
with a longer pause after each failure. What waits is bounded: beyond it the oldest lines are left out, and counted,
since whoever is back from an outage asks for what is going on now; what went before is in the journal and the ledger.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

MOST_BYTES = 8 * 1024 * 1024
BATCH_LINES = 64
BATCH_BYTES = 1024 * 1024
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
log = logging.getLogger("routewright")


class Undeliverable(Exception):
    """The receiver will never take this batch; sending it again is no use."""


class Outbox:
    """One receiver's queue."""

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[bytes]], None],
        *,
        most_bytes: int = MOST_BYTES,
        batch_lines: int = BATCH_LINES,
        linger_s: float = 0.0,
        first_pause_s: float = FIRST_PAUSE_S,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """`send` gets a batch of lines. It raises Undeliverable, or anything else where it is worth another try.
        `linger_s`: how long a batch that is not full waits for more. `close` is called at the thread's end."""
        self._close = close
        self.name = name
        self._send = send
        self._most_bytes = most_bytes
        self._batch_lines = batch_lines
        self._linger_s = linger_s
        self._first_pause_s = first_pause_s
        self._lines: deque[bytes] = deque()
        # Each count is written by one thread only; their difference is what waits.
        self._put_bytes = self._taken_bytes = 0
        self._left_out = self._given_up = self._sent = 0
        self._told = (0, 0)
        self._work = threading.Event()
        self._ends = threading.Event()
        self._end_s = 0.0
        self._thread: threading.Thread | None = None

    # --- the loop's side ----------------------------------------------------------------------------------------------

    def offer(self, lines: Sequence[bytes]) -> None:
        """Take these lines along; the oldest make room for them."""
        room = self._most_bytes - (self._put_bytes - self._taken_bytes)
        for line in lines:
            size = len(line)
            if size > room:
                room = self._make_room(size, room)
                if size > room:
                    self._left_out += 1
                    continue
            room -= size
            self._put_bytes += size
            self._lines.append(line)

    def _make_room(self, size: int, room: int) -> int:
        """Leave out the oldest until `size` more bytes fit, if they ever can; the room that there is then. A batch that
        is on its way stays."""
        if size > self._most_bytes:
            return room
        while size > room:
            try:
                oldest = self._lines.popleft()
            except IndexError:  # the thread has them all
                break
            self._left_out += 1
            self._put_bytes -= len(oldest)
            room += len(oldest)
        return room

    def on_tick(self) -> tuple[int, int]:
        """Have what waits sent; how many lines were sent and how many were lost since the last time."""
        if self._lines:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"outbox-{self.name}", daemon=True)
                self._thread.start()
            self._work.set()
        now = (self._sent, self._left_out + self._given_up)
        before, self._told = self._told, now
        return now[0] - before[0], now[1] - before[1]

    @property
    def waiting_bytes(self) -> int:
        return self._put_bytes - self._taken_bytes

    def close(self, within_s: float) -> None:
        """Send what waits, as far as it can be done in time."""
        self.on_tick()
        self._end_s = time.monotonic() + within_s
        self._ends.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join(within_s + 0.5)

    # --- its own thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            if self._linger_s and not self._ends.is_set() and len(self._lines) < self._batch_lines:
                self._ends.wait(self._linger_s)
            while self._lines and not self._is_over():
                batch = self._next_batch()
                self._deliver(batch)
                self._taken_bytes += sum(map(len, batch))
                time.sleep(0)  # the loop's thread wants the interpreter back
            if self._ends.is_set():
                self._given_up += len(self._lines)
                self._close()
                return

    def _is_over(self) -> bool:
        return self._ends.is_set() and time.monotonic() >= self._end_s

    def _next_batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._lines and len(batch) < self._batch_lines and size < BATCH_BYTES:
            batch.append(self._lines.popleft())
            size += len(batch[-1])
        return batch

    def _deliver(self, batch: Sequence[bytes]) -> None:
        pause_s, failures = self._first_pause_s, 0
        while True:
            try:
                self._send(batch)
            except Undeliverable as refusal:
                log.error("%s: %s; %d records are left out", self.name, refusal, len(batch))
                self._given_up += len(batch)
                return
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a receiver, requests go on
                failures += 1
                if failures == 1:
                    log.warning("%s: %s; trying again", self.name, error or type(error).__name__)
                if self._is_over() or self._ends.is_set():
                    self._given_up += len(batch)
                    return
                self._ends.wait(pause_s * random.uniform(0.7, 1.3))  # noqa: S311 - spreads load
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            else:
                self._sent += len(batch)
                if failures:
                    log.info("%s: takes records again", self.name)
                return
