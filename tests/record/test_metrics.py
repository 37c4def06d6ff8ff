"""Counters of a worker, bounded; and those of several added up in Prometheus' text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from routewright.admin.exposition import exposition
from routewright.catalog import make_deployment
from routewright.errors import GatewayError
from routewright.record.metrics import MAX_SERIES, Metrics
from routewright.record.snapshots import Snapshots
from routewright.types import Health, Outcome, Price, Usage
from values import call, caller, deployment, deployment_settings

PRICE = Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6)
NOW = 100.0


def ended(model: str | None = "m", *, usage: Usage | None = None, **changed: Any) -> Outcome:
    made = Outcome("chat", caller(), "request-1", "call-1", NOW - 0.2)
    made.call = call()
    made.status = 200
    made.ended = "complete"
    if model is not None:
        made.deployment = deployment(model, price=PRICE)
        made.attempts = 1
        made.first_byte_s = NOW - 0.1
    for name, value in changed.items():
        setattr(made, name, value)
    made.bill(usage or Usage(10, 5))
    return made


def counted(*outcomes: Outcome) -> Metrics:
    metrics = Metrics()
    for each in outcomes:
        metrics.count(each, NOW)
    return metrics


def samples(*workers: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of the exposition, by its name and its label values in the order of the labels' names."""
    text, content_type = exposition(list(workers))
    assert content_type.startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found[sample.name, tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_parser_of_prometheus_reads_what_was_counted() -> None:
    found = samples(counted(ended(), ended(status=502, error="upstream_error", fallbacks=1)))
    assert found["litellm_proxy_total_requests_metric_total", ("chat", "m", "200")] == 1
    assert found["litellm_proxy_failed_requests_metric_total", ("chat", "upstream_error", "m")] == 1
    assert found["litellm_input_tokens_metric_total", ("m",)] == 20
    assert found["litellm_output_tokens_metric_total", ("m",)] == 10
    assert found["litellm_spend_metric_total", ("m",)] == pytest.approx(2 * 30e-6)
    assert found["routewright_fallbacks_total", ("m",)] == 1
    assert found["routewright_upstream_attempts_total", ("id-of-m",)] == 2


def test_histogram_s_buckets_are_cumulative() -> None:
    found = samples(counted(*[ended(started_s=NOW - seconds) for seconds in (0.004, 0.2, 0.2, 7.0, 1000.0)]))
    name = "litellm_request_total_latency_metric"
    assert found[f"{name}_bucket", ("0.005", "m")] == 1
    assert found[f"{name}_bucket", ("0.25", "m")] == 3
    assert found[f"{name}_bucket", ("10.0", "m")] == 4
    assert found[f"{name}_bucket", ("+Inf", "m")] == found[f"{name}_count", ("m",)] == 5
    assert found[f"{name}_sum", ("m",)] == pytest.approx(1007.404)


@pytest.mark.parametrize("name", ['quote"', "back\\slash", "line\nend", "brace}", "é", "a,b=c"])
def test_any_name_is_a_label_that_comes_back(name: str) -> None:
    """T8, T20: a configured name can't write lines of its own."""
    assert samples(counted(ended(name)))["litellm_input_tokens_metric_total", (name,)] == 10


def series_of(metrics: Metrics) -> int:
    return sum(len(family.series) for family in [*metrics.counters(), *metrics.histograms()])


def test_names_that_callers_write_make_no_series() -> None:
    """T20: 10,000 models behind a wildcard count under the wildcard."""
    settings = deployment_settings("openai/*", id="wild", price=PRICE)
    metrics = Metrics()
    sizes = set()
    for number in range(10_000):
        name = f"openai/{number}"
        made = ended()
        made.deployment = make_deployment(settings, model_name=name, upstream_model=name, health=Health())
        metrics.count(made, NOW)
        if number % 1000 == 0:
            sizes.add(series_of(metrics))
    assert len(sizes) == 1
    assert samples(metrics)["litellm_input_tokens_metric_total", ("openai/*",)] == 100_000


def test_codes_that_upstreams_invent_make_no_series() -> None:
    """T20: known codes, else `other`."""
    metrics = counted(*[ended(status=400, error=f"code_{number}") for number in range(10_000)])
    assert series_of(metrics) < 20
    assert samples(metrics)["litellm_proxy_failed_requests_metric_total", ("chat", "other", "m")] == 10_000


def test_code_of_every_error_is_a_label_of_its_own() -> None:
    def codes(kind: type[GatewayError]) -> set[str]:
        return {kind.code or ""}.union(*map(codes, kind.__subclasses__())) - {""}

    found = samples(counted(*[ended(status=500, error=code) for code in codes(GatewayError)]))
    labels = {names[1] for (name, names) in found if name == "litellm_proxy_failed_requests_metric_total"}
    assert labels == codes(GatewayError)


def test_series_have_a_cap_whatever_is_configured() -> None:
    """T20: beyond it everything is `other`, and the sums stay right."""
    count = MAX_SERIES + 500
    metrics = counted(*[ended(f"m{number}") for number in range(count)])
    requests = next(each for each in metrics.counters() if each.name == "litellm_proxy_total_requests_metric")
    assert len(requests.series) <= MAX_SERIES + 1
    assert sum(requests.series.values()) == count
    for number in range(10_000):
        metrics.front_errors.add((str(number), "x"))
    assert len(metrics.front_errors.series) <= MAX_SERIES + 1
    assert sum(metrics.front_errors.series.values()) == 10_000


def test_workers_are_added_up() -> None:
    one, two = counted(ended(), ended("n")), counted(ended(), ended())
    found = samples(one, two)
    assert found["litellm_input_tokens_metric_total", ("m",)] == 30
    assert found["litellm_input_tokens_metric_total", ("n",)] == 10
    assert found["litellm_request_total_latency_metric_count", ("m",)] == 3


def test_workers_read_what_the_others_have_left(tmp_path: Path) -> None:
    one, two = counted(ended(), ended("n")), counted(ended())
    snapshots = [Snapshots(tmp_path, worker, 2, 7, metrics) for worker, metrics in enumerate((one, two))]
    for each in snapshots:
        each.write()
    assert samples(*snapshots[0].all()) == samples(*snapshots[1].all()) == samples(one, two)


def test_successor_of_a_worker_goes_on_from_its_counters(tmp_path: Path) -> None:
    """F15: a counter never goes back."""
    Snapshots(tmp_path, 0, 2, 7, counted(ended(), ended())).write()
    successor = Metrics()
    snapshots = Snapshots(tmp_path, 0, 2, 7, successor)
    successor.count(ended(), NOW)
    assert samples(*snapshots.all())["litellm_input_tokens_metric_total", ("m",)] == 30
    snapshots.write()
    third = Metrics()
    assert samples(*Snapshots(tmp_path, 0, 2, 7, third).all())["litellm_input_tokens_metric_total", ("m",)] == 30


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xc1" * 100])
def test_spoiled_snapshot_counts_as_none(content: bytes, tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, 0, 2, 7, counted(ended()))
    (tmp_path / "metrics-1.msgpack").write_bytes(content)
    assert len(snapshots.all()) == 1


def test_snapshot_of_another_start_counts_as_none(tmp_path: Path) -> None:
    Snapshots(tmp_path, 1, 2, 7, counted(ended())).write()
    assert len(Snapshots(tmp_path, 0, 2, 8, Metrics()).all()) == 1


def test_one_worker_leaves_no_file(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "run", 0, 1, 7, counted(ended()))
    snapshots.write()
    assert not (tmp_path / "run").exists()
    assert len(snapshots.all()) == 1
