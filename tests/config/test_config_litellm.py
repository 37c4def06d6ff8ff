"""Configurations shaped like those that LiteLLM's public pages teach load, and say what they can't do here."""

from __future__ import annotations

from textwrap import dedent

import pytest

from routewright.config import load_text

ENVIRON = {
    "OPENAI_API_KEY": "sk-o",
    "AZURE_API_KEY_EU": "a",
    "AZURE_API_KEY_CA": "b",
    "ANTHROPIC_API_KEY": "c",
    "GROQ_API_KEY": "g",
    "PROXY_MASTER_KEY": "sk-1234",
    "DATABASE_URL": "postgresql://db/litellm",
    "REDIS_HOST": "redis",
    "REDIS_PASSWORD": "hush",
}
EFFECTLESS = "known to LiteLLM and without effect here: "

LOAD_BALANCING = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: https://my-endpoint-europe.openai.azure.com/
      api_key: "os.environ/AZURE_API_KEY_EU"
      api_version: "2024-08-01-preview"
      rpm: 6
    model_info: {base_model: azure/gpt-4o}
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-ca
      api_base: https://my-endpoint-canada.openai.azure.com/
      api_key: "os.environ/AZURE_API_KEY_CA"
      rpm: 6
    model_info: {base_model: azure/gpt-4o}
  - model_name: anthropic-claude
    litellm_params:
      model: bedrock/anthropic.claude-instant-v1
      aws_region_name: us-east-1
  - model_name: vllm-models
    litellm_params:
      model: openai/facebook/opt-125m
      api_base: http://0.0.0.0:4000/v1
      api_key: none
      rpm: 1440
    model_info:
      version: 2
litellm_settings:
  drop_params: True
  success_callback: ["langfuse"]
general_settings:
  master_key: os.environ/PROXY_MASTER_KEY
  alerting: ["slack"]
"""

ALL_MODELS_OF_PROVIDERS = """
model_list:
  - model_name: "*"
    litellm_params:
      model: "*"
  - model_name: "anthropic/*"
    litellm_params:
      model: "anthropic/*"
      api_key: os.environ/ANTHROPIC_API_KEY
  - model_name: "groq/*"
    litellm_params:
      model: "groq/*"
      api_key: os.environ/GROQ_API_KEY
general_settings: {master_key: sk-1234}
"""

RELIABILITY = """
model_list:
  - model_name: zephyr-beta
    litellm_params: {model: huggingface/HuggingFaceH4/zephyr-7b-beta, api_base: http://0.0.0.0:8001/v1}
  - model_name: zephyr-beta
    litellm_params: {model: huggingface/HuggingFaceH4/zephyr-7b-beta, api_base: http://0.0.0.0:8002/v1}
  - model_name: gpt-3.5-turbo
    litellm_params: {model: gpt-3.5-turbo, api_key: os.environ/OPENAI_API_KEY}
  - model_name: gpt-3.5-turbo-16k
    litellm_params: {model: gpt-3.5-turbo-16k, api_key: os.environ/OPENAI_API_KEY}
litellm_settings:
  num_retries: 3
  request_timeout: 10
  fallbacks: [{"zephyr-beta": ["gpt-3.5-turbo"]}]
  context_window_fallbacks: [{"zephyr-beta": ["gpt-3.5-turbo-16k"]}, {"gpt-3.5-turbo": ["gpt-3.5-turbo-16k"]}]
  content_policy_fallbacks: [{"gpt-3.5-turbo": ["claude-opus"]}]
  default_fallbacks: ["gpt-3.5-turbo"]
  allowed_fails: 3
router_settings:
  enable_pre_call_checks: true
  retry_policy: {AuthenticationErrorRetries: 3, TimeoutErrorRetries: 3}
  model_group_alias: {"gpt-4": "gpt-3.5-turbo"}
  routing_strategy: simple-shuffle
  redis_host: os.environ/REDIS_HOST
  redis_password: os.environ/REDIS_PASSWORD
  redis_port: 1992
general_settings: {master_key: sk-1234}
"""

WITH_DATABASE_AND_CACHE = """
environment_variables:
  STORE_MODEL_IN_DB: "True"
model_list:
  - model_name: fake-openai-endpoint
    litellm_params: &fake
      model: openai/fake
      api_key: fake-key
      api_base: https://exampleopenaiendpoint-production.up.railway.app/
      input_cost_per_token: 0
      output_cost_per_token: 0
  - model_name: slow
    litellm_params:
      <<: *fake
      timeout: 300
      stream_timeout: 60
      max_retries: 1
  - model_name: text-embedding-ada-002
    litellm_params: {model: openai/text-embedding-ada-002, api_key: os.environ/OPENAI_API_KEY}
    model_info: {mode: embedding}
litellm_settings:
  cache: true
  cache_params: {type: redis, host: os.environ/REDIS_HOST, port: 6379, password: os.environ/REDIS_PASSWORD, ttl: 600}
  callbacks: ["prometheus", "otel"]
  set_verbose: False
  json_logs: true
  max_internal_user_budget: 10
  default_team_settings:
    - {team_id: team-1, success_callback: ["langfuse"]}
general_settings:
  master_key: os.environ/PROXY_MASTER_KEY
  database_url: os.environ/DATABASE_URL
  database_connection_pool_limit: 10
  proxy_batch_write_at: 60
  disable_spend_logs: false
  pass_through_endpoints:
    - {path: /v1/rerank, target: "https://api.cohere.com/v1/rerank", headers: {Authorization: bearer x}}
"""

LOCAL_SERVERS = """
model_list:
  - model_name: llama3
    litellm_params: {model: ollama_chat/llama3.1, api_base: "http://localhost:11434", keep_alive: 8m}
  - model_name: qwen
    litellm_params:
      model: hosted_vllm/Qwen/Qwen3-8B
      api_base: http://vllm:8000/v1
      extra_body: {chat_template_kwargs: {enable_thinking: false}}
  - model_name: studio
    litellm_params: {model: lm_studio/phi-4}
  - model_name: upstream-proxy
    litellm_params: {model: litellm_proxy/gpt-4o, api_base: "http://other:4000", api_key: sk-other}
"""

CREDENTIALS_AND_TAGS = """
credential_list:
  - credential_name: default_azure_credential
    credential_values:
      api_key: os.environ/AZURE_API_KEY_EU
      api_base: https://eu.openai.azure.com
      api_version: "2024-12-01-preview"
    credential_info: {description: Production}
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o
      litellm_credential_name: default_azure_credential
      tags: ["paid"]
      weight: 9
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/MISSING_KEY, tags: ["free"], weight: 1, order: 2}
  - model_name: o1-pro
    litellm_params: {model: openai/o1-pro, api_key: os.environ/OPENAI_API_KEY}
    model_info: {mode: responses, access_groups: ["beta"]}
router_settings: {enable_tag_filtering: True, routing_strategy: usage-based-routing-v2}
general_settings: {master_key: sk-1234}
"""

LEARNED_ROUTER = """
model_list:
  - {model_name: gpt-4o, litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}}
  - {model_name: gpt-4o-mini, litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}}
  - model_name: claude
    litellm_params:
      {model: anthropic/claude-3-5-sonnet-20241022, api_key: os.environ/ANTHROPIC_API_KEY, max_tokens: 4096}
router_settings:
  routing_strategy: llmrouter-knn
  routing_strategy_args:
    model_path: /app/models/knn_router.pt
    llm_data_path: /app/config/llm_candidates.json
    hot_reload: true
    reload_interval: 300
general_settings: {master_key: os.environ/PROXY_MASTER_KEY}
"""

GUARDRAILS_AND_TOOLS = """
model_list:
  - {model_name: gpt-4o, litellm_params: {model: gpt-4o, api_key: os.environ/OPENAI_API_KEY}}
guardrails:
  - guardrail_name: aporia-pre-guard
    litellm_params: {guardrail: aporia, mode: during_call, api_key: os.environ/APORIA_API_KEY_1}
mcp_servers:
  deepwiki: {url: "https://mcp.deepwiki.com/mcp"}
callback_settings:
  otel: {message_logging: False}
vector_store_registry: []
litellm_settings:
  ssl_verify: true
  upperbound_key_generate_params: {max_budget: 100, duration: 30d}
general_settings:
  master_key: os.environ/PROXY_MASTER_KEY
  litellm_key_header_name: X-Litellm-Key
  enable_jwt_auth: True
  litellm_jwtauth: {user_id_jwt_field: sub}
  max_request_size_mb: 32
"""


@pytest.mark.parametrize(
    ("text", "deployments", "warnings"),
    [
        pytest.param(
            LOAD_BALANCING,
            ["azure/gpt-4o-eu", "azure/gpt-4o-ca", "bedrock/anthropic.claude-instant-v1", "openai/facebook/opt-125m"],
            [
                "no price is known for anthropic-claude, vllm-models: their requests count as free; "
                "set input_cost_per_token and output_cost_per_token",
                "callback langfuse needs the variables LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY; left out",
                EFFECTLESS + "general_settings.alerting",
            ],
            id="load balancing",
        ),
        pytest.param(
            ALL_MODELS_OF_PROVIDERS,
            ["openai/*", "anthropic/*", "groq/*"],
            [
                "no price is known for *, anthropic/*, groq/*: their requests count as free; "
                "set input_cost_per_token and output_cost_per_token",
            ],
            id="all models of providers",
        ),
        pytest.param(
            RELIABILITY,
            ["huggingface/HuggingFaceH4/zephyr-7b-beta"] * 2 + ["openai/gpt-3.5-turbo", "openai/gpt-3.5-turbo-16k"],
            [
                "no price is known for zephyr-beta: their requests count as free; "
                "set input_cost_per_token and output_cost_per_token",
                'config.yaml:15: litellm_settings.content_policy_fallbacks: no model named "claude-opus"; '
                "it is passed over",
            ],
            id="reliability",
        ),
        pytest.param(
            WITH_DATABASE_AND_CACHE,
            ["openai/fake", "openai/fake", "openai/text-embedding-ada-002"],
            [
                EFFECTLESS + "general_settings.database_connection_pool_limit, "
                "general_settings.proxy_batch_write_at, "
                "litellm_settings.max_internal_user_budget, "
                "litellm_settings.default_team_settings",
            ],
            id="database and cache",
        ),
        pytest.param(
            LOCAL_SERVERS,
            ["ollama/llama3.1", "hosted_vllm/Qwen/Qwen3-8B", "lm_studio/phi-4", "litellm_proxy/gpt-4o"],
            [
                "no price is known for llama3, qwen, studio, upstream-proxy: their requests count as free; "
                "set input_cost_per_token and output_cost_per_token",
                "neither general_settings.master_key nor keys are set: no caller can be told from another",
            ],
            id="local servers",
        ),
        pytest.param(
            CREDENTIALS_AND_TAGS,
            ["azure/gpt-4o", "openai/o1-pro"],
            [
                'config.yaml:16: litellm_params.api_key: model "gpt-4o" (openai/gpt-4o) is left out: '
                "the variable MISSING_KEY is not set",
            ],
            id="credentials and tags",
        ),
        pytest.param(
            LEARNED_ROUTER,
            ["openai/gpt-4o", "openai/gpt-4o-mini", "anthropic/claude-3-5-sonnet-20241022"],
            [
                "config.yaml:10: router_settings.routing_strategy_args.model_path: files of this kind can run code "
                "and are never opened; fit or import a router",
                EFFECTLESS + "router_settings.routing_strategy_args.llm_data_path",
            ],
            id="learned router",
        ),
        pytest.param(
            GUARDRAILS_AND_TOOLS,
            ["openai/gpt-4o"],
            [
                'config.yaml:5: guardrails[0].litellm_params.guardrail: "aporia" is not run here: requests that ask '
                "for it are refused",
                EFFECTLESS + "callback_settings.otel, general_settings.enable_jwt_auth, "
                "general_settings.litellm_jwtauth, "
                "litellm_settings.upperbound_key_generate_params, mcp_servers",
            ],
            id="guardrails and tools",
        ),
    ],
)
def test_a_configuration_of_litellm_loads_with_these_warnings(
    text: str, deployments: list[str], warnings: list[str]
) -> None:
    settings = load_text(dedent(text).strip(), environ=ENVIRON)
    assert [f"{found.provider}/{found.upstream_model}" for found in settings.deployments] == deployments
    assert list(settings.warnings) == warnings
