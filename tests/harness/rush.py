"""More clients than a gateway can serve, by a process of their own: `python rush.py FOLDER`.

Each has one request under way and asks again when it is answered; one that is refused first waits for as long as an
answer takes, so that the load stays what it is however many are refused. What came is told by status.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0
"""An answer that takes longer has not come."""


class Rush:
    """A running rush of clients. `end` stops it; it ends after `most_s` by itself."""

    def __init__(
        self, port: int, request: bytes, *, clients: int, pause_s: float, most_s: float = 900.0, addresses: int = 1
    ) -> None:
        """`pause_s`: after a refusal. `addresses`: so many of loopback's that the clients come from."""
        self._folder = tempfile.TemporaryDirectory(prefix="routewright-rush-")
        folder = Path(self._folder.name)
        (folder / "request").write_bytes(request)
        orders = {"port": port, "clients": clients, "pause_s": pause_s, "most_s": most_s, "addresses": addresses}
        (folder / "orders.json").write_text(json.dumps(orders))
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.told: dict[str, Any] = {}

    def __enter__(self) -> Rush:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> dict[str, Any]:
        """Let the last answers come. Returns `seconds`; `statuses`, how many answers by status; `ms`, of each status
        the median, the 99th percentile and the longest; `bodies`, one refusal's of each status with its head;
        `failures`, of connections, as texts with how often; `worst_s`, good answers in the slowest whole second."""
        if not self.told:
            out, _ = self._process.communicate(b"", timeout=2 * PATIENCE_S)
            self.told = json.loads(out)
            self._folder.cleanup()
        return self.told


class _Client(asyncio.Protocol):
    def __init__(self, rush: _Rush, place: int) -> None:
        self.rush, self.place = rush, place
        self.buffer = b""
        self.asked_s = 0.0
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        if self.transport.is_closing():
            return
        if self.rush.is_over:
            self.transport.close()
            return
        self.asked_s = time.monotonic()
        self.transport.write(self.rush.request)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer = self.buffer + data if self.buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        whole = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
        if len(buffer) < whole:
            return
        status = int(head[9:12])
        self.rush.answer(status, buffer, time.monotonic() - self.asked_s)
        self.asked_s, self.buffer = 0.0, b""
        if b"\r\nconnection: close" in head:
            self.transport.close()
        elif status == 200:
            self.ask()
        else:
            asyncio.get_running_loop().call_later(self.rush.pause_s, self.ask)

    def connection_lost(self, error: Exception | None) -> None:
        if self.asked_s:
            self.rush.failures[f"closed before its answer was whole: {error!r}"] += 1
        self.rush.lost(self.place)


class _Rush:
    def __init__(self, folder: Path) -> None:
        orders = json.loads((folder / "orders.json").read_text())
        self.request = (folder / "request").read_bytes()
        self.port, self.clients, self.pause_s = orders["port"], orders["clients"], orders["pause_s"]
        self.most_s, self.addresses = orders["most_s"], orders["addresses"]
        self.is_over = False
        self.waits_ms: dict[int, list[float]] = {}
        self.bodies: dict[int, str] = {}
        self.failures: Counter[str] = Counter()
        self.good_by_second: list[int] = []
        self.open = 0
        self.began_s = time.monotonic()
        self.tasks: set[asyncio.Task[None]] = set()

    def answer(self, status: int, raw: bytes, took_s: float) -> None:
        self.waits_ms.setdefault(status, []).append(took_s * 1e3)
        if status == 200:
            second = int(time.monotonic() - self.began_s)
            while len(self.good_by_second) <= second:
                self.good_by_second.append(0)
            self.good_by_second[second] += 1
        else:
            self.bodies.setdefault(status, raw.decode("latin-1"))

    def lost(self, place: int) -> None:
        self.open -= 1
        if not self.is_over:
            self.start(place, self.pause_s)

    def start(self, place: int, after_s: float = 0.0) -> None:
        task = asyncio.get_running_loop().create_task(self.connect(place, after_s))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def connect(self, place: int, after_s: float) -> None:
        await asyncio.sleep(after_s)
        here = (f"127.0.0.{1 + place % self.addresses}", 0)
        self.open += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: _Client(self, place), "127.0.0.1", self.port, local_addr=here
                )
        except OSError as error:
            self.failures[f"no connection: {type(error).__name__} {error.errno}"] += 1
            self.lost(place)

    async def run(self) -> None:
        loop, ends = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ends.set)  # its other end is closed, or whoever had it is gone
        for place in range(self.clients):
            self.start(place)
        try:
            async with asyncio.timeout(self.most_s):
                await ends.wait()
        except TimeoutError:
            pass
        took_s = time.monotonic() - self.began_s
        self.is_over = True
        loop.remove_reader(sys.stdin.fileno())
        cut_s = time.monotonic() + PATIENCE_S
        while self.open > 0 and time.monotonic() < cut_s:  # noqa: ASYNC110 - many, not one
            await asyncio.sleep(0.01)
        told = {
            "seconds": took_s,
            "statuses": {status: len(waits) for status, waits in self.waits_ms.items()},
            "ms": {status: _spread(sorted(waits)) for status, waits in self.waits_ms.items()},
            "bodies": self.bodies,
            "failures": self.failures,
            "worst_s": min(self.good_by_second[1:-1], default=0),
            "cpu_share": time.process_time() / took_s,
        }
        sys.stdout.write(json.dumps(told))


def _spread(waits: list[float]) -> list[float]:
    return [round(waits[int((len(waits) - 1) * at)], 1) for at in (0.5, 0.99, 1)]


if __name__ == "__main__":
    import uvloop

    uvloop.run(_Rush(Path(sys.argv[1])).run())
