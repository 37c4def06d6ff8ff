"""Spans as OTLP says them, in its two encodings. Neither needs a package.

Source: opentelemetry-proto 1.x, `trace/v1/trace.proto` and `common/v1/common.proto` with their field numbers, "JSON
Protobuf Encoding"; protobuf.dev/programming-guides/encoding. Protobuf's own Python messages are 10 MB and made field by
field, which cost three times as much; here what an attribute becomes is remembered, since most are alike from one
request to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

import msgspec

from routewright import __version__
from routewright.record.spans import Span, Value

ERROR = 2
"""Of a span's status; what went well has none."""
SCOPE = "routewright"
MOST_REMEMBERED = 4096
"""Attributes; some 200 bytes each."""
_ONE_TIME = frozenset({
    "routewright.request_id", "routewright.call_id", "routewright.cost_usd", "routewright.confidence",
    "routewright.margin", "routewright.propensity", "gen_ai.response.time_to_first_chunk",
    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
})  # fmt: skip
"""Attributes whose values hardly come again."""


class OtlpJson:
    """OTLP's JSON encoding."""

    content_type = "application/json"

    def __init__(self, resource: Sequence[tuple[str, str]]) -> None:
        self._resource = {"attributes": [_json_attribute(key, value) for key, value in resource]}
        self._encode = msgspec.json.Encoder().encode

    def encode(self, spans: Sequence[Span]) -> bytes:
        return self.joined([self.span(span) for span in spans])

    def span(self, span: Span) -> bytes:
        made = {
            "traceId": span.trace_id, "spanId": span.span_id, "parentSpanId": span.parent_id,
            "traceState": span.state, "name": span.name, "kind": span.kind,
            "startTimeUnixNano": str(span.start_ns), "endTimeUnixNano": str(span.end_ns),
            "attributes": [_json_attribute(key, value) for key, value in span.attributes.items()],
        }  # fmt: skip
        if span.error:
            made["status"] = {"code": ERROR, "message": span.error}
        return self._encode(made)

    def joined(self, spans: Sequence[bytes]) -> bytes:
        """The request that carries these."""
        scope = {"name": SCOPE, "version": __version__}
        made = msgspec.Raw(b"[%b]" % b",".join(spans))
        return self._encode(
            {"resourceSpans": [{"resource": self._resource, "scopeSpans": [{"scope": scope, "spans": made}]}]}
        )


def _json_attribute(key: str, value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"key": key, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    if isinstance(value, float):
        return {"key": key, "value": {"doubleValue": value}}
    return {"key": key, "value": {"stringValue": value}}


# --- protobuf -----------------------------------------------------------------------------------------------------

_double = Struct("<d").pack
_times = Struct("<BQBQ").pack
_FIXED64_7, _FIXED64_8 = 7 << 3 | 1, 8 << 3 | 1


class OtlpProtobuf:
    """OTLP's protobuf encoding. Each span is a few pieces joined; times have one length, ids too."""

    content_type = "application/x-protobuf"

    def __init__(self, resource: Sequence[tuple[str, str]]) -> None:
        attributes = b"".join(
            b"\x0a" + _attribute(key, value)[1:] for key, value in resource
        )  # field 1 there, 9 in a span
        scope = _field(1, SCOPE.encode()) + _field(2, __version__.encode())
        self._resource, self._scope = _field(1, attributes), _field(1, scope)
        self._known: dict[tuple[str, Value, type], bytes] = {}

    def encode(self, spans: Sequence[Span]) -> bytes:
        return self.joined([self.span(span) for span in spans])

    def joined(self, spans: Sequence[bytes]) -> bytes:
        """The request that carries these."""
        scoped = _field(2, self._scope + b"".join(spans))
        return _field(1, self._resource + scoped)

    def span(self, span: Span) -> bytes:
        """As the field of a ScopeSpans message."""
        fromhex = bytes.fromhex
        pieces = [b"\x0a\x10", fromhex(span.trace_id), b"\x12\x08", fromhex(span.span_id)]
        if span.state:
            pieces.append(_field(3, span.state.encode()))
        if span.parent_id:
            pieces += b"\x22\x08", fromhex(span.parent_id)
        pieces += (
            _field(5, span.name.encode()), b"\x30%c" % span.kind,
            _times(_FIXED64_7, span.start_ns, _FIXED64_8, span.end_ns),
        )  # fmt: skip
        known = self._known
        for key, value in span.attributes.items():
            made = known.get((key, value, value.__class__))  # 1, 1.0 and True are alike as keys
            pieces.append(self._attribute(key, value) if made is None else made)
        if span.error:
            pieces.append(_field(15, _field(2, span.error.encode()) + b"\x18%c" % ERROR))
        return _field(2, b"".join(pieces))

    def _attribute(self, key: str, value: Value) -> bytes:
        made = _attribute(key, value)
        if key not in _ONE_TIME:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[key, value, value.__class__] = made
        return made


@lru_cache(256)
def _name(key: str) -> bytes:
    """A KeyValue's key, up to where the length of its value stands."""
    return _field(1, key.encode()) + b"\x12"


def _attribute(key: str, value: Value) -> bytes:
    """As the field of a Span or a Resource: KeyValue and AnyValue in one go."""
    if value.__class__ is str:
        text = value.encode()
        size = len(text)
        of_any = b"\x0a%c%b" % (size, text) if size < 0x7E else _field(1, text)
    elif value.__class__ is int:
        of_any = b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    elif value.__class__ is float:
        of_any = b"\x21" + _double(value)
    else:
        of_any = b"\x10\x01" if value else b"\x10\x00"
    name, size = _name(key), len(of_any)
    whole = len(name) + 1 + size
    if whole < 0x80:
        return b"\x4a%c%b%c%b" % (whole, name, size, of_any)
    return _field(9, b"%b%b%b" % (name, _varint(size), of_any))


def _field(number: int, data: bytes) -> bytes:
    """A field of a message, string or bytes, with its length."""
    size = len(data)
    tag = number << 3 | 2
    return b"%c%c%b" % (tag, size, data) if size < 0x80 else b"%c%b%b" % (tag, _varint(size), data)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return b"%c" % value
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
