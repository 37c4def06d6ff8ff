"""`routewright import-llmrouter` and `routewright export-llmrouter`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from routewright.learning.datasets import DatasetError, read_dataset
from routewright.learning.llmrouter import UNSAFE, Found, read_config, read_llmrouter, write_set
from routewright.learning.llmrouter_export import export_llmrouter
from routewright.routing.registry import ALIASES, ROUTERS


def import_command(
    config: Path | None,
    llm_data: Path | None,
    routing_train: Path | None,
    routing_test: Path | None,
    root: Path | None,
    out: Path,
    name: str,
) -> int:
    """Read LLMRouter's files, write a set of ours, and say what came of it. Returns the exit status.

    Files named by themselves stand in place of the configuration's.
    """
    try:
        found = Found() if config is None else read_config(config, root)
        for path in (llm_data, routing_train, routing_test):
            if path is not None and path.suffix.lower() in UNSAFE:
                raise DatasetError(f"{path.name} could run code and is not opened")
        found.llm_data = llm_data or found.llm_data
        for split, path in (("train", routing_train), ("test", routing_test)):
            if path is not None:
                found.routing[split] = path
        imported = read_llmrouter(found)
        write_set(imported, out, name)
        dataset = read_dataset(out, name)
    except (DatasetError, OSError) as error:
        print(f"routewright: not imported: {error}", file=sys.stderr)
        return 2
    splits = Counter(dataset.splits)
    print(
        f"{out}/{name}: {len(dataset)} prompts ({splits['train']} train, {splits['valid']} valid, "
        f"{splits['test']} test), {len(dataset.models)} models"
    )
    for count, text in (
        (imported.n_failed, "failed calls left empty: no statement of a model's quality"),
        (imported.n_repeated, "records of a query and model that had one already; their mean counts"),
        (imported.n_moved, "queries of both files, left out of train: nothing is learned from what is judged on"),
        (imported.n_unscored, "queries without a score left out"),
        (sum(price[0] is None for price in dataset.prices), "models without a price: their cost is not known"),
    ):
        if count:
            print(f"  {count} {text}")
    for path_text in found.never_opened:
        print(f"  not opened, since it could run code: {path_text}")
    router = ALIASES.get(found.router, found.router)
    if router not in ROUTERS:
        router = "ensemble"
    print(f"fit it: routewright fit --data {out} --set {name} --router {router} --out {name}.safetensors")
    return 0


def export_command(data: Path, name: str, out: Path) -> int:
    """Write a set of ours as LLMRouter's files. Returns the exit status."""
    try:
        dataset = read_dataset(data, name)
        written = export_llmrouter(dataset, out)
    except (DatasetError, OSError) as error:
        print(f"routewright: not exported: {error}", file=sys.stderr)
        return 2
    for path in written:
        print(path)
    return 0
