"""Budgets at the socket: exact with many calls at once, on one worker and on four, and over a restart."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import Any

import pytest

from harness.admin import manage, new_key, obeyed_everywhere
from harness.crowd import ask, side_by_side
from harness.gateway import MASTER_KEY, Gateway, eventually, running
from harness.postgres import Postgres
from harness.upstream import Deployment, Upstream
from harness.wire import Reply, assert_error, request_bytes, secret
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config, wait_for_the_ledger

FIVE_KEY, STREAM_KEY, USER_KEY, WINDOW_KEY = secret("five"), secret("stream"), secret("of-users"), secret("window")
BUDGET_USD = 5 * ANSWER_USD


def config_of(upstream: Upstream) -> dict[str, Any]:
    config = priced_config(
        upstream,
        litellm_settings={
            "max_end_user_budget": 2 * ANSWER_USD,
            "tag_budget_config": {"research": {"max_budget": 3 * ANSWER_USD, "budget_duration": "30d"}},
        },
    )
    config["keys"] += [
        {"key": FIVE_KEY, "alias": "five", "max_budget": BUDGET_USD},
        {"key": STREAM_KEY, "alias": "stream", "model_max_budget": {"paid": {"budget_limit": BUDGET_USD}}},
        {"key": USER_KEY, "alias": "of-users"},
        {"key": WINDOW_KEY, "alias": "window", "max_budget": ANSWER_USD, "budget_duration": "30d"},
    ]
    return config


@pytest.fixture(scope="module", params=[1, 4])
def gateway(request: pytest.FixtureRequest, upstream: Upstream) -> Any:
    with running(config_of(upstream), workers=request.param) as started:
        wait_for_the_ledger(started)
        yield started


def chat_body(**fields: Any) -> bytes:
    messages = [{"role": "user", "content": "hi"}]
    return json.dumps({"model": "paid", "messages": messages, "max_tokens": MAX_TOKENS, **fields}).encode()


def many(gateway: Gateway, key: str, times: int, **fields: Any) -> list[Reply]:
    request = request_bytes("POST", "/v1/chat/completions", key=key, body=chat_body(**fields))
    return asyncio.run(side_by_side(lambda _: ask(gateway.port, request), range(times)))


def statuses(replies: list[Reply]) -> dict[int, int]:
    return {status: sum(reply.status == status for reply in replies) for status in {reply.status for reply in replies}}


def ledger(gateway: Gateway, alias: str) -> tuple[int, int]:
    """Rows and nano-dollars of a key, from the database itself."""
    with sqlite3.connect(gateway.data_dir / "store.sqlite3") as database:
        return database.execute(
            "SELECT count(*), sum(cost_nusd) FROM spend WHERE key_alias = ? AND ended = 'complete'", (alias,)
        ).fetchone()


def test_64_calls_at_once_on_a_budget_for_five(gateway: Gateway, paid: Deployment) -> None:
    """R9: 5 pass, whichever worker they reach; the rest is told why and when."""
    uses_all(paid)
    replies = many(gateway, FIVE_KEY, 64)
    assert statuses(replies) == {200: 5, 429: 59}
    assert paid.hits == 5
    refused = many(gateway, FIVE_KEY, 4)
    for reply in refused:
        assert_error(reply, 429, "budget_exceeded")
        assert reply.json["error"]["type"] == "budget_exceeded"
        assert reply.headers["x-should-retry"] == "false"
        assert "retry-after" not in reply.headers
    eventually(lambda: ledger(gateway, "five") == (5, round(BUDGET_USD * 1e9)), what="five rows in the ledger")


def test_streams_are_held_to_the_budget_of_one_model(gateway: Gateway, paid: Deployment) -> None:
    """R9, R10, R11."""
    uses_all(paid)
    assert statuses(many(gateway, STREAM_KEY, 32, stream=True)) == {200: 5, 429: 27}
    eventually(lambda: ledger(gateway, "stream") == (5, round(BUDGET_USD * 1e9)), what="five rows in the ledger")
    assert gateway.chat("gpt-4o", key=STREAM_KEY).status == 200, "other models have no budget"


def test_end_users_and_tags_have_budgets_on_keys_that_have_none(gateway: Gateway, paid: Deployment) -> None:
    """R10."""
    uses_all(paid)
    assert statuses(many(gateway, USER_KEY, 16, user="ann")) == {200: 2, 429: 14}
    assert statuses(many(gateway, USER_KEY, 16, tags=["research"])) == {200: 3, 429: 13}
    assert statuses(many(gateway, USER_KEY, 3, user="bob")) == {200: 2, 429: 1}


def test_window_that_ends_says_when(gateway: Gateway, paid: Deployment) -> None:
    """COMPAT, section 6."""
    uses_all(paid)
    first = many(gateway, WINDOW_KEY, 1)[0]
    assert first.status == 200
    assert float(first.headers["x-litellm-key-max-budget"]) == ANSWER_USD
    assert float(first.headers["x-litellm-key-spend"]) == 0
    refused = many(gateway, WINDOW_KEY, 1)[0]
    assert_error(refused, 429, "budget_exceeded")
    assert 0 < int(refused.headers["retry-after"]) <= 31 * 86_400


def test_restart_forgets_no_spend(upstream: Upstream, paid: Deployment) -> None:
    """L: what a killed gateway had spent counts in the next, though its last rows had not reached the database."""
    uses_all(paid, gap_s=0)
    with running(config_of(upstream)) as gateway:
        wait_for_the_ledger(gateway)
        assert statuses(many(gateway, FIVE_KEY, 3)) == {200: 3}
        gateway.kill_everything()
        gateway.start_again()
        wait_for_the_ledger(gateway)
        assert statuses(many(gateway, FIVE_KEY, 16)) == {200: 2, 429: 14}
        eventually(lambda: ledger(gateway, "five") == (5, round(BUDGET_USD * 1e9)), what="five rows in the ledger")


def test_budget_of_an_organization_is_held_over_its_teams_and_a_restart(
    upstream: Upstream, paid: Deployment, postgres: Postgres
) -> None:
    """R9, R10: 64 at once by two teams and a key of its own; what was spent before counts, a change is obeyed."""
    uses_all(paid)
    environment = {"DATABASE_URL": postgres.new_database()}
    with running(config_of(upstream), environment=environment, workers=4) as gateway:
        wait_for_the_ledger(gateway)
        about = {"organization_id": "acme", "organization_alias": "Acme"}
        manage(gateway, "/organization/new", {**about, "max_budget": BUDGET_USD, "rpm_limit": 10_000})
        for team_id in ("blue", "red"):
            manage(gateway, "/team/new", {"team_id": team_id, "organization_id": "acme"})
        keys = [new_key(gateway, team_id="blue"), new_key(gateway, team_id="red", rpm_limit=10_000),
                new_key(gateway, organization_id="acme")]  # fmt: skip
        requests = [request_bytes("POST", "/v1/chat/completions", key=key, body=chat_body()) for key in keys]

        def at_once(times: int) -> list[Reply]:
            return asyncio.run(side_by_side(lambda place: ask(gateway.port, requests[place % 3]), range(times)))

        assert statuses(at_once(3)) == {200: 3}
        gateway.kill_everything()
        gateway.start_again()
        wait_for_the_ledger(gateway)
        replies = at_once(64)
        assert statuses(replies) == {200: 2, 429: 62}
        assert paid.hits == 5
        refused = next(reply for reply in replies if reply.status == 429)
        assert_error(refused, 429, "budget_exceeded")
        assert "this key's organization may spend" in refused.json["error"]["message"]
        patch = {"organization_id": "acme", "max_budget": 6 * ANSWER_USD}
        assert gateway.request("PATCH", "/organization/update", patch, key=MASTER_KEY).status == 200
        eventually(lambda: statuses(at_once(1)) == {200: 1}, what="a raised budget")
        assert statuses(at_once(16)) == {429: 16}
        spent = lambda: manage(gateway, "/organization/info?organization_id=acme")["spend"]  # noqa: E731
        eventually(lambda: spent() == pytest.approx(6 * ANSWER_USD), what="six rows in the ledger")
        manage(gateway, "/organization/update", {"organization_id": "acme", "blocked": True, "max_budget": None})
        for key in keys:
            obeyed_everywhere(gateway, key, 401)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_regenerated_key_has_its_past(
    database: str, upstream: Upstream, paid: Deployment, request: pytest.FixtureRequest
) -> None:
    """Its user may regenerate it, and has spent what was spent: in this window, for this model, and after a restart."""
    uses_all(paid, gap_s=0)
    environment = {}
    if database == "postgres":
        environment["DATABASE_URL"] = request.getfixturevalue("postgres").new_database()
    with running(config_of(upstream), environment=environment, workers=2) as gateway:
        wait_for_the_ledger(gateway)
        manage(gateway, "/user/new", {"user_id": "ann", "auto_create_key": False})
        window = {"max_budget": 2 * ANSWER_USD, "budget_duration": "30d", "rpm_limit": 20, "user_id": "ann"}
        key = new_key(gateway, **window)
        of_model = new_key(gateway, model_max_budget={"paid": {"budget_limit": ANSWER_USD, "time_period": "30d"}})
        assert statuses(many(gateway, of_model, 2)) == {200: 1, 429: 1}
        assert statuses(many(gateway, key, 1)) == {200: 1}
        replaced, key = key, manage(gateway, "/key/regenerate", {"key": key}, key=key)["key"]
        of_model = manage(gateway, f"/key/{of_model}/regenerate", {})["key"]
        assert gateway.chat("paid", key=replaced).status == 401
        reply = many(gateway, key, 1)[0]
        assert reply.status == 200
        assert float(reply.headers["x-litellm-key-spend"]) == ANSWER_USD
        assert int(reply.headers["x-ratelimit-remaining-requests"]) == 18, "its requests of this minute are counted on"
        assert statuses(many(gateway, key, 2)) == statuses(many(gateway, of_model, 2)) == {429: 2}
        key = manage(gateway, "/key/regenerate", {"key": key}, key=key)["key"]
        assert statuses(many(gateway, key, 2)) == {429: 2}
        told = lambda: manage(gateway, f"/key/info?key={key}")["info"]["spend"]  # noqa: E731
        eventually(lambda: round(told() * 1e9) == round(2 * ANSWER_USD * 1e9), what="the spend of the whole line")
        gateway.kill_everything()
        gateway.start_again()
        wait_for_the_ledger(gateway)
        assert statuses(many(gateway, key, 2)) == statuses(many(gateway, of_model, 2)) == {429: 2}


def test_replicas_behind_one_database_see_one_another_s_spend(
    upstream: Upstream, paid: Deployment, postgres: Postgres
) -> None:
    """R23: within some seconds, without anything else between them."""
    uses_all(paid, gap_s=0)
    environment = {"DATABASE_URL": postgres.new_database()}
    config = config_of(upstream)
    with running(config, environment=environment) as one, running(config, environment=environment) as other:
        for gateway in (one, other):
            wait_for_the_ledger(gateway)
        assert statuses(many(one, FIVE_KEY, 1)) == {200: 1}
        assert statuses(many(other, FIVE_KEY, 3)) == {200: 3}

        def seen() -> float:
            reply = many(one, FIVE_KEY, 1, max_tokens=1)[0]
            # to be refused is to have seen it: what this one has spent itself is far from the budget
            return 5 * ANSWER_USD if reply.status == 429 else float(reply.headers["x-litellm-key-spend"])

        eventually(lambda: seen() >= 4 * ANSWER_USD, within_s=30, what="what the other replica spent")
        assert statuses(many(one, FIVE_KEY, 2)) == {429: 2}
