"""Counters of a worker, bounded; and those of several added up in Prometheus' text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from routewright.admin.exposition import exposition
from routewright.catalog import make_deployment
from routewright.errors import GatewayError, UpstreamError, UpstreamTimeout
from routewright.record.families import MAX_SERIES, Family, Gauge
from routewright.record.metrics import Metrics
from routewright.record.snapshots import Snapshots
from routewright.types import Candidates, Decision, Group, Health, Outcome, Price, Rating, Usage
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


class Samples(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """Every sample of an exposition."""

    def of(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        wanted = set(labels.items())
        found = [value for (other, has), value in self.items() if other == name and wanted <= has]
        assert found, (name, labels, sorted({other for other, _ in self}))
        return sum(found)


def parsed(families: list[Family]) -> Samples:
    text, content_type = exposition(families)
    assert content_type.startswith("text/plain")
    found = Samples()
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def samples(*workers: Metrics) -> Samples:
    whole = Metrics()
    for each in workers:
        whole.absorb(each.raw())
    return parsed(whole.families())


def test_parser_of_prometheus_reads_what_was_counted() -> None:
    failed = ended(status=502, error="upstream_error", fallbacks=1, fell_back_on="upstream_timeout")
    found = samples(counted(ended(), failed))
    assert found.of("litellm_proxy_total_requests_metric_total", endpoint="chat", status_code="200") == 1
    assert (
        found.of("litellm_proxy_failed_requests_metric_total", exception_class="upstream_error", exception_status="502")
        == 1
    )
    assert found.of("litellm_requests_metric_total", model="m") == 2
    assert found.of("litellm_input_tokens_metric_total", model="m") == 20
    assert found.of("litellm_output_tokens_metric_total", model="m") == 10
    assert found.of("litellm_total_tokens_metric_total", model="m") == 30
    assert found.of("litellm_spend_metric_total", model="m") == pytest.approx(2 * 30e-6)
    assert found.of("routewright_fallbacks_total", model="m", reason="upstream_timeout") == 1
    assert found.of("litellm_deployment_failed_fallbacks_total", fallback_model="m") == 1
    assert found.of("routewright_upstream_attempts_total", deployment="id-of-m") == 2


def test_who_asked_is_told_by_hash_alias_team_and_user() -> None:
    asker = caller(key_hash="ab" * 32, alias="ci", team_id="crew", user_id="ann")
    metrics = Metrics()
    metrics.count(ended(caller=asker), NOW)
    labels = {"hashed_api_key": "ab" * 32, "api_key_alias": "ci", "team": "crew", "user": "ann"}
    found = samples(metrics)
    assert found.of("litellm_spend_metric_total", model="m", **labels) == pytest.approx(30e-6)
    assert found.of("litellm_proxy_total_requests_metric_total", **labels) == 1


def test_deployment_s_answers_and_failures_add_up_to_what_it_was_asked() -> None:
    metrics = Metrics()
    made = ended(attempts=2)
    metrics.count_failure(made.deployment, UpstreamTimeout("late"))
    metrics.count(made, NOW)
    broken = ended(error="upstream_error")  # after the first byte: its status was sent already
    metrics.count_failure(broken.deployment, UpstreamError("broke"))
    metrics.count(broken, NOW)
    metrics.count(ended(ended="client_gone"), NOW)
    metrics.count_cooldown(made.deployment)
    of = {"litellm_model_name": "upstream-model", "model_id": "id-of-m", "api_provider": "openai"}
    found = samples(metrics)
    assert found.of("litellm_deployment_success_responses_total", **of) == 1
    assert found.of("litellm_deployment_failure_responses_total", **of) == 2
    assert found.of("litellm_deployment_failure_responses_total", exception_class="upstream_timeout") == 1
    assert found.of("litellm_deployment_total_requests_total", **of) == 4
    assert found.of("litellm_deployment_cooled_down_total", **of) == 1
    assert found.of("routewright_clients_gone_total") == 1


def test_time_is_told_apart_into_ours_and_the_upstream_s() -> None:
    made = ended(started_s=NOW - 2.0, asked_s=NOW - 1.75, first_byte_s=NOW - 1.0)
    made.call = call(stream=True)
    retried = ended(started_s=NOW - 9.0, asked_s=NOW - 1.0, attempts=3)
    found = samples(counted(made, retried))
    assert found.of("litellm_request_total_latency_metric_sum") == pytest.approx(11.0)
    assert found.of("litellm_llm_api_latency_metric_sum") == pytest.approx(2.75)
    assert found.of("litellm_overhead_latency_metric_sum") == pytest.approx(0.25)
    assert found.of("litellm_overhead_latency_metric_count") == 1
    assert found.of("litellm_llm_api_time_to_first_token_metric_sum") == pytest.approx(1.0)
    assert found.of("litellm_deployment_latency_per_output_token_sum") == pytest.approx(2.75 / 5)


def routed(chosen: str, *, confidence: float, margin: float, reason: str = "best score for its cost") -> Outcome:
    groups = [Group(name, "chat", (deployment(name, price=PRICE),)) for name in ("m", "n")]
    decision = Decision([group for group in groups if group.name == chosen], Candidates(groups, "auto"))
    decision.route, decision.microseconds = "auto", 80.0
    decision.rating = Rating([0, 1], [0.9, 0.8], [1e-3, 1e-4], confidence, margin, reason)
    return ended(chosen, decision=decision)


def test_choices_of_a_route_are_told_with_confidence_margin_time_and_saving() -> None:
    metrics = Metrics()
    metrics.count(routed("n", confidence=0.85, margin=0.02), NOW, baseline_nusd=300_000)
    metrics.count(routed("m", confidence=0.35, margin=0.0, reason="default model: unlike"), NOW, baseline_nusd=30_000)
    found = samples(metrics)
    assert found.of("routewright_decisions_total", route="auto", model="n") == 1
    assert found.of("routewright_decisions_total", reason="default model: unlike") == 1
    assert found.of("routewright_decision_confidence_sum", route="auto") == pytest.approx(1.2)
    assert found.of("routewright_decision_confidence_bucket", le="0.4") == 1
    assert found.of("routewright_decision_margin_sum", route="auto") == pytest.approx(0.02)
    assert found.of("routewright_decision_seconds_sum", route="auto") == pytest.approx(160e-6)
    assert found.of("routewright_baseline_spend_usd_total", route="auto") == pytest.approx(330e-6)
    assert found.of("routewright_routed_spend_usd_total", route="auto") == pytest.approx(60e-6)
    assert found.of("litellm_requests_metric_total", requested_model="auto") == 2


def test_histogram_s_buckets_are_cumulative() -> None:
    found = samples(counted(*[ended(started_s=NOW - seconds) for seconds in (0.004, 0.2, 0.2, 7.0, 1000.0)]))
    name = "litellm_request_total_latency_metric"
    assert found.of(f"{name}_bucket", le="0.005", model="m") == 1
    assert found.of(f"{name}_bucket", le="0.25", model="m") == 3
    assert found.of(f"{name}_bucket", le="10.0", model="m") == 4
    assert found.of(f"{name}_bucket", le="+Inf", model="m") == found.of(f"{name}_count", model="m") == 5
    assert found.of(f"{name}_sum", model="m") == pytest.approx(1007.404)


def test_gauges_are_added_up_or_the_greatest_counts(tmp_path: Path) -> None:
    workers = [counted(), counted()]
    for each, (busy, state) in zip(workers, ((3, 0), (4, 2)), strict=True):

        def gauges(busy: int = busy, state: int = state) -> list[Gauge]:
            summed, worst = Gauge("busy", "b", ()), Gauge("state", "s", ("id",), max)
            summed.set((), busy)
            worst.set(("d",), state)
            return [summed, worst]

        each.gauges = gauges
    snapshots = [Snapshots(tmp_path, worker, range(2), 7, metrics) for worker, metrics in enumerate(workers)]
    for each in snapshots:
        each.write()
    for each in snapshots:
        found = parsed(list(each.all()[1]))
        assert (found.of("busy"), found.of("state", id="d")) == (7, 2)


@pytest.mark.parametrize("name", ['quote"', "back\\slash", "line\nend", "brace}", "é", "a,b=c"])
def test_any_name_is_a_label_that_comes_back(name: str) -> None:
    """T8, T20: a configured name can't write lines of its own."""
    assert samples(counted(ended(name))).of("litellm_input_tokens_metric_total", model=name) == 10


def series_of(metrics: Metrics) -> int:
    return sum(len(family.series) for family in metrics.families())


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
    assert samples(metrics).of("litellm_input_tokens_metric_total", model="openai/*") == 100_000


def test_codes_that_upstreams_invent_make_no_series() -> None:
    """T20: known codes, else `other`."""
    metrics = counted(*[ended(status=400, error=f"code_{number}") for number in range(10_000)])
    assert series_of(metrics) < 30
    assert samples(metrics).of("litellm_proxy_failed_requests_metric_total", exception_class="other") == 10_000


def test_code_of_every_error_is_a_label_of_its_own() -> None:
    def codes(kind: type[GatewayError]) -> set[str]:
        return {kind.code or ""}.union(*map(codes, kind.__subclasses__())) - {""}

    found = samples(counted(*[ended(status=500, error=code) for code in codes(GatewayError)]))
    failed = [dict(labels) for name, labels in found if name == "litellm_proxy_failed_requests_metric_total"]
    labels = {each["exception_class"] for each in failed}
    assert labels == codes(GatewayError)


def test_series_have_a_cap_whatever_is_configured() -> None:
    """T20: beyond it everything is `other`, and the sums stay right."""
    count = MAX_SERIES + 500
    metrics = counted(*[ended(f"m{number}") for number in range(count)])
    for family in metrics.families():
        assert len(family.series) <= 2 * MAX_SERIES + 1, family.name
    requests = next(each for each in metrics.families() if each.name == "litellm_proxy_total_requests_metric")
    assert sum(requests.series.values()) == count
    for number in range(10_000):
        metrics.front_errors.add((str(number), "x"))
    assert len(metrics.front_errors.series) <= MAX_SERIES + 1
    assert sum(metrics.front_errors.series.values()) == 10_000


def test_many_keys_lose_their_names_before_models_do() -> None:
    """T20: keys come and go by the thousand; what was spent on a model stays right."""
    metrics = Metrics()
    for number in range(3 * MAX_SERIES):
        asker = caller(key_hash=f"{number:064x}", alias=f"key-{number}")
        metrics.count(ended("m" if number % 2 else "n", caller=asker), NOW)
    found = samples(metrics)
    assert found.of("litellm_input_tokens_metric_total", model="m") == 10 * 3 * MAX_SERIES / 2
    assert found.of("litellm_input_tokens_metric_total", model="n") == 10 * 3 * MAX_SERIES / 2
    assert found.of("litellm_input_tokens_metric_total", api_key_alias="other") == 10 * 2 * MAX_SERIES
    assert len({labels for name, labels in found if name == "litellm_spend_metric_total"}) <= MAX_SERIES + 2


def test_workers_are_added_up() -> None:
    one, two = counted(ended(), ended("n")), counted(ended(), ended())
    found = samples(one, two)
    assert found.of("litellm_input_tokens_metric_total", model="m") == 30
    assert found.of("litellm_input_tokens_metric_total", model="n") == 10
    assert found.of("litellm_request_total_latency_metric_count", model="m") == 3


def everything(snapshots: Snapshots) -> Samples:
    return parsed(snapshots.all()[0].families())


def test_workers_read_what_the_others_have_left(tmp_path: Path) -> None:
    one, two = counted(ended(), ended("n")), counted(ended())
    snapshots = [Snapshots(tmp_path, worker, range(2), 7, metrics) for worker, metrics in enumerate((one, two))]
    for each in snapshots:
        each.write()
    assert everything(snapshots[0]) == everything(snapshots[1]) == samples(one, two)


def test_scrape_has_every_worker_say_what_it_has_counted_by_now(tmp_path: Path) -> None:
    asked = 0
    one, two = Metrics(), Metrics()
    snapshots = [
        Snapshots(tmp_path, worker, range(2), 7, each, lambda: asked) for worker, each in enumerate((one, two))
    ]
    for each in snapshots:
        each.on_tick(1000.0)
    two.count(ended(), NOW)
    snapshots[1].on_tick(1000.25)  # nobody asks, and the last file is young
    assert snapshots[0].are_fresh(0)
    asked = 1
    assert not snapshots[0].are_fresh(1)
    snapshots[1].on_tick(1000.5)
    assert snapshots[0].are_fresh(1)
    assert everything(snapshots[0]).of("litellm_requests_metric_total", model="m") == 1


def test_successor_of_a_worker_goes_on_from_its_counters(tmp_path: Path) -> None:
    """F15: a counter never goes back."""
    Snapshots(tmp_path, 0, range(2), 7, counted(ended(), ended())).write()
    successor = Metrics()
    snapshots = Snapshots(tmp_path, 0, range(2), 7, successor)
    successor.count(ended(), NOW)
    assert everything(snapshots).of("litellm_input_tokens_metric_total", model="m") == 30
    snapshots.write()
    third = Snapshots(tmp_path, 0, range(2), 7, Metrics())
    assert everything(third).of("litellm_input_tokens_metric_total", model="m") == 30
    assert everything(third).of("litellm_request_total_latency_metric_count", model="m") == 3


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xc1" * 100])
def test_spoiled_snapshot_counts_as_none(content: bytes, tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, 0, range(2), 7, counted(ended()))
    (tmp_path / "metrics-1.msgpack").write_bytes(content)
    assert everything(snapshots).of("litellm_requests_metric_total") == 1


def test_snapshot_of_another_start_counts_as_none(tmp_path: Path) -> None:
    Snapshots(tmp_path, 1, range(2), 7, counted(ended())).write()
    assert not everything(Snapshots(tmp_path, 0, range(2), 8, Metrics()))


def test_one_worker_leaves_no_file(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "run", 0, range(1), 7, counted(ended()))
    snapshots.write()
    assert not (tmp_path / "run").exists()
    assert everything(snapshots).of("litellm_requests_metric_total") == 1


def test_whoever_waited_for_nothing_is_in_the_first_bucket_of_waits() -> None:
    metrics = counted(ended(), ended(), ended(waited_s=0.03))
    both = Metrics()
    for _ in range(2):
        both.absorb(metrics.raw())
    for told, times in ((metrics, 1), (both, 2)):
        samples, name = parsed(told.families()), "litellm_request_queue_time_seconds"
        assert samples.of(f"{name}_count") == 3 * times
        assert samples.of(f"{name}_bucket", le="0.001") == 2 * times
        assert samples.of(f"{name}_bucket", le="0.025") == 2 * times
        assert samples.of(f"{name}_bucket", le="0.05") == 3 * times
        assert samples.of(f"{name}_sum") == pytest.approx(0.03 * times)
