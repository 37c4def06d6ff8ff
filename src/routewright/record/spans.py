"""A traced request's record as spans: one for the request, one for the decision, one for each attempt.

Names are those of OpenTelemetry's semantic conventions: HTTP server spans for the request, GenAI inference spans
(`gen_ai.*`, 1.37 and later, with `gen_ai.provider.name`) for attempts; what they have no name for is `routewright.*`.
No prompt and no answer is ever in a span. Tokens stand on the attempt that answered alone, so that a backend that adds
them up counts them once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

INTERNAL, SERVER, CLIENT = 1, 2, 3
_OPERATIONS = {
    "completions": "text_completion", "embeddings": "embeddings", "generate_content": "generate_content",
}  # fmt: skip
_PROVIDERS = {
    "azure": "azure.ai.openai", "azure_ai": "azure.ai.inference", "bedrock": "aws.bedrock", "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai", "mistral": "mistral_ai", "xai": "x_ai", "watsonx": "ibm.watsonx.ai",
}  # fmt: skip
Value = str | int | float | bool
TRACED = b'"trace":{'
"""What every record that has spans contains, and few others."""
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Span:
    """Times are nanoseconds since 1970; ids are hex."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    error: str = ""
    state: str = ""


def spans_of(line: bytes) -> Iterator[Span]:
    """The spans of one record; none where it was not traced."""
    if TRACED not in line:
        return
    record = _decode(line)
    trace = record.get("trace")
    if not isinstance(trace, dict):
        return
    start_ns = int(record["started_at"] * 1e9)
    trace_id, span_id, state = trace["trace_id"], trace["span_id"], trace.get("state", "")
    yield _request_span(record, trace, start_ns)
    attempts = trace.get("attempts", ())
    decision = record.get("decision")
    if decision is not None:
        took_ns = int(decision.get("microseconds", 0.0) * 1e3)
        end_ns = start_ns + int((attempts[0]["from_ms"] if attempts else record["latency_ms"]) * 1e6)
        yield Span(
            trace_id, f"{int(span_id, 16) ^ 1 or 2:016x}", span_id, f"route {decision['route']}", INTERNAL,
            end_ns - took_ns, end_ns, _of_decision(decision), state=state,
        )  # fmt: skip
    for number, attempt in enumerate(attempts):
        is_last = number == len(attempts) - 1
        yield _attempt_span(record, trace, attempt, start_ns, number, is_last=is_last)


def _request_span(record: dict[str, Any], trace: dict[str, Any], start_ns: int) -> Span:
    attributes: dict[str, Value] = {
        "http.request.method": "POST",
        "http.response.status_code": record["status"],
        "gen_ai.request.model": record["model_asked"],
        "routewright.endpoint": record["endpoint"],
        "routewright.request_id": record["request_id"],
        "routewright.call_id": record["call_id"],
        "routewright.ended": record["ended"],
        "routewright.attempts": record["attempts"],
        "routewright.fallbacks": record["fallbacks"],
    }
    if record["model"] is not None:
        attributes["gen_ai.response.model"] = record["model"]
    if record["is_priced"]:
        attributes["routewright.cost_usd"] = record["cost_nusd"] / 1e9
    for name, field in (
        ("routewright.key_alias", "key_alias"),
        ("routewright.team_id", "team_id"),
        ("routewright.user_id", "user_id"),
        ("error.type", "error_code"),
    ):
        if record.get(field):
            attributes[name] = record[field]
    error = record["error_code"] if record["status"] >= 500 or record["ended"] == "upstream_failed" else None
    return Span(
        trace["trace_id"], trace["span_id"], trace.get("parent_id", ""), f"POST {record['endpoint']}", SERVER,
        start_ns, start_ns + int(record["latency_ms"] * 1e6), attributes, error or "", trace.get("state", ""),
    )  # fmt: skip


def _of_decision(decision: dict[str, Any]) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        "routewright.route": decision["route"],
        "routewright.chosen": decision["chosen"],
    }
    for name in ("artefact", "confidence", "margin", "reason", "baseline_model", "stage", "propensity"):
        value = decision.get(name)
        if value is not None and value != "":
            attributes[f"routewright.{name}"] = value
    return attributes


def _attempt_span(
    record: dict[str, Any], trace: dict[str, Any], attempt: dict[str, Any], start_ns: int, number: int, *, is_last: bool
) -> Span:
    operation = _OPERATIONS.get(record["endpoint"], "chat")
    provider, model = attempt["provider"], attempt["upstream_model"]
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": model,
        "server.address": attempt["host"],
        "server.port": attempt["port"],
        "routewright.deployment": attempt["deployment"],
    }
    if number:
        attributes["http.request.resend_count"] = number
    error = attempt.get("error", "")
    if error:
        attributes["error.type"] = error
    elif is_last and record["deployment"] == attempt["deployment"]:
        attributes["gen_ai.response.model"] = model
        attributes["gen_ai.usage.input_tokens"] = record["prompt_tokens"]
        attributes["gen_ai.usage.output_tokens"] = record["completion_tokens"]
        if record["cached_tokens"]:
            attributes["gen_ai.usage.cache_read.input_tokens"] = record["cached_tokens"]
        if record.get("cache_creation_tokens"):
            attributes["gen_ai.usage.cache_creation.input_tokens"] = record["cache_creation_tokens"]
        if record["is_stream"] and record["ttft_ms"] is not None:
            attributes["gen_ai.response.time_to_first_chunk"] = (record["ttft_ms"] - attempt["from_ms"]) / 1e3
    start = start_ns + int(attempt["from_ms"] * 1e6)
    end_ms = attempt.get("to_ms", 0.0) or record["latency_ms"]
    return Span(
        trace["trace_id"], attempt["span_id"], trace["span_id"], f"{operation} {model}", CLIENT,
        start, max(start, start_ns + int(end_ms * 1e6)), attributes, error, trace.get("state", ""),
    )  # fmt: skip
