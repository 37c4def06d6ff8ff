"""Counters of one worker. The hot path adds numbers in plain dictionaries; `/metrics` reads them when it is asked.

Labels are known values only: endpoints and models of the configuration, `other` for everything else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from routewright.errors import GatewayError
from routewright.types import Outcome, PartDecision

LATENCY_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
DECISION_BOUNDS_S = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.05)
MAX_SERIES = 2000
Labels = tuple[str, ...]


def _codes(kind: type[GatewayError]) -> set[str]:
    """The code of an error and of all its kinds."""
    return {kind.code or "other"}.union(*map(_codes, kind.__subclasses__()))


_CODES = frozenset(_codes(GatewayError))


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

    def add(self, labels: Labels, counts: list[float]) -> None:
        """Add counts that were kept elsewhere, in the shape of `series`."""
        known = self.series.get(labels)
        self.series[labels] = counts[:] if known is None else [a + b for a, b in zip(known, counts, strict=True)]

    def add_all(self, other: Counter | Histogram) -> None:
        if isinstance(other, Histogram):
            for labels, counts in other.series.items():
                self.add(labels, counts)

    def copy(self) -> Histogram:
        made = Histogram(self.name, self.help_text, self.label_names, self.bounds)
        made.add_all(self)
        return made

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

    def add_all(self, other: Counter | Histogram) -> None:
        if isinstance(other, Counter):
            for labels, value in other.series.items():
                self.add(labels, value)

    def copy(self) -> Counter:
        made = Counter(self.name, self.help_text, self.label_names)
        made.add_all(self)
        return made


class Tally:
    """All that is counted of requests that ended alike: one look-up a request instead of one a counter."""

    __slots__ = ("attempts", "cost_nusd", "fallbacks", "first_byte", "input_tokens", "latency", "output_tokens",
                 "requests")  # fmt: skip

    def __init__(self) -> None:
        self.requests = 0
        self.attempts = 0
        self.fallbacks = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_nusd = 0
        self.latency = [0.0] * (len(LATENCY_BOUNDS_S) + 2)
        self.first_byte = [0.0] * (len(LATENCY_BOUNDS_S) + 2)


class Metrics:
    """All counters, each named as `/metrics` names it."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, str, int], Tally] = {}
        self._errors = Counter(
            "litellm_proxy_failed_requests_metric", "Requests that failed", ("endpoint", "model", "exception_class")
        )
        self.front_errors = Counter(
            "routewright_front_errors", "Requests that the HTTP front refused", ("status_code", "code")
        )
        self._decisions = Counter("routewright_decisions", "Requests that a route placed", ("route", "model", "reason"))
        self._decision_time = Histogram(
            "routewright_decision_seconds", "Seconds to rate the candidates", ("route",), DECISION_BOUNDS_S
        )
        self._parts = Counter(
            "routewright_parts", "Calls made as a part of answering a request", ("route", "model", "stage", "verdict")
        )
        self._before: list[Counter | Histogram] = []

    def count(self, outcome: Outcome, now_s: float) -> None:
        """Count one request that has ended."""
        deployment = outcome.deployment
        if deployment is not None:
            alike = (outcome.endpoint, deployment.metrics_model, deployment.id, outcome.status)
        else:
            alike = (outcome.endpoint, "other", "", outcome.status)
        tally = self._tallies.get(alike)
        if tally is None:
            if len(self._tallies) >= MAX_SERIES:
                alike = (outcome.endpoint, "other", "other", outcome.status)
            tally = self._tallies.setdefault(alike, Tally())
        tally.requests += 1
        seconds = now_s - outcome.started_s
        tally.latency[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        tally.latency[-1] += seconds
        if outcome.error is not None:
            code = outcome.error if outcome.error in _CODES else "other"  # an upstream's own word may be anything
            self._errors.add((outcome.endpoint, alike[1], code))
        if deployment is None:
            return
        tally.attempts += outcome.attempts
        if outcome.fallbacks:
            tally.fallbacks += 1
        if outcome.first_byte_s:
            seconds = outcome.first_byte_s - outcome.started_s
            tally.first_byte[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
            tally.first_byte[-1] += seconds
        usage = outcome.usage
        if usage is not None:
            tally.input_tokens += usage.prompt_tokens
            tally.output_tokens += usage.completion_tokens
            tally.cost_nusd += outcome.cost_nusd
        decision = outcome.decision
        if decision is not None and decision.route is not None and decision.rating is not None:
            self._decisions.add((decision.route, decision.groups[0].name, decision.rating.reason))
            self._decision_time.observe((decision.route,), decision.microseconds / 1e6)

    def count_part(self, outcome: Outcome) -> None:
        """Count what one of the calls behind a request used: tokens and money, and no request."""
        deployment, usage, decision = outcome.deployment, outcome.usage, outcome.decision
        if deployment is None or usage is None:
            return
        alike = (outcome.endpoint, deployment.metrics_model, deployment.id, outcome.status)
        if alike not in self._tallies and len(self._tallies) >= MAX_SERIES:
            alike = (outcome.endpoint, "other", "other", outcome.status)
        tally = self._tallies.setdefault(alike, Tally())
        tally.attempts += outcome.attempts
        tally.input_tokens += usage.prompt_tokens
        tally.output_tokens += usage.completion_tokens
        tally.cost_nusd += outcome.cost_nusd
        if type(decision) is PartDecision and decision.route is not None:
            verdict = decision.verdict or "taken"
            self._parts.add((decision.route, deployment.metrics_model, decision.stage, verdict))

    # --- when somebody asks -------------------------------------------------------------------------------------------

    def counters(self) -> list[Counter]:
        """Every counter, always in the same order."""
        return [family for family in self._families() if isinstance(family, Counter)]

    def histograms(self) -> list[Histogram]:
        """Every histogram, always in the same order."""
        return [family for family in self._families() if isinstance(family, Histogram)]

    def continue_from(self, families: Iterable[Counter | Histogram]) -> None:
        """Start from what a predecessor has counted."""
        self._before.extend(families)

    def _families(self) -> list[Counter | Histogram]:
        requests = Counter(
            "litellm_proxy_total_requests_metric", "Requests to proxied endpoints", ("endpoint", "model", "status_code")
        )
        input_tokens = Counter("litellm_input_tokens_metric", "Prompt tokens", ("model",))
        output_tokens = Counter("litellm_output_tokens_metric", "Completion tokens", ("model",))
        spend = Counter("litellm_spend_metric", "US dollars spent", ("model",))
        attempts = Counter("routewright_upstream_attempts", "Requests sent to a deployment", ("deployment",))
        fallbacks = Counter("routewright_fallbacks", "Requests answered by a later candidate", ("model",))
        latency = Histogram(
            "litellm_request_total_latency_metric", "Seconds from request to end", ("model",), LATENCY_BOUNDS_S
        )
        first_byte = Histogram(
            "litellm_llm_api_time_to_first_token_metric", "Seconds to the first byte", ("model",), LATENCY_BOUNDS_S
        )
        for (endpoint, model, deployment, status), tally in self._tallies.items():
            requests.add((endpoint, model, str(status)), tally.requests)
            latency.add((model,), tally.latency)
            if deployment:
                input_tokens.add((model,), tally.input_tokens)
                output_tokens.add((model,), tally.output_tokens)
                spend.add((model,), tally.cost_nusd / 1e9)
                attempts.add((deployment,), tally.attempts)
                fallbacks.add((model,), tally.fallbacks)
                first_byte.add((model,), tally.first_byte)
        made: list[Counter | Histogram] = [
            requests, self._errors.copy(), self.front_errors.copy(), input_tokens, output_tokens, spend,
            self._decisions.copy(), attempts, fallbacks, latency, first_byte, self._decision_time.copy(),
            self._parts.copy(),
        ]  # fmt: skip
        by_name = {family.name: family for family in made}
        for earlier in self._before:
            by_name[earlier.name].add_all(earlier)
        return made


class PartMetrics:
    """Counts the calls that a request is made of; the request itself is counted by `Metrics.count`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(self, outcome: Outcome, now_s: float) -> None:
        self._metrics.count_part(outcome)
