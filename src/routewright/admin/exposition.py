"""`/metrics` in Prometheus' text format, made when it is asked for, of all workers together.

An ASGI application of its own: a scrape loads prometheus-client, but not what the rest of the control plane needs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from routewright.record.families import Counter, Family, Gauge
from routewright.record.snapshots import Snapshots

PATIENCE_S = 0.75
"""Workers answer a scrape at their next tick; one that takes longer is counted as it last was."""
LOOK_S = 0.02


class _Collector(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for each in self._families:
            if isinstance(each, Counter | Gauge):
                kind = CounterMetricFamily if isinstance(each, Counter) else GaugeMetricFamily
                family = kind(each.name, each.help_text, labels=each.label_names)
                for labels, value in each.series.items():
                    family.add_metric(labels, value)
                yield family
            else:
                histogram = HistogramMetricFamily(each.name, each.help_text, labels=each.label_names)
                for labels, counts in each.series.items():
                    histogram.add_metric(labels, each.buckets(counts), sum_value=counts[-1])
                yield histogram


def exposition(families: Sequence[Family]) -> tuple[bytes, str]:
    """The text and its media type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(families))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class MetricsPage:
    """Answers a scrape."""

    def __init__(self, snapshots: Snapshots, next_scrape: Callable[[], int]) -> None:
        """`next_scrape` tells every worker that its counters are wanted, and says under which number."""
        self._snapshots = snapshots
        self._next_scrape = next_scrape

    async def text(self) -> tuple[bytes, str]:
        scrape, until_s = self._next_scrape(), time.monotonic() + PATIENCE_S
        # Another process writes the file that is waited for; it can't set an event of ours.
        while not self._snapshots.are_fresh(scrape) and time.monotonic() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        whole, gauges = self._snapshots.all()
        # Thousands of lines take some hundredths of a second, for which no request has to wait.
        return await asyncio.to_thread(exposition, [*whole.families(), *gauges])

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """ASGI; the front has looked at path, method and rights."""
        body, kind = await self.text()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode("ascii"))]})
        await send({"type": "http.response.body", "body": body})
