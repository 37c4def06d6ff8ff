"""Who answers when a model can't or may not: tags, regions, lengths, fallbacks of each kind, and answers of nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.dialect import openai_error
from harness.gateway import MASTER_KEY, SMALL_KEY, TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.wire import Reply, assert_error

PAID_KEY = "sk-paid-000000000000"
DOWN = openai_error("down")
TOO_LONG = openai_error("maximum context length", code="context_length_exceeded")
UNSEEMLY = openai_error("no", code="content_policy_violation")


@pytest.fixture(scope="module")
def choosy(upstream: Upstream) -> Iterator[Gateway]:
    def model(name: str, prefix: str = "", **params: Any) -> dict[str, Any]:
        return deployment(name, upstream, prefix or name, **params)

    config = base_config(
        upstream,
        router_settings={
            "num_retries": 0,
            "disable_cooldowns": True,
            "enable_tag_filtering": True,
            "enable_pre_call_checks": True,
            "max_fallbacks": 4,
            "fallbacks": [{"first": ["second"]}, {"second": ["third"]}, {"loop": ["loop-b"]}, {"loop-b": ["loop"]},
                          {"frugal": ["dear", "cheap"]}, {"mixed": ["mixed-b"]}],
            "context_window_fallbacks": [{"mixed": ["long"]}, {"narrow": ["long"]}],
            "content_policy_fallbacks": [{"strict": ["lenient"]}],
        },
        general_settings={"allow_mock_response": True},
        routes={"frugal": {"candidates": ["only"], "max_cost_usd": 0.01}},
    )  # fmt: skip
    config["model_list"] += [
        *[model(name) for name in ("first", "second", "third", "loop", "loop-b", "mixed", "mixed-b", "long", "strict",
                                   "lenient", "only", "cheap")],
        model("dear", input_cost_per_token=0.01, output_cost_per_token=0.01),
        model("narrow", model_info={"max_input_tokens": 50}),
        model("tagged", "tagged-free", tags=["free"]),
        model("tagged", "tagged-paid", tags=["paid", "default"]),
        model("placed", "placed-eu", region_name="eu-central-1"),
        model("placed", "placed-us", region_name="us-east-1"),
        model("canned", mock_response="It is canned."),
        model("canned-failure", mock_response="litellm.RateLimitError"),
    ]  # fmt: skip
    config["keys"].append({"key": PAID_KEY, "alias": "paid", "tags": ["free"]})
    with running(config) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def afresh(upstream: Upstream, choosy: Gateway) -> None:
    for name in ("first", "second", "third", "loop", "loop-b", "mixed", "mixed-b", "long", "strict", "only", "dear"):
        upstream[name].forget()


# --- tags and regions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "who"),
    [
        ({"tags": ["free"]}, "free"),
        ({"metadata": {"tags": ["free"]}}, "free"),
        ({"headers": {"x-litellm-tags": "free,other"}}, "free"),
        ({"key": PAID_KEY}, "free"),
        ({"tags": ["paid"]}, "paid"),
        ({}, "paid"),
        ({"tags": ["unheard-of"]}, "paid"),
    ],
    ids=str,
)
def test_tags_lead_to_the_deployments_that_have_them(ask: dict[str, Any], who: str, choosy: Gateway) -> None:
    for _ in range(4):
        assert choosy.chat(model="tagged", **ask).text == f"Hello from tagged-{who}"


def test_tags_of_a_key_stand_in_its_records(choosy: Gateway) -> None:
    reply = choosy.chat(model="tagged", key=PAID_KEY, tags=["mine"])
    assert sorted(choosy.record_of(reply)["tags"]) == ["free", "mine"]


def test_region_that_a_request_must_stay_in_is_kept(choosy: Gateway, upstream: Upstream) -> None:
    for _ in range(6):
        assert choosy.chat(model="placed", allowed_model_region="eu").text == "Hello from placed-eu"
    assert "allowed_model_region" not in upstream["placed-eu"].last.json
    assert_error(choosy.chat(model="placed", allowed_model_region="ap-south-1"), 403, "model_access_denied")


def test_requests_of_an_end_user_stay_in_its_region(choosy: Gateway) -> None:
    made = choosy.request("POST", "/customer/new", {"user_id": "anna", "allowed_model_region": "eu"}, key=MASTER_KEY)
    assert made.status == 200, made.body
    eventually(lambda: choosy.chat(model="placed", user="anna", allowed_model_region="us").status == 403,
               what="the worker to know the end user")  # fmt: skip
    for _ in range(6):
        assert choosy.chat(model="placed", user="anna").text == "Hello from placed-eu"
    assert {choosy.chat(model="placed", user="ben").text for _ in range(20)} == {
        "Hello from placed-eu", "Hello from placed-us",
    }  # fmt: skip


# --- fallbacks --------------------------------------------------------------------------------------------------------


def test_fallback_that_fails_is_followed_by_its_own(choosy: Gateway, upstream: Upstream) -> None:
    upstream["first"].answers(500, DOWN)
    upstream["second"].answers(500, DOWN)
    reply = choosy.chat(model="first")
    assert reply.text == "Hello from third"
    assert reply.headers["x-litellm-attempted-fallbacks"] == "2"


def test_fallbacks_in_a_ring_end(choosy: Gateway, upstream: Upstream) -> None:
    upstream["loop"].answers(500, DOWN)
    upstream["loop-b"].answers(500, DOWN)
    assert_error(choosy.chat(model="loop"), 502, "upstream_error")
    assert (upstream["loop"].hits, upstream["loop-b"].hits) == (1, 1)


def test_kind_of_failure_on_the_way_chooses_the_list(choosy: Gateway, upstream: Upstream) -> None:
    """Down first, then too long for the fallback: the context-window fallback answers."""
    upstream["mixed"].answers(500, DOWN)
    upstream["mixed-b"].answers(400, TOO_LONG)
    assert choosy.chat(model="mixed").text == "Hello from long"


def test_prompt_that_is_known_to_be_too_long_is_not_sent(choosy: Gateway, upstream: Upstream) -> None:
    assert choosy.chat(model="narrow").text == "Hello from narrow"
    before = upstream["narrow"].hits
    assert choosy.chat(model="narrow", prompt="word " * 200).text == "Hello from long"
    refused = choosy.chat(model="narrow", prompt="word " * 200, disable_fallbacks=True)
    assert_error(refused, 400, "context_length_exceeded")
    assert upstream["narrow"].hits == before


@pytest.mark.parametrize(
    ("field", "answer"), [("context_window_fallbacks", TOO_LONG), ("content_policy_fallbacks", UNSEEMLY)]
)
def test_request_s_own_fallbacks_of_a_kind(field: str, answer: Any, choosy: Gateway, upstream: Upstream) -> None:
    upstream["strict"].answers(400, answer)
    assert choosy.chat(model="strict", **{field: [{"strict": ["third"]}]}).text == "Hello from third"
    assert choosy.chat(model="strict", **{field: ["third"]}).text == "Hello from third"
    assert field not in upstream["third"].last.json
    refused = choosy.chat(model="gpt-4o-mini", key=SMALL_KEY, **{field: ["third"]})
    assert_error(refused, 403, "model_access_denied")


def test_cap_of_a_route_binds_its_fallbacks(choosy: Gateway, upstream: Upstream) -> None:
    upstream["only"].answers(500, DOWN)
    assert choosy.chat(model="frugal").text == "Hello from cheap"
    asked = choosy.chat(model="frugal", routing={"max_cost_usd": 1000})
    assert asked.text == "Hello from cheap", "the route's own cap is the tighter one"
    assert upstream["dear"].hits == 0


def test_cap_of_a_request_binds_a_route_s_fallbacks(choosy: Gateway, upstream: Upstream) -> None:
    upstream["only"].answers(500, DOWN)
    free = choosy.chat(model="auto", fallbacks=["dear"], routing={"max_cost_usd": 1000})
    assert free.status == 200
    for name in ("gpt-4o", "gpt-4o-mini"):
        upstream[name].answers(500, DOWN, times=1)
    assert_error(choosy.chat(model="auto", fallbacks=["dear"], routing={"max_cost_usd": 0.05}), 502, "upstream_error")
    assert upstream["dear"].hits == 0


# --- answers of nobody ------------------------------------------------------------------------------------------------


def anthropic_text(reply: Reply) -> str:
    return reply.json["content"][0]["text"]


@pytest.mark.parametrize("stream", [False, True])
def test_deployment_may_answer_without_an_upstream(stream: bool, choosy: Gateway, upstream: Upstream) -> None:
    reply = choosy.chat(model="canned", stream=stream)
    assert reply.text == "It is canned."
    record = choosy.record_of(reply)
    assert (record["status"], record["ended"]) == (200, "complete")
    assert record["completion_tokens"] > 0
    assert upstream["canned"].hits == 0


def test_answer_of_nobody_is_told_in_every_dialect(choosy: Gateway) -> None:
    asked = {"model": "canned", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    assert anthropic_text(choosy.request("POST", "/v1/messages", asked)) == "It is canned."
    reply = choosy.request("POST", "/v1/completions", {"model": "canned", "prompt": "hi"})
    assert reply.json["choices"][0]["text"] == "It is canned."
    streamed = choosy.request("POST", "/v1/messages", {**asked, "stream": True})
    assert b"It is canned." in streamed.body


def test_mocked_failure_has_its_own_status(choosy: Gateway) -> None:
    assert_error(choosy.chat(model="canned-failure"), 429, "upstream_rate_limited")


def test_request_may_try_its_fallbacks_out_where_the_configuration_allows_it(
    choosy: Gateway, upstream: Upstream
) -> None:
    assert choosy.chat(model="first", mock_testing_fallbacks=True).text == "Hello from second"
    assert choosy.chat(model="mixed", mock_testing_context_fallbacks=True).text == "Hello from long"
    assert choosy.chat(model="strict", mock_testing_content_policy_fallbacks=True).text == "Hello from lenient"
    assert upstream["first"].hits == 0
    assert choosy.chat(model="first", mock_response="made up").text == "made up"
    assert upstream["first"].hits == 0
    assert_error(choosy.chat(model="first", mock_response=7), 400, "invalid_value")


@pytest.mark.parametrize("field", ["mock_response", "mock_testing_fallbacks", "mock_testing_context_fallbacks"])
def test_nobody_else_may(field: str, gateway: Gateway) -> None:
    """T6: the master neither."""
    for key in (TEAM_KEY, MASTER_KEY):
        value = "free lunch" if field == "mock_response" else True
        reply = gateway.chat(key=key, **{field: value})
        assert_error(reply, 400, "field_not_allowed")
        assert reply.json["error"]["param"] == field
