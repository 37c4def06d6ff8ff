"""The Valkey is slow, silent, too old or forgets what it was told: nobody sees a 500, and limits hold."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness.between import Between, between
from harness.gateway import Gateway, eventually, running
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import request_bytes, secret
from leasing.conftest import LATE, LATE_S, body_of, many, passed, wait_until_shared
from leasing.doors import Machine
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config, wait_for_the_ledger
from routewright.admission.counters import Counters
from routewright.settings import ValkeySettings

IS_LONG = os.environ.get("ROUTEWRIGHT_LONG") == "1"
LONG = pytest.mark.skipif(not IS_LONG, reason="takes a minute; ROUTEWRIGHT_LONG=1")
HUNDRED = 100
KEYS = [secret(f"worst-{number}") for number in range(10)]
FOUR = [secret(f"worst-four-{number}") for number in range(4)]
MODELS = {"model": "paid", "max_tokens": MAX_TOKENS}
AWAY, BACK = "is away", "over the Valkey again"


class Pair:
    def __init__(self, gateways: list[Gateway], server: ValkeyServer, door: Between) -> None:
        self.gateways, self.server, self.door = gateways, server, door

    def said(self, words: str) -> list[int]:
        return [gateway.output().count(words) for gateway in self.gateways]

    def wait_for(self, words: str, before: list[int]) -> None:
        eventually(lambda: all(now > then for now, then in zip(self.said(words), before, strict=True)), what=words)

    def passed(self, key: str, times: int) -> int:
        return passed(many(self.gateways, key, times, **MODELS))


@pytest.fixture(scope="module")
def pair(upstream: Upstream) -> Iterator[Pair]:
    server = ValkeyServer()
    with between(server.port) as door:
        config: dict[str, Any] = priced_config(
            upstream, router_settings={"redis_url": f"redis://127.0.0.1:{door.port}"}
        )
        config["keys"] += [{"key": key, "alias": f"worst-{n}", "rpm_limit": HUNDRED} for n, key in enumerate(KEYS)]
        config["keys"] += [
            {"key": key, "alias": f"four-{n}", "max_budget": 4 * ANSWER_USD} for n, key in enumerate(FOUR)
        ]
        uses_all(upstream["paid"], gap_s=0)
        with running(config, environment=LATE) as one, running(config, environment=LATE) as other:
            for gateway in (one, other):
                wait_for_the_ledger(gateway)
            wait_until_shared([one, other])
            yield Pair([one, other], server, door)
    server.close()


def test_late_then_silent_with_every_connection_open_and_well_again(pair: Pair) -> None:
    """F28, R20: what comes later than a request may wait is too late; half-open connections are as good as none."""
    away, back = pair.said(AWAY), pair.said(BACK)
    pair.door.delay_s = 0.6 * LATE_S
    assert 0 < pair.passed(KEYS[0], 300) <= HUNDRED + HUNDRED // 2
    pair.wait_for(AWAY, away)
    assert pair.passed(KEYS[1], 300) == HUNDRED, "a share is a half"
    noted = pair.said(AWAY)
    pair.door.delay_s, pair.door.is_silent = 0.0, True
    assert pair.passed(KEYS[2], 300) == HUNDRED
    time.sleep(1.5)  # they try again, over connections that somebody takes and nobody answers
    assert pair.said(AWAY) == noted, "said once for the whole time"
    pair.door.is_silent = False
    pair.door.cut()
    pair.wait_for(BACK, back)
    assert pair.passed(KEYS[1], 100) == 0
    assert pair.passed(KEYS[3], 300) == HUNDRED


@LONG
def test_machine_that_starts_meanwhile_takes_itself_for_one_of_as_many_as_before(pair: Pair) -> None:
    """F28: else each restart of a rollout would have the whole limit for itself."""
    back = pair.said(BACK)
    one = pair.gateways[0]
    pair.door.is_silent = True
    eventually(lambda: pair.said(AWAY)[0] > 0 and pair.said(AWAY)[1] > 0, what=AWAY)
    one.kill_everything()
    one.start_again()
    wait_for_the_ledger(one)
    assert passed(many([one], KEYS[6], 80, **MODELS)) == HUNDRED // 2
    pair.door.is_silent = False
    pair.door.cut()
    pair.wait_for(BACK, back)


def test_leases_that_are_evicted(pair: Pair) -> None:
    """F28: with an allkeys policy a full server forgets hashes one by one, and tells nobody. What each machine holds it
    goes on with; what the other had used may be given away again, so a minute's limit may be passed by one limit."""
    assert pair.passed(KEYS[4], 60) == 60
    four = pair.passed(FOUR[0], 2)
    for key in pair.server.ask("KEYS", "routewright:[lb]*"):
        pair.server.ask("DEL", key)
    assert 60 + pair.passed(KEYS[4], 300) <= 2 * HUNDRED
    assert 4 <= four + pair.passed(FOUR[0], 20) <= 6, "what is spent is remembered by who has heard of it"
    assert pair.passed(KEYS[5], 300) == HUNDRED


@LONG
def test_server_that_is_full_and_evicts_in_earnest(pair: Pair) -> None:
    """F28: 200 and 429 while the server throws out whatever was used least."""
    server = pair.server
    used = int(server.ask("INFO", "memory").decode().partition("used_memory:")[2].partition("\r")[0])
    server.ask("CONFIG", "SET", "maxmemory", used + (1 << 20), "maxmemory-policy", "allkeys-random")
    try:
        ends_s = time.monotonic() + 10
        written = 0
        while time.monotonic() < ends_s:
            for _ in range(200):
                written += 1
                server.ask("SET", f"filler:{written}", b"x" * 1000)
            pair.passed(KEYS[9], 20)
        evicted = server.ask("INFO", "stats").decode().partition("evicted_keys:")[2].partition("\r")[0]
        assert int(evicted) > 100
    finally:
        server.ask("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction")
        for number in range(1, written + 1):
            server.ask("DEL", f"filler:{number}")
    time.sleep(6)
    assert pair.passed(KEYS[7], 300) == HUNDRED


@LONG
def test_money_of_a_killed_replica_comes_back_in_its_lease_s_time(pair: Pair, upstream: Upstream) -> None:
    """R13, F15: four calls of a budget for four are under way on a replica that dies; nobody starts it again."""
    one, other = pair.gateways
    upstream["paid"].hangs()
    clients = [one.connect() for _ in range(4)]
    for client in clients:
        client.send(request_bytes("POST", "/v1/chat/completions", key=FOUR[1], body=body_of(**MODELS)))
    eventually(lambda: upstream["paid"].in_use == 4, what="four calls under way")
    one.kill_everything()
    for client in clients:
        client.close()
    uses_all(upstream["paid"], gap_s=0)
    assert other.chat("paid", key=FOUR[1], max_tokens=MAX_TOKENS).status == 429
    eventually(
        lambda: other.chat("paid", key=FOUR[1], max_tokens=MAX_TOKENS).status == 200, within_s=25, what="the money"
    )
    one.start_again()
    wait_for_the_ledger(one)


@LONG
def test_replicas_are_replaced_one_after_the_other_under_load(pair: Pair) -> None:
    """R23: leases are handed over or given back; to the limits nothing has happened."""
    is_over = threading.Event()
    admitted: list[int] = []
    four = FOUR[2]

    def load() -> None:
        while not is_over.is_set():
            admitted.append(pair.passed(KEYS[8], 6))
            time.sleep(0.02)

    assert pair.passed(four, 1) == 1
    calling = threading.Thread(target=load)
    calling.start()
    try:
        for gateway in pair.gateways:
            old = gateway.hand_over()
            old.wait(30)
    finally:
        is_over.set()
        calling.join()
    assert sum(admitted) <= HUNDRED
    assert pair.passed(four, 20) == 3
    assert pair.server.ask("ZCARD", "routewright:replicas") == 2


def test_server_that_is_too_old_is_named_and_the_machine_keeps_to_its_share(
    valkey_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(port: int) -> int:
        settings = ValkeySettings(host="127.0.0.1", port=port, namespace="old")
        machine = Machine(valkey_server, "old", Counters(1), 0, settings=settings)
        machine.calls(10)
        async with asyncio.timeout(10):
            while machine.waiting:  # noqa: ASYNC110 - calls end in callbacks
                await asyncio.sleep(0.001)
        await machine.leasing.close()
        return machine.passed

    with between(valkey_server.port) as door, caplog.at_level(logging.ERROR, "routewright"):
        door.lies = (b"redis_version:7.2.4", b"redis_version:5.0.4")
        assert asyncio.run(run(door.port)) == 6
    assert "it is Redis 5.0.4, and 6.2 is the oldest that will do" in caplog.text
