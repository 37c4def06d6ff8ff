"""`routing_strategy` and its arguments: how load is spread, or which learned router `auto` has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from routewright.config import schema
from routewright.config.model_names import ModelNames
from routewright.config.orchestrations import read_orchestration
from routewright.config.problems import nearest, shown
from routewright.config.section import Section
from routewright.settings import CascadeSettings, RoundsSettings, RouterSettings, RouteSettings
from routewright.signatures import KeyRefused, public_key_of


def read_strategy(
    router: Section, models: ModelNames
) -> tuple[dict[str, Any], RouterSettings, CascadeSettings | RoundsSettings | None]:
    """(of `AttemptSettings` how load is spread, the learned routers, how `auto` asks more than once)."""
    learned = RouterSettings()
    name = router.text("routing_strategy")
    args = router.section("routing_strategy_args")
    balancing: dict[str, Any] = {}
    is_learned = name is not None and name.startswith(schema.LEARNED_PREFIX) and name != schema.LEARNED_PREFIX
    if name is not None:
        if is_learned:
            learned = replace(learned, strategy_name=name)
        elif name in schema.BUILT_STRATEGIES:
            balancing["routing_strategy"] = name
        else:
            known = {*schema.BUILT_STRATEGIES, "llmrouter-knn", "llmrouter-cluster"}
            router.error("routing_strategy", f'unknown strategy "{shown(name)}"', nearest(name, known))
    if name == "latency-based-routing":
        for key, field, number in (
            ("ttl", "latency_ttl_s", args.number("ttl", above=True, most=86_400 * 30)),
            ("lowest_latency_buffer", "lowest_latency_buffer", args.number("lowest_latency_buffer", most=1000)),
            ("max_latency_list_size", "latency_samples", args.integer("max_latency_list_size", most=10_000)),
        ):
            args.know(key)
            if number is not None:
                balancing[field] = number
    changes: dict[str, Any] = {}
    model_path = args.text("model_path") if is_learned else None
    if model_path is not None:
        changes["artefact_path"] = Path(model_path)
        if model_path.endswith((".pt", ".pth", ".pkl", ".pickle", ".joblib")):
            args.warn("model_path", "files of this kind can run code and are never opened; fit or import a router")
    hot_reload = args.boolean("hot_reload") if is_learned else None
    if hot_reload is not None:
        changes["hot_reload"] = hot_reload
    interval_s = args.number("reload_interval", above=True, most=86_400) if is_learned else None
    if interval_s is not None:
        changes["reload_interval_s"] = interval_s
    public_keys = _public_keys(args)
    if public_keys:
        changes["public_keys"] = public_keys
    orchestration, _ = read_orchestration(args, name if is_learned else None, models.chat_models)
    args.finish({*schema.ROUTING_STRATEGY_ARGS, "model_path", "hot_reload", "reload_interval", "public_keys"})
    return balancing, replace(learned, **changes), orchestration


def _public_keys(args: Section) -> tuple[bytes, ...]:
    """`public_keys`, for routers of every route: base64 of a key, or the path of a PEM file with one."""
    named = args.names("public_keys")
    if named is None:
        return ()
    if not named:
        args.error("public_keys", "no key: no router file could be loaded; leave the field out to take unsigned ones")
    found = []
    for name in named:
        try:
            found.append(public_key_of(name))
        except KeyRefused as error:
            args.error("public_keys", f'key "{shown(name)}" is no good: {error}')
    return tuple(dict.fromkeys(found))


def with_strategy(
    routes: tuple[RouteSettings, ...], orchestration: CascadeSettings | RoundsSettings | None, models: ModelNames
) -> tuple[RouteSettings, ...]:
    """`routing_strategy: llmrouter-automix` and its kin are `auto`'s, where the file says nothing else of `auto`."""
    if orchestration is None or "auto" in models.modes:
        return routes
    others = tuple(route for route in routes if route.name != "auto")
    auto = next((route for route in routes if route.name == "auto"), RouteSettings(name="auto"))
    if auto.router is None and auto.orchestration is None:
        auto = replace(auto, orchestration=orchestration)
    return (*others, auto)
