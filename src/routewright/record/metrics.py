"""Counters of one worker. The hot path adds numbers in plain lists; `/metrics` reads them when it is asked.

Labels are known values only: endpoints, models, deployments and keys that the configuration or the store knows, `other`
for everything else. Where LiteLLM has a metric its name and its labels are LiteLLM's, save those that a caller writes
(`end_user`) or that tell an address (`api_base`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from routewright.errors import GatewayError
from routewright.record.families import MAX_SERIES, OTHER, Counter, Family, Gauge, Histogram, Labels, observe_all
from routewright.types import Deployment, Notes, Outcome, PartDecision

LATENCY_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
OVERHEAD_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
WAIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PACE_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
DECISION_BOUNDS_S = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.05)
CONFIDENCE_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MARGIN_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)


def _codes(kind: type[GatewayError]) -> set[str]:
    """The code of an error and of all its kinds."""
    return {kind.code or OTHER}.union(*map(_codes, kind.__subclasses__()))


_CODES = frozenset(_codes(GatewayError))


def known_code(code: str | None) -> str:
    """An error's code as a label: an upstream's own word may be anything."""
    return code if code in _CODES and code is not None else OTHER


Alike = tuple[str, str, str, int, str, str, str | None, str | None, str | None]
"""Endpoint, model asked for, deployment, status, error, key's hash, its alias, team, user."""
REQUESTS, ATTEMPTS, INPUT, OUTPUT, CACHED, COST_NUSD, LEFT = range(7)
NUMBERS = 7
TOGETHER = 256
"""Requests that are counted at once."""
_NOBODY: Alike = (OTHER, OTHER, "", 0, "", OTHER, OTHER, OTHER, OTHER)

_OF_KEY = ("hashed_api_key", "api_key_alias", "team", "user")
_OF_MODEL = (*_OF_KEY, "model", "requested_model")
OF_DEPLOYMENT = ("litellm_model_name", "model_id", "api_provider")
_OF_FALLBACK = ("requested_model", "fallback_model", "exception_class")


class Tally:
    """All that is counted of requests that ended alike: one look-up a request instead of one a counter.

    Usual ones are only noted, and counted together now and then: adding up a column and sorting it costs a request a
    fifth of finding its place in each histogram by itself.
    """

    __slots__ = ("api", "first_byte", "latency", "model", "numbers", "overhead", "pace", "provider", "recent",
                 "upstream_model")  # fmt: skip

    def __init__(self, model: str, upstream_model: str, provider: str) -> None:
        self.model, self.upstream_model, self.provider = model, upstream_model, provider
        self.numbers = [0] * NUMBERS
        self.recent: list[tuple[float, float, float, int, int, int, int]] = []
        """Of requests that one attempt answered, not counted yet: seconds in all, from asking the upstream and before
        it; tokens of the prompt, of the answer and from a cache; nano-dollars."""
        self.latency: list[float] = []
        """Numbers of histograms, which several tallies share."""
        self.api: list[float] = []
        self.first_byte: list[float] = []
        self.overhead: list[float] = []
        self.pace: list[float] = []

    def count_recent(self) -> None:
        """Count what was only noted."""
        if not self.recent:
            return
        recent, self.recent = self.recent, []
        seconds, api, before, prompt, completion, cached, cost = zip(*recent, strict=True)
        numbers = self.numbers
        numbers[REQUESTS] += len(recent)
        numbers[ATTEMPTS] += len(recent)
        numbers[INPUT] += sum(prompt)
        numbers[OUTPUT] += sum(completion)
        numbers[CACHED] += sum(cached)
        numbers[COST_NUSD] += sum(cost)
        observe_all(self.latency, LATENCY_BOUNDS_S, seconds)
        observe_all(self.api, LATENCY_BOUNDS_S, api)
        observe_all(self.overhead, OVERHEAD_BOUNDS_S, before)
        paces = [each_s / tokens for each_s, tokens in zip(api, completion, strict=True) if tokens]
        observe_all(self.pace, PACE_BOUNDS_S, paces)


class Choice:
    """What is counted of one choice of a route; noted first, as in a tally."""

    __slots__ = ("baseline_nusd", "confidence", "cost_nusd", "count", "margin", "recent", "time")

    def __init__(self, time: list[float], confidence: list[float], margin: list[float]) -> None:
        self.count = self.cost_nusd = self.baseline_nusd = 0
        self.time, self.confidence, self.margin = time, confidence, margin
        self.recent: list[tuple[int, int, float, float, float]] = []
        """Not counted yet: nano-dollars, those of the baseline, seconds, confidence, margin."""

    def count_recent(self) -> None:
        """Count what was only noted."""
        if not self.recent:
            return
        recent, self.recent = self.recent, []
        costs, baselines, seconds, confidences, margins = zip(*recent, strict=True)
        self.count += len(recent)
        self.cost_nusd += sum(costs)
        self.baseline_nusd += sum(baselines)
        observe_all(self.time, DECISION_BOUNDS_S, seconds)
        observe_all(self.confidence, CONFIDENCE_BOUNDS, confidences)
        observe_all(self.margin, MARGIN_BOUNDS, margins)


class Raw(msgspec.Struct):
    """All that was counted, as it travels from one worker to another and to its successor."""

    tallies: list[tuple[Alike, tuple[str, str, str], list[int]]] = []
    choices: list[tuple[tuple[str, str, str], int, int, int]] = []
    counters: dict[str, list[tuple[Labels, float]]] = {}
    histograms: dict[str, list[tuple[Labels, list[float]]]] = {}
    gauges: dict[str, list[tuple[Labels, float]]] = {}


class Metrics:
    """What one worker has counted, or several together."""

    def __init__(self) -> None:
        self._tallies: dict[Alike, Tally] = {}
        self._choices: dict[tuple[str, str, str], Choice] = {}
        of_model, of_route = ("requested_model", "model"), ("route",)
        self._latency = Histogram(
            "litellm_request_total_latency_metric", "Seconds from request to end", of_model, LATENCY_BOUNDS_S
        )
        self._api = Histogram(
            "litellm_llm_api_latency_metric",
            "Seconds from asking the upstream that answered to the end",
            of_model,
            LATENCY_BOUNDS_S,
        )
        self._first_byte = Histogram(
            "litellm_llm_api_time_to_first_token_metric",
            "Seconds to the first byte of a streamed answer",
            of_model,
            LATENCY_BOUNDS_S,
        )
        self._overhead = Histogram(
            "litellm_overhead_latency_metric",
            "Seconds before the upstream was asked, of requests that asked one once",
            of_model,
            OVERHEAD_BOUNDS_S,
        )
        self._waited = Histogram(
            "litellm_request_queue_time_seconds",
            "Seconds that a request waited for its limits to be known, or for a slow feature of its prompt",
            of_model,
            WAIT_BOUNDS_S,
        )
        """Of those that waited at all: the others are counted when somebody asks."""
        self._pace = Histogram(
            "litellm_deployment_latency_per_output_token",
            "Seconds of an answer by its output tokens",
            OF_DEPLOYMENT,
            PACE_BOUNDS_S,
        )
        self._decision_time = Histogram(
            "routewright_decision_seconds", "Seconds to rate the candidates", of_route, DECISION_BOUNDS_S
        )
        self._confidence = Histogram(
            "routewright_decision_confidence", "Expected score of the choice, 0..1", of_route, CONFIDENCE_BOUNDS
        )
        self._margin = Histogram(
            "routewright_decision_margin", "Objective of the choice less that of the next", of_route, MARGIN_BOUNDS
        )
        self._histograms = (
            self._latency, self._api, self._first_byte, self._overhead, self._pace, self._decision_time,
            self._confidence, self._margin, self._waited,
        )  # fmt: skip
        self.front_errors = Counter(
            "routewright_front_errors", "Requests that the HTTP front refused", ("status_code", "code")
        )
        self._parts = Counter(
            "routewright_parts", "Calls made as a part of answering a request", ("route", "model", "stage", "verdict")
        )
        self._fallbacks = Counter(
            "routewright_fallbacks", "Requests answered by a later candidate, by why the first did not",
            ("requested_model", "model", "reason"),
        )  # fmt: skip
        self._fell_back = Counter(
            "litellm_deployment_successful_fallbacks", "Requests that a later candidate answered", _OF_FALLBACK
        )
        self._fell_through = Counter(
            "litellm_deployment_failed_fallbacks", "Requests that no later candidate answered", _OF_FALLBACK
        )
        self._failures = Counter(
            "litellm_deployment_failure_responses", "Attempts that an upstream did not answer well",
            (*OF_DEPLOYMENT, "exception_class"),
        )  # fmt: skip
        self._cooled_down = Counter(
            "litellm_deployment_cooled_down", "Times that a deployment was left alone after failures", OF_DEPLOYMENT
        )
        self._hits = Counter("litellm_cache_hits", "Requests answered from the response cache", ("requested_model",))
        self._misses = Counter(
            "litellm_cache_misses", "Requests whose answer could have been in the cache", ("requested_model",)
        )
        self._guarded = Counter(
            "litellm_guardrail_requests", "Requests that a guardrail looked at", ("guardrail_name", "status")
        )
        self._exported = Counter(
            "routewright_exported_records", "Records that went to the log, a callback or a collector", ("receiver",)
        )
        self._lost = Counter(
            "routewright_export_lost_records",
            "Records that a log, a callback or a collector did not get",
            ("receiver",),
        )
        self._counters = (
            self._exported, self._lost,
            self.front_errors, self._parts, self._fallbacks, self._fell_back, self._fell_through, self._failures,
            self._cooled_down, self._hits, self._misses, self._guarded,
        )  # fmt: skip
        self.gauges: Callable[[], Iterable[Gauge]] | None = None
        """What is so at this moment; asked for at a scrape."""

    def count_failure(self, deployment: Deployment, error: GatewayError) -> None:
        """An attempt that its upstream did not answer well."""
        self._failures.add((*labels_of(deployment), known_code(error.code)))

    def count_exported(self, receiver: str, sent: int, lost: int) -> None:
        """Records that left by an outbox, and those that will not."""
        self._exported.add((receiver,), sent)
        self._lost.add((receiver,), lost)

    def count_cooldown(self, deployment: Deployment) -> None:
        self._cooled_down.add(labels_of(deployment))

    # --- while serving ------------------------------------------------------------------------------------------------

    def count(self, outcome: Outcome, now_s: float, baseline_nusd: int = 0) -> None:
        """Count one request that has ended. `baseline_nusd`: what it would have cost at its route's best candidate."""
        deployment, decision, caller, error = outcome.deployment, outcome.decision, outcome.caller, outcome.error
        if decision is None or not decision.groups:
            asked = OTHER
        else:
            asked = decision.route or decision.groups[0].deployments[0].metrics_model
        alike = (
            outcome.endpoint, asked, "" if deployment is None else deployment.id, outcome.status,
            "" if error is None else error if error in _CODES else OTHER,
            caller.key_hash, caller.alias, caller.team_id, caller.user_id,
        )  # fmt: skip
        tally = self._tallies.get(alike)
        if tally is None:
            tally = self._tally(alike, outcome)
        if outcome.notes is not None:
            self._count_notes(outcome.notes, asked)
        started_s, asked_s, usage = outcome.started_s, outcome.asked_s, outcome.usage
        if outcome.waited_s:
            self._waited.observe((asked, tally.model), outcome.waited_s)
        if usage is not None and deployment is not None and asked_s and outcome.attempts == 1:
            recent = tally.recent
            recent.append((
                now_s - started_s, now_s - asked_s, asked_s - started_s, usage.prompt_tokens, usage.completion_tokens,
                usage.cached_tokens, outcome.cost_nusd,
            ))  # fmt: skip
            if len(recent) >= TOGETHER:
                tally.count_recent()
        else:
            self._count_unusual(tally, outcome, now_s)
            if deployment is None:
                return
        call = outcome.call
        if outcome.first_byte_s and call is not None and call.is_stream:
            seconds = outcome.first_byte_s - started_s
            counts = tally.first_byte
            counts[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
            counts[-1] += seconds
        if outcome.ended == "client_gone":
            tally.numbers[LEFT] += 1
        if outcome.fallbacks:
            self._count_fallback(outcome, asked)
        if decision is not None and decision.route is not None and decision.rating is not None:
            rating = decision.rating
            key = (decision.route, decision.groups[0].name, rating.reason)
            choice = self._choices.get(key)
            if choice is None:
                choice = self._choice(key)
            recent_choices = choice.recent
            recent_choices.append(
                (outcome.cost_nusd, baseline_nusd, decision.microseconds / 1e6, rating.confidence, rating.margin)
            )
            if len(recent_choices) >= TOGETHER:
                choice.count_recent()

    @staticmethod
    def _count_unusual(tally: Tally, outcome: Outcome, now_s: float) -> None:
        """One that was refused, found in a cache, tried more than once, or not paid."""
        numbers, asked_s, usage = tally.numbers, outcome.asked_s, outcome.usage
        numbers[REQUESTS] += 1
        observe_all(tally.latency, LATENCY_BOUNDS_S, (now_s - outcome.started_s,))
        if outcome.deployment is None:
            return
        numbers[ATTEMPTS] += outcome.attempts
        if asked_s:
            observe_all(tally.api, LATENCY_BOUNDS_S, (now_s - asked_s,))
            if outcome.attempts == 1:
                observe_all(tally.overhead, OVERHEAD_BOUNDS_S, (asked_s - outcome.started_s,))
        if usage is not None:
            numbers[INPUT] += usage.prompt_tokens
            numbers[OUTPUT] += usage.completion_tokens
            numbers[CACHED] += usage.cached_tokens
            numbers[COST_NUSD] += outcome.cost_nusd
            if asked_s and usage.completion_tokens:
                observe_all(tally.pace, PACE_BOUNDS_S, ((now_s - asked_s) / usage.completion_tokens,))

    def _count_recent(self) -> None:
        for tally in self._tallies.values():
            tally.count_recent()
        for choice in self._choices.values():
            choice.count_recent()

    def _tally(self, alike: Alike, outcome: Outcome) -> Tally:
        """Where requests like this are counted from now on; beyond the cap without who asked, then without all."""
        if len(self._tallies) >= MAX_SERIES:
            alike = (*alike[:5], OTHER, OTHER, OTHER, OTHER)
            if len(self._tallies) >= 2 * MAX_SERIES and alike not in self._tallies:
                alike = _NOBODY
            if alike in self._tallies:
                return self._tallies[alike]
        deployment = outcome.deployment
        if alike is _NOBODY or deployment is None:
            tally = Tally(OTHER, OTHER, OTHER)
        else:
            tally = Tally(deployment.metrics_model, labels_of(deployment)[0], deployment.provider)
        self._tallies[alike] = tally
        self._share(tally, alike)
        return tally

    def _share(self, tally: Tally, alike: Alike) -> None:
        labels = (alike[1], tally.model)
        tally.latency, tally.api = self._latency.of(labels), self._api.of(labels)
        tally.first_byte, tally.overhead = self._first_byte.of(labels), self._overhead.of(labels)
        tally.pace = self._pace.of((tally.upstream_model, alike[2], tally.provider))

    def _choice(self, key: tuple[str, str, str]) -> Choice:
        if len(self._choices) >= MAX_SERIES:
            key = (key[0], OTHER, OTHER)
        labels = key[:1]
        made = Choice(self._decision_time.of(labels), self._confidence.of(labels), self._margin.of(labels))
        return self._choices.setdefault(key, made)

    def _count_fallback(self, outcome: Outcome, asked: str) -> None:
        assert outcome.deployment is not None
        model, reason = outcome.deployment.metrics_model, known_code(outcome.fell_back_on)
        has_answer = outcome.status == 200 and outcome.error is None
        (self._fell_back if has_answer else self._fell_through).add((asked, model, reason))
        self._fallbacks.add((asked, model, reason))

    def _count_notes(self, notes: Notes, asked: str) -> None:
        """What the cache and the guardrails did."""
        if notes.cache_key:
            (self._hits if notes.cache_hit else self._misses).add((asked,))
        for name in notes.guardrails:
            self._guarded.add((name, "blocked" if name == notes.blocked_by else "passed"))

    def count_part(self, outcome: Outcome) -> None:
        """Count what one of the calls behind a request used: tokens and money, and no request."""
        deployment, usage, decision = outcome.deployment, outcome.usage, outcome.decision
        if deployment is None or usage is None:
            return
        caller = outcome.caller
        asked = deployment.metrics_model if decision is None or decision.route is None else decision.route
        alike = (
            outcome.endpoint, asked, deployment.id, outcome.status, "",
            caller.key_hash, caller.alias, caller.team_id, caller.user_id,
        )  # fmt: skip
        numbers = (self._tallies.get(alike) or self._tally(alike, outcome)).numbers
        numbers[ATTEMPTS] += outcome.attempts
        numbers[INPUT] += usage.prompt_tokens
        numbers[OUTPUT] += usage.completion_tokens
        numbers[CACHED] += usage.cached_tokens
        numbers[COST_NUSD] += outcome.cost_nusd
        if type(decision) is PartDecision and decision.route is not None:
            verdict = decision.verdict or "taken"
            self._parts.add((decision.route, deployment.metrics_model, decision.stage, verdict))

    # --- when somebody asks -------------------------------------------------------------------------------------------

    def raw(self) -> Raw:
        """All of it; nothing that goes on being counted in is shared."""
        self._count_recent()
        return Raw(
            [
                (alike, (tally.model, tally.upstream_model, tally.provider), tally.numbers[:])
                for alike, tally in self._tallies.items()
            ],
            [(key, each.count, each.cost_nusd, each.baseline_nusd) for key, each in self._choices.items()],
            {counter.name: list(counter.series.items()) for counter in self._counters},
            {
                histogram.name: [(labels, numbers[:]) for labels, numbers in histogram.series.items()]
                for histogram in self._histograms
            },
            {} if self.gauges is None else {gauge.name: list(gauge.series.items()) for gauge in self.gauges()},
        )

    def aliases(self) -> dict[str, str]:
        """The names of keys that have asked, by their hash."""
        return {alike[5]: alike[6] for alike in self._tallies if alike[6] is not None}

    def absorb(self, raw: Raw) -> None:
        """Count in what another worker, or a predecessor, has counted; its gauges are not taken."""
        for alike, (model, upstream_model, provider), numbers in raw.tallies:
            tally = self._tallies.get(alike)
            if tally is None:
                if len(self._tallies) > 2 * MAX_SERIES:
                    alike = _NOBODY
                tally = self._tallies.setdefault(alike, Tally(model, upstream_model, provider))
                self._share(tally, alike)
            tally.count_recent()
            tally.numbers = [mine + theirs for mine, theirs in zip(tally.numbers, numbers, strict=True)]
        for key, count, cost_nusd, baseline_nusd in raw.choices:
            choice = self._choices.get(key) or self._choice(key)
            choice.count += count
            choice.cost_nusd += cost_nusd
            choice.baseline_nusd += baseline_nusd
        for counter in self._counters:
            for labels, value in raw.counters.get(counter.name, ()):
                counter.add(labels, value)
        for histogram in self._histograms:
            for labels, counts in raw.histograms.get(histogram.name, ()):
                histogram.add(labels, counts)

    def families(self) -> list[Family]:
        """Every counter and histogram, always in the same order; gauges come from whom they are of."""
        self._count_recent()
        counter = partial(Counter, most=3 * MAX_SERIES)  # there are no more tallies than that
        requests = counter(
            "litellm_proxy_total_requests_metric", "Requests to proxied endpoints",
            (*_OF_KEY, "requested_model", "status_code", "endpoint"),
        )  # fmt: skip
        errors = counter(
            "litellm_proxy_failed_requests_metric", "Requests that failed",
            (*_OF_KEY, "requested_model", "exception_status", "exception_class", "endpoint"),
        )  # fmt: skip
        calls = counter("litellm_requests_metric", "Requests that a model was asked for", _OF_MODEL)
        spend = counter("litellm_spend_metric", "US dollars spent", _OF_MODEL)
        total_tokens = counter("litellm_total_tokens_metric", "Prompt and completion tokens", _OF_MODEL)
        input_tokens = counter("litellm_input_tokens_metric", "Prompt tokens", _OF_MODEL)
        output_tokens = counter("litellm_output_tokens_metric", "Completion tokens", _OF_MODEL)
        cached_tokens = counter("litellm_cached_tokens_metric", "Prompt tokens read from a provider's cache", _OF_MODEL)
        successes = counter(
            "litellm_deployment_success_responses", "Requests that a deployment answered", OF_DEPLOYMENT
        )
        asked = counter("litellm_deployment_total_requests", "Requests sent to a deployment", OF_DEPLOYMENT)
        attempts = counter(
            "routewright_upstream_attempts", "Upstream requests, by the deployment asked last", ("deployment",)
        )
        gone = counter("routewright_clients_gone", "Requests whose client left before the end", ("requested_model",))
        for alike, tally in self._tallies.items():
            endpoint, name, deployment, status, error, key, alias, team, user = alike
            numbers = tally.numbers
            of_key = (key, alias or "", team or "", user or "")
            if numbers[REQUESTS]:
                requests.add((*of_key, name, str(status), endpoint), numbers[REQUESTS])
                if error:
                    errors.add((*of_key, name, str(status), error, endpoint), numbers[REQUESTS])
            if numbers[LEFT]:
                gone.add((name,), numbers[LEFT])
            if not deployment:
                continue
            of_model = (*of_key, tally.model, name)
            calls.add(of_model, numbers[REQUESTS])
            spend.add(of_model, numbers[COST_NUSD] / 1e9)
            total_tokens.add(of_model, numbers[INPUT] + numbers[OUTPUT])
            input_tokens.add(of_model, numbers[INPUT])
            output_tokens.add(of_model, numbers[OUTPUT])
            cached_tokens.add(of_model, numbers[CACHED])
            attempts.add((deployment,), numbers[ATTEMPTS])
            of_deployment = (tally.upstream_model, deployment, tally.provider)
            if not error:
                asked.add(of_deployment, numbers[REQUESTS])
                if status == 200:
                    successes.add(of_deployment, numbers[REQUESTS] - numbers[LEFT])
        for labels, value in self._failures.series.items():
            asked.add(labels[:3], value)
        decisions = counter("routewright_decisions", "Requests that a route placed", ("route", "model", "reason"))
        routed = counter("routewright_routed_spend_usd", "US dollars spent by requests to a route", ("route",))
        baseline = counter(
            "routewright_baseline_spend_usd", "US dollars that they would have cost at the candidate rated best",
            ("route",),
        )  # fmt: skip
        for key3, choice in self._choices.items():
            decisions.add(key3, choice.count)
            routed.add(key3[:1], choice.cost_nusd / 1e9)
            baseline.add(key3[:1], choice.baseline_nusd / 1e9)
        return [
            requests, errors, calls, spend, total_tokens, input_tokens, output_tokens, cached_tokens, asked, successes,
            *self._counters, attempts, gone, decisions, routed, baseline, *self._histograms[:-1], self._all_waits(),
        ]  # fmt: skip

    def _all_waits(self) -> Histogram:
        """Of all requests: whoever did not wait is in the first bucket, and has cost nothing while it was answered."""
        waited = self._waited
        made = Histogram(waited.name, waited.help_text, waited.label_names, waited.bounds)
        for alike, tally in self._tallies.items():
            made.of((alike[1], tally.model))[0] += tally.numbers[REQUESTS]
        for labels, numbers in waited.series.items():
            made.of(labels)[0] -= sum(numbers[:-1])
            made.add(labels, numbers)
        return made


def labels_of(deployment: Deployment) -> tuple[str, str, str]:
    """The provider's name of the model, save where the caller chose it behind a wildcard; id; provider."""
    is_chosen = deployment.metrics_model != deployment.model_name
    model = deployment.metrics_model if is_chosen else deployment.upstream_model
    return model, deployment.id, deployment.provider


class PartMetrics:
    """Counts the calls that a request is made of; the request itself is counted by `Metrics.count`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(self, outcome: Outcome, now_s: float, baseline_nusd: int = 0) -> None:
        self._metrics.count_part(outcome)
