"""Money in a configuration: budgets, their windows, and who is told when one is crossed."""

from __future__ import annotations

from routewright.config.section import Section
from routewright.settings import BudgetSettings
from routewright.types import NUSD_PER_USD, Secret
from routewright.windows import Window

MOST_USD = 1e9
LEAST_KEPT_S = 86_400


def nano_dollars(section: Section, key: str) -> int | None:
    """An amount in US dollars."""
    usd = section.number(key, most=MOST_USD)
    return None if usd is None else round(usd * NUSD_PER_USD)


def duration(section: Section, key: str) -> str | None:
    text = section.text(key)
    if text is not None:
        try:
            Window(text)
        except ValueError as error:
            section.error(key, str(error))
            return None
    return text


def kept_seconds(section: Section, key: str) -> int | None:
    """A length of time of a day at least: what is younger may be in a journal still, and would come back."""
    text = section.text(key)
    if text is None:
        return None
    try:
        seconds = Window(text).seconds
    except ValueError as error:
        section.error(key, str(error))
        return None
    if seconds < LEAST_KEPT_S:
        section.error(key, "expected a day at least")
        return None
    return seconds


def budget(section: Section) -> BudgetSettings:
    """`max_budget`, `soft_budget` and `budget_duration`, or the words that LiteLLM has for a model's budget."""
    amount, amount_of_model = nano_dollars(section, "max_budget"), nano_dollars(section, "budget_limit")
    length, length_of_model = duration(section, "budget_duration"), duration(section, "time_period")
    return BudgetSettings(
        max_budget_nusd=amount if amount is not None else amount_of_model,
        soft_budget_nusd=nano_dollars(section, "soft_budget"),
        budget_duration=length if length is not None else length_of_model,
    )


def budgets_by_name(section: Section, key: str) -> dict[str, BudgetSettings]:
    """A mapping from a model or a tag to its budget; a plain number is one that is never reset."""
    named = section.section(key)
    found = {}
    for name, node in named.entries.items():
        if isinstance(node.value, dict):
            inner = named.section(name)
            found[name] = budget(inner)
            inner.finish()
        else:
            found[name] = BudgetSettings(max_budget_nusd=nano_dollars(named, name))
        named.know(name)
    return found


def alert_webhook(general: Section) -> Secret | None:
    """LiteLLM has one address, or one for each kind of alert; its own may hold a credential, so it is not shown."""
    node = general.entries.get("alert_to_webhook_url")
    if node is not None and isinstance(node.value, dict):
        inner = general.section("alert_to_webhook_url")
        url = inner.url("budget_alerts")
        for name in inner.entries:
            inner.know(name)
        inner.finish()
    else:
        url = general.url("alert_to_webhook_url")
    return Secret(url) if url else None
