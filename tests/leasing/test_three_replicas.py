"""Three replicas on one Valkey admit what the limit says, and keep a budget while it is killed or emptied."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from harness.gateway import Gateway, eventually, running
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import secret
from leasing.conftest import LATE, many, passed, wait_until_shared
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config, wait_for_the_ledger

MINUTE = secret("three-minute")
BUDGETS = [secret(f"three-budget-{number}") for number in range(4)]
THIRTY = 30
PAID = {"model": "paid", "max_tokens": MAX_TOKENS}


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    made = ValkeyServer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def three(upstream: Upstream, server: ValkeyServer) -> Iterator[list[Gateway]]:
    config: dict[str, Any] = priced_config(upstream, router_settings={"redis_url": server.url})
    config["keys"].append({"key": MINUTE, "alias": "minute", "rpm_limit": 50})
    config["keys"] += [
        {"key": key, "alias": f"budget-{number}", "max_budget": THIRTY * ANSWER_USD}
        for number, key in enumerate(BUDGETS)
    ]
    uses_all(upstream["paid"], gap_s=0)
    with ExitStack() as stack:
        gateways = [stack.enter_context(running(config, environment=LATE)) for _ in range(3)]
        for gateway in gateways:
            wait_for_the_ledger(gateway)
        wait_until_shared(gateways)
        yield gateways


def wait_for(gateways: list[Gateway], words: str, before: list[int]) -> None:
    for gateway, times in zip(gateways, before, strict=True):
        eventually(lambda g=gateway, n=times: g.output().count(words) > n, what=words)  # type: ignore[misc]


def said(gateways: list[Gateway], words: str) -> list[int]:
    return [gateway.output().count(words) for gateway in gateways]


def test_fifty_of_three_hundred_at_once(three: list[Gateway], upstream: Upstream) -> None:
    """R23."""
    before = upstream["paid"].hits
    assert passed(many(three, MINUTE, 300, **PAID)) == 50
    assert upstream["paid"].hits - before == 50


@pytest.mark.parametrize("fault", ["killed", "emptied"])
def test_budget_is_kept_while_the_valkey_is_gone_and_whole_afterwards(
    three: list[Gateway], server: ValkeyServer, fault: str
) -> None:
    """F28: each machine has one part of what was left, once; what it spent of that counts when all can talk again."""
    begun, fresh = BUDGETS[:2] if fault == "killed" else BUDGETS[2:]
    away, back = said(three, "is away"), said(three, "over the Valkey again")
    admitted = passed(many(three, begun, 6, **PAID))
    assert admitted == 6
    time.sleep(2.2)  # every machine has told what became of its calls, and heard what is left
    if fault == "killed":
        server.kill()
        wait_for(three, "is away", away)
    else:
        server.ask("FLUSHALL")
    meanwhile = passed(many(three, begun, 90, **PAID))
    admitted += meanwhile
    assert meanwhile > 0
    assert admitted <= THIRTY
    if fault == "killed":
        server.start()
    wait_for(three, "over the Valkey again", back)
    admitted += passed(many(three, begun, 90, **PAID))
    assert admitted == THIRTY, "what no share has used is one rest again"
    assert passed(many(three, fresh, 90, **PAID)) == THIRTY
