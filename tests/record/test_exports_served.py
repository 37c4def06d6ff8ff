"""Log, traces and callbacks of a real gateway: what arrives, what never does, and that a dead receiver stops nobody."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.receiver import Receiver
from harness.steady import Steady
from harness.upstream import Upstream
from harness.wire import PATIENCE_S, request_bytes
from routewright.record.outbox import LONGEST_PAUSE_S

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PROMPT = "a very private prompt"
IS_LONG = bool(os.environ.get("ROUTEWRIGHT_LONG"))
DEAD_SECONDS, DEAD_RATE = (600, 500) if IS_LONG else (3, 200)


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bucket")


@pytest.fixture(scope="module")
def talking(upstream: Upstream, collector: Receiver, hook: Receiver, bucket: Path) -> Iterator[Gateway]:
    """A gateway that tells everybody."""
    config = base_config(
        upstream,
        router_settings={"num_retries": 0, "fallbacks": [{"talks": ["gpt-4o"]}]},
        litellm_settings={
            "json_logs": True,
            "callbacks": ["otel", "hook", "langfuse", "bucket"],
            "failure_callback": ["failures"],
        },
        callback_settings={
            "otel": {"endpoint": collector.url, "headers": {"x-collector-key": "collector-secret"}},
            "hook": {"callback_type": "webhook", "endpoint": hook.url + "/all"},
            "failures": {"callback_type": "webhook", "endpoint": hook.url + "/failures"},
            "bucket": {"callback_type": "object_dump", "url": f"file://{bucket}"},
        },
    )
    config["model_list"] += [deployment(name, upstream, name) for name in ("talks", "talks-back", "talks-too-much")]
    environment = {"LANGFUSE_PUBLIC_KEY": "pk-1", "LANGFUSE_SECRET_KEY": "sk-1", "LANGFUSE_HOST": hook.url}
    with running(config, environment=environment) as started:
        yield started


def spans(collector: Receiver, trace_id: str, count: int) -> list[Span]:
    """All spans of a trace, once so many have come."""

    def found() -> list[Span]:
        got = []
        for post in collector.posts:
            request = ExportTraceServiceRequest()
            request.ParseFromString(post.body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    got += [span for span in scope.spans if span.trace_id.hex() == trace_id]
        return got

    eventually(lambda: len(found()) >= count, what=f"{count} spans of {trace_id}")
    return found()


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_spans_of_a_fallback_arrive_at_a_collector_under_the_caller_s_trace(
    talking: Gateway, upstream: Upstream, collector: Receiver
) -> None:
    upstream["talks"].answers(status=503)
    came = f"00-{TRACE}-{PARENT}-01"
    reply = talking.chat("talks", PROMPT, headers={"traceparent": came, "tracestate": "vendor=1"}, stream=True)
    assert reply.status == 200
    request, first, second = sorted(spans(collector, TRACE, 3), key=lambda span: span.start_time_unix_nano)
    assert (request.name, request.kind, request.parent_span_id.hex()) == ("POST chat", Span.SPAN_KIND_SERVER, PARENT)
    assert first.parent_span_id == second.parent_span_id == request.span_id
    assert (first.name, attributes(first)["error.type"]) == ("chat talks", "upstream_error")
    told = attributes(second)
    assert (told["gen_ai.provider.name"], told["gen_ai.request.model"]) == ("openai", "gpt-4o")
    assert told["gen_ai.usage.input_tokens"] > 0
    assert request.start_time_unix_nano <= first.start_time_unix_nano <= first.end_time_unix_nano
    assert second.end_time_unix_nano <= request.end_time_unix_nano
    asked = [upstream[name].last.headers for name in ("talks", "gpt-4o")]
    for span, headers in zip((first, second), asked, strict=True):
        assert headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
        assert headers["tracestate"] == "vendor=1"
    post = collector.posts[-1]
    assert (post.path, post.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
    assert post.headers["x-collector-key"] == "collector-secret"


def test_decision_has_a_span_with_its_reasons(talking: Gateway, collector: Receiver) -> None:
    trace = "a" * 32
    talking.chat("auto", PROMPT, headers={"traceparent": f"00-{trace}-{PARENT}-01"})
    by_name = {span.name: span for span in spans(collector, trace, 3)}
    decision = attributes(by_name["route auto"])
    assert decision["routewright.chosen"] in ("gpt-4o", "gpt-4o-mini")
    assert decision["routewright.reason"]
    assert 0 <= decision["routewright.confidence"] <= 1


def test_trace_that_the_caller_does_not_sample_is_passed_on_and_not_told(
    talking: Gateway, upstream: Upstream, collector: Receiver
) -> None:
    came = f"00-{'b' * 32}-{PARENT}-00"
    talking.chat(headers={"traceparent": came})
    assert upstream["gpt-4o"].last.headers["traceparent"] == came
    talking.chat(headers={"traceparent": f"00-{'c' * 32}-{PARENT}-01"})
    spans(collector, "c" * 32, 2)
    assert not [post for post in collector.posts if bytes.fromhex("b" * 32) in post.body]


def test_webhooks_get_the_records_of_the_ends_that_they_want(
    talking: Gateway, upstream: Upstream, hook: Receiver
) -> None:
    upstream["talks-back"].answers(status=500)
    good, bad = talking.chat(), talking.chat("talks-back")
    assert (good.status, bad.status) == (200, 502)

    def told(path: str) -> set[str]:
        return {record["request_id"] for post in hook.posts if post.path == path for record in post.json}

    ids = [reply.headers["x-request-id"] for reply in (good, bad)]
    eventually(lambda: told("/all") >= set(ids))
    eventually(lambda: ids[1] in told("/failures"))
    assert ids[0] not in told("/failures")


def test_langfuse_gets_a_trace_and_a_generation(talking: Gateway, hook: Receiver) -> None:
    reply = talking.chat(user="customer-7")

    def events() -> list[Any]:
        batches = [post for post in hook.posts if post.path == "/api/public/ingestion"]
        assert all(post.headers["authorization"] == "Basic cGstMTpzay0x" for post in batches)
        found = [event for post in batches for event in post.json["batch"]]
        call_id = talking.record_of(reply)["call_id"]
        return [event for event in found if call_id in event["id"]]

    trace, generation = sorted(eventually(events), key=lambda event: event["type"], reverse=True)
    assert (trace["type"], generation["type"]) == ("trace-create", "generation-create")
    assert trace["body"]["userId"] == "customer-7"
    assert generation["body"]["traceId"] == trace["body"]["id"]
    assert generation["body"]["model"] == "gpt-4o"
    assert generation["body"]["usageDetails"]["output"] > 0
    assert generation["body"]["costDetails"]["total"] > 0


def test_every_line_of_the_log_is_json_and_one_tells_of_the_request(talking: Gateway) -> None:
    """T8: a caller's line breaks stay inside its line."""
    reply = talking.chat("gpt-4o", PROMPT, user="two\nlines\x1b[31m", headers={"x-request-id": "my-own-id"})
    assert reply.status == 200

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in talking.output().splitlines()]

    eventually(lambda: [line for line in lines() if line.get("request_id") == "my-own-id"])
    (line,) = [line for line in lines() if line.get("request_id") == "my-own-id"]
    assert (line["message"], line["level"], line["status"], line["model"]) == ("request", "INFO", 200, "gpt-4o")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert line["user"] == "two\nlines\x1b[31m"
    assert all({"time", "level", "message"} <= each.keys() for each in lines())


def test_level_changes_with_the_file_and_no_restart(talking: Gateway) -> None:
    text = talking.config_file.read_text()
    process = talking.process.pid
    try:
        talking.config_file.write_text(text.replace("general_settings:\n", "general_settings:\n  log_level: ERROR\n"))
        talking.process.send_signal(signal.SIGHUP)
        eventually(lambda: talking.chat().status == 200 and _is_quiet(talking))
    finally:
        talking.config_file.write_text(text)
        talking.process.send_signal(signal.SIGHUP)
    eventually(lambda: talking.chat().status == 200 and not _is_quiet(talking))
    assert talking.process.pid == process


def _is_quiet(gateway: Gateway) -> bool:
    """Whether a request makes no line."""
    before = len(gateway.output())
    gateway.chat()
    time.sleep(0.7)
    return len(gateway.output()) == before


def test_neither_prompts_nor_credentials_go_anywhere(
    talking: Gateway, upstream: Upstream, collector: Receiver, hook: Receiver
) -> None:
    """T17, and the config's own secrets beside it."""
    upstream["talks-too-much"].answers(status=401, body=b'{"error": {"message": "bad key sk-abcdefgh12345678"}}')
    talking.chat("talks-too-much", PROMPT)
    time.sleep(0.6)
    everything = talking.output().encode() + b"".join(post.body for post in [*collector.posts, *hook.posts])
    for secret in (PROMPT, TEAM_KEY, "collector-secret", "sk-abcdefgh12345678", 'sk-1"'):
        assert secret.encode() not in everything


def test_objects_are_whole_files_of_records(talking: Gateway, bucket: Path) -> None:
    """The last of this module: the stop hands over what still waits."""
    reply = talking.chat()
    call_id = talking.record_of(reply)["call_id"]
    talking.terminate()
    assert talking.wait() == 0
    files = sorted(bucket.rglob("*.jsonl.gz"))
    assert call_id in {record["call_id"] for record in _objects(bucket)}
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/[\d-]+-[0-9a-f]{8}-\d{6}\.jsonl\.gz", str(files[0].relative_to(bucket)))


def test_dead_receivers_cost_no_request_and_no_memory(upstream: Upstream, tmp_path: Path) -> None:
    """One says nothing, one answers 503, one has no folder to write to; and when they are back they get what waited.
    Ten minutes with ROUTEWRIGHT_LONG, until every queue is full for long."""
    collector, hook, folder = Receiver(), Receiver(), tmp_path / "bucket"
    folder.mkdir()
    config = base_config(
        upstream,
        litellm_settings={"callbacks": ["otel", "hook", "bucket"]},
        callback_settings={
            "otel": {"endpoint": collector.url},
            "hook": {"callback_type": "webhook", "endpoint": hook.url},
            "bucket": {"callback_type": "object_dump", "url": f"file://{folder}"},
        },
    )
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).encode()
    ask = request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=body)
    try:
        with running(config) as gateway:
            (worker,) = gateway.serving_processes()
            with Steady(gateway.port, ask, rate=DEAD_RATE, connections=20, holds=b"Hello from gpt-4o") as load:
                eventually(lambda: hook.posts and collector.posts, what="records to arrive")
                collector.hold()
                hook.status = 503
                (tmp_path / "away").write_text("in the way")
                folder.rename(tmp_path / "kept")
                (tmp_path / "away").rename(folder)
                resident, until_s = [], time.monotonic() + DEAD_SECONDS
                while time.monotonic() < until_s:
                    time.sleep(DEAD_SECONDS / 120)
                    resident.append(worker.memory_info().rss / 1e6)
                    upstream["gpt-4o"].requests.clear()
                assert not load.failed
                folder.unlink()
                (tmp_path / "kept").rename(folder)
                hook.status = 200
                collector.hold(False)
                time.sleep(1)
            told = load.end()
            # Every record has gone, or was left out and counted: none waits for ever, and none is in neither sum.
            names = ("otel", "hook", "bucket") if IS_LONG else ("otel", "hook")  # objects wait for ten seconds for more
            took = eventually(
                lambda: _all_told(gateway, names, told["answered"]),
                within_s=PATIENCE_S + 2 * LONGEST_PAUSE_S,
                what="all to be told",
            )
            print(f"\nMB at every 10th of the time {[round(each, 1) for each in resident[11::12]]}; {took}; {told}")
            assert (told["failed"], told["failures"]) == (0, [])
            # Three queues of 8 MiB at most, and what Python needs around them; once they are full, nothing.
            assert max(resident) - resident[0] < 60
            if IS_LONG:
                assert max(resident[60:]) - max(resident[20:60]) < 3, resident
            gateway.terminate()
            assert gateway.wait(30) == 0
            assert IS_LONG or len(_objects(folder)) == told["answered"]
            ids = [record["call_id"] for post in hook.posts for record in post.json]
            assert len(set(ids)) == len(ids), "told twice"
    finally:
        collector.close()
        hook.close()


def _all_told(gateway: Gateway, names: Sequence[str], made: int) -> dict[str, dict[str, float]] | None:
    """Records that went to each receiver, and records that were lost; None as long as others wait."""
    reply = gateway.request("GET", "/metrics")
    sums = {}
    for name in names:
        went, lost = (
            sum(
                map(
                    float,
                    re.findall(rf'^routewright_{what}_total{{receiver="{name}"}} (\S+)', reply.body.decode(), re.M),
                )
            )
            for what in ("exported_records", "export_lost_records")
        )
        sums[name] = {"went": went, "lost": lost}
        if went + lost != made:
            return None
    return sums


def _objects(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.jsonl.gz"))
    return [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
