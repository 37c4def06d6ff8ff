"""A deployment is never sent more than its own limits; what it can't take goes to another, or is told when to come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from harness.crowd import ask, side_by_side
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, running
from harness.upstream import Upstream
from harness.wire import Reply, assert_error, request_bytes
from money.answers import uses_all

NAMES = ("alone", "first", "second", "narrow", "heavy", "spare")


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    config = base_config(upstream, router_settings={"fallbacks": [{"narrow": ["spare"]}]})
    config["model_list"] += [
        deployment("alone", upstream, "alone", rpm=7),
        deployment("pair", upstream, "first", rpm=3, order=1),
        deployment("pair", upstream, "second", rpm=4, order=2),
        deployment("narrow", upstream, "narrow", max_parallel_requests=2),
        deployment("heavy", upstream, "heavy", tpm=1000),
        deployment("spare", upstream, "spare"),
    ]
    for name in NAMES:
        upstream[name].forget()
        uses_all(upstream[name])
    with running(config, workers=4) as started:
        yield started


def many(gateway: Gateway, model: str, times: int, max_tokens: int = 10) -> list[Reply]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": max_tokens}
    request = request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=json.dumps(body).encode())
    return asyncio.run(side_by_side(lambda _: ask(gateway.port, request), range(times)))


def passed(replies: list[Reply]) -> int:
    return sum(reply.status == 200 for reply in replies)


def test_requests_a_minute_hold_over_all_workers(gateway: Gateway, upstream: Upstream) -> None:
    """R23."""
    replies = many(gateway, "alone", 40)
    assert (passed(replies), upstream["alone"].hits) == (7, 7)
    refused = next(reply for reply in replies if reply.status == 429)
    assert_error(refused, 429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["rate_limit_type"] == "requests"


def test_next_deployment_takes_what_the_first_may_not(gateway: Gateway, upstream: Upstream) -> None:
    replies = many(gateway, "pair", 30)
    assert (passed(replies), upstream["first"].hits, upstream["second"].hits) == (7, 3, 4)


def test_parallel_requests_beyond_the_limit_go_to_the_fallback(gateway: Gateway, upstream: Upstream) -> None:
    """R13: and every place is free again afterwards."""
    for _ in range(2):
        before = upstream["narrow"].hits
        assert passed(many(gateway, "narrow", 12)) == 12
        assert 2 <= upstream["narrow"].hits - before < 12
    assert upstream["spare"].hits > 0


def test_tokens_a_minute_are_reserved_and_corrected(gateway: Gateway, upstream: Upstream) -> None:
    assert passed(many(gateway, "heavy", 10, max_tokens=400)) == 2
