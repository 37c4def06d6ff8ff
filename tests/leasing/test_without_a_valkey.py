"""R19: where no Valkey is named, or the one that is named does not answer, no request leaves work behind for it.

Five hundred requests by default; ROUTEWRIGHT_LONG=1 makes it ten thousand, and prints how memory went.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.gateway import TEAM_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream, closed_port
from harness.wire import parse_reply, request_bytes
from leasing.conftest import body_of

IS_LONG = os.environ.get("ROUTEWRIGHT_LONG") == "1"
WARM, REQUESTS = (2000, 10_000) if IS_LONG else (200, 500)
MOST_MB = 1.05 if IS_LONG else 2.2
"""Of growth. Python takes memory from the system by the mebibyte, so of a few requests one step more is no slope."""
AT_ONCE = 10
"""One after the other on one connection: fewer than the front lets wait."""


class Silent:
    """Takes connections and whatever they say, and never says anything."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = self.bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._read, args=(taken,), daemon=True).start()

    def _read(self, taken: socket.socket) -> None:
        with taken:
            while data := taken.recv(65536):
                self.bytes += len(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def served(upstream: Upstream, port: int) -> Iterator[Gateway]:
    with running(base_config(upstream, router_settings={"redis_url": f"redis://127.0.0.1:{port}"})) as gateway:
        eventually(lambda: "is away" in gateway.output(), what="it to give up waiting")
        yield gateway


def grown_mb(gateway: Gateway, upstream: Upstream) -> float:
    """Growth of the worker while it answers."""
    (worker,) = gateway.serving_processes()
    request = request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=body_of(model="gpt-4o")) * AT_ONCE
    with gateway.connect() as client:
        for _ in range(WARM // AT_ONCE):
            _ask(client, request)
        before = worker.memory_info().rss
        for _ in range(REQUESTS // AT_ONCE):
            _ask(client, request)
            upstream["gpt-4o"].requests.clear()
        after = worker.memory_info().rss
    return (after - before) / (1 << 20)


def _ask(client: Any, request: bytes) -> None:
    client.send(request)
    for _ in range(AT_ONCE):
        while (parsed := parse_reply(client.buffer)) is None:
            assert client.receive(), "closed"
        reply, client.buffer = parsed
        assert reply.status == 200


@pytest.mark.parametrize("there", ["none is named", *(["it refuses"] if IS_LONG else []), "it is silent"])
def test_memory_stays_and_nothing_is_kept_for_later(there: str, upstream: Upstream, steady: Gateway) -> None:
    """R19, R20."""
    if there == "it is silent":
        silent = Silent()
        try:
            with served(upstream, silent.port) as gateway:
                grown = grown_mb(gateway, upstream)
                assert silent.connections < REQUESTS / 20, "as often as it is asked"
                assert silent.bytes < 1000 * silent.connections
                print(f"\n{there}: {silent.connections} connections, {silent.bytes} bytes")
        finally:
            silent.close()
    elif there == "it refuses":
        with closed_port() as port, served(upstream, port) as gateway:
            grown = grown_mb(gateway, upstream)
    else:
        grown = grown_mb(steady, upstream)
    print(f"\n{there}: {grown:+.2f} MiB in {REQUESTS} requests")
    assert grown < MOST_MB
