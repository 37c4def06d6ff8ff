"""`/metrics` at the socket: exact over workers that are processes, read by Prometheus' parser, telling no secret."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.dialect import chat_completion
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.wire import request_bytes


def scraped(gateway: Gateway, *, key: str | None = None) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    reply = gateway.request("GET", "/metrics", key=key)
    assert reply.status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def value(gateway: Gateway, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(each for (other, has), each in scraped(gateway).items() if other == name and wanted <= has)


@pytest.fixture(scope="module")
def crew(upstream: Upstream) -> Iterator[Gateway]:
    """Three workers; each answers a share of what comes."""
    config = base_config(upstream, router_settings={"num_retries": 0, "fallbacks": [{"falls": ["gpt-4o"]}]})
    config["model_list"] += [deployment("falls", upstream, "falls", rpm=1000, tpm=100_000)]
    config["keys"][0]["max_budget"] = 1000
    with running(config, workers=3) as started:
        yield started


def test_every_worker_s_requests_are_in_the_very_next_scrape(crew: Gateway) -> None:
    """Not a second later: the scrape asks them all."""
    name = "litellm_proxy_total_requests_metric_total"
    counted = value(crew, name, status_code="200", requested_model="gpt-4o")
    for _ in range(3):
        for _ in range(20):  # a connection each: the kernel spreads them
            assert crew.chat().status == 200
        counted += 20
        assert value(crew, name, status_code="200", requested_model="gpt-4o") == counted


def test_sums_survive_a_worker_that_is_killed(crew: Gateway) -> None:
    """F15: what a scrape has shown never goes back."""
    crew.chat()
    name = "litellm_requests_metric_total"
    before = value(crew, name, model="gpt-4o")
    workers = {process.pid for process in crew.serving_processes()}
    crew.serving_processes()[0].send_signal(signal.SIGKILL)
    eventually(
        lambda: len(workers - {p.pid for p in crew.serving_processes()}) == 1 and len(crew.serving_processes()) == 3
    )
    eventually(lambda: crew.request("GET", "/health", key=None).status == 200)
    assert value(crew, name, model="gpt-4o") >= before


def test_fallback_is_told_with_its_reason_and_the_deployment_with_its_failure(
    crew: Gateway, upstream: Upstream
) -> None:
    upstream["falls"].answers(status=503)
    assert crew.chat("falls").status == 200
    assert value(crew, "routewright_fallbacks_total", requested_model="falls", reason="upstream_error") == 1
    labels = {"requested_model": "falls", "fallback_model": "gpt-4o", "exception_class": "upstream_error"}
    assert value(crew, "litellm_deployment_successful_fallbacks_total", **labels) == 1
    assert value(crew, "litellm_deployment_failure_responses_total", litellm_model_name="falls") == 1
    assert value(crew, "litellm_deployment_state", litellm_model_name="falls") == 1
    assert value(crew, "litellm_deployment_rpm_limit", litellm_model_name="falls") == 1000


def test_routing_and_money_are_told(crew: Gateway) -> None:
    assert crew.chat("auto", "What is the capital of France?").status == 200
    found = {name for name, _ in scraped(crew)}
    assert found >= {
        "routewright_decisions_total", "routewright_decision_confidence_bucket", "routewright_decision_margin_count",
        "routewright_decision_seconds_sum", "routewright_routed_spend_usd_total", "routewright_router_info",
        "litellm_spend_metric_total", "routewright_build_info", "litellm_in_flight_requests",
        "routewright_ledger_lag_bytes", "routewright_ledger_lag_seconds",
    }  # fmt: skip
    assert value(crew, "litellm_api_key_max_budget_metric", api_key_alias="team") == 1000
    # A worker's first call of a key with a budget waits for what was spent before; all calls are counted there.
    assert value(crew, "litellm_request_queue_time_seconds_sum") > 0
    asked = value(crew, "litellm_request_total_latency_metric_count")
    assert value(crew, "litellm_request_queue_time_seconds_count") == asked
    assert 999 < value(crew, "litellm_remaining_api_key_budget_metric", api_key_alias="team") < 1000
    assert value(crew, "routewright_worker_resident_bytes") > 3 * 10_000_000


@pytest.mark.parametrize("field", ["x-ratelimit-remaining-{}", "anthropic-ratelimit-{}-remaining"])
def test_what_a_provider_says_is_left_is_told(crew: Gateway, upstream: Upstream, field: str) -> None:
    told = {field.format("requests"): "4999", field.format("tokens"): "a lot"}
    upstream["gpt-4o-mini"].answers(200, chat_completion("hi"), told)
    try:
        assert crew.chat("gpt-4o-mini").status == 200
        found = {name: labels for name, labels in scraped(crew) if "remaining_requests" in name}
        assert dict(found["litellm_remaining_requests_metric"])["litellm_model_name"] == "gpt-4o-mini"
        assert value(crew, "litellm_remaining_requests_metric", litellm_model_name="gpt-4o-mini") == 4999
        assert value(crew, "litellm_remaining_tokens_metric", litellm_model_name="gpt-4o-mini") == 0  # not a number
    finally:
        upstream["gpt-4o-mini"].forget()


def test_ten_thousand_names_make_no_series(crew: Gateway) -> None:
    """T20: paths, models and headers that a caller makes up."""
    crew.chat("no-such-model")
    crew.request("GET", "/no/such/path")
    before = len(scraped(crew))
    with crew.connect() as client:
        for number in range(200):
            body = json.dumps({"model": f"made-up-{number}", "messages": [{"role": "user", "content": "hi"}]})
            client.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=body.encode()))
            assert client.reply("POST").status == 404
    for number in range(50):
        crew.request("GET", f"/made-up/{number}")
    after = scraped(crew)
    assert not [labels for _, labels in after if "made-up" in str(labels)]
    assert len(after) <= before + 60  # as many as there are workers that had not seen one yet


def test_no_key_and_no_address_is_told(crew: Gateway, upstream: Upstream) -> None:
    """T17: the page is open by default."""
    text = crew.request("GET", "/metrics", key=None).body.decode()
    assert TEAM_KEY not in text
    assert MASTER_KEY not in text
    assert upstream["gpt-4o"].api_base not in text
    assert "127.0.0.1" not in text
