"""Background health checks: `general_settings`, and what a deployment's `model_info` says of its own."""

from __future__ import annotations

from typing import Any

from routewright.config.section import Section
from routewright.settings import HealthCheckSettings


def read_health_checks(general: Section) -> HealthCheckSettings | None:
    """None unless they are switched on: each asks a provider, and costs."""
    is_on = general.boolean("background_health_checks")
    interval_s = general.number("health_check_interval", least=1.0, most=86_400 * 7)
    details = general.boolean("health_check_details")
    at_once = general.integer("health_check_concurrency", most=1000)
    if not is_on:
        return None
    usual = HealthCheckSettings()
    return HealthCheckSettings(
        interval_s=usual.interval_s if interval_s is None else interval_s,
        tells_details=details is not False,
        at_once=usual.at_once if at_once is None else at_once,
    )


def of_deployment(info: Section) -> dict[str, Any]:
    """Fields of `DeploymentSettings`."""
    return {
        "health_check_model": info.text("health_check_model"),
        "health_check_timeout_s": info.number("health_check_timeout", above=True, most=3600),
        "health_check_max_tokens": info.integer("health_check_max_tokens", most=100_000),
        "skips_health_check": info.boolean("disable_background_health_check") or False,
    }
