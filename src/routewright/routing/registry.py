"""Routers by name: the one place that a new router is added to."""

from __future__ import annotations

from typing import Final

from routewright.routing.bandit import BanditRouter
from routewright.routing.baselines import BestRouter, CheapestRouter, RandomRouter, TaskMeanRouter
from routewright.routing.cluster import ClusterRouter
from routewright.routing.ensemble import EnsembleRouter
from routewright.routing.hybrid import HybridRouter
from routewright.routing.knn import KNNRouter
from routewright.routing.linear import LinearRouter
from routewright.routing.logistic import LogisticRouter
from routewright.routing.mf import MFRouter
from routewright.routing.mlp import MLPRouter
from routewright.routing.personalized import PersonalizedRouter
from routewright.routing.router import Router
from routewright.routing.svm import SVMRouter

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
        HybridRouter,
        BanditRouter,
        PersonalizedRouter,
        BestRouter,
        CheapestRouter,
        RandomRouter,
        TaskMeanRouter,
    )
}
ALIASES: Final = {"smallest": "cheapest", "largest": "best", "gmt": "personalized"}
"""LLMRouter's names for ours."""


def find_router(name: str) -> type[Router]:
    """The class of a router's name, with or without `llmrouter-` before it. Raises KeyError naming those known."""
    short = name.removeprefix("llmrouter-")
    short = ALIASES.get(short, short)
    if short not in ROUTERS:
        raise KeyError(f'no router "{name}"; known: {", ".join(sorted(ROUTERS))}')
    return ROUTERS[short]
