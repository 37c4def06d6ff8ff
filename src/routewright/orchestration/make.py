"""From the settings of routes to what answers their requests."""

from __future__ import annotations

from collections.abc import Mapping

from routewright.orchestration.cascade import Cascade
from routewright.settings import CascadeSettings, RouteSettings


def orchestrations(routes: Mapping[str, RouteSettings]) -> dict[str | None, Cascade]:
    """By name, those routes that ask more than once; None, a plain model's route, is none of them."""
    return {
        name: Cascade(route.orchestration)
        for name, route in routes.items()
        if isinstance(route.orchestration, CascadeSettings)
    }
