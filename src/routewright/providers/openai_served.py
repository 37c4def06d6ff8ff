"""OpenAI's chat dialect for every endpoint of ours: what most deployments are served by."""

from __future__ import annotations

import time
from collections.abc import Mapping

from routewright.credentials import Credential
from routewright.dialect import Exchange, Spoken
from routewright.providers import media, openai, openai_translated, rerank
from routewright.providers.unasked import OWN_COUNTS, UNSERVED
from routewright.settings import DeploymentSettings

OTHERS: Mapping[str, Exchange] = {
    "images": media.Images(),
    "speech": media.Speech(),
    "moderations": media.Moderations(),
    "rerank": rerank.Rerank(),
}
NO_OTHERS: Mapping[str, Exchange] = dict.fromkeys(OTHERS, UNSERVED)
TRANSLATED = openai_translated.Translated(time.time)
EXCHANGES: Mapping[str, Exchange] = {
    "chat": openai,
    "completions": openai,
    "embeddings": openai,
    "messages": TRANSLATED,
    "generate_content": TRANSLATED,
    "responses": TRANSLATED,
    **OWN_COUNTS,
    **OTHERS,
}


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    return EXCHANGES, openai.request_heads(settings, upstream_model)
