"""The table router x features x set with intervals, as a markdown page: `python -m routewright.learning.figures`.

Every cell is kept as a JSON file in a cache folder the moment it was measured, so a run that was broken off goes on
where it ended, and a router added later is all that is measured then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import operator
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np

import routewright
from routewright.learning.datasets import Dataset, DatasetError, list_sets, read_dataset
from routewright.learning.evaluate import row_of
from routewright.learning.testbed import TestBed
from routewright.routing.features import make_features
from routewright.routing.features.contract import Supplies
from routewright.routing.registry import ROUTERS, find_router

BASELINES: Final = ("best", "cheapest", "random", "task-mean")
MOST_MISSING: Final = 0.1
"""A model with a larger share of its scores not recorded is left out: gaps are seldom at random."""
BASELINES_CELL: Final = "baselines"


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure to reach on a set's test split."""

    figure: str
    bound: float
    is_most: bool
    """The figure is to be at most the bound; else at least."""

    def is_met(self, value: float) -> bool:
        return value <= self.bound if self.is_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.is_most else '≥'} {self.bound:.2f}"


AIMS: Final[Mapping[str, tuple[Aim, ...]]] = {
    "mmlu_pro": (Aim("cost_at_best_quality", 0.50, True), Aim("cost_at_95", 0.20, True)),
    "llmrouter_mix": (Aim("cost_at_best_quality", 0.28, True), Aim("cost_at_95", 0.15, True)),
    "routerbench_subset": (Aim("cost_at_best_quality", 0.78, True), Aim("cost_at_95", 0.18, True)),
    "routellm_mmlu": (Aim("apgr", 0.68, False),),
}
"""What was set as a goal before anything was fitted. Only this page reads them."""
AIMS_EVERYWHERE: Final = (Aim("ece", 0.03, True),)

_COLUMNS: Final = (
    ("quality", "quality", 3),
    ("gain", "against best single", 3),
    ("aiq", "AIQ", 3),
    ("cost_at_best_quality", "cost at best quality", 2),
    ("cost_at_best_quality_valid", "set on valid", 2),
    ("cost_at_95", "cost at 95 %", 2),
    ("cost_at_95_valid", "set on valid", 2),
    ("ece", "ECE", 3),
    ("decision_us_p50", "µs", 0),
)
_STRONG_WEAK: Final = (("apgr", "APGR", 3), ("cpt50", "CPT50", 2), ("cpt80", "CPT80", 2))
_NO_INTERVAL: Final = frozenset({"cost_at_best_quality_valid", "cost_at_95_valid", "decision_us_p50"})


_OPENING: Final = """\
# Figures

Made by `python -m routewright.learning.figures --data DIR --out docs/figures.md`, not by hand. Every router is fitted
on the train split, calibrated and set on the validation split, and read on the test split; brackets hold 95 % of 1,000
resamples of the test prompts, the same ones for all. Costs are shares of the best single model's (the best on train).
"Cost at" is read off the test split's own curve, which is optimistic; "set on valid" is what the setting chosen on
validation took, and the score it reached. – : not reached. `task-mean` is told the task; `zero` (the cheapest mix of
single models) and `oracle` read the test split. A model that lacks more than a tenth of its scores is left out.
"""


# --- measuring ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cells of one set and one kind of features, which share the work of reading and fitting features."""

    data: Path
    cache: Path
    set_name: str
    features: str
    """Empty: the baselines, which need none."""
    routers: tuple[str, ...]
    seed: int
    encodings: Path | None


def cell_path(cache: Path, set_name: str, features: str, router: str) -> Path:
    """Where a cell is kept."""
    return cache / f"{set_name}.{features}.{router}.json" if features else cache / f"{set_name}.{BASELINES_CELL}.json"


def cell_key(
    dataset: Dataset, router: str, features: str, feature_arguments: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """What a cell was measured on; a kept cell whose key differs is measured again."""
    return {
        "set": dataset.name,
        "sha256": dataset.sha256,
        "models": list(dataset.models),
        "router": router,
        "features": features,
        "arguments": {"router": find_router(router)().params(), "features": feature_arguments} if features else {},
        "seed": seed,
    }


def code_digest() -> str:
    """SHA-256 of the sources that a figure depends on, to tell cells of one version from those of another."""
    digest = hashlib.sha256()
    root = Path(routewright.__file__).parent
    for part in ("routing", "learning"):
        for path in sorted((root / part).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def whole(dataset: Dataset) -> Dataset:
    """The set without models that lack too many scores."""
    missing = np.isnan(dataset.quality).mean(axis=0)
    return dataset.without([dataset.models[i] for i in np.flatnonzero(missing > MOST_MISSING)])


def kept(path: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """A cell measured before, if its key is this one."""
    try:
        cell = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(cell, dict) or cell.get("key") != json.loads(json.dumps(key)):
        return None
    return cell


def measure_group(group: Group, *, say: Callable[[str], None] | None = None) -> int:
    """Measure a group's cells that are not kept; returns how many were measured. Raises DatasetError, ValueError."""
    say = say or (lambda text: print(text, file=sys.stderr, flush=True))
    dataset = whole(read_dataset(group.data, group.set_name))
    routers = group.routers if group.features else (BASELINES_CELL,)
    arguments = make_features(group.features, seed=group.seed).params() if group.features else {}
    wanted = []
    for router in routers:
        key = cell_key(dataset, router, group.features, arguments, group.seed)
        path = cell_path(group.cache, group.set_name, group.features, router)
        if kept(path, key) is None:
            wanted.append((router, key, path))
    if not wanted:
        return 0
    code = code_digest()
    bed = TestBed(dataset, seed=group.seed)
    vectors = bed.vectors(group.features, Supplies(encodings=group.encodings)) if group.features else None
    for router, key, path in wanted:
        cell: dict[str, Any] = {"key": key, "code": code}
        if vectors is None:
            cell |= _baselines(bed)
        else:
            try:
                cell["row"] = row_of(bed.try_router(router, vectors))
            except ValueError as error:
                cell["refused"] = str(error)
        _write(path, json.dumps(cell, indent=1) + "\n")
        said = "refused: " + cell["refused"] if "refused" in cell else "measured"
        say(f"{group.set_name}, {group.features or 'no features'}, {router}: {said}")
    return len(wanted)


def _baselines(bed: TestBed) -> dict[str, Any]:
    data = bed.dataset
    return {
        "rows": [row_of(result) for result in (*bed.baselines(), bed.oracle())],
        "prompts": {"train": len(bed.train), "valid": len(bed.valid.rows), "test": len(bed.test.rows)},
        "best_single": data.models[bed.best],
        "n_models": len(data.models),
    }


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a run may be ended at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


# --- the page -----------------------------------------------------------------------------------------------------


def figures_page(sets: Sequence[str], cells: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> str:
    """The page; cells by (set, features, router), the baselines under ("set", "", "baselines")."""
    parts = [
        _OPENING,
        _aims(sets, cells),
    ]
    for name in sets:
        parts.append(_set_table(name, cells))
    codes = {cell["code"] for cell in cells.values()}
    parts.append(
        f"All cells were measured by one version of the code, `{next(iter(codes))}`.\n"
        if len(codes) == 1
        else f"The cells were measured by {len(codes)} versions of the code; `--fresh` measures all by one.\n"
    )
    return "\n".join(parts)


def _router_rows(name: str, cells: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """(features, row) of each router's cell of a set, those refused left out."""
    return [
        (features, cell["row"]) for (set_name, features, _), cell in cells.items() if set_name == name and "row" in cell
    ]


def _aims(sets: Sequence[str], cells: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> str:
    lines = [
        "## Aims\n",
        "The best of all routers and features on the test split; picking it there is optimistic, as its interval "
        "tells.\n",
        "| set | figure | aim | best | by | reached |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in sets:
        rows = _router_rows(name, cells)
        for aim in (*AIMS.get(name, ()), *AIMS_EVERYWHERE):
            found = [(row[aim.figure], features, row) for features, row in rows if row.get(aim.figure) is not None]
            if not found:
                lines.append(f"| {_code(name)} | {aim.figure} | {aim} | – | | no |")
                continue
            best = (min if aim.is_most else max)(found, key=operator.itemgetter(0))
            value, features, row = best
            n_met = sum(aim.is_met(each[0]) for each in found)
            said = f"yes, by {n_met} of {len(found)}" if aim.is_met(value) else "no"
            digits = 3 if aim.figure in ("apgr", "ece") else 2
            lines.append(
                f"| {_code(name)} | {aim.figure} | {aim} | {_figure(row, aim.figure, digits)} "
                f"| {_code(row['router'])}, {features} | {said} |"
            )
    return "\n".join(lines) + "\n"


def _set_table(name: str, cells: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> str:
    base = cells[name, "", BASELINES_CELL]
    prompts = base["prompts"]
    columns: tuple[tuple[str, str, int], ...] = _COLUMNS
    if any("apgr" in row for row in base["rows"]):
        columns = (*_STRONG_WEAK, *_COLUMNS)
    lines = [
        f"## {name}\n",
        f"{base['n_models']} models; {prompts['train']:,} prompts to learn from, {prompts['valid']:,} to set by, "
        f"{prompts['test']:,} to be judged on. Best single model: {_code(base['best_single'])}.\n",
        "| router | features | " + " | ".join(title for _, title, _ in columns) + " |",
        "| --- | --- |" + " --: |" * len(columns),
    ]
    for row in base["rows"]:
        lines.append(_line(row, "", columns))
    for features, row in _router_rows(name, cells):
        lines.append(_line(row, features, columns))
    refused = [
        f"{_code(router)} with {features}: {cell['refused']}"
        for (set_name, features, router), cell in cells.items()
        if set_name == name and "refused" in cell
    ]
    if refused:
        lines.append("\nNot measured: " + "; ".join(refused) + ".")
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any], features: str, columns: Sequence[tuple[str, str, int]]) -> str:
    cells = " | ".join(_figure(row, key, digits) for key, _, digits in columns)
    name = _code(row["router"]) if row["kind"] == "router" else row["router"]
    return f"| {name} | {features} | {cells} |"


def _figure(row: Mapping[str, Any], key: str, digits: int) -> str:
    value = row.get(key)
    if value is None:
        return "–" if key in row else ""
    sign = "+" if key == "gain" else ""
    text = f"{value:{sign}.{digits}f}"
    if key.endswith("_valid"):
        score = row.get(key.replace("cost_at", "score_at"))
        return text if score is None else f"{text} for {score:.3f}"
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    if key in _NO_INTERVAL or low is None:
        return text
    upper = "–" if high is None else f"{high:{sign}.{digits}f}"
    return f"{text} ({low:{sign}.{digits}f}{' … ' if sign or high is None else '–'}{upper})"


def _code(text: str) -> str:
    return f"`{text}`" if "`" not in text else text


# --- the command --------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, write the page; 0, or 2 where something named is not there."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the processes that measure; they share the cores
    parser = argparse.ArgumentParser(
        prog="python -m routewright.learning.figures", description=main.__doc__, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of sets")
    parser.add_argument("--out", type=Path, required=True, help="the markdown page to write")
    parser.add_argument("--sets", default="", help="names with commas between; default: all in the folder")
    parser.add_argument("--routers", default="", help="names with commas between; default: all but the baselines")
    parser.add_argument("--features", default="hashed", help="names with commas between; several joined by +")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--cache", type=Path, default=Path(".figures"), help="where measured cells are kept")
    parser.add_argument("--encodings", type=Path, help="where an encoder's vectors are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="measure every cell again")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except (DatasetError, ValueError, OSError) as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    except KeyError as error:
        print(f"no figures: {error.args[0]}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    sets = _names(options.sets) or list_sets(options.data)
    routers = _names(options.routers) or [name for name in ROUTERS if name not in BASELINES]
    features = _names(options.features)
    for name in routers:
        find_router(name)
    for name in features:
        make_features(name)
    groups = [
        Group(
            data=options.data,
            cache=options.cache,
            set_name=name,
            features=kind,
            routers=tuple(routers),
            seed=options.seed,
            encodings=options.encodings,
        )
        for kind in ("", *features)
        for name in sets
    ]
    if options.fresh:
        for group in groups:
            for router in group.routers:
                cell_path(group.cache, group.set_name, group.features, router).unlink(missing_ok=True)
    if options.jobs == 1:
        for group in groups:
            measure_group(group)
    else:
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            for done in as_completed([pool.submit(measure_group, group) for group in groups]):
                done.result()
    cells: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for name in sets:
        for kind in ("", *features):
            for router in routers if kind else (BASELINES_CELL,):
                text = cell_path(options.cache, name, kind, router).read_text(encoding="utf-8")
                cells[name, kind, router] = json.loads(text)
    _write(options.out, figures_page(sets, cells))
    return 0


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name for name in text.split(",") if name))


if __name__ == "__main__":
    raise SystemExit(main())
