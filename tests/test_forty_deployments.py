"""A LiteLLM configuration of forty deployments at eighteen providers, unchanged: each goes where and as it should.

Addresses and credentials come from the variables that LiteLLM reads, so that the file is as its users have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from harness import dialect
from harness.gateway import MASTER_KEY, Gateway, running
from harness.upstream import Upstream
from harness.wire import secret


@dataclass(frozen=True)
class At:
    """What one provider's deployments have in common. `{m}` is the model's name, `{key}` the credential."""

    provider: str
    models: tuple[str, ...]
    base: str
    """Variable that holds the address."""
    key: str
    path: str = "v1/chat/completions"
    header: tuple[str, str] = ("authorization", "Bearer {key}")
    ending: str = "/v1"
    """Of the address."""
    sent_model: str | None = "{m}"
    """`model` in the body; None: it stands in the path."""
    body: str = "messages"
    """A field that the body of this dialect has."""


TABLE = (
    At("openai", ("gpt-4o", "gpt-4o-mini", "o3", "gpt-4.1"), "OPENAI_BASE_URL", "OPENAI_API_KEY"),
    At("anthropic", ("claude-opus-4-6", "claude-sonnet-4-5", "claude-haiku-4-5"), "ANTHROPIC_API_BASE",
       "ANTHROPIC_API_KEY", "v1/messages", ("x-api-key", "{key}"), body="max_tokens"),
    At("gemini", ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-3-pro"), "GEMINI_API_BASE", "GEMINI_API_KEY",
       "v1beta/models/{m}:generateContent", ("x-goog-api-key", "{key}"), "/v1beta", None, "contents"),
    At("azure", ("gpt-4o-eu", "gpt-4o-us", "o3-mini"), "AZURE_API_BASE", "AZURE_API_KEY",
       "openai/deployments/{m}/chat/completions?api-version=2025-02-01-preview", ("api-key", "{key}"), ""),
    At("bedrock", ("anthropic.claude-sonnet-4-5-v1:0", "us.amazon.nova-pro-v1:0", "meta.llama4-v1:0"),
       "AWS_BEDROCK_RUNTIME_ENDPOINT", "AWS_SECRET_ACCESS_KEY", "model/{m}/converse",
       ("authorization", "AWS4-HMAC-SHA256 Credential=AKIDFORTY/"), "", None),
    At("vertex_ai", ("gemini-2.5-pro", "gemini-2.5-flash"), "VERTEXAI_API_BASE", "VERTEX",
       "v1/publishers/google/models/{m}:generateContent", sent_model=None, body="contents"),
    At("cohere", ("command-a-03-2025", "command-r7b-12-2024"), "COHERE_API_BASE", "COHERE_API_KEY", "v2/chat",
       ending="/v2"),
    At("mistral", ("mistral-large-latest", "ministral-8b-latest"), "MISTRAL_API_BASE", "MISTRAL_API_KEY"),
    At("groq", ("llama-3.3-70b-versatile", "openai/gpt-oss-120b"), "GROQ_API_BASE", "GROQ_API_KEY"),
    At("deepseek", ("deepseek-chat", "deepseek-reasoner"), "DEEPSEEK_API_BASE", "DEEPSEEK_API_KEY"),
    At("xai", ("grok-4", "grok-3-mini"), "XAI_API_BASE", "XAI_API_KEY"),
    At("together_ai", ("meta-llama/Llama-3.3-70B", "Qwen/Qwen3"), "TOGETHER_AI_API_BASE", "TOGETHERAI_API_KEY"),
    At("fireworks_ai", ("llama-v3p3-70b-instruct",), "FIREWORKS_AI_API_BASE", "FIREWORKS_API_KEY",
       sent_model="accounts/fireworks/models/{m}"),
    At("openrouter", ("anthropic/claude-sonnet-4.5", "google/gemini-2.5-pro"), "OPENROUTER_API_BASE",
       "OPENROUTER_API_KEY"),
    At("cerebras", ("llama3.1-8b",), "CEREBRAS_API_BASE", "CEREBRAS_API_KEY"),
    At("perplexity", ("sonar-pro", "sonar"), "PERPLEXITY_API_BASE", "PERPLEXITYAI_API_KEY"),
    At("deepinfra", ("meta-llama/Llama-4",), "DEEPINFRA_API_BASE", "DEEPINFRA_API_KEY"),
    At("ollama", ("llama3.1", "qwen3", "gemma3"), "OLLAMA_API_BASE", "OLLAMA_API_KEY", "api/chat", ending=""),
)  # fmt: skip
ROWS = [(at, model) for at in TABLE for model in at.models]


def test_the_table_has_forty_deployments() -> None:
    assert (len(ROWS), len(TABLE)) == (40, 18)


def google_account(upstream: Upstream) -> str:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps({
        "type": "service_account", "project_id": "p-1", "private_key": pem.decode(),
        "client_email": "gateway@p-1.example",
        "token_uri": f"http://127.0.0.1:{upstream.port}/forty-google/token",
    })  # fmt: skip


@pytest.fixture(scope="module")
def forty(upstream: Upstream) -> Iterator[Gateway]:
    environment = {"AWS_ACCESS_KEY_ID": "AKIDFORTY", "AWS_REGION": "eu-west-1", "NO_PROXY": "127.0.0.1",
                   "VERTEXAI_CREDENTIALS": google_account(upstream)}  # fmt: skip
    token = {"access_token": secret("forty-VERTEX"), "expires_in": 3600}
    upstream["forty-google"].answers(200, token)
    entries: list[dict[str, Any]] = []
    for at in TABLE:
        environment[at.base] = upstream[f"forty-{at.provider}"].api_base.removesuffix("/v1") + at.ending
        environment[at.key] = secret(f"forty-{at.key}")
        entries += [
            {"model_name": f"{at.provider}/{model}", "litellm_params": {"model": f"{at.provider}/{model}"}}
            for model in at.models
        ]
    config = {"model_list": entries, "general_settings": {"master_key": "os.environ/TEST_MASTER_KEY"}}
    with running(config, environment=environment) as started:
        yield started


@pytest.mark.parametrize(("at", "model"), ROWS, ids=[f"{at.provider}/{model}" for at, model in ROWS])
def test_deployment_of_a_litellm_configuration(at: At, model: str, forty: Gateway, upstream: Upstream) -> None:
    reply = forty.chat(f"{at.provider}/{model}", key=MASTER_KEY)
    assert reply.json["choices"][0]["message"]["content"] == f"Hello from forty-{at.provider}"
    assert reply.json["model"] == f"{at.provider}/{model}"
    sent = upstream[f"forty-{at.provider}"].last
    assert sent.path.replace("%3A", ":") == at.path.replace("{m}", model)
    name, value = at.header
    assert sent.headers[name].startswith(value.replace("{key}", secret(f"forty-{at.key}")))
    if at.provider == "bedrock":
        assert re.search(r"/eu-west-1/bedrock/aws4_request, SignedHeaders=[a-z0-9;-]+, Signature=[0-9a-f]{64}$",
                         sent.headers["authorization"])  # fmt: skip
    assert sent.json.get("model") == (None if at.sent_model is None else at.sent_model.replace("{m}", model))
    assert at.body in sent.json
    assert "Say hello" in dialect.to_json(sent.json).decode()
    record = forty.record_of(reply)
    assert (record["provider"], record["prompt_tokens"], record["completion_tokens"]) == (at.provider, 9, 3)


def test_nothing_is_left_out(forty: Gateway) -> None:
    assert "left out" not in forty.output()
