"""Requests at a fixed rate, by a process of their own that costs little: `python steady.py FOLDER`.

A load that asks again when it is answered slows down with what it asks, and hides that something stood still. This one
sends by the clock over connections that are kept, each used in turn; whoever is late is asked all the same. An answer
counts where it is whole, has status 200, and holds what it has to hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

TURN_S = 0.005
PATIENCE_S = 30.0
"""An answer that takes longer has not come."""
_COUNTS = struct.Struct("<QQ")


class Steady:
    """A running load; counts can be read while it runs. Ends after `most_s` by itself."""

    def __init__(
        self, port: int, request: bytes, *, rate: float, connections: int, holds: bytes = b"", most_s: float = 900.0
    ) -> None:
        """`request` is sent as it is. `holds`: what every answer's body contains."""
        self._folder = tempfile.TemporaryDirectory(prefix="routewright-steady-")
        folder = Path(self._folder.name)
        (folder / "request").write_bytes(request)
        (folder / "counts").write_bytes(bytes(_COUNTS.size))
        orders = {"port": port, "rate": rate, "connections": connections, "holds": holds.decode(), "most_s": most_s}
        (folder / "orders.json").write_text(json.dumps(orders))
        with (folder / "counts").open("rb") as file:
            self._counts = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.told: dict[str, Any] = {}

    @property
    def answered(self) -> int:
        """Good answers so far."""
        return int(_COUNTS.unpack_from(self._counts)[0])

    @property
    def failed(self) -> int:
        return int(_COUNTS.unpack_from(self._counts)[1])

    def __enter__(self) -> Steady:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> dict[str, Any]:
        """Let the last answers come. Returns `answered`, `failures` (texts), `rate` (answers a second over all of it),
        `worst_rate` (in its slowest whole second), `p50_ms`, `p99_ms`, `max_ms`, and the `cpu_share` of this load."""
        if not self.told:
            out, _ = self._process.communicate(b"", timeout=2 * PATIENCE_S)
            self.told = json.loads(out)
            self._counts.close()
            self._folder.cleanup()
        return self.told


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: _Load) -> None:
        self.load = load
        self.transport: Any = None
        self.buffer = b""
        self.asked_s = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.load.is_free(self)

    def ask(self, request: bytes, due_s: float) -> None:
        self.asked_s = due_s  # one that is sent late has waited already
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer = self.buffer + data if self.buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            self.load.fail(f"no length: {buffer[:300]!r}")
            self.transport.abort()
            return
        whole = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
        if len(buffer) < whole:
            return
        asked_s, self.asked_s, self.buffer = self.asked_s, 0.0, b""
        if not asked_s or len(buffer) > whole or not head.startswith(b"http/1.1 200 ") or self.load.holds not in buffer:
            self.load.fail(f"not the answer: {buffer[:600]!r}")
        else:
            self.load.answer(asked_s)
        if b"\r\nconnection: close" in head:
            self.transport.close()
        else:
            self.load.is_free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.asked_s:
            self.load.fail(f"closed before its answer was whole: {error!r} {self.buffer[:300]!r}")
            self.asked_s = 0.0
        self.load.lost(self)


class _Load:
    def __init__(self, folder: Path) -> None:
        orders = json.loads((folder / "orders.json").read_text())
        self.request = (folder / "request").read_bytes()
        self.port, self.rate, self.most = orders["port"], orders["rate"], orders["connections"]
        self.holds, self.most_s = orders["holds"].encode(), orders["most_s"]
        with (folder / "counts").open("r+b") as file:
            self.counts = mmap.mmap(file.fileno(), 0)
        self.free: deque[_Connection] = deque()
        self.opened: set[_Connection] = set()
        self.opening = 0
        self.sent = self.answered = 0
        self.waits_ms: list[float] = []
        self.by_second: list[int] = []
        self.failures: list[str] = []
        self.began_s = time.monotonic()

    def is_free(self, connection: _Connection) -> None:
        self.opened.add(connection)
        self.free.append(connection)

    def lost(self, connection: _Connection) -> None:
        self.opened.discard(connection)
        with contextlib.suppress(ValueError):
            self.free.remove(connection)

    def answer(self, asked_s: float) -> None:
        now_s = time.monotonic()
        self.answered += 1
        self.waits_ms.append((now_s - asked_s) * 1e3)
        second = int(now_s - self.began_s)
        while len(self.by_second) <= second:
            self.by_second.append(0)
        self.by_second[second] += 1

    def fail(self, what: str) -> None:
        self.failures.append(f"after {time.monotonic() - self.began_s:.2f} s: {what}")

    async def connect(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().create_connection(lambda: _Connection(self), "127.0.0.1", self.port)
        except OSError as error:
            self.fail(f"no connection: {error!r}")
        finally:
            self.opening -= 1

    async def run(self) -> None:
        loop, ends = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ends.set)  # its other end is closed, or whoever had it is gone
        tasks: set[asyncio.Task[None]] = set()
        # What is owed counts from the moment that all connections stand.
        self.opening = self.most
        await asyncio.gather(*(self.connect() for _ in range(self.most)))
        self.began_s = began_s = time.monotonic()
        while not ends.is_set() and time.monotonic() < began_s + self.most_s:
            now_s = time.monotonic()
            owed = int((now_s - began_s) * self.rate) - self.sent
            while owed > 0 and self.free:
                self.free.popleft().ask(self.request, began_s + self.sent / self.rate)
                self.sent += 1
                owed -= 1
            while len(self.opened) + self.opening < self.most:
                self.opening += 1
                task = loop.create_task(self.connect())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            _COUNTS.pack_into(self.counts, 0, self.answered, len(self.failures))
            await asyncio.sleep(TURN_S)
        took_s = time.monotonic() - began_s
        cut_s = time.monotonic() + PATIENCE_S
        while any(each.asked_s for each in self.opened) and time.monotonic() < cut_s:  # noqa: ASYNC110 - many, not one
            await asyncio.sleep(TURN_S)
        for each in self.opened:
            if each.asked_s:
                self.fail("no answer")
                each.asked_s = 0.0
            each.transport.abort()
        waits = sorted(self.waits_ms) or [0.0]
        loop.remove_reader(sys.stdin.fileno())
        told = {
            "answered": self.answered,
            "failures": self.failures[:20],
            "failed": len(self.failures),
            "seconds": took_s,
            "rate": self.answered / took_s,
            "worst_rate": min(self.by_second[:-1], default=0),
            "p50_ms": waits[len(waits) // 2],
            "p99_ms": waits[int(len(waits) * 0.99)],
            "max_ms": waits[-1],
            "cpu_share": time.process_time() / took_s,
        }
        sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    import uvloop

    uvloop.run(_Load(Path(sys.argv[1])).run())
