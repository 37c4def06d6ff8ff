"""An evaluation's plots as PNG files, with matplotlib from the extra `train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from routewright.learning.svg import router_numbers, window


class PlotsUnavailable(Exception):
    """matplotlib is not installed."""


def write_plots(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `SET-cost-quality.png` and `SET-calibration.png`; returns their paths.

    Raises PlotsUnavailable without matplotlib, OSError.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotsUnavailable(
            "plots need matplotlib: pip install 'routewright[train]' (the page of --html does without)"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, draw in (("cost-quality", _cost_quality), ("calibration", _calibration)):
        figure = Figure(figsize=(8, 5), layout="constrained")
        draw(report, figure.add_subplot())
        path = folder / f"{report['set']}-{kind}.png"
        figure.savefig(path, dpi=150, metadata={"Software": None})
        written.append(path)
    return written


def _cost_quality(report: Mapping[str, Any], axes: Any) -> None:
    singles = [single for single in report["singles"] if single["cost_usd"] > 0]
    costs = [single["cost_usd"] * 1000 for single in singles]
    dearest = max(costs, default=1.0)
    if costs and dearest / min(costs) >= 12:
        axes.set_xscale("log")
    axes.scatter(costs, [single["quality"] for single in singles], s=14, color="0.5", label="single models", zorder=3)
    styles = {"zero": ("0.5", "--"), "task-mean": ("0.5", ":")}
    numbers = router_numbers(report)
    for row in report["results"]:
        name = row["router"]
        curve = report["details"][name]["curve"]
        if name in styles:
            colour, line = styles[name]
        elif name in numbers:
            colour, line = f"C{numbers[name] % 10}", "-"
        else:
            continue
        x = [cost * 1000 for cost, _ in curve]
        y = [score for _, score in curve]
        axes.plot([*x, max(dearest, x[-1])], [*y, y[-1]], line, color=colour, label=name)
        dial = report["details"][name].get("dial", []) if name in numbers else []
        axes.scatter(
            [spot["cost_usd"] * 1000 for spot in dial], [spot["score"] for spot in dial],
            s=28, facecolor="white", edgecolor=colour, zorder=4,
        )  # fmt: skip
    axes.set_ylim(*window(report))
    axes.set_xlabel("US dollars per 1,000 requests")
    axes.set_ylabel("score")
    axes.set_title(f"{report['set']}, features {report['features']}", parse_math=False)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _calibration(report: Mapping[str, Any], axes: Any) -> None:
    axes.plot([0, 1], [0, 1], "--", color="0.5", label="as expected")
    for name, number in router_numbers(report).items():
        bins = report["details"][name].get("calibration", [])
        total = sum(each["n"] for each in bins) or 1
        x, y = [each["chance"] for each in bins], [each["outcome"] for each in bins]
        axes.plot(x, y, color=f"C{number % 10}", label=name)
        axes.scatter(x, y, s=[10 + 300 * each["n"] / total for each in bins], color=f"C{number % 10}", alpha=0.4)
    axes.set_xlabel("expected chance of a right answer")
    axes.set_ylabel("right answers")
    axes.set_title(f"{report['set']}, features {report['features']}", parse_math=False)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
