"""Our section `routes`: names whose requests a router places."""

from __future__ import annotations

from routewright.config.model_names import ModelNames
from routewright.config.orchestrations import of_route
from routewright.config.problems import nearest, shown
from routewright.config.section import Section
from routewright.settings import RouteSettings


def read_routes(top: Section, models: ModelNames) -> tuple[RouteSettings, ...]:
    section = top.section("routes")
    found: list[RouteSettings] = []
    for name in section.entries:
        section.know(name)
        route = section.section(name)
        if not name or len(name) > 256 or "*" in name or not name.isprintable() or name != name.strip():
            section.error(name, "no route can be called so")
        elif name in models.modes:
            section.error(name, "is the name of a model in model_list too")
        elif name in models.aliases:
            section.error(name, "is an alias in model_group_alias too")
        listed = route.names("candidates")
        for candidate in listed or ():
            _check_candidate(route, "candidates", candidate, models)
        if listed == ():
            route.error("candidates", "must not be empty; leave it out for all chat models")
        default = route.text("default_model")
        if default is not None:
            _check_candidate(route, "default_model", default, models)
            if listed and default not in listed:
                route.error("default_model", f'"{shown(default)}" is not among the candidates')
        quality = route.number("quality", most=1.0)
        max_cost_usd = route.number("max_cost_usd", above=True)
        max_latency_ms = route.number("max_latency_ms", above=True)
        latency_weight = route.number("latency_weight", most=1.0)
        stores_prompts = route.boolean("store_prompts_in_spend_logs") or False
        router = route.text("router")
        orchestration, router = of_route(route, router, models.chat_models)
        route.finish()
        served = None if listed is None else tuple(candidate for candidate in listed if models.serves(candidate))
        if listed and not served:
            section.warn(name, "none of its candidates can be served")
        found.append(
            RouteSettings(
                name=name,
                candidates=served,
                router=router,
                quality=RouteSettings(name=name).quality if quality is None else quality,
                default_model=default if default is not None and models.serves(default) else None,
                orchestration=orchestration,
                max_cost_usd=max_cost_usd,
                max_latency_s=None if max_latency_ms is None else max_latency_ms / 1000,
                latency_weight=latency_weight or 0.0,
                stores_prompts=stores_prompts,
            )
        )
    return tuple(found)


def _check_candidate(route: Section, key: str, name: str, models: ModelNames) -> None:
    if not models.has_model(name) or "*" in name:
        message = f'no model named "{shown(name)}" in model_list'
        route.error(key, message, nearest(name, models.modes))
    elif models.modes.get(name, "chat") not in ("chat", "completion"):
        route.error(key, f'"{shown(name)}" is of mode {models.modes[name]}, and a route chooses among chat models')
