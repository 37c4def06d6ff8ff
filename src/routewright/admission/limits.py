"""Requests a minute, tokens a minute and parallel requests per key, exact over all workers of a machine.

Every key has a row of counters; with several workers the rows lie in memory that all of them map, and a row is changed
under a lock on its bytes of the file, which the kernel lets go of when a process dies. A window is 60 seconds of
monotonic time from its first request, so a clock that jumps neither opens a window twice nor closes one for good.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import secrets
import tempfile
import time
from collections.abc import Callable

from routewright.errors import RateLimited
from routewright.settings import KeySettings
from routewright.types import Call, Caller

WINDOW_MS = 60_000
USUAL_OUTPUT_TOKENS = 256
"""Reserved for an answer whose length the caller did not bound."""

_WINDOW, _REQUESTS, _TOKENS, _PARALLEL = range(4)
_CELL_BYTES = 8


class KeyLimits:
    """One key's limits and its row."""

    __slots__ = ("parallel", "row", "rpm", "tpm")

    def __init__(self, row: int, rpm: int | None, tpm: int | None, parallel: int | None) -> None:
        self.row, self.rpm, self.tpm, self.parallel = row, rpm, tpm, parallel


class Reservation:
    """What one admitted call holds until it is settled."""

    __slots__ = ("fields", "limits", "tokens", "window")

    def __init__(self, limits: KeyLimits | None) -> None:
        self.limits = limits
        self.tokens = 0
        self.window = 0
        self.fields = b""
        """Header lines for the client."""


class Counters:
    """Rows of whole numbers, shared by `workers` processes that are forked after this is made."""

    def __init__(self, rows: int, workers: int) -> None:
        self.run_id = secrets.randbits(63)
        """The same in all workers, another at each start."""
        self.width = _PARALLEL + workers
        self.workers = workers
        self.fd: int | None = None
        size = (rows * self.width + 1) * _CELL_BYTES
        if workers > 1:
            # A file without a name: nothing is left behind, and forked workers share both pages and locks.
            with tempfile.TemporaryFile() as file:
                file.truncate(size)
                self.fd = os.dup(file.fileno())
            self.cells = memoryview(mmap.mmap(self.fd, size)).cast("q")
        else:
            self.cells = memoryview(bytearray(size)).cast("q")

    def lock(self, row: int) -> None:
        if self.fd is not None:
            fcntl.lockf(self.fd, fcntl.LOCK_EX, _CELL_BYTES, row * self.width * _CELL_BYTES)

    def unlock(self, row: int) -> None:
        if self.fd is not None:
            fcntl.lockf(self.fd, fcntl.LOCK_UN, _CELL_BYTES, row * self.width * _CELL_BYTES)

    def forget_worker(self, worker: int) -> None:
        """A worker that died holds no parallel requests any more."""
        for at in range(_PARALLEL + worker, len(self.cells) - 1, self.width):
            self.cells[at] = 0

    @property
    def reloads(self) -> int:
        """How often some worker was told to read the router files again; every worker looks at it."""
        return self.cells[-1]

    @reloads.setter
    def reloads(self, count: int) -> None:
        self.cells[-1] = count


class Admission:
    """Lets a call in, or says when it may come back."""

    def __init__(
        self,
        counters: Counters,
        worker: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._counters = counters
        self._cells = counters.cells
        self._worker = worker
        self._monotonic = monotonic
        self._wall = wall
        self._rows = 0
        self._without = Reservation(None)

    def limits_of(self, key_hash: str, settings: KeySettings) -> KeyLimits | None:
        """Give a key its row. Called in the same order in every worker."""
        row, self._rows = self._rows, self._rows + 1
        if settings.rpm_limit is None and settings.tpm_limit is None and settings.max_parallel_requests is None:
            return None
        return KeyLimits(row, settings.rpm_limit, settings.tpm_limit, settings.max_parallel_requests)

    def admit(self, caller: Caller, call: Call) -> Reservation:
        """Raises RateLimited with the time until the request could pass."""
        limits: KeyLimits | None = caller.limits
        if limits is None:
            return self._without
        counters, cells = self._counters, self._cells
        base = limits.row * counters.width
        reservation = Reservation(limits)
        now_ms = int(self._monotonic() * 1000)
        counters.lock(limits.row)
        try:
            started = cells[base + _WINDOW]
            if not started or now_ms - started >= WINDOW_MS:
                started = cells[base + _WINDOW] = max(1, now_ms)
                cells[base + _REQUESTS] = cells[base + _TOKENS] = 0
            left_ms = started + WINDOW_MS - now_ms
            requests, tokens = cells[base + _REQUESTS], cells[base + _TOKENS]
            if limits.rpm is not None and requests >= limits.rpm:
                raise self._refusal(limits, requests, tokens, left_ms, "requests")
            wanted = 0
            if limits.tpm is not None:
                output = call.max_tokens if call.max_tokens is not None else USUAL_OUTPUT_TOKENS
                # A call larger than the whole limit may pass on an empty window; else it never could.
                wanted = max(1, min(call.prompt_tokens_estimate + output * call.n_choices, limits.tpm))
                if tokens + wanted > limits.tpm:
                    raise self._refusal(limits, requests, tokens, left_ms, "tokens")
            if limits.parallel is not None:
                running = sum(cells[base + _PARALLEL : base + counters.width])
                if running >= limits.parallel:
                    raise self._refusal(limits, requests, tokens, left_ms, "max_parallel_requests")
                cells[base + _PARALLEL + self._worker] += 1
            requests += 1
            tokens += wanted
            cells[base + _REQUESTS] = requests
            cells[base + _TOKENS] = tokens
        finally:
            counters.unlock(limits.row)
        reservation.tokens = wanted
        reservation.window = started
        reservation.fields = self._fields(limits, requests, tokens, left_ms)
        return reservation

    def settle(self, reservation: Reservation, tokens: int) -> None:
        """Give back the parallel place, and correct the window's tokens by what was really used."""
        limits = reservation.limits
        if limits is None:
            return
        counters, cells = self._counters, self._cells
        base = limits.row * counters.width
        if limits.parallel is None and (limits.tpm is None or tokens == reservation.tokens):
            return
        counters.lock(limits.row)
        try:
            if limits.parallel is not None:
                cells[base + _PARALLEL + self._worker] -= 1
            if limits.tpm is not None and cells[base + _WINDOW] == reservation.window:
                cells[base + _TOKENS] += tokens - reservation.tokens
        finally:
            counters.unlock(limits.row)

    # --- what the client is told ----------------------------------------------------------------------------------

    def _fields(self, limits: KeyLimits, requests: int, tokens: int, left_ms: int) -> bytes:
        seconds = -(-left_ms // 1000)
        reset = math.ceil(self._wall() + left_ms / 1000)
        if limits.rpm is not None:
            remaining = limits.rpm - requests
            if remaining < 0:
                remaining = 0
            fields = (
                b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n"
                b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n"
                b"x-ratelimit-reset-requests: %ds\r\n" % (limits.rpm, remaining, reset, limits.rpm, remaining, seconds)
            )
        elif limits.tpm is not None:
            fields = b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n" % (
                limits.tpm,
                max(0, limits.tpm - tokens),
                reset,
            )
        else:
            running = self._running(limits)
            most = limits.parallel or 0
            fields = b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n" % (
                most,
                max(0, most - running),
                math.ceil(self._wall()) + 1,
            )
        if limits.tpm is not None:
            fields += (
                b"x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: %ds\r\n"
                % (limits.tpm, max(0, limits.tpm - tokens), seconds)
            )
        return fields

    def _running(self, limits: KeyLimits) -> int:
        base = limits.row * self._counters.width
        return sum(self._cells[base + _PARALLEL : base + self._counters.width])

    def _refusal(self, limits: KeyLimits, requests: int, tokens: int, left_ms: int, kind: str) -> RateLimited:
        most = {"requests": limits.rpm, "tokens": limits.tpm, "max_parallel_requests": limits.parallel}[kind]
        what = {
            "requests": f"{most} requests a minute",
            "tokens": f"{most} tokens a minute",
            "max_parallel_requests": f"{most} requests at the same time",
        }[kind]
        # Of parallel requests nobody knows when one ends; soon, as a rule.
        wait_s = 1 if kind == "max_parallel_requests" else max(1, -(-left_ms // 1000))
        error = RateLimited(
            f"this key may make {what}; try again in {wait_s} s"
            if kind != "tokens"
            else f"this key may use {what}; try again in {wait_s} s",
            retry_after_s=wait_s,
            limit_type=kind,
            reset_at_epoch_s=math.ceil(self._wall()) + wait_s,
        )
        error.fields = self._fields(limits, requests, tokens, left_ms)
        return error
