#!/usr/bin/env python3
"""How many replicas a load wants, from unit costs that were measured, and what they ask of Valkey and the database.

    python bench/sizing.py --rate 100000 --replicas 16,32,64 --workers 4 [--measured bench/out/RUN.json]

A model, no measurement: requests come at random over keys of a Zipf distribution and over replicas; each second is
drawn anew. Unit costs are those of a run of `bench/run`, or arguments; their defaults are those of docs/operations.md,
on a two-core virtual machine.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SMALL_SHARE = 0.05
"""Of keys: those whose limit is below 200 a minute, so that each call of theirs asks by itself."""


@dataclass(frozen=True)
class Load:
    """A load, and what one replica's share of it asks for."""

    rate: float
    replicas: int
    workers: int
    keys: int
    skew: float
    worker_us: float
    ledger_us: float
    seconds: int = 5

    def cores(self) -> float:
        """That all replicas together are busy with."""
        return self.rate * (self.worker_us + self.ledger_us) / 1e6

    def busy(self) -> float:
        """Share of its time that a worker is busy."""
        return self.rate * self.worker_us / 1e6 / (self.replicas * self.workers)

    def lease_rows(self, rng: np.random.Generator) -> float:
        """Rows of leases that Valkey is asked for, a second.

        What is left of a portion goes back after a second, so a key that is in use is asked for once a second and
        replica; one with a small limit once a call.
        """
        weights = np.arange(1, self.keys + 1, dtype=float) ** -self.skew
        is_small = rng.random(self.keys) < SMALL_SHARE
        asked = 0.0
        for _ in range(self.seconds):
            calls = rng.multinomial(rng.poisson(self.rate), weights / weights.sum())
            asked += float(calls[is_small].sum())
            # A key with n calls is met by this many of the replicas on average.
            met = self.replicas * (1.0 - (1.0 - 1.0 / self.replicas) ** calls[~is_small])
            asked += float(met.sum())
        return asked / self.seconds


def measured(run: Path) -> tuple[float, float]:
    """Processor time of a worker and of the ledger's process for a request to a named model, microseconds."""
    values = {row["name"]: row["value"] for row in json.loads(run.read_text())["rows"]}
    worker_us, ledger_us = (values[f"unary, named model: CPU of the {who}"] for who in ("worker", "ledger's process"))
    return worker_us, ledger_us


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100_000, help="requests a second, all replicas together")
    parser.add_argument("--replicas", default="16,32,64")
    parser.add_argument("--workers", type=int, default=4, help="of a replica")
    parser.add_argument("--keys", type=int, default=20_000)
    parser.add_argument("--skew", type=float, default=1.1, help="of the Zipf distribution of requests over keys")
    parser.add_argument("--worker-us", type=float, default=76.0, help="a worker's processor time for a request")
    parser.add_argument("--ledger-us", type=float, default=21.0, help="the ledger's process for its row, microseconds")
    parser.add_argument("--measured", type=Path, help="a run of bench/run that has both")
    options = parser.parse_args()
    if options.measured is not None:
        options.worker_us, options.ledger_us = measured(options.measured)
    rng = np.random.default_rng(1)
    print(
        f"{options.rate:,.0f} requests/s over {options.keys:,} keys, {options.workers} workers a replica; "
        f"{options.worker_us:.0f} µs of a worker and {options.ledger_us:.0f} of the ledger's process a request"
    )
    print(
        "| replicas | cores busy | a worker is busy | requests/s each | lease rows/s | database rows/s | rows/s each |"
    )
    print("| --: | --: | --: | --: | --: | --: | --: |")
    for replicas in map(int, options.replicas.split(",")):
        load = Load(
            options.rate, replicas, options.workers, options.keys, options.skew, options.worker_us, options.ledger_us
        )
        print(
            f"| {replicas} | {load.cores():.1f} | {load.busy():.0%} | {load.rate / replicas:,.0f} "
            f"| {load.lease_rows(rng):,.0f} | {load.rate:,.0f} | {load.rate / replicas:,.0f} |"
        )


if __name__ == "__main__":
    main()
