"""Sentinels put a replica in the place of a master that was killed under load: 200 and 429, and one limit again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness.gateway import Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.valkey import Sentinels
from harness.wire import secret
from leasing.conftest import LATE, many, passed, wait_until_shared
from money.answers import uses_all

BEFORE, DURING, AFTER = (secret(f"failover-{when}") for when in ("before", "during", "after"))
HUNDRED = 100
MODELS = {"model": "counted", "max_tokens": 10}
AWAY, BACK = "is away", "over the Valkey again"


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    made = Sentinels()
    yield made
    made.close()


@pytest.fixture(scope="module")
def pair(upstream: Upstream, sentinels: Sentinels) -> Iterator[list[Gateway]]:
    config: dict[str, Any] = base_config(upstream)
    config["litellm_settings"] = {
        "cache_params": {"type": "redis", "service_name": sentinels.name, "sentinel_nodes": sentinels.nodes}
    }
    config["model_list"].append(deployment("counted", upstream, "counted"))
    config["keys"] += [
        {"key": key, "alias": f"failover-{n}", "rpm_limit": HUNDRED} for n, key in enumerate((BEFORE, DURING, AFTER))
    ]
    uses_all(upstream["counted"], gap_s=0)
    with running(config, environment=LATE) as one, running(config, environment=LATE) as other:
        wait_until_shared([one, other])
        yield [one, other]


def test_master_is_killed_under_load(pair: list[Gateway], sentinels: Sentinels) -> None:
    """F28: failed over."""
    assert passed(many(pair, BEFORE, 60, **MODELS)) == 60
    is_over = threading.Event()
    admitted: list[int] = []

    def load() -> None:
        while not is_over.is_set():
            admitted.append(passed(many(pair, DURING, 10, **MODELS)))  # nothing but 200 and 429
            time.sleep(0.02)

    calling = threading.Thread(target=load)
    calling.start()
    try:
        sentinels.servers[0].kill()
        for gateway in pair:
            eventually(lambda gateway=gateway: AWAY in gateway.output(), what=AWAY)
        for gateway in pair:
            eventually(lambda gateway=gateway: BACK in gateway.output(), within_s=30, what=BACK)
    finally:
        is_over.set()
        calling.join()
    assert 0 < sum(admitted) <= HUNDRED
    assert passed(many(pair, BEFORE, 100, **MODELS)) <= HUNDRED - 60, "what was used before is not forgotten"
    assert passed(many(pair, AFTER, 300, **MODELS)) == HUNDRED
    assert sentinels.servers[1].ask("ZCARD", "routewright:replicas") == 2
