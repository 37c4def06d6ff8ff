"""Old calls go in batches, and what they came to stays."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import func, select

from harness.wire import PATIENCE_S
from routewright.keeper.adjusting import Adjusting
from routewright.keeper.alerts import Alerts
from routewright.storage import Adjustable
from routewright.store import retention as module
from routewright.store.database import Database, now_ms
from routewright.store.ledger import spent_nusd
from routewright.store.reports import totals
from routewright.store.retention import Retention
from routewright.store.schema import spend
from store.test_spend_ledger import insert, record

DAY_MS = 86_400_000


def count(database: Database) -> int:
    return database.read(lambda connection: connection.scalar(select(func.count()).select_from(spend))) or 0


def test_old_calls_are_deleted_in_batches_and_their_sums_stay(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R22."""
    monkeypatch.setattr(module, "BATCH", 7)
    monkeypatch.setattr(module, "BREATH_S", 0.0)
    now = now_ms()
    insert(database, *[record(ended_at_ms=now - age * DAY_MS, cost_nusd=1) for age in range(40)])
    assert Retention(database, 10 * DAY_MS + 1000).prune(now) == 29
    assert count(database) == 11
    assert database.read(lambda connection: spent_nusd(connection, "key", "k1", 0, 1 << 62)) == 40
    assert sum(row["requests"] for row in database.read(lambda connection: totals(connection, ["model"]))) == 40


def test_thread_deletes_by_itself_and_ends_when_told(database: Database) -> None:
    insert(database, record(ended_at_ms=now_ms() - 5 * DAY_MS), record(ended_at_ms=now_ms()))
    retention = Retention(database, DAY_MS, every_s=0.05)
    retention.start()
    end_s = time.monotonic() + 60
    while count(database) != 1 and time.monotonic() < end_s:
        time.sleep(0.02)
    retention.stop()
    assert count(database) == 1


def test_everything_is_kept_where_nobody_said_how_long(database: Database) -> None:
    insert(database, record(ended_at_ms=1))
    retention = Retention(database, None)
    retention.start()
    retention.stop()
    assert count(database) == 1


def test_retention_that_is_changed_is_obeyed_at_once(database: Database) -> None:
    insert(database, record(ended_at_ms=now_ms() - 5 * DAY_MS), record(ended_at_ms=now_ms()))
    retention = Retention(database, None)
    retention.start()
    adjusting = Adjusting(Adjustable(read_at_ms=5), Alerts(None), retention)
    adjusting.take(Adjustable(spend_kept_ms=1, read_at_ms=4))  # of a configuration that is on its way out
    for kept_days, left in ((9, 2), (2, 1)):
        adjusting.take(Adjustable(spend_kept_ms=kept_days * DAY_MS, read_at_ms=6))
        end_s = time.monotonic() + 60
        while count(database) != left and time.monotonic() < end_s:
            time.sleep(0.02)
        assert count(database) == left
    retention.stop()


def test_stop_that_comes_as_it_begins_to_look_is_heard(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the process would wait for it until the next look."""
    retention = Retention(database, DAY_MS, every_s=3600)
    forget = retention._wake.clear

    def stopped_just_before() -> None:
        retention._stop.set()
        retention._wake.set()
        forget()

    monkeypatch.setattr(retention._wake, "clear", stopped_just_before)
    retention.start()
    retention._thread.join(PATIENCE_S)
    assert not retention._thread.is_alive()
