"""Agents of real clients at a model of each dialect: openai, anthropic, google-genai and langchain-openai, unmodified.

Each is offered a tool, calls it, tells what it gave; gives an answer in JSON; streams. What each sends is its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pydantic
import pytest
from google import genai
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from harness.agents import AGENTS
from harness.gateway import TEAM_KEY, Gateway

ASKED = [{"role": "user", "content": "What is the weather in Zürich?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
each_model = pytest.mark.parametrize("model", AGENTS)


class Place(pydantic.BaseModel):
    city: str


def weather(city: str) -> str:
    """The weather in a city."""
    assert city == "Zürich"
    return "12 °C"


# --- openai --------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(spoken: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{spoken.url}/v1", api_key=TEAM_KEY, max_retries=0, timeout=30) as made:
        yield made


@each_model
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_openai_chat(model: str, is_streamed: bool, client: openai.OpenAI) -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    messages: list[Any] = list(ASKED)
    for _ in range(2):
        if is_streamed:
            with client.chat.completions.stream(model=model, messages=messages, tools=tools) as stream:
                stream.until_done()
                message = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed": True}))
        for call in message.tool_calls or ():
            result = weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    assert message.content == "It is 12 °C there."


@each_model
def test_openai_parsed_answer(model: str, client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model=model, messages=ASKED, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Zürich")
    assert client.responses.parse(model=model, input=ASKED, text_format=Place).output_parsed == Place(city="Zürich")


@each_model
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_openai_responses(model: str, is_streamed: bool, client: openai.OpenAI) -> None:
    tools: list[Any] = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
    items: list[Any] = list(ASKED)
    for _ in range(2):
        if is_streamed:
            with client.responses.stream(model=model, input=items, tools=tools) as stream:
                stream.until_done()
                response = stream.get_final_response()
        else:
            response = client.responses.create(model=model, input=items, tools=tools)
        for item in response.output:
            said = item.model_dump(exclude_none=True, exclude={"parsed_arguments"})
            for part in said.get("content", ()):
                part.pop("parsed", None)
            items.append(said)
            if item.type == "function_call":
                result = weather(**json.loads(item.arguments))
                items.append({"type": "function_call_output", "call_id": item.call_id, "output": result})
    assert response.output_text == "It is 12 °C there."


# --- anthropic -----------------------------------------------------------------------------------------------------


@pytest.fixture
def messages(spoken: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=spoken.url, api_key=TEAM_KEY, max_retries=0, timeout=30) as made:
        yield made


@each_model
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_anthropic_messages(model: str, is_streamed: bool, messages: anthropic.Anthropic) -> None:
    history: list[Any] = list(ASKED)
    asked: dict[str, Any] = {"model": model, "max_tokens": 100, "tools": [{"name": "weather", "input_schema": SCHEMA}]}
    for _ in range(2):
        if is_streamed:
            with messages.messages.stream(messages=history, **asked) as stream:
                message = stream.get_final_message()
        else:
            message = messages.messages.create(messages=history, **asked)
        history.append({"role": "assistant", "content": message.content})
        results = [{"type": "tool_result", "tool_use_id": block.id, "content": weather(**block.input)}
                   for block in message.content if block.type == "tool_use"]  # fmt: skip
        assert (message.stop_reason == "tool_use") == bool(results)
        if results:
            history.append({"role": "user", "content": results})
    assert message.content[0].text == "It is 12 °C there."
    assert (message.usage.input_tokens, message.usage.output_tokens) == (9, 3)


@each_model
def test_anthropic_tool_runner(model: str, messages: anthropic.Anthropic) -> None:
    """The loop that its own SDK has for agents."""
    runner = messages.beta.messages.tool_runner(
        model=model, max_tokens=100, messages=ASKED, tools=[anthropic.beta_tool(weather)]
    )
    assert runner.until_done().content[0].text == "It is 12 °C there."
    assert messages.messages.count_tokens(model=model, messages=ASKED).input_tokens > 0


# --- google-genai --------------------------------------------------------------------------------------------------


@pytest.fixture
def google(spoken: Gateway) -> Iterator[genai.Client]:
    made = genai.Client(api_key=TEAM_KEY, http_options=genai.types.HttpOptions(base_url=spoken.url, timeout=30_000))
    yield made
    made.close()


@each_model
def test_google_calls_functions_by_itself(model: str, google: genai.Client) -> None:
    """What its own SDK does with a Python function for a tool, whole and in a chat that streams."""
    config = genai.types.GenerateContentConfig(tools=[weather])
    answer = google.models.generate_content(model=model, contents="What is the weather in Zürich?", config=config)
    assert answer.text == "It is 12 °C there."
    chat = google.chats.create(model=model, config=config)
    pieces = [piece.text or "" for piece in chat.send_message_stream("What is the weather in Zürich?")]
    assert "".join(pieces).endswith("It is 12 °C there.")


@each_model
def test_google_answer_by_a_schema(model: str, google: genai.Client) -> None:
    config = genai.types.GenerateContentConfig(response_mime_type="application/json", response_schema=Place)
    assert google.models.generate_content(model=model, contents="Where?", config=config).parsed == Place(city="Zürich")


# --- langchain-openai ----------------------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_langchain(model: str, api: str, spoken: Gateway) -> None:
    chat = ChatOpenAI(model=model, base_url=f"{spoken.url}/v1", api_key=TEAM_KEY, max_retries=0,
                      use_responses_api=api == "responses")  # fmt: skip
    tooled = chat.bind_tools([tool(weather)])
    first = tooled.invoke("What is the weather in Zürich?")
    results = [tool(weather).invoke(call) for call in first.tool_calls]
    assert [result.content for result in results] == ["12 °C"]
    history = [("user", "What is the weather in Zürich?"), first, *results]
    assert tooled.invoke(history).text == "It is 12 °C there."
    whole: Any = None
    for piece in tooled.stream("What is the weather in Zürich?"):
        whole = piece if whole is None else whole + piece
    assert isinstance(whole, AIMessageChunk)
    assert [call["args"] for call in whole.tool_calls] == [{"city": "Zürich"}]
    assert chat.with_structured_output(Place, method="json_schema").invoke("Where?") == Place(city="Zürich")
    assert chat.invoke("Say hello").text == f"Hello from {model}"
