"""Upstreams that fail: F1-F12 of RELIABILITY.md and T15, each with the status or event a client must see.

`gateway` retries and cools down; `hasty` does neither and has short time limits.
"""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import dialect
from harness.crowd import ask, chat_bytes, side_by_side
from harness.dialect import chat_completion, chat_events, chunked_stream, event, http_chunk, openai_error, usage
from harness.gateway import Gateway, base_config, eventually, running
from harness.models import Model
from harness.upstream import Close, Drip, Flood, Hang, Send, Upstream, Wait
from harness.wire import Reply, assert_error, secret


def assert_broke_off(reply: Reply, code: str | tuple[str, ...]) -> dict[str, Any]:
    """S: after the first byte, an error event and `[DONE]`, then the end. The error object."""
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    *_, broken, done = reply.events
    assert done == "[DONE]"
    assert set(broken) == {"error"}, broken
    assert set(broken["error"]) == {"message", "type", "param", "code"}
    assert broken["error"]["code"] in ((code,) if isinstance(code, str) else code), broken
    assert "stop" not in [e["choices"][0]["finish_reason"] for e in reply.events[:-2] if e["choices"]]
    return broken["error"]


# --- F1, F2: no connection --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_refused_connection_is_unavailable(stream: bool, gateway: Gateway) -> None:
    """F1: 503 upstream_unavailable, nothing spent."""
    reply = gateway.chat(model="refused", stream=stream)

    assert_error(reply, 503, "upstream_unavailable", type="api_error")
    assert gateway.record_of(reply)["cost_nusd"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_next_deployment_answers_when_the_first_refuses(stream: bool, gateway: Gateway) -> None:
    """F1."""
    for _ in range(12):
        assert gateway.chat(model="refused-first", stream=stream).text == "Hello from refused-second"


def test_connect_that_hangs_times_out(hasty: Gateway) -> None:
    """F2: 504 once the connect limit has passed."""
    reply = hasty.chat(model="unaccepted")

    assert_error(reply, 504, "upstream_timeout", type="api_error")
    assert hasty.record_of(reply)["cost_nusd"] == 0


def test_next_deployment_answers_when_the_first_never_accepts(hasty: Gateway) -> None:
    """F2."""
    assert hasty.chat(model="unaccepted-first", num_retries=1).text == "Hello from unaccepted-second"


# --- F3, F10, F11: silence --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_upstream_that_never_answers_times_out(stream: bool, hasty: Gateway, brief: Model, upstream: Upstream) -> None:
    """F3: 504 at the first-byte limit, the connection let go, one record."""
    brief.first.hangs()

    reply = hasty.chat(model=brief.name, stream=stream)

    assert_error(reply, 504, "upstream_timeout", type="api_error")
    record = hasty.record_of(reply)
    assert (record["status"], record["error_code"], record["ended"]) == (504, "upstream_timeout", "upstream_failed")
    eventually(lambda: brief.first.in_use == 0, what="the connection to be let go")


def test_stream_that_stalls_is_pinged_and_ended(hasty: Gateway, brief: Model) -> None:
    """F10: comments while it stalls, then S; the slot is freed and what came is paid for."""
    started = b"".join(chunked_stream(chat_events(["Hel", "lo"])[:3])[:-1])
    brief.first.stalls(started)

    reply = hasty.chat(model=brief.name, stream=True)

    assert_broke_off(reply, "upstream_timeout")
    assert reply.body.count(b"\n:") + reply.body.startswith(b":") >= 2
    assert [e["choices"][0]["delta"].get("content") for e in reply.events[:-2]] == ["", "Hel", "lo"]
    record = hasty.record_of(reply)
    assert record["ended"] == "upstream_failed"
    assert record["completion_tokens"] >= 1
    assert record["usage_estimated"]
    eventually(lambda: brief.first.in_use == 0, what="the connection to be let go")


def test_answer_that_stalls_times_out(hasty: Gateway, brief: Model) -> None:
    """F10, not streamed: half a body, then silence."""
    brief.first.stalls(dialect.response(200, dialect.to_json(chat_completion()))[:-40])

    assert_error(hasty.chat(model=brief.name), (502, 504), type="api_error")


def test_answer_that_drips_runs_into_the_total_limit(hasty: Gateway, brief: Model) -> None:
    """F11: a byte now and then does not hold a slot for ever."""
    brief.first.plays(Drip(dialect.response(200, dialect.to_json(chat_completion())), 0.05))

    assert_error(hasty.chat(model=brief.name), 504, "upstream_timeout")


def test_stream_that_drips_runs_into_the_total_limit(hasty: Gateway, brief: Model) -> None:
    """F11."""
    brief.first.plays(Drip(b"".join(chunked_stream(chat_events(["word "] * 50))), 0.005))

    assert_broke_off(hasty.chat(model=brief.name, stream=True), "upstream_timeout")


# --- F4: retries and their budget -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 529])
def test_failing_upstream_is_tried_again_and_then_reported(status: int, gateway: Gateway, one: Model) -> None:
    """F4: at most two retries, then 502 in our own words."""
    one.first.answers(status, openai_error("the database of host db-7.internal is on fire", type="server_error"))

    reply = gateway.chat(model=one.name)

    assert_error(reply, 502, "upstream_error", type="api_error")
    assert one.first.hits in (2, 3)
    assert gateway.record_of(reply)["cost_nusd"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_retry_answers_after_one_failure(stream: bool, gateway: Gateway, one: Model) -> None:
    """F4."""
    one.first.answers(500, times=1)

    reply = gateway.chat(model=one.name, stream=stream)

    assert reply.text == f"Hello from {one.name}"
    assert reply.headers["x-litellm-attempted-retries"] == "1"
    assert gateway.record_of(reply)["attempts"] == 2


def test_next_candidate_answers_when_the_first_fails_before_its_first_chunk(gateway: Gateway, two: Model) -> None:
    """F4."""
    two.first.answers(503)
    two.second.streams("Hel", "lo")

    reply = gateway.chat(model=two.name, stream=True)

    assert reply.text == "Hello"
    assert gateway.record_of(reply)["status"] == 200


def test_retries_add_little_to_an_upstream_that_is_down(upstream: Upstream) -> None:
    """F4: at 100 % failure at most 20 % + 10 a second more than was asked."""
    settings_ = {"num_retries": 1, "retry_after": 0, "disable_cooldowns": True}
    with running(base_config(upstream, ones=1, router_settings=settings_)) as gateway:
        down = upstream["one-000"]
        down.forget()
        down.answers(503)
        began_s = time.monotonic()
        requests = [chat_bytes("one-000", "x", f"down-{number}") for number in range(300)]
        for reply in asyncio.run(side_by_side(lambda request: ask(gateway.port, request), requests)):
            assert_error(reply, 502, "upstream_error")
        took_s = time.monotonic() - began_s

        assert down.hits > 300, "it never retried"
        assert down.hits <= 300 * 1.2 + 10 * (took_s + 1)
        down.forget()


def test_caller_may_ask_for_fewer_retries(gateway: Gateway, one: Model) -> None:
    """COMPAT 4: num_retries in the body, x-litellm-num-retries as a header."""
    one.first.answers(500)
    assert_error(gateway.chat(model=one.name, num_retries=0), 502)
    assert one.first.hits == 1
    assert_error(gateway.chat(model=one.name, headers={"x-litellm-num-retries": "0"}), 502)
    assert one.first.hits == 2


def test_deployment_that_keeps_failing_is_left_alone(gateway: Gateway, two: Model) -> None:
    """F1, F4: cooldown of that deployment, not of the model."""
    two.first.answers(500)
    for _ in range(12):
        assert gateway.chat(model=two.name).text == f"Hello from {two.second.name}"
    hits = two.first.hits

    for _ in range(20):
        assert gateway.chat(model=two.name).text == f"Hello from {two.second.name}"

    assert two.first.hits == hits


# --- F5: 429 ----------------------------------------------------------------------------------------------------

RETRY_AFTER = {
    "seconds": "7",
    "date": "in 25 s",
    "past date": "Wed, 21 Oct 2015 07:28:00 GMT",
    "garbage": "soon; really",
    "10^9": "1000000000",
    "negative": "-5",
    "fraction": "0.5",
    "empty": "",
}


@pytest.mark.parametrize("form", RETRY_AFTER)
@pytest.mark.parametrize("stream", [False, True])
def test_rate_limited_upstream_is_passed_on_with_a_sane_wait(
    form: str, stream: bool, hasty: Gateway, brief: Model
) -> None:
    """F5: 429 with 1..60 seconds, whatever the upstream wrote."""
    written = email.utils.formatdate(time.time() + 25, usegmt=True) if form == "date" else RETRY_AFTER[form]
    brief.first.answers(429, openai_error("slow down", code="rate_limit"), {"Retry-After": written})

    reply = hasty.chat(model=brief.name, stream=stream)

    assert_error(reply, 429, "upstream_rate_limited", type="rate_limit_error")
    wait_s = int(reply.headers["retry-after"])
    assert 1 <= wait_s <= 60
    assert wait_s == 7 or form != "seconds"
    assert wait_s > 15 or form != "date"
    assert wait_s == 60 or form != "10^9"


def test_rate_limited_deployment_is_left_alone_while_its_twin_answers(gateway: Gateway, two: Model) -> None:
    """F5: fallback at once, and cooldown of the one deployment."""
    two.first.answers(429, headers={"Retry-After": "30"})

    for _ in range(5):
        assert gateway.chat(model=two.name).text == f"Hello from {two.second.name}"

    assert two.first.hits == 1


# --- F6, F7: our credential, the caller's mistakes --------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("stream", [False, True])
def test_refused_credential_is_our_fault_and_stays_secret(
    status: int, stream: bool, hasty: Gateway, brief: Model
) -> None:
    """F6, K: 502, never a 401; our key in the upstream's words does not come out (the harness looks)."""
    key = secret(brief.name)
    text = f"Incorrect API key provided: {key}. Call http://10.1.2.3:8000/admin with Bearer {key}"
    brief.first.answers(status, openai_error(text, code="invalid_api_key"), {"WWW-Authenticate": f'Bearer "{key}"'})

    reply = hasty.chat(model=brief.name, stream=stream)

    assert_error(reply, 502, "upstream_auth_error", type="api_error")
    assert "www-authenticate" not in reply.headers
    assert b"10.1.2.3" not in reply.body


def test_deployment_with_a_bad_credential_gives_way(gateway: Gateway, two: Model) -> None:
    """F6: cooled down; the next one answers."""
    two.first.answers(401, openai_error(f"bad key {secret(two.first.name)}"))
    for _ in range(4):
        assert gateway.chat(model=two.name).text == f"Hello from {two.second.name}"
    assert two.first.hits == 1
    assert "cools down" in gateway.output()
    assert "upstream_auth_error" in gateway.output()


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (
            400,
            openai_error("temperature must be at most 2", code="invalid_value", param="temperature"),
            "invalid_value",
        ),
        (400, openai_error("bad", code=None), None),
        (422, openai_error("unprocessable", code="unprocessable"), None),
        (404, openai_error("no such model", code="model_not_found"), None),
        (
            400,
            openai_error("This model's maximum context length is 8192 tokens", code="context_length_exceeded"),
            "context_length_exceeded",
        ),
        (400, openai_error("blocked", code="content_policy_violation"), "content_policy_violation"),
        (400, openai_error("filtered", code="content_filter"), "content_policy_violation"),
        (400, {"detail": "not OpenAI's shape"}, None),
        (400, b"<html>no</html>", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_caller_s_mistake_is_told_cleaned_and_not_tried_again(
    status: int, error: Any, code: str | None, stream: bool, gateway: Gateway, one: Model
) -> None:
    """F7: same class, one hit, no spend, no cooldown."""
    if isinstance(error, dict) and "error" in error:
        text = f"{error['error']['message']} (key {secret(one.name)} at http://10.1.2.3/v1)"
        error = {"error": {**error["error"], "message": text}}
    one.first.answers(status, error, times=1)

    reply = gateway.chat(model=one.name, stream=stream)

    assert_error(reply, status, code, type="invalid_request_error")
    assert "10.1.2.3" not in reply.error["message"]
    assert one.first.hits == 1
    assert gateway.record_of(reply)["cost_nusd"] == 0
    assert gateway.chat(model=one.name).text == f"Hello from {one.name}"


def test_caller_s_mistake_is_not_tried_elsewhere(gateway: Gateway, two: Model) -> None:
    """F7: another deployment of the same model would say the same."""
    two.first.answers(422, openai_error("unprocessable"))
    for _ in range(8):
        assert_error(gateway.chat(model=two.name), 422)
    assert (two.first.hits, two.second.hits) == (8, 0)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("falls-back", 500, None),
        ("too-long", 400, "context_length_exceeded"),
        ("too-strict", 400, "content_policy_violation"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_fallback_model_answers(name: str, status: int, code: str, stream: bool, gateway: Gateway, upstream: Upstream):
    """Issue 2, part 5: fallbacks, context-window and content-policy fallbacks; headers and journal say so."""
    upstream[name].forget()
    upstream[name].answers(status, openai_error("no", code=code))

    reply = gateway.chat(model=name, stream=stream)

    assert reply.text == "Hello from gpt-4o"
    assert int(reply.headers["x-litellm-attempted-fallbacks"]) >= 1
    record = gateway.record_of(reply)
    assert (record["model_asked"], record["model"]) == (name, "gpt-4o")
    assert record["fallbacks"] >= 1


# --- F8: answers that can't be read -----------------------------------------------------------------------------

UNREADABLE = {
    "malformed JSON": b'{"id": "x", "choices": [',
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "empty": b"",
    "text": b'"Hello"',
    "null": b"null",
    "list": b"[]",
    "no choices": dialect.to_json(chat_completion(choices=...)),
    "choices is text": dialect.to_json(chat_completion(choices="Hello")),
    "a choice is text": dialect.to_json(chat_completion(choices=["Hello"])),
    "message is a number": dialect.to_json(
        chat_completion(choices=[{"index": 0, "message": 5, "finish_reason": "stop"}])
    ),
    "error with status 200": dialect.to_json(openai_error("overloaded", type="server_error")),
    "bad UTF-8": b'{"id":"\xff","choices":[]}',
    "a million brackets": b"[" * 1_000_000,
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_answer_that_cannot_be_read_is_a_bad_response(body: bytes, hasty: Gateway, brief: Model) -> None:
    """F8: 502 upstream_bad_response."""
    brief.first.answers(200, body)

    reply = hasty.chat(model=brief.name)

    assert_error(reply, 502, type="api_error")
    assert reply.error["code"] in ("upstream_bad_response", "upstream_error")
    assert hasty.record_of(reply)["ended"] == "upstream_failed"


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_stream_that_is_none_is_a_bad_response(body: bytes, hasty: Gateway, brief: Model) -> None:
    """F8: a stream was asked for; something else came, with status 200."""
    brief.first.answers(200, body)

    assert_error(hasty.chat(model=brief.name, stream=True), 502, type="api_error")


@pytest.mark.parametrize("status", [204, 206, 299, 304, 100, 999, 600])
def test_odd_status_is_a_bad_response(status: int, hasty: Gateway, brief: Model) -> None:
    """F8."""
    brief.first.plays(Send(dialect.response(status, b"")), Wait(0.05), Close())

    assert_error(hasty.chat(model=brief.name), 502, type="api_error")


HOSTILE_USAGE = {
    "none": ...,
    "null": None,
    "text": "many",
    "list": [1, 2],
    "negative": usage(-5, -7),
    "10^18": usage(10**18, 10**18),
    "10^30": usage(10**30, 10**30),
    "numbers as text": {"prompt_tokens": "9", "completion_tokens": "3"},
    "fractions": {"prompt_tokens": 1.5, "completion_tokens": 2.5},
    "booleans": {"prompt_tokens": True, "completion_tokens": True},
    "empty": {},
}


@pytest.mark.parametrize("used", HOSTILE_USAGE.values(), ids=HOSTILE_USAGE.keys())
@pytest.mark.parametrize("stream", [False, True])
def test_false_usage_is_replaced_by_our_own_count(used: Any, stream: bool, hasty: Gateway, brief: Model) -> None:
    """F8, T15: an integer in 0..cap, else counted here and marked as estimated; money stays sane."""
    if stream:
        shape = None if used is ... else "empty_choices"
        brief.first.streams("Hello", " there", usage_shape=shape, used=used)
    else:
        brief.first.answers(200, chat_completion("Hello there", usage=used))

    reply = hasty.chat(model=brief.name, stream=stream)

    assert reply.status == 200, reply.body
    assert reply.text == "Hello there"
    record = hasty.record_of(reply)
    assert record["usage_estimated"] is True
    assert 1 <= record["prompt_tokens"] <= 100
    assert 1 <= record["completion_tokens"] <= 100
    assert 0 < record["cost_nusd"] < 1_000_000
    if not stream:
        shown = reply.json["usage"]
        assert shown["total_tokens"] == shown["prompt_tokens"] + shown["completion_tokens"] > 0


def test_mutated_answers_never_break_the_gateway(hasty: Gateway, brief: Model) -> None:
    """F8: a good answer with bytes changed is either passed on as JSON or a 502."""
    good = dialect.to_json(chat_completion("Hello there", tool_calls=[dialect.TOOL_CALL]))

    @settings(max_examples=120, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.integers(0, len(good) - 1), st.binary(max_size=4), st.integers(0, 60))
    def ask(place: int, spoiler: bytes, removed: int) -> None:
        brief.first.answers(200, good[:place] + spoiler + good[place + removed :])
        reply = hasty.chat(model=brief.name)
        if reply.status != 200:
            assert_error(reply, 502, type="api_error")
        else:
            assert isinstance(reply.json["choices"], list)

    ask()


# --- F12: redirects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("stream", [False, True])
def test_redirect_is_never_followed(status: int, stream: bool, hasty: Gateway, brief: Model) -> None:
    """F12, A1: another host would receive our credential."""
    canary = Upstream()
    try:
        brief.first.answers(status, b"", {"Location": f"http://127.0.0.1:{canary.port}/canary/v1/chat/completions"})

        assert_error(hasty.chat(model=brief.name, stream=stream), 502, "upstream_bad_response")

        assert canary.connections_made == 0
    finally:
        canary.close()


# --- T15: hostile HTTP ------------------------------------------------------------------------------------------

GOOD_BODY = dialect.to_json(chat_completion())
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SIZED = b"Content-Length: %d\r\n" % len(GOOD_BODY)
HOSTILE_HTTP = {
    "no HTTP at all": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" * 10,
    "HTTP/9.9": OK.replace(b"1.1", b"9.9") + SIZED + b"\r\n" + GOOD_BODY,
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "head above 64 KiB": OK + b"X-A: b\r\n" * 20_000 + SIZED + b"\r\n" + GOOD_BODY,
    "a header of 1 MiB": OK + b"X-A: " + b"b" * 1_048_576 + b"\r\n" + SIZED + b"\r\n" + GOOD_BODY,
    "NUL in a header": OK + b"X-A: \x00\r\n" + SIZED + b"\r\n" + GOOD_BODY,
    "two lengths": OK + SIZED + b"Content-Length: 5\r\n\r\n" + GOOD_BODY,
    "length and chunked": OK + SIZED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": OK + b"Content-Length: -1\r\n\r\n" + GOOD_BODY,
    "length of 10^18": OK + b"Content-Length: 1000000000000000000\r\n\r\n" + GOOD_BODY,
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + http_chunk(GOOD_BODY) + b"0\r\n\r\n",
    "bad chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD_BODY + b"\r\n0\r\n\r\n",
    "negative chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n" + GOOD_BODY + b"\r\n0\r\n\r\n",
    "chunk without its end": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + GOOD_BODY,
    "body shorter than said": OK + b"Content-Length: %d\r\n\r\n" % (len(GOOD_BODY) + 5) + GOOD_BODY,
    "chunks cut before the last": OK + b"Transfer-Encoding: chunked\r\n\r\n" + http_chunk(GOOD_BODY),
    "compressed though not asked": OK
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(GOOD_BODY))
    + gzip.compress(GOOD_BODY),
    "gzip bomb": OK
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(b" " * 10_000_000))
    + gzip.compress(b" " * 10_000_000),
}


@pytest.mark.parametrize("data", HOSTILE_HTTP.values(), ids=HOSTILE_HTTP.keys())
@pytest.mark.parametrize("stream", [False, True])
def test_hostile_http_is_a_failed_upstream(data: bytes, stream: bool, hasty: Gateway, brief: Model) -> None:
    """T15: the table of section 1, mirrored: 502, and the connection is not used again."""
    brief.first.plays(Send(data), Wait(0.1), Close(), times=1)

    assert_error(hasty.chat(model=brief.name, stream=stream), 502, type="api_error")

    first = brief.first.last.connection
    assert hasty.chat(model=brief.name, stream=stream).text == f"Hello from {brief.name}"
    assert brief.first.last.connection != first


@pytest.mark.parametrize(
    ("start", "flood"),
    [
        (OK + b"\r\n", b" " * 50_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", http_chunk(b" " * 50_000)),
        (OK, b"X-More: and more\r\n" * 1000),
        (OK + b"X-Long: ", b"and longer " * 5000),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000),
        (b"", b"\r\n" * 10_000),
    ],
    ids=["body", "chunks", "fields", "field", "103s", "empty lines"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_endless_upstream_is_cut_off(start: bytes, flood: bytes, stream: bool, hasty: Gateway, brief: Model) -> None:
    """T15: limits hold on that side too, and memory comes back."""
    brief.first.plays(Send(start), Flood(flood))

    assert_error(hasty.chat(model=brief.name, stream=stream), (502, 504), type="api_error")

    eventually(lambda: brief.first.in_use == 0, what="the connection to be let go")


def test_endless_event_is_cut_off(hasty: Gateway, brief: Model) -> None:
    """T15: one event of a stream that never ends."""
    first = chunked_stream(chat_events(["Hello"])[:2])[:-1]
    brief.first.plays(
        Send(b"".join(first)), Send(http_chunk(b'data: {"choices":[{"x":"')), Flood(http_chunk(b"x" * 50_000))
    )

    assert_broke_off(hasty.chat(model=brief.name, stream=True), ("upstream_bad_response", "upstream_error"))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + SIZED + b"\r\n" + GOOD_BODY,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + SIZED + b"\r\n" + GOOD_BODY,
        b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + GOOD_BODY,
        OK + b"\r\n" + GOOD_BODY,
        OK + b"Connection: close\r\n" + SIZED + b"\r\n" + GOOD_BODY,
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(http_chunk(bytes([b])) for b in GOOD_BODY) + b"0\r\n\r\n",
        b"HTTP/1.1 200\r\n" + SIZED + b"\r\n" + GOOD_BODY,
    ],
    ids=["100 first", "103 first", "HTTP/1.0", "ends with the connection", "close", "a byte a chunk", "no reason"],
)
def test_odd_but_allowed_http_is_read(data: bytes, hasty: Gateway, brief: Model) -> None:
    """T15: strict is not stubborn."""
    brief.first.plays(Send(data), Wait(0.02), Close(), times=1)

    assert hasty.chat(model=brief.name).text == "Hello there"
    assert hasty.chat(model=brief.name).text == f"Hello from {brief.name}"


def test_second_answer_on_a_connection_reaches_nobody(hasty: Gateway, brief: Model) -> None:
    """T15: bytes behind an answer are a desynchronised upstream; the next caller must not get them."""
    stray = dialect.response(200, dialect.to_json(chat_completion("somebody else's answer")))
    brief.first.plays(Send(dialect.response(200, GOOD_BODY) + stray), Hang(), times=3)
    brief.first.plays(Send(dialect.response(200, GOOD_BODY)), Wait(0.05), Send(stray), Hang(), times=3)

    for _ in range(6):
        assert hasty.chat(model=brief.name).text == "Hello there"
        time.sleep(0.08)
    for _ in range(6):
        assert hasty.chat(model=brief.name).text == f"Hello from {brief.name}"


def test_headers_of_the_upstream_are_kept_apart(hasty: Gateway, brief: Model) -> None:
    """COMPAT 5: prefixed; hop-by-hop and cookies dropped; its rate limits never stand for ours."""
    theirs = {
        "Set-Cookie": "session=1",
        "X-RateLimit-Remaining": "0",
        "x-ratelimit-limit-requests": "1",
        "Keep-Alive": "timeout=5",
        "Server": "upstream/1.0",
        "Openai-Processing-Ms": "12",
        "Access-Control-Allow-Origin": "*",
    }
    brief.first.answers(200, headers=theirs)

    reply = hasty.chat(model=brief.name)

    assert reply.status == 200
    names = [name for name, _ in reply.fields]
    assert not {"set-cookie", "keep-alive", "server", "openai-processing-ms", "access-control-allow-origin"} & set(
        names
    )
    assert "llm_provider-set-cookie" not in names
    assert "llm_provider-keep-alive" not in names
    assert reply.headers["llm_provider-openai-processing-ms"] == "12"
    assert reply.headers["x-ratelimit-remaining"] not in ("0", "1")
    assert len([name for name in names if name == "x-ratelimit-remaining"]) == 1


# --- connections that were kept ---------------------------------------------------------------------------------


def test_connections_are_used_again(gateway: Gateway, one: Model) -> None:
    for _ in range(20):
        assert gateway.chat(model=one.name).status == 200
    assert len({request.connection for request in one.first.requests}) == 1


def test_kept_connection_that_has_gone_stale_costs_no_retry(steady: Gateway, upstream: Upstream) -> None:
    """DESIGN 4: the upstream ends an idle connection as the next request comes: asked once more, on a new one."""
    stale = upstream["one-003"]
    stale.forget()
    seen: set[int] = set()

    def once_a_connection(request):
        if request.connection in seen:
            return [Close()]
        seen.add(request.connection)
        return [Send(dialect.response(200, GOOD_BODY))]

    stale.runs(once_a_connection)
    for _ in range(10):
        reply = steady.chat(model="one-003")
        assert reply.status == 200
        assert reply.headers["x-litellm-attempted-retries"] == "0"
    stale.forget()


# --- errors inside a stream -------------------------------------------------------------------------------------


def test_error_event_first_is_a_plain_error(hasty: Gateway, brief: Model) -> None:
    """S: nothing has been sent to the client yet, so it gets a status."""
    brief.first.sends_packets(
        [event(openai_error(f"overloaded {secret(brief.name)}", type="server_error")), dialect.DONE]
    )

    assert_error(hasty.chat(model=brief.name, stream=True), (502, 503), type="api_error")


def test_error_event_in_the_middle_ends_the_stream(hasty: Gateway, brief: Model) -> None:
    """S, R16, K: passed on cleaned, then `[DONE]`."""
    good = chat_events(["Hel", "lo"])[:3]
    brief.first.sends_packets([*good, event(openai_error(f"died: {secret(brief.name)}", type="server_error"))])

    reply = hasty.chat(model=brief.name, stream=True)

    assert_broke_off(reply, ("upstream_error", "upstream_bad_response"))
    assert hasty.record_of(reply)["ended"] == "upstream_failed"


@pytest.mark.parametrize(
    "rubbish",
    [
        b"data: {not json}\n\n",
        b"data: []\n\n",
        b'data: "text"\n\n',
        b"data: \xff\xfe\n\n",
        b"<html>\n\n" * 3,
        b"data: null\n\n",
    ],
)
def test_rubbish_in_the_middle_ends_the_stream(rubbish: bytes, hasty: Gateway, brief: Model) -> None:
    """F8, S: never passed on, never taken for the end."""
    brief.first.sends_packets([*chat_events(["Hel", "lo"])[:3], rubbish])

    reply = hasty.chat(model=brief.name, stream=True)

    assert_broke_off(reply, ("upstream_error", "upstream_bad_response"))
    assert rubbish.strip() not in reply.body


def test_stream_that_ends_without_its_end_is_broken(hasty: Gateway, brief: Model) -> None:
    """R15: a clean HTTP end before finish_reason and `[DONE]` is no end of the answer."""
    brief.first.sends_packets(chat_events(["Hel", "lo"])[:3])

    reply = hasty.chat(model=brief.name, stream=True)

    assert_broke_off(reply, ("upstream_error", "upstream_bad_response"))
    assert json.dumps("stop") not in reply.body.decode()
