"""`routewright export`: every call of the ledger as a table for other programs, CSV or Parquet by the file's ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from routewright.accounts.opening import NoLedger, opened
from routewright.errors import StorageUnavailable
from routewright.store.database import Database
from routewright.store.reports import all_rows
from routewright.store.schema import spend

BATCH = 10_000
COLUMNS = [column.name for column in spend.columns if column.name != "row_id"]
_WHOLE = {column.name for column in spend.columns if column.type.python_type is int}
_FLAGS = {column.name for column in spend.columns if column.type.python_type is bool}
_JSON = ("tags", "extra")


def export(
    data_dir: Path,
    environ: Mapping[str, str],
    out: Path,
    *,
    from_ms: int = 0,
    to_ms: int | None = None,
    database_url: str | None = None,
) -> int:
    """Write `out`; 1 where that can't be done."""
    console = Console(stderr=True)
    if out.suffix not in (".csv", ".parquet"):
        console.print(f"{out}: expected a name that ends with .csv or .parquet")
        return 1
    write = _write_csv if out.suffix == ".csv" else _write_parquet
    try:
        with opened(data_dir, environ, database_url) as database:
            count = write(out, _rows(database, from_ms, to_ms))
    except (NoLedger, StorageUnavailable, OSError) as error:
        console.print(str(error))
        return 1
    except ModuleNotFoundError:
        console.print("Parquet needs the extra: pip install 'routewright[parquet]'")
        return 1
    console.print(f"{count:,} calls written to {out}")
    return 0


def _rows(database: Database, from_ms: int, to_ms: int | None) -> Iterator[dict[str, Any]]:
    """In the order of arrival; lists and objects as JSON text, so that both kinds of file hold the same."""
    with database.engine.connect() as connection:
        for row in all_rows(connection, from_ms=from_ms, to_ms=to_ms):
            found = {name: row[name] for name in COLUMNS}
            for name in _JSON:
                found[name] = None if row[name] is None else json.dumps(row[name], ensure_ascii=False)
            yield found


def _write_csv(out: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _write_parquet(out: Path, rows: Iterator[dict[str, Any]]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    def kind(name: str) -> Any:
        return pa.int64() if name in _WHOLE else pa.bool_() if name in _FLAGS else pa.string()

    schema = pa.schema([(name, kind(name)) for name in COLUMNS])
    count = 0
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count
