"""Deployments that are asked in the background, and what the master is told of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.dialect import openai_error
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Hang, Upstream
from harness.wire import assert_error
from routewright.config import load_text

CHECKED = ("checked-well", "checked-ill", "checked-slow", "checked-embed", "checked-wild", "checked-spared")


@pytest.fixture(scope="module")
def watched(upstream: Upstream) -> Iterator[Gateway]:
    """Two workers; whoever is asked for the results, the first has made them."""
    config = base_config(upstream, general_settings={"background_health_checks": True, "health_check_interval": 1})
    config["model_list"] = [
        deployment("well", upstream, "checked-well", model_info={"id": "well", "health_check_max_tokens": 9}),
        deployment("ill", upstream, "checked-ill", model_info={"id": "ill"}),
        deployment("slow", upstream, "checked-slow", model_info={"id": "slow", "health_check_timeout": 0.3}),
        deployment("embed", upstream, "checked-embed", model_info={"id": "embed", "mode": "embedding"}),
        deployment("wild/*", upstream, "checked-wild", model="*",
                   model_info={"id": "wild", "health_check_model": "openai/tame"}),
        deployment("spared", upstream, "checked-spared",
                   model_info={"id": "spared", "disable_background_health_check": True}),
    ]  # fmt: skip
    config["routes"] = {"auto": {"candidates": ["well"]}}
    for name in CHECKED:
        upstream[name].forget()
    upstream["checked-ill"].answers(401, openai_error("bad key"))
    upstream["checked-slow"].plays(Hang())
    with running(config, workers=2) as gateway:
        eventually(lambda: upstream["checked-slow"].hits >= 2, what="two rounds of checks")
        yield gateway


def master(gateway: Gateway, path: str) -> Any:
    reply = gateway.request("GET", path, key=MASTER_KEY)
    assert reply.status == 200, reply.body
    return reply.json


def test_each_deployment_is_asked_in_its_own_way(watched: Gateway, upstream: Upstream) -> None:
    asked = upstream["checked-well"].last.json
    assert asked["max_tokens"] == 9
    assert asked["messages"][0]["role"] == "user"
    assert upstream["checked-embed"].last.path.endswith("embeddings")
    assert upstream["checked-wild"].last.json["model"] == "tame"
    assert upstream["checked-spared"].hits == 0


def test_last_results_are_told_to_the_master(watched: Gateway) -> None:
    for _ in range(6):  # whichever worker answers
        found = master(watched, "/health/latest")
        assert {name: each["status"] for name, each in found["latest_health_checks"].items()} == {
            "well": "healthy", "embed": "healthy", "wild": "healthy", "ill": "unhealthy", "slow": "unhealthy",
        }  # fmt: skip
    assert found["total_models"] == 5
    assert "upstream_auth_error" in found["latest_health_checks"]["ill"]["error_message"]
    assert "upstream_timeout" in found["latest_health_checks"]["slow"]["error_message"]


def test_history_goes_back_some_checks(watched: Gateway) -> None:
    found = master(watched, "/health/history?status_filter=unhealthy&model=ill&limit=2")
    assert len(found["health_checks"]) == 2
    assert found["total_records"] >= 2
    newer, older = found["health_checks"]
    assert newer["checked_at"] > older["checked_at"]
    assert_error(watched.request("GET", "/health/history?limit=0", key=MASTER_KEY), 400, "invalid_value")


@pytest.mark.parametrize("path", ["/health/latest", "/health/history"])
def test_nobody_else_is_told(path: str, watched: Gateway) -> None:
    assert_error(watched.request("GET", path), 403, "permission_denied")
    assert_error(watched.request("GET", path, key=None), 401, "invalid_api_key")


def test_health_tells_the_master_who_answers_and_others_that_the_gateway_does(watched: Gateway) -> None:
    plain = watched.request("GET", "/health", key=None).json
    assert plain["status"] == "healthy"
    assert set(plain) == {"status", "version"}
    for key in (TEAM_KEY, "sk-wrong-000000000000"):
        assert watched.request("GET", "/health", key=key).json == plain
    whole = master(watched, "/health")
    assert whole["status"] == "healthy"
    assert {each["model_id"] for each in whole["unhealthy_endpoints"]} == {"ill", "slow"}
    assert {each["model_id"] for each in whole["healthy_endpoints"]} == {"well", "embed", "wild", "spared"}
    assert (whole["healthy_count"], whole["unhealthy_count"]) == (4, 2)
    assert "upstream_auth_error" in next(e["error"] for e in whole["unhealthy_endpoints"] if e["model_id"] == "ill")


def test_what_a_check_used_is_on_record_under_no_key(watched: Gateway) -> None:
    checks = [record for record in watched.journal() if record["key_alias"] == "health-check"]
    assert {record["deployment"] for record in checks} == {"well", "embed", "wild"}
    assert all(record["key_hash"] == "" and record["prompt_tokens"] for record in checks)


def test_without_checks_traffic_shows_who_rests(upstream: Upstream) -> None:
    config = base_config(upstream, router_settings={"num_retries": 0, "cooldown_time": 60})
    config["model_list"] += [
        deployment("resting", upstream, f"resting-{place}", order=place, model_info={"id": f"resting-{place}"})
        for place in (1, 2)
    ]
    upstream["resting-1"].answers(429, openai_error("slow down"))
    with running(config) as gateway:
        gateway.chat(model="resting")
        whole = master(gateway, "/health")
        assert [each["model_id"] for each in whole["unhealthy_endpoints"]] == ["resting-1"]
        assert "rests for" in whole["unhealthy_endpoints"][0]["error"]
        assert master(gateway, "/health/latest") == {"latest_health_checks": {}, "total_models": 0}
        before = upstream["resting-2"].hits
        assert gateway.chat(model="resting").text == "Hello from resting-2"
        assert upstream["resting-2"].hits == before + 1


def test_settings_of_checks_are_read_and_off_unless_switched_on() -> None:
    text = """
model_list: []
general_settings: {{master_key: k, background_health_checks: {on}, health_check_interval: 60,
                   health_check_details: false, health_check_concurrency: 2}}
"""
    checks = load_text(text.format(on="true"), environ={}).health_checks
    assert checks is not None
    assert (checks.interval_s, checks.tells_details, checks.at_once) == (60.0, False, 2)
    assert load_text(text.format(on="false"), environ={}).health_checks is None
