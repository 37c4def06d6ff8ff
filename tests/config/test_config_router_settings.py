"""Every key of LiteLLM's `router_settings` is obeyed, or named in the one warning; none is passed over in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from routewright.config import ConfigError, load_text
from routewright.settings import Settings

EFFECTLESS = "known to LiteLLM and without effect here: "
MODELS = [
    {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_key": "sk-x"}} for name in ("m", "other")
]


def load(**router_settings: Any) -> Settings:
    text = yaml.safe_dump(
        {"model_list": MODELS, "general_settings": {"master_key": "k"}, "router_settings": router_settings}
    )
    return load_text(text, environ={})


OBEYED: dict[str, Any] = {
    "routing_strategy": "least-busy",
    "model_group_alias": {"a": "m"},
    "num_retries": 1,
    "timeout": 9,
    "stream_timeout": 9,
    "retry_after": 3,
    "fallbacks": [{"m": ["other"]}],
    "context_window_fallbacks": [{"m": ["other"]}],
    "content_policy_fallbacks": [{"m": ["other"]}],
    "default_fallbacks": ["other"],
    "max_fallbacks": 2,
    "allowed_fails": 4,
    "allowed_fails_policy": {"TimeoutErrorAllowedFails": 3},
    "cooldown_time": 30,
    "disable_cooldowns": True,
    "retry_policy": {"RateLimitErrorRetries": 0},
    "model_group_retry_policy": {"m": {"RateLimitErrorRetries": 0}},
    "enable_pre_call_checks": True,
    "optional_pre_call_checks": ["session_affinity", "enforce_model_rate_limits"],
    "enable_tag_filtering": True,
    "tag_filtering_match_any": False,
    "default_litellm_params": {"temperature": 1},
    "default_max_parallel_requests": 3,
    "deployment_affinity_ttl_seconds": 60,
    "provider_budget_config": {"openai": {"budget_limit": 5, "time_period": "1d"}},
}
OURS: dict[str, Any] = {"hedging": {"m": 300, "auto": "p95"}}
OBEYED |= OURS
NAMED: dict[str, Any] = {
    "cache_responses": True,
    "caching_groups": [["m", "other"]],
    "client_ttl": 60,
    "optional_pre_call_checks.forward_client_headers_by_model_group": ["forward_client_headers_by_model_group"],
}


@pytest.mark.parametrize(("key", "value"), OBEYED.items(), ids=OBEYED.keys())
def test_key_is_obeyed(key: str, value: Any) -> None:
    settings, without = load(**{key: value}), load()
    assert not [warning for warning in settings.warnings if EFFECTLESS in warning]
    assert replace(settings, warnings=()) != replace(without, warnings=())


@pytest.mark.parametrize(("key", "value"), NAMED.items(), ids=NAMED.keys())
def test_key_is_named_in_the_one_warning(key: str, value: Any) -> None:
    assert f"{EFFECTLESS}router_settings.{key}" in load(**{key.partition(".")[0]: value}).warnings


def test_arguments_of_the_strategy_are_obeyed() -> None:
    args = {"ttl": 60, "lowest_latency_buffer": 0.5, "max_latency_list_size": 3}
    found = load(routing_strategy="latency-based-routing", routing_strategy_args=args)
    attempts = found.attempts
    assert (attempts.latency_ttl_s, attempts.lowest_latency_buffer, attempts.latency_samples) == (60.0, 0.5, 3)
    named = load(routing_strategy="simple-shuffle", routing_strategy_args=args).warnings
    assert [warning for warning in named if EFFECTLESS in warning and "routing_strategy_args.ttl" in warning]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"routing_strategy": "fastest"}, 'unknown strategy "fastest"'),
        ({"routing_strategy": "least_busy"}, 'did you mean "least-busy"?'),
        ({"optional_pre_call_checks": ["session_afinity"]}, 'did you mean "session_affinity"?'),
        ({"retry_policy": {"RateLimitRetries": 1}}, 'did you mean "RateLimitErrorRetries"?'),
        ({"retry_policy": {"TimeoutErrorRetries": -1}}, "expected 0 or more"),
        ({"allowed_fails_policy": {"TimeoutErrorRetries": 1}}, "unknown key"),
        ({"provider_budget_config": {"openia": {"budget_limit": 1}}}, 'did you mean "openai"?'),
        ({"hedging": {"otter": 100}}, 'no model or route named "otter"; did you mean "other"?'),
        ({"hedging": {"m": "p100"}}, "expected milliseconds, or a quantile from p50 to p99"),
        ({"hedging": {"m": 0}}, "router_settings.hedging.m"),
        ({"deployment_affinity_ttl_seconds": 0}, "deployment_affinity_ttl_seconds"),
    ],
    ids=str,
)
def test_mistake_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(**settings)
    assert message in str(refused.value)


def test_policy_of_an_unknown_model_is_a_warning() -> None:
    warnings = load(model_group_retry_policy={"otter": {"RateLimitErrorRetries": 0}}).warnings
    assert any('no model named "otter"' in warning and 'did you mean "other"' in warning for warning in warnings)


def test_entry_at_fault_is_left_out_with_a_warning_where_that_is_asked_for() -> None:
    text = yaml.safe_dump(
        {
            "model_list": [*MODELS, {"model_name": "bad", "litellm_params": {"model": "openai/x", "rpm": "many"}}],
            "general_settings": {"master_key": "k"},
            "router_settings": {"ignore_invalid_deployments": True},
        }
    )
    found = load_text(text, environ={"OPENAI_API_KEY": "sk-x"})
    assert [each.model_name for each in found.deployments] == ["m", "other"]
    assert any("litellm_params.rpm: expected an integer" in warning for warning in found.warnings)
    with pytest.raises(ConfigError):
        load_text(text.replace("true", "false"), environ={"OPENAI_API_KEY": "sk-x"})
