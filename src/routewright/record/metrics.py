"""Counters of one worker. The hot path adds numbers in plain dictionaries; `/metrics` reads them when it is asked.

Labels are known values only: endpoints and models of the configuration, `other` for everything else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from routewright.types import Outcome

LATENCY_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
DECISION_BOUNDS_S = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.05)
MAX_SERIES = 2000
Labels = tuple[str, ...]


class Histogram:
    """Counts of observations below each bound, per label set."""

    def __init__(self, name: str, help_text: str, label_names: Labels, bounds: tuple[float, ...]) -> None:
        self.name, self.help_text, self.label_names, self.bounds = name, help_text, label_names, bounds
        self.series: dict[Labels, list[float]] = {}

    def observe(self, labels: Labels, value: float) -> None:
        counts = self.series.get(labels)
        if counts is None:
            counts = self.series[labels] = [0.0] * (len(self.bounds) + 2)
        counts[bisect_left(self.bounds, value)] += 1
        counts[-1] += value

    def buckets(self, counts: list[float]) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        total, out = 0.0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), counts[:-1], strict=True):
            total += count
            out.append((bound, total))
        return out


class Counter:
    """Sums per label set."""

    def __init__(self, name: str, help_text: str, label_names: Labels) -> None:
        self.name, self.help_text, self.label_names = name, help_text, label_names
        self.series: defaultdict[Labels, float] = defaultdict(float)

    def add(self, labels: Labels, value: float = 1.0) -> None:
        if labels not in self.series and len(self.series) >= MAX_SERIES:
            labels = ("other",) * len(labels)
        self.series[labels] += value


class Metrics:
    """All counters, each named as `/metrics` names it."""

    def __init__(self) -> None:
        self.requests = Counter(
            "litellm_proxy_total_requests_metric", "Requests to proxied endpoints", ("endpoint", "model", "status_code")
        )
        self.errors = Counter(
            "litellm_proxy_failed_requests_metric", "Requests that failed", ("endpoint", "model", "exception_class")
        )
        self.front_errors = Counter(
            "routewright_front_errors", "Requests that the HTTP front refused", ("status_code", "code")
        )
        self.input_tokens = Counter("litellm_input_tokens_metric", "Prompt tokens", ("model",))
        self.output_tokens = Counter("litellm_output_tokens_metric", "Completion tokens", ("model",))
        self.spend = Counter("litellm_spend_metric", "US dollars spent", ("model",))
        self.decisions = Counter("routewright_decisions", "Requests that a route placed", ("route", "model", "reason"))
        self.attempts = Counter("routewright_upstream_attempts", "Requests sent to a deployment", ("deployment",))
        self.fallbacks = Counter("routewright_fallbacks", "Requests answered by a later candidate", ("model",))
        self.latency = Histogram(
            "litellm_request_total_latency_metric", "Seconds from request to end", ("model",), LATENCY_BOUNDS_S
        )
        self.first_byte = Histogram(
            "litellm_llm_api_time_to_first_token_metric", "Seconds to the first byte", ("model",), LATENCY_BOUNDS_S
        )
        self.decision_time = Histogram(
            "routewright_decision_seconds", "Seconds to rate the candidates", ("route",), DECISION_BOUNDS_S
        )

    def counters(self) -> Iterator[Counter]:
        yield from (value for value in vars(self).values() if isinstance(value, Counter))

    def histograms(self) -> Iterator[Histogram]:
        yield from (value for value in vars(self).values() if isinstance(value, Histogram))

    def count(self, outcome: Outcome, now_s: float) -> None:
        """Count one request that has ended."""
        deployment = outcome.deployment
        model = deployment.model_name if deployment is not None else "other"
        self.requests.add((outcome.endpoint, model, str(outcome.status)))
        if outcome.error is not None:
            self.errors.add((outcome.endpoint, model, outcome.error))
        self.latency.observe((model,), now_s - outcome.started_s)
        if deployment is None:
            return
        self.attempts.add((deployment.id,), outcome.attempts)
        if outcome.fallbacks:
            self.fallbacks.add((model,))
        if outcome.first_byte_s:
            self.first_byte.observe((model,), outcome.first_byte_s - outcome.started_s)
        usage = outcome.usage
        if usage is not None:
            self.input_tokens.add((model,), usage.prompt_tokens)
            self.output_tokens.add((model,), usage.completion_tokens)
            if deployment.is_priced:
                self.spend.add((model,), deployment.cost_nusd(usage) / 1e9)
        decision = outcome.decision
        if decision is not None and decision.route is not None and decision.rating is not None:
            self.decisions.add((decision.route, decision.groups[0].name, decision.rating.reason))
            self.decision_time.observe((decision.route,), decision.microseconds / 1e6)
