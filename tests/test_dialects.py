"""Clients of one dialect and upstreams of another, through a real gateway: real clients, scripted upstreams."""

from __future__ import annotations

import json
from collections.abc import Iterator

import anthropic as sdk
import openai
import pydantic
import pytest
from google import genai

from harness import anthropic, dialect, gemini
from harness.gateway import SMALL_KEY, TEAM_KEY, TIGHT_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Close, Deployment, Reset, Send, Upstream, Wait
from harness.wire import secret

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
        deployment("gemini", upstream, "gemini", provider="gemini", model="gemini-2.5-flash"),
        deployment("nova", upstream, "nova", provider="bedrock", model="amazon.nova-pro-v1:0", api_key=None,
                   aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key=secret("nova"), aws_region_name="us-east-1"),
        deployment("command", upstream, "command", provider="cohere", model="command-a-03-2025"),
        deployment("llama", upstream, "llama", provider="ollama_chat", model="llama3.1",
                   api_base=upstream["llama"].api_base.removesuffix("/v1")),
        deployment("lenient", upstream, "lenient", drop_params=True, **claude),
    ]  # fmt: skip
    with running(config) as started:
        yield started


@pytest.fixture
def claude(upstream: Upstream) -> Iterator[Deployment]:
    upstream["claude"].forget()
    yield upstream["claude"]
    upstream["claude"].forget()


@pytest.fixture
def messages(many: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[sdk.Anthropic]:
    """Anthropic's own client."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with sdk.Anthropic(base_url=many.url, api_key=TEAM_KEY, max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture
def client(many: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[openai.OpenAI]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with openai.OpenAI(base_url=f"{many.url}/v1", api_key=TEAM_KEY, max_retries=0, timeout=30) as made:
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


# --- an OpenAI client and Gemini -----------------------------------------------------------------------------------


def test_openai_client_reaches_gemini(client: openai.OpenAI, many: Gateway, upstream: Upstream) -> None:
    google = upstream["gemini"]
    raw = client.chat.completions.with_raw_response.create(model="gemini", messages=SAY, tools=TOOLS)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello from gemini"
    assert (answer.model, answer.usage.total_tokens) == ("gemini", 12)
    assert google.last.path == "v1/models/gemini-2.5-flash:generateContent"
    assert google.last.headers["x-goog-api-key"].startswith("sk-")
    record = eventually(lambda: many.records_of(raw.headers["x-request-id"]))[0]
    assert (record["provider"], record["prompt_tokens"], record["cost_nusd"]) == ("gemini", 9, 9 * 1000 + 3 * 4000)

    google.sends_packets(gemini.every_event())
    with client.chat.completions.stream(model="gemini", messages=SAY, tools=TOOLS) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    google.forget()
    assert message.content == "Grüezi 🐕"
    assert json.loads(message.tool_calls[0].function.arguments)["city"] == "Zürich"
    results = [{"role": "tool", "tool_call_id": call.id, "content": "12"} for call in message.tool_calls]
    history = [*SAY, message.model_dump(exclude_none=True, exclude={"parsed": True}), *results]
    client.chat.completions.create(model="gemini", messages=history, tools=TOOLS)
    parts = google.last.json["contents"][1]["parts"]
    assert parts[1]["thoughtSignature"] == gemini.SIGNED_CALL["thoughtSignature"]
    client.chat.completions.create(model="gpt-4o", messages=history, tools=TOOLS)
    assert all(len(call["id"]) <= 40 for call in upstream["gpt-4o"].last.json["messages"][1]["tool_calls"])


# --- an OpenAI client and Bedrock ----------------------------------------------------------------------------------


def test_openai_client_reaches_bedrock(client: openai.OpenAI, many: Gateway, upstream: Upstream) -> None:
    """Signed, and streamed in Amazon's own frames."""
    raw = client.chat.completions.with_raw_response.create(model="nova", messages=SAY)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello from nova"
    sent = upstream["nova"].last
    assert sent.path == "v1/model/amazon.nova-pro-v1%3A0/converse"
    assert sent.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert secret("nova") not in str(sent.headers)
    record = eventually(lambda: many.records_of(raw.headers["x-request-id"]))[0]
    assert (record["provider"], record["prompt_tokens"], record["cost_nusd"]) == ("bedrock", 9, 9 * 1000 + 3 * 4000)
    chunks = list(client.chat.completions.create(model="nova", messages=SAY, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello from nova"
    assert chunks[-1].choices[0].finish_reason == "stop"


# --- an Anthropic client, and any provider ------------------------------------------------------------------

ASK = {"max_tokens": 100, "messages": SAY}
TOOL = {"name": "weather", "input_schema": TOOLS[0]["function"]["parameters"]}


@pytest.mark.parametrize("model", ["claude", "gpt-4o", "gemini", "nova", "auto"])
def test_anthropic_client_gets_its_answer(model: str, messages: sdk.Anthropic, many: Gateway) -> None:
    raw = messages.messages.with_raw_response.create(model=model, system="Be brief.", **ASK)
    message = raw.parse()
    answered = message.model
    assert model in (answered, "auto")
    assert message.content[0].text.startswith("Hello from ")
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("end_turn", 9, 3)
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    record = eventually(lambda: many.records_of(raw.headers["x-request-id"]))[0]
    assert (record["endpoint"], record["model"], record["ended"]) == ("messages", answered, "complete")
    assert (record["prompt_tokens"], record["completion_tokens"]) == (9, 3)
    assert record["cost_nusd"] > 0


@pytest.mark.parametrize("model", ["claude", "gpt-4o", "gemini", "nova"])
def test_anthropic_client_streams(model: str, messages: sdk.Anthropic, many: Gateway, claude: Deployment) -> None:
    with messages.messages.stream(model=model, **ASK) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == f"Hello from {model}"
    assert message.model == model
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (9, 3)
    kinds = [event.type for event in messages.messages.create(model=model, stream=True, **ASK)]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_delta") == 3


def test_claude_code_at_anthropic(messages: sdk.Anthropic, claude: Deployment) -> None:
    """What it sends goes on as it is: tools, thinking, caching, betas on the list; what comes back too."""
    claude.sends_packets(anthropic.every_event())
    with messages.beta.messages.stream(
        model="claude",
        max_tokens=2000,
        system=[{"type": "text", "text": "You are …", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<system-reminder>…</system-reminder>"},
                    {"type": "text", "text": "weather?"},
                ],
            }
        ],
        tools=[TOOL],
        thinking={"type": "adaptive"},
        metadata={"user_id": "user_" + "0" * 64 + "_account__session_1"},
        betas=["claude-code-20250219", "interleaved-thinking-2025-05-14", "files-api-2025-04-14"],
        extra_query={"beta": "true"},
    ) as stream:
        message = stream.get_final_message()
    kinds = [block.type for block in message.content]
    assert kinds == [
        "thinking",
        "redacted_thinking",
        "text",
        "server_tool_use",
        "web_search_tool_result",
        "tool_use",
        "tool_use",
    ]
    assert (message.content[0].signature, message.content[5].input) == ("EqQBCgIYAhIM==", {"city": "Zürich"})
    assert (message.usage.cache_read_input_tokens, message.usage.output_tokens) == (100, 40)
    body = claude.last.json
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["thinking"] == {"type": "adaptive"}
    assert claude.last.headers["anthropic-beta"] == "interleaved-thinking-2025-05-14"
    assert claude.last.path == "v1/messages"


def test_claude_code_at_openai(messages: sdk.Anthropic, upstream: Upstream) -> None:
    """A turn of tools with a provider of the other dialect, thinking and caching asked for all the while."""
    gpt = upstream["gpt-4o"]
    gpt.streams("Let me look.", tool_arguments=['{"ci', 'ty":"Zür', 'ich"}'], times=1)
    asked = {
        "model": "gpt-4o",
        "max_tokens": 2000,
        "system": [{"type": "text", "text": "You are …", "cache_control": {"type": "ephemeral"}}],
        "tools": [TOOL],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "metadata": {"user_id": "user_" + "0" * 64},
    }
    with messages.messages.stream(messages=SAY, **asked) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.content[1].input == {"city": "Zürich"}
    assert message.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": message.content[1].id, "content": [{"type": "text", "text": "12"}]}
    history = [*SAY, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    answer = messages.messages.create(messages=history, **asked)
    assert answer.content[0].text == "Hello from gpt-4o"
    sent = gpt.last.json
    assert [entry["role"] for entry in sent["messages"]] == ["system", "user", "assistant", "tool"]
    assert sent["messages"][3] == {"role": "tool", "tool_call_id": "call_1", "content": "12"}
    assert "cache_control" not in json.dumps(sent)
    gpt.forget()


def test_count_tokens(messages: sdk.Anthropic, many: Gateway, claude: Deployment) -> None:
    assert messages.messages.count_tokens(model="claude", messages=SAY).input_tokens == 14
    assert claude.last.path == "v1/messages/count_tokens"
    raw = messages.messages.with_raw_response.count_tokens(model="gpt-4o", messages=SAY, system="x" * 400)
    assert 100 <= raw.parse().input_tokens <= 120
    record = eventually(lambda: many.records_of(raw.headers["x-request-id"]))[0]
    assert (record["endpoint"], record["cost_nusd"], record["attempts"]) == ("count_tokens", 0, 0)


def test_errors_are_in_anthropic_s_shape(messages: sdk.Anthropic, many: Gateway, claude: Deployment) -> None:
    """COMPAT 4: as the SDK sorts them, from the front, the gateway and the upstream alike."""
    with pytest.raises(sdk.AuthenticationError) as refused:
        messages.with_options(api_key="sk-wrong").messages.create(model="claude", **ASK)
    assert refused.value.body["type"] == "error"
    assert refused.value.body["error"]["type"] == "authentication_error"
    assert refused.value.request_id == refused.value.body["request_id"]
    with pytest.raises(sdk.PermissionDeniedError):
        messages.with_options(api_key=SMALL_KEY).messages.create(model="claude", **ASK)
    with pytest.raises(sdk.NotFoundError) as missing:
        messages.messages.create(model="nothing", **ASK)
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(sdk.BadRequestError) as bad:
        messages.messages.create(model="claude", max_tokens=5, messages=[])
    assert bad.value.body["error"]["message"].startswith("messages: ")
    claude.answers(529, anthropic.error("overloaded_error", "Overloaded"))
    with pytest.raises(sdk.InternalServerError) as failed:
        messages.messages.create(model="claude", **ASK)
    assert failed.value.body["error"]["type"] == "api_error"
    claude.answers(429, anthropic.error("rate_limit_error", "slow down"), {"retry-after": "30"})
    with pytest.raises(sdk.RateLimitError) as limited:
        messages.messages.create(model="claude", **ASK)
    assert limited.value.response.headers["retry-after"] == "30"
    for _ in range(4):
        reply = many.request("POST", "/v1/messages", {"model": "gpt-4o", **ASK}, key=TIGHT_KEY)
    assert (reply.status, reply.json["error"]["type"]) == (429, "rate_limit_error")


def test_key_stands_where_anthropic_s_clients_put_it(many: Gateway) -> None:
    body = {"model": "gpt-4o", **ASK}
    for headers in ({"x-api-key": TEAM_KEY}, {"Authorization": f"Bearer {TEAM_KEY}"}):
        reply = many.request("POST", "/v1/messages?beta=true", body, key=None, headers=headers)
        assert reply.status == 200
    assert many.request("POST", "/v1/messages", body, key=None).json["error"]["type"] == "authentication_error"


def test_stream_broken_off_is_an_error_to_anthropic_s_client(messages: sdk.Anthropic, upstream: Upstream) -> None:
    """R16: for both kinds of upstream, never an invented stop."""
    cut = {
        "claude": dialect.chunked_stream(anthropic.message_events("The quick", " brown fox"))[:6],
        "gpt-4o": dialect.chunked_stream(dialect.chat_events(["The quick", " brown fox"]))[:4],
    }
    for model, pieces in cut.items():
        upstream[model].plays(Send(b"".join(pieces)), Wait(0.02), Close())
        with pytest.raises(sdk.APIError), messages.messages.stream(model=model, **ASK) as stream:
            stream.get_final_message()
        upstream[model].forget()


def test_anthropic_answer_is_the_same_bill_by_both_doors(many: Gateway, claude: Deployment) -> None:
    """Usage and cost in the journal do not depend on the client's dialect."""
    figures = anthropic.usage(10, 40, cache_read_input_tokens=100, cache_creation_input_tokens=20)
    claude.answers(200, anthropic.message(usage=figures))
    replies = [
        many.chat("claude"),
        many.request("POST", "/v1/messages", {"model": "claude", **ASK}),
    ]
    names = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost_nusd", "usage_estimated")
    bills = [{name: many.record_of(reply)[name] for name in names} for reply in replies]
    assert bills[0] == bills[1]
    assert (bills[0]["prompt_tokens"], bills[0]["cached_tokens"]) == (130, 100)


# --- Google's client, and any provider -----------------------------------------------------------------------------


@pytest.fixture
def google(many: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[genai.Client]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    options = genai.types.HttpOptions(base_url=many.url, timeout=30_000)
    client = genai.Client(api_key=TEAM_KEY, http_options=options)
    yield client
    client.close()


@pytest.mark.parametrize("model", ["gemini", "gpt-4o", "claude", "nova", "command", "llama", "auto"])
def test_google_s_client_gets_its_answer(model: str, google: genai.Client, many: Gateway) -> None:
    config = genai.types.GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=50)
    before = len(many.journal())
    answer = google.models.generate_content(model=model, contents="Say hello", config=config)
    assert answer.text.startswith("Hello from ")
    assert answer.usage_metadata.total_token_count == 12
    record = eventually(lambda: many.journal()[before:])[-1]
    assert (record["endpoint"], record["prompt_tokens"], record["completion_tokens"]) == ("generate_content", 9, 3)
    assert record["cost_nusd"] > 0


@pytest.mark.parametrize("model", ["gemini", "gpt-4o", "claude", "command", "llama"])
def test_google_s_client_streams(model: str, google: genai.Client) -> None:
    chunks = list(google.models.generate_content_stream(model=model, contents="Say hello"))
    assert "".join(chunk.text or "" for chunk in chunks) == f"Hello from {model}"
    assert chunks[-1].candidates[0].finish_reason == "STOP"
    assert chunks[-1].usage_metadata.prompt_token_count == 9


def test_google_s_client_calls_tools(google: genai.Client, upstream: Upstream) -> None:
    gpt = upstream["gpt-4o"]
    gpt.answers(200, dialect.chat_completion(None, tool_calls=[dialect.TOOL_CALL]), times=1)
    declared = genai.types.FunctionDeclaration(name="weather", parameters=genai.types.Schema(type="OBJECT",
               properties={"city": genai.types.Schema(type="STRING")}))  # fmt: skip
    automatic = genai.types.AutomaticFunctionCallingConfig(disable=True)
    config = genai.types.GenerateContentConfig(tools=[genai.types.Tool(function_declarations=[declared])],
                                               automatic_function_calling=automatic)  # fmt: skip
    answer = google.models.generate_content(model="gpt-4o", contents="weather?", config=config)
    [call] = answer.function_calls
    assert (call.name, call.args["city"]) == ("weather", "Zürich")
    result = genai.types.Part.from_function_response(name="weather", response={"result": "12"})
    history = ["weather?", answer.candidates[0].content, genai.types.Content(role="user", parts=[result])]
    assert google.models.generate_content(model="gpt-4o", contents=history, config=config).text == "Hello from gpt-4o"
    sent = gpt.last.json
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool"]
    assert sent["tools"][0]["function"]["parameters"]["type"] == "object"
    gpt.forget()


def test_google_s_client_counts_tokens(google: genai.Client) -> None:
    assert google.models.count_tokens(model="gemini", contents="hi").total_tokens == 14
    assert google.models.count_tokens(model="gpt-4o", contents="x" * 400).total_tokens >= 100


def test_errors_are_in_google_s_shape(google: genai.Client, many: Gateway, upstream: Upstream) -> None:
    with pytest.raises(genai.errors.ClientError) as missing:
        google.models.generate_content(model="nothing", contents="hi")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")
    reply = many.request("POST", "/v1beta/models/gpt-4o:generateContent", {"contents": []}, key=None)
    assert (reply.status, reply.json["error"]["status"]) == (401, "UNAUTHENTICATED")
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    assert many.request("POST", f"/v1beta/models/gpt-4o:generateContent?key={TEAM_KEY}", body, key=None).status == 200
    pieces = dialect.chunked_stream(dialect.chat_events(["The quick", " brown fox"]))[:4]
    upstream["gpt-4o"].plays(Send(b"".join(pieces)), Wait(0.02), Close())
    with pytest.raises(genai.errors.ServerError):
        list(google.models.generate_content_stream(model="gpt-4o", contents="hi"))
    upstream["gpt-4o"].forget()


# --- OpenAI's Responses, and any provider --------------------------------------------------------------------------

RESPONSES_TOOL = {"type": "function", "name": "weather", "parameters": TOOLS[0]["function"]["parameters"],
                  "strict": False}  # fmt: skip


@pytest.mark.parametrize("model", ["gpt-4o", "claude", "gemini", "nova", "command", "llama", "auto"])
def test_responses(model: str, client: openai.OpenAI, many: Gateway) -> None:
    raw = client.responses.with_raw_response.create(model=model, input="Say hello", instructions="Be brief.")
    response = raw.parse()
    assert response.output_text.startswith("Hello from ")
    assert (response.status, response.usage.input_tokens, response.usage.output_tokens) == ("completed", 9, 3)
    record = eventually(lambda: many.records_of(raw.headers["x-request-id"]))[0]
    assert (record["endpoint"], record["model"], record["ended"]) == ("responses", response.model, "complete")
    assert record["cost_nusd"] > 0


@pytest.mark.parametrize("model", ["gpt-4o", "claude", "gemini", "nova", "command", "llama"])
def test_responses_stream(model: str, client: openai.OpenAI) -> None:
    with client.responses.stream(model=model, input="Say hello") as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text == f"Hello from {model}"
    assert kinds[0] == "response.created"
    assert kinds.count("response.output_text.delta") == 3


def test_responses_call_tools(client: openai.OpenAI, claude: Deployment) -> None:
    claude.sends_packets(anthropic.every_event())
    with client.responses.stream(model="claude", input="weather?", tools=[RESPONSES_TOOL],
                                 include=["reasoning.encrypted_content"]) as stream:  # fmt: skip
        stream.until_done()
        response = stream.get_final_response()
    calls = [item for item in response.output if item.type == "function_call"]
    assert json.loads(calls[0].arguments) == {"city": "Zürich"}
    claude.forget()
    items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]
    for item in items:
        for part in item.get("content", ()):
            part.pop("parsed", None)
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "12"} for call in calls]
    history = [{"role": "user", "content": "weather?"}, *items, *results]
    answer = client.responses.create(model="claude", input=history, tools=[RESPONSES_TOOL])
    assert answer.output_text == "Hello from claude"
    _, assistant, result = claude.last.json["messages"]
    assert [block["type"] for block in assistant["content"]] == [
        "thinking", "redacted_thinking", "text", "tool_use", "tool_use",
    ]  # fmt: skip
    assert [block["tool_use_id"] for block in result["content"]] == ["toolu_01", "toolu_02"]


def test_responses_errors(client: openai.OpenAI, claude: Deployment) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.responses.create(model="claude", input="x", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
    pieces = dialect.chunked_stream(anthropic.message_events("The quick", " brown fox"))[:6]
    claude.plays(Send(b"".join(pieces)), Wait(0.02), Close())
    kinds = [event.type for event in client.responses.create(model="claude", input="x", stream=True)]
    assert kinds[-1] == "response.failed"
    assert "response.completed" not in kinds
