"""The journal reaches the ledger whole and once, whatever is killed, cut short, locked or down on the way."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from routewright.errors import StorageUnavailable
from routewright.store import follower as module
from routewright.store.database import Database
from routewright.store.follower import Follower
from routewright.store.incoming import Incoming, read_record
from routewright.store.ledger import read_position
from routewright.store.schema import spend, spend_hours
from store.test_spend_ledger import record


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


def count(database: Database) -> int:
    found = database.read(
        lambda connection: (
            connection.scalar(select(func.count()).select_from(spend)),
            connection.scalar(select(func.coalesce(func.sum(spend_hours.c.requests), 0))),
        )
    )
    assert found[0] == int(found[1]), "rows and sums move together"
    return int(found[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "journal"
    made.mkdir()
    return made


def test_what_is_appended_arrives_once_and_a_new_follower_goes_on_there(database: Database, folder: Path) -> None:
    """L: after a crash of the store's process too."""
    path = folder / "a.jsonl"
    path.write_bytes(lines(record(), record()))
    assert Follower(database, folder).drain() == 2
    with path.open("ab") as file:
        file.write(lines(record()))
    follower = Follower(database, folder)
    assert follower.drain() == 1
    assert follower.drain() == 0
    assert database.read(lambda connection: read_position(connection, "a.jsonl")) == path.stat().st_size
    assert count(database) == 3


def test_database_that_forgot_the_place_gets_everything_and_nothing_twice(database: Database, folder: Path) -> None:
    """A crash before the place was known, or another database."""
    data = lines(*[record() for _ in range(10)])
    (folder / "a.jsonl").write_bytes(data)
    (folder / "b.jsonl").write_bytes(data[: len(data) // 2])
    assert Follower(database, folder).drain() == 10
    assert count(database) == 10


def test_half_a_record_waits_for_its_other_half(database: Database, folder: Path) -> None:
    path = folder / "a.jsonl"
    data = lines(record(), record())
    follower = Follower(database, folder)
    for cut in (1, len(data) // 2 + 20, len(data) - 1):
        path.write_bytes(data[:cut])
        follower.drain()
    path.write_bytes(data)
    follower.drain()
    assert count(database) == 2


def test_rubbish_between_records_is_left_out_and_said(
    database: Database, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rubbish = b'{"call_id": 1}\n\xff\xfe\n[]\n' + b"[" * 100_000 + b"\n\n" + b'{"cut\n'
    (folder / "a.jsonl").write_bytes(lines(record()) + rubbish + lines(record()))
    assert Follower(database, folder).drain() == 2
    assert caplog.text.count("no record ends at byte") == 6


def test_row_that_the_database_refuses_keeps_no_other_back(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def spoilt(line: bytes) -> Incoming:
        read = read_record(line)
        if read.row.request_id != "bad":
            return read
        return read._replace(row=read.row._replace(endpoint=None))  # type: ignore[arg-type]  # NOT NULL

    monkeypatch.setattr(module, "read_record", spoilt)
    records = [record(request_id="bad" if number == 37 else "good") for number in range(100)]
    (folder / "a.jsonl").write_bytes(lines(*records))
    assert Follower(database, folder).drain() == 99
    assert "refuses the record" in caplog.text
    assert Follower(database, folder).drain() == 0


def test_large_journal_is_read_in_pieces(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R18: memory stays flat."""
    monkeypatch.setattr(module, "BATCH_BYTES", 2000)
    (folder / "a.jsonl").write_bytes(lines(*[record(model_asked="x" * (number * 37 % 4000)) for number in range(60)]))
    assert Follower(database, folder).drain() == 60


def test_file_is_deleted_when_all_of_it_is_in_and_nobody_writes_to_it(database: Database, folder: Path) -> None:
    done, written_to, fresh = (folder / name for name in ("done.jsonl", "held.jsonl", "new.jsonl"))
    for path in (done, written_to, fresh):
        path.write_bytes(lines(record()))
    for path in (done, written_to):
        os.utime(path, (1, 1))
    with written_to.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        Follower(database, folder).drain()
    assert not done.exists()
    assert written_to.exists()
    assert fresh.exists()
    assert database.read(lambda connection: read_position(connection, "done.jsonl")) == 0
    assert count(database) == 3


def test_locked_database_delays_rows_and_loses_none(tmp_path: Path, folder: Path) -> None:
    """F21, R18: SQLite, held by another process' transaction."""
    database = Database(f"sqlite:///{tmp_path / 'locked.sqlite3'}")
    database.migrate()
    (folder / "a.jsonl").write_bytes(lines(*[record() for _ in range(5)]))
    holder = sqlite3.connect(tmp_path / "locked.sqlite3", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    follower = Follower(database, folder)
    with pytest.raises(StorageUnavailable):
        follower.drain()
    holder.execute("COMMIT")
    holder.close()
    assert follower.drain() == 5
    database.close()


def test_follower_keeps_trying_until_the_database_is_back(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """F25, F27: one error line, one when it is over, and everything is in at the end."""
    monkeypatch.setattr(module, "EVERY_S", 0.02)
    database = Database(f"sqlite:///{tmp_path / 'locked.sqlite3'}")
    database.migrate()
    stop = threading.Event()
    holder = sqlite3.connect(tmp_path / "locked.sqlite3", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    thread = threading.Thread(target=Follower(database, folder).run, args=(stop,))
    thread.start()
    caplog.set_level("INFO")
    (folder / "a.jsonl").write_bytes(lines(*[record() for _ in range(5)]))
    end_s = time.monotonic() + 60
    while "stay in the journal" not in caplog.text and time.monotonic() < end_s:
        time.sleep(0.02)
    holder.execute("COMMIT")
    holder.close()
    while "none was lost" not in caplog.text and time.monotonic() < end_s:
        time.sleep(0.02)
    with (folder / "a.jsonl").open("ab") as file:
        file.write(lines(record()))
    stop.set()
    thread.join(60)
    assert count(database) == 6, "what came last is brought in before it ends"
    assert caplog.text.count("stay in the journal") == 1
    database.close()


def test_batch_by_batch_everything_comes_in_and_nothing_is_deleted_before(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs beside requests takes one batch at a time, and old files go only when they are read to their end."""
    monkeypatch.setattr(module, "BATCH_BYTES", 3000)
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    path = folder / "old.jsonl"
    path.write_bytes(lines(*[record() for _ in range(100)]) + b'{"half')
    os.utime(path, (1, 1))
    follower = Follower(database, folder)
    left = [follower._step() for _ in range(3)]
    assert left == sorted(left, reverse=True)
    assert left[-1] > 0
    assert path.exists()
    stop = threading.Event()
    thread = threading.Thread(target=follower.run, args=(stop,))
    thread.start()
    end_s = time.monotonic() + 60
    while path.exists() and time.monotonic() < end_s:
        time.sleep(0.02)
    stop.set()
    thread.join(60)
    assert count(database) == 100
    assert not path.exists()


def test_pause_is_long_only_while_records_come_faster_than_they_go(database: Database, folder: Path) -> None:
    follower = Follower(database, folder)
    assert follower._pause_s(0, 0.01) == module.EVERY_S
    assert follower._pause_s(1000, 0.01) == pytest.approx(0.01 * (1 / module.SHARE - 1))
    assert follower._pause_s(900, 0.01) == 0.0
    assert follower._pause_s(module.MOST_BACKLOG_BYTES + 1, 0.01) == 0.0
