"""Faults of upstreams that speak a dialect of their own, at the socket: what the client is told, what is on record."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from harness import anthropic, bedrock, cohere, dialect, gemini, ollama
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, running
from harness.upstream import Close, Deployment, Drip, Reset, Send, Step, Until, Upstream
from harness.wire import Reply, request_bytes, secret

TEXTS = ["The quick", " brown fox", " jumps over the lazy dog"]
EVENTS: dict[str, list[bytes]] = {
    "claude": anthropic.message_events(*TEXTS),
    "gemini": gemini.text_events(TEXTS),
    "nova": bedrock.text_events(TEXTS),
    "command": cohere.text_events(TEXTS),
    "llama": ollama.text_lines(TEXTS),
}
HEADERS = {"nova": bedrock.STREAM_HEADERS, "llama": ollama.STREAM_HEADERS}
ERRORS: dict[str, bytes] = {
    "claude": anthropic.error_event("overloaded_error"),
    "gemini": gemini.event({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
    "nova": bedrock.exception("modelStreamErrorException", "broken"),
    "command": cohere.end("ERROR"),
    "llama": b'{"error":"model runner has stopped"}\n',
}
DIALECTS = list(EVENTS)
CLIENTS = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Say hello"}]}),
    "messages": ("/v1/messages", {"messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 100}),
    "responses": ("/v1/responses", {"input": "Say hello"}),
}
WHOLE_ENDS = (b'"finish_reason":"stop"', b"message_stop", b"response.completed")


@pytest.fixture(scope="module")
def foreign(upstream: Upstream) -> Iterator[Gateway]:
    """A model a dialect, `x`, and `x-2nd`, which falls back to another provider."""
    falls_back = [{f"{name}-2nd": [f"behind-{name}"]} for name in DIALECTS]
    settings = {"num_retries": 0, "disable_cooldowns": True, "fallbacks": falls_back}
    config = base_config(upstream, router_settings=settings)
    aws = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": secret("nova"), "aws_region_name": "us-east-1"}
    at = {"claude": ("anthropic", "claude-opus-4-6", {}), "gemini": ("gemini", "gemini-2.5-flash", {}),
          "nova": ("bedrock", "amazon.nova-pro-v1:0", {"api_key": None, **aws}), "command": ("cohere", "command-a", {}),
          "llama": ("ollama", "llama3.1", {})}  # fmt: skip
    for name, (provider, model, params) in at.items():
        prefix = f"f-{name}"
        base = upstream[prefix].api_base
        more: dict[str, Any] = {**params, "api_base": base.removesuffix("/v1") if name == "llama" else base}
        config["model_list"] += [
            deployment(name, upstream, prefix, provider=provider, model=model, **more),
            deployment(f"{name}-2nd", upstream, prefix, provider=provider, model=model, **more),
            deployment(f"behind-{name}", upstream, f"{prefix}-2nd", output_cost_per_token=0.00001),
        ]
    with running(config) as started:
        yield started


@pytest.fixture
def faulty(upstream: Upstream, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    found = upstream[f"f-{request.getfixturevalue('name')}"]
    found.forget()
    yield found
    found.forget()


def packets(name: str, events: list[bytes]) -> list[bytes]:
    return dialect.chunked_stream(events, HEADERS.get(name))


def ask(gateway: Gateway, model: str, client: str = "chat", *, stream: bool = True) -> Reply:
    path, body = CLIENTS[client]
    return gateway.request("POST", path, {"model": model, "stream": stream, **body})


def ask_twice(gateway: Gateway, faulty: Deployment, model: str, client: str, begun: list[bytes], fault: Step) -> Reply:
    """The fault comes once the client has the stream's beginning."""
    has_begun = threading.Event()
    faulty.plays(Send(b"".join(begun)), Until(has_begun), fault)
    path, body = CLIENTS[client]
    with gateway.connect() as wire:
        asked = dialect.to_json({"model": model, "stream": True, **body})
        wire.send(request_bytes("POST", path, key=TEAM_KEY, body=asked))
        wire.wait_for(b"The quick")
        has_begun.set()
        return wire.reply("POST")


def failed(gateway: Gateway, reply: Reply) -> dict[str, Any]:
    """The record of a stream that began and failed: no invented end, billed as far as it went."""
    assert reply.status == 200
    assert not any(end in reply.body for end in WHOLE_ENDS)
    record = gateway.record_of(reply)
    assert (record["ended"], record["status"], record["is_stream"]) == ("upstream_failed", 200, True)
    assert record["error_code"].startswith("upstream_")
    assert record["attempts"] == 1
    assert record["cost_nusd"] == record["prompt_tokens"] * 1000 + record["completion_tokens"] * 4000 > 0
    return record


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("name", DIALECTS)
def test_cut_in_the_middle_of_an_event(name: str, client: str, foreign: Gateway, faulty: Deployment) -> None:
    events = EVENTS[name]
    at = next(place for place, event in enumerate(events) if b"brown fox" in event)
    sent = packets(name, [*events[:at], events[at][: len(events[at]) // 2]])[:-1]
    for end in (Close(), Reset()):
        reply = ask_twice(foreign, faulty, name, client, sent, end)
        assert b"The quick" in reply.body
        assert b"brown" not in reply.body
        record = failed(foreign, reply)
        assert record["usage_estimated"] or record["completion_tokens"] >= 1


@pytest.mark.parametrize("name", DIALECTS)
def test_drip_of_single_bytes_is_the_same_answer(name: str, foreign: Gateway, faulty: Deployment) -> None:
    faulty.plays(Drip(b"".join(packets(name, EVENTS[name])), 0.0))
    reply = ask(foreign, name)
    assert reply.text == "".join(TEXTS)
    record = foreign.record_of(reply)
    assert (record["ended"], record["prompt_tokens"], record["completion_tokens"]) == ("complete", 9, 3)
    assert (record["cost_nusd"], record["usage_estimated"]) == (9 * 1000 + 3 * 4000, False)


@pytest.mark.parametrize("garbage", [b"\x00\xff\xfe not an event \r\n\r\n", b"data: {{{\n\n", b"<html>\n\n"])
@pytest.mark.parametrize("name", DIALECTS)
def test_garbage_in_a_stream(name: str, garbage: bytes, foreign: Gateway, faulty: Deployment) -> None:
    at = next(place for place, event in enumerate(EVENTS[name]) if b"brown fox" in event)
    sent = packets(name, [*EVENTS[name][:at], garbage])
    failed(foreign, ask_twice(foreign, faulty, name, "chat", sent[:-2], Send(b"".join(sent[-2:]))))


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("name", DIALECTS)
def test_an_error_in_a_stream(name: str, client: str, foreign: Gateway, faulty: Deployment) -> None:
    at = next(place for place, event in enumerate(EVENTS[name]) if b"brown fox" in event)
    sent = packets(name, [*EVENTS[name][:at], ERRORS[name]])
    failed(foreign, ask_twice(foreign, faulty, name, client, sent[:-2], Send(b"".join(sent[-2:]))))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize("name", DIALECTS)
def test_failure_before_the_first_byte_is_answered_elsewhere(
    name: str, status: int, stream: bool, foreign: Gateway, faulty: Deployment
) -> None:
    faulty.answers(status, {"message": "busy", "error": {"message": "busy"}})
    reply = ask(foreign, f"{name}-2nd", stream=stream)
    text = reply.text if stream else reply.json["choices"][0]["message"]["content"]
    assert text == f"Hello from f-{name}-2nd"
    record = foreign.record_of(reply)
    assert (record["ended"], record["provider"], record["attempts"]) == ("complete", "openai", 2)
    assert record["cost_nusd"] == 9 * 1000 + 3 * 10_000
    assert faulty.hits == 1

    alone = ask(foreign, name, stream=stream)
    assert alone.status == (429 if status == 429 else 502)
    record = foreign.record_of(alone)
    assert (record["status"], record["cost_nusd"], record["attempts"]) == (alone.status, 0, 1)
    assert json.loads(alone.body)["error"]["code"] == record["error_code"]


@pytest.mark.parametrize("name", DIALECTS)
def test_a_stream_that_fails_at_once_is_answered_elsewhere(name: str, foreign: Gateway, faulty: Deployment) -> None:
    """Its head was good, and nothing has gone to the client."""
    first = EVENTS[name][:1] if name in ("claude", "command", "nova") else []
    faulty.plays(Send(b"".join(packets(name, [*first, ERRORS[name]]))))
    reply = ask(foreign, f"{name}-2nd")
    assert reply.text == f"Hello from f-{name}-2nd"
    assert foreign.record_of(reply)["attempts"] == 2
