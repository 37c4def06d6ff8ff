"""Real clients that pin many packages, unmodified, from an environment of their own, at models of every dialect.

Each is one process, since importing it takes longer than what it is asked to do.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness import dialect
from harness.agents import AGENTS
from harness.clients import clients_python
from harness.gateway import TEAM_KEY, Gateway
from harness.upstream import Upstream

BEGIN = """
import json, os
url, key, models = os.environ["GATEWAY"], os.environ["GATEWAY_KEY"], json.loads(os.environ["AGENTS"])
asked, told = "What is the weather in Zürich?", "It is 12 °C there."
from pydantic import BaseModel
class Place(BaseModel):
    city: str
def weather(city: str) -> str:
    'The weather in a city.'
    assert city == "Zürich", city
    return "12 °C"
"""

LITELLM = """
import litellm
schema = {"type": "object", "properties": {"city": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
for model in models:
    for prefix, base in (("openai/", url + "/v1"), ("litellm_proxy/", url + "/v1"), ("anthropic/", url)):
        at = {"model": prefix + model, "api_base": base, "api_key": key, "max_tokens": 100, "num_retries": 0}
        for stream in (False, True):
            messages = [{"role": "user", "content": asked}]
            for _ in range(2):
                answer = litellm.completion(messages=messages, tools=tools, stream=stream, **at)
                if stream:
                    answer = litellm.stream_chunk_builder(list(answer), messages=messages)
                message = answer.choices[0].message
                messages.append(message.model_dump(exclude_none=True))
                for call in message.tool_calls or ():
                    result = weather(**json.loads(call.function.arguments))
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
            assert message.content == told, (prefix, model, stream, message)
    assert answer.usage.total_tokens == 12, (model, answer.usage)
at = {"api_base": url + "/v1", "api_key": key, "num_retries": 0}
rows = litellm.embedding(model="openai/embed", input=["a", "b"], api_base=url + "/v1", api_key=key)
assert rows.data[0]["embedding"] == json.loads(os.environ["VECTOR"])
try:
    litellm.completion(model="openai/nothing", messages=[{"role": "user", "content": "hi"}], **at)
except litellm.NotFoundError:
    pass
else:
    raise AssertionError("a model that is not there")
"""

LANGCHAIN_ANTHROPIC = """
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
for model in models:
    chat = ChatAnthropic(model=model, base_url=url, api_key=key, max_retries=0, max_tokens=100)
    assert chat.invoke("Say hello").usage_metadata["total_tokens"] == 12
    tooled = chat.bind_tools([tool(weather)])
    first = tooled.invoke(asked)
    history = [("user", asked), first, *[tool(weather).invoke(call) for call in first.tool_calls]]
    assert tooled.invoke(history).text == told, model
    whole = None
    for piece in tooled.stream(asked):
        whole = piece if whole is None else whole + piece
    assert [call["args"] for call in whole.tool_calls] == [{"city": "Zürich"}], model
    assert chat.with_structured_output(Place).invoke("Where?") == Place(city="Zürich"), model
"""

PYDANTIC_AI = """
import asyncio
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider
openai = OpenAIProvider(base_url=url + "/v1", api_key=key)
anthropic = AnthropicProvider(base_url=url, api_key=key)
google = GoogleProvider(base_url=url, api_key=key)

async def main():
    for name in models:
        for model in (OpenAIChatModel(name, provider=openai), OpenAIResponsesModel(name, provider=openai),
                      AnthropicModel(name, provider=anthropic), GoogleModel(name, provider=google)):
            agent = Agent(model, instructions="Be brief.", tools=[weather])
            said = (await agent.run(asked)).output  # to Google's models it tells a result in an object
            assert said == told or ("12 °C" in said and isinstance(model, GoogleModel)), (name, model, said)
            async with Agent(model).run_stream("Say hello") as stream:
                assert await stream.get_output() == "Hello from " + name, (name, model)
            found = await Agent(model, output_type=Place).run("Where?")
            assert found.output == Place(city="Zürich"), (name, model)

asyncio.run(main())
"""

INSTRUCTOR = """
import anthropic, instructor, openai
plain = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
messages = [{"role": "user", "content": "where?"}]
for model in models:
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON):
        client = instructor.from_openai(plain, mode=mode)
        found = client.chat.completions.create(model=model, response_model=Place, max_retries=0, messages=messages)
        assert found.city == "Zürich", (model, mode)
    client = instructor.from_anthropic(anthropic.Anthropic(base_url=url, api_key=key, max_retries=0))
    found = client.messages.create(model=model, response_model=Place, max_retries=0, max_tokens=100, messages=messages)
    assert found.city == "Zürich", model
"""

LLM = """
import pathlib, subprocess, sys
folder = pathlib.Path(os.environ["LLM_USER_PATH"])
entry = {"api_base": url + "/v1", "api_key_name": "ours", "supports_tools": True, "supports_schema": True}
(folder / "extra-openai-models.yaml").write_text(
    json.dumps([{**entry, "model_id": model, "model_name": model} for model in models]))  # JSON is YAML
(folder / "keys.json").write_text(json.dumps({"ours": key}))
command = [sys.executable, "-m", "llm", "prompt", "-m", models[0], "--no-log", "Say hello"]
said = subprocess.run(command, capture_output=True, text=True)
assert said.stdout.strip() == "Hello from " + models[0], said
import llm
for name in models:
    model = llm.get_model(name)
    for stream in (False, True):
        assert model.chain(asked, tools=[weather], stream=stream).text().endswith(told), name
    assert json.loads(model.prompt("Where?", schema=Place).text()) == {"city": "Zürich"}, name
"""

COHERE = """
import cohere
client = cohere.ClientV2(api_key=key, base_url=url)
found = client.rerank(model="rank", query="what?", documents=["a", "b"], top_n=1)
assert [(one.index, one.relevance_score) for one in found.results] == [(1, 0.9)], found
"""


@pytest.mark.parametrize(
    "source",
    [LITELLM, LANGCHAIN_ANTHROPIC, PYDANTIC_AI, INSTRUCTOR, LLM, COHERE],
    ids=["litellm", "langchain-anthropic", "pydantic-ai", "instructor", "llm", "cohere"],
)
def test_client(source: str, spoken: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    ranked = [{"index": 1, "relevance_score": 0.9}]
    upstream["rank"].answers(200, {"id": "r", "results": ranked, "meta": {"billed_units": {"search_units": 1}}})
    environment = {
        **os.environ,
        "GATEWAY": spoken.url,
        "GATEWAY_KEY": TEAM_KEY,
        "AGENTS": json.dumps(list(AGENTS)),
        "VECTOR": json.dumps(dialect.vector(0)),
        "LLM_USER_PATH": str(tmp_path),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
    }
    command = [clients_python(), "-c", BEGIN + source]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
