"""The demo's configuration: five priced models behind one stand-in upstream, and a route over them."""

from __future__ import annotations

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
