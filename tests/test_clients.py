"""Real clients, unmodified: openai-python and langchain-openai; `clients/` has them at models of every dialect."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from harness import dialect
from harness.gateway import SMALL_KEY, TEAM_KEY, TIGHT_KEY, Gateway
from harness.models import Model
from harness.upstream import Upstream

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
SAY = [{"role": "user", "content": "Say hello"}]


@pytest.fixture
def client(gateway: Gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=TEAM_KEY, max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture(scope="module")
def no_proxies():
    """Clients of loopback go there directly, whatever the environment of the test run says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


pytestmark = pytest.mark.usefixtures("no_proxies")


def test_openai_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=SAY, temperature=0.2)

    assert answer.choices[0].message.content == "Hello from gpt-4o"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-4o"
    assert answer.object == "chat.completion"
    assert answer.usage.total_tokens == 12
    assert answer._request_id


def test_openai_stream(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=SAY, stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello from gpt-4o"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {"gpt-4o"}
    assert len({chunk.id for chunk in chunks}) == 1


def test_openai_stream_with_usage(client: openai.OpenAI) -> None:
    options = {"include_usage": True}
    *chunks, last = client.chat.completions.create(model="gpt-4o", messages=SAY, stream=True, stream_options=options)

    assert last.choices == []
    assert last.usage.completion_tokens == 3
    assert all(chunk.usage is None for chunk in chunks)


def test_openai_tools(client: openai.OpenAI, one: Model) -> None:
    one.first.answers(200, dialect.chat_completion(None, tool_calls=[dialect.TOOL_CALL]))

    answer = client.chat.completions.create(model=one.name, messages=SAY, tools=TOOLS, tool_choice="auto")

    [call] = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Zürich", "unit": "°C"}
    assert answer.choices[0].finish_reason == "tool_calls"
    assert one.first.last.json["tools"] == TOOLS


def test_openai_streamed_tools(client: openai.OpenAI, one: Model) -> None:
    pieces = ['{"ci', 'ty":"Z', 'ürich"}']
    one.first.streams(tool_arguments=pieces)

    chunks = list(client.chat.completions.create(model=one.name, messages=SAY, tools=TOOLS, stream=True))

    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].function.name == "weather"
    assert "".join(call.function.arguments for call in calls) == "".join(pieces)
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_openai_stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="gpt-4o", messages=SAY) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.content == "Hello from gpt-4o"


def test_openai_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="gpt-4o", prompt="Say hello")
    assert answer.choices[0].text == "Hello from gpt-4o"
    assert answer.object == "text_completion"

    chunks = list(client.completions.create(model="gpt-4o", prompt="Say hello", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Hello from gpt-4o"


@pytest.mark.parametrize("asked", ["one text", ["two", "texts"], [1, 2, 3], [[1, 2], [3]]])
def test_openai_embeddings(asked, client: openai.OpenAI, upstream: Upstream) -> None:
    """The client asks for base64 by itself, and decodes it; asked for floats, it gets floats."""
    count = len(asked) if isinstance(asked, list) and not isinstance(asked[0], int) else 1
    for options in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        answer = client.embeddings.create(model="embed", input=asked, **options)
        rows = [entry.embedding for entry in answer.data]
        if options.get("encoding_format") == "base64":
            assert all(isinstance(row, str) for row in rows)
        else:
            assert [list(row) for row in rows] == [dialect.vector(place) for place in range(count)]
        assert answer.model == "embed"
        assert answer.usage.prompt_tokens == 4 * count
        assert upstream["embed"].last.json["input"] == asked


def test_openai_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"gpt-4o", "gpt-4o-mini", "embed", "auto"} <= set(names)
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_openai_raw_response(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=SAY)

    assert raw.parse().choices[0].message.content.startswith("Hello from gpt-4o")
    assert raw.headers["x-request-id"] == raw.request_id
    for name in ("x-litellm-call-id", "x-litellm-model-id", "x-litellm-response-cost", "x-ratelimit-remaining"):
        assert raw.headers[name]
    assert raw.headers["x-routewright-model"] == raw.parse().model

    with client.chat.completions.with_streaming_response.create(model="gpt-4o", messages=SAY, stream=True) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert "data: [DONE]" in list(streamed.iter_lines())


def test_openai_error_classes(gateway: Gateway, client: openai.OpenAI, one: Model) -> None:
    """COMPAT 6, as the SDK sorts them."""
    with pytest.raises(openai.AuthenticationError) as refused:
        client.with_options(api_key="sk-wrong").chat.completions.create(model="gpt-4o", messages=SAY)
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError) as denied:
        client.with_options(api_key=SMALL_KEY).chat.completions.create(model="gpt-4o", messages=SAY)
    assert (denied.value.code, denied.value.param) == ("model_access_denied", "model")
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nothing", messages=SAY)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="gpt-4o", messages=[])
    assert bad.value.param == "messages"
    one.first.answers(500)
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model=one.name, messages=SAY)
    assert (failed.value.status_code, failed.value.code) == (502, "upstream_error")


def test_openai_stream_that_breaks_off_raises(client: openai.OpenAI, one: Model) -> None:
    """R16: the client learns that the answer is not whole."""
    one.first.cuts(b"".join(dialect.chunked_stream(dialect.chat_events(["Hel", "lo"]))[:4]))

    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=one.name, messages=SAY, stream=True))


def test_openai_is_told_of_a_limit(gateway: Gateway) -> None:
    """429 with Retry-After is a RateLimitError."""

    def ask_too_often(client: openai.OpenAI) -> None:
        for _ in range(10):
            client.chat.completions.create(model="gpt-4o", messages=SAY)

    with (
        openai.OpenAI(base_url=gateway.url, api_key=TIGHT_KEY, max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as limited,
    ):
        ask_too_often(client)
    assert limited.value.code == "rate_limit_exceeded"
    assert 1 <= int(limited.value.response.headers["retry-after"]) <= 60


def test_openai_async(gateway: Gateway) -> None:
    async def ask() -> tuple[list[str], str]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=TEAM_KEY, max_retries=0) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model="gpt-4o", messages=SAY) for _ in range(20))
            )
            streamed = ""
            async for chunk in await client.chat.completions.create(model="gpt-4o", messages=SAY, stream=True):
                streamed += chunk.choices[0].delta.content or ""
            return [answer.choices[0].message.content for answer in answers], streamed

    assert asyncio.run(ask()) == (["Hello from gpt-4o"] * 20, "Hello from gpt-4o")


def test_langchain(gateway: Gateway, one: Model) -> None:
    options = {"base_url": f"{gateway.url}/v1", "api_key": TEAM_KEY, "max_retries": 0}
    model = ChatOpenAI(model="auto", **options)
    answer = model.invoke("Say hello")
    assert answer.content.startswith("Hello from gpt-4o")
    assert answer.usage_metadata["total_tokens"] == 12
    assert "".join(chunk.content for chunk in model.stream("Say hello")).startswith("Hello from gpt-4o")

    one.first.answers(200, dialect.chat_completion(None, tool_calls=[dialect.TOOL_CALL]))
    tooled = ChatOpenAI(model=one.name, **options).bind_tools(TOOLS).invoke("weather?")
    assert tooled.tool_calls[0]["args"]["city"] == "Zürich"

    vectors = OpenAIEmbeddings(model="embed", check_embedding_ctx_length=False, **options).embed_documents(["a", "b"])
    assert vectors == [dialect.vector(0), dialect.vector(1)]
