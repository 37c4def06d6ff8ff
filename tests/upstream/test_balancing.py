"""LiteLLM's router settings at the socket: who is asked, how often, and when somebody else is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from harness import dialect
from harness.dialect import openai_error
from harness.gateway import Gateway, base_config, deployment, running
from harness.upstream import Hang, Send, Upstream, Wait
from harness.wire import assert_error


def config(upstream: Upstream, models: dict[str, list[dict[str, Any]]], **router_settings: Any) -> dict[str, Any]:
    """`models`: name -> what is said of each of its deployments, which are `NAME-0`, `NAME-1`, ..."""
    made = base_config(upstream, router_settings=router_settings)
    made["model_list"] += [
        deployment(name, upstream, f"{name}-{place}", **params)
        for name, entries in models.items()
        for place, params in enumerate(entries)
    ]
    return made


def hits(upstream: Upstream, name: str, count: int) -> list[int]:
    return [upstream[f"{name}-{place}"].hits for place in range(count)]


def answers_with_usage(upstream: Upstream, name: str, tokens: int) -> None:
    upstream[name].answers(body=dialect.chat_completion("hi", usage=dialect.usage(1, tokens)))


# --- strategies over workers ------------------------------------------------------------------------------------------


def test_usage_is_counted_over_all_workers(upstream: Upstream) -> None:
    """Every worker sees what the others sent: tokens come out even, though one's answers are three times as long."""
    with running(config(upstream, {"used": [{}, {}]}, routing_strategy="usage-based-routing-v2"), workers=2) as gateway:
        answers_with_usage(upstream, "used-0", 299)
        answers_with_usage(upstream, "used-1", 99)
        for _ in range(60):
            assert gateway.chat(model="used", max_tokens=50).status == 200
        few, many = hits(upstream, "used", 2)
    assert few + many == 60
    assert abs(few * 300 - many * 100) <= 300, (few, many)


def test_latency_based_routing_prefers_who_answers_sooner(upstream: Upstream) -> None:
    settings = {"routing_strategy": "latency-based-routing", "routing_strategy_args": {"lowest_latency_buffer": 0.5}}
    with running(config(upstream, {"paced": [{}, {}]}, **settings)) as gateway:
        slow = Send(dialect.response(200, dialect.to_json(dialect.chat_completion())))
        upstream["paced-0"].plays(Wait(0.2), slow)
        for _ in range(20):
            assert gateway.chat(model="paced").status == 200
        assert hits(upstream, "paced", 2) == [1, 19]


# --- retries ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(upstream: Upstream) -> Iterator[Gateway]:
    """Policies by kind of error, none of which is what holds by default."""
    alone = {
        name: [{}] for name in ("rate", "bad", "auth", "policy", "server", "own", "by-model", "slow", "stream-slow")
    }
    made = config(
        upstream,
        alone | {"pair": [{"order": 1}, {"order": 2}], "lone": [{}]},
        num_retries=2,
        retry_policy={
            "RateLimitErrorRetries": 0,
            "BadRequestErrorRetries": 1,
            "AuthenticationErrorRetries": 3,
            "ContentPolicyViolationErrorRetries": 1,
            "TimeoutErrorRetries": 0,
        },
        model_group_retry_policy={"by-model": {"InternalServerErrorRetries": 1}},
        disable_cooldowns=True,
        model_group_alias={"shown": "lone", "unlisted": {"model": "lone", "hidden": True}},
    )
    with running(made) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("model", "status", "body", "tries"),
    [
        ("rate", 429, openai_error("slow down"), 1),
        ("bad", 400, openai_error("no such field"), 2),
        ("auth", 401, openai_error("bad key"), 4),
        ("policy", 400, openai_error("no", code="content_policy_violation"), 2),
        ("server", 500, openai_error("oops"), 3),
        ("by-model", 500, openai_error("oops"), 2),
    ],
)
def test_each_kind_of_error_is_retried_as_its_policy_says(
    model: str, status: int, body: Any, tries: int, strict: Gateway, upstream: Upstream
) -> None:
    upstream[f"{model}-0"].forget()
    upstream[f"{model}-0"].answers(status, body)
    assert strict.chat(model=model, timeout_s=30).status >= 400
    assert upstream[f"{model}-0"].hits == tries


def test_request_may_ask_for_fewer_retries_than_a_policy_allows(strict: Gateway, upstream: Upstream) -> None:
    upstream["auth-0"].forget()
    upstream["auth-0"].answers(401, openai_error("bad key"))
    strict.chat(model="auth", num_retries=1)
    strict.chat(model="auth", headers={"x-litellm-num-retries": "0"})
    assert upstream["auth-0"].hits == 3


def test_policy_of_no_retries_keeps_a_request_from_the_next_deployment_too(strict: Gateway, upstream: Upstream) -> None:
    upstream["pair-0"].answers(429, openai_error("slow down"), times=1)
    assert_error(strict.chat(model="pair"), 429, "upstream_rate_limited")
    upstream["pair-0"].answers(500, openai_error("oops"), times=1)
    assert strict.chat(model="pair").text == "Hello from pair-1"


@pytest.mark.parametrize("way", ["header", "body"])
def test_stream_timeout_of_a_request_bounds_the_wait_for_the_first_byte(
    way: str, strict: Gateway, upstream: Upstream
) -> None:
    upstream["stream-slow-0"].plays(Hang())
    asked: dict[str, Any] = (
        {"headers": {"x-litellm-stream-timeout": "0.3"}} if way == "header" else {"stream_timeout": 0.3}
    )
    reply = strict.chat(model="stream-slow", stream=True, timeout_s=10, **asked)
    assert_error(reply, 504, "upstream_timeout")


def test_stream_timeout_says_nothing_of_answers_in_one_piece(strict: Gateway, upstream: Upstream) -> None:
    whole = Send(dialect.response(200, dialect.to_json(dialect.chat_completion("late"))))
    upstream["slow-0"].plays(Wait(0.7), whole)
    assert strict.chat(model="slow", headers={"x-litellm-stream-timeout": "0.2"}).text == "late"


def test_hidden_alias_works_and_is_not_listed(strict: Gateway) -> None:
    listed = [each["id"] for each in strict.request("GET", "/v1/models").json["data"]]
    assert "shown" in listed
    assert "unlisted" not in listed
    assert strict.chat(model="unlisted").text == "Hello from lone-0"


# --- what cools -------------------------------------------------------------------------------------------------------


def test_allowed_fails_policy_rests_a_deployment_by_kind_of_failure(upstream: Upstream) -> None:
    policy = {"RateLimitErrorAllowedFails": 2, "BadRequestErrorAllowedFails": 1}
    made = config(
        upstream, {"cooled": [{"order": 1}, {"order": 2}], "picky": [{"order": 1}, {"order": 2}]},
        allowed_fails_policy=policy, cooldown_time=60, num_retries=1,
    )  # fmt: skip
    with running(made) as gateway:
        upstream["cooled-0"].answers(429, openai_error("slow down"))
        upstream["picky-0"].answers(400, openai_error("cannot"))
        seen: Counter[str] = Counter()
        for _ in range(6):
            seen[gateway.chat(model="cooled").text] += 1
            gateway.chat(model="picky")
        assert seen == {"Hello from cooled-1": 6}
        assert hits(upstream, "cooled", 2) == [3, 6]
        assert hits(upstream, "picky", 2) == [2, 4]
