"""`routewright route`: a decision in a terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from routewright.catalog import Catalog
from routewright.config import ConfigError, load_settings, load_text
from routewright.demo.config import demo_config
from routewright.routing.live import LiveRouters
from routewright.types import Prompt

BAR_CELLS = 24


def print_decision(query: str, config: Path | None, route: str, quality: float | None, data_dir: Path) -> int:
    """Rate `query` for a route of `config` (None: the demo's models) and print why; 2 where that can't be done."""
    console = Console()
    try:
        if config is None:
            console.print("no --config given: rating the demo's models", style="dim")
            settings = load_text(demo_config("http://127.0.0.1:9"), environ={})
        else:
            settings = load_settings(config, environ=os.environ)
    except ConfigError as error:
        Console(stderr=True).print(str(error))
        return 2
    catalog = Catalog(settings, lambda group: True)
    if route not in catalog.routes:
        Console(stderr=True).print(f"route {route!r} is not served; served: {', '.join(catalog.routes) or 'none'}")
        return 2
    routing = LiveRouters(settings.router, catalog.routes, catalog.route_candidates, data_dir / "routers")
    answer = routing.explain(route, Prompt(text=query), quality)
    console.print(decision_table(answer))
    console.print(str(answer.get("reason", "")))
    return 0


def decision_table(answer: dict[str, Any]) -> Table:
    """The candidates of an `explain` answer, best first."""
    table = Table()
    table.add_column("model")
    table.add_column("expected score")
    table.add_column("cost USD", justify="right")
    rows = [
        {"model": answer["selected_model"], "score": answer.get("score", answer["confidence"]),
         "cost_usd": answer.get("cost_usd")},
        *answer["alternatives"],
    ]  # fmt: skip
    for index, row in enumerate(rows):
        score = float(row["score"])
        bar = "█" * round(score * BAR_CELLS)
        cost = row.get("cost_usd")
        table.add_row(
            f"{'→ ' if index == 0 else '  '}{row['model']}",
            f"{bar:<{BAR_CELLS}} {score:.2f}",
            "" if cost is None else f"{cost:.6f}",
            style="bold green" if index == 0 else None,
        )
    return table
