#!/usr/bin/env python3
"""Fits routers on a million made-up prompts and twenty models, from disk: time, memory, and the time of a decision.

The set is written first, in the layout that `routewright fit` reads. Every router is fitted in a process of its own,
by the command that a user would type, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

ROUTERS = ("cluster", "logistic", "knn")
OUT = Path(__file__).resolve().parent / "out"
SUBJECTS = 40
WORDS_BY_SUBJECT = 300
SYLLABLES = ["ka", "lo", "mi", "ter", "an", "su", "pra", "ne", "vol", "den", "ri", "ost", "que", "bal", "in", "er"]


def write_set(folder: Path, n_prompts: int, n_models: int) -> None:
    """Prompts of some subjects, each with words of its own; a model's chance of a good answer goes by the subject."""
    rng = np.random.default_rng(0)
    words = [
        ["".join(rng.choice(SYLLABLES, size=rng.integers(2, 4))) for _ in range(WORDS_BY_SUBJECT)]
        for _ in range(SUBJECTS)
    ]
    chance = np.clip(np.linspace(0.4, 0.8, n_models) + 0.15 * rng.standard_normal((SUBJECTS, n_models)), 0.05, 0.95)
    price = np.geomspace(0.1, 20.0, n_models)
    models = [f"model-{number:02}" for number in range(n_models)]
    (folder / "made.models.json").write_text(
        json.dumps({m: {"input_price": p, "output_price": 4 * p} for m, p in zip(models, price.tolist(), strict=True)})
    )
    with (
        (folder / "made.prompts.jsonl").open("w") as prompts,
        (folder / "made.scores.csv").open("w", newline="") as scores,
        (folder / "made.out_tokens.csv").open("w", newline="") as tokens,
    ):
        tables = [csv.writer(file) for file in (scores, tokens)]
        for table in tables:
            table.writerow(["id", *models])
        done = 0
        while done < n_prompts:
            n = min(10_000, n_prompts - done)
            subject = rng.integers(SUBJECTS, size=n)
            picks = rng.integers(WORDS_BY_SUBJECT, size=(n, 30))
            right = (rng.random((n, n_models)) < chance[subject]).astype(int)
            lengths = rng.integers(50, 400, size=(n, n_models)) + 10 * subject[:, None]
            for row in range(n):
                number = done + row
                text = " ".join(words[subject[row]][pick] for pick in picks[row])
                split = "train" if number % 20 else ("valid" if number % 40 else "test")
                line = {"id": str(number), "task": f"subject {subject[row]}", "split": split, "prompt": text}
                prompts.write(json.dumps(line) + "\n")
                tables[0].writerow([number, *right[row].tolist()])
                tables[1].writerow([number, *lengths[row].tolist()])
            done += n


def fit(folder: Path, router: str, out: Path) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and gigabytes of one fit, which keeps one core busy."""
    command = [sys.executable, "-m", "routewright", "fit", "--data", str(folder), "--set", "made", "--force"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--router", router, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"fitting {router} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def decide(path: Path) -> tuple[float, float]:
    """Microseconds of rating a prompt with the router in a file, p50 and p99, and of its search alone."""
    from routewright.routing.artefact import read_artefact
    from routewright.types import Prompt

    artefact = read_artefact(path, force=True)
    rng = np.random.default_rng(1)
    took = []
    for number in range(1000):
        text = " ".join("".join(rng.choice(SYLLABLES, size=3)) for _ in range(30)) + f" {number}"
        started = time.perf_counter()
        artefact.router.rate_one(artefact.features.vector(Prompt(text=text)))
        took.append((time.perf_counter() - started) * 1e6)
    return float(np.quantile(took, 0.5)), float(np.quantile(took, 0.99))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--routers", default=",".join(ROUTERS))
    options = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    console = Console()
    table = Table(title=f"{options.prompts:,} prompts, {options.models} models; aims: 600 s, 4 GB, 1,000 µs")
    for name in ("router", "fit s", "CPU s", "peak GB", "file MB", "decision µs p50", "p99"):
        table.add_column(name, justify="right")
    figures = {}
    with tempfile.TemporaryDirectory(prefix="routewright-scale-") as name:
        folder = Path(name)
        started = time.perf_counter()
        write_set(folder, options.prompts, options.models)
        console.print(f"set written in {time.perf_counter() - started:.0f} s")
        for router in options.routers.split(","):
            out = folder / f"{router}.safetensors"
            seconds, cpu_seconds, gigabytes = fit(folder, router, out)
            p50, p99 = decide(out)
            size = out.stat().st_size / 1e6
            figures[router] = {
                "fit_s": seconds, "fit_cpu_s": cpu_seconds, "peak_gb": gigabytes, "file_mb": size,
                "p50_us": p50, "p99_us": p99,
            }  # fmt: skip
            shown = (
                f"{seconds:.0f}",
                f"{cpu_seconds:.0f}",
                f"{gigabytes:.2f}",
                f"{size:.0f}",
                f"{p50:.0f}",
                f"{p99:.0f}",
            )
            table.add_row(router, *shown)
    console.print(table)
    console.print(f"this script: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most")
    OUT.mkdir(exist_ok=True)
    (OUT / "scale.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
