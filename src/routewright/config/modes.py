"""What a deployment is for, by `model_info.mode` or by its name, and whether it is spoken to by OpenAI's Responses."""

from __future__ import annotations

import re

from routewright.config import schema
from routewright.config.problems import nearest, shown
from routewright.config.section import Section
from routewright.providers.names import PROVIDERS, Provider

RESPONSES = "responses"
_PREFIX = "responses/"
"""LiteLLM's steering word between provider and name: `openai/responses/o3`."""
_SPEAKING = frozenset({"openai", "azure"})
"""Dialects whose servers may have `/responses`."""
_OPENAI_HOST = "https://api.openai.com/"

_EMBEDDING_NAMES = re.compile(r"(?i)(?:^|[-_/.:])(?:text-)?embed|embedding|(?:^|/)bge-|(?:^|/)e5-|nomic-embed")
_OTHER_NAMES = (
    (re.compile(r"(?i)dall-e|(?:^|/)(?:chatgpt|gpt)-image|imagen-|(?:^|/)flux|stable-diffusion"), "image_generation"),
    (re.compile(r"(?i)whisper|-transcribe|transcribe-|voxtral-mini-transcribe"), "audio_transcription"),
    (re.compile(r"(?i)(?:^|/)tts-|-tts(?:-|$)"), "audio_speech"),
    (re.compile(r"(?i)moderation"), "moderation"),
    (re.compile(r"(?i)rerank"), "rerank"),
)
_COMPLETION_NAMES = re.compile(r"(?:gpt-3\.5-turbo-instruct|davinci-002|babbage-002)")
_RESPONSES_NAMES = re.compile(
    r"(?:o[1-9]-pro|o[1-9](?:-mini)?-deep-research|gpt-\d+(?:\.\d+)?-pro|gpt-\d+(?:\.\d+)?-codex|codex-mini"
    r"|computer-use-preview)(?:-|$)"
)
"""OpenAI's models that have no chat completions."""


def likely_mode(provider_name: str | None, model: str) -> str:
    provider = PROVIDERS.get(provider_name or "")
    for pattern, mode in _OTHER_NAMES:
        if pattern.search(model):
            return mode
    if provider is not None and provider.mode is not None:
        return provider.mode
    if _EMBEDDING_NAMES.search(model):
        return "embedding"
    if _COMPLETION_NAMES.match(model):
        return "completion"
    if provider is not None and provider.name in ("openai", "azure") and _RESPONSES_NAMES.match(model):
        return RESPONSES
    return "chat"


def steered(provider_name: str | None, model: str, mode: str | None) -> tuple[str, str | None]:
    """(the model's name, its mode) where the name says that Responses are to be spoken."""
    provider = PROVIDERS.get(provider_name or "")
    if provider is not None and provider.dialect in _SPEAKING and model.startswith(_PREFIX):
        return model.removeprefix(_PREFIX), RESPONSES
    return model, mode


def is_served(info: Section, params: Section, mode: str, where: str) -> bool:
    """Whether there is an endpoint for it; faults are noted."""
    if mode in schema.SERVED_MODES:
        return True
    if mode in schema.OTHER_MODES:
        params.warn("model", f"{where} is left out: mode {mode} is not served yet")
    else:
        known = schema.SERVED_MODES | schema.OTHER_MODES
        info.error("mode", f'unknown mode "{shown(mode)}"', nearest(mode, known))
    return False


def spoken(info: Section, provider: Provider, mode: str, api_base: str) -> tuple[str, str]:
    """(the mode by which models are grouped, who is answered by Responses: `all`, `own` clients, or `none`).

    A model behind Responses is one to chat with. OpenAI itself has them for all of its models.
    """
    if mode != RESPONSES:
        is_openai = provider.name == "openai" and mode == "chat" and api_base.startswith(_OPENAI_HOST)
        return mode, "own" if is_openai else "none"
    if provider.dialect not in _SPEAKING:
        info.warn("mode", f'provider "{provider.name}" has a dialect of its own, which is spoken in place of Responses')
        return "chat", "none"
    return "chat", "all"
