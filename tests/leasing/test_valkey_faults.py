"""The Valkey is killed, paused, emptied, full, or a replica dies: nobody sees a 500, nobody passes the share rule."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness.gateway import Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import Wire, request_bytes, secret
from leasing.conftest import body_of, many, passed
from money.answers import uses_all

KEYS = {name: secret(f"away-{name}") for name in ("killed", "paused", "emptied", "full", "back")}
PLACES = secret("away-places")
HUNDRED = 100
MODELS = {"model": "counted", "max_tokens": 10}
AWAY, BACK = "is away", "over the Valkey again"


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    made = ValkeyServer()
    yield made
    made.close()


@pytest.fixture
def pair(upstream: Upstream, server: ValkeyServer) -> Iterator[list[Gateway]]:
    config: dict[str, Any] = base_config(upstream, router_settings={"redis_url": server.url})
    config["model_list"].append(deployment("counted", upstream, "counted"))
    config["keys"] += [{"key": key, "alias": name, "rpm_limit": HUNDRED} for name, key in KEYS.items()]
    config["keys"].append({"key": PLACES, "alias": "places", "max_parallel_requests": 4})
    uses_all(upstream["counted"], gap_s=0)
    environment = {"ROUTEWRIGHT_VALKEY_TIMEOUT_S": "0.3"}
    with running(config, environment=environment) as one, running(config, workers=2, environment=environment) as other:
        replicas_known(server)
        yield [one, other]


def replicas_known(server: ValkeyServer) -> None:
    eventually(lambda: server.ask("ZCARD", "routewright:replicas") == 2, what="both replicas at the Valkey")
    time.sleep(1.2)  # and each has heard of the other with its next word


def said(gateways: list[Gateway], words: str) -> None:
    """Every worker of both, of which there are one and two."""
    for gateway, workers in zip(gateways, (1, 2), strict=True):
        eventually(lambda gateway=gateway, n=workers: gateway.output().count(words) >= n, within_s=15, what=words)


def test_killed_under_load_and_started_again_empty(pair: list[Gateway], server: ValkeyServer) -> None:
    """F28: half of each limit a replica, from the first moment; then the whole again, with nothing forgotten."""
    assert passed(many(pair, KEYS["back"], 20, **MODELS)) == 20
    server.kill()
    said(pair, AWAY)
    assert passed(many(pair, KEYS["killed"], 300, **MODELS)) == HUNDRED, "a share is a half"
    assert passed(many(pair[:1], KEYS["killed"], 10, **MODELS)) == 0
    assert 0 < passed(many(pair, KEYS["back"], 300, **MODELS)) <= HUNDRED - 20
    server.start()
    said(pair, BACK)
    assert passed(many(pair, KEYS["killed"], 100, **MODELS)) == 0, "what was used meanwhile is not forgotten"
    assert passed(many(pair, KEYS["paused"], 300, **MODELS)) == HUNDRED


def test_paused_under_load(pair: list[Gateway], server: ValkeyServer) -> None:
    """F28, R20: a request waits no longer than it was told to."""
    assert passed(many(pair, KEYS["paused"], 40, **MODELS)) == 40
    server.pause()
    try:
        replies = many(pair, KEYS["paused"], 300, **MODELS)
        assert passed(replies) <= HUNDRED - 40
        assert passed(many(pair, KEYS["emptied"], 300, **MODELS)) <= HUNDRED
        assert passed(many(pair, PLACES, 40, at_once=2, **MODELS)) == 40
    finally:
        server.resume()
    said(pair, BACK)
    assert passed(many(pair, KEYS["full"], 300, **MODELS)) == HUNDRED


def test_emptied_under_load(pair: list[Gateway], server: ValkeyServer) -> None:
    """F28."""
    assert passed(many(pair, KEYS["emptied"], 60, **MODELS)) == 60
    server.ask("FLUSHALL")
    assert passed(many(pair, KEYS["emptied"], 300, **MODELS)) <= HUNDRED - 60
    said(pair, BACK)
    assert passed(many(pair, KEYS["full"], 300, **MODELS)) == HUNDRED


def test_full(pair: list[Gateway], server: ValkeyServer) -> None:
    """F28: a server that takes no more is as good as none."""
    server.ask("CONFIG", "SET", "maxmemory", "1")
    said(pair, AWAY)
    assert passed(many(pair, KEYS["full"], 300, **MODELS)) == HUNDRED
    server.ask("CONFIG", "SET", "maxmemory", "0")
    said(pair, BACK)


def hold_all_places(gateway: Gateway, upstream: Upstream) -> list[Wire]:
    upstream["counted"].hangs()
    clients = [gateway.connect() for _ in range(4)]
    for client in clients:
        client.send(request_bytes("POST", "/v1/chat/completions", key=PLACES, body=body_of(**MODELS)))
    eventually(lambda: upstream["counted"].in_use == 4, what="four calls under way")
    return clients


def kill(gateway: Gateway, clients: list[Wire], upstream: Upstream) -> None:
    gateway.kill_everything()
    for client in clients:
        client.close()
    uses_all(upstream["counted"], gap_s=0)


def test_places_of_a_killed_replica_are_free_once_it_is_back(pair: list[Gateway], upstream: Upstream) -> None:
    """R13, F15: who starts in its folder gives them back for it."""
    one, other = pair
    clients = hold_all_places(one, upstream)
    assert other.chat("counted", key=PLACES, max_tokens=10).status == 429
    kill(one, clients, upstream)
    assert other.chat("counted", key=PLACES, max_tokens=10).status == 429
    one.start_again()
    assert one.chat("counted", key=PLACES, max_tokens=10).status == 200
    assert other.chat("counted", key=PLACES, max_tokens=10).status == 200


@pytest.mark.skipif(not os.environ.get("ROUTEWRIGHT_LONG"), reason="takes a lease's fifteen seconds")
def test_places_of_a_killed_replica_are_free_within_its_lease(pair: list[Gateway], upstream: Upstream) -> None:
    """R13: nobody gives them back; they end by themselves."""
    one, other = pair
    clients = hold_all_places(one, upstream)
    kill(one, clients, upstream)
    assert other.chat("counted", key=PLACES, max_tokens=10).status == 429
    eventually(lambda: other.chat("counted", key=PLACES, max_tokens=10).status == 200, within_s=20, what="a place")
