"""Two parsers, one reading: what the front accepts, h11 must read alike.

Heads and bodies are put together from pieces that parsers are known to disagree about. The front's reading is what
arrives upstream and how many answers come back.
"""

from __future__ import annotations

import json
import os
import random
import time

import h11

from harness.gateway import TEAM_KEY, Gateway
from harness.upstream import Upstream
from harness.wire import exchange_many, parse_replies

CHAT = "/v1/chat/completions"
LINE_ENDS = ["\r\n"] * 200 + ["\n", "\r", "\r\r\n"]
METHODS = ["POST"] * 20 + ["post", "POST ", "PO ST", "QUERY"]
VERSIONS = ["HTTP/1.1"] * 20 + ["HTTP/1.0"] * 4 + ["HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/01.1"]
TARGETS = [CHAT] * 20 + [
    "/chat/completions",
    f"http://a.test{CHAT}",
    f"{CHAT}?x=1",
    f"{CHAT}#x",
    f"/{CHAT}",
    f"{CHAT} x",
]
HOSTS = ["Host: a.test"] * 20 + [
    "",
    "Host: a.test, b.test",
    "Host:a.test",
    "Host : a.test",
    "host: a.test:80",
    "Host:\ta.test",
]
ODD_FIELDS = [
    "X-A: b", "X-A:b", "X-A:", "X-A: b\t", "X-A : b", " X-A: b", "X-A: b\x00", "X-A: \xe9", "X-A: b\x0bc",
    "X_A: b", "X-A", ": b", "Connection: close", "Connection: keep-alive, close", "Connection: upgrade",
    "Upgrade: h2c", "Expect: 100-continue", "Transfer-Encoding: identity", "Transfer-Encoding : chunked",
    "TE: trailers", "Trailer: X-T", "Keep-Alive: 5", "Content-Encoding: identity",
    "Proxy-Connection: keep-alive", "X-A: b\r\n folded", "Content-Length: 0", "Content-Length: 5, 5",
    "Content-Length: 1e1", "Content-Length: 99999999999999999999", "Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding:\x0bchunked",
    "transfer-encoding: Chunked", "Content\xadLength: 5", "Content-Length\x00: 5", "X: " + "a" * 9000,
]  # fmt: skip
CHUNK_SIZES = ["{:x}"] * 12 + [
    "{:X}",
    "0{:x}",
    "{:x};a",
    "{:x};a=b",
    '{:x};a="b"',
    "{:x} ",
    " {:x}",
    "0x{:x}",
    "+{:x}",
    "{:x}\t",
    "{:x};\n",
    "{:x};" + "a" * 300,
    "0000000000000000000{:x}",
    "{:x}_0",
    "-{:x}",
]
TRAILERS = [""] * 10 + [
    "X-T: t\r\n",
    "Content-Length: 3\r\n",
    "X-T : t\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X-T\r\n",
]


def lengths(choose: random.Random, size: int) -> str:
    return choose.choice(
        [str(size)] * 12 + [f"0{size}", f" {size} ", f"+{size}", f"{size}, {size}", str(size - 1), str(size + 9)]
    )


def make(choose: random.Random, number: int) -> bytes:
    """One request, mostly well-formed, with another one behind it."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": f"differs {number}"}]})
    fields = [choose.choice(HOSTS), f"Authorization: Bearer {TEAM_KEY}", "Content-Type: application/json"]
    is_chunked = choose.random() < 0.5
    sent = body
    if is_chunked:
        cut = choose.randrange(1, len(body))
        sent = ""
        for piece in (body[:cut], body[cut:]):
            sent += choose.choice(CHUNK_SIZES).format(len(piece)) + choose.choice(LINE_ENDS) + piece
            sent += choose.choice(LINE_ENDS)
        sent += f"0\r\n{choose.choice(TRAILERS)}\r\n"
        fields.append("Transfer-Encoding: chunked")
    if not is_chunked or choose.random() < 0.05:
        fields.append("Content-Length: " + lengths(choose, len(body)))
    fields += choose.sample(ODD_FIELDS, choose.choice([0, 0, 0, 0, 1, 1, 2]))
    choose.shuffle(fields)
    start = " ".join((choose.choice(METHODS), choose.choice(TARGETS), choose.choice(VERSIONS)))
    lines = "".join(line + choose.choice(LINE_ENDS) for line in [start, *filter(None, fields)])
    behind = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": f"behind {number}"}]})
    second = (
        f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TEAM_KEY}\r\nContent-Length: {len(behind)}\r\n\r\n"
    )
    return (lines + "\r\n" + sent + second + behind).encode("latin-1")


def read_by_h11(data: bytes) -> list[bytes]:
    """The bodies of the requests that h11 finds, up to the first thing it refuses."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
    connection.receive_data(data)
    bodies: list[bytes] = []
    body: list[bytes] | None = None
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                body = []
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                bodies.append(b"".join(body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return bodies
                connection.start_next_cycle()
            else:
                return bodies
    except h11.RemoteProtocolError:
        return bodies


def prompts(bodies: list[bytes]) -> list[str]:
    return [json.loads(body)["messages"][0]["content"] for body in bodies]


def test_what_the_front_accepts_is_read_alike_by_another_parser(gateway: Gateway, upstream: Upstream) -> None:
    """Section 1: 1,500 requests, each with a second one behind it; no body that h11 would have read otherwise.

    ROUTEWRIGHT_FUZZ_SECONDS goes on with new seeds for that long.
    """
    ends_s = time.monotonic() + float(os.environ.get("ROUTEWRIGHT_FUZZ_SECONDS", "0"))
    seed = 20240
    while True:
        compare(gateway, upstream, seed)
        seed += 1
        if time.monotonic() >= ends_s:
            break


def compare(gateway: Gateway, upstream: Upstream, seed: int) -> None:
    choose = random.Random(seed)
    requests = [make(choose, number) for number in range(1500)]
    upstream["gpt-4o"].forget()

    exchanges = exchange_many(
        gateway.port,
        [[request] for request in requests],
        is_enough=lambda received: len(parse_replies(received, at_eof=False)[0]) >= 2,
        deadline_s=1.0,
    )

    ran = [request.json["messages"][0]["content"] for request in upstream["gpt-4o"].requests]
    assert len(ran) == len(set(ran)), "something ran twice"
    accepted = 0
    for number, (request, exchange) in enumerate(zip(requests, exchanges, strict=True)):
        ours = [prompt for prompt in (f"differs {number}", f"behind {number}") if prompt in ran]
        try:
            theirs = prompts(read_by_h11(request))
        except ValueError:  # h11 read a body that is not the JSON that was sent
            theirs = ["something else"]
        accepted += f"differs {number}" in ours
        assert ours == theirs[: len(ours)], (request, exchange.received)
        assert all(reply.status < 500 or reply.status in (501, 505) for reply in parse_replies(exchange.received)[0])
    assert 200 < accepted < 1400, "the mixture no longer tests both sides"
    upstream["gpt-4o"].forget()
