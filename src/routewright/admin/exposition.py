"""`/metrics` in Prometheus' text format, made when it is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from routewright.record.metrics import Labels, Metrics


class _Collector(Collector):
    def __init__(self, workers: list[Metrics]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        for counters in zip(*(metrics.counters() for metrics in self._workers), strict=True):
            first = counters[0]
            family = CounterMetricFamily(first.name, first.help_text, labels=first.label_names)
            sums: defaultdict[Labels, float] = defaultdict(float)
            for counter in counters:
                for labels, value in counter.series.items():
                    sums[labels] += value
            for labels, value in sums.items():
                family.add_metric(labels, value)
            yield family
        for histograms in zip(*(metrics.histograms() for metrics in self._workers), strict=True):
            top = histograms[0]
            histogram_family = HistogramMetricFamily(top.name, top.help_text, labels=top.label_names)
            added: dict[Labels, list[float]] = {}
            for histogram in histograms:
                for labels, counts in histogram.series.items():
                    known = added.setdefault(labels, [0.0] * len(counts))
                    added[labels] = [a + b for a, b in zip(known, counts, strict=True)]
            for labels, counts in added.items():
                histogram_family.add_metric(labels, top.buckets(counts), sum_value=counts[-1])
            yield histogram_family


def exposition(workers: list[Metrics]) -> tuple[bytes, str]:
    """The text and its media type; the workers' counters are added up."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(workers))
    return generate_latest(registry), CONTENT_TYPE_LATEST
