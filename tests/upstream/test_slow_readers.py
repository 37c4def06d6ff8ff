"""A client that does not read: its upstream is not late, and no deployment rests for it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from harness.crowd import chat_bytes
from harness.dialect import chat_events, chunk, chunked_stream, event, http_chunk
from harness.gateway import Gateway, base_config, deployment, eventually, running
from harness.upstream import Flood, Send, Upstream

IDLE_S = 1.0
"""How long an upstream may be silent."""
MODELS = ("read-late", "read-never")
WORDS = ["word " * 2000] * 800
"""Eight megabytes: more than fits between two sockets."""


@pytest.fixture(scope="module")
def impatient(upstream: Upstream) -> Iterator[Gateway]:
    """Two deployments each, of which one would rest after its first failure."""
    config = base_config(upstream, router_settings={"num_retries": 0, "allowed_fails": 0})
    config["model_list"] += [deployment(name, upstream, f"{name}-{side}") for name in MODELS for side in "ab"]
    environment = {"ROUTEWRIGHT_UPSTREAM_IDLE_TIMEOUT_S": str(IDLE_S)}
    with running(config, environment=environment) as started:
        yield started


def test_client_that_reads_late_or_never_is_not_its_upstreams_failure(impatient: Gateway, upstream: Upstream) -> None:
    """1b, F14: what a client holds up is no time of the upstream's, neither idle nor of the whole."""
    flood = http_chunk(event(chunk({"content": WORDS[0]})))
    for side in "ab":
        upstream[f"read-late-{side}"].plays(*[Send(piece) for piece in chunked_stream(chat_events(WORDS))])
        upstream[f"read-never-{side}"].plays(Send(chunked_stream([])[0]), Flood(flood))
    with impatient.connect(receive_buffer=4096) as late, impatient.connect(receive_buffer=4096) as never:
        late.send(chat_bytes("read-late", "hello", "late", stream=True))
        never.send(chat_bytes("read-never", "hello", "never", stream=True, timeout=3 * IDLE_S))
        time.sleep(2.5 * IDLE_S)
        received = bytearray()
        while not received.endswith(b"\r\n0\r\n\r\n"):
            piece = late.socket.recv(1 << 20)
            assert piece, "cut off"
            received += piece
        assert b"data: [DONE]" in received[-100:]
        [record] = eventually(lambda: impatient.records_of("never"), within_s=30, what="the end of its time")
        assert (record["ended"], record["error_code"], record["status"]) == ("client_gone", None, 200)
        assert record["completion_tokens"] > 0
        last = b""
        while piece := never.socket.recv(1 << 20):
            last = (last + piece)[-1000:]
        assert b"the answer was not taken in time" in last
        assert not last.endswith(b"\r\n0\r\n\r\n") or b"error" in last
    [record] = impatient.records_of("late")
    assert record["ended"] == "complete"
    assert "cools down" not in impatient.output()
