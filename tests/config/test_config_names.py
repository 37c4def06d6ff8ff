"""Providers' names, addresses and keys."""

from __future__ import annotations

import pytest

from routewright.config.section import url_fault
from routewright.providers.names import PROVIDERS, UNSPOKEN, complete_base, split_model, upstream_name


@pytest.mark.parametrize(
    ("model", "custom", "base", "expected"),
    [
        ("openai/gpt-4o", None, None, ("openai", "gpt-4o")),
        ("gpt-4o", None, None, ("openai", "gpt-4o")),
        ("o1", None, None, ("openai", "o1")),
        ("o3-mini", None, None, ("openai", "o3-mini")),
        ("ft:gpt-4o-mini:org::id", None, None, ("openai", "ft:gpt-4o-mini:org::id")),
        ("text-embedding-3-small", None, None, ("openai", "text-embedding-3-small")),
        ("claude-3-5-sonnet-20240620", None, None, ("anthropic", "claude-3-5-sonnet-20240620")),
        ("command-r-plus", None, None, ("cohere", "command-r-plus")),
        ("openai/facebook/opt-125m", None, None, ("openai", "facebook/opt-125m")),
        ("openrouter/openai/gpt-4o", None, None, ("openrouter", "openai/gpt-4o")),
        ("together_ai/meta-llama/Llama-3-8b", None, None, ("together_ai", "meta-llama/Llama-3-8b")),
        ("my-model", "openai", None, ("openai", "my-model")),
        ("openai/my-model", "openai", None, ("openai", "my-model")),
        ("openai/gpt-4o", "openrouter", None, ("openrouter", "openai/gpt-4o")),
        ("llama3-70b-8192", None, "https://api.groq.com/openai/v1", ("groq", "llama3-70b-8192")),
        ("*", None, None, ("openai", "*")),
        ("openai/*", None, None, ("openai", "*")),
        ("bedrock/anthropic.claude-v2", None, None, ("bedrock", "anthropic.claude-v2")),
        ("qwen/qwen2", None, None, (None, "qwen/qwen2")),
        ("llama", None, None, (None, "llama")),
        ("o", None, None, (None, "o")),
    ],
)
def test_a_model_is_split_into_provider_and_name_as_litellm_does(
    model: str, custom: str | None, base: str | None, expected: tuple[str | None, str]
) -> None:
    assert split_model(model, custom, base) == expected


@pytest.mark.parametrize(
    ("provider", "base", "expected"),
    [
        ("openai", "http://vllm:8000/v1/", "http://vllm:8000/v1"),
        ("openai", "http://vllm:8000", "http://vllm:8000"),
        ("openai", "http://vllm:8000/v1/chat/completions", "http://vllm:8000/v1"),
        ("ollama", "http://localhost:11434/api/chat", "http://localhost:11434"),
        ("cohere", "https://api.cohere.ai/v1/chat", "https://api.cohere.ai/v2"),
        ("ollama", "http://localhost:11434/v1", "http://localhost:11434/v1"),
        ("mistral", "https://api.mistral.ai", "https://api.mistral.ai/v1"),
        ("azure", "https://x.openai.azure.com/", "https://x.openai.azure.com"),
        ("azure_ai", "https://x.services.ai.azure.com", "https://x.services.ai.azure.com/openai/v1"),
        ("anthropic", "https://api.anthropic.com", "https://api.anthropic.com/v1"),
        ("anthropic", "https://proxy/anthropic", "https://proxy/anthropic/v1"),
        ("anthropic", "https://proxy/v1/messages", "https://proxy/v1"),
        ("azure_ai", "https://m.eastus.models.ai.azure.com/", "https://m.eastus.models.ai.azure.com/v1"),
    ],
)
def test_an_address_gets_the_path_that_its_provider_needs(provider: str, base: str, expected: str) -> None:
    assert complete_base(PROVIDERS[provider], base) == expected


def test_the_names_of_models_are_those_of_the_provider() -> None:
    assert upstream_name(PROVIDERS["azure"], "o_series/my-o1") == "my-o1"
    assert upstream_name(PROVIDERS["fireworks_ai"], "llama-v3") == "accounts/fireworks/models/llama-v3"
    assert upstream_name(PROVIDERS["fireworks_ai"], "accounts/me/models/x") == "accounts/me/models/x"
    assert upstream_name(PROVIDERS["fireworks_ai"], "*") == "*"
    assert upstream_name(PROVIDERS["openai"], "gpt-4o") == "gpt-4o"


@pytest.mark.parametrize(
    "name",
    [
        "openai",
        "azure",
        "azure_ai",
        "groq",
        "mistral",
        "deepseek",
        "together_ai",
        "together",
        "fireworks_ai",
        "openrouter",
        "xai",
        "cerebras",
        "perplexity",
        "nvidia_nim",
        "vllm",
        "hosted_vllm",
        "ollama",
        "lm_studio",
        "openai_like",
        "custom_openai",
        "litellm_proxy",
        "text-completion-openai",
        "sambanova",
        "deepinfra",
        "anyscale",
        "moonshot",
        "dashscope",
        "cohere",
        "gemini",
        "anthropic",
        "bedrock",
    ],
)
def test_a_provider_that_speaks_the_dialect_is_known(name: str) -> None:
    own = name in ("azure", "anthropic", "gemini", "bedrock", "cohere", "ollama")
    assert PROVIDERS[name].dialect == (name if own else "openai")
    assert name not in UNSPOKEN


def test_default_addresses_are_sound_and_self_hosted_servers_need_no_key() -> None:
    for provider in set(PROVIDERS.values()):
        if provider.api_base is not None:
            assert url_fault(provider.api_base) is None
            assert not provider.api_base.endswith("/")
            assert provider.api_base.startswith("https://" if provider.needs_key else "http://")
        assert provider.key_env or provider.dialect == "vertex"
        assert PROVIDERS[provider.name] is provider
