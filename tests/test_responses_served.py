"""Models behind OpenAI's Responses, through a real gateway: real clients of every dialect, scripted upstreams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic as sdk
import openai
import pydantic
import pytest
from google import genai

from harness import dialect, responses
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Close, Deployment, Send, Upstream, Wait

SAY = [{"role": "user", "content": "Say hello"}]
FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": FUNCTION}]
COST = 9 * 1000 + 3 * 4000


@pytest.fixture(scope="module")
def pro_served(upstream: Upstream) -> Iterator[Gateway]:
    config = base_config(
        upstream,
        router_settings={"num_retries": 1, "disable_cooldowns": True},
        guardrails=[
            {"guardrail_name": "mask",
             "litellm_params": {"guardrail": "pii", "mode": "post_call", "entities": ["email"]}}
        ],
    )  # fmt: skip
    behind: dict[str, Any] = {"model": "responses/gpt-5.2"}
    config["model_list"] += [
        deployment("pro", upstream, "pro", **behind),
        deployment("pro-2nd", upstream, "pro-a", order=1, **behind),
        deployment("pro-2nd", upstream, "pro-b", order=2, **behind),
        deployment("azure-pro", upstream, "azure-pro", provider="azure", model="my-deployment",
                   api_base=upstream["azure-pro"].api_base.removesuffix("/v1"), api_version="2025-04-01-preview",
                   model_info={"mode": "responses"}),
        deployment("claude", upstream, "claude-beside", provider="anthropic", model="claude-opus-4-6"),
    ]  # fmt: skip
    with running(config) as started:
        yield started


@pytest.fixture
def pro(upstream: Upstream) -> Iterator[Deployment]:
    upstream["pro"].forget()
    yield upstream["pro"]
    upstream["pro"].forget()


@pytest.fixture
def client(pro_served: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[openai.OpenAI]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with openai.OpenAI(base_url=f"{pro_served.url}/v1", api_key=TEAM_KEY, max_retries=0, timeout=30) as made:
        yield made


def record(gateway: Gateway, raw: Any) -> dict[str, Any]:
    return eventually(lambda: gateway.records_of(raw.headers["x-request-id"]))[0]


# --- openai-python, chat -------------------------------------------------------------------------------------------


def test_chat_client(client: openai.OpenAI, pro_served: Gateway, pro: Deployment) -> None:
    raw = client.chat.completions.with_raw_response.create(model="pro", messages=SAY, max_tokens=50)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello from pro"
    assert (answer.model, answer.usage.total_tokens, answer.choices[0].finish_reason) == ("pro", 12, "stop")
    assert (pro.last.path, pro.last.json["store"], pro.last.json["model"]) == ("v1/responses", False, "gpt-5.2")
    found = record(pro_served, raw)
    assert (found["endpoint"], found["provider"], found["cost_nusd"]) == ("chat", "openai", COST)

    options = {"include_usage": True}
    *chunks, last = client.chat.completions.create(model="pro", messages=SAY, stream=True, stream_options=options)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello from pro"
    assert (chunks[-1].choices[0].finish_reason, last.usage.total_tokens) == ("stop", 12)


def test_chat_client_s_tools_round_trip(client: openai.OpenAI, pro: Deployment) -> None:
    """Asked, called, answered; the thinking before the call goes back as the item that it was."""
    told = responses.Told()
    told.begin()
    told.thinking(["Hm"])
    told.call('{"ci', 'ty":"Zürich"}')
    pro.sends_packets(told.end())
    with client.chat.completions.stream(model="pro", messages=SAY, tools=TOOLS) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    [made] = message.tool_calls
    assert json.loads(made.function.arguments) == {"city": "Zürich"}

    pro.answers(200, responses.response(*told.output))
    whole = client.chat.completions.create(model="pro", messages=SAY, tools=TOOLS).choices[0].message
    assert whole.tool_calls[0].id == made.id
    pro.forget()
    history = [*SAY, whole.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": made.id, "content": "12"}]
    answer = client.chat.completions.create(model="pro", messages=history, tools=TOOLS)
    assert answer.choices[0].message.content == "Hello from pro"
    assert [item["type"] for item in pro.last.json["input"]] == [
        "message", "reasoning", "function_call", "function_call_output"
    ]  # fmt: skip
    assert pro.last.json["input"][1]["encrypted_content"] == responses.SEALED


def test_chat_client_s_parsed_answer(client: openai.OpenAI, pro: Deployment) -> None:
    class Place(pydantic.BaseModel):
        city: str

    pro.answers(200, responses.response(responses.message(responses.text('{"city":"Bern"}'))))
    answer = client.chat.completions.parse(model="pro", messages=SAY, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Bern")
    asked = pro.last.json["text"]["format"]
    assert (asked["type"], asked["schema"]["properties"]["city"]["type"]) == ("json_schema", "string")


# --- openai-python, Responses --------------------------------------------------------------------------------------


def test_responses_client(client: openai.OpenAI, pro_served: Gateway, pro: Deployment) -> None:
    raw = client.responses.with_raw_response.create(model="pro", input="Say hello", tools=[{"type": "web_search"}])
    answer = raw.parse()
    assert (answer.output_text, answer.model, answer.usage.total_tokens) == ("Hello from pro", "pro", 12)
    assert pro.last.json["tools"] == [{"type": "web_search"}]
    found = record(pro_served, raw)
    assert (found["endpoint"], found["cost_nusd"], found["ended"]) == ("responses", COST, "complete")


def test_responses_client_streams_everything(client: openai.OpenAI, pro: Deployment) -> None:
    pro.sends_packets(responses.every_event())
    with client.responses.stream(model="pro", input="Say hello") as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert answer.output_text == "Grüezi 🐕"
    assert (answer.model, answer.usage.output_tokens_details.reasoning_tokens) == ("pro", 12)
    assert {item.type for item in answer.output} >= {"web_search_call", "code_interpreter_call", "mcp_call"}


def test_agent_s_loop_of_a_responses_client(client: openai.OpenAI, pro: Deployment) -> None:
    """As the SDK's page has it: what came out goes back in, and the function's result after it."""
    tools: Any = [{"type": "function", **FUNCTION, "strict": False}]
    pro.answers(200, responses.response(responses.reasoning("Hm"), responses.CALL))
    items: list[Any] = [*SAY]
    first = client.responses.create(model="pro", input=items, tools=tools)
    items += first.output
    items.append({"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "12"})
    pro.forget()
    assert client.responses.create(model="pro", input=items, tools=tools).output_text == "Hello from pro"
    kept = pro.last.json["input"]
    assert [item.get("type") for item in kept] == [None, "reasoning", "function_call", "function_call_output"]
    assert kept[1]["encrypted_content"] == responses.SEALED


@pytest.mark.parametrize("is_stream", [False, True])
def test_kept_response_goes_on_there_and_at_another_provider(
    is_stream: bool, client: openai.OpenAI, pro: Deployment, upstream: Upstream
) -> None:
    """Nothing is kept at the provider: what was said before goes along, as far as the next can read it."""
    thought, said = responses.reasoning("Hm"), responses.message(responses.text("I am Ada"))
    if is_stream:
        told = responses.Told()
        told.begin()
        told.thinking(["Hm"])
        told.text("I am Ada")
        pro.sends_packets(told.end())
        with client.responses.stream(model="pro", input="Who are you?", store=True) as stream:
            stream.until_done()
            first = stream.get_final_response()
    else:
        pro.answers(200, responses.response(thought, said))
        first = client.responses.create(model="pro", input="Who are you?", store=True)
    pro.forget()
    assert first.id != "resp_upstream1"  # ours, which only its owner finds
    assert client.responses.retrieve(first.id).output_text == "I am Ada"

    second = client.responses.create(model="pro", input="Sure?", previous_response_id=first.id, store=True)
    assert second.previous_response_id == first.id
    assert "previous_response_id" not in pro.last.json
    assert pro.last.json["store"] is False
    assert [item["type"] for item in pro.last.json["input"]] == ["message", "reasoning", "message", "message"]
    client.responses.create(model="claude", input="And you?", previous_response_id=second.id)
    assert "I am Ada" in upstream["claude-beside"].last.body.decode()
    assert responses.SEALED not in upstream["claude-beside"].last.body.decode()
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="pro", input="x", previous_response_id="resp_upstream1")


def test_account_s_own_things_are_out_of_reach(client: openai.OpenAI, pro: Deployment) -> None:
    search: Any = {"type": "file_search", "vector_store_ids": ["vs_1"]}
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="pro", input="x", tools=[search])
    assert refused.value.param == "tools[0].type"
    assert pro.hits == 0


# --- other clients -------------------------------------------------------------------------------------------------


def test_anthropic_client(pro_served: Gateway, pro: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Claude Code does: thinking, a tool, its result."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    told = responses.Told()
    told.begin()
    told.thinking(["Let me", " see"])
    told.text("I will look.")
    told.call('{"city":"Zürich"}')
    pro.sends_packets(told.end(usage=responses.usage(100, 40, cached=80)))
    asked: Any = {"model": "pro", "max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2048},
                  "tools": [{"name": "weather", "input_schema": FUNCTION["parameters"]}]}  # fmt: skip
    with sdk.Anthropic(base_url=pro_served.url, api_key=TEAM_KEY, max_retries=0, timeout=30) as client:
        with client.messages.stream(messages=SAY, **asked) as stream:
            message = stream.get_final_message()
        assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
        assert (message.content[0].thinking, message.content[2].input) == ("Let me see", {"city": "Zürich"})
        assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (20, 80)
        pro.forget()
        result: Any = {"type": "tool_result", "tool_use_id": message.content[2].id, "content": "12"}
        history: Any = [*SAY, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
        answer = client.messages.create(messages=history, **asked)
        assert answer.content[0].text == "Hello from pro"
    assert [item["type"] for item in pro.last.json["input"]] == [
        "message", "reasoning", "message", "function_call", "function_call_output"
    ]  # fmt: skip
    assert pro.last.json["reasoning"] == {"effort": "low", "summary": "auto"}


def test_google_client(pro_served: Gateway, pro: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with genai.Client(api_key=TEAM_KEY, http_options={"base_url": pro_served.url}) as client:
        answer = client.models.generate_content(model="pro", contents="Say hello")
        assert (answer.text, answer.usage_metadata.total_token_count) == ("Hello from pro", 12)
        pieces = list(client.models.generate_content_stream(model="pro", contents="Say hello"))
        assert "".join(piece.text or "" for piece in pieces) == "Hello from pro"


def test_azure_s_responses(client: openai.OpenAI, upstream: Upstream) -> None:
    for answer in (client.chat.completions.create(model="azure-pro", messages=SAY).choices[0].message.content,
                   client.responses.create(model="azure-pro", input="Say hello").output_text):  # fmt: skip
        assert answer == "Hello from azure-pro"
    sent = upstream["azure-pro"].last
    assert sent.path == "openai/responses?api-version=2025-04-01-preview"
    assert (sent.json["model"], "authorization" in sent.headers) == ("my-deployment", False)
    assert sent.headers["api-key"].startswith("sk-")


def test_model_is_told_of_as_one_behind_responses(pro_served: Gateway) -> None:
    about = {each["model_name"]: each["model_info"]["mode"]
             for each in pro_served.request("GET", "/model/info").json["data"]}  # fmt: skip
    assert (about["pro"], about["azure-pro"], about["gpt-4o"]) == ("responses", "responses", "chat")


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_failure_before_the_first_word_is_answered_elsewhere(
    endpoint: str, pro_served: Gateway, upstream: Upstream
) -> None:
    """F4, F5, S."""
    first, second = upstream["pro-a"], upstream["pro-b"]
    told = responses.Told()
    told.begin()
    for failing in (
        lambda: first.answers(500, dialect.openai_error("It broke"), times=1),
        lambda: first.sends_packets([*told.events, responses.failed()], times=1),
        lambda: first.sends_packets([responses.error_event("server_error")], times=1),
    ):
        first.forget()
        second.forget()
        failing()
        body = {"model": "pro-2nd", "stream": True, **({"messages": SAY} if endpoint == "chat" else {"input": "hi"})}
        path = "/v1/chat/completions" if endpoint == "chat" else "/v1/responses"
        reply = pro_served.request("POST", path, body)
        assert "pro-b" in reply.body.decode()
        assert (first.hits, second.hits) == (1, 1)


def test_errors_reach_a_responses_client(client: openai.OpenAI, pro: Deployment) -> None:
    pro.answers(400, dialect.openai_error("Unknown parameter: 'x'", code="unknown_parameter", param="x"))
    with pytest.raises(openai.BadRequestError) as bad:
        client.responses.create(model="pro", input="hi")
    assert (bad.value.code, bad.value.param) == ("unknown_parameter", "x")
    pro.answers(429, dialect.openai_error("slow"), {"retry-after": "30"})
    with pytest.raises(openai.RateLimitError) as limited:
        client.responses.create(model="pro", input="hi")
    assert limited.value.response.headers["retry-after"] == "30"


def test_stream_broken_off_is_told_and_billed(pro_served: Gateway, pro: Deployment) -> None:
    """F9, R16, L."""
    pieces = dialect.chunked_stream(responses.text_events(["The quick", " brown fox"]))
    pro.plays(Send(b"".join(pieces[:7])), Wait(0.02), Close())
    reply = pro_served.request("POST", "/v1/responses", {"model": "pro", "input": "hi", "stream": True})
    last = json.loads(reply.body.decode().rstrip().rpartition("data: ")[2])
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    found = pro_served.record_of(reply)
    assert found["ended"] == "upstream_failed"
    assert found["cost_nusd"] > 0


def test_guardrail_looks_at_what_the_provider_s_own_tools_are_told(pro_served: Gateway, pro: Deployment) -> None:
    """An address cut between two events, and whole in the item, in the code of a tool that runs at the provider."""
    mail = "ada.lovelace@example.com"
    told = responses.Told()
    told.begin()
    code = {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": f"send('{mail}')",
            "outputs": [{"type": "logs", "logs": f"sent to {mail}"}], "container_id": "cntr_1"}  # fmt: skip
    told.item(
        code, {"code": "", "outputs": []},
        ("code_interpreter_call_code.delta", {"delta": "send('ada.love"}),
        ("code_interpreter_call_code.delta", {"delta": "lace@example.com')"}),
        ("code_interpreter_call_code.done", {"code": code["code"]}),
    )  # fmt: skip
    custom = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "sql", "input": f"SELECT '{mail}'"}
    told.item(custom, {"input": ""}, ("custom_tool_call_input.delta", {"delta": custom["input"]}),
              ("custom_tool_call_input.done", {"input": custom["input"]}))  # fmt: skip
    events = told.end()
    pro.sends_packets(events)
    body = {"model": "pro", "input": "hi", "guardrails": ["mask"]}
    reply = pro_served.request("POST", "/v1/responses", {**body, "stream": True})
    text = reply.body.decode()
    values = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")]
    assert [value["sequence_number"] for value in values] == list(range(len(values)))
    for kind, whole in (
        ("code_interpreter_call_code", "send('<EMAIL>')"),
        ("custom_tool_call_input", "SELECT '<EMAIL>'"),
    ):
        deltas = [value["delta"] for value in values if value["type"] == f"response.{kind}.delta"]
        assert "".join(deltas) == whole
    pro.answers(200, responses.response(*told.output))
    for got in (text, pro_served.request("POST", "/v1/responses", body).body.decode()):
        assert "lovelace" not in got
        assert "example.com" not in got
        assert "<EMAIL>" in got
