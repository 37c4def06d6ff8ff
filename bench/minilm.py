#!/usr/bin/env python3
"""A route with MiniLM features under a constant load: the event loop's pauses, and what other requests feel of it.

    python bench/minilm.py                  # 200 requests/s to the route beside 100/s to a named model, 15 s a part
    python bench/minilm.py --rate 100 --seconds 5

Requests are sent when they are due, whether or not earlier ones have been answered, so waiting shows. Every prompt to
the route is new, save in the part that says otherwise. Each part has a gateway of its own, which is not pinned: its
encoder, its loop, the mock upstream and this script share the machine's cores. See bench/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

import servers
from routewright.learning.datasets import Dataset
from routewright.learning.fit import fit_router
from routewright.routing.artefact import write_artefact
from routewright.types import Prompt

SUBJECTS = ("sorting", "the evening sky", "inflation", "vaccines", "contracts", "monads", "rice", "square roots")
MODELS = ("gpt-4o", "gpt-4o-mini")
NAMED_RATE = 100


def prompt(word: str, subject: str) -> str:
    """About 50 tokens."""
    return (
        f"Please explain to a curious {word} reader how {subject} works. Use plain words and short sentences, give two "
        "small examples, say where the usual explanation is wrong, and end with one question that checks whether the "
        "reader has understood it."
    )


def word() -> str:
    return "".join(random.choices("abcdefghijklmnop", k=8))


def router_file(path: Path, features: str) -> Path:
    """A small router, fitted on made-up scores of made-up prompts."""
    rng = np.random.default_rng(0)
    subjects = rng.integers(len(SUBJECTS), size=160)
    quality = np.array([[0.9, 0.9 if s % 2 else 0.2] for s in subjects], dtype=np.float32)
    n = len(subjects)
    dataset = Dataset(
        name="made up",
        ids=tuple(str(i) for i in range(n)),
        tasks=("",) * n,
        splits=tuple("valid" if i % 4 == 0 else "train" for i in range(n)),
        prompts=tuple(Prompt(text=prompt(word(), SUBJECTS[s])) for s in subjects),
        prompt_tokens=np.full(n, 50, dtype=np.int32),
        models=MODELS,
        quality=quality,
        out_tokens=np.full((n, 2), 100, dtype=np.float32),
        cost_usd=np.tile(np.array([1e-3, 1e-4], dtype=np.float32), (n, 1)),
        prices=((2.5, 10.0), (0.15, 0.6)),
        sha256="0" * 64,
    )
    write_artefact(fit_router(dataset, "knn", features), path)
    return path


@dataclass
class Stream:
    """Requests of one kind, a constant number a second."""

    rate: float
    body: Callable[[], bytes]
    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0

    async def run(self, port: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        free: list[Connection] = []
        began_s = loop.time()
        waiting = set()
        for number in range(int(self.rate * seconds)):
            due_s = began_s + number / self.rate
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            task = asyncio.ensure_future(self._one(port, free, due_s))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.gather(*waiting)
        for connection in free:
            connection.writer.close()

    async def _one(self, port: int, free: list[Connection], due_s: float) -> None:
        connection = free.pop() if free else Connection(*await asyncio.open_connection("127.0.0.1", port))
        status = await connection.ask(self.body())
        self.latencies_s.append(asyncio.get_running_loop().time() - due_s)
        self.failed += status != 200
        free.append(connection)

    def quantile_ms(self, q: float) -> float:
        return float(np.quantile(self.latencies_s, q)) * 1e3


@dataclass
class Connection:
    """One kept connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, body: bytes) -> int:
        self.writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (servers.KEY.encode(), len(body), body)
        )
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        await self.reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return int(head.split(b" ")[1])


def chat(model: str, text: str) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()


def pauses(server: servers.Server, path: Path) -> list[float]:
    """The longest pause, in ms, of every second since it was asked last."""
    path.unlink(missing_ok=True)
    os.kill(server.process.pid, signal.SIGRTMIN)
    end_s = time.monotonic() + 10
    while not path.exists():
        if time.monotonic() > end_s:
            raise RuntimeError("the gateway's clock did not answer")
        time.sleep(0.01)
    told: list[float] = json.loads(path.read_text())
    return told


def reasons(data: Path) -> Counter[str]:
    """Why the route's requests went where they went, by the journal."""
    found: Counter[str] = Counter()
    for file in data.rglob("*.jsonl"):
        for line in file.read_text().splitlines():
            decision = json.loads(line).get("decision")
            if decision:
                found[decision["reason"]] += 1
    return found


def measure(folder: Path, router: Path | None, auto: Stream | None, seconds: float) -> dict[str, Any]:
    """One part: a gateway, the named model's stream and the route's."""
    named = Stream(NAMED_RATE, lambda: chat("gpt-4o-mini", prompt(word(), "a kite")))
    path = folder / "pauses.json"
    os.environ["BENCH_PAUSES"] = str(path)
    streams = [named] if auto is None else [named, auto]

    async def load(port: int, length: float) -> None:
        await asyncio.gather(*(stream.run(port, length) for stream in streams))

    with (
        servers.mock_upstream(None) as upstream,
        servers.gateway(
            folder, upstream, None, program=str(servers.HERE / "watched_gateway.py"), router=router
        ) as server,
    ):
        uvloop.run(load(server.port, 2.0))  # warming up: not counted
        pauses(server, path)
        before = reasons(folder / "gateway" / "data")
        for stream in streams:
            stream.latencies_s.clear()
        cpu_s, began_s = server.cpu_s(), time.monotonic()
        uvloop.run(load(server.port, seconds))
        took_s = time.monotonic() - began_s
        out: dict[str, Any] = {"pauses": pauses(server, path), "cpu_share": (server.cpu_s() - cpu_s) / took_s}
        out["memory_mb"] = server.memory_mb()
        out["reasons"] = dict(reasons(folder / "gateway" / "data") - before)
    for name, stream in (("named", named), ("auto", auto)):
        if stream is not None:
            out[name] = {
                "requests": len(stream.latencies_s),
                "failed": stream.failed,
                "p50_ms": stream.quantile_ms(0.5),
                "p99_ms": stream.quantile_ms(0.99),
            }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second to the route")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each part")
    parser.add_argument("--features", default="minilm")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    console = Console()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="routewright-bench-") as name:
        folder = Path(name)
        slow = router_file(folder / "slow.safetensors", chosen.features)
        quick = router_file(folder / "quick.safetensors", "hashed")
        known = [prompt(word(), subject) for subject in SUBJECTS * 8]

        def fresh() -> bytes:
            return chat("auto", prompt(word(), random.choice(SUBJECTS)))

        parts: list[tuple[str, Path | None, Callable[[], bytes] | None]] = [
            ("named model alone", None, None),
            (f"and hashed at {chosen.rate:g}/s", quick, fresh),
            (f"and {chosen.features} at {chosen.rate:g}/s", slow, fresh),
            (
                f"and {chosen.features} at {chosen.rate:g}/s, 64 prompts again",
                slow,
                lambda: chat("auto", random.choice(known)),
            ),
        ]
        for number, (title, router, body) in enumerate(parts):
            (folder / str(number)).mkdir()
            stream = None if body is None else Stream(chosen.rate, body)
            results[title] = measure(folder / str(number), router, stream, chosen.seconds)
    table = Table(title=f"{NAMED_RATE} requests/s to a named model, {chosen.seconds:g} s a part", title_justify="left")
    columns = ("longest pause of a second, ms: median", "least", "most", "named p50 / p99 ms", "auto p50 / p99 ms")
    for column in ("part", *columns, "with a vector", "cores used", "MB"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for title, result in results.items():
        counts = result["reasons"]
        missed = sum(count for reason, count in counts.items() if "vector" in reason)
        total = sum(counts.values())
        pairs = [
            f"{result[s]['p50_ms']:.2f} / {result[s]['p99_ms']:.2f}" if s in result else "" for s in ("named", "auto")
        ]
        seen = result["pauses"]
        table.add_row(
            title, *(f"{value:.2f}" for value in (float(np.median(seen)), min(seen), max(seen))), *pairs,
            f"{1 - missed / total:.1%}" if total else "", f"{result['cpu_share']:.2f}", f"{result['memory_mb']:.0f}",
        )  # fmt: skip
        failed = sum(result[s]["failed"] for s in ("named", "auto") if s in result)
        if failed:
            sys.exit(f"{failed} requests failed in part {title!r}")
    console.print(table)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
