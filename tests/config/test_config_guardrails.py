"""The section `guardrails`: LiteLLM's words, ours, and what can't be run."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.config import ConfigError, load_text
from routewright.settings import GuardrailSettings, Settings
from routewright.types import Secret


def load(params: str, **options: Any) -> Settings:
    text = f"guardrails:\n  - guardrail_name: g\n    litellm_params: {params}\n"
    return load_text(text, environ={"KEY": "sk-1"}, **options)


def test_entry_in_litellms_words() -> None:
    found = load(
        "{guardrail: generic_guardrail_api, mode: [pre_call, post_call], api_base: 'https://g.example',"
        " api_key: os.environ/KEY, default_on: true, unreachable_fallback: fail_open}"
    )
    assert found.guardrails == (
        GuardrailSettings(
            name="g",
            kind="webhook",
            modes=("pre_call", "post_call"),
            is_default_on=True,
            is_fail_open=True,
            params={"api_base": "https://g.example", "api_key": Secret("sk-1")},
        ),
    )
    assert not any("guardrail" in warning for warning in found.warnings)


def test_presidio_is_done_by_the_gateway_itself_and_says_so() -> None:
    found = load(
        "{guardrail: presidio, mode: pre_call, pii_entities_config: {CREDIT_CARD: BLOCK, EMAIL_ADDRESS: MASK},"
        " output_parse_pii: true, presidio_language: de}"
    )
    (made,) = found.guardrails
    assert (made.kind, made.params) == (
        "pii", {"entities": {"CREDIT_CARD": "BLOCK", "EMAIL_ADDRESS": "MASK"}, "restore": True},
    )  # fmt: skip
    assert any("presidio is not asked" in warning for warning in found.warnings)
    assert any("presidio_language" in warning for warning in found.warnings)


def test_one_that_only_litellm_runs_is_told_and_stops_the_start_where_all_requests_need_it() -> None:
    found = load("{guardrail: lakera_v2, mode: pre_call, api_key: x}")
    assert found.guardrails == ()
    assert any("lakera_v2" in warning and "refused" in warning for warning in found.warnings)
    with pytest.raises(ConfigError, match="lakera_v2"):
        load("{guardrail: lakera_v2, mode: pre_call, default_on: true}")
    assert load("{guardrail: lakera_v2, mode: pre_call, default_on: true}", lenient=True).guardrails == ()


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ("{guardrail: pi, mode: pre_call}", 'guardrail.*did you mean "pii"'), ("{mode: pre_call}", "guardrail"),
        ("{guardrail: pii, mode: before}", "mode"), ("{guardrail: pii, entities: {name: MASK}}", "entities"),
        ("{guardrail: pii, entities: {email: HIDE}}", "entities"), ("{guardrail: pii, entites: {}}", "entites"),
        ("{guardrail: pii, restore: true, mode: [pre_call, post_call]}", "mode"),
        ("{guardrail: deny}", "words"), ("{guardrail: deny, patterns: ['a+']}", "patterns"),
        ("{guardrail: deny, patterns: ['(']}", "patterns"), ("{guardrail: max_tokens}", "max_input_tokens"),
        ("{guardrail: max_tokens, max_input_tokens: many}", "max_input_tokens"),
        ("{guardrail: prompt_injection, threshold: 2}", "threshold"),
        ("{guardrail: prompt_injection, mode: post_call}", "mode"),
        ("{guardrail: json_schema, mode: pre_call}", "mode"),
        ("{guardrail: webhook, api_base: 'ftp://x'}", "api_base"), ("{guardrail: webhook}", "api_base"),
        ("{guardrail: webhook, api_base: 'http://x', mode: logging_only}", "mode"),
        ("{guardrail: secrets, kinds: [nothing]}", "kinds"),
        ("{guardrail: secrets, unreachable_fallback: x}", "unreach"),
    ],
)  # fmt: skip
def test_fault_is_told_with_its_field(params: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load(params)


def test_name_is_needed_and_its_own() -> None:
    entry = "{guardrail_name: g, litellm_params: {guardrail: pii, mode: pre_call}}"
    with pytest.raises(ConfigError, match="stands above already"):
        load_text(f"guardrails: [{entry}, {entry}]", environ={})
    with pytest.raises(ConfigError, match="guardrail_name"):
        load_text("guardrails: [{litellm_params: {guardrail: pii}}]", environ={})
