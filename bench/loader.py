"""Load without wrk: `python bench/loader.py PORT CONNECTIONS SECONDS` posts the bodies in BENCH_BODIES in turn.

`@@@@@@@@` in a body becomes a made-up word, another one each time. Ends with the same line of JSON as `load.lua`. It
takes far more CPU than wrk, so that req/s means little; the CPU of the server under test is measured all the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from typing import Any

import httptools
import uvloop

LETTERS = bytes.maketrans(b"0123456789", b"ghijklmnop")


def requests() -> list[bytes]:
    with open(os.environ["BENCH_BODIES"], "rb") as file:
        bodies = file.read().splitlines()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {os.environ['BENCH_KEY']}\r\nContent-Length: %d\r\n\r\n"
    )
    return [(head % len(body)).encode() + body for body in bodies]


class Client(asyncio.Protocol):
    """Asks, reads the whole answer, asks again."""

    def __init__(self, asks: list[bytes], first: int, end_s: float, done: asyncio.Future[None]) -> None:
        self.asks, self.turn, self.end_s, self.done = asks, first, end_s, done
        self.latencies_s: list[float] = []
        self.failed = 0
        self.bytes = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.began_s = time.perf_counter()
        word = b"%08x" % random.getrandbits(32)
        self.transport.write(self.asks[self.turn % len(self.asks)].replace(b"@@@@@@@@", word.translate(LETTERS)))
        self.turn += 1

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        now_s = time.perf_counter()
        self.latencies_s.append(now_s - self.began_s)
        self.failed += self.parser.get_status_code() != 200
        if now_s < self.end_s:
            asyncio.get_running_loop().call_soon(self.ask)
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.failed += error is not None
        if not self.done.done():
            self.done.set_result(None)


async def run(port: int, connections: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    asks = requests()
    began_s = time.perf_counter()
    clients = []
    for number in range(connections):
        client = Client(asks, number, began_s + seconds, loop.create_future())
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    latencies = sorted(latency for client in clients for latency in client.latencies_s)
    result = {
        "requests": len(latencies),
        "seconds": time.perf_counter() - began_s,
        "bytes": sum(client.bytes for client in clients),
        "failed": sum(client.failed for client in clients),
        "p50_us": latencies[len(latencies) // 2] * 1e6,
        "p99_us": latencies[int(len(latencies) * 0.99)] * 1e6,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
