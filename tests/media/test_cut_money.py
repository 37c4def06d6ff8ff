"""Clients that leave, at every door and moment: one row each, paid where its provider has it, and nothing is held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness import dialect
from harness.admin import new_key
from harness.gateway import Gateway, eventually
from harness.taker import Taker
from harness.wire import request_bytes
from media.test_forms import BOUNDARY, form, part

# Each of these is held for 30 cents or more, and comes to a few at most: a fourth fits into a dollar only where nothing
# of those before it is held any more.
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "word " * 400}], "max_tokens": 80_000}
SPOKEN = b"x" * 14_000_000
DOORS: dict[str, tuple[str, str, bytes, str]] = {
    "chat at the account": ("account", "/openai/v1/chat/completions", dialect.to_json(CHAT), "application/json"),
    "stream at the account": ("account", "/openai/v1/chat/completions", dialect.to_json({**CHAT, "stream": True}),
                              "application/json"),
    "sound at the account": ("account", "/openai/v1/audio/transcriptions",
                             form(part("model", b"whisper-1"), part("file", SPOKEN, "a.mp3")), "form"),
    "sound": ("ears", "/v1/audio/transcriptions", form(part("model", b"ears"), part("file", SPOKEN, "a.mp3")), "form"),
}  # fmt: skip
MOMENTS = ("half of the body", "before the answer", "after its head", "within it")
HEAD = dialect.head(200, {"content-type": "application/json", "content-length": "100000"})


@pytest.fixture(autouse=True)
def doors(taker: Taker) -> Iterator[None]:
    for name in ("account", "ears"):
        taker[name].forget()
    yield
    for name in ("account", "ears"):
        taker[name].forget()
        taker[name].answers({})


def leave(gateway: Gateway, taker: Taker, door: str, moment: str, key: str, request_id: str) -> dict[str, Any]:
    """The record of a request whose client leaves at a moment."""
    name, path, body, kind = DOORS[door]
    upstream = taker[name]
    upstream.requests.clear()
    # What it sends before it says no more; a real one goes on for ever.
    packets = {"after its head": [HEAD], "within it": [HEAD, b'{"model": "gpt-4o", ' + b" " * 5000]}.get(moment, [])
    upstream.sends(*packets)
    content_type = f"multipart/form-data; boundary={BOUNDARY}" if kind == "form" else kind
    fields = {"Content-Type": content_type, "X-Request-Id": request_id}
    with gateway.connect(timeout_s=30) as client:
        if moment == "half of the body":
            fields |= {"Expect": "100-continue", "Content-Length": str(len(body))}
            client.send(request_bytes("POST", path, key=key, headers=fields))
            assert b"100 Continue" in client.socket.recv(64)  # it is being served
            client.send(body[: len(body) // 2])
        else:
            client.send(request_bytes("POST", path, key=key, headers=fields, body=body))
            eventually(lambda: upstream.requests and upstream.last.is_whole, what="the whole request")
        if moment == "within it":
            assert b"200" in client.socket.recv(64)
        client.reset()
    eventually(lambda: gateway.records_of(request_id), what=f"a record: {door}, {moment}")
    (record,) = gateway.records_of(request_id)
    return record


@pytest.mark.parametrize("door", DOORS)
def test_client_that_leaves_at_any_moment(media: Gateway, taker: Taker, door: str) -> None:
    key = new_key(media, max_budget=1.0)
    costs = {}
    for place, moment in enumerate(MOMENTS):
        record = leave(media, taker, door, moment, key, f"cut-{door}-{place}".replace(" ", "-"))
        assert record["ended"] == "client_gone", (moment, record)
        costs[moment] = record["cost_nusd"]
        seen = bool(taker[DOORS[door][0]].requests)
        assert (record["cost_nusd"] > 0) == seen, (moment, record)
        assert record["is_priced"] or not seen
    assert all(costs[moment] > 0 for moment in MOMENTS[1:])
