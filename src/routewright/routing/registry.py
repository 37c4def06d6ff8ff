"""Routers by name: the one place that a new router is added to."""

from __future__ import annotations

from typing import Final

from routewright.routing.bandit import BanditRouter
from routewright.routing.baselines import BestRouter, CheapestRouter, RandomRouter, TaskMeanRouter
from routewright.routing.cluster import ClusterRouter
from routewright.routing.elo import EloRouter
from routewright.routing.encoder_head import CausalLMRouter, RouterDCRouter
from routewright.routing.ensemble import EnsembleRouter
from routewright.routing.graph import GraphRouter
from routewright.routing.hybrid import HybridRouter
from routewright.routing.knn import KNNRouter
from routewright.routing.linear import LinearRouter
from routewright.routing.logistic import LogisticRouter
from routewright.routing.mf import MFRouter
from routewright.routing.mlp import MLPRouter
from routewright.routing.personalized import PersonalizedRouter
from routewright.routing.router import Router
from routewright.routing.svm import SVMRouter
from routewright.routing.task_guess import TaskGuessRouter

ROUTERS: Final[dict[str, type[Router]]] = {
    router.name: router
    for router in (
        KNNRouter,
        ClusterRouter,
        LogisticRouter,
        EnsembleRouter,
        LinearRouter,
        SVMRouter,
        MFRouter,
        MLPRouter,
        EloRouter,
        GraphRouter,
        TaskGuessRouter,
        HybridRouter,
        BanditRouter,
        PersonalizedRouter,
        RouterDCRouter,
        CausalLMRouter,
        BestRouter,
        CheapestRouter,
        RandomRouter,
        TaskMeanRouter,
    )
}
ALIASES: Final = {
    "smallest": "cheapest",
    "largest": "best",
    "gmt": "personalized",
    "smallest_llm": "cheapest",
    "largest_llm": "best",
    "hybrid_llm": "hybrid",
    "knnrouter": "knn",
    "svmrouter": "svm",
    "mlprouter": "mlp",
    "mfrouter": "mf",
    "elorouter": "elo",
    "graphrouter": "graph",
    "gmtrouter": "personalized",
    "causallm_router": "causallm",
}
"""LLMRouter's names for ours, of its strategies and of its command line."""
ELSEWHERE: Final = {
    "custom": 'a file of your own: name it in "model_path", or as a route\'s "router"',
    **dict.fromkeys(
        ("automix", "cascade", "r1", "multiround", "knn-multiround", "llm-multiround"),
        'it asks more than once: a route\'s "router", with nothing to fit',
    ),
}
"""Names of LLMRouter's that stand for no estimator, and what to do instead."""


def find_router(name: str) -> type[Router]:
    """The class of a router's name, with or without `llmrouter-` before it. Raises KeyError naming those known."""
    short = name.removeprefix("llmrouter-")
    short = ALIASES.get(short, short)
    if short in ELSEWHERE:
        raise KeyError(f'"{name}" is no router to fit: {ELSEWHERE[short]}')
    if short not in ROUTERS:
        raise KeyError(f'no router "{name}"; known: {", ".join(sorted(ROUTERS))}')
    return ROUTERS[short]
