"""F13, R12-R14, R17: clients that leave, before, during and at the end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial

import pytest

from harness.crowd import Leaver, chat_bytes, side_by_side
from harness.dialect import chat_completion, chat_events, chunked_stream, response, to_json
from harness.gateway import Gateway, eventually
from harness.models import Model
from harness.upstream import Request, Send, Upstream, Wait

MODEL = "one-001"
WORDS = [f"word{number} " for number in range(12)]
STREAM = chunked_stream(chat_events(WORDS))


def slowly(request: Request):
    """About 40 ms for an answer, streamed or not."""
    if not request.json.get("stream"):
        return [Wait(0.04), Send(response(200, to_json(chat_completion(" ".join(WORDS)))))]
    return [step for piece in STREAM for step in (Send(piece), Wait(0.002))]


@pytest.fixture
def slow(upstream: Upstream):
    model = upstream[MODEL]
    model.forget()
    model.runs(slowly)
    yield model
    model.forget()


def leaver(choose: random.Random, number: int) -> Leaver:
    """One client with its own moment to leave."""
    is_stream = number % 4 != 0
    made = Leaver(chat_bytes(MODEL, f"leaver {number}", f"leaver-{number}", stream=is_stream))
    made.with_reset = choose.random() < 0.5
    moment = choose.choice(["at once", "after a while", "after some bytes", "at the end"])
    if moment == "after a while":
        made.after_s = choose.random() * 0.08
    elif moment == "after some bytes":
        made.after_bytes = choose.randrange(1, 3000 if is_stream else 600)
    elif moment == "at the end":
        made.after_text = b"[DONE]" if is_stream else b"word11"
    return made


def test_each_of_a_thousand_leavers_is_recorded_once(steady: Gateway, upstream: Upstream, slow) -> None:
    """F13, L, R12, R14: one record each, upstreams let go, no file left open."""
    assert steady.chat(model=MODEL).status == 200
    files_before = steady.open_files() - upstream.open_connections
    choose = random.Random(7)
    crowd = [leaver(choose, number) for number in range(1000)]

    asyncio.run(side_by_side(lambda client: client.go(steady.port), crowd, at_once=100))

    eventually(lambda: upstream.in_use == 0, what="every upstream connection to be let go")
    seen = Counter(request.json["messages"][0]["content"].removeprefix("leaver ") for request in slow.requests)
    must = {
        number for number, client in enumerate(crowd) if not client.with_reset or client.received or str(number) in seen
    }
    eventually(lambda: {f"leaver-{n}" for n in must} <= {r["request_id"] for r in steady.journal()}, what="all records")
    records = [record for record in steady.journal() if record["request_id"].startswith("leaver-")]
    counted = Counter(record["request_id"] for record in records)
    assert set(counted.values()) == {1}
    assert len({record["call_id"] for record in records}) == len(records)
    assert len(must) >= 850
    assert all(count == 1 for number, count in seen.items()), "asked upstream more than once"
    endings = Counter(record["ended"] for record in records)
    assert endings["client_gone"] > 100
    assert endings["complete"] > 100
    assert set(endings) == {"client_gone", "complete"}, endings
    for record in records:
        number = int(record["request_id"].removeprefix("leaver-"))
        if b'"content":"word' in crowd[number].received:
            assert record["completion_tokens"] >= 1, record
            assert record["cost_nusd"] > 0, record
    eventually(
        lambda: steady.open_files() - upstream.open_connections <= files_before + 2, what="file handles to come back"
    )
    assert steady.chat(model=MODEL).status == 200


def test_leaving_right_after_the_end_is_a_whole_answer(steady: Gateway, slow) -> None:
    """R17: OpenAI clients close as soon as they have read [DONE]."""
    crowd = [
        Leaver(
            chat_bytes(MODEL, "done", f"done-{number}", stream=True),
            after_text=b"data: [DONE]",
            with_reset=number % 2 == 0,
        )
        for number in range(300)
    ]

    asyncio.run(side_by_side(lambda client: client.go(steady.port), crowd, at_once=100))

    records = [record for record in steady.journal() if record["request_id"].startswith("done-")]
    assert len(records) == 300
    assert {record["ended"] for record in records} == {"complete"}
    assert {record["completion_tokens"] for record in records} == {len(WORDS)}
    assert {record["usage_estimated"] for record in records} == {False}


def test_whoever_has_a_whole_answer_is_in_the_journal(steady: Gateway, slow) -> None:
    """DESIGN 5: the record is written before the last byte is handed to the client's socket."""
    for number in range(50):
        request_id = f"at-once-{number}"
        reply = steady.chat(model=MODEL, stream=bool(number % 2), headers={"x-request-id": request_id})
        assert reply.status == 200
        assert len(steady.records_of(request_id)) == 1


def test_client_that_leaves_between_two_attempts_is_recorded_at_once(gateway: Gateway, one: Model) -> None:
    """F13: the wait before a retry ends when nobody waits for the answer; no further attempt is made."""
    one.first.answers(429, headers={"Retry-After": "8"})
    for with_reset in (False, True):
        request_id = f"between-{with_reset}"
        request = chat_bytes(one.name, "x", request_id, num_retries=1)
        asyncio.run(Leaver(request, after_s=0.2, with_reset=with_reset).go(gateway.port))
        [record] = eventually(partial(gateway.records_of, request_id), within_s=7, what=f"a record of {request_id}")
        assert record["ended"] == "client_gone"
    assert one.first.hits == 2


def test_upstream_is_let_go_when_the_client_leaves_before_the_first_byte(steady: Gateway, slow) -> None:
    """F13: no answer to read, and none to wait for."""
    slow.hangs()
    for with_reset in (False, True):
        crowd = [
            Leaver(
                chat_bytes(MODEL, "early", f"early-{with_reset}-{number}", stream=number % 2 == 0),
                after_s=0.1,
                with_reset=with_reset,
            )
            for number in range(20)
        ]
        asyncio.run(side_by_side(lambda client: client.go(steady.port), crowd))
        eventually(lambda: slow.in_use == 0, what="the upstream to be let go")
    records = [record for record in steady.journal() if record["request_id"].startswith("early-")]
    assert len(records) == 40
    assert {record["ended"] for record in records} == {"client_gone"}
