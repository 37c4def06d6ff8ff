"""A record of the journal as it goes into the ledger: checked, and cheap, since every request pays for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple, cast

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


Figure = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


class _Decision(msgspec.Struct):
    route: str | None = None
    part_of: str = ""
    baseline_nusd: Figure = 0


class _Record(msgspec.Struct, kw_only=True):
    """Of `record.journal.Record`, whose lines may be older or newer than this program: what a row needs.

    In the order in which a line has them: where the next field is the one expected, none has to be looked for.
    """

    call_id: str
    request_id: str
    started_at: float
    ended_at_ms: int | None = None
    endpoint: str
    key_hash: str
    key_alias: str | None = None
    model_asked: str | None = None
    model: str | None = None
    deployment: str | None = None
    provider: str | None = None
    status: Figure
    error_code: str | None = None
    ended: str
    is_stream: bool
    prompt_tokens: Figure
    completion_tokens: Figure
    cached_tokens: Figure = 0
    reasoning_tokens: Figure = 0
    usage_estimated: bool = False
    cost_nusd: Figure
    is_priced: bool = False
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    attempts: Figure
    cache_creation_tokens: Figure = 0
    audio_input_tokens: Figure = 0
    audio_output_tokens: Figure = 0
    price_version: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    user: str | None = None
    peer: str | None = None
    tags: tuple[str, ...] = ()
    decision: msgspec.Raw = _NONE
    notes: msgspec.Raw = _NONE
    failed_attempts: msgspec.Raw = _NONE
    units: dict[str, float] = {}
    session_id: str | None = None
    request_text: str | None = None
    response_text: str | None = None


_decode = msgspec.json.Decoder(_Record).decode
_decode_decision = msgspec.json.Decoder(_Decision).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_FIGURES = tuple(name for name, kind in _Record.__annotations__.items() if kind == "Figure")
_new_row = cast(Callable[[type[Row], tuple[Any, ...]], Row], tuple.__new__)
"""`Row(...)` by name costs as much again as the row."""


def read_record(line: bytes) -> Incoming:
    """One line of a journal. Raises what msgspec raises, or OverflowError, for what is no record."""
    if b"\\" in line and b"\\u0000" in line:  # Postgres has no U+0000 in a text
        line = _encode(_without_nul(_decode_any(line)))
    try:
        one = _decode(line)
    except msgspec.ValidationError:
        one = _decode(_within_bounds(line))
    started_at_ms = int(one.started_at * 1000)
    ended_at_ms = one.ended_at_ms
    if ended_at_ms is None:
        ended_at_ms = started_at_ms + int(one.latency_ms)
    cost = baseline = one.cost_nusd
    audio = one.audio_input_tokens + one.audio_output_tokens
    route, is_part, extra = None, False, None
    if one.decision is not _NONE and one.decision != _NONE:
        raw = bytes(one.decision)
        decision = _decode_decision(raw)
        route, is_part = decision.route, bool(decision.part_of)
        baseline = 0 if is_part else decision.baseline_nusd or cost
        extra = f'{{"decision":{raw.decode()}}}'
    if one.units:
        extra = _with(extra, "units", _encode(one.units))
    if one.notes is not _NONE:
        extra = _with(extra, "notes", bytes(one.notes))
    if one.failed_attempts is not _NONE:
        extra = _with(extra, "failed_attempts", bytes(one.failed_attempts))
    row = _new_row(Row, (
        one.call_id,
        one.attempts,
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
        route,
        one.status,
        one.error_code,
        one.ended,
        one.is_stream,
        one.prompt_tokens,
        one.completion_tokens,
        one.cached_tokens,
        one.cache_creation_tokens,
        one.reasoning_tokens,
        audio if audio <= MOST else MOST,
        one.usage_estimated,
        cost,
        baseline,
        one.is_priced,
        one.price_version or None,
        one.session_id,
        one.peer,
        _encode(one.tags).decode() if one.tags else None,
        extra,
    ))  # fmt: skip
    texts = None
    if one.request_text is not None:
        texts = one.request_text, one.response_text or ""
    return Incoming(row, one.tags, is_part, texts)


def _with(extra: str | None, name: str, value: bytes) -> str | None:
    """One thing more that has no column of its own."""
    if value == b"null":
        return extra
    told = f'"{name}":{value.decode()}}}'
    return "{" + told if extra is None else f"{extra[:-1]},{told}"


def _within_bounds(line: bytes) -> bytes:
    """The same line where every figure is one that its column takes, if they were what was wrong with it."""
    record = _decode_any(line)
    if type(record) is dict:
        _bound(record, _FIGURES)
        if type(record.get("decision")) is dict:
            _bound(record["decision"], ("baseline_nusd",))
    return _encode(record)


def _bound(fields: dict[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if type(fields.get(name)) is int:
            fields[name] = max(0, min(fields[name], MOST))


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {name: _without_nul(inner) for name, inner in value.items()}
    return [_without_nul(inner) for inner in value] if isinstance(value, list) else value
