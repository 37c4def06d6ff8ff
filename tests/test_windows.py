"""Calendar windows: edges worked by hand, and no time outside its own window."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright.windows import FOREVER_MS, Window


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOW = ms("2026-11-24 05:47:13")  # a Tuesday


@pytest.mark.parametrize(
    ("duration", "start", "end"),
    [
        ("30s", "2026-11-24 05:47:00", "2026-11-24 05:47:30"),
        ("15m", "2026-11-24 05:45:00", "2026-11-24 06:00:00"),
        ("12h", "2026-11-24 00:00:00", "2026-11-24 12:00:00"),
        ("1d", "2026-11-24 00:00:00", "2026-11-25 00:00:00"),
        ("7d", "2026-11-23 00:00:00", "2026-11-30 00:00:00"),
        ("1w", "2026-11-23 00:00:00", "2026-11-30 00:00:00"),
        ("30d", "2026-11-01 00:00:00", "2026-12-01 00:00:00"),
        ("1mo", "2026-11-01 00:00:00", "2026-12-01 00:00:00"),
        ("3mo", "2026-10-01 00:00:00", "2027-01-01 00:00:00"),
        ("12mo", "2026-01-01 00:00:00", "2027-01-01 00:00:00"),
    ],
)
def test_window_has_the_edges_of_the_calendar(duration: str, start: str, end: str) -> None:
    assert Window(duration).bounds(NOW) == (ms(start), ms(end))
    assert Window(duration).bounds(ms(start)) == (ms(start), ms(end))
    assert Window(duration).bounds(ms(end) - 1) == (ms(start), ms(end))
    assert Window(duration).bounds(ms(end))[0] == ms(end)


def test_budget_without_a_duration_never_ends() -> None:
    assert Window(None).bounds(NOW) == (0, FOREVER_MS)
    assert not Window(None).ends


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1", "d", "1y", "1.5h", "100000d", "1 d", "1d1h", "1mo ; drop"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Window(text)


@given(st.integers(1, 400), st.sampled_from(["s", "m", "h", "d", "w", "mo"]), st.integers(0, ms("2100-01-01 00:00:00")))
def test_every_moment_lies_in_exactly_one_window(count: int, unit: str, now_ms: int) -> None:
    """F29: wherever a clock jumps to, the window is that time's own."""
    window = Window(f"{count}{unit}")
    start, end = window.bounds(now_ms)
    assert start <= now_ms < end
    assert window.bounds(end)[0] == end
    assert window.bounds(start - 1)[1] == start or start <= 0
