"""A key from its making to its end, at the socket, over two workers and on both databases."""

from __future__ import annotations

import hashlib
import time

import psutil
import pytest

from harness.admin import manage, new_key, obeyed_everywhere, tried_everywhere
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, eventually
from harness.wire import assert_error, request_bytes

REQUEST_FIELDS = {
    "key_alias", "duration", "models", "aliases", "spend", "max_budget", "soft_budget", "budget_duration", "budget_id",
    "max_parallel_requests", "rpm_limit", "tpm_limit", "model_max_budget", "model_rpm_limit", "model_tpm_limit",
    "rpm_limit_type", "tpm_limit_type", "user_id", "team_id", "organization_id", "metadata", "tags", "permissions",
    "config", "guardrails", "policies", "prompts", "allowed_routes", "allowed_cache_controls",
    "allowed_passthrough_routes", "object_permission", "enforced_params", "blocked", "key_type", "auto_rotate",
    "rotation_interval", "send_invite_email", "router_settings",
}  # fmt: skip
"""COMPAT, section 3: POST /key/generate."""
ADDED = {"key", "token", "token_id", "key_name", "expires", "litellm_budget_table", "created_at", "created_by",
         "updated_at", "updated_by"}  # fmt: skip


def test_key_from_its_making_to_its_end(stored: Gateway) -> None:
    key = new_key(stored, models=["gpt-4o"])
    assert {reply.status for reply in tried_everywhere(stored, key)} == {200}
    assert_error(stored.chat(key=key, model="gpt-4o-mini"), 403, "model_access_denied")
    own = manage(stored, "/key/info", key=key)
    assert own["info"]["models"] == ["gpt-4o"]
    assert manage(stored, f"/key/info?key={own['key']}") == own

    manage(stored, "/key/block", {"key": key})
    obeyed_everywhere(stored, key, 401)
    assert_error(stored.chat(key=key), 401, "invalid_api_key")
    manage(stored, "/key/unblock", {"key": key})
    obeyed_everywhere(stored, key, 200)

    manage(stored, "/key/update", {"key": key, "models": ["gpt-4o-mini"]})
    obeyed_everywhere(stored, key, 403)
    obeyed_everywhere(stored, key, 200, model="gpt-4o-mini")

    assert manage(stored, "/key/delete", {"keys": [key]})["deleted_keys"] == [own["key"]]
    obeyed_everywhere(stored, key, 401, model="gpt-4o-mini")
    manage(stored, f"/key/info?key={own['key']}", status=404)


def test_answer_has_litellm_s_fields_and_unset_ones_are_null(stored: Gateway) -> None:
    made = manage(stored, "/key/generate", {})
    assert set(made) >= REQUEST_FIELDS | ADDED
    for name in ("key_alias", "duration", "max_budget", "rpm_limit", "user_id", "team_id", "expires", "budget_id"):
        assert made[name] is None, name
    assert (made["models"], made["aliases"], made["metadata"], made["config"]) == ([], {}, {}, {})
    assert made["token"] == made["token_id"] == hashlib.sha256(made["key"].encode()).hexdigest()
    assert made["key_name"] == f"sk-...{made['key'][-4:]}"
    about = manage(stored, f"/key/info?key={made['token']}")["info"]
    assert {
        "key_name", "key_alias", "spend", "expires", "models", "aliases", "config", "user_id", "team_id",
        "max_parallel_requests", "metadata", "tpm_limit", "rpm_limit", "max_budget", "budget_duration",
        "budget_reset_at", "model_spend", "model_max_budget", "blocked", "created_at",
    } <= set(about)  # fmt: skip


def test_every_field_comes_back_as_it_was_written(stored: Gateway) -> None:
    manage(stored, "/organization/new", {"organization_id": "org-1", "organization_alias": "one"})
    wanted = {
        "key_alias": "all-of-it", "models": ["gpt-4o", "openai/*"], "aliases": {"mine": "gpt-4o"}, "spend": 1.5,
        "max_budget": 10.25, "soft_budget": 8.0, "budget_duration": "30d", "max_parallel_requests": 4,
        "rpm_limit": 100, "tpm_limit": 100000, "model_rpm_limit": {"gpt-4o": 5}, "model_tpm_limit": {"gpt-4o": 500},
        "metadata": {"cost centre": "4711", "nested": {"a": [1, 2.5, None]}}, "tags": ["prod"],
        "permissions": {"x": True}, "config": {"y": 1}, "guardrails": ["g"], "key_type": "llm_api",
        "auto_rotate": True, "rotation_interval": "30d", "organization_id": "org-1",
    }  # fmt: skip
    made = manage(stored, "/key/generate", wanted)
    read = manage(stored, f"/key/info?key={made['token']}")["info"]
    for name, value in wanted.items():
        assert made[name] == value, name
        assert read[name] == value, name
    manage(stored, "/key/delete", {"key_aliases": ["all-of-it"]})


def test_key_is_shown_once_and_kept_as_its_hash_alone(stored: Gateway) -> None:
    """T1, R27: nothing that is asked, logged or on disk repeats it."""
    key = new_key(stored, key_alias="shown-once")
    stored.chat(key=key)
    for path in ("/key/list?return_full_object=true&size=100", f"/key/info?key={key}", "/key/aliases", "/audit"):
        assert key not in str(manage(stored, path))
    assert key not in stored.output()
    for file in stored.data_dir.rglob("*"):
        if file.is_file():
            assert key.encode() not in file.read_bytes(), file
    manage(stored, "/key/delete", {"keys": [key]})


def test_regenerated_key_takes_over_and_the_old_one_is_void(stored: Gateway) -> None:
    old = new_key(stored, key_alias="rotated", models=["gpt-4o"], metadata={"a": 1})
    assert stored.chat(key=old).status == 200
    made = manage(stored, f"/key/{old}/regenerate", {})
    assert (made["key_alias"], made["models"], made["metadata"]) == ("rotated", ["gpt-4o"], {"a": 1})
    obeyed_everywhere(stored, old, 401)
    obeyed_everywhere(stored, made["key"], 200)


def test_key_expires(stored: Gateway) -> None:
    key = new_key(stored, duration="1s")
    assert stored.chat(key=key).status == 200
    eventually(lambda: stored.chat(key=key).status == 401)
    obeyed_everywhere(stored, key, 401)
    assert_error(stored.chat(key=key), 401, "expired_api_key")


def test_alias_is_unique_and_lists_go_by_pages(stored: Gateway) -> None:
    manage(stored, "/organization/new", {"organization_id": "pages", "organization_alias": "pages"})
    for number in range(5):
        new_key(stored, key_alias=f"page-{number}", team_id=None, organization_id="pages")
    assert_error(stored.request("POST", "/key/generate", {"key_alias": "page-0"}, key=MASTER_KEY), 409, "conflict")
    first = manage(stored, "/key/list?organization_id=pages&size=2&sort_by=key_alias&sort_order=asc")
    assert (first["total_count"], first["current_page"], first["total_pages"]) == (5, 1, 3)
    last = manage(stored, "/key/list?organization_id=pages&size=2&page=3&sort_by=key_alias&sort_order=asc"
                  "&return_full_object=true")  # fmt: skip
    assert [entry["key_alias"] for entry in last["keys"]] == ["page-4"]
    assert manage(stored, "/key/aliases?search=page-3")["aliases"] == ["page-3"]


def test_own_names_for_models(stored: Gateway) -> None:
    key = new_key(stored, aliases={"mine": "gpt-4o"}, models=["gpt-4o"])
    assert stored.chat(key=key, model="mine").text.startswith("Hello from gpt-4o")
    assert_error(stored.chat(key=TEAM_KEY, model="mine"), 404, "model_not_found")


def test_key_types_and_routes(stored: Gateway) -> None:
    llm, management = new_key(stored, key_type="llm_api"), new_key(stored, key_type="management")
    one_route = new_key(stored, allowed_routes=["/v1/embeddings", "/embeddings"])
    assert stored.chat(key=llm).status == 200
    assert_error(stored.request("GET", "/key/info", key=llm), 403, "permission_denied")
    assert_error(stored.chat(key=management), 403, "permission_denied")
    assert stored.request("GET", "/key/info", key=management).status == 200
    assert_error(stored.chat(key=one_route), 403, "permission_denied")
    body = {"model": "embed", "input": "x"}
    assert stored.request("POST", "/v1/embeddings", body, key=one_route).status == 200


def test_workers_load_neither_sqlalchemy_nor_a_driver(stored: Gateway) -> None:
    """The price of a database is paid by one process beside them."""
    new_key(stored)
    keepers = [process for process in stored.processes() if "routewright.keeper" in process.cmdline()]
    assert len(keepers) == 1
    for process in stored.processes():
        loaded = {mapped.path for mapped in process.memory_maps()}
        has_database = any("/sqlalchemy/" in path or "psycopg" in path for path in loaded)
        assert has_database == (process in keepers), process.cmdline()


def test_killed_store_process_is_replaced_and_known_keys_go_on(stored: Gateway) -> None:
    warm, cold = new_key(stored), new_key(stored)
    assert {reply.status for reply in tried_everywhere(stored, warm)} == {200}
    keeper = next(process for process in stored.processes() if "routewright.keeper" in process.cmdline())
    keeper.kill()
    assert {reply.status for reply in tried_everywhere(stored, warm)} == {200}
    seen: list[int] = []

    def knows_cold() -> bool:
        seen.append(stored.chat(key=cold, timeout_s=30).status)
        return seen[-1] == 200

    eventually(knows_cold, within_s=30)
    assert set(seen) <= {200, 503}, "a key that can't be looked up is not taken for a wrong one"
    manage(stored, "/key/block", {"key": warm})
    obeyed_everywhere(stored, warm, 401)
    assert psutil.pid_exists(keeper.pid) is False or keeper.status() == psutil.STATUS_ZOMBIE


# --- a key that has to be asked for, at the front --------------------------------------------------------------------

BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}'


@pytest.mark.parametrize("cut", [1, 60, 150, 200, 230, 260])
def test_cold_key_and_a_request_cut_anywhere(stored: Gateway, cut: int) -> None:
    key = new_key(stored)
    data = request_bytes("POST", "/v1/chat/completions", key=key, body=BODY)
    with stored.connect() as client:
        client.send(data[:cut])
        time.sleep(0.02)
        client.send(data[cut:])
        assert client.reply("POST").status == 200


def test_requests_behind_a_cold_key_wait_their_turn(stored: Gateway) -> None:
    """G16."""
    key = new_key(stored)
    one = request_bytes("POST", "/v1/chat/completions", key=key, body=BODY)
    other = request_bytes("GET", "/v1/models", key=TEAM_KEY)
    unknown = request_bytes("GET", "/v1/models", key="sk-nobody-has-this-key")
    with stored.connect() as client:
        client.send(one + other + unknown + other)
        assert [client.reply(method).status for method in ("POST", "GET", "GET", "GET")] == [200, 200, 401, 200]


def test_no_body_is_read_for_a_key_that_nobody_has(stored: Gateway) -> None:
    """RELIABILITY, 1b: the key comes before the body, also where it has to be asked for."""
    head = request_bytes("POST", "/v1/chat/completions", key="sk-nobody-has-this-one",
                         headers={"Content-Length": "5000000", "Expect": "100-continue",
                                  "Content-Type": "application/json"})  # fmt: skip
    with stored.connect() as client:
        client.send(head)
        reply = client.reply("POST")
    assert_error(reply, 401, "invalid_api_key")


def test_client_that_leaves_while_its_key_is_asked_for(stored: Gateway) -> None:
    for number in range(20):
        with stored.connect() as client:
            client.send(request_bytes("GET", "/v1/models", key=f"sk-gone-before-the-answer-{number}"))
    assert stored.chat().status == 200
