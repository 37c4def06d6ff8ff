"""The journal: on disk before an answer's end, in order, whatever the disk does."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from routewright.record import journal as module
from routewright.record.journal import DecisionRecord, Journal, Record, read_journal
from routewright.types import Notes


def record(call_id: str, **changed: Any) -> Record:
    values: dict[str, Any] = {
        "call_id": call_id, "request_id": "r", "started_at": 1.5, "ended_at_ms": 2500, "endpoint": "chat",
        "key_hash": "h",
        "key_alias": None, "model_asked": "auto", "model": "m", "deployment": "d", "provider": "openai", "status": 200,
        "error_code": None, "ended": "complete", "is_stream": False, "prompt_tokens": 1, "completion_tokens": 2,
        "cached_tokens": 0, "reasoning_tokens": 0, "usage_estimated": False, "cost_nusd": 3, "is_priced": True,
        "latency_ms": 1.0, "ttft_ms": None, "attempts": 1, "fallbacks": 0,
    }  # fmt: skip
    return Record(**{**values, **changed})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """A journal, and what was on disk at each release."""

    def __init__(self, folder: Path, name: str = "w") -> None:
        self.folder = folder
        self.clock = Clock()
        self.journal = Journal(folder, name, monotonic=self.clock)
        self.released: list[tuple[str, list[str]]] = []

    def append(self, *call_ids: str, **changed: Any) -> None:
        for call_id in call_ids:
            self.journal.append(record(call_id, **changed), lambda name=call_id: self.release(name))

    def release(self, call_id: str) -> None:
        self.released.append((call_id, self.on_disk()))

    def on_disk(self) -> list[str]:
        return [each["call_id"] for each in read_journal(self.folder)]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.released]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "journal")
    yield made
    made.journal.close()


@contextmanager
def full_disk(folder: Path, spare: int = 0) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond the journal's size now and `spare` bytes."""
    size = max(path.stat().st_size for path in folder.glob("*.jsonl")) + spare
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_record_is_on_disk_before_its_answer_is_released(kept: Kept) -> None:
    """L: an answer that a client has seen to its end has its row."""
    kept.append("a", "b", "c")
    assert kept.names == []
    kept.journal.flush()
    assert kept.released == [(name, ["a", "b", "c"]) for name in "abc"]


def test_all_records_of_one_turn_of_the_loop_are_released_after_it(kept: Kept) -> None:
    async def main() -> list[str]:
        kept.journal.start(asyncio.get_running_loop())
        kept.append("a")
        kept.append("b")
        during = kept.names
        await asyncio.sleep(0)
        assert kept.names == ["a", "b"]
        kept.append("c")
        await asyncio.sleep(0)
        return during

    assert asyncio.run(main()) == []
    assert kept.names == ["a", "b", "c"]


def test_release_that_fails_keeps_no_other_answer_waiting(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise OSError("gone")

    kept.append("a")
    kept.journal.append(record("b"), fails)
    kept.append("c")
    kept.journal.flush()
    assert kept.names == ["a", "c"]
    assert kept.on_disk() == ["a", "b", "c"]
    assert "could not be released" in caplog.text


def test_every_field_comes_back(kept: Kept) -> None:
    decision = DecisionRecord(route="auto", chosen="m", confidence=0.5, reason="cheapest", baseline_nusd=9)
    kept.append("a", user="ü\n", tags=("t", "\u2028"), decision=decision, key_alias="team")
    kept.journal.close()
    (back,) = read_journal(kept.folder)
    kept.journal = Journal(kept.folder, "next")
    # These are left out where there are none.
    assert set(back) == set(Record.__struct_fields__) - {"notes", "trace", "failed_attempts"}
    assert (back["user"], back["tags"], back["key_alias"]) == ("ü\n", ["t", "\u2028"], "team")
    assert back["decision"]["baseline_nusd"] == 9


def test_what_cache_and_guardrails_did_comes_back(kept: Kept) -> None:
    kept.append("a", notes=Notes(cache_hit=True, saved_nusd=7, found={"email": 2}))
    kept.journal.close()
    (back,) = read_journal(kept.folder)
    kept.journal = Journal(kept.folder, "next")
    assert back["notes"] == {"cache_hit": True, "saved_nusd": 7, "found": {"email": 2}}


def test_records_are_for_the_owner_s_eyes_only(kept: Kept) -> None:
    """T17."""
    kept.append("a")
    kept.journal.flush()
    assert {path.stat().st_mode & 0o777 for path in kept.folder.iterdir()} == {0o600}


# --- reading -------------------------------------------------------------------------------------------------------


def test_torn_last_line_is_left_out_and_the_rest_is_read(kept: Kept) -> None:
    """F15: a crash in the middle of a write costs no other record, at whichever byte it comes."""
    kept.append("a", "b")
    kept.journal.flush()
    (path,) = kept.folder.glob("*.jsonl")
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for end in range(second, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert kept.on_disk() == ["a"]
    for end in range(second - 1):
        path.write_bytes(whole[:end])
        assert kept.on_disk() == []


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"5", b"null", b"\xff\xfe", b'{"call_id":', b"[" * 5000, b"\x00" * 4096, b'"call_id"']
)
def test_line_that_is_no_record_is_left_out(line: bytes, kept: Kept) -> None:
    kept.append("a")
    kept.journal.flush()
    (path,) = kept.folder.glob("*.jsonl")
    path.write_bytes(line + b"\n" + path.read_bytes() + line + b"\n")
    assert kept.on_disk() == ["a"]


def test_call_that_stands_twice_counts_once(kept: Kept, tmp_path: Path) -> None:
    """L: exactly one settled row, in one file or in two."""
    kept.append("a", "b", "a")
    kept.journal.flush()
    other = Kept(kept.folder, "v")
    other.append("b", "c")
    other.journal.close()
    assert sorted(kept.on_disk()) == ["a", "b", "c"]


def test_empty_and_missing_folders_hold_no_record(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path)) == []
    assert list(read_journal(tmp_path / "nowhere")) == []


# --- a full disk ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spare", [0, 1, 100, 700])
def test_records_for_a_full_disk_are_held_and_written_in_order_when_it_takes_them(kept: Kept, spare: int) -> None:
    """F22, F23: no crash, answers go on, and L once there is space; also where a line was cut in two."""
    kept.append("a")
    kept.journal.flush()
    with full_disk(kept.folder, spare):
        for name in "bcdef":
            kept.append(name)
            kept.journal.flush()
        assert kept.names == list("abcdef")
        assert kept.journal.is_failing
        kept.clock.now += 5
        kept.append("g")
        kept.journal.flush()
        assert kept.journal.is_failing
        assert "g" not in kept.on_disk()
    kept.append("h")
    kept.journal.flush()
    assert "h" not in kept.on_disk()  # the disk is left alone for a second
    kept.clock.now += 1
    kept.append("i")
    kept.journal.flush()
    assert kept.on_disk() == list("abcdefghi")
    assert not kept.journal.is_failing


def test_records_held_at_the_end_are_written_then(tmp_path: Path) -> None:
    """F22, F30: a stop within the second of waiting loses nothing that the disk would take."""
    kept = Kept(tmp_path)
    kept.append("a")
    kept.journal.flush()
    with full_disk(tmp_path):
        kept.append("b")
        kept.journal.flush()
    kept.append("c")
    kept.journal.close()
    assert kept.on_disk() == ["a", "b", "c"]
    assert kept.names == ["a", "b", "c"]


def test_records_that_no_disk_takes_are_counted_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(tmp_path)
    kept.append("a")
    kept.journal.flush()
    with full_disk(tmp_path):
        kept.append("b", "c")
        kept.journal.close()
    assert "2 records are lost" in caplog.text
    assert kept.names == ["a", "b", "c"]


def test_full_disk_is_said_once_and_so_is_its_end(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    kept.append("a")
    kept.journal.flush()
    with full_disk(kept.folder):
        for name in "bcdefg":
            kept.clock.now += 1
            kept.append(name)
            kept.journal.flush()
    kept.clock.now += 1
    kept.append("h")
    kept.journal.flush()
    assert [entry.levelname for entry in caplog.records] == ["ERROR", "WARNING"]


def test_what_is_held_has_an_end(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """F22: beyond it the gateway takes no request that it could not record."""
    monkeypatch.setattr(module, "MAX_UNWRITTEN_BYTES", 2000)
    kept.append("a")
    kept.journal.flush()
    with full_disk(kept.folder):
        kept.append("b")
        kept.journal.flush()
        assert not kept.journal.is_full
        kept.append(*"cdefg")
        kept.journal.flush()
        assert kept.journal.is_full
    kept.clock.now += 1
    kept.append("h")
    kept.journal.flush()
    assert not kept.journal.is_full
    assert kept.on_disk() == list("abcdefgh")


# --- rotation ------------------------------------------------------------------------------------------------------


def test_full_file_is_followed_by_another(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROTATE_BYTES", 1000)
    names = [f"{number:02}" for number in range(12)]
    for name in names:
        kept.append(name)
        kept.journal.flush()
    paths = sorted(kept.folder.glob("*.jsonl"))
    assert len(paths) > 3
    assert all(path.stat().st_size < 2000 for path in paths)
    assert all(json.loads(line) for path in paths for line in path.read_bytes().splitlines())
    assert kept.on_disk() == names


def test_without_a_new_file_the_old_one_grows_on(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """F31: no descriptor left; no record and no answer is lost, and nothing goes to a descriptor that was closed."""
    monkeypatch.setattr(module, "ROTATE_BYTES", 1000)
    kept.append("a")
    kept.journal.flush()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        for name in "bcde":
            kept.journal.append(record(name), lambda: None)
            kept.journal.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "grows on" in caplog.text
    kept.append("f")
    kept.journal.flush()
    assert kept.on_disk() == list("abcdef")
