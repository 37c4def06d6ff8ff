"""Clients of one dialect and upstreams of another, through a real gateway: real clients, scripted upstreams."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pydantic
import pytest

from harness import anthropic, dialect
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Close, Deployment, Reset, Send, Upstream, Wait

SAY = [{"role": "user", "content": "Say hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.fixture(scope="module")
def many(upstream: Upstream) -> Iterator[Gateway]:
    """One model behind each dialect."""
    config = base_config(upstream, router_settings={"num_retries": 1})
    claude = {"provider": "anthropic", "model": "claude-opus-4-6"}
    config["model_list"] += [
        deployment("claude", upstream, "claude", **claude),
        deployment("claude-2nd", upstream, "claude-a", **claude),
        deployment("claude-2nd", upstream, "claude-b", order=2, **claude),
        deployment("lenient", upstream, "lenient", drop_params=True, **claude),
    ]
    with running(config) as started:
        yield started


@pytest.fixture
def claude(upstream: Upstream) -> Iterator[Deployment]:
    upstream["claude"].forget()
    yield upstream["claude"]
    upstream["claude"].forget()


@pytest.fixture
def client(many: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[openai.OpenAI]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with openai.OpenAI(base_url=f"{many.url}/v1", api_key=TEAM_KEY, max_retries=0, timeout=15) as made:
        yield made


# --- an OpenAI client and Anthropic --------------------------------------------------------------------------------


def test_openai_client_reaches_anthropic(client: openai.OpenAI, many: Gateway, claude: Deployment) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="claude", messages=[{"role": "system", "content": "Be brief."}, *SAY], max_tokens=50
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello from claude"
    assert (answer.choices[0].finish_reason, answer.model, answer.usage.total_tokens) == ("stop", "claude", 12)
    assert claude.last.path == "v1/messages"
    assert claude.last.headers["x-api-key"].startswith("sk-")
    assert claude.last.headers["anthropic-version"] == "2023-06-01"
    assert claude.last.json["system"] == "Be brief."
    record = eventually(lambda: many.records_of(raw.headers["x-request-id"]))[0]
    assert (record["prompt_tokens"], record["completion_tokens"], record["provider"]) == (9, 3, "anthropic")
    assert record["cost_nusd"] == 9 * 1000 + 3 * 4000
    assert float(raw.headers["x-litellm-response-cost"]) == record["cost_nusd"] / 1e9


def test_openai_stream_from_anthropic(client: openai.OpenAI, many: Gateway, claude: Deployment) -> None:
    claude.sends_packets(anthropic.message_events("Grü", "ezi", " 🐕"))
    *chunks, last = client.chat.completions.create(
        model="claude", messages=SAY, stream=True, stream_options={"include_usage": True}
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Grüezi 🐕"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {"claude"}
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (9, 3)


def test_openai_tools_round_trip_with_anthropic(client: openai.OpenAI, claude: Deployment) -> None:
    """Asked, called, answered: by the SDK's own stream helper, which puts the pieces together."""
    pieces = ['{"ci', 'ty":"Zür', 'ich"}']
    events = [
        anthropic.start(),
        *anthropic.thinking_block(0, ["Hm"], "sig=="),
        *anthropic.tool_block(1, "weather", pieces),
        anthropic.end("tool_use"),
        anthropic.STOP,
    ]
    claude.sends_packets(events)
    with client.chat.completions.stream(model="claude", messages=SAY, tools=TOOLS) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    [call] = message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Zürich"}
    assert claude.last.json["tools"][0]["input_schema"] == TOOLS[0]["function"]["parameters"]

    claude.forget()
    thinking = [{"type": "thinking", "thinking": "Hm", "signature": "sig=="}]
    history = [
        *SAY,
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()], "thinking_blocks": thinking},
        {"role": "tool", "tool_call_id": call.id, "content": "12 °C"},
    ]
    answer = client.chat.completions.create(model="claude", messages=history, tools=TOOLS)
    assert answer.choices[0].message.content == "Hello from claude"
    _, assistant, result = claude.last.json["messages"]
    assert [block["type"] for block in assistant["content"]] == ["thinking", "tool_use"]
    assert result["content"] == [{"type": "tool_result", "tool_use_id": "toolu_01", "content": "12 °C"}]


def test_openai_parsed_answer_from_anthropic(client: openai.OpenAI, claude: Deployment) -> None:
    class Place(pydantic.BaseModel):
        city: str

    claude.answers(200, anthropic.message(anthropic.text('{"city":"Bern"}')))
    answer = client.chat.completions.parse(model="claude", messages=SAY, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Bern")
    assert claude.last.json["output_config"]["format"]["schema"]["properties"]["city"]["type"] == "string"


def test_param_that_anthropic_does_not_know_is_refused_or_dropped(
    client: openai.OpenAI, many: Gateway, upstream: Upstream, claude: Deployment
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="claude", messages=SAY, seed=7)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "seed")
    assert claude.hits == 0
    answer = client.chat.completions.create(model="lenient", messages=SAY, seed=7)
    assert answer.choices[0].message.content == "Hello from lenient"
    assert "seed" not in upstream["lenient"].last.json
    answer = client.chat.completions.create(model="claude", messages=SAY, seed=7, extra_body={"drop_params": True})
    assert answer.choices[0].message.content == "Hello from claude"


def test_route_asks_the_candidate_that_can_be_told(client: openai.OpenAI, many: Gateway, upstream: Upstream) -> None:
    """What one candidate's dialect has no word for goes to the next; nobody is asked in vain, no retry is counted."""
    upstream["claude"].forget()
    raw = client.chat.completions.with_raw_response.create(
        model="claude", messages=SAY, logprobs=True, extra_body={"fallbacks": ["gpt-4o"]}
    )
    assert raw.parse().model == "gpt-4o"
    assert upstream["claude"].hits == 0
    assert raw.headers["x-litellm-attempted-retries"] == "0"
    record = eventually(lambda: many.records_of(raw.headers["x-request-id"]))[0]
    assert (record["attempts"], record["model"], record["ended"]) == (1, "gpt-4o", "complete")


def test_embeddings_and_completions_of_anthropic_are_refused(client: openai.OpenAI, claude: Deployment) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="claude", input="x")
    assert refused.value.param == "model"
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model="claude", prompt="x")
    assert claude.hits == 0


def test_failing_anthropic_is_tried_again_and_elsewhere(many: Gateway, upstream: Upstream) -> None:
    """F4, F5, S: before the first word another deployment answers; also where the stream had begun to begin."""
    first, second = upstream["claude-a"], upstream["claude-b"]
    for failing in (
        lambda: first.answers(529, anthropic.error("overloaded_error", "Overloaded"), times=1),
        lambda: first.sends_packets([anthropic.start(), anthropic.error_event("overloaded_error")], times=1),
    ):
        first.forget()
        second.forget()
        failing()
        reply = many.chat("claude-2nd", stream=True)
        assert reply.text == "Hello from claude-b"
        assert reply.headers["x-litellm-attempted-retries"] == "1"
        assert (first.hits, second.hits) == (1, 1)


def test_anthropic_errors_reach_an_openai_client(client: openai.OpenAI, claude: Deployment) -> None:
    claude.answers(400, anthropic.error("invalid_request_error", "messages: at least one message is required"))
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="claude", messages=SAY)
    assert "at least one message" in bad.value.message
    claude.answers(429, anthropic.error("rate_limit_error", "slow down"), {"retry-after": "30"})
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model="claude", messages=SAY)
    assert limited.value.response.headers["retry-after"] == "30"


def test_anthropic_stream_broken_off_is_told_and_billed(many: Gateway, claude: Deployment) -> None:
    """F9, R16, L."""
    pieces = dialect.chunked_stream(anthropic.message_events("The quick", " brown fox"))
    for end in (Close(), Reset()):
        claude.plays(Send(b"".join(pieces[:6])), Wait(0.02), end)
        reply = many.chat("claude", stream=True)
        assert reply.events[-1] == "[DONE]"
        assert reply.events[-2]["error"]["code"] == "upstream_error"
        record = many.record_of(reply)
        assert record["ended"] == "upstream_failed"
        assert record["prompt_tokens"] == 9
        assert record["cost_nusd"] > 0
