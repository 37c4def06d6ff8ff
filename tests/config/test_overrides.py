"""What was changed while serving is laid over the file, and only what may be changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from routewright.config import ConfigError, load_settings
from routewright.config.overrides import CHANGEABLE, refusal, values_in
from routewright.reloading import difference

FILE = """
model_list:
  - model_name: a
    litellm_params: {model: openai/a, api_key: sk-a}
  - model_name: b
    litellm_params: {model: openai/b, api_key: sk-b}
general_settings: {master_key: sk-master, max_request_size_mb: 7}
router_settings:
  num_retries: 1
  fallbacks: [{a: [b]}]
"""
SAMPLES: dict[str, Any] = {
    "max_request_size_mb": 3, "max_response_size_mb": 3, "max_wrong_keys_per_minute": 7,
    "background_health_checks": True,
    "health_check_interval": 77, "num_retries": 5, "request_timeout": 11, "drop_params": True, "allowed_fails": 9,
    "fallbacks": [{"b": ["a"]}], "context_window_fallbacks": [{"b": ["a"]}],
    "content_policy_fallbacks": [{"b": ["a"]}], "default_fallbacks": ["b"], "routing_strategy": "least-busy",
    "retry_after": 3, "timeout": 11, "allowed_fails_policy": {"TimeoutErrorAllowedFails": 3}, "cooldown_time": 9,
    "disable_cooldowns": True, "retry_policy": {"TimeoutErrorRetries": 3},
    "model_group_retry_policy": {"a": {"TimeoutErrorRetries": 3}}, "model_group_alias": {"c": "a"},
    "max_fallbacks": 2, "enable_pre_call_checks": True, "enable_tag_filtering": True, "tag_filtering_match_any": False,
    "hedging": {"a": 100},
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("section", "name"), [(section, name) for section in CHANGEABLE for name in CHANGEABLE[section]]
)
def test_each_of_them_takes_the_place_of_the_file_s_without_a_restart(file: Path, section: str, name: str) -> None:
    if (section, name) == ("litellm_settings", "num_retries"):
        file.write_text(FILE.replace("  num_retries: 1\n", ""))  # router_settings would win
    before = load_settings(file, environ={})
    over = {section: {name: SAMPLES[name]}}
    if name == "health_check_interval":
        over[section]["background_health_checks"] = True
    found = difference(before, load_settings(file, environ={}, overrides=over))
    assert found.changed
    assert found.needs_restart == ()


def test_the_rest_of_the_file_stays_as_it_is(file: Path) -> None:
    found = load_settings(file, environ={}, overrides={"router_settings": {"retry_after": 3}})
    assert (found.attempts.num_retries, found.attempts.retry_after_s) == (1, 3)
    assert found.attempts.fallbacks == {"a": ("b",)}
    assert values_in(file)["router_settings"] == {"num_retries": 1, "fallbacks": [{"a": ["b"]}]}
    assert values_in(file)["general_settings"] == {"max_request_size_mb": 7}, "and nothing of a credential"


def test_what_is_wrong_is_named_as_in_a_file(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environ={}, overrides={"router_settings": {"num_retries": "many"}})
    assert "store" in str(caught.value)
    assert "router_settings.num_retries" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("general_settings", "master_key", "sk-mine"), ("general_settings", "database_url", "postgresql://x/y"),
        ("general_settings", "pass_through_endpoints", []), ("general_settings", "alert_to_webhook_url", "http://x"),
        ("litellm_settings", "turn_off_message_logging", False), ("litellm_settings", "success_callback", ["x"]),
        ("litellm_settings", "ssl_verify", False), ("router_settings", "redis_url", "redis://x"),
        ("general_settings", "store_prompts_in_spend_logs", True), ("litellm_settings", "max_end_user_budget", 9),
        ("general_settings", "maximum_spend_logs_retention_period", "1d"),
        ("general_settings", "num_retires", 1), ("environment_variables", "A", "b"), ("model_list", "a", {}),
        ("router_settings", "fallbacks", [{"a": ["os.environ/SECRET_API_KEY"]}]),
        ("router_settings", "model_group_alias", {"os.environ/X": "a"}),
    ],
)  # fmt: skip
def test_all_else_is_refused_by_its_name_and_never_laid_over(file: Path, section: str, name: str, value: Any) -> None:
    assert section in refusal(section, name, value)
    assert load_settings(file, environ={}, overrides={section: {name: value}}) == load_settings(file, environ={})


def test_a_name_that_is_nearly_right_is_told() -> None:
    assert 'did you mean "num_retries"?' in refusal("router_settings", "num_retires")
