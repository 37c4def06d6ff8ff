"""Providers of the long tail, through the real LiteLLM SDK, against scripted upstreams."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from harness import dialect
from harness.clients import clients_python
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Deployment, Hang, Send, Upstream
from harness.wire import Wire, request_bytes, secret
from routewright.config import load_text
from routewright.config.problems import ConfigError
from routewright.providers.names import PROVIDERS, UNSPOKEN

SAY = [{"role": "user", "content": "Say hello"}]
TRITON = {"model_name": "llama", "model_version": "1", "text_output": "Hello from triton"}


@pytest.fixture(scope="module")
def tail(upstream: Upstream) -> Iterator[Gateway]:
    """Heroku has an API like OpenAI's, NVIDIA's Triton one of its own; LiteLLM knows both, we neither."""
    config = base_config(upstream, router_settings={"num_retries": 0, "disable_cooldowns": True})
    heroku: dict[str, Any] = {"provider": "heroku", "model": "claude-x"}
    config["model_list"] += [
        deployment("heroku", upstream, "heroku", **heroku),
        deployment("lenient", upstream, "heroku", drop_params=True, **heroku),
        deployment("retried", upstream, "retried-1", order=1, **heroku),
        deployment("retried", upstream, "retried-2", order=2),
        deployment(
            "triton",
            upstream,
            "triton",
            provider="triton",
            model="llama",
            api_base=f"{upstream['triton'].api_base}/generate",
        ),
    ]
    with running(config, environment={"ROUTEWRIGHT_LITELLM_PYTHON": clients_python()}) as started:
        yield started


@pytest.fixture
def heroku(tail: Gateway, upstream: Upstream) -> Iterator[Deployment]:
    upstream["heroku"].forget()
    yield upstream["heroku"]
    upstream["heroku"].forget()


def test_the_start_says_so_and_the_first_request_waits_for_it(tail: Gateway, heroku: Deployment) -> None:
    reply = tail.chat("heroku", timeout_s=100)
    assert reply.json["choices"][0]["message"]["content"] == "Hello from heroku"
    assert (reply.json["model"], reply.json["usage"]["total_tokens"]) == ("heroku", 12)
    assert "starting the LiteLLM SDK in a process of its own, for heroku, lenient, retried, triton" in tail.output()
    record = tail.record_of(reply)
    assert (record["provider"], record["model"], record["ended"]) == ("heroku", "heroku", "complete")
    assert (record["prompt_tokens"], record["completion_tokens"]) == (9, 3)
    assert record["cost_nusd"] == 9 * 1000 + 3 * 4000
    assert heroku.last.headers["authorization"] == f"Bearer {secret('heroku')}"
    assert heroku.last.json["model"] == "claude-x"
    assert "x-routewright-params" not in heroku.last.headers


def test_stream_and_other_clients(tail: Gateway, heroku: Deployment) -> None:
    reply = tail.chat("heroku", stream=True, stream_options={"include_usage": True})
    assert reply.text == "Hello from heroku"
    assert reply.body.endswith(b"data: [DONE]\n\n")
    record = tail.record_of(reply)
    assert (record["completion_tokens"], record["usage_estimated"], record["is_stream"]) == (3, False, True)

    body = {"model": "heroku", "max_tokens": 20, "messages": SAY}
    other = tail.request("POST", "/v1/messages", body)
    assert other.json["content"] == [{"type": "text", "text": "Hello from heroku"}]
    assert b"message_stop" in tail.request("POST", "/v1/messages", {**body, "stream": True}).body


def test_a_dialect_that_is_not_openai_s(tail: Gateway, upstream: Upstream) -> None:
    upstream["triton"].answers(200, TRITON)
    reply = tail.chat("triton", max_tokens=20)
    assert reply.json["choices"][0]["message"]["content"] == "Hello from triton"
    sent = upstream["triton"].last
    assert (sent.path, sent.json["parameters"]["max_tokens"]) == ("v1/generate", 20)
    assert "Say hello" in sent.json["text_input"]
    record = tail.record_of(reply)
    assert (record["completion_tokens"], record["usage_estimated"]) == (5, True)  # Triton counts nothing


def test_tools(tail: Gateway, heroku: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    heroku.answers(200, dialect.chat_completion(None, tool_calls=[dialect.TOOL_CALL]))
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    with openai.OpenAI(base_url=f"{tail.url}/v1", api_key=TEAM_KEY, max_retries=0) as client:
        answer = client.chat.completions.create(model="heroku", messages=SAY, tools=tools)
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    assert answer.choices[0].finish_reason == "tool_calls"
    assert heroku.last.json["tools"] == tools


@pytest.mark.parametrize(
    ("status", "words", "seen", "code"),
    [
        (429, "slow down", 429, "upstream_rate_limited"),
        (401, "no such key", 502, "upstream_auth_error"),
        (500, "broken", 502, "upstream_error"),
        (400, "This model's maximum context length is 10 tokens", 400, "context_length_exceeded"),
    ],
)
def test_failures_are_the_gateway_s_own(
    status: int, words: str, seen: int, code: str, tail: Gateway, heroku: Deployment
) -> None:
    heroku.answers(status, dialect.openai_error(f"{words} {secret('heroku')}"))
    reply = tail.chat("heroku")
    assert (reply.status, reply.error["code"]) == (seen, code)
    record = tail.record_of(reply)
    assert (record["status"], record["error_code"], record["cost_nusd"], record["attempts"]) == (seen, code, 0, 1)
    assert heroku.hits == 1


def test_the_next_deployment_answers(tail: Gateway, upstream: Upstream) -> None:
    upstream["retried-1"].answers(500)
    reply = tail.chat("retried", num_retries=1)
    assert reply.json["choices"][0]["message"]["content"] == "Hello from retried-2"
    assert tail.record_of(reply)["attempts"] == 2


def test_what_would_steer_the_sdk_or_have_it_fetch_something_is_refused(tail: Gateway, heroku: Deployment) -> None:
    for field in ("aws_region_name", "mock_tool_calls", "custom_llm_provider", "fallback_models"):
        reply = tail.chat("heroku", **{field: "x"})
        assert reply.status == 400, field
    picture = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "see"}, picture]}]
    reply = tail.request("POST", "/v1/chat/completions", {"model": "heroku", "messages": messages})
    assert (reply.status, reply.error["param"]) == (400, "messages")
    assert heroku.hits == 0


def test_a_stream_that_breaks_off_has_no_invented_end(tail: Gateway, heroku: Deployment) -> None:
    """R16."""
    heroku.cuts(b"".join(dialect.chunked_stream(dialect.chat_events(["Hel", "lo"]))[:3]))
    reply = tail.chat("heroku", stream=True)
    assert b'"finish_reason":"stop"' not in reply.body
    assert tail.record_of(reply)["ended"] == "upstream_failed"


def test_a_client_that_leaves_ends_the_call_upstream(tail: Gateway, heroku: Deployment, upstream: Upstream) -> None:
    events = dialect.chunked_stream(dialect.chat_events(["Hello"] * 50))
    heroku.plays(Send(b"".join(events[:5])), Hang())
    before = len(tail.journal())
    body = dialect.to_json({"model": "heroku", "messages": SAY, "stream": True})
    with Wire(tail.port) as client:
        client.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=body))
        eventually(lambda: b"Hello" in client.receive())
        assert heroku.in_use == 1
    eventually(lambda: heroku.in_use == 0, what="the upstream's connection is closed")
    record = eventually(lambda: tail.journal()[before:])[-1]
    assert (record["ended"], record["usage_estimated"]) == ("client_gone", True)
    assert record["cost_nusd"] > 0


def test_the_sdk_s_process_is_started_again_when_it_dies(tail: Gateway, heroku: Deployment) -> None:
    [bridge] = [each for each in tail.processes() if "bridge.py" in " ".join(each.cmdline())]
    bridge.kill()
    eventually(lambda: "the LiteLLM SDK's process ended with -9" in tail.output())
    assert tail.chat("heroku", timeout_s=100).status == 200


def test_every_provider_of_litellm_s_is_known_by_name() -> None:
    """Those for chat, that is: others are stores, voices and tools."""
    code = "from litellm.types.utils import LlmProviders; print(*(each.value for each in LlmProviders))"
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    told = subprocess.run(
        [clients_python(), "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=100
    )
    others = {"a2a_agent", "aws_textract", "azure_speech", "dotprompt", "humanloop", "langfuse", "litellm_agent",
              "milvus", "mongodb", "nvidia_riva", "opensearch", "pg_vector", "prism", "reducto", "s3_vectors", "soniox",
              "transcribe", "valkey"}  # fmt: skip
    assert set(told.stdout.split()) - set(PROVIDERS) - UNSPOKEN <= others


def test_without_the_sdk_the_configuration_names_the_extra() -> None:
    text = "model_list: [{model_name: m, litellm_params: {model: replicate/x, api_key: k}}]"
    with pytest.raises(ConfigError, match=r'through the LiteLLM SDK, which needs .*"routewright\[litellm\]"'):
        load_text(text, environ={})
