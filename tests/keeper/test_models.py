"""Models added, changed and taken out while the gateway serves."""

from __future__ import annotations

from typing import Any

from harness.admin import manage, new_key, obeyed_everywhere
from harness.gateway import MASTER_KEY, SMALL_KEY, Gateway, deployment, eventually
from harness.upstream import Upstream
from harness.wire import assert_error, secret


def entry(name: str, upstream: Upstream, prefix: str) -> dict[str, Any]:
    made = deployment(name, upstream, prefix)
    return {"model_name": name, "litellm_params": made["litellm_params"]}


def test_model_is_served_by_every_worker_as_soon_as_it_is_added(stored: Gateway, upstream: Upstream) -> None:
    """R31, F16."""
    key = new_key(stored)
    assert_error(stored.chat(key=key, model="added"), 404, "model_not_found")
    made = manage(stored, "/model/new", entry("added", upstream, "added"))
    obeyed_everywhere(stored, key, 200, model="added")
    assert stored.chat(key=key, model="added").text == "Hello from added"
    assert "added" in {model["id"] for model in manage(stored, "/v1/models", key=key)["data"]}
    found = {one["model_info"]["id"]: one for one in manage(stored, "/model/info")["data"]}
    assert found[made["model_id"]]["model_info"]["db_model"] is True
    assert {one["model_info"]["db_model"] for name, one in found.items() if name != made["model_id"]} == {False}

    update = {"model_info": {"id": made["model_id"]}, "litellm_params": {"api_base": upstream["moved"].api_base}}
    manage(stored, "/model/update", update)
    eventually(lambda: stored.chat(key=key, model="added").text == "Hello from moved")
    manage(stored, "/model/delete", {"id": made["model_id"]})
    obeyed_everywhere(stored, key, 404, model="added")


def test_auto_chooses_among_stored_models_too(stored: Gateway, upstream: Upstream) -> None:
    """`auto` of this configuration names its candidates; a model of the same name adds a deployment to the group."""
    made = manage(stored, "/model/new", entry("gpt-4o-mini", upstream, "second-mini"))
    seen = set()
    for _ in range(40):
        seen.add(stored.chat(key=SMALL_KEY, model="gpt-4o-mini").text)
        if len(seen) == 2:
            break
    assert seen == {"Hello from gpt-4o-mini", "Hello from second-mini"}
    manage(stored, "/model/delete", {"id": made["model_id"]})


def test_credential_of_a_stored_model_is_used_and_never_shown(stored: Gateway, upstream: Upstream) -> None:
    """K, T17: the harness searches the database's files and the log as well."""
    made = manage(stored, "/model/new", entry("secretive", upstream, "secretive"))
    assert "api_key" not in made["litellm_params"]
    assert stored.chat(model="secretive").status == 200
    assert upstream["secretive"].requests[-1].headers["authorization"] == f"Bearer {secret('secretive')}"
    for path in ("/model/info", "/v2/model/info", "/audit", "/model_group/info?model_group=secretive"):
        assert "canary" not in str(manage(stored, path))
    manage(stored, "/model/delete", {"id": made["model_id"]})


def test_model_that_names_a_variable_of_ours_is_not_served(stored: Gateway, upstream: Upstream) -> None:
    """Who may add models may not read the gateway's environment through an address of their own."""
    wanted = entry("thief", upstream, "thief")
    wanted["litellm_params"]["api_key"] = "os.environ/TEST_MASTER_KEY"
    reply = stored.request("POST", "/model/new", wanted, key=MASTER_KEY)
    assert_error(reply, 400, "invalid_value", param="litellm_params")
    assert "TEST_MASTER_KEY" in reply.error["message"]
    assert_error(stored.chat(model="thief"), 404, "model_not_found")


def test_keys_of_a_user_s_or_team_s_models(stored: Gateway) -> None:
    manage(stored, "/team/new", {"team_id": "small-models", "models": ["gpt-4o-mini"]})
    manage(stored, "/user/new", {"user_id": "small", "models": ["gpt-4o-mini"], "auto_create_key": False})
    of_team, of_user = new_key(stored, team_id="small-models"), new_key(stored, user_id="small")
    all_of_team = new_key(stored, team_id="small-models", models=["all-team-models"])
    for key in (of_team, of_user, all_of_team):
        assert stored.chat(key=key, model="gpt-4o-mini").status == 200
        assert_error(stored.chat(key=key, model="gpt-4o"), 403, "model_access_denied")
    manage(stored, "/team/model/add", {"team_id": "small-models", "models": ["gpt-4o"]})
    obeyed_everywhere(stored, of_team, 200, model="gpt-4o")
    manage(stored, "/user/update", {"user_id": "small", "models": ["no-default-models"]})
    obeyed_everywhere(stored, of_user, 403, model="gpt-4o-mini")
    manage(stored, "/team/block", {"team_id": "small-models"})
    obeyed_everywhere(stored, all_of_team, 401, model="gpt-4o-mini")
    manage(stored, "/team/delete", {"team_ids": ["small-models"]})
    manage(stored, f"/key/info?key={of_team}", status=404)


def test_limits_of_stored_keys_hold_over_all_workers(stored: Gateway) -> None:
    key = new_key(stored, rpm_limit=5)
    statuses = [stored.chat(key=key).status for _ in range(12)]
    assert statuses.count(200) == 5
    assert set(statuses) == {200, 429}
    manage(stored, "/key/update", {"key": key, "rpm_limit": 8})
    statuses = [stored.chat(key=key).status for _ in range(6)]
    assert statuses.count(200) == 3


def test_master_key_alone_reads_addresses(stored: Gateway) -> None:
    as_master = manage(stored, "/model/info")["data"][0]["litellm_params"]
    as_user = manage(stored, "/model/info", key=SMALL_KEY)["data"][0]["litellm_params"]
    assert "api_base" in as_master
    assert "api_base" not in as_user
    assert manage(stored, "/model_group/info?model_group=gpt-4o", key=MASTER_KEY)["data"][0]["providers"] == ["openai"]
