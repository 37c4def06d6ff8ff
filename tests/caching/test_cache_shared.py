"""The cache in a real Valkey: shared by workers and gateways, apart by tenant, and no answer's trouble when it is."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from harness.asking import Client
from harness.gateway import MASTER_KEY, SMALL_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import Reply, assert_error

_prompts = (f"What is shared {n}?" for n in itertools.count())


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def pair(upstream: Upstream, valkey: ValkeyServer) -> Iterator[tuple[Gateway, Gateway]]:
    params = {"type": "redis", "url": valkey.url, "ttl": 300}
    config = base_config(upstream, litellm_settings={"cache": True, "cache_params": params})
    with running(config, workers=2) as one, running(config) as other:
        yield one, other


@pytest.fixture
def prompt(upstream: Upstream) -> str:
    upstream["gpt-4o"].forget()
    return next(_prompts)


def is_hit(reply: Reply) -> bool:
    assert reply.status == 200, reply.body
    return reply.headers.get("x-litellm-cache-hit") == "true"


def warm(gateway: Gateway) -> None:
    """A worker's connection is made when it is first needed: what it is asked until then is not known to it. So many
    times, since the system chooses the worker."""
    for _ in range(24):
        eventually(lambda: is_hit(gateway.chat("gpt-4o", "warm")))


def test_answer_of_one_gateway_is_given_by_the_other_in_either_form(
    pair: tuple[Gateway, Gateway], upstream: Upstream, prompt: str
) -> None:
    for gateway in pair:
        warm(gateway)
    upstream["gpt-4o"].forget()
    asker = Client("messages")
    made = asker.ask(pair[0], "gpt-4o", prompt, stream=True)
    again = asker.ask(pair[1], "gpt-4o", prompt)
    assert is_hit(again)
    assert asker.text(again) == asker.text(made) == "Hello from gpt-4o"
    assert upstream["gpt-4o"].hits == 1
    assert not is_hit(pair[1].chat("gpt-4o-mini", prompt, key=SMALL_KEY))
    assert not is_hit(pair[1].chat("gpt-4o-mini", prompt, key=TEAM_KEY))


def test_operators_see_it_and_forget_answers_and_nothing_else(
    pair: tuple[Gateway, Gateway], valkey: ValkeyServer, prompt: str
) -> None:
    for gateway in pair:
        warm(gateway)
    key = pair[0].chat("gpt-4o", prompt).headers["x-litellm-cache-key"]
    valkey.ask("SET", "not-ours", "x")
    assert pair[0].request("GET", "/cache/ping", key=MASTER_KEY).json["cache_type"] == "redis"
    assert pair[0].request("GET", "/health/readiness", key=None).json["cache"] == "redis"
    told = pair[1].request("POST", "/cache/delete", {"keys": [key]}, key=MASTER_KEY)
    assert told.json["deleted"] == 1
    assert not is_hit(pair[0].chat("gpt-4o", prompt))
    assert is_hit(pair[0].chat("gpt-4o", prompt))
    assert pair[1].request("POST", "/cache/flushall", key=MASTER_KEY).status == 200
    assert not is_hit(pair[0].chat("gpt-4o", prompt))
    assert valkey.ask("GET", "not-ours") == b"x"


def test_what_can_not_be_read_is_passed_over(pair: tuple[Gateway, Gateway], valkey: ValkeyServer, prompt: str) -> None:
    warm(pair[0])
    key = pair[0].chat("gpt-4o", prompt).headers["x-litellm-cache-key"]
    (name,) = [name for name in valkey.ask("KEYS", "*") if name.endswith(key.encode())]
    for rubbish in (b"", b"\xff\xfe", b"\x90", b"[1,2]"):
        valkey.ask("SET", name, rubbish)
        assert not is_hit(pair[0].chat("gpt-4o", prompt, cache={"no-store": True}))
    valkey.ask("DEL", name)
    valkey.ask("RPUSH", name, "x")
    assert not is_hit(pair[0].chat("gpt-4o", prompt))


def test_valkey_that_hangs_or_is_gone_fails_no_request_and_is_found_again(
    pair: tuple[Gateway, Gateway], valkey: ValkeyServer, prompt: str
) -> None:
    gateway = pair[1]
    warm(gateway)
    valkey.pause()
    try:
        began_s = time.monotonic()
        for _ in range(20):
            assert not is_hit(gateway.chat("gpt-4o", prompt))
        assert time.monotonic() - began_s < 10, "each would wait for seconds"
    finally:
        valkey.resume()
    eventually(lambda: is_hit(gateway.chat("gpt-4o", prompt)))
    valkey.kill()
    for _ in range(5):
        assert not is_hit(gateway.chat("gpt-4o", prompt))
    assert_error(gateway.request("GET", "/cache/ping", key=MASTER_KEY), 503, "storage_unavailable")
    assert_error(gateway.request("POST", "/cache/flushall", key=MASTER_KEY), 503, "storage_unavailable")
    valkey.start()
    eventually(lambda: is_hit(gateway.chat("gpt-4o", prompt)))


class HalfValkey:
    """Lets a gateway in, then answers every look-up with `answer` and, where it is to, closes."""

    def __init__(self) -> None:
        self.answer = b"$-1\r\n"
        self.closes = False
        self.asked = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(65536):
                if b"GET" in data:
                    self.asked += 1
                    client.sendall(self.answer)
                    if self.closes:
                        return
                else:
                    client.sendall(b"+OK\r\n" * data.count(b"*"))

    def close(self) -> None:
        self._listener.close()


BROKEN_ANSWERS = (
    (b"$1000\r\nhalf of", True), (b"$1000\r\nhalf of", False), (b"\x00\xffrubbish\r\n", False), (b"", True),
    (b"*3\r\n:1\r\n", True), (b"-LOADING not yet\r\n", False), (b":5\r\n", False),
    (b"$4\r\n\x94\x01\x02\x03\r\n", False),
)  # fmt: skip


def test_valkey_that_breaks_off_in_the_middle_of_an_answer_fails_no_request(upstream: Upstream) -> None:
    server = HalfValkey()
    try:
        params = {"type": "redis", "host": "127.0.0.1", "port": server.port, "single_flight": True}
        with running(base_config(upstream, litellm_settings={"cache": True, "cache_params": params})) as gateway:
            eventually(lambda: gateway.chat("gpt-4o", "wake").status == 200 and server.asked)
            for server.answer, server.closes in BROKEN_ANSWERS:
                for stream in (False, True):
                    reply = gateway.chat("gpt-4o", "mid-read", stream=stream)
                    assert reply.text == "Hello from gpt-4o"
                    assert not is_hit(reply)
    finally:
        server.close()
