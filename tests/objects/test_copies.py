"""One upload for several models: the file lies in the account of each, and one id stands for all."""

from __future__ import annotations

import random

import pytest

from harness.accounts import Accounts
from harness.admin import new_key
from harness.dialect import usage
from harness.gateway import Gateway, eventually
from objects.asking import jsonl, line, start_batch, upload
from objects.conftest import GUARDED_KEY
from objects.test_named_files import chat

BOTH = {"target_model_names": "cheap, dear"}


@pytest.mark.parametrize("is_file_first", [False, True])
@pytest.mark.parametrize("way", ["form", "query"])
def test_file_goes_to_each_and_is_deleted_everywhere(
    owning: Gateway, accounts: Accounts, way: str, is_file_first: bool
) -> None:
    one, two = accounts["one"], accounts["two"]
    content = random.Random(1).randbytes(700_000)  # more than lies in memory
    fields = {"query": "?target_model_names=cheap,dear"} if way == "query" else BOTH
    before = set(two.contents)
    reply = upload(owning, content, purpose="user_data", is_file_first=is_file_first, **fields)
    assert reply.status == 200, reply.body
    made = reply.json["id"]
    (copy,) = set(two.contents) - before
    assert (one.contents[made], two.contents[copy]) == (content, content)
    listed = [each["id"] for each in owning.request("GET", "/v1/files?limit=5").json["data"]]
    assert (made in listed, copy in listed) == (True, False)
    assert owning.request("GET", f"/v1/files/{copy}").status == 200
    assert owning.request("GET", f"/v1/files/{copy}", key=new_key(owning)).status == 404
    assert owning.request("DELETE", f"/v1/files/{made}").status == 200
    eventually(lambda: made not in one.files and copy not in two.files, what="the end of both")
    assert owning.request("GET", f"/v1/files/{copy}").status == 404


def test_request_names_the_copy_that_the_answering_account_has(owning: Gateway, accounts: Accounts) -> None:
    two = accounts["two"]
    before = set(two.contents)
    made = upload(owning, b"rows", purpose="user_data", **BOTH).json["id"]
    (copy,) = set(two.contents) - before
    for model, name, file_id in (("cheap", "one", made), ("dear", "two", copy)):
        path, body = chat(made, model)
        reply = owning.request("POST", path, body)
        assert reply.text == f"Hello from {name}", reply.body
        assert accounts[name].last.json["messages"][0]["content"][1]["file"] == {"file_id": file_id}
    path, body = chat(made, "chat")
    assert owning.request("POST", path, body).status == 400


@pytest.mark.parametrize("key", [None, GUARDED_KEY])
def test_batch_is_made_where_its_model_says(owning: Gateway, accounts: Accounts, key: str | None) -> None:
    owner = key or new_key(owning)
    before = set(accounts["two"].contents)
    made = upload(owning, jsonl(line(1), line(2)), key=owner, **BOTH).json["id"]
    (copy,) = set(accounts["two"].contents) - before
    for account, file_id, model in (("one", made, "gpt-4o-mini"), ("two", copy, "gpt-4o")):
        assert [each["body"]["model"] for each in accounts[account].lines_of(file_id)] == [model] * 2
    first = start_batch(owning, made, key=owner)
    assert (first.status, first.json["input_file_id"]) == (200, made)
    second = start_batch(owning, made, key=owner, model="dear")
    assert (second.status, second.json["input_file_id"]) == (200, copy)
    assert owning.request("GET", f"/v1/files/{copy}/content", key=owner).status == 200
    reply = start_batch(owning, made, key=owner, model="chat")
    assert (reply.status, "cheap, dear" in reply.error["message"]) == (400, True)
    accounts["two"].finish(second.json["id"], [usage(1000, 1000)], tells_usage=True)
    owning.request("GET", f"/v1/batches/{second.json['id']}", key=owner)
    (record,) = eventually(lambda: owning.records_of(f"batch-{second.json['id']}"), what="a record")
    assert (record["model"], record["cost_nusd"]) == ("dear", 1000 * 500 + 1000 * 3000)


def test_file_that_one_account_does_not_take_lies_in_none(owning: Gateway, accounts: Accounts) -> None:
    held = set(accounts["one"].files)
    accounts["two"].failing = 500
    try:
        reply = upload(owning, b"rows", purpose="user_data", **BOTH)
    finally:
        accounts["two"].failing = 0
    assert (reply.status, reply.error["code"]) == (502, "upstream_error")
    eventually(lambda: set(accounts["one"].files) == held, what="the end of the first copy")
