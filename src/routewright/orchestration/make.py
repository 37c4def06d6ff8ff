"""From the settings of routes to what answers their requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from routewright.orchestration.cascade import Cascade
from routewright.orchestration.rounds import Rounds
from routewright.settings import CascadeSettings, RouteSettings
from routewright.types import Group


def orchestrations(
    routes: Mapping[str, RouteSettings], find_group: Callable[[str], Group | None]
) -> dict[str | None, Cascade | Rounds]:
    """By name, those routes that ask more than once; None, a plain model's route, is none of them."""
    made: dict[str | None, Cascade | Rounds] = {}
    for name, route in routes.items():
        settings = route.orchestration
        if isinstance(settings, CascadeSettings):
            made[name] = Cascade(settings, route.max_cost_usd)
        elif settings is not None:
            made[name] = Rounds(settings, find_group, route.max_cost_usd)
    return made
