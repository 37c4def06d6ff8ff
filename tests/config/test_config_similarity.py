"""`cache_params` for questions that mean the same: LiteLLM's words and ours, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from routewright.config.load import load_text
from routewright.config.problems import ConfigError
from routewright.settings import SimilaritySettings

EMBED = {
    "model_name": "embed",
    "litellm_params": {"model": "openai/text-embedding-3-small", "api_key": "sk-e", "api_base": "http://e:1/v1"},
}
CLAUDE = {"model_name": "claude", "litellm_params": {"model": "anthropic/claude-opus-4-6", "api_key": "sk-a"}}


def load(**params: Any) -> Any:
    more = params.pop("more", {})
    config = {
        "model_list": [EMBED, CLAUDE],
        "litellm_settings": {"cache": True, "cache_params": params},
        "general_settings": {"master_key": "sk-1234"},
        **more,
    }
    return load_text(yaml.safe_dump(config), environ={})


def similarity(**params: Any) -> SimilaritySettings | None:
    cache = load(**params).cache
    assert cache is not None
    return cache.similarity


def test_only_equal_requests_where_nobody_asks_for_more() -> None:
    assert similarity(type="local") is None
    assert similarity() is None


def test_threshold_turns_it_on_for_our_own_types() -> None:
    found = similarity(type="local", similarity_threshold=0.93, embedder="wordllama", max_questions=50)
    assert found == SimilaritySettings(threshold=0.93, maker="wordllama", max_questions=50)
    assert load(type="local", similarity_threshold=0.93, embedder="wordllama").warnings == ()


def test_litellms_types_turn_it_on_with_its_model_where_that_is_in_the_list() -> None:
    settings = load(
        type="redis-semantic", host="h", similarity_threshold=0.9, redis_semantic_cache_embedding_model="embed"
    )
    found = settings.cache.similarity
    assert (found.maker, found.threshold, settings.cache.is_shared) == ("remote", 0.9, True)
    assert (found.embeddings.api_base, found.embeddings.model) == ("http://e:1/v1", "text-embedding-3-small")
    assert found.embeddings.api_key.reveal() == "sk-e"
    found = similarity(type="redis-semantic", host="h")
    assert (found.maker, found.threshold) == ("minilm", 0.9)


def test_model_of_litellms_that_can_not_be_asked_is_named_and_our_own_encoder_used() -> None:
    for model in ("claude", "azure/ada-eu"):
        settings = load(type="redis-semantic", host="h", redis_semantic_cache_embedding_model=model)
        assert settings.cache.similarity.maker == "minilm"
        assert any(model in warning for warning in settings.warnings)


def test_qdrant_is_named_and_compared_in_memory() -> None:
    settings = load(type="qdrant-semantic", similarity_threshold=0.9, qdrant_api_base="http://q:6333")
    assert settings.cache.similarity is not None
    assert not settings.cache.is_shared
    assert any("Qdrant" in warning for warning in settings.warnings)


def test_endpoint_of_the_section_embeddings_is_the_default() -> None:
    section = {"embeddings": {"api_base": "http://own:1/v1", "model": "own"}}
    found = similarity(type="local", similarity_threshold=0.9, more=section)
    assert (found.maker, found.embeddings.model) == ("remote", "own")
    assert similarity(type="local", similarity_threshold=0.9, embedder="minilm", more=section).embeddings is None


def test_risky_threshold_is_told() -> None:
    assert any("0.85" in warning for warning in load(type="local", similarity_threshold=0.8).warnings)


@pytest.mark.parametrize(
    ("params", "field", "part"),
    [
        ({"similarity_threshold": 0.9, "embedder": "hashed"}, "embedder", "for rating models"),
        ({"similarity_threshold": 0.9, "embedder": "minilmm"}, "embedder", "minilm"),
        ({"similarity_threshold": 0.9, "embedder": "remote"}, "embedder", "embeddings"),
        ({"similarity_threshold": 0.1}, "similarity_threshold", "0.5..1"),
        ({"similarity_threshold": 1.5}, "similarity_threshold", "0.5..1"),
        ({"embedder": "minilm"}, "embedder", "similarity_threshold"),
        ({"similarity_threshold": 0.9, "max_questions": 0}, "max_questions", "1 or more"),
        ({"type": "redis-semantics"}, "type", "redis-semantic"),
        ({"single_flight": "yes"}, "single_flight", "true or false"),
    ],
)
def test_bad_parameter_is_refused_by_name(params: dict[str, Any], field: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**{"type": "local", **params})
    (problem,) = caught.value.problems
    assert problem.field == f"litellm_settings.cache_params.{field}"
    assert part in str(problem)
