"""`routewright usage`: what the ledger adds up to, by key and model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, select

from routewright.accounts.opening import NoLedger, opened
from routewright.errors import StorageUnavailable
from routewright.store import reports
from routewright.store.database import SchemaTooNew
from routewright.store.schema import keys, spend

NUSD_PER_USD = 1e9


def totals(connection: Connection) -> list[dict[str, Any]]:
    """One row per key and model, dearest first; sums are exact nano-dollars."""
    rows = reports.by_line(connection, reports.totals(connection, ["key_hash", "model"]))
    names = _names(connection, {row["key_hash"] for row in rows})
    made = [
        {
            "key": names[row["key_hash"]],
            "model": row["model"] or "(none)",
            "requests": row["requests"],
            "failed": row["failed_requests"],
            "prompt_tokens": row["prompt_tokens"],
            "completion_tokens": row["completion_tokens"],
            "cost_nusd": row["cost_nusd"],
            "baseline_nusd": row["baseline_nusd"],
            "unpriced": row["unpriced_requests"],
        }
        for row in rows
    ]
    return sorted(made, key=lambda row: (-row["cost_nusd"], row["key"], row["model"]))


def _names(connection: Connection, hashes: set[str]) -> dict[str, str]:
    """A key's alias: as it is stored, or as it was called last; else the start of its hash."""
    stored = connection.execute(select(keys.c.key_hash, keys.c.key_alias).where(keys.c.key_hash.in_(hashes)))
    found: dict[str, str | None] = {key_hash: alias for key_hash, alias in stored.tuples()}  # noqa: C416 - typed
    names = {}
    for key_hash in hashes:
        alias = found.get(key_hash)
        if alias is None:
            newest = select(spend.c.key_alias).where(spend.c.key_hash == key_hash).order_by(spend.c.ended_at_ms.desc())
            alias = connection.execute(newest.limit(1)).scalar()
        names[key_hash] = alias or key_hash[:12] or "(no key)"
    return names


def print_usage(data_dir: Path, environ: Mapping[str, str], *, database_url: str | None = None, as_json: bool) -> int:
    """Print the totals; 1 where there is no ledger, or none that can be reached."""
    console = Console()
    try:
        with opened(data_dir, environ, database_url) as database:
            rows = database.read(totals)
    except (NoLedger, SchemaTooNew, StorageUnavailable) as error:
        Console(stderr=True).print(str(error))
        return 1
    if as_json:
        console.out(msgspec.json.encode(rows).decode())
        return 0
    table = Table(title="Usage by key and model")
    table.add_column("key")
    table.add_column("model")
    for name in ("requests", "failed", "prompt tokens", "completion tokens", "cost USD", "saved USD"):
        table.add_column(name, justify="right")
    for row in rows:
        saved = row["baseline_nusd"] - row["cost_nusd"]
        table.add_row(
            row["key"],
            row["model"],
            f"{row['requests']:,}",
            f"{row['failed']:,}",
            f"{row['prompt_tokens']:,}",
            f"{row['completion_tokens']:,}",
            _dollars(row["cost_nusd"]) + (" *" if row["unpriced"] else ""),
            _dollars(saved) if saved else "",
        )
    cost = sum(row["cost_nusd"] for row in rows)
    saved = sum(row["baseline_nusd"] for row in rows) - cost
    table.add_section()
    table.add_row(
        "total",
        "",
        f"{sum(row['requests'] for row in rows):,}",
        f"{sum(row['failed'] for row in rows):,}",
        f"{sum(row['prompt_tokens'] for row in rows):,}",
        f"{sum(row['completion_tokens'] for row in rows):,}",
        _dollars(cost),
        _dollars(saved) if saved else "",
    )
    console.print(table)
    if saved:
        console.print("saved: what the same tokens would have cost at the best-rated candidate, less what they cost")
    if any(row["unpriced"] for row in rows):
        console.print("* holds requests to models without a price, which are not in the sum")
    return 0


def _dollars(nusd: int) -> str:
    return f"{nusd / NUSD_PER_USD:,.6f}"
