"""Real clients that pin many packages, unmodified, from an environment of their own (`make clients`)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness import dialect
from harness.clients import clients_python
from harness.gateway import TEAM_KEY, Gateway
from harness.models import Model

BEGIN = """
import json, os
url, key, tool_model = os.environ["GATEWAY"], os.environ["GATEWAY_KEY"], os.environ["TOOL_MODEL"]
"""

LITELLM = """
import litellm
at = {"api_base": url + "/v1", "api_key": key, "messages": [{"role": "user", "content": "Say hello"}], "num_retries": 0}
for model in ("openai/gpt-4o", "litellm_proxy/gpt-4o"):
    whole = litellm.completion(model=model, **at)
    assert whole.choices[0].message.content == "Hello from gpt-4o"
    assert whole.usage.total_tokens == 12
    pieces = litellm.completion(model=model, stream=True, **at)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "Hello from gpt-4o"
claude = litellm.completion(model="anthropic/gpt-4o", max_tokens=50, **{**at, "api_base": url})
assert claude.choices[0].message.content == "Hello from gpt-4o"
rows = litellm.embedding(model="openai/embed", input=["a", "b"], api_base=url + "/v1", api_key=key)
assert rows.data[0]["embedding"] == json.loads(os.environ["VECTOR"])
try:
    litellm.completion(model="openai/nothing", **at)
except litellm.NotFoundError:
    pass
else:
    raise AssertionError("a model that is not there")
"""

LANGCHAIN_ANTHROPIC = """
from langchain_anthropic import ChatAnthropic
options = {"base_url": url, "api_key": key, "max_retries": 0, "max_tokens": 100}
model = ChatAnthropic(model="gpt-4o", **options)
answer = model.invoke("Say hello")
assert answer.content == "Hello from gpt-4o", answer
assert answer.usage_metadata["total_tokens"] == 12
streamed = [piece for piece in model.stream("Say hello")]
assert "".join(piece.text if isinstance(piece.text, str) else piece.text() for piece in streamed) == "Hello from gpt-4o"
schema = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
called = ChatAnthropic(model=tool_model, **options).bind_tools([schema]).invoke("weather?")
assert called.tool_calls[0]["args"]["city"] == "Zürich"
"""

PYDANTIC_AI = """
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
openai = OpenAIProvider(base_url=url + "/v1", api_key=key)
for model in (OpenAIChatModel("gpt-4o", provider=openai), OpenAIResponsesModel("gpt-4o", provider=openai)):
    result = Agent(model, instructions="Be brief.").run_sync("Say hello")
    assert result.output == "Hello from gpt-4o", (model, result)
"""

INSTRUCTOR = """
import instructor, openai
from pydantic import BaseModel
class Place(BaseModel):
    city: str
    unit: str
plain = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
client = instructor.from_openai(plain, mode=instructor.Mode.JSON)
found = client.chat.completions.create(
    model=os.environ["JSON_MODEL"], response_model=Place, max_retries=0,
    messages=[{"role": "user", "content": "where?"}],
)
assert (found.city, found.unit) == ("Zürich", "°C"), found
"""

LLM = """
import pathlib, subprocess, sys
folder = pathlib.Path(os.environ["LLM_USER_PATH"])
(folder / "extra-openai-models.yaml").write_text(
    "- {model_id: ours, model_name: gpt-4o, api_base: '%s/v1', api_key_name: ours}" % url)
(folder / "keys.json").write_text(json.dumps({"ours": key}))
for more in ([], ["--no-stream"]):
    told = subprocess.run([sys.executable, "-m", "llm", "prompt", "-m", "ours", *more, "Say hello"],
                          capture_output=True, text=True)
    assert told.stdout.strip() == "Hello from gpt-4o", told
"""


@pytest.mark.parametrize(
    "source",
    [LITELLM, LANGCHAIN_ANTHROPIC, PYDANTIC_AI, INSTRUCTOR, LLM],
    ids=["litellm", "langchain-anthropic", "pydantic-ai", "instructor", "llm"],
)
def test_client(source: str, gateway: Gateway, one: Model, two: Model, tmp_path: Path) -> None:
    one.first.answers(200, dialect.chat_completion(None, tool_calls=[dialect.TOOL_CALL]))
    two.first.answers(200, dialect.chat_completion(dialect.TOOL_CALL["function"]["arguments"]))
    environment = {
        **os.environ,
        "GATEWAY": gateway.url,
        "GATEWAY_KEY": TEAM_KEY,
        "TOOL_MODEL": one.name,
        "JSON_MODEL": two.name,
        "VECTOR": json.dumps(dialect.vector(0)),
        "LLM_USER_PATH": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
    }
    ended = subprocess.run(
        [clients_python(), "-c", BEGIN + source],
        env=environment,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
        cwd=tmp_path,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
