"""`routewright usage`: what the journal adds up to, by key and model."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from routewright.record.journal import read_journal

NUSD_PER_USD = 1e9


def totals(folder: Path) -> list[dict[str, Any]]:
    """One row per key and model, dearest first; sums are exact nano-dollars."""
    rows: dict[tuple[str, str], dict[str, Any]] = defaultdict(
        lambda: {"requests": 0, "failed": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost_nusd": 0,
                 "baseline_nusd": 0, "unpriced": 0}
    )  # fmt: skip
    for record in read_journal(folder):
        key = record.get("key_alias") or (record.get("key_hash") or "")[:12] or "(no key)"
        row = rows[(key, record.get("model") or "(none)")]
        decision = record.get("decision") or {}
        is_part = bool(decision.get("part_of"))  # of several calls that answer one request: its cost, not its number
        row["requests"] += not is_part
        row["failed"] += record["ended"] in ("refused", "upstream_failed")
        row["prompt_tokens"] += record["prompt_tokens"]
        row["completion_tokens"] += record["completion_tokens"]
        row["cost_nusd"] += record["cost_nusd"]
        if not is_part:
            row["baseline_nusd"] += decision.get("baseline_nusd", 0) or record["cost_nusd"]
        row["unpriced"] += not record["is_priced"] and record["ended"] != "refused"
    made = [{"key": key, "model": model, **row} for (key, model), row in rows.items()]
    return sorted(made, key=lambda row: (-row["cost_nusd"], row["key"], row["model"]))


def print_usage(folder: Path, *, as_json: bool) -> int:
    """Print the totals; 1 where there is no journal."""
    console = Console()
    if not folder.is_dir():
        Console(stderr=True).print(f"no journal in {folder}; give --data-dir as `serve` had it")
        return 1
    rows = totals(folder)
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
