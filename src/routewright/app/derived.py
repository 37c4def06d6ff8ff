"""What follows from settings alone."""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path

from routewright.settings import BudgetSettings, Settings
from routewright.storage import Adjustable, KeeperSettings
from routewright.types import Secret


def callbacks(settings: Settings) -> tuple[str, ...]:
    """Names of whom requests are told to after their end."""
    names = [each.name for each in settings.exports if each.wants_success]
    return tuple(names if settings.traces is None else [*names, "otel"])


def told_by(settings: Settings) -> tuple[object, object, object]:
    """All that says who is told of requests."""
    return settings.logs, settings.exports, settings.traces


def cache_type(settings: Settings) -> str | None:
    """In LiteLLM's words."""
    if settings.cache is None:
        return None
    if settings.cache.is_on_disk:
        return "disk"
    return "redis" if settings.cache.is_shared else "local"


def has_budgets(settings: Settings) -> bool:
    """Somebody will ask what was spent."""
    nothing = BudgetSettings()
    if settings.attempts.provider_budgets or any(each.budget is not None for each in settings.deployments):
        return True
    return bool(settings.tag_budgets) or any(
        budget != nothing
        for budget in (
            settings.end_user_budget,
            *[key.budget for key in settings.keys],
            *[budget for key in settings.keys for budget in key.model_max_budget.values()],
        )
    )


def _clear(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def adjustable(settings: Settings) -> Adjustable:
    """What the store's process is told again when it changes."""
    return Adjustable(
        alert_url=_clear(settings.alert_to_webhook_url),
        spend_kept_ms=None if settings.spend_kept_s is None else settings.spend_kept_s * 1000,
        prompts_kept_ms=settings.prompts.kept_s * 1000,
    )


def keeper_settings(settings: Settings) -> KeeperSettings:
    """What the store's process is told at its start."""
    shared = None
    if settings.valkey is not None and settings.database_url is not None:
        secrets = ("password", "sentinel_password")
        shared = {
            **dataclasses.asdict(settings.valkey),
            **{name: _clear(getattr(settings.valkey, name)) for name in secrets},
        }
    return KeeperSettings(
        valkey=shared,
        data_dir=str(settings.server.data_dir.resolve()),
        database_url=_clear(settings.database_url),
        adjustable=adjustable(settings),
        master_key=_clear(settings.master_key),
        salt=_clear(settings.salt_key),
    )


def server_tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    return context
