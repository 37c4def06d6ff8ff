"""`routewright export`: every call of the ledger as a table for other programs, CSV or Parquet by the file's ending."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from routewright.accounts.opening import NoLedger, opened
from routewright.errors import StorageUnavailable
from routewright.store.database import Database, SchemaTooNew
from routewright.store.reports import all_rows
from routewright.store.schema import spend

BATCH = 10_000
COLUMNS = [column.name for column in spend.columns if column.name != "row_id"]
_WHOLE = {column.name for column in spend.columns if column.type.python_type is int}
_FLAGS = {column.name for column in spend.columns if column.type.python_type is bool}
_JSON = ("tags", "extra")
TEXTS = ("request", "response")


def export(
    data_dir: Path,
    environ: Mapping[str, str],
    out: Path,
    *,
    from_ms: int = 0,
    to_ms: int | None = None,
    database_url: str | None = None,
    with_texts: bool = False,
) -> int:
    """Write `out`; 1 where that can't be done. `with_texts`: also what was asked and answered, where that is kept."""
    console = Console(stderr=True)
    if out.suffix not in (".csv", ".parquet"):
        console.print(f"{out}: expected a name that ends with .csv or .parquet")
        return 1
    write = _write_csv if out.suffix == ".csv" else _write_parquet
    try:
        with opened(data_dir, environ, database_url) as database:
            columns = [*COLUMNS, *(TEXTS if with_texts else ())]
            count = write(out, columns, _rows(database, columns, from_ms, to_ms, with_texts=with_texts))
    except (NoLedger, SchemaTooNew, StorageUnavailable, OSError) as error:
        console.print(str(error))
        return 1
    except ModuleNotFoundError:
        console.print("Parquet needs the extra: pip install 'routewright[parquet]'")
        return 1
    console.print(f"{count:,} calls written to {out}")
    return 0


def _rows(
    database: Database, columns: Sequence[str], from_ms: int, to_ms: int | None, *, with_texts: bool
) -> Iterator[dict[str, Any]]:
    """In the order of arrival; lists and objects as JSON text, so that both kinds of file hold the same."""
    with database.engine.connect() as connection:
        for row in all_rows(connection, from_ms=from_ms, to_ms=to_ms, with_texts=with_texts):
            found = {name: row[name] for name in columns}
            for name in _JSON:
                found[name] = None if row[name] is None else json.dumps(row[name], ensure_ascii=False)
            yield found


def _write_csv(out: Path, columns: Sequence[str], rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with _opened(out) as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _opened(out: Path) -> TextIO:
    """For its owner alone: the file names keys, and may hold what people asked."""
    return os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline="")


def _write_parquet(out: Path, columns: Sequence[str], rows: Iterator[dict[str, Any]]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    def kind(name: str) -> Any:
        return pa.int64() if name in _WHOLE else pa.bool_() if name in _FLAGS else pa.string()

    schema = pa.schema([(name, kind(name)) for name in columns])
    count = 0
    _opened(out).close()
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count
