"""`litellm_settings.cache` and `cache_params`: LiteLLM's words for the response cache, and a few of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from routewright.config.problems import nearest, shown
from routewright.config.section import Section
from routewright.config.similarity import LITELLM_MODEL, SEMANTIC, read_similarity
from routewright.settings import CacheSettings, DeploymentSettings, EmbeddingsSettings

MEGABYTE = 1024 * 1024
CALL_TYPES: dict[str, frozenset[str]] = {
    "completion": frozenset({"chat", "messages", "generate_content"}),
    "text_completion": frozenset({"completions"}),
    "embedding": frozenset({"embeddings"}),
    "responses": frozenset({"responses"}),
    "anthropic_messages": frozenset({"messages"}),
    "generate_content": frozenset({"generate_content"}),
}
"""LiteLLM's words, each with and without an `a` before it, and the endpoints that they mean here."""
NOT_KEPT = frozenset({"transcription", "speech", "rerank", "image_generation", "moderation"})
SCOPES = ("team", "key", "everyone")
OWN_TYPES = frozenset({"local", "redis", "disk"})
OTHER_TYPES = frozenset({"s3", "gcs", "azure-blob"})
UNSUPPORTED = frozenset(
    {"host", "port", "password", "url", "username", "ssl", "db", "max_connections", "redis_startup_nodes",
     "service_name", "sentinel_nodes", "sentinel_password",
     "default_in_memory_ttl", "default_in_redis_ttl", "flush_size", "socket_timeout", "gcp_service_account",
     "max_size_in_memory", "disk_cache_dir", "max_disk_mb"}
)  # fmt: skip
UNSUPPORTED_PATTERN = re.compile(r"(?:redis|qdrant|s3|gcs|azure|ssl|valkey)_[a-z0-9_]+\Z")


def read_cache(
    litellm: Section,
    params: Section,
    *,
    has_valkey: bool,
    embeddings: EmbeddingsSettings | None = None,
    deployments: Sequence[DeploymentSettings] = (),
) -> CacheSettings | None:
    """None where no cache is asked for; faults are noted. `has_valkey`: a Valkey or Redis is configured. `embeddings`
    and `deployments`: what may make vectors."""
    is_on = litellm.boolean("cache") or False
    changes: dict[str, Any] = {}
    changes["is_shared"] = _is_redis(params) and has_valkey
    ttl_s = params.number("ttl", above=True, most=366 * 86_400)
    if ttl_s is not None:
        changes["ttl_s"] = ttl_s
    mode = _one_of(params, "mode", ("default_on", "default_off"))
    if mode is not None:
        changes["is_default_on"] = mode == "default_on"
    scope = _one_of(params, "scope", SCOPES)
    if scope is not None:
        changes["scope"] = scope
    namespace = params.text("namespace", most=256)
    if namespace is not None:
        changes["namespace"] = namespace
    changes["endpoints"] = _endpoints(params)
    most_mb = params.number("max_memory_mb", above=True, most=1 << 20)
    if most_mb is not None:
        changes["max_memory_bytes"] = max(1, int(most_mb * MEGABYTE))
    most_kb = params.number("max_entry_kb", above=True, most=1 << 20)
    if most_kb is not None:
        changes["max_entry_bytes"] = max(1, int(most_kb * 1024))
    _read_disk(params, changes)
    changes["shares_flights"] = params.boolean("single_flight") or False
    changes["similarity"] = read_similarity(params, embeddings, deployments) if is_on else None
    params.know("similarity_threshold", "embedder", "max_questions", *LITELLM_MODEL)
    params.finish(UNSUPPORTED, UNSUPPORTED_PATTERN)
    return CacheSettings(**changes) if is_on else None


def _is_redis(params: Section) -> bool:
    """Without a type it is the Redis, where there is one, as with LiteLLM."""
    kind = params.text("type")
    if kind is None or kind in OWN_TYPES:
        return kind not in ("local", "disk")
    if kind in SEMANTIC:
        if kind == "qdrant-semantic":
            params.warn("type", "Qdrant is not asked: questions are compared in each worker's memory")
        return True
    if kind in OTHER_TYPES:
        params.warn("type", f'"{shown(kind)}" is not served here: each worker keeps answers in its own memory')
    else:
        params.error(
            "type",
            "expected local, redis, disk or redis-semantic",
            nearest(kind, [*OWN_TYPES, *SEMANTIC, *OTHER_TYPES]),
        )
    return False


def _read_disk(params: Section, changes: dict[str, Any]) -> None:
    changes["is_on_disk"] = params.text("type") == "disk"
    if not changes["is_on_disk"]:
        return
    folder = params.text("disk_cache_dir")
    if folder is not None:
        changes["disk_folder"] = Path(folder)
    most_mb = params.number("max_disk_mb", above=True, most=1 << 20)
    if most_mb is not None:
        changes["max_disk_bytes"] = max(1, int(most_mb * MEGABYTE))


def _one_of(params: Section, name: str, words: tuple[str, ...]) -> str | None:
    value = params.text(name)
    if value is not None and value not in words:
        params.error(name, f"expected {', '.join(words)}", nearest(value, list(words)))
        return None
    return value


def _endpoints(params: Section) -> frozenset[str] | None:
    words = params.names("supported_call_types")
    if words is None:
        return None
    found: set[str] = set()
    for word in words:
        plain = word if word in CALL_TYPES or word in NOT_KEPT else word.removeprefix("a")
        if plain in NOT_KEPT:
            params.warn("supported_call_types", f"answers to {shown(word)} are not kept here")
        elif plain in CALL_TYPES:
            found |= CALL_TYPES[plain]
        else:
            params.error("supported_call_types", f'"{shown(word)}" is no type of call', nearest(word, [*CALL_TYPES]))
    return frozenset(found)
