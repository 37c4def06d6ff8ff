"""A budget is never overspent by two gateways together, with one ledger between them or with one each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.admin import manage, new_key
from harness.gateway import Gateway, eventually, running
from harness.postgres import Postgres
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import secret
from leasing.conftest import PATIENT, many, passed
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config, wait_for_the_ledger

FIVE, STREAMED, RESTARTED = secret("five"), secret("streamed-five"), secret("restarted-five")
PAID = {"model": "paid", "max_tokens": MAX_TOKENS}


@pytest.fixture(scope="module", params=["one ledger each", "one ledger for both"])
def pair(
    request: pytest.FixtureRequest, upstream: Upstream, valkey_server: ValkeyServer, postgres: Postgres
) -> Iterator[list[Gateway]]:
    is_one = request.param == "one ledger for both"
    config: dict[str, Any] = priced_config(upstream, router_settings={"redis_url": valkey_server.url})
    config["litellm_settings"] = {"cache_params": {"type": "redis", "namespace": f"money-{is_one}"}}
    config["keys"] += [
        {"key": FIVE, "alias": "five", "max_budget": 5 * ANSWER_USD},
        {"key": STREAMED, "alias": "streamed-five", "model_max_budget": {"paid": {"budget_limit": 5 * ANSWER_USD}}},
        {"key": RESTARTED, "alias": "restarted-five", "max_budget": 5 * ANSWER_USD, "budget_duration": "30d"},
    ]
    uses_all(upstream["paid"])
    environment = {**PATIENT, **({"DATABASE_URL": postgres.new_database()} if is_one else {})}
    with (
        running(config, workers=2, environment=environment) as one,
        running(config, workers=2, environment=environment) as other,
    ):
        for gateway in (one, other):
            wait_for_the_ledger(gateway)
        yield [one, other]


def test_64_calls_at_once_on_a_budget_for_five(pair: list[Gateway], upstream: Upstream) -> None:
    """R9, R23."""
    before = upstream["paid"].hits
    assert passed(many(pair, FIVE, 64, **PAID)) == 5
    assert upstream["paid"].hits - before == 5
    for gateway in pair:
        refused = many([gateway], FIVE, 2, **PAID)
        assert passed(refused) == 0
        assert refused[0].json["error"]["code"] == "budget_exceeded"


def test_streams_are_held_to_the_budget_of_one_model(pair: list[Gateway]) -> None:
    """R9, R10."""
    assert passed(many(pair, STREAMED, 32, stream=True, **PAID)) == 5


def test_a_replica_sees_at_once_what_the_other_has_spent_and_no_restart_forgets_it(pair: list[Gateway]) -> None:
    """R23, L."""
    one, other = pair
    assert passed(many([one], RESTARTED, 2, **PAID)) == 2

    def spend() -> float:
        reply = other.chat("paid", key=RESTARTED, max_tokens=1)
        assert reply.status == 200, reply
        return float(reply.headers["x-litellm-key-spend"])

    eventually(lambda: spend() >= 2 * ANSWER_USD, what="what the other replica spent")
    one.kill_everything()
    one.start_again()
    wait_for_the_ledger(one)
    assert passed(many(pair, RESTARTED, 32, **PAID)) == 2


@pytest.mark.parametrize("pair", ["one ledger for both"], indirect=True)
def test_key_blocked_on_one_is_refused_on_the_other_within_a_second(pair: list[Gateway]) -> None:
    """R26, F16."""
    one, other = pair
    key = new_key(one, models=["gpt-4o"])
    assert {each.chat(key=key).status for each in pair} == {200}
    manage(one, "/key/block", {"key": key})
    eventually(lambda: other.chat(key=key).status == 401, what="the key blocked on the other")
