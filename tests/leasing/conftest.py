"""Two gateways, as on two machines: each with its own data folder, its own workers, and one Valkey between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import pytest

from admin.test_metrics_served import value
from harness.crowd import ask, side_by_side
from harness.gateway import Gateway, eventually
from harness.valkey import ValkeyServer
from harness.wire import Reply, request_bytes

PATIENT = {"ROUTEWRIGHT_VALKEY_TIMEOUT_S": "5"}
"""Counting, on a machine that does other things too: a Valkey that is slow to be scheduled is not away."""
LATE_S = 2.0
"""Where it is to be away for a while: long beside what a busy machine takes, since whoever is away alone for a moment
has its share beside the others' whole, as docs/limits.md says."""
LATE = {"ROUTEWRIGHT_VALKEY_TIMEOUT_S": str(LATE_S)}


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    yield server
    server.close()


def wait_until_shared(gateways: Sequence[Gateway], workers: Sequence[int] | None = None) -> None:
    """Every worker of each gateway leases, and knows how many machines there are."""
    for place, gateway in enumerate(gateways):
        wanted = 1 if workers is None else workers[place]
        eventually(lambda g=gateway, n=wanted: value(g, "routewright_valkey_connected") == n, what="leases from all")
        eventually(
            lambda g=gateway: value(g, "routewright_valkey_machines") == len(gateways), what="all machines are known"
        )


def body_of(model: str, **fields: Any) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}).encode()


def many(gateways: Sequence[Gateway], key: str, times: int, *, at_once: int = 500, **fields: Any) -> list[Reply]:
    """So many calls side by side, taking the gateways in turn."""
    request = request_bytes("POST", "/v1/chat/completions", key=key, body=body_of(**fields))
    ports = [port for port, _ in zip(cycle([each.port for each in gateways]), range(times), strict=False)]
    return asyncio.run(side_by_side(lambda port: ask(port, request), ports, at_once=at_once))


def passed(replies: list[Reply]) -> int:
    assert {reply.status for reply in replies} <= {200, 429}, {reply.status for reply in replies}
    return sum(reply.status == 200 for reply in replies)
