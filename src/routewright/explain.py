"""`routewright route` and the placements of `check-config`: decisions and what they rest on, in a terminal."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from routewright.catalog import Catalog
from routewright.config import ConfigError, load_settings, load_text
from routewright.config.problems import shown
from routewright.demo.config import demo_config
from routewright.routing.live import LiveRouters
from routewright.settings import Settings
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


def placement_lines(settings: Settings, data_dir: Path) -> list[str]:
    """For `check-config`: what stands for each chat model in each route's router, and how it was placed."""
    catalog = Catalog(settings, lambda group: True)
    if not catalog.routes:
        return []
    logging.getLogger("routewright").setLevel(logging.ERROR)  # what it would say stands below
    routing = LiveRouters(settings.router, catalog.routes, catalog.route_candidates, data_dir / "routers")
    info = routing.info()
    lines = [f"  {_printable(warning)}" for warning in info["warnings"]]
    placed: dict[tuple[str, ...], list[str]] = {}
    for name, route in info["routes"].items():
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for column in ("model", "profile", "level", "stands for it", "USD per Mtok", "placed"):
            table.add_column(column, no_wrap=True)
        for each in route["candidates"]:
            prices = (each["input_usd_per_million_tokens"], each["output_usd_per_million_tokens"])
            table.add_row(
                shown(each["model"]),
                each["profile"],
                "" if each["level"] is None else f"{each['level']:.2f}",
                _printable(each["label"]),
                each["price_note"] or " / ".join(f"${usd:.4g}" for usd in prices),
                each["placed"],
            )
        with io.StringIO() as text:
            Console(file=text, width=10_000, highlight=False, markup=False).print(table)
            rows = tuple(line.rstrip() for line in text.getvalue().splitlines())
        placed.setdefault((f"router {route['artefact']}", *rows), []).append(name)
    lines.insert(
        0, "placement of chat models (model_info.quality overrides, and so does a router fitted on your scores):"
    )
    for (router, *table_rows), names in placed.items():
        lines.append(f"  {', '.join(map(shown, names))}: {router}")
        lines.extend(f"    {row}" for row in table_rows)
    return lines


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
