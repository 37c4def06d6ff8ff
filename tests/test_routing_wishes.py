"""What a client may ask of a route, and what its key lets it ask, at the socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import dialect
from harness.gateway import MASTER_KEY, Gateway, base_config, running
from harness.upstream import Send, Upstream, Wait

THRIFTY_KEY, LAVISH_KEY = "sk-thrifty-0000000000", "sk-lavish-00000000000"
HARD = "Prove that every finite division ring is commutative, and say where each hypothesis is used."


@pytest.fixture(scope="module")
def wishes(upstream: Upstream) -> Iterator[Gateway]:
    config = base_config(
        upstream,
        routes={
            "frugal": {"candidates": ["gpt-4o", "gpt-4o-mini"], "quality": 1.0, "max_cost_usd": 0.001},
            "hasty": {"candidates": ["gpt-4o", "gpt-4o-mini"], "quality": 1.0, "latency_weight": 1.0},
        },
    )
    config["keys"] += [
        {"key": THRIFTY_KEY, "alias": "thrifty", "max_quality": 0.0},
        {"key": LAVISH_KEY, "alias": "lavish", "min_quality": 1.0},
    ]
    with running(config) as gateway:
        yield gateway


def chosen(reply) -> str:
    assert reply.status == 200, reply.json
    return reply.json["model"]


def test_a_cap_of_cost_keeps_the_dear_model_out(wishes: Gateway) -> None:
    assert chosen(wishes.chat(model="auto:best", prompt=HARD)) == "gpt-4o"
    cheap = wishes.chat(model="auto:best", prompt=HARD, routing={"max_cost_usd": 0.001})
    assert chosen(cheap) == "gpt-4o-mini"
    assert chosen(wishes.chat(model="frugal", prompt=HARD)) == "gpt-4o-mini"
    assert chosen(wishes.chat(model="frugal", prompt=HARD, routing={"max_cost_usd": 5})) == "gpt-4o-mini"


def test_a_cap_that_nothing_keeps_is_refused_with_the_least_that_would_do(wishes: Gateway) -> None:
    reply = wishes.chat(model="auto", prompt=HARD, routing={"max_cost_usd": 1e-9})
    assert reply.status == 400
    error = reply.json["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "routing.max_cost_usd")
    assert "gpt-4o-mini" in error["message"]


@pytest.mark.parametrize(
    ("routing", "param"),
    [
        ({"max_cost_usd": "1"}, "routing.max_cost_usd"),
        ({"max_cost_usd": -1}, "routing.max_cost_usd"),
        ({"max_latency_ms": 0}, "routing.max_latency_ms"),
        ({"max_latency_ms": True}, "routing.max_latency_ms"),
        ({"max_cost": 1}, "routing.max_cost"),
    ],
)
def test_a_cap_that_is_no_number_in_range_is_refused(routing, param, wishes: Gateway) -> None:
    reply = wishes.chat(model="auto", routing=routing)
    assert reply.status == 400
    assert reply.json["error"]["param"] == param


def test_a_key_s_bounds_hold_whatever_the_request_asks(wishes: Gateway) -> None:
    for ask in ({"model": "auto:best"}, {"model": "auto", "routing": {"quality": 1}}, {"model": "auto"}):
        assert chosen(wishes.chat(prompt=HARD, key=THRIFTY_KEY, **ask)) == "gpt-4o-mini"
    for ask in ({"model": "auto:cheap"}, {"model": "auto", "routing": {"quality": 0}}, {"model": "auto"}):
        assert chosen(wishes.chat(prompt=HARD, key=LAVISH_KEY, **ask)) == "gpt-4o"


def test_what_a_request_would_be_capped_to_is_explained(wishes: Gateway) -> None:
    ask = {"query": HARD, "route": "auto", "quality": 1}
    assert wishes.request("POST", "/router/route", ask, key=MASTER_KEY).json["selected_model"] == "gpt-4o"
    capped = wishes.request("POST", "/router/route", {**ask, "max_cost_usd": 0.001}, key=MASTER_KEY).json
    assert capped["selected_model"] == "gpt-4o-mini"
    assert capped["alternatives"] == []
    refused = wishes.request("POST", "/router/route", {**ask, "max_cost_usd": 1e-9}, key=MASTER_KEY)
    assert (refused.status, refused.json["error"]["param"]) == (400, "max_cost_usd")


def test_a_route_that_minds_time_leaves_a_model_that_has_become_slow(wishes: Gateway, upstream: Upstream) -> None:
    assert chosen(wishes.chat(model="hasty", prompt=HARD)) == "gpt-4o"  # nobody is known to be slow yet
    answer = dialect.response(200, dialect.to_json(dialect.chat_completion()))
    upstream["gpt-4o"].plays(Wait(1.5), Send(answer), times=1)
    wishes.chat(model="gpt-4o", prompt=HARD)
    assert chosen(wishes.chat(model="hasty", prompt=HARD)) == "gpt-4o-mini"
    told = wishes.request("POST", "/router/route", {"query": HARD, "route": "hasty"}, key=MASTER_KEY).json
    assert told["latency_s"]["gpt-4o"] > told["latency_s"]["gpt-4o-mini"]
    # an unhurried route goes on as before
    assert chosen(wishes.chat(model="auto:best", prompt=HARD)) == "gpt-4o"
