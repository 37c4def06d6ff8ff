"""Where the names of a chart's points stand, so that none lies on another, on a point or beyond the edge."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_CHARACTER, _TALL, _NEAR = 7.4, 14.0, 11.0
"""Of a bold letter, a line, and the way from a point to its name: units of the view box, at the type of a phone."""


def place(
    points: Sequence[tuple[float, float, str]], line: Sequence[tuple[float, float]], edge: Box
) -> list[tuple[float, float]]:
    """The middle of each name's base line. The first points choose first; `line`: the curve, better left free too."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y, _ in points]
    found: list[tuple[float, float]] = []
    for x, y, name in points:
        wide = _CHARACTER * len(name) / 2
        tries = []
        for down in (1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 0):
            for aside in (0.0, 0.55, -0.55, 1.0, -1.0) if down else (1.0, -1.0):
                at_x = x + aside * (wide + _NEAR)
                base = y + (_NEAR + _TALL * down - 4 if down > 0 else 4 if down == 0 else -_NEAR + _TALL * (down + 1))
                box = (at_x - wide, base - _TALL + 3, at_x + wide, base + 3)
                hidden = sum(_shared(box, other) for other in taken) + 8 * _beyond(box, edge)
                crossed = sum(box[0] < one < box[2] and box[1] < two < box[3] for one, two in line)
                far = abs(down) * 3 + abs(aside) * 4
                tries.append((4 * hidden + 12 * crossed + far, at_x, base, box))
        _, at_x, base, box = min(tries)
        taken.append(box)
        found.append((at_x, base))
    return found


def _shared(one: Box, other: Box) -> float:
    """The area of both."""
    wide, tall = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return wide * tall if wide > 0 and tall > 0 else 0.0


def _beyond(box: Box, edge: Box) -> float:
    """How far it reaches out of the chart."""
    return sum(max(0.0, over) for over in (
        edge[0] - box[0], edge[1] - box[1], box[2] - edge[2], box[3] - edge[3],
    ))  # fmt: skip
