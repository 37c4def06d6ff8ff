"""Settings changed by the API while serving: obeyed everywhere, kept, audited; by administrators, and only some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from harness.admin import manage, new_key, tried_everywhere
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.postgres import Postgres
from harness.upstream import Upstream
from harness.wire import assert_error


def config_of(upstream: Upstream) -> dict[str, Any]:
    config = base_config(upstream, ones=1)
    config["router_settings"]["num_retries"] = 0
    config["router_settings"]["disable_cooldowns"] = True
    config["litellm_settings"] = {"context_window_fallbacks": [{"gpt-4o-mini": ["gpt-4o"]}]}
    return config


@pytest.fixture(scope="module")
def live(upstream: Upstream) -> Iterator[Gateway]:
    with running(config_of(upstream), workers=2) as gateway:
        yield gateway


@pytest.fixture
def failing(upstream: Upstream) -> str:
    """A model whose upstream fails."""
    upstream["one-000"].answers(status=500)
    return "one-000"


def statuses(gateway: Gateway, model: str, times: int = 6) -> set[int]:
    return {reply.status for reply in tried_everywhere(gateway, TEAM_KEY, times, model=model)}


def delete(gateway: Gateway, path: str, status: int = 200) -> Any:
    reply = gateway.request("DELETE", path, key=MASTER_KEY)
    assert reply.status == status, reply.body
    return reply.json


def test_fallbacks_of_a_model_are_set_read_and_taken_away_on_every_worker(live: Gateway, failing: str) -> None:
    assert 200 not in statuses(live, failing)
    made = manage(live, "/fallback", {"model": failing, "fallback_models": ["gpt-4o"]})
    assert made["message"] == "Fallback configuration created successfully"
    eventually(lambda: statuses(live, failing) == {200}, what="every worker, though none had a store")
    again = manage(live, "/v1/fallback", {"model": failing, "fallback_models": ["gpt-4o-mini"]})
    assert again["message"] == "Fallback configuration updated successfully"
    assert manage(live, f"/fallback/{failing}")["fallback_models"] == ["gpt-4o-mini"]
    assert {reply.json["model"] for reply in tried_everywhere(live, TEAM_KEY, model=failing)} == {"gpt-4o-mini"}
    live.kill_everything()
    live.start_again()
    eventually(lambda: statuses(live, failing) == {200}, what="what was changed, after a restart")
    delete(live, f"/fallback/{failing}")
    assert 200 not in statuses(live, failing)
    manage(live, f"/fallback/{failing}", status=404)
    delete(live, f"/fallback/{failing}", status=404)


def test_fallbacks_that_can_t_be_are_refused(live: Gateway, failing: str) -> None:
    for body, status in (
        ({"model": "no-such", "fallback_models": ["gpt-4o"]}, 404),
        ({"model": failing, "fallback_models": ["no-such"]}, 400),
        ({"model": failing, "fallback_models": [failing]}, 400),
        ({"model": failing, "fallback_models": []}, 400),
        ({"model": failing}, 400),
        ({"model": failing, "fallback_models": ["gpt-4o"], "fallback_type": "other"}, 400),
    ):
        manage(live, "/fallback", body, status=status)
    assert manage(live, "/fallback/gpt-4o-mini?fallback_type=context_window")["fallback_models"] == ["gpt-4o"]
    refused = delete(live, "/fallback/gpt-4o-mini?fallback_type=context_window", status=400)
    assert "litellm_settings" in refused["error"]["message"]


def test_settings_are_changed_listed_and_given_back_to_the_file(live: Gateway) -> None:
    def value(name: str) -> tuple[Any, Any]:
        listed = {each["field_name"]: each for each in manage(live, "/config/list?config_type=router_settings")}
        return listed[name]["field_value"], listed[name]["stored_in_db"]

    assert value("num_retries") == (0, False)
    changed = manage(live, "/config/update", {"router_settings": {"num_retries": 3}, "model_list": []})
    assert changed == {"message": "Config updated successfully"}
    assert value("num_retries") == (3, True)
    body = {"field_name": "retry_after", "field_value": 2, "config_type": "router_settings"}
    told = manage(live, "/config/field/update", body)
    assert told["param_value"] == {**told["param_value"], "num_retries": 3, "retry_after": 2}
    about = manage(live, "/config/field/info?field_name=retry_after&config_type=router_settings")
    assert (about["field_value"], about["stored_in_db"]) == (2, True)
    for name in ("num_retries", "retry_after"):
        manage(live, "/config/field/delete", {"field_name": name, "config_type": "router_settings"})
    assert value("num_retries") == (0, False)
    lines = manage(live, "/audit?kind=config&size=500")["audit_logs"]
    actions = [(line["action"], line["object_id"], line["actor"]) for line in lines]
    for action in ("created", "deleted"):
        assert (action, "router_settings/retry_after", "master") in actions


def test_a_smaller_body_is_all_that_is_taken_from_then_on(live: Gateway) -> None:
    manage(live, "/config/field/update", {"field_name": "max_request_size_mb", "field_value": 0.01})
    long = "x" * 20_000
    assert {reply.status for reply in tried_everywhere(live, TEAM_KEY, prompt=long)} == {413}
    manage(live, "/config/field/delete", {"field_name": "max_request_size_mb"})
    assert {reply.status for reply in tried_everywhere(live, TEAM_KEY, prompt=long)} == {200}


def test_what_is_wrong_or_not_to_be_changed_changes_nothing(live: Gateway) -> None:
    before = manage(live, "/config/list?config_type=router_settings")
    for body, name in (
        ({"router_settings": {"retry_after": 5, "num_retries": "many"}}, "router_settings.num_retries"),
        ({"router_settings": {"retry_after": 5}, "general_settings": {"master_key": "sk-x"}}, "master_key"),
        ({"environment_variables": {"A": "b"}}, "environment_variables"),
        ({"router_settings": {"fallbacks": [{"gpt-4o": ["os.environ/TEST_MASTER_KEY"]}]}}, "router_settings.fallbacks"),
        ({"model_list": [{"model_name": "x"}]}, "model_list"),
    ):
        reply = live.request("POST", "/config/update", body, key=MASTER_KEY)
        assert_error(reply, 400)
        assert name in reply.json["error"]["message"]
    assert manage(live, "/config/list?config_type=router_settings") == before


def test_only_administrators_look_and_change(live: Gateway) -> None:
    for user_id, role in (("root", "proxy_admin"), ("viewer", "proxy_admin_viewer"), ("ann", "internal_user")):
        manage(live, "/user/new", {"user_id": user_id, "user_role": role, "auto_create_key": False})
    root = new_key(live, user_id="root")
    manage(live, "/config/list", key=root)
    manage(live, "/config/update", {"router_settings": {"retry_after": 1}}, key=root)
    manage(live, "/config/field/delete", {"field_name": "retry_after", "config_type": "router_settings"}, key=root)
    for key in (new_key(live, user_id="viewer"), new_key(live, user_id="ann"), new_key(live), TEAM_KEY):
        manage(live, "/config/list", key=key, status=403)
        manage(live, "/config/field/info?field_name=max_request_size_mb", key=key, status=403)
        manage(live, "/fallback/gpt-4o", key=key, status=403)
        manage(live, "/config/update", {"router_settings": {"retry_after": 1}}, key=key, status=403)
        manage(live, "/fallback", {"model": "gpt-4o", "fallback_models": ["gpt-4o-mini"]}, key=key, status=403)
    assert_error(live.request("GET", "/config/list", key=None), 401)


def test_other_replicas_obey_and_an_edited_file_keeps_what_was_changed(
    upstream: Upstream, postgres: Postgres, failing: str
) -> None:
    environment = {"DATABASE_URL": postgres.new_database()}
    with (
        running(config_of(upstream), environment=environment) as one,
        running(config_of(upstream), environment=environment) as other,
    ):
        manage(one, "/fallback", {"model": failing, "fallback_models": ["gpt-4o"]})
        eventually(lambda: statuses(other, failing, 1) == {200}, what="the change on another replica")
        config = yaml.safe_load(other.config_file.read_text())
        config["router_settings"]["retry_after"] = 1
        other.config_file.write_text(yaml.safe_dump(config))
        assert manage(other, "/config/reload", {})["changed"] == ["attempts"]
        assert statuses(other, failing, 1) == {200}
