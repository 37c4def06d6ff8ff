"""The providers' names as LiteLLM writes them: dialect, address, and the variables that hold their keys.

Source: LiteLLM's provider pages and its `get_llm_provider`, release 1.81.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Provider:
    """How to reach one provider."""

    name: str
    """What deployments are called by: LiteLLM's usual name, never a second one for it."""
    api_base: str | None
    """Default address with path, without a slash at its end; None: the configuration has to say it."""
    key_env: tuple[str, ...] = ()
    """Variables that may hold the key; the first that is set counts."""
    base_env: tuple[str, ...] = ()
    """Variables that may hold the address."""
    dialect: str = "openai"
    """`openai`, `azure`, `anthropic`, `gemini`, `vertex`, `bedrock`, `cohere` or `ollama`."""
    needs_key: bool = True
    """False: self-hosted servers, which mostly ask for none."""
    bare_path: str = ""
    """Appended to a configured address that has no path, where LiteLLM does so."""
    model_prefix: str = ""
    """Put before model names that lack it."""
    prices_as: str | None = None
    """The provider's name in genai-prices."""
    mode: str | None = None
    """`completion` or `embedding`, where the provider has nothing else."""


def _hosted(name: str, api_base: str, *key_env: str, prices_as: str | None = None, **more: str) -> Provider:
    env = key_env or (f"{name.upper()}_API_KEY",)
    base_env = (f"{name.upper()}_API_BASE",)
    return Provider(name, api_base, env, base_env, prices_as=prices_as, **more)  # type: ignore[arg-type]


def _self_hosted(name: str, api_base: str | None, *key_env: str, env: str | None = None, path: str = "") -> Provider:
    stem = env or name.upper()
    keys = key_env or (f"{stem}_API_KEY",)
    return Provider(name, api_base, keys, (f"{stem}_API_BASE",), needs_key=False, bare_path=path)


_PROVIDERS = (
    Provider(
        "openai",
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        prices_as="openai",
    ),
    Provider(
        "text-completion-openai",
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        prices_as="openai",
        mode="completion",
    ),
    Provider(
        "azure",
        None,
        ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
        ("AZURE_API_BASE",),
        dialect="azure",
        prices_as="azure",
    ),
    Provider("azure_ai", None, ("AZURE_AI_API_KEY",), ("AZURE_AI_API_BASE",), prices_as="azure"),
    _hosted("anthropic", "https://api.anthropic.com/v1", prices_as="anthropic", bare_path="/v1", dialect="anthropic"),
    Provider(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ("GEMINI_API_BASE",),
        dialect="gemini",
        bare_path="/v1beta",
        prices_as="google",
    ),
    Provider(
        "vertex_ai",
        None,
        (),
        ("VERTEXAI_API_BASE", "VERTEX_API_BASE"),
        dialect="vertex",
        needs_key=False,
        prices_as="google",
    ),
    Provider(
        "bedrock",
        None,
        ("AWS_BEARER_TOKEN_BEDROCK",),
        ("AWS_BEDROCK_RUNTIME_ENDPOINT",),
        dialect="bedrock",
        prices_as="aws",
    ),
    Provider(
        "cohere",
        "https://api.cohere.com/v2",
        ("COHERE_API_KEY", "CO_API_KEY"),
        ("COHERE_API_BASE",),
        dialect="cohere",
        bare_path="/v2",
        prices_as="cohere",
    ),
    _hosted("groq", "https://api.groq.com/openai/v1", prices_as="groq"),
    _hosted("mistral", "https://api.mistral.ai/v1", prices_as="mistral", bare_path="/v1"),
    _hosted("codestral", "https://codestral.mistral.ai/v1", prices_as="mistral"),
    _hosted("deepseek", "https://api.deepseek.com/v1", prices_as="deepseek"),
    _hosted(
        "together_ai",
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
        "TOGETHER_AI_API_KEY",
        "TOGETHERAI_API_KEY",
        "TOGETHER_AI_TOKEN",
        prices_as="together",
    ),
    _hosted(
        "fireworks_ai",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        "FIREWORKS_AI_API_KEY",
        "FIREWORKSAI_API_KEY",
        "FIREWORKS_AI_TOKEN",
        prices_as="fireworks",
        model_prefix="accounts/fireworks/models/",
    ),
    _hosted("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OR_API_KEY", prices_as="openrouter"),
    _hosted("xai", "https://api.x.ai/v1", prices_as="x-ai"),
    _hosted("cerebras", "https://api.cerebras.ai/v1", prices_as="cerebras"),
    _hosted(
        "perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY", prices_as="perplexity"
    ),
    _hosted("nvidia_nim", "https://integrate.api.nvidia.com/v1"),
    _hosted("sambanova", "https://api.sambanova.ai/v1", prices_as="huggingface_sambanova"),
    _hosted("deepinfra", "https://api.deepinfra.com/v1/openai"),
    _hosted("anyscale", "https://api.endpoints.anyscale.com/v1"),
    _hosted("moonshot", "https://api.moonshot.ai/v1", prices_as="moonshotai"),
    _hosted("dashscope", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
    _hosted("volcengine", "https://ark.cn-beijing.volces.com/api/v3", "VOLCENGINE_API_KEY", "ARK_API_KEY"),
    _hosted("zai", "https://api.z.ai/api/paas/v4", prices_as="zai"),
    _hosted("minimax", "https://api.minimax.io/v1", prices_as="minimax"),
    _hosted("meta_llama", "https://api.llama.com/compat/v1", "LLAMA_API_KEY", prices_as="meta"),
    _hosted("friendliai", "https://api.friendli.ai/serverless/v1", "FRIENDLIAI_API_KEY", "FRIENDLI_TOKEN"),
    _hosted("galadriel", "https://api.galadriel.com/v1"),
    _hosted("nscale", "https://inference.api.nscale.com/v1", prices_as="huggingface_nscale"),
    _hosted("novita", "https://api.novita.ai/v3/openai", prices_as="novita"),
    _hosted("hyperbolic", "https://api.hyperbolic.xyz/v1", prices_as="huggingface_hyperbolic"),
    _hosted("featherless_ai", "https://api.featherless.ai/v1"),
    _hosted("nebius", "https://api.studio.nebius.ai/v1", prices_as="huggingface_nebius"),
    _hosted("lambda_ai", "https://api.lambda.ai/v1", "LAMBDA_API_KEY"),
    _hosted("github", "https://models.inference.ai.azure.com"),
    _hosted("empower", "https://app.empower.dev/api/v1"),
    _hosted("ai21_chat", "https://api.ai21.com/studio/v1", "AI21_API_KEY"),
    _hosted("baseten", "https://inference.baseten.co/v1", prices_as="baseten"),
    _hosted("v0", "https://api.v0.dev/v1"),
    _hosted("vercel_ai_gateway", "https://ai-gateway.vercel.sh/v1", "VERCEL_AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"),
    _hosted("ovhcloud", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", prices_as="ovhcloud"),
    _hosted("wandb", "https://api.inference.wandb.ai/v1"),
    _hosted("cometapi", "https://api.cometapi.com/v1", "COMETAPI_KEY", "COMETAPI_API_KEY"),
    _hosted("aiml", "https://api.aimlapi.com/v1"),
    _hosted("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN", "HUGGINGFACE_API_KEY"),
    _hosted("jina_ai", "https://api.jina.ai/v1", mode="embedding"),
    _hosted("voyage", "https://api.voyageai.com/v1", prices_as="voyageai", mode="embedding"),
    Provider(
        "databricks",
        None,
        ("DATABRICKS_API_KEY", "DATABRICKS_TOKEN"),
        ("DATABRICKS_API_BASE",),
        bare_path="/serving-endpoints",
        prices_as="databricks",
    ),
    _self_hosted("hosted_vllm", None),
    Provider(
        "ollama", "http://localhost:11434", ("OLLAMA_API_KEY",), ("OLLAMA_API_BASE",), dialect="ollama", needs_key=False
    ),
    _self_hosted("lm_studio", "http://localhost:1234/v1", path="/v1"),
    _self_hosted("llamafile", "http://127.0.0.1:8080/v1", path="/v1"),
    _self_hosted("xinference", "http://127.0.0.1:9997/v1", path="/v1"),
    _self_hosted("docker_model_runner", "http://localhost:12434/engines/llama.cpp/v1"),
    _self_hosted("openai_like", None),
    _self_hosted("litellm_proxy", None),
)

_SECOND_NAMES = {
    "azure_text": "azure",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "google": "gemini",
    "vertex_ai_beta": "vertex_ai",
    "vllm": "hosted_vllm",
    "ollama_chat": "ollama",
    "custom_openai": "openai_like",
    "aiohttp_openai": "openai",
    "ai21": "ai21_chat",
    "lemonade": "openai_like",
}

PROVIDERS: Mapping[str, Provider] = {
    **{provider.name: provider for provider in _PROVIDERS},
    **{
        second: provider for second, first in _SECOND_NAMES.items() for provider in _PROVIDERS if provider.name == first
    },
}
"""By every name that a configuration may use."""

_LONG_TAIL = """
    a2a abliteration aiand aleph_alpha amazon_nova anthropic_text apertis assemblyai auto_router aws_polly
    bedrock_mantle bespoke bigmodel black_forest_labs bytez charity_engine chatgpt chutes clarifai clf_ai_gateway
    cloudflare cognition compactifai coralbricks cortecs cursor custom darkbloom databricks_agent dataforseo
    datarobot deepgram edenai elevenlabs empiriolabs eu_jev fal_ai gdc gigachat github_copilot gradient_ai helicone
    heroku hostinger_router inception inferenceapis infinity kyma langflow langgraph laya libertai manus maritalk
    meta microsoft_365_copilot modelscope morph nace nadir nano-gpt neosantara nlp_cloud oci oobabooga opencode_go
    openinfer palm parallel_ai parasail petals pinstripes poe predibase publicai qwen_ai_platform qwencloud ragflow
    recraft refuseless reka replicate runwayml sagemaker sagemaker_chat sagemaker_nova sail sap scaledown scaleway
    scx-ai snowflake stability strands_decider streamlake synthetic tencent tensormesh text-completion-codestral
    text-completion-inception topaz triton typesafe wally watsonx watsonx_text xiaomi_mimo zerogpu
"""
UNSPOKEN: frozenset[str] = frozenset(_LONG_TAIL.split())
"""Providers that LiteLLM knows and whose dialect nobody here speaks: they are reached through its SDK."""

_BARE_NAMES = (
    (re.compile(r"(?:ft:)?(?:gpt-|chatgpt-|codex-|computer-use-)|o[1-9](?:-|$)|text-embedding-|omni-moderation"),
     "openai"),
    (re.compile(r"(?:davinci-002|babbage-002|ft:davinci-002|ft:babbage-002)$"), "text-completion-openai"),
    (re.compile(r"dall-e-|whisper-|tts-"), "openai"),
    (re.compile(r"claude-(?:2|instant)"), "anthropic_text"),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"(?:command|c4ai)(?:-|$)|embed-(?:english|multilingual|v4)"), "cohere"),
    (re.compile(r"gemini-|text-bison|chat-bison|textembedding-gecko"), "vertex_ai"),
    (re.compile(r"(?:anthropic|amazon|meta|cohere|ai21|mistral)\.[a-z]"), "bedrock"),
)  # fmt: skip

_KNOWN_HOSTS: Mapping[str, str] = {
    host: provider.name
    for provider in _PROVIDERS
    if provider.api_base and provider.needs_key and provider.mode is None
    for host in (urlsplit(provider.api_base).netloc,)
}

_SERIES = re.compile(r"(?:o_series|gpt5_series|chat)/")
"""Steering words that LiteLLM takes between provider and name."""


def split_model(
    model: str, custom_llm_provider: str | None = None, api_base: str | None = None
) -> tuple[str | None, str]:
    """`litellm_params.model` -> (provider as written, upstream model); provider None where no rule of LiteLLM's fits.

    `provider/name` counts if the part before the slash is a provider's name; then `custom_llm_provider`; then the
    host of `api_base`; then what bare names mean (`gpt-*` is OpenAI's, `claude-*` Anthropic's, `*` OpenAI's).
    """
    head, slash, rest = model.partition("/")
    if custom_llm_provider:
        return custom_llm_provider, (rest if slash and head == custom_llm_provider else model)
    if slash and (head in PROVIDERS or head in UNSPOKEN):
        return head, rest
    if api_base and (found := _KNOWN_HOSTS.get(urlsplit(api_base).netloc)):
        return found, model
    if model == "*":
        return "openai", model
    for pattern, provider in _BARE_NAMES:
        if pattern.match(model):
            return provider, model
    return None, model


_BEDROCK_STEERING = re.compile(r"(?:converse|converse_like|invoke)/")
AWS_REGION = re.compile(r"(?:[a-z]{2}(?:-[a-z]+)+-\d)\Z")


def bedrock_region(model: str) -> str | None:
    """The region that a model's name holds: `us-east-1/anthropic.claude-...`, or an ARN's."""
    if model.startswith("arn:"):
        parts = model.split(":")
        return parts[3] if len(parts) > 3 and AWS_REGION.match(parts[3]) else None
    head, slash, _ = _BEDROCK_STEERING.sub("", model, count=1).partition("/")
    return head if slash and AWS_REGION.match(head) else None


def upstream_name(provider: Provider, model: str) -> str:
    """The name that the provider itself wants."""
    if provider.dialect == "bedrock":
        model = _BEDROCK_STEERING.sub("", model, count=1)
        head, slash, rest = model.partition("/")
        return rest if slash and AWS_REGION.match(head) else model
    if provider.dialect == "azure":
        model = _SERIES.sub("", model, count=1) if _SERIES.match(model) else model
    if provider.model_prefix and model != "*" and not model.startswith(("accounts/", provider.model_prefix)):
        return model if "#" in model else provider.model_prefix + model
    return model


def complete_base(provider: Provider, api_base: str) -> str:
    """A configured address as requests need it: no slash at its end, and the path that LiteLLM would add."""
    base = api_base.rstrip("/")
    parts = urlsplit(base)
    if provider.dialect == "anthropic" and parts.path:
        base = base.removesuffix("/messages")
        return base if base.endswith("/v1") else base + "/v1"
    if provider.dialect in ("cohere", "ollama"):  # LiteLLM's addresses may name the endpoint, or an older version
        for ending in ("/chat", "/embed", "/api"):
            base = base.removesuffix(ending)
        if provider.dialect == "cohere" and base.endswith("/v1") and not base.endswith("/compatibility/v1"):
            base = f"{base[:-3]}/v2"
        parts = urlsplit(base)
    for ending in ("/chat/completions", "/completions", "/embeddings", "/rerank", "/responses"):
        if provider.dialect != "azure" and parts.path.endswith(ending):
            return base[: -len(ending)]
    if parts.path:
        return base
    if provider.name == "azure_ai":
        is_resource = (parts.hostname or "").endswith((".services.ai.azure.com", ".openai.azure.com"))
        return base + ("/openai/v1" if is_resource else "/v1")
    return base + provider.bare_path


def rerank_path(provider: str, api_base: str) -> str:
    """Where a provider ranks: beside its other endpoints, but for Cohere, whose other address is a translator's."""
    path = urlsplit(api_base).path.rstrip("/")
    if provider != "cohere":
        return path + "/rerank"
    for ending in ("/compatibility/v1", "/v1", "/v2"):
        if path.endswith(ending):
            path = path.removesuffix(ending)
            break
    return path + "/v2/rerank"
