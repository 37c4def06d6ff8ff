"""Which of the deployments that may be used gets the next request: LiteLLM's load-balancing strategies.

Only `usage-based-routing` looks at what all workers of the machine have sent, which is counted in shared memory; what
the others go by (requests in flight, measured latencies) each worker knows of itself.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Protocol

from routewright.settings import AttemptSettings
from routewright.types import Deployment

Used = Callable[[Deployment], int]
"""Tokens that a deployment was sent in the minute that is now, by all workers."""


class Strategy(Protocol):
    """Chooses among two or more."""

    def choose(self, usable: Sequence[Deployment], is_stream: bool) -> Deployment: ...


class Shuffle:
    """By chance, each in proportion to its weight; `catalog` has made one of `weight`, `rpm` or `tpm`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def choose(self, usable: Sequence[Deployment], is_stream: bool) -> Deployment:
        sums = list(accumulate([deployment.weight for deployment in usable]))
        if sums[-1] <= 0.0:
            return self._rng.choice(usable)
        return self._rng.choices(usable, cum_weights=sums)[0]


class Least:
    """The one of which something is least; by chance among equals."""

    def __init__(self, rng: random.Random, amount: Callable[[Deployment], float]) -> None:
        self._rng = rng
        self._amount = amount

    def choose(self, usable: Sequence[Deployment], is_stream: bool) -> Deployment:
        amounts = [self._amount(deployment) for deployment in usable]
        least = min(amounts)
        return self._rng.choice([each for each, amount in zip(usable, amounts, strict=True) if amount == least])


class Latencies:
    """The latest measurements of one deployment, each with its time: seconds per output token, and to the first byte
    of streams."""

    __slots__ = ("first_bytes", "paces")

    def __init__(self, most: int) -> None:
        self.paces: deque[tuple[float, float]] = deque(maxlen=most)
        self.first_bytes: deque[tuple[float, float]] = deque(maxlen=most)


class Fastest:
    """The one whose answers took least time per output token, or for streams least time to the first byte.

    Who is within `buffer` of the fastest is as good as it, and so is one that nothing is known of: it goes first. A
    deployment that was slow is asked again when its measurements are older than the ttl.
    """

    def __init__(self, settings: AttemptSettings, rng: random.Random, now: Callable[[], float]) -> None:
        self._rng = rng
        self._now = now
        self._ttl_s = settings.latency_ttl_s
        self._most = settings.latency_samples
        self._buffer = settings.lowest_latency_buffer

    def choose(self, usable: Sequence[Deployment], is_stream: bool) -> Deployment:
        since_s = self._now() - self._ttl_s
        means = [self._mean(deployment, is_stream, since_s) for deployment in usable]
        most = min(means) * (1.0 + self._buffer)
        return self._rng.choice([each for each, mean in zip(usable, means, strict=True) if mean <= most])

    @staticmethod
    def _mean(deployment: Deployment, is_stream: bool, since_s: float) -> float:
        known: Latencies | None = deployment.health.latencies
        if known is None:
            return 0.0
        for samples in (known.first_bytes, known.paces) if is_stream else (known.paces,):
            fresh = [value for at_s, value in samples if at_s >= since_s]
            if fresh:
                return sum(fresh) / len(fresh)
        return 0.0

    def note(
        self, deployment: Deployment, first_byte_s: float, whole_s: float, tokens: int, *, is_stream: bool
    ) -> None:
        """One more answer: seconds to its first byte and to its end, and its output tokens."""
        known = deployment.health.latencies
        if known is None or known.paces.maxlen != self._most:
            known = deployment.health.latencies = Latencies(self._most)
        now = self._now()
        known.paces.append((now, whole_s / max(1, tokens)))
        if is_stream:
            known.first_bytes.append((now, first_byte_s))

    def note_timeout(self, deployment: Deployment, waited_s: float) -> None:
        """Nothing came for so long: it counts as an answer of one token that took it."""
        self.note(deployment, waited_s, waited_s, 1, is_stream=True)


def make_strategy(settings: AttemptSettings, rng: random.Random, used: Used, now: Callable[[], float]) -> Strategy:
    """Raises ValueError for a name that is none; the configuration has been read by then, so it is a fault of ours."""
    match settings.routing_strategy:
        case "simple-shuffle" | "provider-budget-routing":  # of providers within their budgets, by chance
            return Shuffle(rng)
        case "least-busy":
            return Least(rng, lambda deployment: deployment.health.in_flight)
        case "latency-based-routing":
            return Fastest(settings, rng, now)
        case "cost-based-routing":
            return Least(rng, _price)
        case "usage-based-routing" | "usage-based-routing-v2":
            return Least(rng, used)
    raise ValueError(f"no strategy is called {settings.routing_strategy!r}")


def _price(deployment: Deployment) -> float:
    return deployment.input_nusd + deployment.output_nusd if deployment.is_priced else float("inf")
