"""A record of the journal as it goes into the ledger: checked, and cheap, since every request pays for one."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

MOST = 2**62
"""Of any figure: a sum of a few still fits its column."""
_NONE = msgspec.Raw(b"null")


class Row(NamedTuple):
    """One row of `spend`, in the order of its columns; `tags` and `extra` are JSON."""

    call_id: str
    attempt: int
    request_id: str
    started_at_ms: int
    first_byte_at_ms: int | None
    ended_at_ms: int
    endpoint: str
    key_hash: str
    key_alias: str | None
    user_id: str | None
    team_id: str | None
    organization_id: str | None
    customer_id: str | None
    model_asked: str | None
    model: str | None
    deployment_id: str | None
    provider: str | None
    route: str | None
    status: int
    error_code: str | None
    ended: str
    is_stream: bool
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_creation_tokens: int
    reasoning_tokens: int
    audio_tokens: int
    is_estimated: bool
    cost_nusd: int
    baseline_nusd: int
    is_priced: bool
    price_version: str | None
    session_id: str | None
    peer: str | None
    tags: str | None
    extra: str | None


class Incoming(NamedTuple):
    """A row, and what its sums need to know beside it."""

    row: Row
    tags: tuple[str, ...]
    is_part: bool
    """One of several calls that answer one request: its cost counts, its number does not."""
    texts: tuple[str, str] | None = None
    """What was asked and answered, where that is to be kept."""


class _Decision(msgspec.Struct):
    route: str | None = None
    part_of: str = ""
    baseline_nusd: int = 0


class _Record(msgspec.Struct):
    """Of `record.journal.Record`, whose lines may be older or newer than this program: what a row needs."""

    call_id: str
    request_id: str
    started_at: float
    endpoint: str
    key_hash: str
    status: int
    ended: str
    is_stream: bool
    prompt_tokens: int
    completion_tokens: int
    cost_nusd: int
    attempts: int
    ended_at_ms: int | None = None
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    user: str | None = None
    model_asked: str | None = None
    model: str | None = None
    deployment: str | None = None
    provider: str | None = None
    error_code: str | None = None
    cached_tokens: int = 0
    cache_creation_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    usage_estimated: bool = False
    is_priced: bool = False
    price_version: str | None = None
    session_id: str | None = None
    peer: str | None = None
    tags: tuple[str, ...] = ()
    decision: msgspec.Raw = _NONE
    units: dict[str, float] = {}
    notes: msgspec.Raw = _NONE
    request_text: str | None = None
    response_text: str | None = None
    failed_attempts: msgspec.Raw = _NONE


_decode = msgspec.json.Decoder(_Record).decode
_decode_decision = msgspec.json.Decoder(_Decision | None).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_record(line: bytes) -> Incoming:
    """One line of a journal. Raises what msgspec raises, or OverflowError, for what is no record."""
    if b"\\u0000" in line:  # Postgres has no U+0000 in a text
        line = _encode(_without_nul(_decode_any(line)))
    one = _decode(line)
    started_at_ms = int(one.started_at * 1000)
    ended_at_ms = one.ended_at_ms
    if ended_at_ms is None:
        ended_at_ms = started_at_ms + int(one.latency_ms)
    decision, extra = None, None
    if one.decision != _NONE:
        raw = bytes(one.decision)
        decision = _decode_decision(raw)
        extra = f'{{"decision":{raw.decode()}}}'
    if one.units:
        units = f'"units":{_encode(one.units).decode()}'
        extra = f"{{{units}}}" if extra is None else f"{extra[:-1]},{units}}}"
    if one.notes != _NONE:
        notes = f'"notes":{bytes(one.notes).decode()}'
        extra = f"{{{notes}}}" if extra is None else f"{extra[:-1]},{notes}}}"
    if one.failed_attempts != _NONE:
        told = f'"failed_attempts":{bytes(one.failed_attempts).decode()}}}'
        extra = f"{extra[:-1]},{told}" if extra is not None else "{" + told
    figures = (
        one.prompt_tokens, one.completion_tokens, one.cached_tokens, one.cache_creation_tokens, one.reasoning_tokens,
        one.audio_input_tokens + one.audio_output_tokens, one.cost_nusd,
        decision.baseline_nusd if decision is not None else 0, one.attempts, one.status,
    )  # fmt: skip
    if min(figures) < 0 or max(figures) > MOST:
        figures = tuple([max(0, min(figure, MOST)) for figure in figures])  # type: ignore[assignment]
    prompt, completion, cached, creation, reasoning, audio, cost, baseline, attempts, status = figures
    is_part = decision is not None and bool(decision.part_of)
    row = Row(
        one.call_id,
        attempts,
        one.request_id,
        started_at_ms,
        None if one.ttft_ms is None else started_at_ms + int(one.ttft_ms),
        ended_at_ms,
        one.endpoint,
        one.key_hash,
        one.key_alias,
        one.user_id,
        one.team_id,
        one.organization_id,
        one.user,
        one.model_asked,
        one.model,
        one.deployment,
        one.provider,
        decision.route if decision is not None else None,
        status,
        one.error_code,
        one.ended,
        one.is_stream,
        prompt,
        completion,
        cached,
        creation,
        reasoning,
        audio,
        one.usage_estimated,
        cost,
        0 if is_part else baseline or cost,
        one.is_priced,
        one.price_version or None,
        one.session_id,
        one.peer,
        _encode(one.tags).decode() if one.tags else None,
        extra,
    )
    texts = None
    if one.request_text is not None:
        texts = one.request_text, one.response_text or ""
    return Incoming(row, one.tags, is_part, texts)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {name: _without_nul(inner) for name, inner in value.items()}
    return [_without_nul(inner) for inner in value] if isinstance(value, list) else value
