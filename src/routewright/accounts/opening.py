"""Opens the ledger of a data folder, whether a gateway runs there or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from routewright.settings import JOURNAL_FOLDER, STORE_FILE
from routewright.store.database import Database, sqlite_url
from routewright.store.follower import Follower


class NoLedger(Exception):
    """Nothing was ever recorded in this folder."""


@contextmanager
def opened(data_dir: Path, environ: Mapping[str, str], database_url: str | None = None) -> Iterator[Database]:
    """The database, with everything that lies in the journal brought in first: each record once, whoever else does it.

    `database_url`: the configuration's; else DATABASE_URL's; else the database in the folder. Raises NoLedger, or
    StorageUnavailable where the database can't be reached.
    """
    address = database_url or environ.get("DATABASE_URL") or None
    journal = data_dir / JOURNAL_FOLDER
    if address is None:
        if not journal.is_dir() and not (data_dir / STORE_FILE).exists():
            raise NoLedger(f"nothing is recorded in {data_dir}; give --data-dir as `serve` had it")
        address = sqlite_url(data_dir)
    database = Database(address)
    try:
        database.migrate()
        if journal.is_dir():
            Follower(database, journal).drain()
        yield database
    finally:
        database.close()
