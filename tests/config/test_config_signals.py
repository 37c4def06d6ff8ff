"""Log, callbacks and traces in LiteLLM's and OpenTelemetry's words."""

from __future__ import annotations

from textwrap import dedent

import pytest

from routewright.config import ConfigError, load_text
from routewright.settings import Settings, TraceSettings

BASE = """
model_list: [{model_name: m, litellm_params: {model: openai/m, api_key: k}}]
general_settings: {master_key: k}
"""


def load(text: str, **environ: str) -> Settings:
    return load_text(BASE + dedent(text), environ=environ)


def traced(text: str = "", **environ: str) -> TraceSettings:
    found = load("litellm_settings: {callbacks: [otel]}" + dedent(text), **environ).traces
    assert found is not None
    return found


# --- the log ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "environ", "level"),
    [
        ("", {}, "INFO"),
        ("", {"LITELLM_LOG": "debug"}, "DEBUG"),
        ("", {"LITELLM_LOG": "ERROR"}, "ERROR"),
        ("litellm_settings: {set_verbose: true}", {}, "DEBUG"),
        ("litellm_settings: {set_verbose: true}", {"LITELLM_LOG": "WARNING"}, "WARNING"),
    ],
)
def test_level(settings: str, environ: dict[str, str], level: str) -> None:
    assert load(settings, **environ).logs.level == level


def test_level_in_the_file_goes_before_the_variable() -> None:
    text = BASE.replace("master_key: k", "master_key: k, log_level: warning, access_log: true")
    logs = load_text(text, environ={"LITELLM_LOG": "DEBUG"}).logs
    assert (logs.level, logs.access) == ("WARNING", True)


def test_level_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"general_settings.log_level.*DEBUG, INFO"):
        load_text(BASE.replace("master_key: k", "log_level: loud"), environ={})
    assert any("LITELLM_LOG" in warning for warning in load("", LITELLM_LOG="loud").warnings)


def test_json_lines_by_key_and_by_variable() -> None:
    assert load("litellm_settings: {json_logs: true}").logs.as_json
    assert load("", JSON_LOGS="True").logs.as_json
    assert not load("litellm_settings: {json_logs: false}", JSON_LOGS="True").logs.as_json


# --- callbacks ----------------------------------------------------------------------------------------------------


def test_webhook_by_its_settings_and_which_ends_it_wants() -> None:
    (found,) = load(
        """
        litellm_settings: {success_callback: [audit]}
        callback_settings:
          audit:
            {callback_type: generic_api, endpoint: "https://a.example/x", headers: {Authorization: Bearer secret-1}}
        """
    ).exports
    assert (found.name, found.kind, found.url) == ("audit", "webhook", "https://a.example/x")
    assert (found.wants_success, found.wants_failure) == (True, False)
    assert "secret-1" not in repr(found)
    assert found.headers[0][1].reveal() == "Bearer secret-1"


def test_webhook_by_litellm_s_variables() -> None:
    environ = {"GENERIC_LOGGER_ENDPOINT": "http://a.example/", "GENERIC_LOGGER_HEADERS": "x-a=1,x-b=two%20words"}
    (found,) = load("litellm_settings: {callbacks: [generic_api]}", **environ).exports
    assert {name: value.reveal() for name, value in found.headers} == {"x-a": "1", "x-b": "two words"}
    assert found.wants_success
    assert found.wants_failure


def test_langfuse_by_its_variables() -> None:
    environ = {"LANGFUSE_PUBLIC_KEY": "pk-1", "LANGFUSE_SECRET_KEY": "sk-1", "LANGFUSE_HOST": "langfuse.example"}
    (found,) = load("litellm_settings: {failure_callback: [langfuse]}", **environ).exports
    assert found.url == "https://langfuse.example/api/public/ingestion"
    assert found.headers[0][1].reveal() == "Basic cGstMTpzay0x"
    assert not found.wants_success


def test_s3_in_litellm_s_words() -> None:
    (found,) = load(
        """
        litellm_settings:
          callbacks: [s3]
          s3_callback_params:
            {s3_bucket_name: logs, s3_path: a/b, s3_aws_access_key_id: id, s3_aws_secret_access_key: secret-1,
             s3_endpoint_url: "http://minio:9000"}
        """
    ).exports
    assert (found.kind, found.url) == ("objects", "s3://logs/a/b")
    assert {name: value.reveal() for name, value in found.options} == {
        "key": "id", "secret": "secret-1", "endpoint_url": "http://minio:9000",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        ("langfuse", "LANGFUSE_PUBLIC_KEY"),
        ("webhook", "callback_settings.webhook.endpoint"),
        ("s3", "callback_settings.s3.url"),
    ],
)
def test_callback_that_lacks_something_is_left_out_by_name(callback: str, told: str) -> None:
    settings = load(f"litellm_settings: {{callbacks: [{callback}]}}")
    assert not settings.exports
    assert any(told in warning and "left out" in warning for warning in settings.warnings)


def test_callback_of_litellm_s_that_is_not_served_is_told_and_a_misspelt_one_gets_its_name() -> None:
    warnings = load("litellm_settings: {callbacks: [datadog, langfuze]}").warnings
    assert any("callback datadog" in warning for warning in warnings)
    assert any("did you mean langfuse" in warning for warning in warnings)


def test_prometheus_is_on_anyway() -> None:
    assert load("litellm_settings: {callbacks: [prometheus]}").warnings == load("").warnings


# --- traces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/own"}, "http://c:4318/own"),
        ({"OTEL_ENDPOINT": "https://c.example/otlp"}, "https://c.example/otlp/v1/traces"),
    ],
)
def test_collector_s_address(environ: dict[str, str], url: str) -> None:
    assert traced(**environ).url == url


@pytest.mark.parametrize(
    ("sampler", "share", "follows"),
    [
        ({}, 1.0, True),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.1"}, 0.1, True),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, 0.1, False),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0.0, False),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0, True),
        ({"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, 1.0, False),
    ],
)
def test_samplers_of_the_specification(sampler: dict[str, str], share: float, follows: bool) -> None:
    found = traced(**sampler)
    assert (found.sampling, found.follows_caller) == (share, follows)


def test_settings_go_before_variables_and_name_the_service() -> None:
    text = """
        callback_settings: {otel: {endpoint: "http://own:4318", sampling: 0.25, protocol: http/json, headers: {a: b}}}
        """
    found = traced(
        text, OTEL_EXPORTER_OTLP_ENDPOINT="http://other", OTEL_TRACES_SAMPLER_ARG="0.5", OTEL_SERVICE_NAME="edge",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=prod",
    )  # fmt: skip
    assert (found.url, found.sampling, found.is_protobuf) == ("http://own:4318/v1/traces", 0.25, False)
    assert dict(found.resource) == {"service.name": "edge", "deployment.environment.name": "prod"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{protocol: grpc}", "gRPC is not spoken"),
        ("{endpoint: 'ftp://x'}", "http or https"),
        ("{sampling: 2}", "sampling"),
        ("{smapling: 1}", "did you mean"),
    ],
)
def test_faults_are_named(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load(f"litellm_settings: {{callbacks: [otel]}}\ncallback_settings: {{otel: {text}}}")
