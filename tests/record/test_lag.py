"""How far the ledger is behind: what is on disk and no row yet, and since when."""

from __future__ import annotations

import json
import os
from pathlib import Path

from routewright.record.lag import Lag, lag_of


def lines(*ended_at_ms: int) -> bytes:
    return b"".join(json.dumps({"call_id": str(at), "ended_at_ms": at}).encode() + b"\n" for at in ended_at_ms)


def test_lag_is_what_no_file_s_place_has_passed_and_the_oldest_of_it(tmp_path: Path) -> None:
    assert lag_of(tmp_path / "missing", {}) == Lag(0, 0)
    (tmp_path / "a.jsonl").write_bytes(lines(5000, 7000))
    (tmp_path / "b.jsonl").write_bytes(lines(6000))
    one = len(lines(5000))
    assert lag_of(tmp_path, {}) == Lag(3 * one, 5000)
    assert lag_of(tmp_path, {"a.jsonl": one}) == Lag(2 * one, 6000)
    assert lag_of(tmp_path, {"a.jsonl": one, "b.jsonl": one}) == Lag(one, 7000)
    assert lag_of(tmp_path, {"a.jsonl": 2 * one, "b.jsonl": one, "gone.jsonl": 9}) == Lag(0, 0)
    assert (Lag(1, 5000).age_s(7500), Lag(1, 5000).age_s(4000), Lag(0, 0).age_s(7500)) == (2.5, 0, 0)


def test_half_a_line_is_no_record_and_one_that_is_none_is_as_old_as_its_file(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines(5000) + b'{"call_id": "cut by a cra')
    assert lag_of(tmp_path, {"a.jsonl": len(lines(5000))}) == Lag(0, 0)
    file.write_bytes(b"\xff rubbish\n" + lines(5000))
    os.utime(file, (9.0, 9.0))
    assert lag_of(tmp_path, {}) == Lag(file.stat().st_size, 9000)
