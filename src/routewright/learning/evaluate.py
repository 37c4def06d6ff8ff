"""Running routers on a set: fit on train, calibrate on valid, report on test beside all baselines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from routewright.learning.costs import CostModel
from routewright.learning.datasets import Dataset, DatasetError, read_dataset
from routewright.learning.metrics import Metrics, Split, measure, measure_random, measure_zero
from routewright.learning.report import print_report
from routewright.routing.baselines import OracleRouter, TaskMeanRouter
from routewright.routing.features import make_features
from routewright.routing.features.contract import NO_SUPPLIES, Supplies
from routewright.routing.registry import find_router
from routewright.routing.router import Float32, mean_known

Float64 = NDArray[np.float64]
_TIMED_PROMPTS: Final = 300


def evaluate(
    dataset: Dataset,
    routers: Sequence[str],
    features_name: str = "hashed",
    seed: int = 0,
    *,
    router_arguments: dict[str, dict[str, Any]] | None = None,
    supplies: Supplies = NO_SUPPLIES,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Fit each router on train, measure it on test, with all baselines; the report as JSON values.

    Raises DatasetError when a split is empty, KeyError for an unknown router, ValueError for unknown features.
    """
    say = progress or (lambda _: None)
    for name in routers:
        find_router(name)
    features = make_features(features_name, seed=seed, supplies=supplies)
    train = dataset.rows("train")
    mean, usual_cost = mean_known(dataset.quality[train]), mean_known(dataset.cost_usd[train])
    valid, test = Split(dataset, "valid", mean, usual_cost), Split(dataset, "test", mean, usual_cost)
    if not (len(train) and len(valid.rows) and len(test.rows)):
        raise DatasetError(f'set "{dataset.name}" needs rows in train, valid and test')
    tokens = dataset.prompt_tokens
    by_length = CostModel().fit(tokens[train], dataset.cost_usd[train])
    costs = {"valid": by_length.predict(tokens[valid.rows]), "test": by_length.predict(tokens[test.rows])}

    def flat(values: Float32) -> dict[str, Float64]:
        return {
            name: np.broadcast_to(values, split.score.shape).astype(np.float64)
            for name, split in (("valid", valid), ("test", test))
        }

    rows: list[dict[str, Any]] = []

    def add(name: str, kind: str, metrics: Metrics) -> None:
        rows.append(
            {"router": name, "kind": kind, **{k: None if v is None else round(v, 5) for k, v in metrics.items()}}
        )

    best, cheapest = int(np.argmax(mean)), int(np.lexsort((-mean, usual_cost))[0])
    say("baselines")
    add("best", "baseline", measure(flat(mean), costs, valid, test, mean, seed=seed))
    only = np.zeros_like(mean)
    only[cheapest] = 1.0
    add("cheapest", "baseline", measure(flat(only), costs, valid, test, mean, seed=seed, calibrated=False))
    add("random", "baseline", measure_random(test, mean))
    add("zero", "baseline", measure_zero(test, mean))
    names = sorted({dataset.tasks[row] for row in train})
    if len(names) > 1:
        number = {task: float(i) for i, task in enumerate(names)}
        tasks = np.array([[number.get(task, 1e6)] for task in dataset.tasks], dtype=np.float32)
        by_task = TaskMeanRouter().fit(tasks[train], dataset.quality[train], dataset.cost_usd[train])
        expected = {
            n: by_task.predict_quality(tasks[s.rows]).astype(np.float64) for n, s in (("valid", valid), ("test", test))
        }
        add("task-mean", "baseline", measure(expected, costs, valid, test, mean, seed=seed))

    say(f"features {features_name} on {len(train)} prompts")
    X = features.fit_transform([dataset.prompts[row] for row in train], dataset.quality[train])
    vectors = {"valid": features.transform(valid.prompts), "test": features.transform(test.prompts)}
    features.open(replace(supplies, encodings=None))  # what is timed below is making vectors, not finding them
    by_prompt = CostModel().fit(tokens[train], dataset.cost_usd[train], X)
    costs = {name: by_prompt.predict(tokens[split.rows], vectors[name])
             for name, split in (("valid", valid), ("test", test))}  # fmt: skip
    for name in routers:
        say(f"router {name}")
        router_class = find_router(name)
        router = router_class(**(router_arguments or {}).get(name, {}))
        router.fit(X, dataset.quality[train], dataset.cost_usd[train])
        expected = {n: router.predict_quality(v).astype(np.float64) for n, v in vectors.items()}
        metrics = measure(expected, costs, valid, test, mean, seed=seed)
        times = []
        for prompt in test.prompts[:_TIMED_PROMPTS]:
            start = perf_counter_ns()
            int(np.argmax(router.rate_one(features.vector(prompt)) - 0.0 * router.cost_usd_))
            times.append((perf_counter_ns() - start) / 1e3)
        metrics["decision_us_p50"] = float(np.quantile(times, 0.5))
        metrics["decision_us_p99"] = float(np.quantile(times, 0.99))
        add(router.name, "router", metrics)

    oracle = {
        "valid": OracleRouter().predict_quality(valid.recorded),
        "test": OracleRouter().predict_quality(test.recorded),
    }
    add(
        "oracle",
        "bound",
        measure(
            {n: v.astype(np.float64) for n, v in oracle.items()}, costs, valid, test, mean, seed=seed, calibrated=False
        ),
    )
    return {
        "set": dataset.name,
        "sha256": dataset.sha256,
        "models": len(dataset.models),
        "rows": {"train": len(train), "valid": len(valid.rows), "test": len(test.rows)},
        "best_single": dataset.models[best],
        "cheapest_single": dataset.models[cheapest],
        "features": features_name,
        "seed": seed,
        "results": rows,
    }


def evaluate_command(
    data: Path,
    set_name: str,
    routers: list[str],
    features: str,
    json_out: Path | None,
    seed: int,
    leave_out: Sequence[str] = (),
    supplies: Supplies = NO_SUPPLIES,
) -> int:
    """`routewright evaluate`: measure, print a table, write the report. Returns the exit status.

    leave_out: models whose columns are dropped before anything is fitted.
    """
    console = Console()
    errors = Console(stderr=True)
    try:
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=errors, transient=True
        ) as bar:
            task = bar.add_task(f"reading {set_name}", total=None)
            dataset = read_dataset(Path(data), set_name).without(leave_out)
            report = evaluate(
                dataset,
                routers,
                features,
                seed,
                supplies=supplies,
                progress=lambda text: bar.update(task, description=f"{set_name}: {text}"),
            )
        if json_out is not None:
            Path(json_out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except (DatasetError, ValueError, OSError) as error:
        errors.print(f"[red]not evaluated:[/red] {error}", highlight=False)
        return 2
    except KeyError as error:
        errors.print(f"[red]not evaluated:[/red] {error.args[0]}", highlight=False)
        return 2
    print_report(report, console)
    return 0
