"""`/metrics` in Prometheus' text format, made when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from routewright.record.metrics import Metrics


class _Collector(Collector):
    def __init__(self, workers: list[Metrics]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        for counters in zip(*(metrics.counters() for metrics in self._workers), strict=True):
            total = counters[0].copy()
            for other in counters[1:]:
                total.add_all(other)
            family = CounterMetricFamily(total.name, total.help_text, labels=total.label_names)
            for labels, value in total.series.items():
                family.add_metric(labels, value)
            yield family
        for histograms in zip(*(metrics.histograms() for metrics in self._workers), strict=True):
            whole = histograms[0].copy()
            for histogram in histograms[1:]:
                whole.add_all(histogram)
            histogram_family = HistogramMetricFamily(whole.name, whole.help_text, labels=whole.label_names)
            for labels, counts in whole.series.items():
                histogram_family.add_metric(labels, whole.buckets(counts), sum_value=counts[-1])
            yield histogram_family


def exposition(workers: list[Metrics]) -> tuple[bytes, str]:
    """The text and its media type; the workers' counters are added up."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(workers))
    return generate_latest(registry), CONTENT_TYPE_LATEST
