#!/usr/bin/env python3
"""Times a routing decision: from the bytes of a chat request's body to the deployments in order, default router.

No socket and no other load: what a request to `auto` adds to a worker's loop. Every prompt is new to the router.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path
from time import perf_counter_ns

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from routewright import endpoints
from routewright.catalog import Catalog
from routewright.config import load_text
from routewright.demo.config import demo_config
from routewright.routing.live import LiveRouters
from routewright.types import Caller, HttpRequest
from routewright.wire.chat import parse_chat

OUT = Path(__file__).resolve().parent / "out"
TARGETS_US = {50: (150.0, 400.0), 500: (600.0, None), 5000: (None, None)}
"""Tokens of the prompt -> aims at p50 and p99."""
WORDS = [
    "the", "of", "a", "to", "in", "is", "for", "that", "with", "as", "on", "by", "from", "this", "which", "at", "be",
    "an", "it", "or", "are", "not", "how", "why", "explain", "contract", "court", "function", "integral", "market",
    "cell", "energy", "loop", "proof", "patient", "river", "music", "vector", "liable", "theorem", "sample", "return",
]  # fmt: skip
CALLER = Caller(key_hash="0" * 64, alias="bench", is_master=False, models=None)


def bodies(tokens: int, count: int) -> list[bytes]:
    """Chat requests with prompts of about so many tokens, no two alike."""
    rng = random.Random(tokens)
    out = []
    for number in range(count):
        words = [*rng.choices(WORDS, k=max(1, round(tokens * 0.85))), f"case {number}"]
        content = " ".join(words) + "?"
        out.append(json.dumps({"model": "auto", "messages": [{"role": "user", "content": content}]}).encode())
    return out


def time_decisions(tokens: int, count: int) -> tuple[float, float]:
    """p50 and p99 in microseconds."""
    settings = load_text(demo_config("http://127.0.0.1:9"), environ={})
    catalog = Catalog(settings, lambda group: True)
    routing = LiveRouters(settings.router, catalog.routes, catalog.route_candidates, Path("no such folder"))
    endpoint, _ = endpoints.find("/v1/chat/completions", "POST")
    request = HttpRequest()
    request.endpoint, request.caller, request.headers, request.model_in_path = endpoint, CALLER, {}, None
    took = []
    for body in bodies(tokens, count):
        request.body = body
        started = perf_counter_ns()
        call = parse_chat(request)
        decision = routing.decide(call, catalog.candidates(call, CALLER))
        took.append((perf_counter_ns() - started) / 1e3)
        assert decision is not None
        assert decision.groups[0].deployments
    took = took[len(took) // 10 :]
    return float(np.quantile(took, 0.5)), float(np.quantile(took, 0.99))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="decisions by length")
    options = parser.parse_args()
    table = Table(title="decision: bytes of the body -> deployments in order, µs")
    for name in ("prompt tokens", "p50", "aim", "p99", "aim"):
        table.add_column(name, justify="right")
    figures = {}
    for tokens, (aim50, aim99) in TARGETS_US.items():
        p50, p99 = time_decisions(tokens, options.count if tokens < 5000 else options.count // 5)
        figures[tokens] = {"p50_us": round(p50, 1), "p99_us": round(p99, 1)}
        table.add_row(
            str(tokens), f"{p50:.0f}", "" if aim50 is None else f"{aim50:.0f}",
            f"{p99:.0f}", "" if aim99 is None else f"{aim99:.0f}",
        )  # fmt: skip
    Console().print(table)
    OUT.mkdir(exist_ok=True)
    (OUT / "decide.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
