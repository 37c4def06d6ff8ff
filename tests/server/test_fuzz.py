"""Hostile bytes at the front and its JSON decoder: no crash, no 5xx, no hang.

Short by default; ROUTEWRIGHT_FUZZ_SECONDS=300 goes on with new seeds for that long, per test.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from harness.gateway import TEAM_KEY, Gateway
from harness.wire import Wire, assert_error, parse_replies, request_bytes

FUZZ_SECONDS = float(os.environ.get("ROUTEWRIGHT_FUZZ_SECONDS", "0"))
CHAT = "/v1/chat/completions"
ALLOWED_5XX = (501, 505)

pieces = st.sampled_from(
    [
        b"GET ", b"POST ", b"OPTIONS ", b"/health", b"/v1/models", CHAT.encode(), b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n", b"Host: a\r\n", b"Host:\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Expect: 100-continue\r\n", b"Authorization: Bearer " + TEAM_KEY.encode() + b"\r\n",
        b"Content-Type: application/json\r\n", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n",
        b"ffffffffffffffff\r\n", b"-1\r\n", b";ext\r\n", b"{}", b"[", b'{"model":', b"\x00", b"\n", b"\r", b" ",
        b":", b"\xff", b"\x80", b"%00", b"..", b"X-A: b\r\n", b" folded\r\n",
    ]
)  # fmt: skip
garbage = st.lists(pieces | st.binary(max_size=12), max_size=40).map(b"".join)
heads = st.lists(pieces | st.binary(max_size=6), max_size=12).map(
    lambda fields: b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: a\r\n" + b"".join(fields) + b"\r\n"
)
chunks = st.lists(pieces | st.binary(max_size=6), max_size=20).map(
    lambda body: (
        request_bytes("POST", CHAT, key=TEAM_KEY, headers={"Transfer-Encoding": "chunked"})
        + b"".join(body)
        + b"0\r\n\r\n"
    )
)

texts = st.text(st.characters(exclude_categories=()), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
names = st.sampled_from(
    [
        "model", "messages", "stream", "stream_options", "max_tokens", "n", "tools", "tool_choice",
        "response_format", "user", "metadata", "tags", "routing", "fallbacks", "num_retries", "timeout",
        "temperature", "stop", "prompt", "input", "encoding_format", "suffix", "logprobs",
        "context_window_fallbacks", "functions", "modalities", "cache",
    ]
)  # fmt: skip
messages = st.lists(
    st.fixed_dictionaries(
        {}, optional={"role": values | st.just("user"), "content": values, "tool_calls": values, "name": values}
    ),
    max_size=3,
)
bodies = st.dictionaries(names | texts, values, max_size=8).flatmap(
    lambda body: st.fixed_dictionaries(
        {}, optional={"model": st.sampled_from(["gpt-4o", "auto", "embed"]) | values, "messages": messages | values}
    ).map(lambda known: {**body, **known})
)


def run(body: Callable[..., None], strategy: Any, examples: int) -> None:
    """Once with a fixed seed; with ROUTEWRIGHT_FUZZ_SECONDS, with one seed after another until the time is over."""
    end_s = time.monotonic() + FUZZ_SECONDS
    for number in count():
        configured = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )(seed(number)(given(strategy)(body)))
        configured()
        if time.monotonic() >= end_s:
            break


def answers_to(gateway: Gateway, data: bytes) -> None:
    """Send it, and see that only HTTP comes back, without a 5xx, and that the connection ends."""
    with Wire(gateway.port, timeout_s=30) as client:
        with suppress(OSError):  # it refused and left before all was sent
            client.send(data)
            client.socket.settimeout(0.02)
            with suppress(TimeoutError):
                client.receive()
            client.socket.settimeout(30)
            client.half_close()
        while client.receive():
            pass
        replies, left = parse_replies(client.buffer)
        assert not left, left
        for reply in replies:
            assert reply.status < 500 or reply.status in ALLOWED_5XX, (data, reply)
            if reply.status >= 400:
                assert_error(reply, reply.status)


def test_front_survives_hostile_bytes(gateway: Gateway) -> None:
    """Issue 2: hostile heads, chunks and plain garbage; hangs show as timeouts, crashes as refused connections."""
    run(lambda data: answers_to(gateway, data), garbage | heads | chunks, 250)
    assert gateway.request("GET", "/health", key=None).status == 200
    assert "Traceback" not in gateway.output()


def test_decoder_survives_hostile_json(gateway: Gateway) -> None:
    """Issue 2: any JSON, and almost-JSON, on every route that takes a body."""

    def ask(drawn: tuple[str, dict[str, Any], bytes]) -> None:
        path, body, spoiler = drawn
        data = json.dumps(body, ensure_ascii=bool(spoiler)).encode("utf-8", "surrogatepass")
        if spoiler:
            place = len(data) * spoiler[0] // 256
            data = data[:place] + spoiler[1:] + data[place + 1 :]
        reply = gateway.request("POST", path, data)
        assert reply.status < 500, (path, data, reply)
        if reply.status >= 400:
            assert_error(reply, (400, 403, 404, 413))

    paths = st.sampled_from([CHAT, "/completions", "/embeddings"])
    run(ask, st.tuples(paths, bodies, st.just(b"") | st.binary(min_size=2, max_size=4)), 250)
    assert "Traceback" not in gateway.output()
