"""Requests, tokens and places: rows of limits in the minute that is now, and who is refused by which of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from routewright.admission.counters import FIRST, HELD, SECOND, TOUCHED, WINDOW, Counters
from routewright.admission.fields import limit_fields, refusal_of_limit
from routewright.admission.leases import Leases
from routewright.admission.meters import LimitMeter, LimitRow
from routewright.admission.needs import tokens_of
from routewright.errors import RateLimited
from routewright.types import Call

WINDOW_MS = 60_000


class Rates:
    """All of it is called under the lock of the counters."""

    def __init__(
        self, counters: Counters, leases: Leases | None = None, *, wall: Callable[[], float] = time.time
    ) -> None:
        self._counters = counters
        self._cells = counters.cells
        self._leases = leases
        self._wall = wall
        self.fields = leases.fields if leases is not None else partial(limit_fields, counters.cells)
        """Header lines of rows."""

    def rows(self, limits: Iterable[LimitMeter], now_ms: int) -> list[LimitRow]:
        """Each limit's row, in the window that is now."""
        cells = self._cells
        rows: list[LimitRow] = []
        for limit in limits:
            base = limit.base
            if cells[base] != limit.tag:
                base = limit.base = self._counters.find(limit.tag, now_ms)
            started = cells[base + WINDOW]
            if not started or now_ms - started >= WINDOW_MS:
                if self._leases is not None:
                    self._leases.roll(base, now_ms)
                started = cells[base + WINDOW] = max(1, now_ms)
                cells[base + FIRST] = cells[base + SECOND] = 0
            cells[base + TOUCHED] = now_ms
            rows.append((limit, base, started, 0, None))
        return rows

    def reached(self, limit: LimitMeter, tokens: int) -> str:
        """Which of an owner's limits has no room for a call of `tokens`; empty where all have."""
        if self._leases is not None:
            return self._leases.reached(limit, tokens)
        cells, base = self._cells, limit.base
        if limit.rpm is not None and cells[base + FIRST] >= limit.rpm:
            return "requests"
        if limit.tpm is not None and cells[base + SECOND] + tokens > limit.tpm:
            return "tokens"
        if limit.parallel is not None:
            return "max_parallel_requests" if cells[base + HELD] >= limit.parallel else ""
        return ""

    def refusal(self, limits: Iterable[LimitMeter], now_ms: int, call: Call) -> RateLimited:
        """Of all limits that are reached the one that takes longest, so that waiting for it is enough."""
        rows = self.rows(limits, now_ms)
        worst: tuple[int, LimitMeter, str] | None = None
        for limit, _, started, _, _ in rows:
            kind = self.reached(limit, tokens_of(limit, call))
            # Of parallel requests nobody knows when one ends; soon, as a rule.
            wait_ms = 1000 if kind == "max_parallel_requests" else started + WINDOW_MS - now_ms
            if kind and (worst is None or wait_ms > worst[0]):
                worst = wait_ms, limit, kind
        assert worst is not None
        wall_s = self._wall()
        error = refusal_of_limit(worst[1], worst[2], worst[0], wall_s)
        error.fields = self.fields(rows, now_ms, wall_s)
        return error

    def refusal_by_any(self, limits: Iterable[LimitMeter], call: Call, now_ms: int) -> RateLimited | None:
        """None where all of them let the call in."""
        rows = self.rows(limits, now_ms)
        if any(self.reached(limit, tokens_of(limit, call)) for limit, *_ in rows):
            return self.refusal(limits, now_ms, call)
        return None
