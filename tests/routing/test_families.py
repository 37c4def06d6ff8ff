"""Names of models as they stand in people's configurations, and the family each must be told to be of."""

from __future__ import annotations

import pytest
from made_up import make_artefact, make_candidate

from routewright.routing.profiles import FAMILIES, find_family, place

SPELLINGS = {
    "gpt-4o": "openai/gpt-4o-2024-08-06 azure/my-gpt-4o-deployment openai/chatgpt-4o-latest",
    "gpt-4o mini": "azure/gpt-4o-mini",
    "gpt-3.5": "azure/eastus/gpt-35-turbo-16k openai/gpt-3.5-turbo-0125",
    "llama 3.1 405b": (
        "azure_ai/Meta-Llama-3.1-405B-Instruct openrouter/nousresearch/hermes-3-llama-3.1-405b "
        "vertex_ai/meta/llama-3.1-405b-instruct-maas "
        "fireworks_ai/accounts/fireworks/models/llama-v3p1-405b-instruct"
    ),
    "mistral large": (
        "azure_ai/Mistral-Large-2411 bedrock/mistral.mistral-large-2402-v1:0 vertex_ai/mistral-large@2407 "
        "mistral/mistral-large-latest"
    ),
    "phi 4": "azure_ai/Phi-4 openrouter/microsoft/phi-4 ollama/phi4",
    "deepseek r1": (
        "azure_ai/deepseek-r1 openrouter/deepseek/deepseek-r1 bedrock/us.deepseek.r1-v1:0 "
        "deepseek/deepseek-reasoner deepseek/deepseek-r1-0528 openrouter/deepseek/deepseek-r1:free "
        "ollama/deepseek-r1:671b"
    ),
    "gpt-4.1 mini": "openrouter/openai/gpt-4.1-mini",
    "claude 3.5 sonnet": (
        "openrouter/anthropic/claude-3.5-sonnet:beta bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0 "
        "anthropic/claude-3-5-sonnet-latest"
    ),
    "claude sonnet 4": (
        "openrouter/anthropic/claude-sonnet-4.5 bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0 "
        "vertex_ai/claude-sonnet-4@20250514 databricks/databricks-claude-sonnet-4"
    ),
    "claude opus 4": (
        "openrouter/anthropic/claude-opus-4.1 bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0 "
        "anthropic/claude-opus-4-5-20251101"
    ),
    "gemini 2.5 pro": "openrouter/google/gemini-2.5-pro-preview gemini/gemini-pro-latest",
    "gemini 2.0 flash": "openrouter/google/gemini-2.0-flash-001",
    "gemma 3 27b": "openrouter/google/gemma-3-27b-it:free",
    "llama 3.3 70b": (
        "openrouter/meta-llama/llama-3.3-70b-instruct bedrock/us.meta.llama3-3-70b-instruct-v1:0 "
        "groq/llama-3.3-70b-versatile fireworks_ai/accounts/fireworks/models/llama-v3p3-70b-instruct "
        "databricks/databricks-meta-llama-3-3-70b-instruct cerebras/llama-3.3-70b"
    ),
    "llama 4 maverick": "openrouter/meta-llama/llama-4-maverick:free",
    "deepseek v3": (
        "openrouter/deepseek/deepseek-chat-v3-0324 together_ai/deepseek-ai/DeepSeek-V3 "
        "fireworks_ai/accounts/fireworks/models/deepseek-v3p1 deepseek/deepseek-chat "
        "bedrock/deepseek.v3-v1:0"
    ),
    "deepseek r1 distill": "openrouter/deepseek/deepseek-r1-distill-llama-70b ollama/deepseek-r1:14b",
    "qwen 3 235b": "openrouter/qwen/qwen3-235b-a22b",
    "qwen 2.5 72b": (
        "openrouter/qwen/qwen-2.5-72b-instruct fireworks_ai/accounts/fireworks/models/qwen2p5-72b-instruct"
    ),
    "qwen 3 coder": "openrouter/qwen/qwen3-coder",
    "grok 4 fast": "openrouter/x-ai/grok-4-fast openrouter/x-ai/grok-code-fast-1",
    "kimi k2": "openrouter/moonshotai/kimi-k2 groq/moonshotai/kimi-k2-instruct-0905",
    "glm air, flash": "openrouter/z-ai/glm-4.5-air",
    "mistral small 3": "openrouter/mistralai/mistral-small-3.2-24b-instruct",
    "codestral, devstral": "openrouter/mistralai/devstral-medium vertex_ai/codestral-2501",
    "gpt-oss 120b": "openrouter/openai/gpt-oss-120b",
    "o3 mini, o4 mini": "openrouter/openai/o4-mini-high openai/o3-mini",
    "claude 3.7 sonnet": "bedrock/us.anthropic.claude-3-7-sonnet-20250219-v1:0",
    "claude 3 haiku": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
    "claude haiku 4": "bedrock/global.anthropic.claude-haiku-4-5-20251001-v1:0",
    "nova pro": "bedrock/converse/us.amazon.nova-pro-v1:0",
    "nova micro": "bedrock/amazon.nova-micro-v1:0",
    "llama 3.1 70b": (
        "bedrock/meta.llama3-1-70b-instruct-v1:0 sambanova/Meta-Llama-3.1-70B-Instruct snowflake/llama3.1-70b"
    ),
    "llama 4 scout": "bedrock/us.meta.llama4-scout-17b-instruct-v1:0",
    "llama 3 70b": "bedrock/meta.llama3-70b-instruct-v1:0",
    "mixtral 8x7b": "bedrock/mistral.mixtral-8x7b-instruct-v0:1",
    "command r+": "bedrock/cohere.command-r-plus-v1:0",
    "jamba large": "bedrock/ai21.jamba-1-5-large-v1:0",
    "qwen 3 30b, 32b": "bedrock/qwen.qwen3-32b-v1:0 groq/qwen/qwen3-32b",
    "gpt-oss 20b": "bedrock/openai.gpt-oss-20b-1:0",
    "gemini 1.5 pro": "vertex_ai/gemini-1.5-pro-002",
    "gemini 2.5 flash-lite": "vertex_ai/gemini-2.5-flash-lite-preview-06-17",
    "gemini 3 pro": "vertex_ai/gemini-3-pro-preview",
    "claude 3.5 haiku": "vertex_ai/claude-3-5-haiku@20241022",
    "gemini 2.0 flash-lite": "gemini/gemini-2.0-flash-lite",
    "gemini 2.5 flash": "gemini/gemini-flash-latest",
    "llama 3.1 8b": (
        "groq/llama-3.1-8b-instant together_ai/meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo "
        "ollama/llama3.1:8b ollama/llama3.1:latest bedrock/us.meta.llama3-2-11b-instruct-v1:0"
    ),
    "qwen coder": "together_ai/Qwen/Qwen2.5-Coder-32B-Instruct",
    "mixtral 8x22b": "fireworks_ai/accounts/fireworks/models/mixtral-8x22b-instruct",
    "llama 3.2 3b": "ollama/llama3.2:3b",
    "qwen 2.5 14b": "ollama/qwen2.5:14b",
    "mistral 7b": "ollama/mistral:7b",
    "gemma 2 9b": "ollama/gemma2:9b",
    "mistral medium 3": "mistral/mistral-medium-latest",
    "ministral": "mistral/ministral-8b-latest",
    "magistral": "mistral/magistral-small-2507",
    "grok 3 mini": "xai/grok-3-mini",
    "grok 4": "xai/grok-4",
    "command a": "cohere/command-a-03-2025",
    "command r7b": "cohere_chat/command-r7b-12-2024",
    "sonar pro": "perplexity/sonar-pro",
    "claude 3 opus": "anthropic/claude-3-opus-20240229",
    "gpt-5": "openai/gpt-5",
    "gpt-5 nano": "openai/gpt-5-nano",
    "gpt-5 codex": "openai/gpt-5.1-codex",
    "o1, o3": "openai/o1",
    "granite": "watsonx/ibm/granite-3-8b-instruct",
    "nemotron": "nvidia_nim/nvidia/llama-3.1-nemotron-70b-instruct",
    "llama 3 8b": "replicate/meta/meta-llama-3-8b-instruct",
    "mistral nemo, pixtral 12b": "hosted_vllm/mistralai/Mistral-Nemo-Instruct-2407",
    "phi 3 mini": "github/Phi-3.5-mini-instruct",
    "minimax": "minimax/MiniMax-M2",
    "qwen plus": "dashscope/qwen-plus",
    "qwen 3 max": "dashscope/qwen3-max",
    "glm": "novita/zai-org/glm-4.6",
    "claude 2 and older": "bedrock/anthropic.claude-v2:1",
    "gpt-4 turbo": "openai/gpt-4-1106-preview",
}
NAMES = [(name, family) for family, names in SPELLINGS.items() for name in names.split()]


@pytest.mark.parametrize(("name", "family"), NAMES)
def test_a_providers_spelling_is_told_to_be_of_its_family(name, family):
    found = find_family(name)
    assert found is not None
    assert found.name == family


def test_the_table_is_of_many_families_and_the_test_of_most_hosts():
    assert len(FAMILIES) >= 100
    assert len(SPELLINGS) >= 60
    assert {name.split("/")[0] for name, _ in NAMES} >= {"bedrock", "vertex_ai", "azure", "azure_ai", "openrouter"}


def test_every_spelling_is_placed_by_the_packaged_router_with_a_level(default_artefact):
    placements = place([make_candidate(name) for name, _ in NAMES], default_artefact)
    assert all(placement.level is not None and 0.1 < placement.level < 1 for placement in placements)
    by_name = {name: placement for (name, _), placement in zip(NAMES, placements, strict=True)}
    best, worst = by_name["anthropic/claude-opus-4-5-20251101"], by_name["ollama/llama3.2:3b"]
    assert (best.profile, worst.profile) == ("frontier", "tiny")


def test_a_users_own_measured_model_counts_before_its_family_and_a_stated_quality_before_both():
    artefact = make_artefact("linear")  # rates "grand" and "petit", fitted on scores of its own
    measured, stated, family = place(
        [
            make_candidate("fast", upstream_model="vertex_ai/petit"),
            make_candidate("fast", upstream_model="vertex_ai/petit", quality=0.8),
            make_candidate("fast", upstream_model="gpt-4o-mini"),
        ],
        artefact,
    )
    assert (measured.label, measured.how, measured.is_measured) == (
        "petit",
        "measured under its own upstream name",
        True,
    )
    assert stated.how.startswith("by its stated quality 0.8")
    assert stated.level == 0.8
    assert family.how.startswith('by its family "gpt-4o mini"')
