"""`routewright compare`: two routers on the same test prompts, and whether the difference is more than chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from routewright.errors import ArtefactRefused
from routewright.learning.bootstrap import interval
from routewright.learning.datasets import Dataset, DatasetError, read_dataset
from routewright.learning.progress import Progress
from routewright.learning.testbed import TestBed, Vectors, is_file
from routewright.learning.trial import Trial
from routewright.routing.artefact import read_artefact
from routewright.routing.features.contract import NO_SUPPLIES, Supplies
from routewright.routing.registry import find_router

FIGURES: Final[Mapping[str, bool]] = {
    "quality": True,
    "aiq": True,
    "cost_at_best_quality": False,
    "cost_at_95": False,
    "ece": False,
}
"""What is compared, and whether more of it is better."""
DECIDES: Final = "aiq"
"""Quality over all costs: what a router is for. The others say where the difference lies."""
_MOST_PROMPTS: Final = 10_000_000
_WIDTH: Final = 100
"""That the table needs, whatever the terminal has."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both routers, and A's minus B's with its paired 95 % interval. None: not reached."""

    figure: str
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    better: str
    """`A`, `B`, or empty where the interval holds 0."""


def compare(
    dataset: Dataset,
    a: str,
    b: str,
    features_name: str = "hashed",
    seed: int = 0,
    *,
    supplies: Supplies = NO_SUPPLIES,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Compare two routers on the test split, as JSON values.

    A router is a name, `NAME@FEATURES`, or the path of a router file; by name it is fitted on train. Raises
    DatasetError, KeyError, ValueError and ArtefactRefused as `evaluate` does.
    """
    say = progress or (lambda _: None)
    bed = TestBed(dataset, seed=seed)
    made: dict[str, Vectors] = {}
    trials: list[Trial] = []
    notes = []
    for name in (a, b):
        say(name)
        if is_file(name):
            artefact = read_artefact(name, force=True, supplies=supplies)
            result = bed.try_artefact(artefact)
            if artefact.training.get("sha256") != dataset.sha256:
                notes.append(
                    f"{name} was fitted on other data: if prompts of this test split were among it, its figures are "
                    "too good."
                )
        else:
            router, _, own = name.partition("@")
            find_router(router)
            kind = own or features_name
            if kind not in made:
                made[kind] = bed.vectors(kind, supplies)
            result = bed.try_router(router, made[kind])
        assert result.trial is not None
        trials.append(result.trial)
    differences = _differences(trials[0], trials[1])
    return {
        "set": dataset.name,
        "sha256": dataset.sha256,
        "test_prompts": len(bed.test.rows),
        "seed": seed,
        "a": a,
        "b": b,
        "differences": [asdict(each) for each in differences],
        "verdict": verdict(a, b, differences, len(bed.test.rows)),
        "notes": notes,
    }


def _differences(a: Trial, b: Trial) -> list[Difference]:
    figures = []
    for trial in (a, b):
        whole, rounds = trial.field.figures(trial.policies)
        whole["ece"], rounds["ece"] = trial.field.calibration_error(trial.chances(), trial.policies.score[:, 0])
        figures.append((whole, rounds))
    out = []
    for name, more_is_better in FIGURES.items():
        values = [whole[name] for whole, _ in figures]
        known = [_rounded(value) for value in values]
        if None in known:
            reached = [letter for letter, value in zip("AB", known, strict=True) if value is not None]
            out.append(Difference(name, known[0], known[1], None, None, None, reached[0] if reached else ""))
            continue
        pairs = zip(figures[0][1][name], figures[1][1][name], strict=True)
        rounds_of = [x - y for x, y in pairs if x == x and y == y and (isfinite(x) or isfinite(y))]
        low, high = interval(rounds_of)
        better = ""
        if low > 0:
            better = "A" if more_is_better else "B"
        elif high < 0:
            better = "B" if more_is_better else "A"
        difference = _rounded(values[0] - values[1])
        out.append(Difference(name, known[0], known[1], difference, _rounded(low), _rounded(high), better))
    return out


def _rounded(value: float) -> float | None:
    return round(value, 5) if isfinite(value) else None


def verdict(a: str, b: str, differences: Sequence[Difference], n_prompts: int) -> str:
    """Which is better, or that it is not decided, in a sentence or two."""
    by_name = {each.figure: each for each in differences}
    main = by_name[DECIDES]
    names = {"A": a, "B": b}
    if main.difference is None or main.low is None or main.high is None:
        return "It is not decided: the costs of this set are not known, so there is no curve to compare."
    found = f"{main.difference:+.4f}, 95 % between {main.low:+.4f} and {main.high:+.4f}"
    if main.better:
        text = f"{names[main.better]} is better over the whole range of costs (aiq of {a} minus that of {b}: {found})."
    else:
        text = f"It is not decided: over the whole range of costs (aiq of {a} minus that of {b}: {found})."
        half, size = (main.high - main.low) / 2, abs(main.difference)
        needed = n_prompts * (half / size) ** 2 if size > 0 else float("inf")
        if needed < _MOST_PROMPTS:
            text += (
                f" {n_prompts} test prompts are too few; some {_about(needed)} would tell a difference of this size."
            )
        else:
            text += f" {n_prompts} test prompts show no difference."
    quality = by_name["quality"]
    if quality.better and quality.better != main.better:
        text += f" On quality alone, whatever the cost, {names[quality.better]} is better ({quality.difference:+.4f})."
    elif not quality.better and main.better:
        text += " On quality alone they are not told apart."
    return text


def _about(value: float) -> str:
    """Rounded up to two digits."""
    scale = 10 ** max(0, len(str(int(value))) - 2)
    return f"{ceil(value / scale - 1e-6) * scale:,}"


# --- the command --------------------------------------------------------------------------------------------------


def compare_command(
    data: Path,
    set_name: str,
    a: str,
    b: str,
    features: str,
    json_out: Path | None,
    seed: int,
    leave_out: Sequence[str] = (),
    supplies: Supplies = NO_SUPPLIES,
) -> int:
    """Compare, print a table and a verdict, write JSON if asked to. Returns the exit status."""
    errors = Console(stderr=True)
    try:
        with Progress(errors, f"comparing on {set_name}", steps=4) as progress:
            progress.step("reading")
            dataset = read_dataset(data, set_name).without(leave_out)
            found = compare(dataset, a, b, features, seed, supplies=supplies, progress=progress.step)
        if json_out is not None:
            json_out.parent.mkdir(parents=True, exist_ok=True)
            json_out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except (DatasetError, ArtefactRefused, ValueError, OSError) as error:
        errors.print(f"[red]not compared:[/red] {escape(str(error))}", highlight=False)
        return 2
    except KeyError as error:
        errors.print(f"[red]not compared:[/red] {escape(str(error.args[0]))}", highlight=False)
        return 2
    console = Console(highlight=False)
    if console.width < _WIDTH:
        console = Console(highlight=False, width=_WIDTH)
    console.print(comparison_table(found))
    for text in (found["verdict"], *found["notes"]):
        console.print(text, markup=False, soft_wrap=True)
    return 0


def comparison_table(found: Mapping[str, Any]) -> Table:
    """Figures of both, side by side."""
    table = Table(
        title=escape(f"A: {found['a']}, B: {found['b']}, on {found['test_prompts']} test prompts of {found['set']}"),
        box=SIMPLE_HEAD,
        title_justify="left",
    )
    for name in ("figure", "A", "B", "A - B", "95 %", "better"):
        table.add_column(name, justify="left" if name in ("figure", "better") else "right", no_wrap=True)
    for each in found["differences"]:
        low, high = each["low"], each["high"]
        span = "" if low is None and high is None else f"{_signed(low)} .. {_signed(high)}"
        better = each["better"] or ("not decided" if each["difference"] is not None else "")
        table.add_row(each["figure"], _plain(each["a"]), _plain(each["b"]), _signed(each["difference"]), span, better)
    return table


def _plain(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"
