"""What `/metrics` consists of: counters, gauges and histograms, each with its help and the names of its labels."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import add

MAX_SERIES = 2000
"""Of one family; what comes later counts as `other`."""
Labels = tuple[str, ...]
OTHER = "other"


class Counter:
    """Sums per label set, of which there are `most` and then `other`."""

    def __init__(self, name: str, help_text: str, label_names: Labels, most: int = MAX_SERIES) -> None:
        self.name, self.help_text, self.label_names = name, help_text, label_names
        self._most = most
        self.series: defaultdict[Labels, float] = defaultdict(float)

    def add(self, labels: Labels, value: float = 1.0) -> None:
        if labels not in self.series and len(self.series) >= self._most:
            labels = (OTHER,) * len(labels)
        self.series[labels] += value


class Gauge:
    """Values as they are now. Over several workers they are added up, or the greatest or the least counts."""

    def __init__(
        self, name: str, help_text: str, label_names: Labels, merge: Callable[[float, float], float] = add
    ) -> None:
        self.name, self.help_text, self.label_names = name, help_text, label_names
        self._merge = merge
        self.series: dict[Labels, float] = {}

    def set(self, labels: Labels, value: float) -> None:
        value = float(value)
        if labels in self.series:
            value = self._merge(self.series[labels], value)
        elif len(self.series) >= MAX_SERIES:
            return  # a gauge has nothing that the rest could be added to
        self.series[labels] = value


class Histogram:
    """Counts of observations below each bound, per label set; the last number of each is the sum of what came."""

    def __init__(self, name: str, help_text: str, label_names: Labels, bounds: tuple[float, ...]) -> None:
        self.name, self.help_text, self.label_names, self.bounds = name, help_text, label_names, bounds
        self.series: dict[Labels, list[float]] = {}

    def of(self, labels: Labels) -> list[float]:
        """The numbers of one label set, to be counted in by `observe`."""
        numbers = self.series.get(labels)
        if numbers is None:
            if len(self.series) >= MAX_SERIES:
                labels = (OTHER,) * len(labels)
            numbers = self.series.setdefault(labels, [0.0] * (len(self.bounds) + 2))
        return numbers

    def observe(self, labels: Labels, value: float) -> None:
        numbers = self.of(labels)
        numbers[bisect_left(self.bounds, value)] += 1
        numbers[-1] += value

    def add(self, labels: Labels, numbers: list[float]) -> None:
        """Add what was counted elsewhere, in the shape of `series`."""
        mine = self.of(labels)
        for at, number in enumerate(numbers):
            mine[at] += number

    def buckets(self, numbers: list[float]) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        total, out = 0.0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), numbers[:-1], strict=True):
            total += count
            out.append((bound, total))
        return out


def observe_all(numbers: list[float], bounds: Sequence[float], values: Sequence[float]) -> None:
    """`Histogram.observe` of many, with the numbers of their label set."""
    ordered = sorted(values)
    below = 0
    for at, bound in enumerate(bounds):
        upto = bisect_right(ordered, bound)
        numbers[at] += upto - below
        below = upto
    numbers[len(bounds)] += len(ordered) - below
    numbers[-1] += sum(ordered)


Family = Counter | Gauge | Histogram
