"""The Valkey is killed, paused, emptied, full, or a replica dies: nobody sees a 500, nobody passes the share rule."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from admin.test_metrics_served import value
from harness.gateway import Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import Wire, request_bytes, secret
from leasing.conftest import LATE, LATE_S, body_of, many, passed, wait_until_shared
from money.answers import uses_all

KEYS = [secret(f"away-{number:02}") for number in range(12)]
"""Each used by one test, so that they may share gateways and a minute."""
PLACES = [secret(f"away-places-{number}") for number in range(3)]
HUNDRED = 100
MODELS = {"model": "counted", "max_tokens": 10}
AWAY, BACK = "is away", "over the Valkey again"
WORKERS = (1, 2)


class Pair:
    """Two gateways, one of them with two workers, and the Valkey between them."""

    def __init__(self, gateways: list[Gateway], server: ValkeyServer) -> None:
        self.gateways = gateways
        self.server = server
        self._before: dict[tuple[int, str], int] = {}

    def note(self) -> None:
        """What is said from now on counts."""
        self._before = {(n, words): each.output().count(words) for n, each in enumerate(self.gateways)
                        for words in (AWAY, BACK)}  # fmt: skip

    def wait_for(self, words: str) -> None:
        """Until every worker of both has said so."""
        for n, gateway in enumerate(self.gateways):
            wanted = self._before[n, words] + WORKERS[n]
            eventually(lambda gateway=gateway, n=wanted: gateway.output().count(words) >= n, what=words)

    def passed(self, key: str, times: int) -> int:
        return passed(many(self.gateways, key, times, **MODELS))


@pytest.fixture(scope="module")
def shared(upstream: Upstream) -> Iterator[Pair]:
    server = ValkeyServer()
    config: dict[str, Any] = base_config(upstream, router_settings={"redis_url": server.url})
    config["model_list"].append(deployment("counted", upstream, "counted"))
    config["keys"] += [{"key": key, "alias": f"away-{n}", "rpm_limit": HUNDRED} for n, key in enumerate(KEYS)]
    config["keys"] += [{"key": key, "alias": f"places-{n}", "max_parallel_requests": 4} for n, key in enumerate(PLACES)]
    try:
        with (
            running(config, workers=WORKERS[0], environment=LATE) as one,
            running(config, workers=WORKERS[1], environment=LATE) as other,
        ):
            wait_until_shared([one, other], WORKERS)
            yield Pair([one, other], server)
    finally:
        server.close()


@pytest.fixture
def pair(shared: Pair, upstream: Upstream) -> Pair:
    uses_all(upstream["counted"], gap_s=0)
    shared.note()
    return shared


def test_killed_under_load_and_started_again_empty(pair: Pair) -> None:
    """F28: half of each limit a replica, from the first moment; then the whole again, with nothing forgotten."""
    begun, fresh, after = KEYS[:3]
    assert pair.passed(begun, 20) == 20
    pair.server.kill()
    pair.wait_for(AWAY)
    assert pair.passed(fresh, 300) == HUNDRED, "a share is a half"
    assert passed(many(pair.gateways[:1], fresh, 10, **MODELS)) == 0
    assert 0 < pair.passed(begun, 300) <= HUNDRED - 20
    pair.server.start()
    pair.wait_for(BACK)
    assert pair.passed(fresh, 100) == 0, "what was used meanwhile is not forgotten"
    assert pair.passed(after, 300) == HUNDRED


def test_paused_under_load(pair: Pair) -> None:
    """F28, R20: a request waits no longer than it was told to."""
    begun, fresh, after = KEYS[3:6]
    assert pair.passed(begun, 40) == 40
    pair.server.pause()
    try:
        assert pair.passed(begun, 300) <= HUNDRED - 40
        assert pair.passed(fresh, 300) <= HUNDRED
        assert passed(many(pair.gateways, PLACES[0], 40, at_once=2, **MODELS)) == 40
    finally:
        pair.server.resume()
    pair.wait_for(BACK)
    assert pair.passed(after, 300) == HUNDRED


def test_emptied_under_load(pair: Pair) -> None:
    """F28."""
    begun, after = KEYS[6:8]
    assert pair.passed(begun, 60) == 60
    pair.server.ask("FLUSHALL")
    assert pair.passed(begun, 300) <= HUNDRED - 60
    pair.wait_for(BACK)
    assert pair.passed(after, 300) == HUNDRED


def test_full(pair: Pair) -> None:
    """F28: a server that takes no more is as good as none."""
    pair.server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        pair.wait_for(AWAY)
        assert pair.passed(KEYS[8], 300) == HUNDRED
    finally:
        pair.server.ask("CONFIG", "SET", "maxmemory", "0")
    pair.wait_for(BACK)
    assert pair.passed(KEYS[9], 300) == HUNDRED


def hold_all_places(gateway: Gateway, key: str, upstream: Upstream) -> list[Wire]:
    upstream["counted"].hangs()
    clients = [gateway.connect() for _ in range(4)]
    for client in clients:
        client.send(request_bytes("POST", "/v1/chat/completions", key=key, body=body_of(**MODELS)))
    eventually(lambda: upstream["counted"].in_use == 4, what="four calls under way")
    return clients


def kill(gateway: Gateway, clients: list[Wire], upstream: Upstream) -> None:
    gateway.kill_everything()
    for client in clients:
        client.close()
    uses_all(upstream["counted"], gap_s=0)


def test_places_of_a_killed_replica_are_free_once_it_is_back(pair: Pair, upstream: Upstream) -> None:
    """R13, F15: who starts in its folder gives them back for it."""
    one, other = pair.gateways
    key = PLACES[1]
    clients = hold_all_places(one, key, upstream)
    assert other.chat("counted", key=key, max_tokens=10).status == 429
    kill(one, clients, upstream)
    assert other.chat("counted", key=key, max_tokens=10).status == 429
    one.start_again()
    assert one.chat("counted", key=key, max_tokens=10).status == 200
    assert other.chat("counted", key=key, max_tokens=10).status == 200


@pytest.mark.skipif(not os.environ.get("ROUTEWRIGHT_LONG"), reason="takes a lease's fifteen seconds")
def test_places_of_a_killed_replica_are_free_within_its_lease(pair: Pair, upstream: Upstream) -> None:
    """R13: nobody gives them back; they end by themselves."""
    one, other = pair.gateways
    key = PLACES[2]
    clients = hold_all_places(one, key, upstream)
    kill(one, clients, upstream)
    assert other.chat("counted", key=key, max_tokens=10).status == 429
    eventually(lambda: other.chat("counted", key=key, max_tokens=10).status == 200, what="a place")
    one.start_again()


def test_metrics_tell_how_a_machine_stands_with_the_valkey(shared: Pair) -> None:
    gateway = shared.gateways[1]

    def told(name: str) -> float:
        return value(gateway, f"routewright_{name}")

    gateway.chat("gpt-4o", key=KEYS[0])
    eventually(lambda: told("valkey_connected") == 2, what="both workers")
    eventually(lambda: told("valkey_machines") == 2, what="both machines")
    assert told("leases") >= 1
    eventually(lambda: 0 < told("valkey_round_trip_seconds") < 2 * LATE_S)
    shared.note()
    shared.server.kill()
    shared.wait_for(AWAY)
    assert (told("valkey_connected"), told("valkey_round_trip_seconds")) == (0, 0)
    shared.server.start()
    shared.wait_for(BACK)
    assert told("valkey_connected") == 2
