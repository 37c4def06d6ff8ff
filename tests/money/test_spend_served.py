"""What was spent, asked at the socket of a gateway with stored keys, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.admin import manage, new_key
from harness.gateway import TEAM_KEY, Gateway, eventually, running
from harness.postgres import Postgres
from harness.upstream import Upstream
from harness.wire import assert_error
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config

TODAY = datetime.now(UTC).date()
YESTERDAY, TOMORROW = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
DAYS = f"start_date={YESTERDAY}&end_date={TOMORROW}"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def gateway(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Gateway]:
    if request.param == "sqlite":
        with running(priced_config(upstream), workers=2) as started:
            yield started
        return
    server: Postgres = request.getfixturevalue("postgres")
    address = server.new_database()
    with running(priced_config(upstream), workers=2, environment={"DATABASE_URL": address}) as started:
        yield started
    server.drop(address)


class Spenders:
    """Two teams and a user, each with a key, who have spent 3, 2 and 1 answers."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        uses_all(upstream["paid"], gap_s=0)
        manage(gateway, "/team/new", {"team_id": "red", "team_alias": "Red"})
        manage(gateway, "/team/new", {"team_id": "blue", "team_alias": "Blue"})
        manage(gateway, "/user/new", {"user_id": "ann", "auto_create_key": False})
        self.red = new_key(gateway, team_id="red", key_alias="red-key")
        self.blue = new_key(gateway, team_id="blue", key_alias="blue-key")
        self.ann = new_key(gateway, user_id="ann", key_alias="ann-key")
        self.ids: dict[str, list[str]] = {"red": [], "blue": [], "ann": []}
        for name, key, times in (("red", self.red, 3), ("blue", self.blue, 2), ("ann", self.ann, 1)):
            for number in range(times):
                tags = ["nightly", name] if number == 0 else [name]
                reply = gateway.chat("paid", key=key, max_tokens=MAX_TOKENS, user="customer-1", tags=tags)
                assert reply.status == 200, reply.body
                self.ids[name].append(reply.headers["x-request-id"])
        eventually(lambda: len(manage(gateway, "/spend/logs?end_user=customer-1")) == 6, what="six rows")


@pytest.fixture(scope="module")
def spenders(gateway: Gateway, upstream: Upstream) -> Spenders:
    return Spenders(gateway, upstream)


def usd(value: Any) -> Any:
    return pytest.approx(value * ANSWER_USD)


def test_single_calls_newest_first_with_litellm_s_fields(gateway: Gateway, spenders: Spenders) -> None:
    rows = manage(gateway, f"/spend/logs?api_key={spenders.red}")
    assert [row["request_id"] for row in rows] == spenders.ids["red"][::-1]
    row = rows[-1]
    assert row.keys() >= {
        "request_id", "call_type", "api_key", "spend", "total_tokens", "prompt_tokens", "completion_tokens",
        "startTime", "endTime", "completionStartTime", "model", "model_id", "model_group", "custom_llm_provider",
        "api_base", "user", "end_user", "team_id", "organization_id", "metadata", "cache_hit", "cache_key",
        "request_tags", "requester_ip_address", "session_id", "status", "messages", "response",
        "proxy_server_request",
    }  # fmt: skip
    assert (row["spend"], row["completion_tokens"], row["prompt_tokens"]) == (usd(1), MAX_TOKENS, 9)
    assert (row["model"], row["team_id"], row["end_user"], row["status"]) == ("paid", "red", "customer-1", "success")
    assert row["request_tags"] == ["nightly", "red"]
    assert row["metadata"]["price_version"].startswith("config ")
    assert (row["messages"], row["response"]) == (None, None)
    assert len(row["api_key"]) == 64
    assert manage(gateway, f"/spend/logs?request_id={row['request_id']}") == [row]
    assert manage(gateway, "/spend/logs?request_id=unknown") == []


def test_pages_follow_each_other(gateway: Gateway, spenders: Spenders) -> None:
    seen, before = [], ""
    while rows := manage(gateway, f"/spend/logs?end_user=customer-1&limit=2{before}"):
        seen += [row["request_id"] for row in rows]
        before = f"&before={rows[-1]['cursor']}"
    assert len(seen) == 6
    assert set(seen) == {each for ids in spenders.ids.values() for each in ids}


def test_both_dates_give_sums_by_the_day(gateway: Gateway, spenders: Spenders) -> None:
    days = manage(gateway, f"/spend/logs?{DAYS}&api_key={spenders.red}")
    assert sum(day["spend"] for day in days) == usd(3)
    assert days[0]["models"]["paid"] == usd(days[0]["spend"] / ANSWER_USD)
    rows = manage(gateway, f"/spend/logs?{DAYS}&api_key={spenders.red}&summarize=false")
    assert len(rows) == 3
    past = f"start_date={YESTERDAY - timedelta(days=9)}&end_date={YESTERDAY - timedelta(days=8)}"
    assert manage(gateway, f"/spend/logs?{past}") == []


def test_keys_users_teams_and_tags_by_what_they_have_spent(gateway: Gateway, spenders: Spenders) -> None:
    gateway.chat("gpt-4o", key=TEAM_KEY)
    eventually(lambda: manage(gateway, "/spend/logs?model=gpt-4o"), what="its row")
    keys = {row["key_alias"]: row for row in manage(gateway, "/spend/keys")}
    assert [keys[name]["spend"] for name in ("red-key", "blue-key", "ann-key")] == [usd(3), usd(2), usd(1)]
    assert keys["team"]["api_requests"] >= 1, "a key of the configuration has its spend too"
    assert manage(gateway, "/spend/users")[0]["user_id"] == "ann"
    assert [(row["team_id"], row["spend"]) for row in manage(gateway, "/spend/teams")] == [
        ("red", usd(3)), ("blue", usd(2)),
    ]  # fmt: skip
    tags = {row["individual_request_tag"]: row for row in manage(gateway, "/spend/tags")}
    assert (tags["nightly"]["log_count"], tags["nightly"]["total_spend"]) == (3, usd(3))
    assert [row["individual_request_tag"] for row in manage(gateway, "/spend/tags?tags=blue,red")] == ["red", "blue"]
    assert manage(gateway, f"/key/info?key={spenders.red}")["info"]["spend"] == usd(3)


@pytest.mark.parametrize(
    ("group", "plural", "name", "expected"),
    [
        ("team", "teams", "team_name", {"Red": 3, "Blue": 2}),
        ("customer", "customers", "customer", {"customer-1": 6}),
        ("internal_user", "users", "user", {"ann": 1}),
        ("model", "models", "model", {"paid": 6}),
    ],
)
def test_report_by_the_day(
    gateway: Gateway, spenders: Spenders, group: str, plural: str, name: str, expected: dict[str, int]
) -> None:
    found: dict[str, float] = {}
    for day in manage(gateway, f"/global/spend/report?{DAYS}&group_by={group}"):
        assert day["group_by_day"].endswith("T00:00:00+00:00")
        for owner in day[plural]:
            assert owner["total_spend"] == pytest.approx(sum(model["spend"] for model in owner["metadata"]))
            if owner[name] in expected:
                found[owner[name]] = found.get(owner[name], 0.0) + owner["total_spend"]
    assert found == {owner: usd(answers) for owner, answers in expected.items()}


@pytest.mark.parametrize(
    "query",
    ["start_date=tomorrow", "start_date=2026-13-01", "end_date=2026-01-01&start_date=2026-02-01", "limit=0", "limit=-1",
     "limit=x", "before=1", "before=a-b", "limit=99999999999999999999", "start_date=0001-01-01&end_date=9999-12-31"],
)  # fmt: skip
def test_wrong_question_is_refused_by_name(gateway: Gateway, query: str) -> None:
    answer = manage(gateway, f"/spend/logs?{query}", status=400)
    assert answer["error"]["param"] in ("start_date", "end_date", "limit", "before")


def test_report_needs_its_days_and_a_known_group(gateway: Gateway) -> None:
    assert manage(gateway, "/global/spend/report", status=400)["error"]["param"] == "start_date"
    assert manage(gateway, f"/global/spend/report?{DAYS}&group_by=x", status=400)["error"]["param"] == "group_by"


def test_everybody_sees_their_own_spend_only(gateway: Gateway, spenders: Spenders) -> None:
    """R3: by the rows, not by what was asked for."""
    own = manage(gateway, "/spend/logs", key=spenders.ann)
    assert {row["request_id"] for row in own} == set(spenders.ids["ann"])
    assert manage(gateway, f"/spend/logs?api_key={spenders.red}", key=spenders.ann) == []
    manage(gateway, "/spend/logs?user_id=bob", key=spenders.ann, status=403)
    assert [row["key_alias"] for row in manage(gateway, "/spend/keys", key=spenders.ann)] == ["ann-key"]
    assert {row["team_id"] for row in manage(gateway, "/spend/logs", key=spenders.red)} == {"red"}
    manage(gateway, f"/spend/logs?api_key={spenders.blue}", key=spenders.red, status=403)
    for path in ("/spend/users", "/spend/teams", "/spend/tags", f"/global/spend/report?{DAYS}"):
        manage(gateway, path, key=spenders.ann, status=403)
    assert_error(gateway.request("GET", "/spend/logs", key=None), 401, "invalid_api_key")


def test_budget_of_a_stored_team_holds_for_all_its_keys(gateway: Gateway, upstream: Upstream) -> None:
    """R10, issue of a budget raised: known everywhere within a second."""
    uses_all(upstream["paid"], gap_s=0)
    manage(gateway, "/team/new", {"team_id": "poor", "max_budget": 3 * ANSWER_USD})
    keys = [new_key(gateway, team_id="poor") for _ in range(3)]
    statuses = [gateway.chat("paid", key=key, max_tokens=MAX_TOKENS).status for key in keys * 2]
    assert statuses == [200, 200, 200, 429, 429, 429]
    manage(gateway, "/team/update", {"team_id": "poor", "max_budget": 4 * ANSWER_USD})
    statuses = [gateway.chat("paid", key=key, max_tokens=MAX_TOKENS).status for key in keys]
    assert statuses == [200, 429, 429]


def test_stored_end_user_has_its_budget_on_every_key_and_may_be_blocked(gateway: Gateway, upstream: Upstream) -> None:
    """R10; obeyed by every worker within a second."""
    uses_all(upstream["paid"], gap_s=0)

    def chat(user: str) -> int:
        return gateway.chat("paid", max_tokens=MAX_TOKENS, user=user).status

    manage(gateway, "/budget/new", {"budget_id": "tiny", "max_budget": 2 * ANSWER_USD, "budget_duration": "30d"})
    manage(gateway, "/customer/new", {"user_id": "cid", "budget_id": "tiny"})
    assert [chat("cid") for _ in range(4)] == [200, 200, 429, 429]
    assert chat("somebody else") == 200
    manage(gateway, "/customer/update", {"user_id": "cid", "max_budget": 3 * ANSWER_USD})
    assert [chat("cid") for _ in range(2)] == [200, 429]
    manage(gateway, "/customer/block", {"user_ids": ["cid"]})
    assert {chat("cid") for _ in range(8)} == {403}
    manage(gateway, "/customer/delete", {"user_ids": ["cid"]})
    assert {chat("cid") for _ in range(8)} == {200}


def test_cost_is_worked_out_by_the_prices_that_serve(gateway: Gateway) -> None:
    used = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 0}}
    asked = {"completion_response": {"model": "gpt-4o", "usage": used}}
    assert manage(gateway, "/spend/calculate", asked)["cost"] == pytest.approx(1000 * 2.5e-6 + 100 * 1e-5)
    messages = [{"role": "user", "content": "x" * 4000}]
    cost = manage(gateway, "/spend/calculate", {"model": "gpt-4o", "messages": messages})["cost"]
    assert cost == pytest.approx(1000 * 2.5e-6, rel=0.02)
    manage(gateway, "/spend/calculate", {"model": "nope", "messages": messages}, status=404)
    manage(gateway, "/spend/calculate", {"completion_response": {"model": "gpt-4o"}}, status=400)
    manage(gateway, "/spend/calculate", {"completion_response": 5}, status=400)


def test_tags_of_a_key_and_its_team_are_on_every_call(gateway: Gateway) -> None:
    team = manage(gateway, "/team/new", {"tags": ["of-team"]})["team_id"]
    key = new_key(gateway, team_id=team, tags=["of-key", "both"])
    reply = gateway.chat("gpt-4o-mini", key=key, tags=["of-call", "both"])
    row = eventually(lambda: manage(gateway, f"/spend/logs?request_id={reply.headers['x-request-id']}"))[0]
    assert row["request_tags"] == ["of-key", "both", "of-team", "of-call"]
    assert {each["individual_request_tag"] for each in manage(gateway, "/spend/tags?tags=of-team,of-key")} == {
        "of-team", "of-key",
    }  # fmt: skip


def test_days_in_litellm_s_shape_for_administrators_users_and_who_leads_a_team(
    gateway: Gateway, spenders: Spenders
) -> None:
    team = manage(gateway, f"/team/daily/activity?team_ids=red,blue&{DAYS}")
    (day,) = team["results"]
    assert day["date"] == datetime.now(UTC).date().isoformat()
    assert day["metrics"] == {
        "spend": usd(5), "prompt_tokens": 45, "completion_tokens": 5 * MAX_TOKENS, "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0, "total_tokens": 45 + 5 * MAX_TOKENS, "successful_requests": 5,
        "failed_requests": 0, "api_requests": 5,
    }  # fmt: skip
    breakdown = day["breakdown"]
    assert breakdown["models"]["paid"]["metrics"]["spend"] == usd(5)
    assert {name: each["metrics"]["api_requests"] for name, each in breakdown["entities"].items()} == {
        "red": 3, "blue": 2,
    }  # fmt: skip
    assert breakdown["entities"]["red"]["metadata"] == {"team_alias": "Red"}
    assert {each["metadata"]["key_alias"] for each in breakdown["api_keys"].values()} == {"red-key", "blue-key"}
    assert (team["metadata"]["total_spend"], team["metadata"]["has_more"]) == (usd(5), False)
    own = manage(gateway, f"/user/daily/activity?{DAYS}", key=spenders.ann)
    assert own["metadata"]["total_spend"] == usd(1)
    manage(gateway, f"/user/daily/activity?user_id=somebody&{DAYS}", key=spenders.ann, status=403)
    manage(gateway, f"/team/daily/activity?team_ids=red&{DAYS}", key=spenders.ann, status=403)
    assert manage(gateway, f"/team/daily/activity?{DAYS}", key=spenders.ann)["results"] == []
    assert manage(gateway, f"/user/daily/activity?{DAYS}&page=9")["results"] == []


def test_spend_and_activity_of_all(gateway: Gateway, spenders: Spenders) -> None:
    keys = {row["key_alias"]: row["total_spend"] for row in manage(gateway, f"/global/spend/keys?{DAYS}")}
    assert keys["red-key"] == usd(3)
    teams = manage(gateway, f"/global/spend/teams?{DAYS}")
    assert {row["team_id"]: row["total_spend"] for row in teams["total_spend_per_team"]}["Red"] == usd(3)
    models = {row["model"]: row["total_spend"] for row in manage(gateway, f"/global/spend/models?{DAYS}")}
    assert models["paid"] * 1.000001 >= 6 * ANSWER_USD
    (provider,) = [row for row in manage(gateway, f"/global/spend/provider?{DAYS}") if row["provider"] == "openai"]
    days = manage(gateway, f"/global/spend/logs?{DAYS}")
    assert manage(gateway, "/global/spend")["spend"] == pytest.approx(sum(day["spend"] for day in days))
    assert provider["spend"] == pytest.approx(sum(models.values()))
    activity = manage(gateway, f"/global/activity?{DAYS}")
    by_model = {row["model"]: row for row in manage(gateway, f"/global/activity/model?{DAYS}")}
    assert by_model["paid"]["sum_api_requests"] >= 6
    assert activity["sum_api_requests"] == sum(row["sum_api_requests"] for row in by_model.values())
    assert activity["daily_data"][-1]["total_tokens"] == activity["sum_total_tokens"]
    manage(gateway, "/global/spend", key=spenders.red, status=403)
