"""Figures as people read them: money, counts, durations and times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import floor, log10
from typing import Any
from urllib.parse import quote

from routewright.types import NUSD_PER_USD

NOTHING = "–"


def usd(nusd: float | None) -> str:
    """Nano-dollars as dollars: two digits that matter, at least cents."""
    return NOTHING if nusd is None else dollars(nusd / NUSD_PER_USD)


def dollars(value: float | None) -> str:
    if value is None:
        return NOTHING
    if value == 0:
        return "$0"
    size = abs(value)
    digits = 2 if size >= 1 else min(9, 1 - floor(log10(size)))
    return f"{'−' if value < 0 else ''}${size:,.{max(2, digits)}f}"


def count(value: float | None) -> str:
    """12,345; 1.2 M."""
    if value is None:
        return NOTHING
    for least, unit in ((1e9, "B"), (1e6, "M"), (1e5, "k")):
        if abs(value) >= least:
            return f"{value / least * (100 if unit == 'k' else 1):.3g}\u00a0{unit}"
    return f"{value:,.0f}"


def percent(share: float | None) -> str:
    if share is None:
        return NOTHING
    digits = 0 if abs(share) >= 0.1 or share == 0 else 1 if abs(share) >= 0.01 else 2
    return f"{share * 100:.{digits}f}\u00a0%"


def duration(ms: float | None) -> str:
    """Milliseconds: 85 ms, 1.24 s, 3 min. The ledger has whole ones, so that nothing means less than one."""
    if ms is None:
        return NOTHING
    if ms == 0:
        return "< 1\u00a0ms"
    if ms < 1:
        return f"{ms * 1000:.0f}\u00a0µs"
    if ms < 1000:
        return f"{ms:.0f}\u00a0ms"
    if ms < 120_000:
        return f"{ms / 1000:.3g}\u00a0s"
    return f"{ms / 60_000:.0f}\u00a0min"


def moment(at_ms: float | None) -> str:
    """A time in UTC, to the second."""
    return NOTHING if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def day(at_ms: float) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def hour(at_ms: float) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M")


def iso(at_ms: float) -> str:
    """For the `datetime` attribute of a `time`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short(text: str | None, most: int = 12) -> str:
    """The start of an id."""
    if not text:
        return NOTHING
    return text if len(text) <= most else text[:most] + "…"


def price(usd_per_token: float | None) -> str:
    """US dollars per million tokens."""
    return NOTHING if usd_per_token is None else f"${usd_per_token * 1e6:.4g}"


def quoted(text: str) -> str:
    """For a path: a name with nothing in it that ends one."""
    return quote(text, safe="")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


FILTERS: Mapping[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (usd, dollars, count, percent, duration, moment, day, hour, iso, short, price, quoted)
}  # fmt: skip
