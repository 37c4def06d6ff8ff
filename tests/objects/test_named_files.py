"""Files that requests to models name: whose they are, and where they lie, decides who answers."""

from __future__ import annotations

from typing import Any

import pytest

from harness.accounts import Accounts
from harness.admin import new_key
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway
from objects.asking import jsonl, line, start_batch, upload


def chat(file_id: str, model: str = "cheap") -> tuple[str, dict[str, Any]]:
    content = [{"type": "text", "text": "what is it?"}, {"type": "file", "file": {"file_id": file_id}}]
    return "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": content}]}


def response(file_id: str, model: str = "thinks") -> tuple[str, dict[str, Any]]:
    content = [{"type": "input_text", "text": "what is it?"}, {"type": "input_file", "file_id": file_id}]
    return "/v1/responses", {"model": model, "input": [{"role": "user", "content": content}]}


def picture(file_id: str) -> tuple[str, dict[str, Any]]:
    content = [{"type": "input_image", "file_id": file_id}]
    return "/v1/responses", {"model": "thinks", "input": [{"role": "user", "content": content}]}


def container(file_id: str) -> tuple[str, dict[str, Any]]:
    tool = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": [file_id]}}
    return "/v1/responses", {"model": "thinks", "input": "count the rows", "tools": [tool]}


def message(file_id: str) -> tuple[str, dict[str, Any]]:
    content = [{"type": "document", "source": {"type": "file", "file_id": file_id}}]
    return "/v1/messages", {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}


WAYS = {
    "chat": chat,
    "response": response,
    "translated": lambda file_id: response(file_id, "cheap"),
    "chat to responses": lambda file_id: chat(file_id, "thinks"),
    "picture": picture,
    "container": container,
}


@pytest.mark.parametrize("way", WAYS)
def test_own_file_goes_to_the_account_where_it_lies(owning: Gateway, accounts: Accounts, way: str) -> None:
    made = upload(owning, b"rows", purpose="user_data", model="cheap").json["id"]
    path, body = WAYS[way](made)
    reply = owning.request("POST", path, body)
    assert reply.status == 200, reply.body
    assert b"Hello from one" in reply.body
    assert made.encode() in accounts["one"].last.body


@pytest.mark.parametrize("way", [*WAYS, "message"])
def test_file_of_another_is_as_one_that_does_not_exist(owning: Gateway, accounts: Accounts, way: str) -> None:
    made = upload(owning, b"secret", purpose="user_data", model="cheap").json["id"]
    asked = len(accounts["one"].requests)
    stranger = new_key(owning)
    told = []
    for file_id in (made, "file-nobodys"):
        path, body = {**WAYS, "message": message}[way](file_id)
        reply = owning.request("POST", path, body, key=stranger)
        assert reply.status == 404, reply.body
        told.append(reply.error["message"].replace(file_id, "X"))
    assert told[0] == told[1]
    assert len(accounts["one"].requests) == asked
    path, body = chat(made)
    assert owning.request("POST", path, body, key=MASTER_KEY).status == 200


def test_of_several_deployments_the_one_with_the_file_answers(owning: Gateway, accounts: Accounts) -> None:
    made = upload(owning, b"rows", purpose="user_data", model="dear").json["id"]
    for model in ("both", "wide", "dear"):
        path, body = chat(made, model)
        for _ in range(3):
            reply = owning.request("POST", path, body)
            assert reply.text == "Hello from two", reply.body


def test_model_that_is_elsewhere_is_refused_by_name(owning: Gateway, accounts: Accounts) -> None:
    made = upload(owning, b"rows", purpose="user_data", model="dear").json["id"]
    other = upload(owning, b"rows", purpose="user_data", model="cheap").json["id"]
    for model in ("cheap", "chat", "auto"):
        path, body = chat(made, model)
        reply = owning.request("POST", path, body)
        assert reply.status == 400, reply.body
        assert f'file "{made}" lies in the account of "dear"' in reply.error["message"]
    path, body = chat(made, "both")
    body["messages"] += chat(other)[1]["messages"]
    reply = owning.request("POST", path, body)
    assert (reply.status, "several accounts" in reply.error["message"]) == (400, True)


def test_what_goes_before_or_comes_after_a_file_is_unchanged(owning: Gateway) -> None:
    """A name in the caller's own words is none; and what is no id is refused as such."""
    path, body = chat("x")
    body["messages"][0]["content"][1]["file"]["file_id"] = 7
    assert owning.request("POST", path, body).status == 400
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"file_id": {}}}}
    reply = owning.request("POST", "/v1/responses", {"model": "thinks", "input": "x", "tools": [tool]})
    assert reply.status == 200, reply.body


def test_lines_of_a_batch_name_no_file_of_another(owning: Gateway, accounts: Accounts) -> None:
    mine = upload(owning, b"rows", purpose="user_data", model="cheap").json["id"]
    theirs = upload(owning, b"rows", purpose="user_data", model="cheap", key=new_key(owning)).json["id"]
    elsewhere = upload(owning, b"rows", purpose="user_data", model="dear").json["id"]
    statuses = {}
    for name in (mine, theirs, elsewhere, "file-nobodys"):
        asked = line(1, messages=chat(name)[1]["messages"])
        reply = start_batch(owning, upload(owning, jsonl(asked)).json["id"], key=TEAM_KEY)
        statuses[name] = reply.status
    assert list(statuses.values()) == [200, 404, 400, 404]
    for body in (
        {"input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ):
        asked = {**line(1), "url": "/v1/responses", "body": {"model": "cheap", **body}}
        reply = upload(owning, jsonl(asked))
        assert (reply.status, "provider's account" in reply.error["message"]) == (400, True), reply.body
