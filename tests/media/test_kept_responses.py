"""Responses that are kept: for whom, for what they can be asked, and that nothing else is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from harness import dialect
from harness.admin import manage, new_key
from harness.gateway import MASTER_KEY, SMALL_KEY, TEAM_KEY, Gateway, base_config, running
from harness.upstream import Close, Send, Upstream
from harness.wire import Reply


@pytest.fixture(scope="module")
def keeping(upstream: Upstream) -> Iterator[Gateway]:
    with running(base_config(upstream)) as started:
        yield started


@pytest.fixture(autouse=True)
def good(upstream: Upstream) -> None:
    upstream["gpt-4o"].forget()


def respond(gateway: Gateway, text: Any = "My name is Ada", *, key: str = TEAM_KEY, **fields: Any) -> Reply:
    return gateway.request("POST", "/v1/responses", {"model": "gpt-4o", "input": text, **fields}, key=key)


def rows(gateway: Gateway) -> list[str]:
    path = gateway.data_dir / "store.sqlite3"
    if not path.exists():
        return []
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
        return [row[0] for row in store.execute("SELECT body FROM kept")]


def test_nothing_is_kept_unless_it_is_asked_for(keeping: Gateway) -> None:
    for fields in ({}, {"store": False}, {"store": None}):
        reply = respond(keeping, "a secret prompt", **fields)
        assert reply.status == 200
        assert reply.json["store"] is False
        assert keeping.request("GET", f"/v1/responses/{reply.json['id']}").status == 404
    assert not any("a secret prompt" in body for body in rows(keeping))


def test_kept_response_can_be_had_listed_continued_and_deleted(keeping: Gateway, upstream: Upstream) -> None:
    first = respond(keeping, store=True, instructions="Be brief")
    assert first.json["store"] is True
    assert first.json["id"].startswith("resp_")
    path = f"/v1/responses/{first.json['id']}"
    assert keeping.request("GET", path).json == first.json
    (item,) = keeping.request("GET", f"{path}/input_items").json["data"]
    assert item["content"] == [{"type": "input_text", "text": "My name is Ada"}]

    second = respond(keeping, "What is my name?", previous_response_id=first.json["id"], store=True)
    assert second.json["previous_response_id"] == first.json["id"]
    third = respond(keeping, "Sure?", previous_response_id=second.json["id"])
    assert (third.json["previous_response_id"], third.json["store"]) == (second.json["id"], False)
    sent = upstream["gpt-4o"].last.json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user", "assistant", "user"]
    assert "My name is Ada" in json.dumps(sent[0])
    assert "Hello from gpt-4o" in json.dumps(sent[1])
    assert "Be brief" not in json.dumps(sent)  # instructions are each request's own, as at OpenAI

    assert keeping.request("POST", f"{path}/cancel").status == 400
    assert keeping.request("DELETE", path).json == {"id": first.json["id"], "object": "response", "deleted": True}
    assert keeping.request("DELETE", path).status == 404
    reply = respond(keeping, "And now?", previous_response_id=second.json["id"])
    assert (reply.status, reply.error["param"]) == (404, "previous_response_id")  # a link of the chain is gone
    assert keeping.record_of(third)["endpoint"] == "responses"


def test_another_model_goes_on_with_the_conversation(keeping: Gateway, upstream: Upstream) -> None:
    first = respond(keeping, store=True)
    reply = respond(keeping, "Who am I?", model="gpt-4o-mini", previous_response_id=first.json["id"])
    assert reply.status == 200
    assert "My name is Ada" in upstream["gpt-4o-mini"].last.body.decode()


@pytest.mark.parametrize("times", range(2))
def test_streamed_response_is_kept_before_its_end_is_sent(keeping: Gateway, times: int) -> None:
    reply = respond(keeping, store=True, stream=True)
    events = reply.events
    ids = {event["response"]["id"] for event in events if "response" in event}
    assert len(ids) == 1
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["store"] is True
    kept = keeping.request("GET", f"/v1/responses/{ids.pop()}")
    assert kept.json == events[-1]["response"]


def test_response_that_breaks_off_is_not_kept(keeping: Gateway, upstream: Upstream) -> None:
    before = len(rows(keeping))
    upstream["gpt-4o"].plays(*[Send(piece) for piece in dialect.chunked_stream(dialect.chat_events(["a"])[:2])[:-1]],
                             Close())  # fmt: skip
    assert respond(keeping, store=True, stream=True).events[-1]["type"] in ("response.failed", "error")
    upstream["gpt-4o"].answers(400, dialect.openai_error("no"))
    assert respond(keeping, store=True).status == 400
    assert len(rows(keeping)) == before


def test_kept_responses_are_their_owners_alone(keeping: Gateway) -> None:
    made = respond(keeping, store=True).json["id"]
    path = f"/v1/responses/{made}"
    for method in ("GET", "DELETE"):
        assert keeping.request(method, path, key=SMALL_KEY).status == 404
        assert keeping.request(method, path, key=None).status == 401
    assert keeping.request("GET", f"{path}/input_items", key=SMALL_KEY).status == 404
    reply = respond(keeping, model="gpt-4o-mini", key=SMALL_KEY, previous_response_id=made)
    assert reply.status == 404
    assert keeping.request("GET", path, key=MASTER_KEY).status == 200

    team = manage(keeping, "/team/new", {"team_alias": "readers"})["team_id"]
    ours, theirs = (new_key(keeping, team_id=team) for _ in range(2))
    shared = respond(keeping, store=True, key=ours).json["id"]
    assert keeping.request("GET", f"/v1/responses/{shared}", key=theirs).status == 200
    assert keeping.request("GET", f"/v1/responses/{shared}", key=TEAM_KEY).status == 404


@pytest.mark.parametrize("previous", [3, "", "x" * 300, {"id": "x"}])
def test_id_that_is_none_is_refused(keeping: Gateway, previous: Any) -> None:
    reply = respond(keeping, previous_response_id=previous)
    assert (reply.status, reply.error["param"]) == (400, "previous_response_id")


def test_openais_client_keeps_a_conversation(keeping: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with openai.OpenAI(base_url=f"{keeping.url}/v1", api_key=TEAM_KEY, max_retries=0, timeout=30) as client:
        first = client.responses.create(model="gpt-4o", input="Hello", store=True)
        second = client.responses.create(model="gpt-4o", input="More", previous_response_id=first.id, store=True)
        assert client.responses.retrieve(second.id).output_text == second.output_text == "Hello from gpt-4o"
        assert client.responses.input_items.list(first.id).data[0].content[0].text == "Hello"
        client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(first.id)
