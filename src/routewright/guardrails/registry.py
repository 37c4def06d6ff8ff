"""From a configured word to a guardrail: ours, or a plug-in by its entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from routewright.guardrails.bounds import JsonSchema, MaxTokens
from routewright.guardrails.contract import CONTRACT, GROUP, Guardrail
from routewright.guardrails.credentials import Credentials
from routewright.guardrails.injection import Injection
from routewright.guardrails.patterns import Allowed, Denied
from routewright.guardrails.personal import Personal
from routewright.guardrails.rail import Rail, Rails
from routewright.guardrails.webhook import Post, Webhook
from routewright.settings import GuardrailSettings

OURS: Mapping[str, Callable[[str, Mapping[str, Any]], Guardrail]] = {
    "pii": Personal,
    "secrets": Credentials,
    "deny": Denied,
    "allow": Allowed,
    "prompt_injection": Injection,
    "max_tokens": MaxTokens,
    "json_schema": JsonSchema,
}
WEBHOOK = "webhook"


def kinds() -> tuple[str, ...]:
    """Words that a configuration may use."""
    return (*OURS, WEBHOOK, *sorted(point.name for point in entry_points(group=GROUP)))


def make_guardrail(kind: str, name: str, params: Mapping[str, Any], post: Post) -> Guardrail:
    """Raises ValueError, whose text names the parameter; KeyError for a word that nobody has."""
    if kind == WEBHOOK:
        return Webhook(name, params, post)
    if kind in OURS:
        return OURS[kind](name, params)
    for point in entry_points(group=GROUP):
        if point.name == kind:
            made = point.load()
            if not (isinstance(made, type) and issubclass(made, Guardrail)):
                raise ValueError(f"guardrail: the plug-in {kind} is no Guardrail")
            if made.is_quick and made.look is Guardrail.look:
                raise ValueError(f"guardrail: the plug-in {kind} has no look")
            if made.contract != CONTRACT:
                raise ValueError(f"guardrail: the plug-in {kind} is for contract {made.contract}, this is {CONTRACT}")
            return made(name, params)
    raise KeyError(kind)


def make_rails(settings: Sequence[GuardrailSettings], post: Post) -> Rails | None:
    """None where none is configured. The settings were checked when they were read."""
    if not settings:
        return None
    return Rails(
        [
            Rail(
                each.name, make_guardrail(each.kind, each.name, each.params, post), frozenset(each.modes),
                each.is_default_on, each.is_fail_open,
            )
            for each in settings
        ]
    )  # fmt: skip
