"""Records as Langfuse's ingestion events: a trace for a request, a generation for the answer.

Source: Langfuse, "Ingestion API" (`POST /api/public/ingestion`), which answers 207 with what it did not take. Ids are
the record's, so a batch that was sent twice counts once. No prompt and no answer is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Langfuse:
    """Sends batches of records."""

    def __init__(self, post: Callable[[bytes, str], bytes]) -> None:
        self._post = post

    def send(self, records: Sequence[bytes]) -> None:
        events: list[dict[str, Any]] = []
        for line in records:
            events += events_of(_decode(line))
        self._post(_encode({"batch": events}), "application/json")


def events_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    started, ended = record["started_at"], record["ended_at_ms"] / 1000
    call_id, model = record["call_id"], record["model"]
    decision = record.get("decision") or {}
    metadata = {
        "endpoint": record["endpoint"], "status": record["status"], "ended": record["ended"],
        "key_alias": record["key_alias"], "key_hash": record["key_hash"], "team_id": record["team_id"],
        "deployment": record["deployment"], "provider": record["provider"], "attempts": record["attempts"],
        "fallbacks": record["fallbacks"], "routing": decision or None,
    }  # fmt: skip
    whole = decision.get("part_of") or call_id
    trace: dict[str, Any] = {
        "id": whole, "timestamp": _time(started), "name": f"{record['endpoint']} {record['model_asked']}",
        "userId": record.get("user") or record.get("user_id"), "tags": list(record.get("tags") or ()),
        "metadata": {"request_id": record["request_id"]},
    }  # fmt: skip
    events = [{"id": f"{call_id}-trace", "type": "trace-create", "timestamp": _time(ended), "body": trace}]
    if model is None:
        return events
    generation: dict[str, Any] = {
        "id": f"{call_id}-generation", "traceId": whole, "name": decision.get("stage") or record["endpoint"],
        "startTime": _time(started), "endTime": _time(ended), "model": model,
        "usageDetails": {
            "input": record["prompt_tokens"] - record["cached_tokens"],
            "output": record["completion_tokens"],
            "cache_read_input_tokens": record["cached_tokens"],
        },
        "costDetails": {"total": record["cost_nusd"] / 1e9},
        "level": "ERROR" if record["error_code"] else "DEFAULT",
        "metadata": metadata,
    }  # fmt: skip
    if record["error_code"]:
        generation["statusMessage"] = record["error_code"]
    if record["ttft_ms"] is not None:
        generation["completionStartTime"] = _time(started + record["ttft_ms"] / 1000)
    events.append(
        {"id": f"{call_id}-event", "type": "generation-create", "timestamp": _time(ended), "body": generation}
    )
    return events


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
