"""Batches: admitted by what their lines may cost, held until they are over, and on record once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from harness.accounts import Accounts
from harness.admin import manage, new_key
from harness.dialect import usage
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.wire import assert_error
from objects.asking import jsonl, line, start_batch, upload
from objects.conftest import LISTED_KEY, POOR_KEY

# "cheap" costs 1 and 4 micro-dollars a token, half of it in a batch.
ONE_LINE_NUSD = 6 * 500 + 100 * 2000
"""Of `line`: 8 characters and a message are 6 tokens, and 100 may come back."""


def begin(gateway: Gateway, *lines: Any, key: str = TEAM_KEY, **more: Any) -> str:
    made = upload(gateway, jsonl(*(lines or [line(1), line(2)])), key=key)
    assert made.status == 200, made.body
    started = start_batch(gateway, made.json["id"], key=key, **more)
    assert started.status == 200, started.body
    batch_id: str = started.json["id"]
    return batch_id


def records_of(gateway: Gateway, batch_id: str) -> list[dict[str, Any]]:
    return gateway.records_of(f"batch-{batch_id}")


@pytest.mark.parametrize("tells_usage", [True, False])
def test_batch_is_made_told_fetched_and_counted_once(owning: Gateway, accounts: Accounts, tells_usage: bool) -> None:
    one = accounts["one"]
    batch_id = begin(owning, metadata={"a": "b"}, model="cheap")
    assert one.last.json == {"input_file_id": one.batches[batch_id]["input_file_id"], "metadata": {"a": "b"},
                             "endpoint": "/v1/chat/completions", "completion_window": "24h"}  # fmt: skip
    path = f"/v1/batches/{batch_id}"
    assert owning.request("GET", path).json["status"] == "in_progress"
    assert not records_of(owning, batch_id)
    one.finish(batch_id, [usage(1000, 500), usage(10, 5)], tells_usage=tells_usage)
    told = owning.request("GET", path).json
    assert told["status"] == "completed"
    eventually(lambda: records_of(owning, batch_id), what="a record")
    output = told["output_file_id"]
    content = owning.request("GET", f"/v1/files/{output}/content")
    assert content.body == one.contents[output]
    for _ in range(3):
        owning.request("GET", path)
        owning.request("GET", f"/v1/files/{output}/content")
    (record,) = records_of(owning, batch_id)
    assert (record["prompt_tokens"], record["completion_tokens"], record["units"]) == (1010, 505, {"requests": 2})
    assert (record["cost_nusd"], record["is_priced"]) == (1010 * 500 + 505 * 2000, True)
    assert (record["endpoint"], record["model"], record["key_alias"]) == ("batch", "cheap", "team")
    assert output in [each["id"] for each in owning.request("GET", "/v1/files").json["data"]]
    assert owning.request("GET", f"/v1/files/{output}/content", key=POOR_KEY).status == 404


def test_price_of_a_batch_may_be_the_configurations(owning: Gateway, accounts: Accounts) -> None:
    batch_id = begin(owning, line(1, model="dear"), key=LISTED_KEY)
    accounts["two"].finish(batch_id, [usage(1000, 1000)], tells_usage=True)
    assert owning.request("GET", f"/v1/batches/{batch_id}", key=LISTED_KEY).status == 200
    eventually(lambda: records_of(owning, batch_id))
    assert records_of(owning, batch_id)[0]["cost_nusd"] == 1000 * 500 + 1000 * 3000


def test_batch_of_others_is_not_there(owning: Gateway, accounts: Accounts) -> None:
    batch_id = begin(owning)
    file_id = accounts["one"].batches[batch_id]["input_file_id"]
    asked = len(accounts["one"].requests)
    assert_error(owning.request("GET", f"/v1/batches/{batch_id}", key=POOR_KEY), 404, "not_found")
    assert owning.request("POST", f"/v1/batches/{batch_id}/cancel", key=POOR_KEY).status == 404
    assert owning.request("GET", f"/v1/files/{batch_id}").status == 404  # it is no file
    reply = start_batch(owning, file_id, key=POOR_KEY)
    assert (reply.status, reply.error["param"]) == (404, "input_file_id")
    assert owning.request("GET", "/v1/batches", key=POOR_KEY).json["data"] == []
    assert owning.request("GET", f"/v1/batches?after={batch_id}", key=POOR_KEY).status == 404
    assert len(accounts["one"].requests) == asked
    assert owning.request("GET", f"/v1/batches/{batch_id}", key=MASTER_KEY).status == 200


def test_list_tells_how_batches_stand_now(owning: Gateway, accounts: Accounts) -> None:
    key = new_key(owning)
    first, second = begin(owning, key=key), begin(owning, key=key)
    accounts["one"].finish(first, [usage(1, 1)], tells_usage=True)
    listed = owning.request("GET", "/v1/batches", key=key).json
    assert [(each["id"], each["status"]) for each in listed["data"]] == [(second, "in_progress"), (first, "completed")]
    eventually(lambda: records_of(owning, first), what="a record of the one that is over")
    asked = accounts["one"].count("GET", f"/batches/{first}")
    owning.request("GET", "/v1/batches", key=key)
    assert accounts["one"].count("GET", f"/batches/{first}") == asked  # it does not change any more
    accounts["one"].failing = 500
    listed = owning.request("GET", "/v1/batches?limit=1", key=key).json
    accounts["one"].failing = 0
    assert ([each["id"] for each in listed["data"]], listed["has_more"]) == ([second], True)


def test_batch_is_cancelled(owning: Gateway, accounts: Accounts) -> None:
    batch_id = begin(owning)
    assert owning.request("POST", f"/v1/batches/{batch_id}/cancel").json["status"] == "cancelling"
    accounts["one"].finish(batch_id, [usage(10, 10)], status="cancelled")
    assert owning.request("GET", f"/v1/batches/{batch_id}").json["status"] == "cancelled"
    eventually(lambda: records_of(owning, batch_id), what="a record of what was done before")
    assert records_of(owning, batch_id)[0]["completion_tokens"] == 10


def test_failed_batch_costs_nothing(owning: Gateway, accounts: Accounts) -> None:
    batch_id = begin(owning)
    accounts["one"].finish(batch_id, [], status="failed")
    owning.request("GET", f"/v1/batches/{batch_id}")
    eventually(lambda: records_of(owning, batch_id))
    assert records_of(owning, batch_id)[0]["cost_nusd"] == 0


def test_answers_that_tell_no_usage_are_counted_by_their_length(owning: Gateway, accounts: Accounts) -> None:
    batch_id = begin(owning)
    accounts["one"].finish(batch_id, [usage(10, 5), None, {"prompt_tokens": -5, "completion_tokens": "x"}])
    owning.request("GET", f"/v1/batches/{batch_id}")
    eventually(lambda: records_of(owning, batch_id))
    (record,) = records_of(owning, batch_id)
    assert record["usage_estimated"] is True
    assert record["completion_tokens"] > 5 + 2 * 20


def test_batch_whose_output_was_deleted_before_it_was_read_is_counted_at_its_most(
    owning: Gateway, accounts: Accounts
) -> None:
    one = accounts["one"]
    batch_id = begin(owning)
    one.finish(batch_id, [usage(10, 5)])
    del one.files[one.batches[batch_id]["output_file_id"]]
    assert owning.request("GET", f"/v1/batches/{batch_id}").json["status"] == "completed"
    eventually(lambda: records_of(owning, batch_id), what="a record")
    (record,) = records_of(owning, batch_id)
    assert (record["cost_nusd"], record["usage_estimated"]) == (2 * ONE_LINE_NUSD, True)


def test_file_that_is_no_batchs_and_fields_that_are_none(owning: Gateway, accounts: Accounts) -> None:
    other = upload(owning, b"x", purpose="user_data").json["id"]
    reply = start_batch(owning, other)
    assert (reply.status, reply.error["param"]) == (400, "input_file_id")
    assert start_batch(owning, "file-nobody").status == 404
    assert owning.request("POST", "/v1/batches", {"endpoint": "/v1/chat/completions"}).status == 400
    made = upload(owning, jsonl(line(1))).json["id"]
    assert start_batch(owning, made, api_base="http://x").error["code"] == "field_not_allowed"
    assert not accounts["one"].count("POST", "/batches/x")


# --- money ----------------------------------------------------------------------------------------------------------


def test_batch_that_is_too_dear_is_refused_before_its_provider_hears_of_it(owning: Gateway, accounts: Accounts) -> None:
    """R10."""
    made = upload(owning, jsonl(*[line(number) for number in range(5)]), key=POOR_KEY).json["id"]
    before = accounts["one"].count("POST", "/batches")
    reply = start_batch(owning, made, key=POOR_KEY)
    assert (reply.status, reply.error["code"]) == (429, "budget_exceeded")
    assert accounts["one"].count("POST", "/batches") == before


def spend_of(gateway: Gateway, key: str) -> float:
    spent: float = manage(gateway, f"/key/info?key={key}")["info"]["spend"]
    return spent


def test_open_batches_are_held_and_what_is_left_of_them_comes_back(owning: Gateway, accounts: Accounts) -> None:
    """Spent and held never exceed the budget together, over a restart too."""
    key = new_key(owning, max_budget=3.5 * ONE_LINE_NUSD / 1e9)
    made = upload(owning, jsonl(line(1)), key=key).json["id"]
    started = [start_batch(owning, made, key=key) for _ in range(5)]
    assert [reply.status for reply in started] == [200, 200, 200, 429, 429]
    owning.kill_everything()
    owning.start_again()
    assert start_batch(owning, made, key=key).status == 429
    batches = [reply.json["id"] for reply in started[:3]]
    accounts["one"].finish(batches[0], [usage(6, 10)], tells_usage=True)
    assert owning.request("GET", f"/v1/batches/{batches[0]}", key=key).status == 200
    assert start_batch(owning, made, key=key).status == 200  # of the first no more is left than it used
    assert start_batch(owning, made, key=key).status == 429
    eventually(lambda: spend_of(owning, key) == (6 * 500 + 10 * 2000) / 1e9, what="the ledger's word")
    accounts["one"].finish(batches[1], [usage(6, 10)])
    del accounts["one"].batches[batches[2]]
    with sqlite3.connect(owning.data_dir / "store.sqlite3") as store:
        store.execute("UPDATE owned SET created_at_ms = 1000 WHERE object_id = ?", (batches[2],))
    owning.terminate()
    owning.wait()
    owning.start_again()
    owning.chat("chat")  # so that the store's process runs
    eventually(lambda: records_of(owning, batches[1]), what="a record, though nobody has asked about it")
    assert "nobody knows it any more" in owning.output()  # and its budget is not held for ever


@pytest.fixture(scope="module")
def crowded(upstream: Upstream, accounts: Accounts) -> Iterator[Gateway]:
    config = base_config(upstream)
    config["model_list"] = [
        deployment("cheap", upstream, "crowd", model="gpt-4o-mini", api_base=accounts["crowd"].api_base)
    ]
    del config["routes"]
    with running(config, workers=4) as started:
        yield started


def test_batch_is_counted_once_by_many_who_fetch_it_at_once(crowded: Gateway, accounts: Accounts) -> None:
    """R10, on four workers: the ledger has one row of it, and so has the journal."""
    batches = [begin(crowded, line(1)) for _ in range(3)]
    for at, batch_id in enumerate(batches):
        accounts["crowd"].finish(batch_id, [usage(100, 50)] * 4, tells_usage=at == 0)
    statuses: list[int] = []

    def fetch(batch_id: str) -> None:
        statuses.append(crowded.request("GET", f"/v1/batches/{batch_id}").status)

    threads = [threading.Thread(target=fetch, args=(batch_id,)) for batch_id in batches * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 24
    for batch_id in batches:
        eventually(lambda batch_id=batch_id: records_of(crowded, batch_id), what="a record")
        crowded.request("GET", f"/v1/batches/{batch_id}")
        (record,) = records_of(crowded, batch_id)
        assert (record["prompt_tokens"], record["completion_tokens"]) == (400, 200)

    def in_ledger() -> list[Any]:
        rows = manage(crowded, "/spend/logs?summarize=false")
        return [row for row in rows if row["request_id"].startswith("batch-")]

    eventually(lambda: len(in_ledger()) == len(batches), what="one row of each")
