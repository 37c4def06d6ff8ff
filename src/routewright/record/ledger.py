"""Settles a request: one record in the journal, the counters, and then the end of the client's answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from routewright.errors import clean_text
from routewright.metered import MeteredUsage
from routewright.record.journal import DecisionRecord, Journal, MeteredRecord, Record
from routewright.record.tracing import TraceRecord
from routewright.types import NUSD_PER_USD, Decision, OnlineDecision, Outcome, PartDecision, Usage

MOST_RATED, MOST_ATTEMPTS = 5, 10
"""What a record keeps of a decision and of failures: enough to see why, and no more, since there is one a request."""
_NOTHING = Usage()


class Counts(Protocol):
    """What a settled outcome is counted in."""

    def count(self, outcome: Outcome, now_s: float, baseline_nusd: int = 0) -> None:
        """Count one outcome. `baseline_nusd`: what it would have cost at the candidate that its route rated best."""


class Ledger:
    """Writes down what every request used and cost."""

    def __init__(self, journal: Journal, metrics: Counts) -> None:
        """`metrics`: a worker's `Metrics`, or its `PartMetrics` for the calls that a request is made of."""
        self.journal = journal
        self.metrics = metrics

    def settle(self, outcome: Outcome, then: Callable[[], None]) -> None:
        """Record `outcome`; `then` sends what the client still lacks. Synchronous: it can't be cancelled."""
        now_s = time.monotonic()
        usage = outcome.usage or _NOTHING
        deployment = outcome.deployment
        call = outcome.call
        decision = outcome.decision
        if outcome.ended == "client_gone" and not outcome.status:
            outcome.status = 499  # nginx's number for a client that left before an answer
        caller, started_s = outcome.caller, outcome.started_s
        latency_s = now_s - started_s
        choice = _decision_record(outcome, usage) if decision is not None and decision.route else None
        ended_at_ms = outcome.ended_at_ms or int(time.time() * 1000)
        model = deployment_id = provider = user = None
        price_version, is_priced, is_stream = "", outcome.is_priced, False
        model_asked = ""
        tags: tuple[str, ...] = ()
        if deployment is not None:
            model, deployment_id, provider = deployment.model_name, deployment.id, deployment.provider
            price_version = deployment.price_version
            if is_priced is None:
                is_priced = deployment.is_priced
        if call is not None:
            # The client's word; cleaned where it named nothing of ours, since people paste keys into the wrong field.
            model_asked = call.model if decision is not None else clean_text(call.model)
            is_stream, user, tags = call.is_stream, call.user, call.metadata_tags
        # In the order of the fields: by name each would be looked for among forty.
        record = Record(
            outcome.call_id,
            outcome.request_id,
            ended_at_ms / 1000 - latency_s,
            ended_at_ms,
            outcome.endpoint,
            caller.key_hash,
            caller.alias,
            model_asked,
            model,
            deployment_id,
            provider,
            outcome.status,
            outcome.error,
            outcome.ended,
            is_stream,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
            usage.is_estimated,
            outcome.cost_nusd,
            bool(is_priced),
            _milliseconds(latency_s),
            _milliseconds(outcome.first_byte_s - started_s) if outcome.first_byte_s else None,
            outcome.attempts,
            outcome.fallbacks,
            usage.cache_creation_tokens,
            usage.audio_input_tokens,
            usage.audio_output_tokens,
            price_version,
            caller.user_id,
            caller.team_id,
            caller.organization_id,
            user,
            outcome.peer or None,
            tags,
            choice,
        )
        if outcome.trace is not None:
            record.trace = _trace(outcome)
        if outcome.failed_attempts is not None:
            record.failed_attempts = _attempts(outcome.failed_attempts)
        if outcome.notes is not None:
            record.notes = outcome.notes
        if type(usage) is not Usage:
            record = _with_units(record, usage)
        self.journal.append(record, then, outcome.texts)
        self.metrics.count(outcome, now_s, 0 if choice is None else choice.baseline_nusd)


def _with_units(record: Record, usage: Usage) -> Record:
    if not isinstance(usage, MeteredUsage):
        return record
    return MeteredRecord(**msgspec.structs.asdict(record), units=usage.units.known())


def _trace(outcome: Outcome) -> TraceRecord | msgspec.UnsetType:
    """What was noted of a sampled trace; a part's attempts stand in its request's record."""
    trace = outcome.trace
    return msgspec.UNSET if trace is None or trace.record is None or trace.call_id != outcome.call_id else trace.record


def _milliseconds(seconds: float) -> float:
    """Whole microseconds, as milliseconds."""
    return int(seconds * 1e6) / 1e3


def _decision_record(outcome: Outcome, usage: Usage) -> DecisionRecord | None:
    decision = outcome.decision
    if decision is None or not decision.groups or decision.route is None:
        return None
    if decision.rating is None:
        if type(decision) is not PartDecision:
            return None
        of_part = DecisionRecord(decision.route, decision.groups[0].name)
        _add_its_own(of_part, outcome)
        return of_part
    rating = decision.rating
    groups = decision.candidates.groups
    best = groups[max(rating.order, key=rating.scores.__getitem__)]
    record = DecisionRecord(
        decision.route,
        decision.groups[0].name,
        decision.artefact,
        round(rating.confidence, 4),
        round(rating.margin, 6),
        rating.reason,
        round(decision.microseconds, 1),
        best.name,
        best.deployments[0].cost_nusd(usage),
    )
    if type(decision) is not Decision:
        _add_its_own(record, outcome)
    if not record.part_of:
        scores, costs = rating.scores, rating.costs_usd
        record.rated = [
            (groups[at].name, round(scores[at], 4), int(costs[at] * NUSD_PER_USD)) for at in rating.order[:MOST_RATED]
        ]
    return record


def _attempts(failed: Sequence[tuple[str, str, float, float]]) -> list[tuple[str, str, float, float]]:
    return [(name, code, _milliseconds(start), _milliseconds(end)) for name, code, start, end in failed[:MOST_ATTEMPTS]]


def _add_its_own(record: DecisionRecord, outcome: Outcome) -> None:
    """What only some decisions have to say; a learning router's is kept for whoever rates the answer."""
    decision = outcome.decision
    if type(decision) is OnlineDecision:
        record.propensity = round(decision.propensity, 6)
        decision.remember(outcome)
    elif type(decision) is PartDecision:
        record.stage, record.part_of, record.verdict = decision.stage, decision.part_of, decision.verdict
        record.logprob = None if decision.signal is None else round(decision.signal, 4)
        if decision.part_of:
            record.baseline_nusd = 0  # the best-rated candidate would have answered the request once
