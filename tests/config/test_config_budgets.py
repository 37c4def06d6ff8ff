"""Budgets in a configuration: US dollars at the edge, whole nano-dollars inside."""

from __future__ import annotations

import pytest

from routewright.config.load import load_text
from routewright.config.problems import ConfigError
from routewright.settings import BudgetSettings, Settings

MODEL = "model_list: [{model_name: m, litellm_params: {model: openai/gpt-4o, api_key: sk-x}}]\n"


def loaded(text: str) -> Settings:
    return load_text(MODEL + text, environ={})


def test_key_has_a_budget_and_one_for_each_model() -> None:
    (key,) = loaded("""
keys:
  - key: sk-1
    max_budget: 12.5
    soft_budget: 10
    budget_duration: 30d
    model_max_budget: {m: {budget_limit: 0.1, time_period: 1d}, other: 3}
    model_rpm_limit: {m: 5}
    model_tpm_limit: {m: 700}
""").keys
    assert key.budget == BudgetSettings(
        max_budget_nusd=12_500_000_000, soft_budget_nusd=10_000_000_000, budget_duration="30d"
    )
    assert key.model_max_budget == {
        "m": BudgetSettings(max_budget_nusd=100_000_000, budget_duration="1d"),
        "other": BudgetSettings(max_budget_nusd=3_000_000_000),
    }
    (whole,), by_model = key.allowances("hash")
    assert (whole.scope, whole.owner, whole.budget_nusd) == ("key", "hash", 12_500_000_000)
    assert (by_model["m"][0].rpm, by_model["m"][0].tpm, by_model["m"][0].owner) == (5, 700, "hash/m")


def test_end_users_tags_and_the_address_of_alerts() -> None:
    found = loaded("""
litellm_settings:
  max_end_user_budget: 0.0001
  tag_budget_config: {"product:chat": {max_budget: 1, budget_duration: 1d}}
general_settings:
  alert_to_webhook_url: {budget_alerts: "https://hooks.example/secret"}
""")
    assert found.end_user_budget.max_budget_nusd == 100_000
    assert found.tag_budgets["product:chat"].budget_duration == "1d"
    assert found.alert_to_webhook_url is not None
    assert "secret" not in repr(found.alert_to_webhook_url)


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("{key: sk-1, max_budget: -1}", "max_budget"),
        ("{key: sk-1, max_budget: lots}", "max_budget"),
        ("{key: sk-1, budget_duration: 30 days}", "budget_duration"),
        ("{key: sk-1, model_max_budget: {m: {budget_limit: 1, time_period: soon}}}", "time_period"),
        ("{key: sk-1, model_max_budget: {m: {max_buget: 1}}}", "max_buget"),
        ("{key: sk-1, model_rpm_limit: {m: 1.5}}", "model_rpm_limit.m"),
    ],
)
def test_wrong_budget_stops_the_start_and_is_named(key: str, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(f"keys: [{key}]")
    assert field in str(caught.value)
