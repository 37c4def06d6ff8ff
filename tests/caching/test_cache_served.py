"""The response cache at the socket: what is a hit and for whom, in every dialect and form; what is never kept."""

from __future__ import annotations

import itertools
import time

import pytest
import yaml

from harness import dialect
from harness.asking import Client
from harness.gateway import MASTER_KEY, TEAM_KEY, TIGHT_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream
from harness.wire import Reply, assert_error, secret

OTHER_KEY, BOUND_KEY = secret("other-tenant"), secret("bound-controls")
MODELS = {"openai": "gpt-4o", "anthropic": "claude", "gemini": "gemini"}
_prompts = (f"What is {n}?" for n in itertools.count())
PAIRS = [
    ("chat", "openai"), ("chat", "anthropic"), ("chat", "gemini"), ("completions", "openai"), ("messages", "anthropic"),
    ("messages", "openai"), ("responses", "openai"), ("responses", "anthropic"), ("gemini", "gemini"),
    ("gemini", "openai"),
]  # fmt: skip


@pytest.fixture
def prompt() -> str:
    return next(_prompts)


def is_hit(reply: Reply) -> bool:
    return reply.headers.get("x-litellm-cache-hit") == "true"


@pytest.mark.parametrize("first", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("client", "behind"), PAIRS)
def test_second_of_two_equal_requests_is_answered_from_the_cache_in_the_form_it_asks_for(
    cached: Gateway, up: Upstream, prompt: str, client: str, behind: str, first: bool
) -> None:
    asker, model = Client(client), MODELS[behind]
    made = asker.ask(cached, model, prompt, stream=first)
    text = asker.text(made)
    assert text == f"Hello from {model}"
    assert not is_hit(made)
    for stream in (first, not first, first):
        again = asker.ask(cached, model, prompt, stream=stream)
        assert is_hit(again)
        assert asker.text(again) == text
        assert not stream or asker.has_ended(again)
        if stream == first:
            assert again.body == made.body
    assert up[model].hits == 1


def test_hit_costs_nothing_names_its_model_and_is_on_record(cached: Gateway, up: Upstream, prompt: str) -> None:
    made = cached.chat("gpt-4o", prompt)
    again = cached.chat("gpt-4o", prompt)
    assert float(made.headers["x-litellm-response-cost"]) > 0
    assert float(again.headers["x-litellm-response-cost"]) == 0
    for name in ("x-litellm-model-id", "x-litellm-model-group", "x-litellm-cache-key"):
        assert again.headers[name] == made.headers[name]
    assert again.headers["x-litellm-call-id"] != made.headers["x-litellm-call-id"]
    first, second = cached.record_of(made), cached.record_of(again)
    assert "cache_hit" not in first["notes"]
    assert second["notes"]["cache_hit"] is True
    assert second["notes"]["cache_key"] == again.headers["x-litellm-cache-key"]
    assert second["notes"]["saved_nusd"] == first["cost_nusd"] > 0
    assert (second["cost_nusd"], second["prompt_tokens"], second["attempts"]) == (0, 0, 0)
    assert (second["model"], second["ended"], second["status"]) == ("gpt-4o", "complete", 200)


def test_spend_logs_tell_hits_in_litellms_words(cached: Gateway, up: Upstream, prompt: str) -> None:
    cached.chat("gpt-4o", prompt)
    again = cached.chat("gpt-4o", prompt)
    target = f"/spend/logs?request_id={again.headers['x-request-id']}"
    rows = eventually(lambda: cached.request("GET", target, key=MASTER_KEY).json)
    assert (rows[0]["cache_hit"], rows[0]["cache_key"]) == ("True", again.headers["x-litellm-cache-key"])
    assert rows[0]["spend"] == 0
    assert rows[0]["metadata"]["saved_usd"] > 0


def test_hits_count_against_request_limits(cached: Gateway, up: Upstream, prompt: str) -> None:
    statuses = [cached.chat("gpt-4o", prompt, key=TIGHT_KEY).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert up["gpt-4o"].hits == 1


def test_no_key_is_answered_with_what_another_was_told(cached: Gateway, up: Upstream, prompt: str) -> None:
    for turn, key in enumerate((TEAM_KEY, OTHER_KEY, MASTER_KEY), 1):
        assert not is_hit(cached.chat("gpt-4o", prompt, key=key))
        assert up["gpt-4o"].hits == turn
        # A namespace makes a scope narrower; naming another's does not open it.
        assert not is_hit(cached.chat("gpt-4o", prompt, key=key, cache={"namespace": "shared"}))
        up["gpt-4o"].requests.pop()


def test_whatever_an_answer_depends_on_makes_another_request(cached: Gateway, up: Upstream, prompt: str) -> None:
    variants = [
        {}, {"temperature": 0.5}, {"temperature": 1}, {"max_tokens": 5}, {"seed": 1}, {"user": "u1"}, {"user": "u2"},
        {"stop": ["x"]}, {"n": 1}, {"response_format": {"type": "json_object"}}, {"logprobs": True},
        {"tools": [{"type": "function", "function": {"name": "f"}}]}, {"reasoning_effort": "low"},
        {"drop_params": True}, {"cache": {"namespace": "n"}},
    ]  # fmt: skip
    for turn, fields in enumerate(variants, 1):
        assert not is_hit(cached.chat("gpt-4o", prompt, **fields)), fields
        assert up["gpt-4o"].hits == turn
    for fields in variants:
        assert is_hit(cached.chat("gpt-4o", prompt, **fields)), fields
    assert not is_hit(cached.chat("gpt-4o-mini", prompt))
    assert not is_hit(Client("completions").ask(cached, "gpt-4o", prompt))


def test_how_an_answer_is_sent_or_filed_makes_no_other_request(cached: Gateway, up: Upstream, prompt: str) -> None:
    cached.chat("gpt-4o", prompt, temperature=0)
    for fields in ({"metadata": {"tags": ["x"]}}, {"tags": ["y"]}, {"timeout": 5}, {"num_retries": 1}):
        assert is_hit(cached.chat("gpt-4o", prompt, temperature=0, **fields)), fields


def test_stream_tells_usage_only_to_who_asks_for_it(cached: Gateway, up: Upstream, prompt: str) -> None:
    cached.chat("gpt-4o", prompt, stream=True)
    for wants in (True, False, True):
        again = cached.chat("gpt-4o", prompt, stream=True, stream_options={"include_usage": wants})
        assert is_hit(again)
        assert again.text == "Hello from gpt-4o"
        used = [event["usage"] for event in again.events if event != "[DONE]" and event.get("usage")]
        assert len(used) == wants
        assert all(figures["completion_tokens"] == 3 for figures in used)


def test_controls_of_a_request_are_obeyed(cached: Gateway, up: Upstream, prompt: str) -> None:
    def asked(**cache: object) -> bool:
        return is_hit(cached.chat("gpt-4o", prompt, cache=cache))

    assert not asked(**{"no-store": True})
    assert not asked()  # nothing was kept
    assert asked()
    assert not asked(**{"no-cache": True})
    assert asked(**{"s-maxage": 100})
    time.sleep(0.02)
    assert not asked(**{"s-maxage": 0.01})
    assert not is_hit(cached.chat("gpt-4o", prompt, caching=False))
    assert not is_hit(cached.chat("gpt-4o", prompt, headers={"cache-control": "no-cache"}))
    assert asked()


def test_answer_is_kept_no_longer_than_its_ttl(cached: Gateway, up: Upstream, prompt: str) -> None:
    cached.chat("gpt-4o", prompt, cache={"ttl": 0.05})
    time.sleep(0.06)
    assert not is_hit(cached.chat("gpt-4o", prompt, cache={"ttl": 60}))
    assert is_hit(cached.chat("gpt-4o", prompt))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"cache": True}, "cache"), ({"cache": {"no-cache": 1}}, "cache.no-cache"), ({"cache": {"x": 1}}, "cache"),
        ({"cache": {"ttl": -1}}, "cache.ttl"), ({"cache": {"ttl": "1"}}, "cache.ttl"), ({"caching": "yes"}, "caching"),
        ({"cache": {"namespace": ""}}, "cache.namespace"), ({"cache": {"s-maxage": 1e99}}, "cache.s-maxage"),
    ],
)  # fmt: skip
def test_control_that_is_none_is_refused_by_name(cached: Gateway, up: Upstream, fields: object, param: str) -> None:
    reply = cached.chat("gpt-4o", "x", **fields)
    assert_error(reply, 400, "invalid_value")
    assert reply.error["param"] == param


def test_key_uses_the_controls_that_it_may(cached: Gateway, up: Upstream, prompt: str) -> None:
    assert cached.chat("gpt-4o", prompt, key=BOUND_KEY, cache={"ttl": 5}).status == 200
    assert_error(cached.chat("gpt-4o", prompt, key=BOUND_KEY, cache={"no-cache": True}), 403, "permission_denied")
    assert is_hit(cached.chat("gpt-4o", prompt, key=BOUND_KEY, headers={"cache-control": "no-cache"}))


# --- what is never kept ---------------------------------------------------------------------------------------------


def test_error_is_not_kept(cached: Gateway, up: Upstream, prompt: str) -> None:
    up["shaky"].answers(status=500, times=1)
    assert cached.chat("shaky", prompt).status == 502
    assert cached.chat("shaky", prompt).status == 200
    assert is_hit(cached.chat("shaky", prompt))


def test_stream_that_broke_is_not_kept_wherever_it_was_cut(cached: Gateway, up: Upstream, prompt: str) -> None:
    whole = b"".join(dialect.chunked_stream(dialect.chat_events(["Hel", "lo"], usage_shape=None)))
    end = whole.index(b"[DONE]")
    for cut in range(200, end, 97):
        up["shaky"].cuts(whole[:cut], times=1)
        cached.chat("shaky", prompt, stream=True)
    up["shaky"].forget()
    reply = cached.chat("shaky", prompt, stream=True)
    # A stream that ends after its finish reason is whole, whatever its framing lacks.
    assert not is_hit(reply) or reply.text == "Hello"


def test_answer_of_a_fallback_is_not_kept_for_the_model_that_was_asked(
    cached: Gateway, up: Upstream, prompt: str
) -> None:
    up["shaky"].answers(status=500, times=1)
    assert cached.chat("shaky-first", prompt).text == "Hello from gpt-4o"
    reply = cached.chat("shaky-first", prompt)
    assert not is_hit(reply)
    assert reply.text == "Hello from shaky"


def test_answer_longer_than_an_entry_may_be_is_not_kept(cached: Gateway, up: Upstream, prompt: str) -> None:
    for stream in (False, True):
        if stream:
            up["shaky"].streams(*["x" * 9000] * 9)
        else:
            up["shaky"].answers(body=dialect.chat_completion("x" * 80_000))
        for _ in range(2):
            reply = cached.chat("shaky", prompt, stream=stream)
            assert not is_hit(reply)
            assert len(reply.text) in (80_000, 81_000)


@pytest.mark.parametrize(
    "fields",
    [
        {"web_search_options": {}},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "mcp", "server_url": "https://x"}]},
        {"modalities": ["text", "audio"]},
        {"store": True},
    ],
)
def test_what_the_provider_does_more_for_than_answer_is_not_kept(
    cached: Gateway, up: Upstream, prompt: str, fields: object
) -> None:
    for _ in range(2):
        assert not is_hit(cached.chat("gpt-4o", prompt, **fields))
    assert up["gpt-4o"].hits == 2


def test_tool_calls_are_kept_and_told_in_both_forms(cached: Gateway, up: Upstream, prompt: str) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    up["gpt-4o"].streams(tool_arguments=['{"city":', '"Zürich"}'])
    cached.chat("gpt-4o", prompt, tools=tools, stream=True)
    whole = cached.chat("gpt-4o", prompt, tools=tools)
    assert is_hit(whole)
    choice = whole.json["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Zürich"}'}}
    ]


# --- other endpoints, routes ----------------------------------------------------------------------------------------


def test_embeddings_are_kept_by_their_encoding(cached: Gateway, up: Upstream, prompt: str) -> None:
    for encoding in ("float", "base64"):
        body = {"model": "embed", "input": [prompt], "encoding_format": encoding}
        made = cached.request("POST", "/v1/embeddings", body)
        again = cached.request("POST", "/v1/embeddings", body)
        assert (is_hit(made), is_hit(again)) == (False, True)
        assert again.body == made.body
    assert up["embed"].hits == 2


def test_route_is_answered_from_the_cache_by_its_own_name_and_dial(cached: Gateway, up: Upstream, prompt: str) -> None:
    made = cached.chat("auto", prompt)
    again = cached.chat("auto", prompt)
    assert is_hit(again)
    assert again.json == made.json
    assert not is_hit(cached.chat("auto", prompt, routing={"quality": 0.123}))
    assert not is_hit(cached.chat(made.json["model"], prompt))


def test_only_requests_that_ask_for_it_where_it_is_off_by_default(upstream: Upstream, up: Upstream) -> None:
    params = {"mode": "default_off", "supported_call_types": ["acompletion"]}
    with running(base_config(upstream, litellm_settings={"cache": True, "cache_params": params})) as gateway:
        assert [is_hit(gateway.chat("gpt-4o", "off")) for _ in range(2)] == [False, False]
        asks = {"cache": {"use-cache": True}}
        assert [is_hit(gateway.chat("gpt-4o", "on", **asks)) for _ in range(2)] == [False, True]
        assert is_hit(gateway.chat("gpt-4o", "on", caching=True))
        body = {"model": "embed", "input": "x", **asks}
        assert [is_hit(gateway.request("POST", "/v1/embeddings", body)) for _ in range(2)] == [False, False]


def test_without_a_cache_its_controls_change_nothing(steady: Gateway, up: Upstream) -> None:
    for _ in range(2):
        reply = steady.chat("gpt-4o", "x", cache={"ttl": 5}, caching=True)
        assert reply.status == 200
        assert "x-litellm-cache-key" not in reply.headers


# --- operators ------------------------------------------------------------------------------------------------------


def manage(gateway: Gateway, method: str, path: str, body: object = None, key: str = MASTER_KEY) -> Reply:
    return gateway.request(method, path, body, key=key)


def test_operators_look_at_the_cache_and_empty_it(cached: Gateway, up: Upstream, prompt: str) -> None:
    key = cached.chat("gpt-4o", prompt).headers["x-litellm-cache-key"]
    other = f"{prompt} again"
    cached.chat("gpt-4o", other)
    assert manage(cached, "GET", "/health/readiness").json["cache"] == "local"
    figures = manage(cached, "GET", "/cache/ping").json["cache"]
    assert figures["entries"] >= 2
    assert 0 < figures["bytes"] <= figures["max_bytes"]
    assert manage(cached, "GET", "/cache/redis/info").json["info"]["hits"] >= 0
    assert manage(cached, "POST", "/cache/delete", {"keys": [key, "nothing"]}).json["deleted"] == 1
    assert not is_hit(cached.chat("gpt-4o", prompt))
    assert is_hit(cached.chat("gpt-4o", other))
    assert manage(cached, "POST", "/cache/flushall").status == 200
    assert not is_hit(cached.chat("gpt-4o", other))


@pytest.mark.parametrize(("method", "path"), [("GET", "ping"), ("GET", "redis/info"), ("POST", "delete"),
                                              ("POST", "flushall")])  # fmt: skip
def test_only_operators_may(cached: Gateway, steady: Gateway, method: str, path: str) -> None:
    body = {"keys": ["x"]} if path == "delete" else None
    assert_error(manage(cached, method, f"/cache/{path}", body, TEAM_KEY), 403, "permission_denied")
    assert_error(manage(steady, method, f"/cache/{path}", body), 404, "not_found")


def test_every_worker_forgets_and_a_changed_model_is_asked_anew(upstream: Upstream, up: Upstream) -> None:
    config = base_config(upstream, litellm_settings={"cache": True})
    with running(config, workers=2) as gateway:
        for _ in range(30):
            gateway.chat("gpt-4o", "workers")
        assert up["gpt-4o"].hits == 2
        manage(gateway, "POST", "/cache/flushall")
        time.sleep(0.6)
        for _ in range(30):
            gateway.chat("gpt-4o", "workers")
        assert up["gpt-4o"].hits == 4
        config["model_list"][0]["litellm_params"]["api_base"] = upstream["shaky"].api_base
        gateway.config_file.write_text(yaml.safe_dump(config))
        assert manage(gateway, "POST", "/config/reload", {}).status == 200
        eventually(lambda: gateway.chat("gpt-4o", "workers").text == "Hello from shaky")


def test_made_up_answer_is_nobody_else_s(cached: Gateway, up: Upstream, prompt: str) -> None:
    """`mock_response`, where the configuration allows it, is neither kept nor covered by what was kept."""
    assert cached.chat("gpt-4o", prompt, mock_response="made up").text == "made up"
    real = cached.chat("gpt-4o", prompt)
    assert (real.text, is_hit(real)) == ("Hello from gpt-4o", False)
    assert cached.chat("gpt-4o", prompt, mock_response="made up").text == "made up"
    assert is_hit(cached.chat("gpt-4o", prompt))


def test_answer_made_elsewhere_is_not_given_to_who_must_stay_in_a_region(
    cached: Gateway, up: Upstream, prompt: str
) -> None:
    cached.chat("gpt-4o", prompt)
    assert not is_hit(cached.chat("gpt-4o", prompt, allowed_model_region="eu"))


def test_metrics_count_hits_and_misses(cached: Gateway, up: Upstream, prompt: str) -> None:
    def counted(name: str) -> float:
        text = manage(cached, "GET", "/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith(f'{name}_total{{requested_model="gpt-4o"}}')]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    before = counted("litellm_cache_hits"), counted("litellm_cache_misses")
    for _ in range(3):
        cached.chat("gpt-4o", prompt)
    eventually(lambda: counted("litellm_cache_hits") == before[0] + 2)
    assert counted("litellm_cache_misses") == before[1] + 1
