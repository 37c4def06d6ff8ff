"""Files at their own paths: each is its owner's, lies where it is meant to, and goes by without lying here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.accounts import Accounts
from harness.admin import manage, new_key
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway
from harness.wire import assert_error, secret
from objects.asking import jsonl, line, upload
from objects.conftest import LISTED_KEY, POOR_KEY, SLOW_KEY


@pytest.fixture(autouse=True)
def well(accounts: Accounts) -> None:
    for name in ("one", "two", "spare"):
        accounts[name].failing = 0


@pytest.mark.parametrize("is_file_first", [False, True])
def test_file_is_uploaded_told_fetched_and_deleted(owning: Gateway, accounts: Accounts, is_file_first: bool) -> None:
    """Whether what it is for is said before it, as openai-python does, or after it, as openai's npm package may."""
    spare = accounts["spare"]
    reply = upload(owning, b"\x00\xff any bytes", purpose="user_data", is_file_first=is_file_first,
                   **{"expires_after[anchor]": "created_at", "tags": "t"})  # fmt: skip
    assert (reply.status, reply.json["purpose"], reply.json["filename"]) == (200, "user_data", "in.jsonl")
    assert reply.json["others"] == {"expires_after[anchor]": "created_at"}
    made = reply.json["id"]
    assert spare.contents[made] == b"\x00\xff any bytes"
    assert spare.last.headers["authorization"] == f"Bearer {secret('spare')}"
    record = owning.record_of(reply)
    assert (record["endpoint"], record["cost_nusd"], record["is_priced"]) == ("files", 0, True)

    assert owning.request("GET", f"/files/{made}").json == spare.files[made]
    content = owning.request("GET", f"/v1/files/{made}/content")
    assert (content.body, content.headers["content-type"]) == (b"\x00\xff any bytes", "application/octet-stream")
    assert content.headers["x-content-type-options"] == "nosniff"
    gone = owning.request("DELETE", f"/v1/files/{made}")
    assert gone.json == {"id": made, "object": "file", "deleted": True}
    assert_error(owning.request("GET", f"/v1/files/{made}"), 404, "not_found")
    assert made not in spare.files


def test_to_others_a_file_is_not_there(owning: Gateway, accounts: Accounts) -> None:
    made = upload(owning, b"mine", purpose="user_data").json["id"]
    asked = len(accounts["spare"].requests)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        assert_error(owning.request(method, f"/v1/files/{made}{path}", key=SLOW_KEY), 404, "not_found")
        assert owning.request(method, f"/v1/files/{made}{path}", key=None).status == 401
    assert len(accounts["spare"].requests) == asked  # its provider was not even asked
    assert made not in [each["id"] for each in owning.request("GET", "/v1/files", key=SLOW_KEY).json["data"]]
    assert owning.request("GET", f"/v1/files/{made}", key=MASTER_KEY).status == 200
    assert made in [each["id"] for each in owning.request("GET", "/v1/files", key=MASTER_KEY).json["data"]]


def test_team_shares_and_an_administrators_key_sees_all(owning: Gateway) -> None:
    team = manage(owning, "/team/new", {"team_alias": "writers"})["team_id"]
    ours, theirs, other = new_key(owning, team_id=team), new_key(owning, team_id=team), new_key(owning)
    user = manage(owning, "/user/new", {"user_role": "proxy_admin", "auto_create_key": False})["user_id"]
    admin = new_key(owning, user_id=user)
    made = upload(owning, b"shared", purpose="user_data", key=ours).json["id"]
    statuses = [owning.request("GET", f"/v1/files/{made}", key=key).status for key in (theirs, admin, other)]
    assert statuses == [200, 200, 404]
    assert owning.request("DELETE", f"/v1/files/{made}", key=theirs).status == 200


KEYS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "default": ({}, {"list", "upload", "see", "content", "delete"}),
    "llm_api": ({"key_type": "llm_api"}, {"list", "upload", "see", "content", "delete"}),
    "read_only": ({"key_type": "read_only"}, {"list", "see", "content"}),
    "management": ({"key_type": "management"}, set()),
    "of one route": ({"allowed_routes": ["/v1/files"]}, {"list", "upload"}),
    "of chat": ({"allowed_routes": ["/chat/completions"]}, set()),
}
ROLES = ("proxy_admin", "proxy_admin_viewer", "org_admin", "internal_user", "internal_user_viewer", "team", "customer")


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key(owning: Gateway, kind: str) -> None:
    """R3, T11: of what is its own, what a key of each kind may do."""
    fields, may = KEYS[kind]
    team = manage(owning, "/team/new", {"team_alias": f"of {kind}"})["team_id"]
    key, other = new_key(owning, team_id=team, **fields), new_key(owning, team_id=team)
    made = upload(owning, b"x", purpose="user_data", key=other).json["id"]
    outcomes = {
        "list": owning.request("GET", "/v1/files", key=key),
        "upload": upload(owning, b"x", purpose="user_data", key=key),
        "see": owning.request("GET", f"/v1/files/{made}", key=key),
        "content": owning.request("GET", f"/v1/files/{made}/content", key=key),
        "delete": owning.request("DELETE", f"/v1/files/{made}", key=key),
    }
    assert {name for name, reply in outcomes.items() if reply.status == 200} == may
    assert {reply.status for name, reply in outcomes.items() if name not in may} <= {403}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_reaches_its_own_alone_but_administrators(owning: Gateway, role: str) -> None:
    """R3, T11: what is somebody else's is a 404, for each of its methods."""
    if role == "team":
        key = new_key(owning, team_id=manage(owning, "/team/new", {"team_alias": "another"})["team_id"])
    else:
        user = manage(owning, "/user/new", {"user_role": role, "auto_create_key": False})["user_id"]
        key = new_key(owning, user_id=user)
    made = upload(owning, b"x", purpose="user_data").json["id"]
    own = upload(owning, b"x", purpose="user_data", key=key).json["id"]
    wanted = 200 if role == "proxy_admin" else 404
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert owning.request(method, f"/v1/files/{made}{path}", key=key).status == wanted
        assert owning.request(method, f"/v1/files/{own}{path}", key=key).status == 200


def test_body_that_comes_while_its_key_is_asked_for_is_not_lost(owning: Gateway, accounts: Accounts) -> None:
    """All of it is sent at once, with a key that no worker knows yet."""
    content = b"x" * 300_000
    reply = upload(owning, content, purpose="user_data", key=new_key(owning))
    assert reply.status == 200, reply.body
    assert accounts["spare"].contents[reply.json["id"]] == content


def test_list_has_pages_and_purposes(owning: Gateway) -> None:
    key = new_key(owning)
    made = [upload(owning, b"x", purpose=purpose, key=key).json["id"] for purpose in ("vision", "evals", "vision")]

    def listed(query: str = "") -> Any:
        return owning.request("GET", f"/v1/files{query}", key=key).json

    assert [each["id"] for each in listed()["data"]] == made[::-1]
    first = listed("?limit=2&order=asc")
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (made[:2], True)
    assert (first["first_id"], first["last_id"]) == (made[0], made[1])
    rest = listed(f"?limit=2&order=asc&after={made[1]}")
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == ([made[2]], False)
    assert [each["id"] for each in listed("?purpose=evals")["data"]] == [made[1]]
    assert listed("?model=dear")["data"] == []
    for query, param in (("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=nobody", "after")):
        reply = owning.request("GET", f"/v1/files?{query}", key=key)
        assert reply.status in (400, 404)
        assert reply.error["param"] == param


@pytest.mark.parametrize(
    "way",
    [{"model": "dear"}, {"target_model_names": "dear"}, {"query": "?model=dear"},
     {"headers": {"x-litellm-model": "dear"}}],
)  # fmt: skip
def test_model_says_in_whose_account_it_lies(owning: Gateway, accounts: Accounts, way: dict[str, Any]) -> None:
    reply = upload(owning, b"x", purpose="user_data", **way)
    assert reply.json["id"] in accounts["two"].files
    assert reply.json["others"] == {}
    assert owning.request("GET", f"/v1/files/{reply.json['id']}").status == 200
    assert owning.record_of(reply)["model"] == "dear"


@pytest.mark.parametrize(
    ("way", "status", "code"),
    [
        ({"model": "cheap", "key": LISTED_KEY}, 403, "model_access_denied"),
        ({"model": "nothing"}, 404, "model_not_found"),
        ({"model": "auto"}, 400, "invalid_value"),
        ({"model": "claude"}, 400, "unsupported_parameter"),
        ({"target_model_names": "cheap,nothing"}, 404, "model_not_found"),
        ({"target_model_names": "cheap,claude"}, 400, "unsupported_parameter"),
        ({"target_model_names": "cheap,dear,a,b,c,d"}, 400, "invalid_value"),
        ({"model": "cheap,dear"}, 400, "invalid_value"),
        ({"custom_llm_provider": "azure"}, 400, "invalid_value"),
        ({"api_base": "http://127.0.0.1:1"}, 400, "field_not_allowed"),
    ],
)  # fmt: skip
def test_place_that_is_none_is_refused(
    owning: Gateway, accounts: Accounts, way: dict[str, Any], status: int, code: str
) -> None:
    before = sum(len(accounts[name].requests) for name in ("one", "two", "spare"))
    reply = upload(owning, jsonl(line(1)), **{"purpose": "user_data", **way})
    assert reply.status == status, reply.body
    assert reply.error["code"] == code
    assert sum(len(accounts[name].requests) for name in ("one", "two", "spare")) == before


def test_key_of_a_spent_budget_may_still_fetch_but_limits_hold(owning: Gateway) -> None:
    """What costs nothing is not refused for money; requests are requests."""
    made = upload(owning, b"x", purpose="user_data", key=POOR_KEY).json["id"]
    assert owning.chat("chat", "x", key=POOR_KEY, max_tokens=100_000).status == 429
    assert owning.request("GET", f"/v1/files/{made}/content", key=POOR_KEY).status == 200
    made = upload(owning, b"x", purpose="user_data", key=SLOW_KEY).json["id"]
    assert [owning.request("GET", f"/v1/files/{made}", key=SLOW_KEY).status for _ in range(2)] == [200, 429]


def test_provider_that_fails_is_told_in_our_words(owning: Gateway, accounts: Accounts) -> None:
    made = upload(owning, b"x", purpose="user_data").json["id"]
    accounts["spare"].failing = 500
    reply = upload(owning, b"x", purpose="user_data")
    assert (reply.status, reply.error["code"]) == (502, "upstream_error")
    assert owning.request("DELETE", f"/v1/files/{made}").status == 502
    accounts["spare"].failing = 401
    assert owning.request("GET", f"/v1/files/{made}").error["code"] == "upstream_auth_error"
    accounts["spare"].failing = 0
    assert owning.request("GET", f"/v1/files/{made}").status == 200  # still known to be the key's


def test_provider_that_gives_an_id_twice_gives_nobody_anothers_file(owning: Gateway, accounts: Accounts) -> None:
    first = upload(owning, b"mine", purpose="user_data", key=new_key(owning)).json["id"]
    accounts["two"].next_id = first
    other = new_key(owning)
    reply = upload(owning, b"theirs", purpose="user_data", model="dear", key=other)
    assert (reply.status, reply.error["code"]) == (502, "upstream_bad_response")
    assert owning.request("GET", f"/v1/files/{first}", key=other).status == 404


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"purpose": ""}, None), ({"model": "dear", "is_file_first": True, "purpose": "vision"}, None)],
)
def test_order_of_fields_is_free(owning: Gateway, accounts: Accounts, fields: dict[str, Any], param: None) -> None:
    assert upload(owning, b"x", **fields).status == 200


def test_path_and_method_that_are_none(owning: Gateway) -> None:
    assert owning.request("PUT", "/v1/files").status == 405
    assert owning.request("GET", "/v1/files/a/b").status == 404
    assert owning.request("POST", "/v1/files", {"purpose": "x"}).status == 400
    assert owning.request("GET", "/v1/files/" + "x" * 300).status == 404


def test_lines_go_on_with_the_models_name_at_the_provider(owning: Gateway, accounts: Accounts) -> None:
    lines = [line(1), line(2, temperature=1, tags=["t"]), line(3, model="cheap")]
    for is_file_first in (False, True):
        reply = upload(owning, jsonl(*lines[:2]) + b"\r\n\n" + json.dumps(lines[2]).encode(),
                       is_file_first=is_file_first)  # fmt: skip
        assert reply.status == 200, reply.body
        sent = accounts["one"].lines_of(reply.json["id"])
        assert [each["body"]["model"] for each in sent] == ["gpt-4o-mini"] * 3
        assert [each["body"]["temperature"] for each in sent] == [0.5, 1, 0.5]  # the deployment's, unless asked
        assert [each["custom_id"] for each in sent] == ["r1", "r2", "r3"]
        assert "tags" not in sent[1]["body"]
        assert owning.record_of(reply)["model"] == "cheap"


@pytest.mark.parametrize(
    ("lines", "says", "code"),
    [
        (b"", "empty", None),
        (b"\n\n", "line", None),
        (b"no json\n", "line 1", "invalid_json"),
        (jsonl(line(1), line(2, model="dear")), 'line 2 of the file: model "dear" is served elsewhere', None),
        (jsonl(line(1), line(2, model="nothing")), "line 2", "model_not_found"),
        (jsonl(line(1, model="auto")), "chooses among chat models", None),
        (jsonl(line(1, model="claude")), "takes no files", "unsupported_parameter"),
        (jsonl(line(1), line(2, api_base="http://x")), "api_base", "field_not_allowed"),
        (jsonl(line(1), {**line(2), "url": "/v1/videos"}), "url must be one of", None),
        (jsonl(line(1), {**line(2), "url": "/v1/embeddings"}), "url is not that of the first", None),
        (jsonl({**line(1), "method": "GET"}), "method", None),
        (jsonl({**line(1), "custom_id": 3}), "custom_id", None),
        (jsonl({**line(1), "more": 3}), "more", None),
        (jsonl(line(1, stream=True)), "stream", None),
        (jsonl(line(1, messages=[])), "messages", None),
        (jsonl(line(1, max_tokens=0)), "max_tokens", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_file_first", [False, True])
def test_line_that_is_no_request_is_refused_by_its_number(
    owning: Gateway, accounts: Accounts, lines: bytes, says: str, code: str | None, is_file_first: bool
) -> None:
    held = len(accounts["one"].files)
    reply = upload(owning, lines, is_file_first=is_file_first)
    assert reply.status in (400, 404), reply.body
    assert says in reply.error["message"]
    assert code is None or reply.error["code"] == code
    assert len(accounts["one"].files) == held


def test_right_to_a_lines_model_is_asked_for(owning: Gateway) -> None:
    reply = upload(owning, jsonl(line(1)), key=LISTED_KEY)
    assert (reply.status, reply.error["code"]) == (403, "model_access_denied")
    reply = upload(owning, jsonl(line(1, model="dear")), key=LISTED_KEY)
    assert reply.status == 200
    reply = upload(owning, jsonl(line(1)), model="dear", key=TEAM_KEY)
    assert reply.status == 400
    assert 'names "cheap"' in reply.error["message"]
