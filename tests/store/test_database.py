"""Both databases get the same tables, once, whoever starts first; a transaction is whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, inspect, select, text

from harness.postgres import Postgres
from routewright.errors import StorageUnavailable
from routewright.store import database as module
from routewright.store.database import HEAD, Database, SchemaTooNew, current_revision, record_change, sqlite_url
from routewright.store.schema import changes, keys, metadata

MIGRATE = "import sys; from routewright.store.database import Database; Database(sys.argv[1]).migrate()"


def assert_tables_are_those_of_the_schema(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        assert current_revision(connection) == HEAD


def test_first_start_makes_the_tables_that_the_schema_describes(database: Database) -> None:
    assert_tables_are_those_of_the_schema(database)


def test_migrations_make_the_same_tables_step_by_step(address: str) -> None:
    database = Database(address)
    database.write(module._upgrade)
    assert_tables_are_those_of_the_schema(database)
    database.migrate()
    database.close()


def test_newest_migration_is_the_one_that_the_start_asks_for() -> None:
    settings = Config()
    settings.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    settings.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(settings).get_heads() == [HEAD]


def test_many_starting_at_once_migrate_once(address: str) -> None:
    """Several workers and replicas find an empty database at the same time."""
    processes = [subprocess.Popen([sys.executable, "-c", MIGRATE, address], stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors.decode()
    database = Database(address)
    assert database.read(current_revision) == HEAD
    database.close()


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.write(lambda connection: record_change(connection, "key", "k"))
    database.migrate()
    assert database.read(lambda connection: connection.scalar(select(func.count()).select_from(changes))) == 1


def test_tables_of_a_newer_version_are_left_alone(database: Database) -> None:
    database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    database.write(lambda connection: connection.execute(text("UPDATE schema_floor SET oldest = '9998'")))
    with pytest.raises(SchemaTooNew, match=f"version 9999, this program knows {HEAD}.*the backup"):
        database.migrate()
    with database.engine.connect() as connection:
        assert current_revision(connection) == "9999"


def test_tables_of_a_newer_version_that_only_added_are_served(database: Database) -> None:
    """While replicas are upgraded one after the other, the old ones may start again."""
    database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    database.migrate()
    with database.engine.connect() as connection:
        assert current_revision(connection) == "9999"


def test_version_before_the_lines_of_keys_lives_with_its_tables_and_with_the_new_ones(address: str) -> None:
    """What 0001 has written is there after the upgrade, and a replica that still runs it may go on writing."""
    database = Database(address)
    columns = [column.name for column in keys.columns if column.name != "lineage_hash"]
    put = "INSERT INTO keys (key_hash, key_name, key_type, blocked, is_service_account, created_at_ms, updated_at_ms)"
    values = " VALUES (:key_hash, 'sk-...abcd', 'default', false, false, 1, 1)"
    database.write(lambda connection: upgrade_to(connection, "0001"))
    database.write(lambda connection: connection.execute(text(put + values), {"key_hash": "a" * 64}))
    database.migrate()
    database.write(lambda connection: connection.execute(text(put + values), {"key_hash": "b" * 64}))
    found = database.read(lambda connection: connection.execute(text("SELECT * FROM keys")).mappings().all())
    assert {row["key_hash"]: row["lineage_hash"] for row in found} == {"a" * 64: None, "b" * 64: None}
    assert set(columns) < set(found[0])
    database.close()


def upgrade_to(connection: Connection, revision: str) -> None:
    settings = Config()
    settings.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    command.upgrade(settings, revision)


def test_transaction_is_whole_or_not_at_all(database: Database) -> None:
    def fail(connection: Connection) -> None:
        record_change(connection, "key", "half")
        raise KeyError

    with pytest.raises(KeyError):
        database.write(fail)
    assert database.read(lambda connection: connection.execute(select(changes)).all()) == []


def test_changes_written_at_once_are_seen_in_the_order_of_their_ids(database: Database) -> None:
    """Who has read up to an id never misses a smaller one."""
    seen: list[int] = []
    stop = threading.Event()
    missed: list[int] = []

    def write(number: int) -> None:
        for turn in range(15):
            database.write(lambda connection, name=f"{number}-{turn}": record_change(connection, "key", name))

    def read() -> None:
        last = 0
        while not stop.is_set():
            known = set(seen)
            found = database.read(lambda connection: connection.scalars(select(changes.c.change_id)).all())
            missed.extend(number for number in found if number <= last and number not in known)
            seen.extend(number for number in found if number > last)
            last = max(found, default=0)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join(60)
    stop.set()
    reader.join(60)
    assert not missed
    assert database.read(lambda connection: connection.scalar(select(func.count()).select_from(changes))) == 45


def test_unreachable_database_is_a_503_that_names_no_host() -> None:
    """F24, R27."""
    database = Database("postgresql://someone:hunter2@127.0.0.1:1/secret-name")
    with pytest.raises(StorageUnavailable) as caught:
        database.read(current_revision)
    assert caught.value.status == 503
    for word in ("hunter2", "127.0.0.1", "secret-name", "someone"):
        assert word not in caught.value.message
    database.close()


def test_transaction_goes_on_after_its_connection_was_killed(postgres: Postgres) -> None:
    """F26: a pooled connection that died in the meantime costs no failure."""
    address = postgres.new_database()
    database, killer = Database(address), Database(postgres.address())
    database.migrate()
    kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
    for turn in range(5):
        database.write(lambda connection, name=str(turn): record_change(connection, "key", name))
        killer.write(lambda connection: connection.execute(kill, {"name": address.rpartition("/")[2]}))
    assert database.read(lambda connection: connection.scalar(select(func.count()).select_from(changes))) == 5
    database.close()
    killer.close()
    postgres.drop(address)


def test_locked_sqlite_is_a_503_and_then_works_again(tmp_path: Path) -> None:
    """F21."""
    database, other = Database(sqlite_url(tmp_path)), Database(sqlite_url(tmp_path))
    database.migrate()
    with other.engine.connect().execution_options(is_write=True) as holder, holder.begin():
        record_change(holder, "key", "held")
        assert database.read(lambda connection: connection.execute(select(changes)).all()) == []
        with pytest.raises(StorageUnavailable):
            database.write(lambda connection: record_change(connection, "key", "late"))
    database.write(lambda connection: record_change(connection, "key", "again"))
    assert database.read(lambda c: c.scalars(select(changes.c.object_id)).all()) == ["held", "again"]
    database.close()
    other.close()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p@h:5/d?connection_limit=10&pool_timeout=60&schema=public&sslmode=require",
        "postgres://u:p@h/d?pgbouncer=true",
        "postgresql+psycopg://u:p@h/d",
    ],
)
def test_addresses_that_litellm_s_users_have_are_understood(address: str) -> None:
    database = Database(address)
    left = set(database.engine.url.query)
    assert left <= {"sslmode"}
    database.close()


@pytest.mark.parametrize("address", ["mysql://u:p@h/d", "", "h:5432", "file:///x", "postgresql+asyncpg://h/d"])
def test_other_addresses_are_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ValueError, match="expected an address") as caught:
        Database(address)
    assert "u:p@h" not in str(caught.value)
