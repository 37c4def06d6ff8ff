"""A second attempt where the first is slow to begin: who answers, who is cut off, who pays, and when there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness import dialect
from harness.dialect import openai_error
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Deployment, Hang, Send, Upstream, Wait
from harness.wire import Reply, assert_error, request_bytes
from routewright.settings import HedgeSettings
from routewright.upstream.hedging import LEAST_SAMPLES, Waits

NAMES = ("raced", "steady", "routed", "lone-raced", "poor")
POOR_KEY = "sk-poor-0000000000000"


def whole(text: str, tokens: int = 5) -> Send:
    return Send(dialect.response(200, dialect.to_json(dialect.chat_completion(text, usage=dialect.usage(7, tokens)))))


@pytest.fixture(scope="module")
def hedging(upstream: Upstream) -> Iterator[Gateway]:
    config = base_config(
        upstream,
        router_settings={
            "num_retries": 0,
            "disable_cooldowns": True,
            "hedging": {"raced": 150, "lone-raced": 150, "way": 150, "poor": 150},
        },
        routes={"way": {"candidates": ["routed"]}},
    )
    config["model_list"] += [
        deployment(name, upstream, f"{name}-{place}", order=place)
        for name in NAMES
        for place in ((1,) if name == "lone-raced" else (1, 2))
    ]
    # One answer of twenty tokens fits; that and a second do not.
    config["keys"].append({"key": POOR_KEY, "alias": "poor", "max_budget": 0.00012})
    with running(config) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def afresh(upstream: Upstream) -> None:
    for name in NAMES:
        for place in (1, 2):
            upstream[f"{name}-{place}"].forget()


def parts_of(gateway: Gateway, reply: Reply) -> list[dict[str, Any]]:
    """Records of the request: its own first."""
    request_id = reply.headers["x-request-id"]
    eventually(lambda: len(gateway.records_of(request_id)) >= 2, what="both records")
    return sorted(gateway.records_of(request_id), key=lambda record: len(record["call_id"]))


def is_let_go(one: Deployment) -> None:
    eventually(lambda: one.in_use == 0, what=f"{one.name} to be let go")


# --- who answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_second_answers_where_the_first_does_not_begin(stream: bool, hedging: Gateway, upstream: Upstream) -> None:
    """And the first is let go; both are on record, each with its own deployment, and their costs are the bill."""
    upstream["raced-1"].plays(Hang())
    reply = hedging.chat(model="raced", stream=stream)

    assert reply.text == "Hello from raced-2"
    assert reply.headers["x-routewright-hedged"] == "true"
    is_let_go(upstream["raced-1"])
    own, lost = parts_of(hedging, reply)
    assert (own["ended"], own["status"], own["attempts"]) == ("complete", 200, 1)
    assert (lost["ended"], lost["decision"]["stage"]) == ("hedge_lost", "hedge")
    assert lost["decision"]["part_of"] == own["call_id"]
    assert {own["deployment"], lost["deployment"]} == set(ids_of(hedging, "raced"))
    assert lost["usage_estimated"]
    assert lost["completion_tokens"] == 0


def ids_of(gateway: Gateway, model: str) -> list[str]:
    listed = gateway.request("GET", "/model/info", key=MASTER_KEY).json["data"]
    return [each["model_info"]["id"] for each in listed if each["model_name"] == model]


def test_first_answers_where_it_was_quicker_after_all(hedging: Gateway, upstream: Upstream) -> None:
    upstream["raced-1"].plays(Wait(0.4), whole("first"))
    upstream["raced-2"].plays(Hang())
    reply = hedging.chat(model="raced")

    assert reply.text == "first"
    assert "x-routewright-hedged" not in reply.headers
    is_let_go(upstream["raced-2"])
    own, lost = parts_of(hedging, reply)
    assert own["completion_tokens"] == 5
    assert lost["ended"] == "hedge_lost"


def test_first_that_begins_in_time_is_asked_alone(hedging: Gateway, upstream: Upstream) -> None:
    """A stream that has begun is never raced, however slowly it goes on."""
    first, *rest = dialect.chunked_stream(dialect.chat_events(["slow", "ly"]))
    steps: list[Any] = [Send(first)]
    for piece in rest:
        steps += [Wait(0.1), Send(piece)]
    upstream["raced-1"].plays(*steps)
    assert hedging.chat(model="raced", stream=True).text == "slowly"
    assert upstream["raced-2"].hits == 0


def test_failure_of_one_leaves_the_other(hedging: Gateway, upstream: Upstream) -> None:
    upstream["raced-1"].plays(Wait(0.4), whole("first"))
    upstream["raced-2"].answers(500, openai_error("down"))
    assert hedging.chat(model="raced").text == "first"
    upstream["raced-1"].plays(Wait(0.3), Send(dialect.response(500, b"{}")))
    upstream["raced-2"].plays(Wait(0.4), whole("second"))
    assert hedging.chat(model="raced").text == "second"


def test_failure_of_both_is_the_first_s(hedging: Gateway, upstream: Upstream) -> None:
    upstream["raced-1"].plays(Wait(0.3), Send(dialect.response(429, dialect.to_json(openai_error("slow down")))))
    upstream["raced-2"].answers(500, openai_error("down"))
    reply = hedging.chat(model="raced")
    assert_error(reply, 429, "upstream_rate_limited")
    assert hedging.record_of(reply)["ended"] == "upstream_failed"


def test_quick_failure_is_no_reason_for_a_second(hedging: Gateway, upstream: Upstream) -> None:
    upstream["raced-1"].answers(500, openai_error("down"))
    assert_error(hedging.chat(model="raced"), 502, "upstream_error")
    assert upstream["raced-2"].hits == 0


def test_deployment_that_stands_alone_is_asked_again(hedging: Gateway, upstream: Upstream) -> None:
    upstream["lone-raced-1"].plays(Hang(), times=1)
    assert hedging.chat(model="lone-raced").text == "Hello from lone-raced-1"
    assert upstream["lone-raced-1"].hits == 2


def test_route_hedges_what_it_chooses(hedging: Gateway, upstream: Upstream) -> None:
    upstream["routed-1"].plays(Hang())
    reply = hedging.chat(model="way")
    assert reply.text == "Hello from routed-2"
    _, lost = parts_of(hedging, reply)
    assert lost["decision"]["route"] == "way"
    upstream["routed-1"].plays(Wait(0.4), whole("patient"))
    assert hedging.chat(model="routed").text == "patient", "by its own name it is not hedged"


def test_model_that_is_not_named_is_never_asked_twice(hedging: Gateway, upstream: Upstream) -> None:
    upstream["steady-1"].plays(Wait(0.4), whole("patient"))
    assert hedging.chat(model="steady").text == "patient"
    assert upstream["steady-2"].hits == 0


# --- who pays ---------------------------------------------------------------------------------------------------------


def test_second_is_admitted_like_a_call_of_its_own(hedging: Gateway, upstream: Upstream) -> None:
    """A budget that has room for one answer and not for two has the first one only."""
    upstream["poor-1"].plays(Wait(0.4), whole("first"))
    reply = hedging.chat(model="poor", key=POOR_KEY, max_tokens=20)
    assert reply.text == "first"
    assert upstream["poor-2"].hits == 0
    assert len(hedging.records_of(reply.headers["x-request-id"])) <= 1


def test_client_that_leaves_ends_both(hedging: Gateway, upstream: Upstream) -> None:
    upstream["raced-1"].plays(Hang())
    upstream["raced-2"].plays(Hang())
    body = b'{"model": "raced", "messages": [{"role": "user", "content": "hi"}]}'
    with hedging.connect() as client:
        headers = {"x-request-id": "leaver"}
        client.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=body, headers=headers))
        eventually(lambda: upstream["raced-2"].in_use == 1, what="the second attempt")
    is_let_go(upstream["raced-1"])
    is_let_go(upstream["raced-2"])
    eventually(lambda: len(hedging.records_of("leaver")) == 2, what="both records")
    assert {record["ended"] for record in hedging.records_of("leaver")} == {"client_gone"}


# --- when it is due ---------------------------------------------------------------------------------------------------


def test_quantile_is_that_of_the_latest_first_bytes() -> None:
    settings = HedgeSettings(quantile=0.9)
    waits = Waits({"m": settings})
    for place in range(LEAST_SAMPLES - 1):
        waits.note("m", 1.0, is_stream=True)
        assert waits.after_s(settings, "m", is_stream=True) is None, place
    waits.note("m", 1.0, is_stream=True)
    assert waits.after_s(settings, "m", is_stream=True) == 1.0
    assert waits.after_s(settings, "m", is_stream=False) is None
    for place in range(200):
        waits.note("m", place / 100, is_stream=True)
    assert waits.after_s(settings, "m", is_stream=True) == pytest.approx(1.8, abs=0.1)


def test_model_s_own_word_comes_before_its_route_s() -> None:
    own, way = HedgeSettings(after_s=1.0), HedgeSettings(after_s=2.0)
    waits = Waits({"m": own, "way": way})
    assert waits.settings_of("way", "m") is own
    assert waits.settings_of("way", "n") is way
    assert waits.settings_of(None, "n") is None
