"""Lengths of time as LiteLLM's clients write them: `30s`, `15m`, `12h`, `30d`, `2w`, `1mo`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_SHAPE = re.compile(r"([1-9][0-9]{0,4})(s|m|h|d|w|mo)\Z")
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def is_duration(text: str) -> bool:
    """Whether it is one."""
    return _SHAPE.match(text) is not None


def after(start_ms: int, text: str) -> int:
    """The moment that lies `text` after another; milliseconds since 1970. A month keeps its day where it can."""
    found = _SHAPE.match(text)
    if found is None:
        raise ValueError("expected a duration such as 30s, 15m, 12h, 30d, 2w or 1mo")
    count, unit = int(found[1]), found[2]
    if unit != "mo":
        return start_ms + count * _UNIT_MS[unit]
    start = datetime.fromtimestamp(start_ms / 1000, UTC)
    months = start.year * 12 + start.month - 1 + count
    year, month = months // 12, months % 12 + 1
    first_of_next = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    last_day = (first_of_next - datetime(year, month, 1, tzinfo=UTC)).days
    return int(start.replace(year=year, month=month, day=min(start.day, last_day)).timestamp() * 1000)
