"""Two gateways on one Valkey admit exactly what the limits say, together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, running
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import assert_error, secret
from leasing.conftest import PATIENT, many, passed
from money.answers import uses_all

FIFTY, TOKENS, PARALLEL, BY_MODEL = secret("fifty"), secret("tokens"), secret("parallel"), secret("by-model")
MODELS = {"model": "counted", "max_tokens": 10}


@pytest.fixture(scope="module", params=[1, 4])
def pair(request: pytest.FixtureRequest, upstream: Upstream, valkey_server: ValkeyServer) -> Iterator[list[Gateway]]:
    config: dict[str, Any] = base_config(upstream, router_settings={"redis_url": valkey_server.url})
    config["litellm_settings"] = {"cache_params": {"type": "redis", "namespace": f"test-{request.param}"}}
    config["model_list"] += [
        deployment("counted", upstream, "counted"),
        deployment("seven", upstream, "seven", rpm=7),
    ]
    config["keys"] += [
        {"key": FIFTY, "alias": "fifty", "rpm_limit": 50},
        {"key": TOKENS, "alias": "tokens", "tpm_limit": 3000},
        {"key": PARALLEL, "alias": "parallel", "max_parallel_requests": 6},
        {"key": BY_MODEL, "alias": "by-model", "model_rpm_limit": {"counted": 9}},
    ]
    for name in ("counted", "seven"):
        uses_all(upstream[name], gap_s=0)
    options = {"workers": request.param, "environment": PATIENT}
    with running(config, **options) as one, running(config, **options) as other:
        yield [one, other]


def test_fifty_requests_a_minute_of_five_hundred_at_once(pair: list[Gateway], upstream: Upstream) -> None:
    """R23."""
    before = upstream["counted"].hits
    replies = many(pair, FIFTY, 500, **MODELS)
    assert (passed(replies), upstream["counted"].hits - before) == (50, 50)
    refused = next(reply for reply in replies if reply.status == 429)
    assert_error(refused, 429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert int(refused.headers["x-ratelimit-remaining"]) == 0
    assert passed(many(pair, FIFTY, 50, **MODELS)) == 0


def test_deployment_is_sent_no_more_than_its_limit(pair: list[Gateway], upstream: Upstream) -> None:
    """R23."""
    before = upstream["seven"].hits
    replies = many(pair, TEAM_KEY, 60, model="seven", max_tokens=10)
    assert (passed(replies), upstream["seven"].hits - before) == (7, 7)


def test_limit_of_a_model_holds_over_both(pair: list[Gateway]) -> None:
    assert passed(many(pair, BY_MODEL, 60, **MODELS)) == 9
    assert passed(many(pair, BY_MODEL, 4, model="gpt-4o")) == 4


def test_tokens_a_minute_hold_over_both(pair: list[Gateway]) -> None:
    assert passed(many(pair, TOKENS, 40, model="counted", max_tokens=480)) == 6, "489 tokens each"


def test_parallel_requests_hold_over_both_and_come_back(pair: list[Gateway], upstream: Upstream) -> None:
    """R13."""
    for _ in range(3):
        upstream["counted"].most_in_use = 0
        replies = many(pair, PARALLEL, 60, model="counted", max_tokens=10)
        assert 6 <= passed(replies) < 60
        assert upstream["counted"].most_in_use <= 6
