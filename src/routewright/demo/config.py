"""The demo's configuration: five priced models behind one stand-in upstream, and a route over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MASTER_KEY = "sk-demo-master"
KEY = "sk-demo"

# Public list prices in US dollars per million tokens: input, output.
PRICES = {
    "gpt-4o": (2.5, 10.0),
    "gpt-4o-mini": (0.15, 0.6),
    "claude-3-5-sonnet": (3.0, 15.0),
    "claude-3-5-haiku": (0.8, 4.0),
    "llama-3.1-8b-instruct": (0.05, 0.08),
}
EMBEDDING_MODEL = "text-embedding-3-small"


def demo_config(upstream: str) -> str:
    """A `config.yaml` whose models all live at `upstream`, an address without a slash at its end."""
    entries = [
        _entry(name, upstream, input_usd, output_usd, "chat") for name, (input_usd, output_usd) in PRICES.items()
    ]
    entries.append(_entry(EMBEDDING_MODEL, upstream, 0.02, 0.0, "embedding"))
    models = "\n".join(entries)
    return f"""model_list:
{models}
general_settings:
  master_key: {MASTER_KEY}
keys:
  - key: {KEY}
    alias: demo
    rpm_limit: 6000
routes:
  auto:
    candidates: [{", ".join(PRICES)}]
    quality: 0.8
    default_model: gpt-4o
"""


def _entry(name: str, upstream: str, input_usd: float, output_usd: float, mode: str) -> str:
    return f"""  - model_name: {name}
    litellm_params:
      model: openai/{name}
      api_base: {upstream}/v1
      api_key: sk-stand-in
      input_cost_per_token: {input_usd / 1e6:.12f}
      output_cost_per_token: {output_usd / 1e6:.12f}
    model_info:
      id: {name}
      mode: {mode}"""


# What each provider's key makes possible; prices come from the price table.
REAL_MODELS = {
    "OPENAI_API_KEY": ("openai/gpt-4o", "openai/gpt-4o-mini"),
    "ANTHROPIC_API_KEY": ("anthropic/claude-sonnet-4-5", "anthropic/claude-haiku-4-5"),
    "GEMINI_API_KEY": ("gemini/gemini-2.5-pro", "gemini/gemini-2.5-flash"),
    "MISTRAL_API_KEY": ("mistral/mistral-large-latest", "mistral/mistral-small-latest"),
    "DEEPSEEK_API_KEY": ("deepseek/deepseek-chat",),
    "GROQ_API_KEY": ("groq/llama-3.3-70b-versatile", "groq/llama-3.1-8b-instant"),
    "XAI_API_KEY": ("xai/grok-3", "xai/grok-3-mini"),
}


def keys_found(environ: Mapping[str, str]) -> list[str]:
    """The providers' variables that are set."""
    return [name for name in REAL_MODELS if environ.get(name)]


def real_config(variables: Sequence[str]) -> str:
    """A `config.yaml` over the real models of these providers; it names the variables and holds no key."""
    names = [model for variable in variables for model in REAL_MODELS[variable]]
    entries = "\n".join(
        f"  - model_name: {name.partition('/')[2]}\n"
        f"    litellm_params:\n      model: {name}\n      api_key: os.environ/{variable}"
        for variable in variables
        for name in REAL_MODELS[variable]
    )
    candidates = ", ".join(name.partition("/")[2] for name in names)
    return f"""model_list:
{entries}
general_settings:
  master_key: {MASTER_KEY}
keys:
  - key: {KEY}
    alias: demo
routes:
  auto:
    candidates: [{candidates}]
    quality: 0.8
"""
