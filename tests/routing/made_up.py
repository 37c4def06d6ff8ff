"""Made-up prompts, scores, candidates and small artefacts for the tests of routing."""

from __future__ import annotations

from functools import cache

import numpy as np

from routewright.routing.artefact import Artefact, Label
from routewright.routing.calibrate import Isotonic
from routewright.routing.features.hashed import HashedFeatures
from routewright.routing.registry import find_router
from routewright.types import Price, Prompt, RouteCandidate


def make_candidate(model: str, usd_in: float | None = None, usd_out: float | None = None, **more) -> RouteCandidate:
    """Prices in USD per million tokens."""
    price = Price()
    if usd_in is not None:
        price = Price(input_usd_per_token=usd_in / 1e6, output_usd_per_token=usd_out / 1e6, source="config")
    return RouteCandidate(
        model=model, upstream_model=more.pop("upstream_model", model), provider="openai", price=price, **more
    )


CODE = "write a function class method python loop return bug compile stack heap queue"
LAW = "court statute plaintiff contract tort appeal jury liable evidence claim landlord"
MATHS = "prove integral matrix theorem group prime sum limit series vector angle"
WORDS = {"code": CODE.split(), "law": LAW.split(), "maths": MATHS.split()}


def make_prompts(n: int, seed: int = 0) -> tuple[list[Prompt], np.ndarray]:
    """Prompts of three made-up subjects, and the subject's number of each."""
    rng = np.random.default_rng(seed)
    subject = rng.integers(3, size=n)
    lists = list(WORDS.values())
    prompts = [Prompt(text=" ".join(rng.choice(lists[s], size=rng.integers(4, 14)))) for s in subject]
    return prompts, subject


def make_scores(subject: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores and costs of four models: a dear good one, a cheap poor one, one for code, one for law."""
    rng = np.random.default_rng(seed)
    chance = np.array([[0.9, 0.9, 0.8], [0.5, 0.4, 0.3], [0.9, 0.2, 0.4], [0.2, 0.9, 0.3]])[:, subject].T
    quality = (rng.random(chance.shape) < chance).astype(np.float32)
    cost = np.tile(np.array([10.0, 0.5, 1.0, 1.0]) / 1e3, (len(subject), 1)).astype(np.float32)
    return quality, cost


MODELS = ("grand", "petit", "coder", "jurist")


@cache
def _features(n: int) -> tuple[HashedFeatures, np.ndarray]:
    """Features fitted to n made-up prompts, and the prompts' vectors: the slow part, and the same for every router."""
    prompts, subject = make_prompts(n)
    features = HashedFeatures(buckets=512, n_topics=6, n_targets=3, rank=16)
    X = features.fit_transform(prompts, make_scores(subject)[0])
    X.flags.writeable = False
    return features, X


def make_artefact(router: str = "knn", n: int = 90, **more) -> Artefact:
    """A small fitted artefact over `MODELS`; `more` replaces its fields."""
    quality, cost = make_scores(make_prompts(n)[1])
    features, X = _features(n)
    fitted = find_router(router)().fit(X, quality, cost)
    scores = fitted.predict_quality(X)
    fields = {
        "router": fitted,
        "features": features,
        "labels": tuple(
            Label(name=name, quality=float(q), output_tokens=100.0, input_usd_per_token=1e-6, output_usd_per_token=2e-6)
            for name, q in zip(MODELS, quality.mean(axis=0), strict=True)
        ),
        "sample_scores": scores[:40].astype(np.float16),
        "sample_prompt_tokens": np.full(40, 20, dtype=np.int32),
        "calibration": Isotonic().fit(scores, quality),
        "training": {"name": "made up", "rows": n, "sha256": "0" * 64},
        "gate": {"passed": True, "difference": 0.01, "high": 0.02},
        "created": "2026-01-01T00:00:00+00:00",
        "training_ids": tuple(f"row-{i}" for i in range(n)) if router == "knn" else (),
    }
    return Artefact(**(fields | more))
