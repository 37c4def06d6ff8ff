"""F9: a stream broken off after every number of bytes, by FIN and by RST."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from harness import dialect
from harness.crowd import ask, chat_bytes, side_by_side
from harness.gateway import Gateway, eventually
from harness.upstream import Close, Request, Reset, Send, Upstream, Wait

MODEL = "one-000"
WORDS = ["The ", "quick ", "brown ", "fox ", "jümps ", "over ", "the ", "lazy ", "🐕."]


def with_public_name(data: dict) -> dict:
    return {**data, "model": MODEL}


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_stream_cut_at_every_byte(how: str, steady: Gateway, upstream: Upstream) -> None:
    """F9, S, L: what came whole arrives, then the error event; never an invented stop; each billed exactly once."""
    events = dialect.chat_events(WORDS)
    pieces = dialect.chunked_stream(events)
    whole = b"".join(pieces)
    assert len(whole) >= 2048
    head_end = len(pieces[0])
    ends = [whole.index(packet) + len(packet) for packet in events]

    def cut(request: Request):
        place = int(request.json["messages"][0]["content"])
        steps = [Send(whole[:place])] if place else []
        return [*steps, Wait(0.003), Reset() if how == "rst" else Close()]

    upstream[MODEL].forget()
    upstream[MODEL].runs(cut)
    cuts = range(len(whole))
    requests = [chat_bytes(MODEL, str(place), f"cut-{how}-{place}", stream=True) for place in cuts]
    replies = asyncio.run(side_by_side(lambda request: ask(steady.port, request), requests))
    upstream[MODEL].forget()

    expected = [with_public_name(json.loads(packet[6:])) for packet in events[:-1]]
    finish = max(place for place, chunk in enumerate(expected) if chunk["choices"])
    statuses: Counter[int] = Counter()
    for place, reply in zip(cuts, replies, strict=True):
        statuses[reply.status] += 1
        arrived = sum(end <= place for end in ends)
        if reply.status != 200:
            assert reply.status == 502, (place, reply)
            assert reply.error["code"] in ("upstream_error", "upstream_bad_response")
            assert arrived == 0 or how == "rst", (place, reply)
            continue
        assert place > head_end
        *told, last = reply.events
        assert last == "[DONE]"
        is_broken = "error" in told[-1]
        chunks = told[:-1] if is_broken else told
        without_usage = [chunk for chunk in expected if chunk["choices"]]
        assert chunks == without_usage[: len(chunks)], place
        if how == "fin":
            assert len(chunks) == min(arrived, len(without_usage)), place
        if is_broken:
            assert set(told[-1]["error"]) == {"message", "type", "param", "code"}
        else:
            assert arrived >= len(expected), f"cut at {place}, told as complete"
            assert chunks[finish]["choices"][0]["finish_reason"] == "stop"
    assert statuses[200] > 1000

    by_request = eventually(lambda: _records(steady, f"cut-{how}-", len(whole)), what="one record for each")
    for place, reply in zip(cuts, replies, strict=True):
        record = by_request[f"cut-{how}-{place}"]
        is_whole = reply.status == 200 and "error" not in reply.events[-2]
        assert record["ended"] == ("complete" if is_whole else "upstream_failed"), (place, record)
        if reply.status == 200 and reply.text:
            assert record["completion_tokens"] >= 1, (place, record)
            assert record["cost_nusd"] > 0, (place, record)


def _records(gateway: Gateway, prefix: str, count: int) -> dict | None:
    records = [record for record in gateway.journal() if record["request_id"].startswith(prefix)]
    by_request = {record["request_id"]: record for record in records}
    assert len(by_request) == len(records), "a request was recorded twice"
    return by_request if len(by_request) == count else None
