"""COMPAT, section 2: a list of models may name an access group; what is in one is looked up when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.admin import manage, new_key, obeyed_everywhere
from harness.gateway import Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.wire import secret

STATIC_KEY = secret("of-the-group")


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    config = base_config(upstream)
    config["model_list"] += [
        deployment("first-beta", upstream, "first-beta", model_info={"access_groups": ["beta"]}),
        deployment("beta-of/*", upstream, "beta-of", model="*", model_info={"access_groups": ["beta", "both"]}),
    ]
    config["keys"].append({"key": STATIC_KEY, "alias": "of-the-group", "models": ["beta"]})
    with running(config, workers=2) as started:
        yield started


def statuses(gateway: Gateway, key: str) -> list[int]:
    return [gateway.chat(model, key=key).status for model in ("first-beta", "beta-of/x", "gpt-4o")]


def test_key_of_the_file_and_stored_ones_may_use_what_is_in_their_groups(gateway: Gateway) -> None:
    assert "beta" not in gateway.output(), "a group's name is no model that is missing"
    assert statuses(gateway, STATIC_KEY) == [200, 200, 403]
    assert statuses(gateway, new_key(gateway, models=["beta"])) == [200, 200, 403]
    assert statuses(gateway, new_key(gateway, models=["both", "gpt-4o"])) == [403, 200, 200]
    assert statuses(gateway, new_key(gateway, models=["no-such-group"])) == [403, 403, 403]
    listed = gateway.request("GET", "/v1/models", key=STATIC_KEY).json["data"]
    assert [each["id"] for each in listed] == ["first-beta"]


def test_key_and_team_may_each_say_it_in_their_own_way(gateway: Gateway) -> None:
    team = manage(gateway, "/team/new", {"models": ["beta"]})["team_id"]
    assert statuses(gateway, new_key(gateway, team_id=team)) == [200, 200, 403]
    assert statuses(gateway, new_key(gateway, team_id=team, models=["first-beta", "gpt-4o"])) == [200, 403, 403]
    other = manage(gateway, "/team/new", {"models": ["gpt-4o", "first-beta"]})["team_id"]
    assert statuses(gateway, new_key(gateway, team_id=other, models=["beta"])) == [200, 403, 403]


def test_model_that_joins_a_group_is_there_for_its_keys_at_once(gateway: Gateway, upstream: Upstream) -> None:
    key = new_key(gateway, models=["beta"])
    assert gateway.chat("first-beta", key=key).status == 200
    entry = deployment("new-beta", upstream, "new-beta")
    made = manage(gateway, "/model/new", {**entry, "model_info": {"access_groups": ["beta"]}})
    obeyed_everywhere(gateway, key, 200, model="new-beta")
    assert gateway.chat("new-beta", key=STATIC_KEY).status == 200
    manage(gateway, "/model/update", {"model_info": {"id": made["model_id"], "access_groups": ["both"]}})
    eventually(lambda: {gateway.chat("new-beta", key=key).status for _ in range(8)} == {403}, what="it has left")
