"""`routewright check-config`: what a configuration would serve, or every problem in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from routewright.config.load import load_settings
from routewright.config.problems import ConfigError, shown
from routewright.settings import CascadeSettings, DeploymentSettings, RoundsSettings, Settings


def check_config(
    path: Path,
    *,
    lenient: bool = False,
    environ: Mapping[str, str] | None = None,
    out: TextIO | None = None,
    more: Callable[[Settings], list[str]] | None = None,
) -> int:
    """Print what would be served, or the problems one a line; 0 if the configuration is good, else 1.

    `environ` None: this process's variables; `out` None: standard output. Prints no credential.
    more: lines of another part of the program about a good configuration.
    """
    out = sys.stdout if out is None else out
    try:
        settings = load_settings(path, environ=os.environ if environ is None else environ, lenient=lenient)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=out)
        count = len(error.problems)
        print(f"{count} problem{'' if count == 1 else 's'}; nothing would be served", file=out)
        return 1
    for line in [*summary(settings), *(more(settings) if more is not None else [])]:
        print(line, file=out)
    return 0


def summary(settings: Settings) -> list[str]:
    """What would be served, in lines for a terminal."""
    lines = [f"{settings.config_path.name if settings.config_path else 'configuration'}: good"]
    models = list(dict.fromkeys(deployment.model_name for deployment in settings.deployments))
    lines.append(f"models: {len(models)}, deployments: {len(settings.deployments)}")
    lines.extend(_table([_row(deployment) for deployment in settings.deployments]))
    names = {route.name for route in settings.routes}
    lines.append(f"routes: {len(names | {'auto'})}")
    if "auto" not in names:
        lines.append("  auto: all chat models, the packaged router")
    for route in settings.routes:
        candidates = "all chat models" if route.candidates is None else ", ".join(map(shown, route.candidates))
        router = "the packaged router" if route.router is None else f"router {shown(route.router)}"
        lines.append(f"  {shown(route.name)}: {candidates or 'no candidates'}; {router}, quality {route.quality:g}")
        if route.orchestration is not None:
            lines.append(f"    {_described(route.orchestration)}")
    lines.append(f"load balancing: {settings.attempts.routing_strategy}, {settings.attempts.num_retries} retries")
    lines.append(f"keys: {len(settings.keys)}, master key: {'set' if settings.master_key else 'not set'}")
    lines.append(f"warnings: {len(settings.warnings)}")
    lines.extend(f"  {warning}" for warning in settings.warnings)
    return lines


def _described(settings: CascadeSettings | RoundsSettings) -> str:
    """How a route asks more than once, in words."""
    if isinstance(settings, CascadeSettings):
        checks = ", ".join(sorted(settings.checks)) or "nothing"
        parts = [f"cascade: at most {settings.max_stages} stages, cheapest first; verifies {checks}"]
        if "logprob" in settings.checks:
            own = "".join(f", {shown(name)} {least:g}" for name, least in settings.min_logprob_of.items())
            parts.append(f"least mean log-probability {settings.min_logprob:g}{own}")
        if settings.min_score or settings.min_score_of:
            own = "".join(f", {shown(name)} {least:g}" for name, least in settings.min_score_of.items())
            parts.append(f"least expected score {settings.min_score:g}{own}")
        return "; ".join(parts)
    planner = "the best-rated candidate" if settings.planner is None else shown(settings.planner)
    return (
        f"{settings.kind}: planned by {planner}; at most {settings.max_parts} parts of {settings.max_part_tokens} "
        f"tokens, {settings.max_output_tokens} tokens and ${settings.max_cost_usd:g} a request"
    )


def _row(deployment: DeploymentSettings) -> tuple[str, ...]:
    price = deployment.price
    amounts = (price.input_usd_per_token, price.output_usd_per_token)
    cost = " / ".join("?" if amount is None else f"${amount * 1e6:.4g}" for amount in amounts)
    return (
        shown(deployment.model_name),
        f"{deployment.provider}/{shown(deployment.upstream_model)}",
        deployment.api_base,
        "responses" if deployment.by_responses == "all" else deployment.mode,
        f"{cost} per Mtok" if price.is_known else "no price",
        deployment.id,
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return [f"  {line}" for line in padded]
