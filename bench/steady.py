"""A load at a constant rate: `python bench/steady.py PORT RATE SECONDS` posts the first of the bodies in BENCH_BODIES.

A request is sent when it is due, whether or not earlier ones have been answered, and its latency counts from when it
was due: so whatever holds the server up shows for everybody who would have come meanwhile, which a load that waits for
its answers hides. What comes in the same millisecond comes together: a finer clock would keep this process busy, and
the upstream beside it waiting. Ends with one line of JSON, in the words of `load.lua`.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import threading
import time
from typing import Any

import uvloop

MAX_CONNECTIONS = 256
TICK_S = 0.001


class Line(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.due_s = 0.0
        self._left = -1
        self._head = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._load.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """One that has nothing to do for long is closed by the server; an answer that is due is one that failed (`run`
        counts what is missing)."""
        if self in self._load.idle:
            self._load.idle.remove(self)

    def send(self, due_s: float) -> None:
        self.due_s, self._left = due_s, -1
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            data = self._head + data
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._head = data
                return
            head, self._head = data[:end].lower(), b""
            at = head.index(b"content-length:") + 15
            self._left = end + int(head[at : head.index(b"\r", at)])
            self._load.failed += head[9:12] != b"200"
        self._left -= len(data)
        if self._left == 0:
            self._load.latencies_s.append(time.perf_counter() - self.due_s)
            self._load.freed(self)


class Load:
    """The connections, and what is due."""

    def __init__(self, port: int, rate: float, seconds: float) -> None:
        with open(os.environ["BENCH_BODIES"], "rb") as file:
            body = file.readline().strip()
        self.request = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {os.environ['BENCH_KEY']}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self.port, self.rate, self.seconds = port, rate, seconds
        self.idle: list[Line] = []
        self.waiting: list[float] = []
        self.latencies_s: list[float] = []
        self.failed = 0

    def freed(self, line: Line) -> None:
        if self.waiting:
            line.send(self.waiting.pop(0))
        else:
            self.idle.append(line)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(MAX_CONNECTIONS):
            await loop.create_connection(lambda: Line(self), "127.0.0.1", self.port)
        ticks = os.eventfd(0, os.EFD_NONBLOCK)
        sent_all = asyncio.Event()
        started_s, sent, count = time.perf_counter() + 0.05, 0, int(self.rate * self.seconds)

        def on_tick() -> None:
            nonlocal sent
            os.eventfd_read(ticks)
            now_s = time.perf_counter()
            while sent < count:
                due_s = started_s + math.ceil(sent / self.rate / TICK_S) * TICK_S
                if due_s > now_s:
                    return
                sent += 1
                if self.idle:
                    self.idle.pop().send(due_s)
                else:
                    self.waiting.append(due_s)
            sent_all.set()

        loop.add_reader(ticks, on_tick)
        threading.Thread(target=tick, args=(ticks, started_s, sent_all), daemon=True).start()
        await sent_all.wait()
        loop.remove_reader(ticks)
        end_s = time.perf_counter() + 10
        # An event would cost something with every answer.
        while len(self.latencies_s) < count and time.perf_counter() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.failed += count - len(self.latencies_s)


def tick(ticks: int, started_s: float, over: asyncio.Event) -> None:
    """Once a millisecond, in a thread: the loop's own timers come up to a millisecond late."""
    number = 0
    while not over.is_set():
        number = max(number + 1, int((time.perf_counter() - started_s) / TICK_S) + 1)
        time.sleep(max(0.0, started_s + number * TICK_S - time.perf_counter()))
        os.eventfd_write(ticks, 1)


def main() -> None:
    load = Load(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
    uvloop.run(load.run())
    found = sorted(load.latencies_s)

    def at(share: float) -> float:
        return found[min(len(found) - 1, int(len(found) * share))] * 1e6

    print(json.dumps({"requests": len(found), "seconds": load.seconds, "failed": load.failed, "p50_us": at(0.5),
                      "p99_us": at(0.99), "p999_us": at(0.999)}))  # fmt: skip


if __name__ == "__main__":
    main()
