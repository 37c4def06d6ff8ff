"""Retries, fallbacks, cooldown and aliases: `router_settings`, and what `litellm_settings` says of the same."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from routewright.config import schema
from routewright.config.budgets import budgets_by_name
from routewright.config.model_names import ModelNames
from routewright.config.problems import nearest, shown
from routewright.config.section import Section, text_list
from routewright.config.source import Node
from routewright.errors import KINDS
from routewright.providers.names import PROVIDERS, UNSPOKEN
from routewright.settings import AttemptSettings, BudgetSettings, HedgeSettings

_QUANTILE = re.compile(r"p([5-9][0-9])\Z")


def read_attempts(litellm: Section, router: Section, models: ModelNames, strategy: dict[str, Any]) -> AttemptSettings:
    """`strategy`: what `read_strategy` has found of the same."""
    changes: dict[str, Any] = {**strategy}
    changes["model_group_alias"], changes["hidden_aliases"] = read_aliases(litellm, router, models)

    for key, name, most in (
        ("num_retries", "num_retries", 100),
        ("allowed_fails", "allowed_fails", 1_000_000),
        ("max_fallbacks", "max_fallbacks", 100),
    ):
        of_litellm, of_router = litellm.integer(key, least=0, most=most), router.integer(key, least=0, most=most)
        chosen = of_router if of_router is not None else of_litellm
        if chosen is not None:
            changes[name] = chosen
    for key, name in (("retry_after", "retry_after_s"), ("cooldown_time", "cooldown_s")):
        seconds_litellm, seconds_router = litellm.number(key, most=86_400), router.number(key, most=86_400)
        seconds = seconds_router if seconds_router is not None else seconds_litellm
        if seconds is not None:
            changes[name] = seconds
    for key in ("disable_cooldowns", "enable_tag_filtering", "tag_filtering_match_any", "enable_pre_call_checks"):
        is_on = router.boolean(key)
        if is_on is not None:
            changes[key] = is_on

    changes["hedging"] = _hedging(router, models)
    changes["provider_budgets"] = _provider_budgets(router)
    changes["affinity"] = _affinity(router)
    kept_s = router.number("deployment_affinity_ttl_seconds", above=True, most=86_400 * 30)
    if kept_s is not None:
        changes["deployment_affinity_ttl_s"] = kept_s
    changes["retry_policy"] = _policy(router, "retry_policy", "Retries")
    by_model = router.section("model_group_retry_policy")
    changes["model_retry_policy"] = {name: _policy(by_model, name, "Retries") for name in by_model.entries}
    for name in by_model.entries:
        _warn_unless_known(by_model, name, name, models)
    changes["allowed_fails_policy"] = _policy(router, "allowed_fails_policy", "AllowedFails")

    defaults: list[str] = []
    for key in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        found = {**_fallbacks(litellm, key, models), **_fallbacks(router, key, models)}
        if key == "fallbacks":
            defaults.extend(found.pop("*", ()))  # LiteLLM's other way to write default_fallbacks
        changes[key] = found
    for section in (litellm, router):
        own = section.names("default_fallbacks")
        if own:
            defaults = list(own)
            for name in own:
                _warn_unless_known(section, "default_fallbacks", name, models)
    changes["default_fallbacks"] = tuple(defaults)
    return replace(AttemptSettings(), **changes)


def _hedging(router: Section, models: ModelNames) -> dict[str, HedgeSettings]:
    """Our `hedging: {model or route: milliseconds, or a quantile such as p95}`."""
    section = router.section("hedging")
    found = {}
    for name, node in section.entries.items():
        if not models.has_name(name):
            section.error(name, f'no model or route named "{shown(name)}"', models.nearest(name))
        if isinstance(node.value, str) and (quantile := _QUANTILE.match(node.value)) is not None:
            section.know(name)
            found[name] = HedgeSettings(quantile=int(quantile[1]) / 100)
        elif isinstance(node.value, str) and not node.value.startswith("os.environ/"):
            section.error(name, "expected milliseconds, or a quantile from p50 to p99")
        elif (after_ms := section.number(name, above=True, most=600_000)) is not None:
            found[name] = HedgeSettings(after_s=after_ms / 1000)
    return found


def _provider_budgets(router: Section) -> dict[str, BudgetSettings]:
    found = budgets_by_name(router, "provider_budget_config")
    section = router.section("provider_budget_config")
    for name in found:
        if name not in PROVIDERS and name not in UNSPOKEN:
            section.error(name, f'no provider is called "{shown(name)}"', nearest(name, {*PROVIDERS, *UNSPOKEN}))
    return found


def _affinity(router: Section) -> frozenset[str]:
    """`optional_pre_call_checks`, as far as they say where a request goes; others hold anyway, or do nothing here."""
    found = set()
    for check in router.names("optional_pre_call_checks") or ():
        if check in schema.AFFINITY_CHECKS:
            found.add(check)
        elif check in schema.CHECKS_WITHOUT_EFFECT:
            router.notes.unsupported[f"{router.field('optional_pre_call_checks')}.{check}"] = None
        elif check not in schema.CHECKS_ALWAYS_MADE:
            known = schema.AFFINITY_CHECKS | schema.CHECKS_WITHOUT_EFFECT | schema.CHECKS_ALWAYS_MADE
            router.error("optional_pre_call_checks", f'unknown check "{shown(check)}"', nearest(check, known))
    return frozenset(found)


def _policy(section: Section, key: str, ending: str) -> dict[str, int]:
    """Kind of error -> a number; LiteLLM's keys are its names for them with `Retries` or `AllowedFails` behind."""
    policy = section.section(key)
    found = {}
    for kind, _ in KINDS:
        number = policy.integer(kind + ending, least=0, most=1_000_000 if ending == "AllowedFails" else 100)
        if number is not None:
            found[kind] = number
    policy.finish()
    return found


def read_aliases(litellm: Section, router: Section, models: ModelNames) -> tuple[dict[str, str], frozenset[str]]:
    """Second name -> first, and which of the second names are not listed."""
    found: dict[str, str] = {}
    hidden: set[str] = set()
    for section in (litellm, router):
        aliases = section.section("model_group_alias")
        for alias, node in aliases.entries.items():
            aliases.know(alias)
            if node.value is None:
                continue
            if isinstance(node.value, dict):
                inner = aliases.section(alias)
                target = inner.text("model")
                if "model" not in inner.entries:
                    inner.error("model", "missing")
                if inner.boolean("hidden"):
                    hidden.add(alias)
                inner.finish()
            else:
                target = aliases.text(alias)
            if target is None:
                continue
            if not alias or "*" in alias or not alias.isprintable():
                aliases.error(alias, "no model can be called so")
            elif not models.has_model(target) and target not in models.routes:
                message = f'no model named "{shown(target)}" in model_list'
                aliases.error(alias, message, nearest(target, models.modes))
            else:
                found[alias] = target
    models.aliases = set(found)
    return found, frozenset(hidden)


def _fallbacks(section: Section, key: str, models: ModelNames) -> dict[str, tuple[str, ...]]:
    """`[{model: [others]}]`, or the mapping without its list."""
    node = section.take(key)
    if node is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    entries = node.value if isinstance(node.value, list) else [node]
    for entry in entries:
        if not isinstance(entry.value, dict):
            section.notes.error(entry, section.field(key), "expected a list of {model: [other models]}")
            continue
        for name, others in entry.value.items():
            names = text_list(others, f"{section.field(key)}.{shown(name)}", section.notes)
            if names is None:
                continue
            if name in found:
                section.notes.error(others, section.field(key), f'"{shown(name)}" stands here twice')
            found[name] = names
            for wanted in (*((name,) if name != "*" else ()), *names):
                _warn_unless_known(section, key, wanted, models, others)
    return found


def _warn_unless_known(section: Section, key: str, name: str, models: ModelNames, node: Node | None = None) -> None:
    if not models.has_name(name):
        place = node or section.entries[key]
        message = f'no model named "{shown(name)}"; it is passed over'
        section.notes.warn(place, section.field(key), message, models.nearest(name))
