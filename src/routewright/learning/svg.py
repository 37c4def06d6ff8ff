"""Plots as SVG text that takes its colours from the page's style sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any, Final

_LOG_FROM: Final = 12.0
"""Ratio of the dearest cost to the cheapest from which a logarithmic axis reads better."""
_SERIES: Final = 8
"""Colours in the style sheet."""


class Axis:
    """Values to pixels; log: a logarithmic scale."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self.log = log and low > 0
        if high <= low:
            low, high = low - 0.5, high + 0.5
            self.log = False
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        if self.log:
            share = (log10(max(value, self.low * 1e-3)) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """Round values inside, about as many as asked for."""
        if self.log:
            marks = (1.0, 2.0, 5.0)
            found = [
                mark * 10.0**power
                for power in range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
                for mark in marks
                if self.low <= mark * 10.0**power <= self.high
            ]
            while len(found) > about + 1:
                found = found[::2]
            return found
        rough = (self.high - self.low) / max(1, about)
        power = 10.0 ** floor(log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
        first = ceil(self.low / step - 1e-9)
        return [step * i for i in range(first, floor(self.high / step + 1e-9) + 1)]


def usd(value: float) -> str:
    """A short amount of US dollars."""
    if value == 0:
        return "$0"
    digits = max(0, 1 - floor(log10(abs(value))))
    return f"${value:,.{min(digits, 6)}f}"


def series_class(number: int) -> str:
    """Style class of a router's colour; from the ninth router on colours return, dashed."""
    return f"s{number % _SERIES}" + (" again" if number >= _SERIES else "")


class Labels:
    """Places short texts beside points where they lie over nothing placed before."""

    def __init__(self, width: float, height: float, size: float) -> None:
        self._width, self._height, self._size = width, height, size
        self._boxes: list[tuple[float, float, float, float]] = []

    def block(self, x: float, y: float, radius: float) -> None:
        """A mark lies here."""
        self._boxes.append((x - radius, y - radius, x + radius, y + radius))

    def place(self, x: float, y: float, text: str) -> tuple[float, float, str] | None:
        """Where the text stands (x, y, anchor); None where there is no room."""
        wide, tall = 0.56 * self._size * len(text), self._size
        for dx, dy, anchor in (
            (7, 4, "start"), (-7, 4, "end"), (0, -8, "middle"), (0, 8 + tall * 0.8, "middle"),
            (6, -7, "start"), (6, 7 + tall * 0.7, "start"), (-6, -7, "end"), (-6, 7 + tall * 0.7, "end"),
        ):  # fmt: skip
            left = x + dx - (0 if anchor == "start" else wide if anchor == "end" else wide / 2)
            box = (left - 1, y + dy - tall * 0.8, left + wide + 1, y + dy + tall * 0.2)
            inside = box[0] >= 0 and box[2] <= self._width and box[1] >= 0 and box[3] <= self._height
            if inside and not any(
                box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in self._boxes
            ):
                self._boxes.append(box)
                return (x + dx, y + dy, anchor)
        return None


def _frame(
    x: Axis, y: Axis, x_text: Callable[[float], str], y_text: Callable[[float], str], x_title: str, y_title: str
) -> list[str]:
    """Grid lines, ticks and titles of both axes."""
    out = []
    for value in x.ticks(max(4, int(abs(x.end - x.start) // 90))):
        at = x(value)
        out.append(f'<path class="grid" d="M{at:.1f} {y.start:.1f}V{y.end:.1f}"/>')
        out.append(f'<text x="{at:.1f}" y="{y.start + 16:.1f}" text-anchor="middle">{escape(x_text(value))}</text>')
    for value in y.ticks(max(3, int(abs(y.end - y.start) // 55))):
        at = y(value)
        out.append(f'<path class="grid" d="M{x.start:.1f} {at:.1f}H{x.end:.1f}"/>')
        out.append(f'<text x="{x.start - 6:.1f}" y="{at + 4:.1f}" text-anchor="end">{escape(y_text(value))}</text>')
    middle = (x.start + x.end) / 2
    out.append(f'<text x="{middle:.1f}" y="{y.start + 34:.1f}" text-anchor="middle">{escape(x_title)}</text>')
    out.append(f'<text x="{x.start:.1f}" y="{y.end - 8:.1f}" text-anchor="start">{escape(y_title)}</text>')
    return out


def _path(points: Sequence[Sequence[float]], x: Axis, y: Axis, *, steps: int) -> str:
    """A polyline; a chord is straight in dollars, so on a logarithmic axis it is drawn in steps."""
    drawn = []
    for i, (cost, score) in enumerate(points):
        if i and steps > 1:
            before = points[i - 1]
            for k in range(1, steps):
                share = k / steps
                drawn.append((before[0] + share * (cost - before[0]), before[1] + share * (score - before[1])))
        drawn.append((cost, score))
    return "M" + "L".join(f"{x(cost):.1f} {y(score):.1f}" for cost, score in drawn)


def window(report: Mapping[str, Any]) -> tuple[float, float]:
    """Scores that the cost-quality plot shows: all curves' tops and dials, and 85 % of the best single model's."""
    best = next(single for single in report["singles"] if single["model"] == report["best_single"])
    details = report["details"]
    tops = [details[row["router"]]["curve"][-1][1] for row in report["results"] if row["kind"] != "bound"]
    dials = [spot["score"] for name in router_numbers(report) for spot in details[name].get("dial", ())]
    top, bottom = max([*tops, best["quality"]]), min([*dials, 0.85 * best["quality"]])
    pad = 0.06 * (top - bottom)
    return max(0.0, bottom - pad), top + pad


def cost_quality(report: Mapping[str, Any], *, width: int, height: int) -> str:
    """Hulls of all routers, single models as points, the dial's positions marked."""
    singles = report["singles"]
    costs = [single["cost_usd"] * 1000 for single in singles]
    known = [cost for cost in costs if cost > 0]
    if not known:
        return ""
    low, high = min(known), max(known)
    is_log = high / low >= _LOG_FROM
    left, right, top, bottom = 46, width - 14, 26, height - 44
    bottom_score, top_score = window(report)
    pad = (1.12, 1.25) if is_log else (1.0, 1.04)
    x = Axis(low / pad[0] if is_log else 0.0, high * pad[1], left, right, log=is_log)
    y = Axis(bottom_score, top_score, bottom, top)
    out = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Cost against quality">',
        f'<clipPath id="plot{width}"><rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>'
        "</clipPath>",
        *_frame(x, y, usd, "{:.2f}".format, "US dollars per 1,000 requests" + (" (log)" if is_log else ""), "score"),
        f'<g clip-path="url(#plot{width})">',
    ]
    labels = Labels(width, bottom, 11)
    best = next(single for single in singles if single["model"] == report["best_single"])
    out.append(
        f'<path class="best" d="M{left} {y(best["quality"]):.1f}H{right}">'
        f"<title>quality of the best single model, {best['quality']:.3f}</title></path>"
    )
    steps = 16 if is_log else 1
    numbers = router_numbers(report)
    for row in report["results"]:
        name = row["router"]
        points = [[cost * 1000, score] for cost, score in report["details"][name]["curve"]]
        style = {"zero": "zero", "task-mean": "task"}.get(name)
        if name in numbers:
            style = f"line {series_class(numbers[name])}"
        if style is None:
            continue
        points.append([max(high * pad[1], points[-1][0]), points[-1][1]])
        out.append(f'<path class="{style}" d="{_path(points, x, y, steps=steps)}"><title>{escape(name)}</title></path>')
    out.append("</g>")

    marks: list[tuple[float, float, str]] = []
    for single in singles:
        cost, score = single["cost_usd"] * 1000, single["quality"]
        if cost <= 0 or not bottom_score <= score <= top_score:
            continue
        at = (x(cost), y(score))
        labels.block(*at, 4)
        marks.append((*at, single["model"]))
        out.append(
            f'<circle class="single" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3.5">'
            f"<title>{escape(single['model'])}: {score:.3f} at {usd(cost)}</title></circle>"
        )
    for name, number in numbers.items():
        for spot in report["details"][name].get("dial", ()):
            cost, score = spot["cost_usd"] * 1000, spot["score"]
            if cost <= 0 or not bottom_score <= score <= top_score:
                continue
            at = (x(cost), y(score))
            labels.block(*at, 5)
            out.append(
                f'<circle class="dial {series_class(number)}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4.5">'
                f"<title>{escape(name)}, dial {spot['quality']:g}: {score:.3f} at {usd(cost)}</title></circle>"
            )
            if len(numbers) <= 4 and (found := labels.place(*at, f"{spot['quality']:g}")):
                out.append(_text(found, f"{spot['quality']:g}", f"mark {series_class(number)}"))
    for at_x, at_y, model in sorted(marks, key=lambda mark: mark[1]):
        if found := labels.place(at_x, at_y, model):
            out.append(_text(found, model, "name"))
    out.append("</svg>")
    return "".join(out)


def _text(found: tuple[float, float, str], text: str, style: str) -> str:
    x, y, anchor = found
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def router_numbers(report: Mapping[str, Any]) -> dict[str, int]:
    """Each router's place in the order of colours."""
    return {row["router"]: i for i, row in enumerate(r for r in report["results"] if r["kind"] == "router")}


def calibration(report: Mapping[str, Any], *, width: int, height: int) -> str:
    """Expected chance against what came, for every router; a point's size tells its number of prompts."""
    numbers = router_numbers(report)
    left, right, top, bottom = 46, width - 14, 26, height - 44
    x, y = Axis(0.0, 1.0, left, right), Axis(0.0, 1.0, bottom, top)
    out = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Calibration">',
        *_frame(x, y, "{:.1f}".format, "{:.1f}".format, "expected chance of a right answer", "right answers"),
        f'<path class="zero" d="M{x(0):.1f} {y(0):.1f}L{x(1):.1f} {y(1):.1f}"><title>as expected</title></path>',
    ]
    for name, number in numbers.items():
        bins = report["details"][name].get("calibration", ())
        if not bins:
            continue
        total = sum(each["n"] for each in bins)
        points = [[each["chance"], each["outcome"]] for each in bins]
        out.append(f'<path class="line {series_class(number)}" d="{_path(points, x, y, steps=1)}"/>')
        for each in bins:
            radius = 2.5 + 9 * (each["n"] / total) ** 0.5
            out.append(
                f'<circle class="bin {series_class(number)}" cx="{x(each["chance"]):.1f}" '
                f'cy="{y(each["outcome"]):.1f}" r="{radius:.1f}"><title>{escape(name)}: {each["n"]} prompts, '
                f"expected {each['chance']:.3f}, came {each['outcome']:.3f}</title></circle>"
            )
    out.append("</svg>")
    return "".join(out)
