"""The calendar windows of budgets: `30s`, `15m`, `12h`, `7d`, `1w`, `30d`, `1mo`, in UTC.

A window is a function of the time alone, so nothing has to be reset by anybody and a clock that jumps back finds the
window it left. Its edges are LiteLLM's: a day at midnight, a week on Monday, 30 days and a month on the first.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

SECOND_MS = 1000
DAY_MS = 86_400_000
_MONDAY_MS = 4 * DAY_MS
"""The first Monday after 1970-01-01, a Thursday."""
_SHAPE = re.compile(r"([1-9][0-9]{0,4})(s|m|h|d|w|mo)\Z")
_UNIT_MS = {"s": SECOND_MS, "m": 60 * SECOND_MS, "h": 3600 * SECOND_MS, "d": DAY_MS, "w": 7 * DAY_MS}
FOREVER_MS = 1 << 62


class Window:
    """A length such as `12h`, which tells the bounds of the window that a time lies in."""

    __slots__ = ("_months", "_offset_ms", "_span_ms", "text")

    def __init__(self, text: str | None) -> None:
        """None is a window that never ends. Raises ValueError for what is no duration."""
        self.text = text
        self._months = self._span_ms = self._offset_ms = 0
        if text is None:
            return
        found = _SHAPE.match(text.strip().lower())
        if found is None:
            raise ValueError("expected a duration such as 30s, 15m, 12h, 30d, 1w or 1mo")
        count, unit = int(found[1]), found[2]
        if unit == "mo":
            self._months = count
        elif unit == "d" and count == 30:
            self._months = 1
        else:
            self._span_ms = count * _UNIT_MS[unit]
            if self._span_ms % (7 * DAY_MS) == 0:
                self._offset_ms = _MONDAY_MS

    @property
    def ends(self) -> bool:
        return self.text is not None

    @property
    def seconds(self) -> int:
        """Its length; a month counts 31 days."""
        return self._span_ms // 1000 if self._span_ms else self._months * 31 * DAY_MS // 1000

    def bounds(self, now_ms: int) -> tuple[int, int]:
        """First millisecond of the window that `now_ms` lies in, and that of the next; milliseconds since 1970."""
        if self._span_ms:
            start = (now_ms - self._offset_ms) // self._span_ms * self._span_ms + self._offset_ms
            return start, start + self._span_ms
        if self._months:
            now = datetime.fromtimestamp(now_ms / 1000, UTC)
            first = (now.year * 12 + now.month - 1) // self._months * self._months
            return _month_ms(first), _month_ms(first + self._months)
        return 0, FOREVER_MS


def _month_ms(months: int) -> int:
    """Start of a month, counted from January of the year 0."""
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000
