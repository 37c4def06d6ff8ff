"""How far the ledger is behind the journal: what lies on disk and is no row yet, and since when the oldest waits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

MOST_LINE_BYTES = 2 * 1024 * 1024


class Lag(NamedTuple):
    """Nothing waits: (0, 0)."""

    size_bytes: int
    oldest_at_ms: int
    """Wall clock, milliseconds since 1970: when the oldest call that is no row yet ended."""

    def age_s(self, now_ms: int) -> float:
        """How long that is ago."""
        return max(0, now_ms - self.oldest_at_ms) / 1000 if self.size_bytes else 0.0


class _Ended(msgspec.Struct):
    ended_at_ms: int | None = None
    started_at: float = 0.0


_decode = msgspec.json.Decoder(_Ended).decode


def lag_of(folder: Path, positions: Mapping[str, int]) -> Lag:
    """Of the journal files in `folder`, of which so many bytes are in the ledger; a file that is not named is not there
    at all. A last line without an end counts once it has one: it is being written, or was cut short for good."""
    size_bytes, oldest_at_ms = 0, 0
    for path in folder.glob("*.jsonl"):
        at = positions.get(path.name, 0)
        try:
            found = path.stat()
            left = found.st_size - at
            if left <= 0:
                continue
            with path.open("rb") as file:
                file.seek(at)
                line = file.readline(MOST_LINE_BYTES)
        except OSError:  # it was brought in and deleted meanwhile
            continue
        if not line.endswith(b"\n") and len(line) < MOST_LINE_BYTES:
            continue
        size_bytes += left
        ended_at_ms = _ended_at_ms(line) or int(found.st_mtime * 1000)
        oldest_at_ms = min(oldest_at_ms or ended_at_ms, ended_at_ms)
    return Lag(size_bytes, oldest_at_ms)


def _ended_at_ms(line: bytes) -> int:
    """0: of no record."""
    try:
        record = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
    return record.ended_at_ms or int(record.started_at * 1000)
