"""What traces and logs cost: one running gateway, told by its file and SIGHUP to make more or fewer of them, in turns.

A busy machine makes a second dearer or cheaper by more than what is to be measured, and two processes are never alike.
So rounds are short, each has every mode once in another order, and what counts is how much more processor time a mode
took than the plain mode of the same round. The counters at `/metrics` say whether a mode was on.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import servers
from servers import Server

SAMPLING = 0.1
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "traces, 10 % sampled": {"callbacks": ["otel"]},
    "JSON logs": {"json_logs": True},
    "both": {"callbacks": ["otel"], "json_logs": True},
    "all traces": {"callbacks": ["otel"]},
}
TARGETS = {"traces, 10 % sampled": 15.0}
"""Per cent of a request's processor time."""
SETTLE_S = 0.6
"""Longer than what waits for a log or a collector waits for: two ticks."""


@dataclass(frozen=True)
class Dearer:
    """One mode beside the plain one: the share by which a request took more, in each round."""

    mode: str
    shares: list[float]
    cpu_us: float
    plain_us: float

    @property
    def note(self) -> str:
        low, _, high = statistics.quantiles(self.shares, n=4)
        return (
            f"{self.cpu_us:.1f} µs of the worker a request against {self.plain_us:.1f}; half of {len(self.shares)} "
            f"rounds within {low:+.1%} to {high:+.1%}"
        )


def with_mode(config: dict[str, Any], mode: str, sink: Server) -> dict[str, Any]:
    """A gateway's configuration that has this mode's signals on."""
    share = 1.0 if mode == "all traces" else SAMPLING
    callback = {"endpoint": f"http://127.0.0.1:{sink.port}", "sampling": share}
    more: dict[str, Any] = {"litellm_settings": {**config.get("litellm_settings", {}), **MODES[mode]}}
    if "callbacks" in MODES[mode]:
        more["callback_settings"] = {"otel": callback}
    return {**config, **more}


def rounds(server: Server, load: Callable[[], int], upstream: Server, sink: Server, count: int) -> list[Dearer]:
    """`load` runs for a second and says how many requests were answered."""
    assert server.folder is not None
    file = server.folder / "config.yaml"
    names, took_us = list(MODES), {name: [] for name in MODES}
    plain_config = servers.gateway_config(upstream)
    for number in range(count + 1):  # the first warms everything up
        for turn in range(len(names)):
            mode = names[(turn + number) % len(names)]
            file.write_text(json.dumps(with_mode(plain_config, mode, sink)))
            server.process.send_signal(signal.SIGHUP)
            time.sleep(SETTLE_S)
            counted, used_s = told(server.port), server.own_cpu_s()
            done = load()
            time.sleep(SETTLE_S)
            used_s = server.own_cpu_s() - used_s
            check(mode, done, counted, told(server.port))
            if number:
                took_us[mode].append(used_s / done * 1e6)
    plain = took_us["plain"]
    return [
        Dearer(
            mode, [each / base - 1 for each, base in zip(took, plain, strict=True)],
            statistics.median(took), statistics.median(plain),
        )
        for mode, took in took_us.items() if mode != "plain"
    ]  # fmt: skip


def told(port: int) -> dict[str, float]:
    """Records that went to each receiver so far."""
    text = scrape(port)
    found = re.findall(r'^routewright_exported_records_total\{receiver="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@contextmanager
def scraped(server: Server, every_s: float = 5.0) -> Iterator[None]:
    """Ask for `/metrics` again and again, as Prometheus does; the gateway may come up later, or be gone first."""
    ends = threading.Event()

    def ask() -> None:
        while not ends.wait(every_s):
            with suppress(OSError, http.client.HTTPException):
                scrape(server.port)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join(15)


def check(mode: str, requests: int, before: dict[str, float], after: dict[str, float]) -> None:
    """A mode that was not on, or was on where it was not to be, measures nothing."""
    traces, lines = (after.get(name, 0.0) - before.get(name, 0.0) for name in ("otel", "access_log"))
    share = 0.0 if "callbacks" not in MODES[mode] else 1.0 if mode == "all traces" else SAMPLING
    wanted = requests if MODES[mode].get("json_logs") else 0
    # A request that the end of the load cut off is told as well.
    if not 0.8 * share * requests <= traces <= 1.2 * share * requests + 100 or not wanted <= lines <= wanted + 100:
        raise RuntimeError(f"{mode}: of {requests} requests {traces:.0f} were traced and {lines:.0f} logged")


def scrape_ms(server: Server, times: int = 40) -> float:
    """Processor time of one scrape."""
    scrape(server.port)
    before_s = server.own_cpu_s()
    for _ in range(times):
        scrape(server.port)
    return (server.own_cpu_s() - before_s) / times * 1e3
