"""An evaluation as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_COLUMNS: Final = (
    ("quality", "quality", 3),
    ("", "95 %", 3),
    ("gain", "vs best", 3),
    ("oracle_gap_closed", "gap closed", 2),
    ("aiq", "aiq", 3),
    ("cost_at_best_quality", "cost@best", 2),
    ("cost_at_best_quality_valid", "(valid)", 2),
    ("cost_at_95", "cost@95", 2),
    ("cost_at_95_valid", "(valid)", 2),
    ("ece", "ece", 3),
    ("decision_us_p50", "µs", 0),
)
_WIDTH: Final = 140
_STRONG_WEAK: Final = (("apgr", "apgr", 3), ("cpt50", "cpt50", 2), ("cpt80", "cpt80", 2))


def _text(row: Mapping[str, Any], key: str, digits: int) -> str:
    if not key:
        low, high = row.get("quality_low"), row.get("quality_high")
        return "" if low is None else f"{low:.{digits}f}-{high:.{digits}f}"
    value = row.get(key)
    if value is None:
        return "-" if key in row else ""
    return f"{value:+.{digits}f}" if key == "gain" else f"{value:.{digits}f}"


def report_table(report: Mapping[str, Any]) -> Table:
    """Baselines first, then routers, then the bound."""
    rows = report["rows"]
    columns: tuple[tuple[str, str, int], ...] = _COLUMNS
    if any("apgr" in row for row in report["results"]):
        columns = (*_COLUMNS, *_STRONG_WEAK)
    table = Table(
        title=f"{report['set']}: {report['models']} models, {rows['train']} train, {rows['test']} test prompts, "
        f"features {report['features']}",
        caption=f"best single model on train: {report['best_single']}; cheapest: {report['cheapest_single']}. "
        "cost@: share of the best single's cost; (valid): weight of cost chosen on validation; "
        "- : not reached. task-mean is told the task; zero and oracle read the test split.",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("router", no_wrap=True)
    for _, title, _ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    last = ""
    for row in report["results"]:
        if last and row["kind"] != last:
            table.add_section()
        last = row["kind"]
        style = "bold" if row["kind"] == "router" else "dim"
        table.add_row(row["router"], *(_text(row, key, digits) for key, _, digits in columns), style=style)
    return table


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print the table, at least as wide as its columns need."""
    if console.width < _WIDTH:
        console = Console(file=console.file, width=_WIDTH)
    console.print(report_table(report))
