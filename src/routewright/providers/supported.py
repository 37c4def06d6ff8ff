"""Which of OpenAI's chat fields a provider can be told, as LiteLLM's clients ask."""

from __future__ import annotations

from routewright.providers import anthropic, bedrock, gemini
from routewright.providers.names import PROVIDERS

_OPENAI = (
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty", "reasoning_effort",
    "response_format", "seed", "service_tier", "stop", "stream", "stream_options", "temperature", "tool_choice",
    "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
)  # fmt: skip
"""Source: OpenAI API reference, "Create chat completion"; what a compatible server makes of each is its own."""
_CARRIED = {"anthropic": anthropic.CARRIED, "gemini": gemini.CARRIED, "bedrock": bedrock.CARRIED}


def supported_params(provider: str) -> list[str]:
    """Sorted; what the dialect carries, whatever the model behind it makes of it."""
    known = PROVIDERS.get(provider)
    carried = _CARRIED.get(known.dialect) if known is not None else None
    if carried is None:
        return list(_OPENAI)
    return [name for name in _OPENAI if name in carried or name in ("stream", "stream_options", "user")]
