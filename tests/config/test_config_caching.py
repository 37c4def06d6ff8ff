"""`cache` and `cache_params`: LiteLLM's words are taken, what has no effect is told, what is wrong is named."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.config import ConfigError, load_text
from routewright.settings import CacheSettings, Settings


def load(params: str, cache: str = "true", **options: Any) -> Settings:
    return load_text(f"litellm_settings:\n  cache: {cache}\n  cache_params: {params}\n", environ={}, **options)


def test_there_is_none_unless_it_is_asked_for() -> None:
    assert load_text("model_list: []", environ={}).cache is None
    assert load("{ttl: 5}", cache="false").cache is None
    assert load("").cache == CacheSettings()


def test_litellms_words_and_ours() -> None:
    found = load(
        "{type: local, ttl: 60, mode: default_off, namespace: prod, scope: key, max_memory_mb: 2, max_entry_kb: 8,"
        " supported_call_types: [acompletion, completion, aembedding, atext_completion, atranscription]}"
    )
    assert found.cache == CacheSettings(
        ttl_s=60.0,
        is_default_on=False,
        endpoints=frozenset({"chat", "messages", "generate_content", "embeddings", "completions"}),
        namespace="prod",
        scope="key",
        max_memory_bytes=2 * 1024 * 1024,
        max_entry_bytes=8 * 1024,
    )
    assert any("atranscription" in warning for warning in found.warnings)


@pytest.mark.parametrize("kind", ["s3", "gcs", "azure-blob"])
def test_kind_of_litellms_that_is_not_served_is_told(kind: str) -> None:
    found = load(f"{{type: {kind}, disk_cache_dir: x}}")
    assert found.cache is not None
    assert any(kind in warning for warning in found.warnings)
    assert any("disk_cache_dir" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ("{type: redsi}", 'cache_params.type.*did you mean "redis"'), ("{ttl: 0}", "cache_params.ttl"),
        ("{mode: on}", "cache_params.mode"), ("{scope: team_}", "cache_params.scope"), ("{tll: 5}", "cache_params.tll"),
        ("{supported_call_types: [acompletoin]}", "supported_call_types"), ("{max_memory_mb: -1}", "max_memory_mb"),
        ("{namespace: ''}", "namespace"), ("7", "cache_params"),
    ],
)  # fmt: skip
def test_fault_is_told_with_its_field(params: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load(params)


def test_keys_may_be_bound_to_some_controls() -> None:
    text = "keys: [{key: sk-1, allowed_cache_controls: [ttl]}, {key: sk-2, allowed_cache_controls: []}]"
    assert [key.cache_controls for key in load_text(text, environ={}).keys] == [("ttl",), None]


@pytest.mark.parametrize(
    ("params", "is_shared"),
    [("{type: redis, host: h}", True), ("{type: local}", False), ("{type: redis}", False), ("", False)],
)
def test_it_is_shared_where_there_is_a_redis(params: str, is_shared: bool) -> None:
    found = load(params)
    assert found.cache is not None
    assert found.cache.is_shared == is_shared
