"""Money spent while the Valkey is lost, at random moments of heavy spending: never more than docs/limits.md says.

ROUTEWRIGHT_LONG=1 makes it many losses, and prints how far each went.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from harness.crowd import ask, side_by_side
from harness.gateway import Gateway, eventually, running
from harness.postgres import Postgres
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import request_bytes, secret
from leasing.conftest import body_of, wait_until_shared
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config, wait_for_the_ledger

IS_LONG = os.environ.get("ROUTEWRIGHT_LONG") == "1"
SEED = int(os.environ.get("ROUTEWRIGHT_SEED", "0")) or random.randrange(1 << 32)
ROUNDS = 8 if IS_LONG else 1
FAULTS = ("killed", "stopped", "emptied")
SIZES = (20, 120, 400)
"""Budgets, in answers: some are spent before the loss, some in it, some after."""
KEYS = {
    (fault, number, size): secret(f"bound-{fault}-{number}-{size}")
    for fault in FAULTS for number in range(ROUNDS) for size in SIZES
}  # fmt: skip
GATEWAYS = 2
AWAY, BACK = "is away", "over the Valkey again"
ANSWER_NUSD = round(ANSWER_USD * 1e9)


class Replicas:
    def __init__(self, gateways: list[Gateway], server: ValkeyServer, database_url: str | None) -> None:
        self.gateways = gateways
        self.server = server
        self.database_url = database_url

    def said(self, words: str) -> list[int]:
        return [gateway.output().count(words) for gateway in self.gateways]

    def wait_for(self, words: str, before: list[int]) -> None:
        eventually(lambda: all(now > then for now, then in zip(self.said(words), before, strict=True)), what=words)

    def in_the_ledger(self, alias: str) -> tuple[int, int]:
        """Rows of a key, and nano-dollars."""
        query = "SELECT count(*), coalesce(sum(cost_nusd), 0)::bigint FROM spend WHERE key_alias = %s AND status = 200"
        assert self.database_url is not None
        with psycopg.connect(self.database_url) as connection:
            found = connection.execute(query, (alias,)).fetchone()
        assert found is not None
        return int(found[0]), int(found[1])


@pytest.fixture(scope="module")
def replicas(upstream: Upstream, postgres: Postgres) -> Iterator[Replicas]:
    server = ValkeyServer()
    config: dict[str, Any] = priced_config(upstream, router_settings={"redis_url": server.url})
    config["keys"] += [
        {"key": key, "alias": f"{fault}-{number}-{size}", "max_budget": size * ANSWER_USD}
        for (fault, number, size), key in KEYS.items()
    ]
    uses_all(upstream["paid"], gap_s=0.005)
    database_url = postgres.new_database()
    environment = {"ROUTEWRIGHT_VALKEY_TIMEOUT_S": "0.3", "DATABASE_URL": database_url}
    try:
        with (
            running(config, environment=environment) as one,
            running(config, environment=environment) as other,
        ):
            for gateway in (one, other):
                wait_for_the_ledger(gateway)
            wait_until_shared([one, other])
            yield Replicas([one, other], server, database_url)
    finally:
        server.close()


class Spending:
    """Calls of several keys on all gateways, side by side, until told to stop."""

    def __init__(self, gateways: list[Gateway], keys: dict[int, str], at_once: int) -> None:
        self._requests = [
            (gateway.port, size, request_bytes("POST", "/v1/chat/completions", key=key, body=body_of(
                model="paid", max_tokens=MAX_TOKENS)))
            for size, key in keys.items() for gateway in gateways
        ]  # fmt: skip
        self._at_once = at_once
        self.passed = dict.fromkeys(keys, 0)
        self.statuses: set[int] = set()
        self.refused = dict.fromkeys(keys, 0)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    async def _run(self) -> None:
        await side_by_side(self._client, [each for each in self._requests for _ in range(self._at_once)], at_once=10**6)

    async def _client(self, of: tuple[int, int, bytes]) -> None:
        port, size, request = of
        while not self._is_over.is_set():
            reply = await ask(port, request)
            self.statuses.add(reply.status)
            self.passed[size] += reply.status == 200
            if reply.status != 200:
                self.refused[size] += 1
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("fault", FAULTS if IS_LONG else ("any",))
def test_money_spent_stays_within_the_bound_and_the_ledger_is_exact(
    replicas: Replicas, fault: str, number: int
) -> None:
    """F28, R9, R23, L."""
    chance = random.Random(f"{SEED}-{fault}-{number}")
    fault = chance.choice(FAULTS) if fault == "any" else fault
    print("ROUTEWRIGHT_SEED =", SEED)
    server = replicas.server
    keys = {size: KEYS[fault, number, size] for size in SIZES}
    away, back = replicas.said(AWAY), replicas.said(BACK)
    spending = Spending(replicas.gateways, keys, at_once=chance.choice([2, 6]))
    try:
        time.sleep(chance.uniform(0.05, 1.2))
        before = dict(spending.passed)
        if fault == "killed":
            server.kill()
            replicas.wait_for(AWAY, away)
            time.sleep(chance.uniform(0, 1))
            server.start()
        elif fault == "stopped":
            server.pause()
            replicas.wait_for(AWAY, away)
            time.sleep(chance.uniform(0, 1))
            server.resume()
        else:
            server.ask("FLUSHALL")
        replicas.wait_for(BACK, back)
        time.sleep(0.2)
    finally:
        spending.end()
    again = Spending(replicas.gateways, keys, at_once=2)
    try:
        eventually(lambda: all(spending.passed[size] + again.passed[size] >= size and again.refused[size]
                               for size in SIZES), what="every budget to be spent")  # fmt: skip
    finally:
        again.end()
    assert spending.statuses | again.statuses <= {200, 429}
    for size in SIZES:
        spent = spending.passed[size] + again.passed[size]
        print(f"{fault} {number}: budget {size}, spent before {before[size]}, in all {spent}")
        assert spent <= size + size * (GATEWAYS - 1) // GATEWAYS
        alias = f"{fault}-{number}-{size}"
        eventually(lambda alias=alias, spent=spent: replicas.in_the_ledger(alias)[0] == spent,
                   what="the ledger")  # fmt: skip
        assert replicas.in_the_ledger(alias) == (spent, spent * ANSWER_NUSD)
