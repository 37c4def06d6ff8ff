"""W3C Trace Context in and out, sampling, and a record as spans."""

from __future__ import annotations

import random
import re
from base64 import b64encode

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from routewright.record.otlp import OtlpJson, OtlpProtobuf
from routewright.record.spans import spans_of
from routewright.record.tracing import NotSampled, Trace, Tracer
from routewright.settings import TraceSettings
from values import deployment

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
CAME = b"00-%b-%b-01" % (TRACE, PARENT)
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}"


def tracer(share: float = 1.0, *, follows: bool = True) -> Tracer:
    return Tracer(TraceSettings(url="http://x", sampling=share, follows_caller=follows), random.Random(1))


def begun(share: float = 1.0, *, follows: bool = True, **headers: bytes) -> Trace | NotSampled:
    return tracer(share, follows=follows).begin({n.encode(): v for n, v in headers.items()}, "call", 0.0)


def test_trace_of_the_caller_goes_on_and_the_upstream_gets_the_attempt_as_its_parent() -> None:
    trace = begun(0.0, traceparent=CAME, tracestate=b"a=b,c=d")
    assert trace.record is not None
    assert (trace.record.trace_id, trace.record.parent_id) == (TRACE.decode(), PARENT.decode())
    sent = trace.begin(deployment(), REQUEST)
    (attempt,) = trace.record.attempts
    line = b"traceparent: 00-%b-%b-01\r\n" % (TRACE, attempt.span_id.encode())
    assert sent == REQUEST.replace(b"host: a", line + b"tracestate: a=b,c=d\r\nhost: a")
    assert attempt.span_id not in (PARENT.decode(), trace.record.span_id)


def test_trace_that_is_not_sampled_is_passed_on_as_it_came() -> None:
    came = CAME[:-2] + b"00"
    trace = begun(1.0, traceparent=came)
    assert trace.record is None
    assert trace.begin(deployment(), REQUEST) == REQUEST.replace(b"host", b"traceparent: %b\r\nhost" % came)
    trace.end(deployment(), None)


def test_caller_does_not_decide_where_the_sampler_says_so() -> None:
    trace = begun(0.0, follows=False, traceparent=CAME)
    assert trace.record is None


@pytest.mark.parametrize(
    "came",
    [
        b"", b"rubbish", CAME[:-1], CAME + b"0", b"ff" + CAME[2:], b"00-%b-%b-01" % (b"0" * 32, PARENT),
        b"00-%b-%b-01" % (TRACE, b"0" * 16), CAME.upper(), CAME + b"-more", CAME + b"\r\nx: y", b"\xff" * 55,
    ],
)  # fmt: skip
def test_what_is_no_trace_begins_a_new_one(came: bytes) -> None:
    trace = begun(1.0, traceparent=came)
    assert trace.record is not None
    assert trace.record.trace_id != TRACE.decode()
    assert trace.record.parent_id == ""
    assert re.fullmatch(rb"(?s)POST [^\r\n]*\r\ntraceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-01\r\nhost.*",
                        trace.begin(deployment(), REQUEST))  # fmt: skip


def test_later_version_of_the_standard_is_read_as_far_as_this_one_goes() -> None:
    trace = begun(0.0, traceparent=b"01" + CAME[2:] + b"-more")
    assert trace.record is not None
    assert trace.record.trace_id == TRACE.decode()


def test_share_of_requests_is_sampled() -> None:
    made = tracer(0.1)
    sampled = sum(made.begin({}, "c", 0.0).record is not None for _ in range(20_000))
    assert 1700 < sampled < 2300
    assert begun(0.0).record is None


def test_upstream_is_told_that_a_request_without_a_trace_is_not_sampled() -> None:
    """Else one that samples by itself would begin traces that nobody sees the rest of."""
    sent = begun(0.0).begin(deployment(), REQUEST)
    fields = re.fullmatch(rb"(?s)POST [^\r\n]*\r\ntraceparent: 00-([0-9a-f]{32})-[0-9a-f]{16}-00\r\nhost.*", sent)
    assert fields is not None
    other = begun(0.0, traceparent=b"rubbish").begin(deployment(), REQUEST)
    assert b"-00\r\nhost" in other
    assert b"rubbish" not in other


RECORD = {
    "call_id": "c1", "request_id": "r1", "started_at": 1_790_000_000.5, "ended_at_ms": 1_790_000_001_500,
    "endpoint": "chat", "key_hash": "ab", "key_alias": "ci", "model_asked": "auto", "model": "mini",
    "deployment": "d2", "provider": "azure", "status": 200, "error_code": None, "ended": "complete",
    "is_stream": True, "prompt_tokens": 12, "completion_tokens": 8, "cached_tokens": 4, "reasoning_tokens": 0,
    "usage_estimated": False, "cost_nusd": 34_000, "is_priced": True, "latency_ms": 1000.0, "ttft_ms": 700.0,
    "attempts": 2, "fallbacks": 1,
    "decision": {"route": "auto", "chosen": "mini", "confidence": 0.8, "reason": "cheapest", "microseconds": 50.0},
    "trace": {
        "trace_id": TRACE.decode(), "span_id": "1111111111111111", "parent_id": PARENT.decode(), "state": "a=b",
        "attempts": [
            {"span_id": "2222222222222222", "deployment": "d1", "provider": "openai", "upstream_model": "big",
             "host": "a.example", "port": 443, "from_ms": 1.0, "to_ms": 200.0, "error": "upstream_error"},
            {"span_id": "3333333333333333", "deployment": "d2", "provider": "azure", "upstream_model": "mini-1",
             "host": "b.example", "port": 443, "from_ms": 201.0, "to_ms": 999.0},
        ],
    },
}  # fmt: skip


def test_record_becomes_a_span_for_the_request_the_decision_and_each_attempt() -> None:
    request, decision, first, second = spans_of(msgspec.json.encode(RECORD))
    assert (request.name, request.kind, request.parent_id) == ("POST chat", 2, PARENT.decode())
    assert request.end_ns - request.start_ns == 1_000_000_000
    assert request.attributes["routewright.cost_usd"] == pytest.approx(34e-6)
    assert "gen_ai.usage.input_tokens" not in request.attributes  # else whoever adds them up counts them twice
    assert decision.name == "route auto"
    assert decision.parent_id == first.parent_id == second.parent_id == request.span_id
    assert decision.end_ns - decision.start_ns == 50_000
    assert decision.attributes["routewright.confidence"] == 0.8
    assert (first.name, first.kind, first.error) == ("chat big", 3, "upstream_error")
    assert first.attributes["error.type"] == "upstream_error"
    assert "gen_ai.usage.input_tokens" not in first.attributes
    assert second.attributes == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "azure.ai.openai", "gen_ai.request.model": "mini-1",
        "gen_ai.response.model": "mini-1", "server.address": "b.example", "server.port": 443,
        "gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 8, "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.499), "http.request.resend_count": 1,
        "routewright.deployment": "d2",
    }  # fmt: skip
    assert len({request.span_id, decision.span_id, first.span_id, second.span_id}) == 4


def test_fields_behind_the_trace_hide_no_span() -> None:
    assert (
        len(list(spans_of(msgspec.json.encode({**RECORD, "failed_attempts": [["d1", "upstream_error", 1, 2]]})))) == 4
    )


def test_record_that_was_not_traced_has_no_span() -> None:
    assert list(spans_of(msgspec.json.encode({**RECORD, "trace": None}))) == []
    assert list(spans_of(b'{"model_asked":"\\"trace\\":{"}')) == []


def test_protobuf_and_json_say_the_same() -> None:
    """Read back by OpenTelemetry's own messages."""
    from google.protobuf import json_format

    spans = list(spans_of(msgspec.json.encode(RECORD)))
    resource = (("service.name", "edge"),)
    binary = trace_service_pb2.ExportTraceServiceRequest()
    binary.ParseFromString(OtlpProtobuf(resource).encode(spans))
    raw = msgspec.json.decode(OtlpJson(resource).encode(spans))
    for each in raw["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        # Protobuf's own JSON has ids in base64, OTLP's in hex.
        for name in ("traceId", "spanId", "parentSpanId"):
            each[name] = b64encode(bytes.fromhex(each[name])).decode()
    text = json_format.ParseDict(raw, trace_service_pb2.ExportTraceServiceRequest())
    assert text == binary
    made = binary.resource_spans[0].scope_spans[0].spans
    assert [span.name for span in made] == ["POST chat", "route auto", "chat big", "chat mini-1"]
    assert made[2].status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert binary.resource_spans[0].resource.attributes[0].value.string_value == "edge"
