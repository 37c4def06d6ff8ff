"""One database, SQLite or Postgres: its connections, its transactions, and its schema brought up to date.

Synchronous: it lives in threads of a process of its own, or in a command. psycopg rather than asyncpg, since one
synchronous code path then serves both databases, and since libpq reads every `postgresql://` address that people have.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event, exc, func, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from routewright.errors import StorageUnavailable
from routewright.settings import STORE_FILE, STORED_MARK
from routewright.store.schema import changes, complete_for_postgres, metadata, schema_floor

HEAD = "0011"
"""The newest file in `migrations/versions`."""
FLOOR = "0002"
"""The oldest version of the tables whose programs may work on ours."""
BUSY_S = 1.0
"""How long a statement waits for somebody else's lock, or for a free connection, before the caller gets a 503."""
MIGRATION_WAIT_S = 60.0
STATEMENT_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 3
POOL_SIZE = 5
CHANNEL = "routewright_changes"
_MIGRATION_LOCK, _CHANGES_LOCK = 0x726F757465_01, 0x726F757465_02
_TRY_AGAIN = frozenset({"40001", "40P01", "25006", "57P01", "57P02", "57P03", "08000", "08003", "08006"})
"""Serialisation, deadlock, read-only after a fail-over, shut down, connection lost: a second try may do."""
_PRISMA = frozenset({
    "connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size", "schema", "sslaccept",
    "sslidentity", "sslpassword", "sslcert",
})  # fmt: skip
"""Parameters of the addresses that LiteLLM's ORM takes and libpq does not."""
log = logging.getLogger("routewright")
T = TypeVar("T")

# What is no plain int, float or str is asked how it wants to be stored, and where nobody knows, by look-ups that fail:
# for NULL, of which a row of the ledger has many, that took three times as long as to be told so.
sqlite3.register_adapter(type(None), cast(Callable[[None], None], {}.get))
sqlite3.register_adapter(bool, int)


class SchemaTooNew(Exception):
    """A newer version of this program has changed the tables; this one does not know them."""


def sqlite_url(data_dir: Path) -> str:
    """The embedded database's address."""
    return URL.create("sqlite", database=str(data_dir / STORE_FILE)).render_as_string()


def _engine_of(address: str) -> Engine:
    """Raises ValueError for an address that is neither Postgres' nor SQLite's."""
    try:
        url = make_url(address)
    except exc.ArgumentError:
        raise ValueError("expected an address like postgresql://user:password@host:5432/name") from None
    if url.drivername == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_S}, pool_size=POOL_SIZE, pool_timeout=BUSY_S)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if url.drivername not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise ValueError(f"expected an address that starts with postgresql://, found {url.drivername}://")
    complete_for_postgres()
    query = dict(url.query)
    options = [f"-c lock_timeout={int(BUSY_S * 1000)}", f"-c statement_timeout={int(STATEMENT_TIMEOUT_S * 1000)}"]
    schema = query.get("schema")
    if isinstance(schema, str) and schema.replace("_", "").isalnum():
        options.append(f"-c search_path={schema}")
    connect_args: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "routewright"}
    if query.get("pgbouncer") == "true":
        connect_args["prepare_threshold"] = None
    else:
        connect_args["options"] = " ".join(options)
    url = url.set(drivername="postgresql+psycopg", query={k: v for k, v in query.items() if k not in _PRISMA})
    return create_engine(
        url, connect_args=connect_args, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, pool_timeout=BUSY_S,
        pool_recycle=600,
    )  # fmt: skip


def _set_up_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, so that DDL is part of a transaction too
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later can't wait for its turn; one that says so at once can.
    is_write = connection.get_execution_options().get("is_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


class Database:
    """Transactions on one database. Every failure to reach it is StorageUnavailable, which names no host."""

    def __init__(self, address: str) -> None:
        self.engine = _engine_of(address)
        self.is_postgres = self.engine.dialect.name == "postgresql"

    def close(self) -> None:
        self.engine.dispose()

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives, in a transaction that changes nothing; tried once more where that may help."""
        return self._run(work, is_write=False)

    def write(self, work: Callable[[Connection], T]) -> T:
        """The same for a transaction that changes something: all of it or nothing. `work` may run twice."""
        return self._run(work, is_write=True)

    def _run(self, work: Callable[[Connection], T], *, is_write: bool) -> T:
        for is_last in (False, True):
            try:
                with self._transaction(is_write) as connection:
                    return work(connection)
            except (exc.TimeoutError, exc.OperationalError, exc.InternalError) as error:
                if is_last or not _may_pass(error):
                    raise unavailable(error) from error
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def _transaction(self, is_write: bool) -> Iterator[Connection]:
        with self.engine.connect() as plain:
            connection = plain.execution_options(is_write=is_write)
            with connection.begin():
                yield connection

    # --- schema ---------------------------------------------------------------------------------------------------

    def migrate(self) -> None:
        """Bring the tables up to date. Whoever starts at the same time waits. Raises SchemaTooNew."""
        if not self.is_postgres:
            self._use_wal()
        with self.engine.connect() as plain:
            if self.is_postgres:
                connection = plain
                connection.begin()
                connection.execute(text(f"SET LOCAL lock_timeout = {int(MIGRATION_WAIT_S * 1000)}"))
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            else:
                plain.exec_driver_sql(f"PRAGMA busy_timeout={int(MIGRATION_WAIT_S * 1000)}")
                plain.rollback()
                connection = plain.execution_options(is_write=True)
                connection.begin()
            try:
                revision = current_revision(connection)
                if revision is None:
                    _create(connection)
                elif revision > HEAD:
                    if not may_serve(connection):
                        raise SchemaTooNew(too_new(revision))
                    log.warning("the database's tables were made by a newer version, and are served as they are")
                elif revision != HEAD:
                    _upgrade(connection)
                connection.commit()
            finally:
                plain.rollback()
                if not self.is_postgres:
                    plain.exec_driver_sql(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}")

    def migrate_or_refuse(self) -> None:
        """The same for a command, which does not wait for a database that can't be reached: StorageUnavailable."""
        try:
            self.migrate()
        except (exc.TimeoutError, exc.OperationalError, exc.InternalError) as error:
            raise unavailable(error) from error

    def _use_wal(self) -> None:
        """Readers and the writer then do not wait for each other. The file remembers it."""
        end_s = time.monotonic() + MIGRATION_WAIT_S
        while True:
            raw = self.engine.raw_connection()
            try:
                cursor = raw.cursor()
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.close()
                return
            except self.engine.dialect.loaded_dbapi.OperationalError:  # two at once: sqlite does not wait here
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.05)
            finally:
                raw.close()


def current_revision(connection: Connection) -> str | None:
    """The schema's version in the database; None before there is one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _create(connection: Connection) -> None:
    """The newest tables in an empty database: what all the steps would come to, as a test compares."""
    metadata.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": HEAD})
    connection.execute(schema_floor.insert().values(oldest=FLOOR))


def may_serve(connection: Connection) -> bool:
    """Tables of a newer version, which has only added to ours: while a gateway is upgraded both versions run."""
    if not inspect(connection).has_table(schema_floor.name):
        return False
    oldest: str | None = connection.scalar(select(func.max(schema_floor.c.oldest)))
    return oldest is not None and oldest <= HEAD


def too_new(revision: str) -> str:
    """Why nothing is done with tables of a newer version that has not only added to ours, and what helps."""
    return (
        f"the database's tables are of version {revision}, this program knows {HEAD} and can't work on them: run the "
        "version of routewright that was here last, or bring back the backup from before its upgrade"
    )


def _upgrade(connection: Connection) -> None:
    # Alembic costs half a second, which a first start and one with tables up to date need not pay.
    from alembic import command, config

    settings = config.Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    command.upgrade(settings, HEAD)


def record_change(connection: Connection, kind: str, object_id: str, *, is_kept: bool = True) -> None:
    """Tell every worker of every replica, with the commit of this transaction, to look at an object again.

    `is_kept`: there may be keys in the store from now on.
    Ids of `changes` are given under a lock that lasts until the commit, so who reads up to one has seen all before it.
    """
    file = connection.engine.url.database
    if is_kept and connection.dialect.name == "sqlite" and file:
        Path(file).with_name(STORED_MARK).touch()
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_CHANGES_LOCK)))
        connection.execute(select(func.pg_notify(CHANNEL, "")))
    connection.execute(changes.insert().values(at_ms=now_ms(), kind=kind, object_id=object_id))


def now_ms() -> int:
    """Milliseconds since 1970, as every `_at_ms` column."""
    return time.time_ns() // 1_000_000


def unavailable(error: BaseException) -> StorageUnavailable:
    """The 503 for a database error. Its text may hold hosts and statements, so only its kind goes on."""
    original = getattr(error, "orig", None) or error
    log.warning("database: %s", type(original).__name__)
    return StorageUnavailable("the database can't be reached now; try again")


def _may_pass(error: exc.SQLAlchemyError) -> bool:
    if isinstance(error, exc.TimeoutError):
        return False
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _TRY_AGAIN
