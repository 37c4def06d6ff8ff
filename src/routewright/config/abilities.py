"""What well-known models can do, from their providers' model pages: a small table with its date, first match wins.

It says nothing of a model that nobody has looked up; `model_info` in the configuration overrides it. A `False` keeps a
route from asking that model for what it lacks, so one stands here only where the provider's page says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

AS_OF = "2025-12"
"""Until when the pages were read; of a family that came out later nothing is claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """Of one model; None: not known."""

    vision: bool | None = None
    tools: bool | None = None
    json: bool | None = None
    """Answers by a JSON schema."""
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    others: frozenset[str] = field(default_factory=frozenset)
    """LiteLLM's names without `supports_`: reasoning, prompt_caching, audio_input, audio_output, pdf_input, web_search,
    parallel_function_calling, tool_choice, system_messages."""


NOTHING_KNOWN = Abilities()


def _of(
    pattern: str,
    *,
    vision: bool | None = None,
    tools: bool | None = None,
    json: bool | None = None,
    context: int | None = None,
    output: int | None = None,
    others: str = "",
) -> tuple[re.Pattern[str], Abilities]:
    return re.compile(pattern), Abilities(
        vision=vision,
        tools=tools,
        json=json,
        max_input_tokens=context,
        max_output_tokens=output,
        others=frozenset(others.split()),
    )


_CHAT = "parallel_function_calling tool_choice system_messages"
_REASONS = f"{_CHAT} reasoning prompt_caching"

_TABLE = (
    # OpenAI
    _of(r"gpt-4o(?:-mini)?-(?:transcribe|tts|realtime)", tools=None),
    _of(r"gpt-4o(?:-mini)?-audio|gpt-audio", vision=False, tools=True, context=128_000, output=16_384,
        others="audio_input audio_output system_messages"),
    _of(r"(?:chatgpt-)?gpt-4o|chatgpt-4o", vision=True, tools=True, json=True, context=128_000, output=16_384,
        others=f"{_CHAT} prompt_caching pdf_input"),
    _of(r"gpt-4\.1", vision=True, tools=True, json=True, context=1_047_576, output=32_768,
        others=f"{_CHAT} prompt_caching pdf_input"),
    _of(r"gpt-4\.5", vision=True, tools=True, json=True, context=128_000, output=16_384, others=f"{_CHAT} pdf_input"),
    _of(r"gpt-4-(?:turbo|vision)|gpt-4-1106|gpt-4-0125", vision=True, tools=True, context=128_000, output=4_096,
        others=_CHAT),
    _of(r"gpt-4(?:-0[36]\d\d|-32k.*)?$", vision=False, tools=True, json=False, output=8_192, others="system_messages"),
    _of(r"gpt-3\.5-turbo-instruct", vision=False, tools=False, json=False, output=4_096),
    _of(r"gpt-3\.5", vision=False, tools=True, output=4_096, others=_CHAT),
    _of(r"gpt-(?:5|6)[a-z0-9.\-]*-?image", tools=None),
    _of(r"gpt-5(?:[.\-]|$)", vision=True, tools=True, json=True, output=128_000,
        others=f"{_REASONS} pdf_input web_search"),
    _of(r"gpt-oss", vision=False, tools=True, context=131_072, output=131_072, others=f"{_CHAT} reasoning"),
    _of(r"o1-(?:mini|preview)", vision=False, tools=False, json=False, context=128_000, output=65_536,
        others="reasoning prompt_caching"),
    _of(r"o3-mini", vision=False, tools=True, json=True, context=200_000, output=100_000,
        others="tool_choice system_messages reasoning prompt_caching"),
    _of(r"o[134](?:-|$)", vision=True, tools=True, json=True, context=200_000, output=100_000,
        others=f"{_REASONS} pdf_input"),
    # Anthropic, under every cloud's name for it
    _of(r"(?:.*[./])?claude-(?:2|instant|v1)", vision=False, tools=False, output=4_096, others="system_messages"),
    _of(r"(?:.*[./])?claude-3-(?:haiku|sonnet|opus)", vision=True, tools=True, context=200_000, output=4_096,
        others=_CHAT),
    _of(r"(?:.*[./])?claude-3-5", vision=True, tools=True, context=200_000, output=8_192,
        others=f"{_CHAT} prompt_caching pdf_input"),
    _of(r"(?:.*[./])?claude-3-7", vision=True, tools=True, context=200_000, output=64_000,
        others=f"{_REASONS} pdf_input web_search"),
    _of(r"(?:.*[./])?claude-opus-4(?:-[01](?:-|@|$)|-2025|@|$)", vision=True, tools=True, context=200_000,
        output=32_000, others=f"{_REASONS} pdf_input web_search"),
    _of(r"(?:.*[./])?claude-(?:opus|sonnet|haiku)-", vision=True, tools=True, output=64_000,
        others=f"{_REASONS} pdf_input web_search"),
    # Google
    _of(r"gemini-embedding|.*embedding", tools=None),
    _of(r"gemini-.*(?:-tts|-image|-live|native-audio)", tools=None),
    _of(r"gemini-1\.5", vision=True, tools=True, json=True, output=8_192,
        others=f"{_CHAT} prompt_caching pdf_input audio_input"),
    _of(r"gemini-2\.0", vision=True, tools=True, json=True, context=1_048_576, output=8_192,
        others=f"{_CHAT} prompt_caching pdf_input audio_input web_search"),
    _of(r"gemini-(?:2\.5|3)", vision=True, tools=True, json=True, output=65_536,
        others=f"{_REASONS} pdf_input audio_input web_search"),
    # Mistral
    _of(r"pixtral|mistral-(?:medium-(?:3|latest|2505|2508)|small-(?:3\.[12]|2503|2506|latest))", vision=True,
        tools=True, json=True, others=_CHAT),
    _of(r"codestral|open-mi[sx]tral|mi[sx]tral-(?:7b|8x)", vision=False, others="system_messages"),
    _of(r"magistral", tools=True, json=True, others=f"{_CHAT} reasoning"),
    # Others that are served under their own names nearly everywhere
    _of(r"(?:.*[./])?command-r|(?:.*[./])?command-a(?:-03|$)", vision=False, tools=True, json=True, others=_CHAT),
    _of(r"(?:.*/)?deepseek-(?:chat|v3)", vision=False, tools=True, others=f"{_CHAT} prompt_caching"),
    _of(r"(?:.*/)?deepseek-(?:reasoner|r1)", vision=False, others="reasoning prompt_caching"),
    _of(r"(?i)(?:.*[./])?(?:meta-)?llama-?3[.\-][13]-(?:8b|70b|405b)", vision=False, tools=True, context=128_000),
    _of(r"(?i)(?:.*[./])?(?:meta-)?llama-?3[.\-]2-(?:11b|90b)", vision=True, context=128_000),
    _of(r"(?i)(?:.*[./])?(?:meta-)?llama-?3[.\-]2-(?:1b|3b)", vision=False, context=128_000),
)  # fmt: skip


def abilities_of(model: str) -> Abilities:
    """By the provider's own name of a model."""
    for pattern, abilities in _TABLE:
        if pattern.match(model):
            return abilities
    return NOTHING_KNOWN
