"""Routes that ask more than once: `router: cascade` and its kin, with their `router_args`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from routewright.config.problems import nearest, shown
from routewright.config.section import Section
from routewright.settings import CascadeSettings, RoundsSettings

KINDS = {
    "cascade": "cascade",
    "automix": "cascade",
    "multiround": "multiround",
    "knn-multiround": "multiround",
    "knnmultiround": "multiround",
    "llm-multiround": "llm-multiround",
    "llmmultiround": "llm-multiround",
    "r1": "r1",
    "router-r1": "r1",
}
"""Names in a configuration, LLMRouter's among them, without the `llmrouter-` that may stand before each."""
CHECKS = ("truncated", "refused", "schema", "logprob", "agreement")
_OWN_ROUTER = {"knn-multiround": "knn", "knnmultiround": "knn"}


def kind_of(router: str | None) -> str | None:
    """`cascade`, `multiround`, `llm-multiround` or `r1`; None for a router that only rates."""
    return None if router is None else KINDS.get(router.removeprefix("llmrouter-"))


def of_route(
    route: Section, router: str | None, models: Collection[str]
) -> tuple[CascadeSettings | RoundsSettings | None, str | None]:
    """What a route's `router` and `router_args` say of how it asks, and the router that rates its candidates."""
    if kind_of(router) is None:
        if route.take("router_args") is not None:
            what = "a route without a router" if router is None else f'router "{shown(router)}"'
            route.error("router_args", f"{what} takes none; routers with arguments: {', '.join(KINDS)}")
        return None, router
    args = route.section("router_args")
    found = read_orchestration(args, router, models)
    args.finish()
    return found


def read_orchestration(
    args: Section, name: str | None, models: Collection[str]
) -> tuple[CascadeSettings | RoundsSettings | None, str | None]:
    """What `router_args` say of the orchestration called `name`, and the router that rates the candidates in it.

    `models`: names that may be planners. Where `name` is no orchestration, nothing is taken of `args`.
    """
    found = kind_of(name)
    if name is None or found is None:
        return None, name
    router = args.text("router")
    if router is not None and kind_of(router) is not None:
        args.error("router", f'"{shown(router)}" asks more than once itself; expected a router that only rates')
    router = router or _OWN_ROUTER.get(name.removeprefix("llmrouter-"))
    return _cascade(args) if found == "cascade" else _rounds(args, found, models), router


def _cascade(args: Section) -> CascadeSettings:
    settings = CascadeSettings()
    checks = args.names("verify")
    for check in checks or ():
        if check not in CHECKS:
            args.error(
                "verify", f'no check is called "{shown(check)}"; known: {", ".join(CHECKS)}', nearest(check, CHECKS)
            )
    if checks is not None:
        settings = replace(settings, checks=frozenset(checks))
    least, least_of = _threshold(args, "min_logprob", -100.0, 0.0)
    settings = replace(settings, min_logprob=settings.min_logprob if least is None else least, min_logprob_of=least_of)
    if (least is not None or least_of) and "logprob" not in settings.checks:
        args.warn("min_logprob", "without effect: verify does not hold logprob")
    least, least_of = _threshold(args, "min_score", 0.0, 1.0)
    settings = replace(settings, min_score=least or 0.0, min_score_of=least_of)
    max_stages = args.integer("max_stages", least=2, most=10)
    return settings if max_stages is None else replace(settings, max_stages=max_stages)


def _threshold(args: Section, key: str, low: float, high: float) -> tuple[float | None, dict[str, float]]:
    """A number for all models, or a mapping from models to theirs."""
    given = args.take(key)
    if given is None or not isinstance(given.value, dict):
        return args.number(key, least=low, most=high), {}
    by_model = args.section(key)
    found = {name: by_model.number(name, least=low, most=high) for name in by_model.entries}
    return None, {name: value for name, value in found.items() if value is not None}


def _rounds(args: Section, found: str, models: Collection[str]) -> RoundsSettings:
    settings = RoundsSettings(kind=found)
    planner = args.text("planner")
    if planner is not None and planner not in models:
        args.error("planner", f'no model named "{shown(planner)}" in model_list', nearest(planner, models))
    max_parts = args.integer("max_parts", most=16)
    max_part_tokens = args.integer("max_part_tokens", least=16, most=1_000_000)
    max_output_tokens = args.integer("max_output_tokens", least=64, most=10_000_000)
    max_cost_usd = args.number("max_cost_usd", above=True)
    return replace(
        settings,
        planner=planner,
        max_parts=max_parts or settings.max_parts,
        max_part_tokens=max_part_tokens or settings.max_part_tokens,
        max_output_tokens=max_output_tokens or settings.max_output_tokens,
        max_cost_usd=max_cost_usd or settings.max_cost_usd,
    )
