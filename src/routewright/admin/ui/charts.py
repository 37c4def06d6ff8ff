"""Small charts as SVG. Colours come from the style sheet by class, sizes from the page's width by the view box."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

from markupsafe import Markup

from routewright.admin.ui import labels

COLOURS = 8
CHARACTER = 7.2
"""Units that a character of a label takes at most."""
WHOLE, NARROW = 720, 350
"""Units of a chart as wide as the page; those in half a page have fewer, so that type looks alike."""


def colour(number: int) -> str:
    """Style class of the n-th series."""
    return f"c{number % COLOURS}"


def colours(names: Sequence[str]) -> dict[str, str]:
    """A class for each name; the same names give the same colours on every page."""
    return {name: colour(place) for place, name in enumerate(sorted(names))}


def _steps(most: float, about: int = 3) -> list[float]:
    """Round values from 0 to at least `most`."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / about
    power = 10.0 ** floor(log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    return [step * place for place in range(ceil(most / step - 1e-9) + 1)]


def bars(
    columns: Sequence[tuple[str, Mapping[str, float]]],
    classes: Mapping[str, str],
    text: Callable[[float], str],
    *,
    label: str,
    width: int = WHOLE,
    height: int = 180,
) -> Markup:
    """Stacked columns over time: (what stands below, series -> value), and how a value reads.

    A chart as wide as the page is drawn twice, since its type would be too small on a phone: the style sheet shows one.
    """
    if width < WHOLE:
        return _bars(columns, classes, text, label, "chart half", width, height)
    wide = _bars(columns, classes, text, label, "chart wide", width, height)
    return wide + _bars(columns, classes, text, label, "chart narrow", NARROW, height)


def _bars(
    columns: Sequence[tuple[str, Mapping[str, float]]],
    classes: Mapping[str, str],
    text: Callable[[float], str],
    label: str,
    kind: str,
    width: int,
    height: int,
) -> Markup:
    most = max([sum(parts.values()) for _, parts in columns], default=0.0)
    ticks = _steps(most)
    left = max(68, 14 + ceil(CHARACTER * max(len(text(tick)) for tick in ticks)))
    right, top, bottom = width - 6, 10, height - 22
    span = ticks[-1] or 1.0
    out = [f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">']
    for tick in ticks:
        at = bottom - (bottom - top) * tick / span
        out.append(f'<path class="grid" d="M{left} {at:.1f}H{right}"/>')
        out.append(f'<text x="{left - 7}" y="{at + 4:.1f}" text-anchor="end">{escape(text(tick))}</text>')
    each = (right - left) / max(1, len(columns))
    gap = min(6.0, each * 0.22)
    longest = max([len(name) for name, _ in columns], default=0)
    every = max(1, ceil(len(columns) * max(62.0, 11.5 * longest) / (right - left)))
    for place, (name, parts) in enumerate(columns):
        x, at = left + place * each + gap / 2, float(bottom)
        told = ", ".join(f"{series} {text(value)}" for series, value in parts.items() if value) or "nothing"
        out.append(f"<g><title>{escape(name)}: {escape(told)}</title>")
        for series, value in parts.items():
            tall = (bottom - top) * value / span
            if tall <= 0:
                continue
            at -= tall
            out.append(
                f'<rect class="{classes[series]}" x="{x:.1f}" y="{at:.1f}" width="{each - gap:.1f}" '
                f'height="{max(tall, 0.6):.1f}"/>'
            )
        out.append("</g>")
        if place % every == 0:
            out.append(f'<text x="{x + (each - gap) / 2:.1f}" y="{height - 5}" text-anchor="middle">'
                       f"{escape(name)}</text>")  # fmt: skip
    out.append("</svg>")
    return Markup("".join(out))  # noqa: S704 - every text in it was escaped


def meter(spent: float, most: float) -> Markup:
    """How much of a budget is spent, as a bar."""
    share = spent / most if most > 0 else 1.0 if spent else 0.0
    kind = "bad" if share >= 1 else "warn" if share >= 0.8 else "good"
    return Markup(  # noqa: S704 - numbers and words of ours
        f'<svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8" rx="2"/>'
        f'<rect class="{kind}" width="{min(100.0, share * 100):.1f}" height="8" rx="2"/></svg>'
    )


def share_bar(parts: Sequence[tuple[str, float]]) -> Markup:
    """Parts of a whole side by side: (style class, value)."""
    whole = sum(value for _, value in parts) or 1.0
    out, at = ['<svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'], 0.0
    for kind, value in parts:
        out.append(f'<rect class="{escape(kind)}" x="{at:.2f}" width="{100 * value / whole:.2f}" height="8"/>')
        at += 100 * value / whole
    out.append("</svg>")
    return Markup("".join(out))  # noqa: S704 - numbers, and style classes that were escaped


def cost_quality(
    curve: Sequence[tuple[float, float, float]],
    singles: Sequence[tuple[str, float, float]],
    dial: float,
    classes: Mapping[str, str],
    text: Callable[[float], str],
    *,
    width: int = 460,
    height: int = 310,
) -> Markup:
    """What a route's dial buys: (dial, cost, score) along it, and each model alone as (name, cost, score)."""
    costs = [cost for _, cost, _ in curve] + [cost for _, cost, _ in singles]
    scores = [score for *_, score in curve] + [score for *_, score in singles]
    if not costs or max(costs) <= 0:
        return Markup("")
    left, right, top, bottom = 44, width - 18, 24, height - 40
    least = min(cost for cost in costs if cost > 0)
    is_log = max(costs) / least >= 12
    low_score, high_score = min(scores), max(scores)
    pad = max(0.01, 0.08 * (high_score - low_score))
    low_score, high_score = max(0.0, low_score - pad), min(1.0, high_score + pad)

    def x(cost: float) -> float:
        if is_log:
            low, high = log10(least / 1.3), log10(max(costs) * 1.3)
            return left + (right - left) * (log10(max(cost, least / 1.3)) - low) / (high - low)
        return left + (right - left) * cost / (max(costs) * 1.08)

    def y(score: float) -> float:
        return bottom - (bottom - top) * (score - low_score) / (high_score - low_score)

    out = [f'<svg class="chart half" viewBox="0 0 {width} {height}" role="img" '
           'aria-label="Expected score against expected cost, along the dial">']  # fmt: skip
    for place in range(5):
        score = low_score + (high_score - low_score) * place / 4
        out.append(f'<path class="grid" d="M{left} {y(score):.1f}H{right}"/>')
        out.append(f'<text x="{left - 7}" y="{y(score) + 4:.1f}" text-anchor="end">{score:.2f}</text>')
    marks = _log_marks(least / 1.3, max(costs) * 1.3) if is_log else _steps(max(costs) * 1.08, 4)[:-1]
    for mark in marks:
        out.append(f'<path class="grid" d="M{x(mark):.1f} {top}V{bottom}"/>')
        out.append(f'<text x="{x(mark):.1f}" y="{bottom + 16}" text-anchor="middle">{escape(text(mark * 1000))}</text>')
    axis = "expected US dollars per 1,000 requests" + (", logarithmic" if is_log else "")
    out.append(f'<text x="{(left + right) / 2:.0f}" y="{height - 6}" text-anchor="middle">{axis}</text>')
    out.append(f'<text x="{left}" y="{top - 10}">expected score</text>')
    line = "L".join(f"{x(cost):.1f} {y(score):.1f}" for _, cost, score in curve)
    out.append(f'<path class="curve" d="M{line}"/>')
    at_dial, cost, score = min(curve, key=lambda point: abs(point[0] - dial))
    ring = (x(cost), y(score))
    out.append(
        f'<circle class="dial" cx="{ring[0]:.1f}" cy="{ring[1]:.1f}" r="7"><title>dial {at_dial:.2f}: {score:.3f} at '
        f"{escape(text(cost * 1000))} per 1,000</title></circle>"
    )
    named = [(*ring, f"dial {dial:g}", "dial-text")]
    for name, cost, score in sorted(singles, key=lambda single: -single[2]):
        out.append(
            f'<circle class="{classes.get(name, "c7")}" cx="{x(cost):.1f}" cy="{y(score):.1f}" r="5"><title>'
            f"{escape(name)} alone: {score:.3f} at {escape(text(cost * 1000))} per 1,000</title></circle>"
        )
        named.append((x(cost), y(score), name, "name"))
    drawn = _dense([(x(cost), y(score)) for _, cost, score in curve])
    spots = labels.place([each[:3] for each in named], drawn, (left, top - 6, width, bottom))
    for (_, _, name, kind), (at_x, base) in zip(named, spots, strict=True):
        out.append(f'<text class="{kind}" x="{at_x:.1f}" y="{base:.1f}" text-anchor="middle">{escape(name)}</text>')
    out.append("</svg>")
    return Markup("".join(out))  # noqa: S704 - every text in it was escaped


def _dense(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same line with a point every few units."""
    found = list(points[:1])
    for (x, y), (to_x, to_y) in pairwise(points):
        steps = max(1, ceil(max(abs(to_x - x), abs(to_y - y)) / 5))
        found += [(x + (to_x - x) * k / steps, y + (to_y - y) * k / steps) for k in range(1, steps + 1)]
    return found


def _log_marks(low: float, high: float) -> list[float]:
    found = [m * 10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 1) for m in (1, 2, 5)]
    found = [mark for mark in found if low <= mark <= high]
    return found if len(found) <= 7 else found[:: ceil(len(found) / 6)]


def calibration(points: Sequence[tuple[float, float]], *, width: int = 460, height: int = 310) -> Markup:
    """A router's scores against the chance of a good answer that they were found to mean."""
    left, right, top, bottom = 44, width - 18, 22, height - 38
    wide, tall = right - left, bottom - top
    out = [f'<svg class="chart half" viewBox="0 0 {width} {height}" role="img" '
           'aria-label="Calibration: score against chance of a good answer">']  # fmt: skip
    for place in range(5):
        value = place / 4
        out.append(f'<path class="grid" d="M{left} {bottom - tall * value:.1f}H{right}"/>')
        out.append(f'<text x="{left - 6}" y="{bottom - tall * value + 4:.1f}" text-anchor="end">{value:.2f}</text>')
        out.append(f'<text x="{left + wide * value:.1f}" y="{bottom + 16}" text-anchor="middle">{value:.2f}</text>')
    out.append(f'<text x="{left + wide / 2:.0f}" y="{height - 5}" text-anchor="middle">score before calibration</text>')
    out.append(f'<text x="{left}" y="{top - 9}">chance of a good answer</text>')
    out.append(f'<path class="ideal" d="M{left} {bottom}L{right} {top}"/>')
    line = "L".join(f"{left + wide * a:.1f} {bottom - tall * b:.1f}" for a, b in points)
    out.append(f'<path class="curve" d="M{line}"/></svg>')
    return Markup("".join(out))  # noqa: S704 - numbers only


def waterfall(parts: Sequence[tuple[str, str, float, float]], whole_ms: float, text: Callable[[float], str]) -> Markup:
    """Where a request's time went: (what, style class, from, to) in milliseconds since it came."""
    row, width, left, right = 30, 720, 178, 630
    height = row * len(parts) + 8
    whole = max(whole_ms, 0.001)
    out = [f'<svg class="chart waterfall" viewBox="0 0 {width} {height}" role="img" aria-label="Timings">']
    for place, (what, kind, start, end) in enumerate(parts):
        top = 4 + place * row
        x, wide = left + (right - left) * start / whole, max(2.0, (right - left) * (end - start) / whole)
        out.append(f'<path class="grid" d="M0 {top + row}H{width}"/>')
        out.append(f'<text x="0" y="{top + 19}">{escape(what)}</text>')
        out.append(f'<rect class="{escape(kind)}" x="{x:.1f}" y="{top + 8}" width="{wide:.1f}" height="14" rx="2"/>')
        out.append(f'<text x="{width}" y="{top + 19}" text-anchor="end">{escape(text(end - start))}</text>')
    out.append("</svg>")
    return Markup("".join(out))  # noqa: S704 - every text in it was escaped
