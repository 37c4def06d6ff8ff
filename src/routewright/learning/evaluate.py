"""`routewright evaluate`: fit on train, calibrate and set on valid, report on test beside all baselines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from routewright.errors import ArtefactRefused
from routewright.learning.datasets import Dataset, DatasetError, read_dataset
from routewright.learning.page import evaluation_page
from routewright.learning.plots import PlotsUnavailable, write_plots
from routewright.learning.progress import Progress
from routewright.learning.report import print_report
from routewright.learning.testbed import TestBed, is_file
from routewright.learning.trial import Example, Result, examples
from routewright.routing.features import make_features
from routewright.routing.features.contract import NO_SUPPLIES, Supplies
from routewright.routing.registry import find_router

REPORT_VERSION: Final = 2
"""Of the report's JSON; 2 added intervals of every figure, `singles` and `details`."""


def evaluate(
    dataset: Dataset,
    routers: Sequence[str],
    features_name: str = "hashed",
    seed: int = 0,
    *,
    router_arguments: Mapping[str, Mapping[str, Any]] | None = None,
    supplies: Supplies = NO_SUPPLIES,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Fit each router on train, measure it on test, with all baselines; the report as JSON values.

    A router is a name, or the path of a router file. Raises DatasetError when a split is empty, KeyError for an unknown
    router, ValueError for unknown features, ArtefactRefused for a bad file.
    """
    return run(
        dataset, routers, features_name, seed, router_arguments=router_arguments, supplies=supplies, progress=progress
    )[0]


def run(
    dataset: Dataset,
    routers: Sequence[str],
    features_name: str,
    seed: int,
    *,
    router_arguments: Mapping[str, Mapping[str, Any]] | None = None,
    supplies: Supplies = NO_SUPPLIES,
    progress: Callable[[str], None] | None = None,
) -> tuple[dict[str, Any], list[Example]]:
    """`evaluate`, with examples of what the routers did."""
    say = progress or (lambda _: None)
    routers = list(dict.fromkeys(routers))
    for name in routers:
        if not is_file(name):
            find_router(name)
    make_features(features_name, supplies=supplies)
    bed = TestBed(dataset, seed=seed)
    say("baselines")
    results = bed.baselines()
    vectors = None
    shown: list[Example] = []
    for name in routers:
        if is_file(name):
            say(f"router file {name}")
            result = bed.try_file(name, supplies)
        else:
            if vectors is None:
                say(f"features {features_name} on {len(bed.train)} prompts")
                vectors = bed.vectors(features_name, supplies)
            say(f"router {name}")
            result = bed.try_router(name, vectors, (router_arguments or {}).get(name))
        results.append(result)
        if result.trial is not None:
            shown += examples(result.name, result.trial, dataset.models, bed.tasks)
    say("the oracle")
    results.append(bed.oracle())
    return report_of(bed, results, features_name), shown


def report_of(bed: TestBed, results: Sequence[Result], features_name: str) -> dict[str, Any]:
    """All of it as JSON values; the same input gives the same values save for those named `decision_us`."""
    data = bed.dataset
    return {
        "version": REPORT_VERSION,
        "set": data.name,
        "sha256": data.sha256,
        "models": len(data.models),
        "rows": {"train": len(bed.train), "valid": len(bed.valid.rows), "test": len(bed.test.rows)},
        "best_single": data.models[bed.best],
        "cheapest_single": data.models[bed.cheapest],
        "features": features_name,
        "seed": bed.seed,
        "results": [row_of(result) for result in results],
        "singles": bed.singles(),
        "details": {result.name: result.details for result in results},
    }


def row_of(result: Result) -> dict[str, Any]:
    """A result's figures, rounded."""
    metrics = {name: None if value is None else round(value, 5) for name, value in result.metrics.items()}
    return {"router": result.name, "kind": result.kind, **metrics}


def evaluate_command(
    data: Path,
    set_name: str,
    routers: list[str],
    features: str,
    json_out: Path | None,
    seed: int,
    leave_out: Sequence[str] = (),
    supplies: Supplies = NO_SUPPLIES,
    *,
    html_out: Path | None = None,
    plots_folder: Path | None = None,
    with_prompts: bool = True,
) -> int:
    """Measure, print a table, write what was asked for. Returns the exit status.

    leave_out: models whose columns are dropped before anything is fitted. with_prompts: the page shows examples.
    """
    errors = Console(stderr=True)
    try:
        with Progress(errors, f"evaluating on {set_name}", steps=len(routers) + 4) as progress:
            progress.step("reading")
            dataset = read_dataset(Path(data), set_name).without(leave_out)
            report, shown = run(dataset, routers, features, seed, supplies=supplies, progress=progress.step)
        if json_out is not None:
            _write(json_out, json.dumps(report, indent=1) + "\n")
        if html_out is not None:
            _write(html_out, evaluation_page(report, shown if with_prompts else []))
        if plots_folder is not None:
            write_plots(report, plots_folder)
    except (DatasetError, ArtefactRefused, PlotsUnavailable, ValueError, OSError) as error:
        errors.print(f"[red]not evaluated:[/red] {escape(str(error))}", highlight=False)
        return 2
    except KeyError as error:
        errors.print(f"[red]not evaluated:[/red] {error.args[0]}", highlight=False)
        return 2
    print_report(report, Console())
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
