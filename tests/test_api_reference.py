"""The public API to the letter: endpoints, fields and headers, with and without `/v1`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from harness import dialect
from harness.gateway import MASTER_KEY, SMALL_KEY, TEAM_KEY, TIGHT_KEY, Gateway
from harness.models import Model
from harness.upstream import Upstream
from harness.wire import Reply, assert_error

both = pytest.mark.parametrize("prefix", ["", "/v1"])
SAY: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}], "temperature": 0.7}


@both
def test_chat_completions(prefix: str, gateway: Gateway) -> None:
    reply = gateway.request("POST", f"{prefix}/chat/completions", SAY)

    assert reply.status == 200
    assert reply.headers["content-type"].split(";")[0] == "application/json"
    body = reply.json
    assert body["object"] == "chat.completion"
    assert body["model"] == "gpt-4o"
    assert isinstance(body["id"], str)
    [choice] = body["choices"]
    assert (choice["index"], choice["message"]["role"]) == (0, "assistant")
    assert choice["message"]["content"] == "Hello from gpt-4o"
    assert body["usage"] == {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


@both
def test_chat_completions_streamed(prefix: str, gateway: Gateway) -> None:
    reply = gateway.request("POST", f"{prefix}/chat/completions", {**SAY, "stream": True})

    assert reply.status == 200
    assert reply.headers["content-type"].split(";")[0] == "text/event-stream"
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert all(line.startswith(b"data: ") for line in reply.body.split(b"\n\n")[:-1])
    *chunks, _ = reply.events
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert reply.text == "Hello from gpt-4o"


@both
def test_completions(prefix: str, gateway: Gateway) -> None:
    reply = gateway.request("POST", f"{prefix}/completions", {"model": "gpt-4o", "prompt": "Hello!"})

    assert reply.status == 200
    assert reply.json["object"] == "text_completion"
    assert reply.json["choices"][0]["text"] == "Hello from gpt-4o"
    assert reply.json["model"] == "gpt-4o"


@both
@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_embeddings(prefix: str, encoding: str | None, gateway: Gateway) -> None:
    body = {"model": "embed", "input": ["a", "b"]} | ({"encoding_format": encoding} if encoding else {})
    reply = gateway.request("POST", f"{prefix}/embeddings", body)

    assert reply.status == 200
    assert (reply.json["object"], reply.json["model"]) == ("list", "embed")
    assert [row["index"] for row in reply.json["data"]] == [0, 1]
    assert reply.json["data"] == dialect.embeddings(body)["data"]


@both
def test_models(prefix: str, gateway: Gateway) -> None:
    reply = gateway.request("GET", f"{prefix}/models")

    assert reply.json["object"] == "list"
    by_name = {entry["id"]: entry for entry in reply.json["data"]}
    assert {"gpt-4o", "gpt-4o-mini", "embed", "auto"} <= set(by_name)
    assert len(by_name) == len(reply.json["data"])
    for entry in by_name.values():
        assert entry["object"] == "model"
        assert isinstance(entry["created"], int)
        assert isinstance(entry["owned_by"], str)
    one = gateway.request("GET", f"{prefix}/models/gpt-4o")
    assert one.json == by_name["gpt-4o"]
    assert_error(gateway.request("GET", f"{prefix}/models/nothing"), 404, "model_not_found")


def test_models_are_those_the_key_may_use(gateway: Gateway) -> None:
    names = {entry["id"] for entry in gateway.request("GET", "/models", key=SMALL_KEY).json["data"]}
    assert "gpt-4o-mini" in names
    assert "gpt-4o" not in names
    assert_error(gateway.request("GET", "/models/gpt-4o", key=SMALL_KEY), (403, 404))


def test_health_needs_no_key(gateway: Gateway) -> None:
    reply = gateway.request("GET", "/health", key=None)
    assert reply.status == 200
    assert reply.json["status"] == "healthy"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", reply.json["version"])

    alive = gateway.request("GET", "/health/liveliness", key=None)
    assert (alive.status, alive.json) == (200, "I'm alive!")
    assert gateway.request("GET", "/health/liveness", key=None).json == "I'm alive!"
    ready = gateway.request("GET", "/health/readiness", key=None)
    assert (ready.status, ready.json["status"]) == (200, "healthy")


def test_router_info(gateway: Gateway) -> None:
    reply = gateway.request("GET", "/router/info", key=MASTER_KEY)

    assert reply.status == 200
    info = reply.json
    assert info["routing_strategy"].startswith("llmrouter-")
    assert isinstance(info["model_path"], str)
    assert info["hot_reload"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", info["last_reload"])
    assert datetime.fromisoformat(info["last_reload"]) <= datetime.now(UTC)


def test_router_reload(gateway: Gateway) -> None:
    before = gateway.request("GET", "/router/info", key=MASTER_KEY).json["last_reload"]
    time.sleep(1.1)  # last_reload may have whole seconds

    assert gateway.request("POST", "/router/reload", key=MASTER_KEY).status == 200

    assert gateway.request("GET", "/router/info", key=MASTER_KEY).json["last_reload"] > before


def test_router_route(gateway: Gateway, upstream: Upstream) -> None:
    """A decision, explained; nothing is sent upstream."""
    hits = upstream["gpt-4o"].hits + upstream["gpt-4o-mini"].hits

    reply = gateway.request("POST", "/router/route", {"query": "Explain quantum entanglement"}, key=MASTER_KEY)

    assert reply.status == 200
    decision = reply.json
    models = {"gpt-4o", "gpt-4o-mini"}
    assert decision["selected_model"] in models
    assert 0 <= decision["confidence"] <= 1
    assert {entry["model"] for entry in decision["alternatives"]} == models - {decision["selected_model"]}
    assert all(0 <= entry["score"] <= 1 for entry in decision["alternatives"])
    assert upstream["gpt-4o"].hits + upstream["gpt-4o-mini"].hits == hits


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/router/info"), ("POST", "/router/reload"), ("POST", "/router/route")]
)
def test_router_endpoints_need_the_master_key(method: str, path: str, gateway: Gateway) -> None:
    """COMPAT 4: 401 without a key, 403 with a virtual one."""
    body = {"query": "x"} if path.endswith("route") else None
    assert_error(gateway.request(method, path, body, key=None), 401, "invalid_api_key", type="authentication_error")
    assert_error(gateway.request(method, path, body, key="sk-wrong"), 401, "invalid_api_key")
    assert_error(gateway.request(method, path, body, key=TEAM_KEY), 403, "permission_denied", type="permission_error")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/chat/completions"), ("POST", "/completions"), ("POST", "/embeddings"), ("GET", "/models"),
        ("GET", "/models/gpt-4o"), ("GET", "/router/info"),
    ],
)  # fmt: skip
@both
def test_everything_else_needs_a_key(method: str, path: str, prefix: str, gateway: Gateway) -> None:
    if path == "/router/info" and prefix:
        prefix = ""
    for key in (None, "", "sk-wrong", TEAM_KEY[:-1], TEAM_KEY + "x", TEAM_KEY.upper()):
        reply = gateway.request(method, prefix + path, key=key)
        assert_error(reply, 401, "invalid_api_key", type="authentication_error")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TEAM_KEY}"},
        {"authorization": f"bearer {TEAM_KEY}"},
        {"x-api-key": TEAM_KEY},
        {"api-key": TEAM_KEY},
        {"x-litellm-api-key": TEAM_KEY},
        {"x-litellm-api-key": f"Bearer {TEAM_KEY}"},
        {"x-litellm-api-key": TEAM_KEY, "Authorization": "Basic c29tZXRoaW5nOmVsc2U="},
    ],
)
def test_places_a_key_may_stand_in(headers: dict[str, str], gateway: Gateway) -> None:
    """COMPAT 2."""
    assert gateway.request("GET", "/models", key=None, headers=headers).status == 200


def test_key_in_the_query_is_no_key(gateway: Gateway) -> None:
    assert_error(gateway.request("GET", f"/models?key={TEAM_KEY}", key=None), 401)


def test_tokens_with_an_equal_part_are_not_the_same(gateway: Gateway) -> None:
    """R5: an identity is the whole token."""
    for wrong in (TEAM_KEY[:20], TEAM_KEY[:-4] + "0000", f"{TEAM_KEY} ", f" {TEAM_KEY}x", TEAM_KEY * 2, TEAM_KEY[4:]):
        if wrong.strip() != TEAM_KEY:
            assert gateway.request("GET", "/models", key=wrong).status == 401, wrong


def test_model_the_key_may_not_use(gateway: Gateway) -> None:
    assert gateway.chat(model="gpt-4o-mini", key=SMALL_KEY).status == 200
    reply = gateway.chat(model="gpt-4o", key=SMALL_KEY)
    assert_error(reply, 403, "model_access_denied", type="key_model_access_denied", param="model")
    assert_error(gateway.chat(model="nothing", key=SMALL_KEY), (403, 404))


def check_rate_headers(reply: Reply, limit: int) -> int:
    """`X-RateLimit-*` with the reset as epoch seconds; what remains."""
    assert int(reply.headers["x-ratelimit-limit"]) == limit
    reset = int(reply.headers["x-ratelimit-reset"])
    assert time.time() - 2 <= reset <= time.time() + 61
    return int(reply.headers["x-ratelimit-remaining"])


def test_rate_limit_headers(gateway: Gateway) -> None:
    """On every success and stream, counting down."""
    first = check_rate_headers(gateway.chat(), 1_000_000)
    second = check_rate_headers(gateway.chat(stream=True), 1_000_000)
    third = check_rate_headers(gateway.request("POST", "/embeddings", {"model": "embed", "input": "x"}), 1_000_000)
    assert first > second > third


def test_requests_above_the_limit(upstream: Upstream, gateway: Gateway) -> None:
    """429 with a truthful Retry-After; refused requests are not sent upstream."""
    while (reply := gateway.chat(key=TIGHT_KEY)).status == 200:
        assert check_rate_headers(reply, 3) in range(3)
    hits = upstream["gpt-4o"].hits
    for stream in (False, True):
        reply = gateway.chat(key=TIGHT_KEY, stream=stream)
        assert_error(reply, 429, "rate_limit_exceeded", type="rate_limit_error")
        assert check_rate_headers(reply, 3) == 0
        assert 1 <= int(reply.headers["retry-after"]) <= 60
        assert reply.headers["rate_limit_type"]
        assert int(reply.headers["reset_at"]) >= time.time() - 1
    assert upstream["gpt-4o"].hits == hits


@pytest.mark.parametrize("stream", [False, True])
def test_headers_of_an_answer(stream: bool, gateway: Gateway) -> None:
    """Issue 2, part 3."""
    reply = gateway.chat(stream=stream, headers={"x-request-id": f"mine-{stream}"})

    headers = reply.headers
    assert headers["x-request-id"] == f"mine-{stream}"
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", headers["x-litellm-call-id"])
    assert headers["x-litellm-model-id"] == gateway.record_of(reply)["deployment"]
    assert headers["x-litellm-attempted-retries"] == "0"
    assert headers["x-litellm-attempted-fallbacks"] == "0"
    assert "x-routewright-model" not in headers
    if not stream:
        assert float(headers["x-litellm-response-cost"]) == pytest.approx(9 * 2.5e-6 + 3 * 1e-5)
    names = [name for name, _ in reply.fields]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("stream", [False, True])
def test_headers_of_a_routed_answer(stream: bool, gateway: Gateway) -> None:
    reply = gateway.chat(model="auto", stream=stream)

    chosen = reply.headers["x-routewright-model"]
    assert reply.text == f"Hello from {chosen}"
    assert 0 <= float(reply.headers["x-routewright-confidence"]) <= 1
    assert reply.headers["x-routewright-artefact"]
    body = reply.events[0] if stream else reply.json
    assert body["model"] == chosen


def test_dial_turns_the_choice(gateway: Gateway) -> None:
    """DESIGN 6: by the body, a header, or the model's name; cheapest at 0, best at 1."""
    cheap = [
        gateway.chat(model="auto", routing={"quality": 0}),
        gateway.chat(model="auto", headers={"x-routewright-quality": "0"}),
        gateway.chat(model="auto:cheap"),
    ]
    assert {reply.text for reply in cheap} == {"Hello from gpt-4o-mini"}
    hard = "Prove that every finite group of odd order is solvable, with all details."
    best = [
        gateway.chat(model="auto", prompt=hard, routing={"quality": 1}),
        gateway.chat(model="auto", prompt=hard, headers={"x-routewright-quality": "1"}),
        gateway.chat(model="auto:best", prompt=hard),
    ]
    assert {reply.text for reply in best} == {"Hello from gpt-4o"}


def test_record_of_an_answer(gateway: Gateway) -> None:
    """Issue 2, part 7."""
    reply = gateway.chat(model="auto", headers={"x-request-id": "recorded"})

    record = gateway.record_of(reply)
    chosen = reply.headers["x-routewright-model"]
    prices = {"gpt-4o": (2500, 10_000), "gpt-4o-mini": (150, 600)}[chosen]
    expected = {
        "request_id": "recorded", "call_id": reply.headers["x-litellm-call-id"], "key_alias": "team",
        "model_asked": "auto", "model": chosen, "deployment": reply.headers["x-litellm-model-id"], "provider": "openai",
        "status": 200, "error_code": None, "is_stream": False, "prompt_tokens": 9, "completion_tokens": 3,
        "usage_estimated": False,
        "cost_nusd": 9 * prices[0] + 3 * prices[1], "attempts": 1, "fallbacks": 0, "ended": "complete",
    }  # fmt: skip
    assert {name: record[name] for name in expected} == expected
    assert record["latency_ms"] > 0
    assert re.fullmatch(r"[0-9a-f]{64}", record["key_hash"])
    assert record["decision"]["chosen"] == chosen


@pytest.mark.parametrize("stream", [False, True])
def test_public_name_is_told_and_the_upstream_s_own_is_sent(stream: bool, gateway: Gateway, one: Model) -> None:
    one.first.answers(200, dialect.chat_completion(model="secret-internal-name"))
    if stream:
        one.first.streams("x")
    reply = gateway.chat(model=one.name, stream=stream)
    told = reply.events[0]["model"] if stream else reply.json["model"]
    assert told == one.name
    assert one.first.last.json["model"] == one.name


def test_metrics(gateway: Gateway) -> None:
    """Request, token, error, latency and decision counters; a caller's words make no new series."""
    gateway.chat(model="auto")
    first = gateway.request("GET", "/metrics", key=None)
    assert first.status == 200
    assert first.headers["content-type"].startswith("text/plain")
    assert len(re.findall(rb"(?m)^# TYPE ", first.body)) >= 5
    for number in range(300):
        gateway.request("POST", "/chat/completions", {**SAY, "model": f"made-up-{number}"})
        gateway.request("GET", f"/made-up/{number}")
    second = gateway.request("GET", "/metrics", key=None)
    assert b"made-up" not in second.body
    assert second.body.count(b"\n") <= first.body.count(b"\n") + 60


def test_openapi_page(gateway: Gateway) -> None:
    """Issue 2, part 2."""
    page = gateway.request("GET", "/docs", key=MASTER_KEY)
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    schema = gateway.request("GET", "/openapi.json", key=MASTER_KEY)
    assert {"/v1/chat/completions", "/v1/embeddings", "/router/route", "/health"} <= set(schema.json["paths"])
