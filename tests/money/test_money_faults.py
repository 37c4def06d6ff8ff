"""Databases that are gone, locked or full: requests go on, nothing is lost, and budgets fail closed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from harness.gateway import TEAM_KEY, Gateway, eventually, running
from harness.postgres import Postgres
from harness.upstream import Upstream
from harness.wire import assert_error, secret
from money.answers import uses_all
from money.conftest import MAX_TOKENS, priced_config, wait_for_the_ledger

IS_LONG = os.environ.get("ROUTEWRIGHT_LONG") == "1"
OUTAGE_S = 60.0 if IS_LONG else 1.0
LOCK_S = 10.0 if IS_LONG else 1.0
KILLING_S = 60.0 if IS_LONG else 1.5
RICH_KEY, NEW_KEY = secret("rich"), secret("new")


def config_of(upstream: Upstream) -> dict[str, Any]:
    config = priced_config(upstream)
    config["keys"] += [
        {"key": RICH_KEY, "alias": "rich", "max_budget": 1000.0},
        {"key": NEW_KEY, "alias": "new", "max_budget": 1000.0},
    ]
    uses_all(upstream["paid"], gap_s=0)
    return config


def paid_chat(gateway: Gateway, key: str = TEAM_KEY) -> int:
    return gateway.chat("paid", key=key, max_tokens=MAX_TOKENS).status


class Clients:
    """Two that keep asking in the background, with and without a budget, and keep count of what they are told."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stop = threading.Event()
        self.statuses: list[int] = []
        self._threads = [threading.Thread(target=self._ask, args=(key,)) for key in (TEAM_KEY, RICH_KEY)]

    def _ask(self, key: str) -> None:
        while not self._stop.is_set():
            self.statuses.append(paid_chat(self._gateway, key))
            time.sleep(0.01)

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def spent_rows(connect: Any) -> int:
    with connect() as connection:
        return connection.execute("SELECT count(*) FROM spend WHERE model = 'paid'").fetchone()[0]


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


def resident_mb(gateway: Gateway) -> float:
    return sum(process.memory_info().rss for process in gateway.processes()) / 1e6


def test_postgres_that_stops_under_load_delays_rows_and_nothing_else(
    upstream: Upstream, own_postgres: Postgres
) -> None:
    """F25, R18: known budgets go on, an unknown one fails closed, and every row is there afterwards."""
    address = own_postgres.new_database()
    config = config_of(upstream)
    with running(config, workers=2, environment={"DATABASE_URL": address}) as gateway:
        wait_for_the_ledger(gateway)
        assert paid_chat(gateway, RICH_KEY) == 200
        with Clients(gateway) as clients:
            time.sleep(0.5)
            own_postgres.stop()
            before_mb = resident_mb(gateway)
            end_s = time.monotonic() + OUTAGE_S
            refused = gateway.chat("paid", key=NEW_KEY, max_tokens=MAX_TOKENS, timeout_s=30)
            assert_error(refused, 503, "storage_unavailable")
            assert "retry-after" in refused.headers
            time.sleep(max(0.0, end_s - time.monotonic()))
            assert resident_mb(gateway) < before_mb + 20
            own_postgres.start()
            time.sleep(0.5)
        assert set(clients.statuses) == {200}
        expected = len(clients.statuses) + 1
        eventually(lambda: spent_rows(lambda: psycopg.connect(address)) == expected, what="every row")
        assert eventually(lambda: paid_chat(gateway, NEW_KEY) == 200)


def test_connections_killed_in_a_loop_lose_no_row_and_stop_no_request(
    upstream: Upstream, own_postgres: Postgres
) -> None:
    """F26, L: whatever statement it is that breaks off, each call is one row afterwards."""
    address = own_postgres.new_database()
    with running(config_of(upstream), workers=2, environment={"DATABASE_URL": address}) as gateway:
        wait_for_the_ledger(gateway)
        assert paid_chat(gateway, RICH_KEY) == 200
        before_mb, killed = 0.0, 0
        with Clients(gateway) as clients, psycopg.connect(own_postgres.address(), autocommit=True) as killer:
            end_s = time.monotonic() + KILLING_S
            while time.monotonic() < end_s:
                time.sleep(0.05)
                found = killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'routewright'"
                )
                killed += len(found.fetchall())
                if not before_mb and time.monotonic() > end_s - KILLING_S * 0.9:
                    before_mb = resident_mb(gateway)  # the first failures load what tells of failures
        assert killed > KILLING_S
        assert set(clients.statuses) == {200}
        expected = len(clients.statuses) + 1
        eventually(lambda: spent_rows(lambda: psycopg.connect(address)) == expected, what="every row")
        eventually(lambda: resident_mb(gateway) < before_mb + 20, what="memory as before")


def test_lock_on_the_ledger_s_table_holds_up_no_request(upstream: Upstream, own_postgres: Postgres) -> None:
    """F27, R21."""
    address = own_postgres.new_database()
    with running(config_of(upstream), workers=2, environment={"DATABASE_URL": address}) as gateway:
        wait_for_the_ledger(gateway)
        assert paid_chat(gateway, RICH_KEY) == 200
        with psycopg.connect(address) as holder:
            holder.execute("LOCK TABLE spend, spend_hours IN ACCESS EXCLUSIVE MODE")
            with Clients(gateway) as clients:
                time.sleep(LOCK_S)
        assert set(clients.statuses) == {200}
        expected = len(clients.statuses) + 1
        eventually(lambda: spent_rows(lambda: psycopg.connect(address)) == expected, what="every row")


def test_sqlite_locked_by_another_process_holds_up_no_request(upstream: Upstream) -> None:
    """F21."""
    with running(config_of(upstream), workers=2) as gateway:
        file = gateway.data_dir / "store.sqlite3"
        wait_for_the_ledger(gateway)
        assert paid_chat(gateway, RICH_KEY) == 200
        holder = sqlite3.connect(file, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with Clients(gateway) as clients:
            time.sleep(LOCK_S)
        holder.execute("ROLLBACK")
        holder.close()
        assert set(clients.statuses) == {200}
        expected = len(clients.statuses) + 1
        eventually(lambda: spent_rows(lambda: sqlite3.connect(file)) == expected, what="every row")


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="routewright-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("a tmpfs can't be mounted here; it needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def test_full_disk_stops_keys_with_budgets_only_and_loses_nothing(upstream: Upstream) -> None:
    """F22: records are held in memory until there is room again."""
    with small_disk(24) as disk:
        data_dir = disk / "data"
        with running(config_of(upstream), arguments=["--data-dir", str(data_dir)]) as gateway:
            wait_for_the_ledger(gateway)
            assert paid_chat(gateway, RICH_KEY) == 200
            eventually(lambda: (data_dir / "store.sqlite3").exists())
            connect = lambda: sqlite3.connect(data_dir / "store.sqlite3")  # noqa: E731
            eventually(lambda: spent_rows(connect) == 1, what="the first row")
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError:
                    pass
            passed = [paid_chat(gateway) for _ in range(40)]
            assert set(passed) == {200}
            assert_error(gateway.chat("paid", key=RICH_KEY, max_tokens=MAX_TOKENS), 503, "storage_unavailable")
            filler.unlink()
            eventually(lambda: paid_chat(gateway, RICH_KEY) == 200, what="room for budgets again")
            eventually(lambda: spent_rows(connect) >= 42, what="every row")
            assert "none was lost" in gateway.output()
            assert psutil.pid_exists(gateway.process.pid)
