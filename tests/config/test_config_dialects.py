"""Deployments of providers with dialects of their own: addresses, credentials, names; LiteLLM's words for them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from routewright.catalog import make_deployment
from routewright.config import load_text
from routewright.config.problems import ConfigError
from routewright.config.stored import read_stored
from routewright.credentials import AwsSource, EntraSource, GoogleSource, ManagedSource
from routewright.settings import DeploymentSettings, Settings
from routewright.types import Health, Secret

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalr+secret", "AWS_REGION": "eu-west-1"}
PRICE = "input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6"


def load(model: str, params: str = "", **environ: str) -> Settings:
    text = f"model_list: [{{model_name: m, litellm_params: {{model: '{model}', {PRICE}{params and ', ' + params}}}}}]"
    return load_text(dedent(text), environ=environ)


def only(model: str, params: str = "", **environ: str) -> DeploymentSettings:
    [found] = load(model, params, **environ).deployments
    return found


@pytest.mark.parametrize(
    ("model", "base", "upstream"),
    [
        ("anthropic/claude-opus-4-6", "https://api.anthropic.com/v1", "claude-opus-4-6"),
        ("claude-opus-4-6", "https://api.anthropic.com/v1", "claude-opus-4-6"),
        ("gemini/gemini-2.5-flash", "https://generativelanguage.googleapis.com/v1beta", "gemini-2.5-flash"),
    ],
)
def test_provider_has_its_own_address(model: str, base: str, upstream: str) -> None:
    found = only(model, "api_key: k-1234567")
    assert (found.api_base, found.upstream_model) == (base, upstream)
    made = make_deployment(found, model_name="m", upstream_model=found.upstream_model, health=Health())
    assert {"chat", "completions", "embeddings", "messages", "count_tokens"} <= set(made.exchanges)


@pytest.mark.parametrize(
    ("model", "params", "region", "upstream"),
    [
        ("bedrock/anthropic.claude-x-v1:0", "", "eu-west-1", "anthropic.claude-x-v1:0"),
        ("anthropic.claude-x-v1:0", "", "eu-west-1", "anthropic.claude-x-v1:0"),
        ("bedrock/converse/us.amazon.nova-pro-v1:0", "", "eu-west-1", "us.amazon.nova-pro-v1:0"),
        ("bedrock_converse/x", "aws_region_name: us-west-2", "us-west-2", "x"),
        ("bedrock/us-gov-west-1/x", "aws_region_name: us-west-2", "us-gov-west-1", "x"),
        (
            "bedrock/arn:aws:bedrock:ap-south-1:1:inference-profile/x",
            "",
            "ap-south-1",
            "arn:aws:bedrock:ap-south-1:1:inference-profile/x",
        ),
    ],
)
def test_bedrock_s_region_and_model(model: str, params: str, region: str, upstream: str) -> None:
    found = only(model, params, **KEYS)
    assert found.upstream_model == upstream
    assert found.api_base == f"https://bedrock-runtime.{region}.amazonaws.com"
    assert found.aws is not None
    assert (found.aws.region, found.aws.key_id, found.aws.session_token) == (region, "AKIDEXAMPLE", None)
    assert "wJalr" not in repr(found)


def test_bedrock_s_keys_come_from_one_place() -> None:
    params = "aws_access_key_id: os.environ/MY_ID, aws_secret_access_key: os.environ/MY_SECRET, aws_session_token: t"
    found = only("bedrock/x", params, **KEYS, AWS_SESSION_TOKEN="other", MY_ID="AKIDMINE", MY_SECRET="s")
    assert found.aws is not None
    assert (found.aws.key_id, found.aws.secret_key, found.aws.session_token) == ("AKIDMINE", Secret("s"), Secret("t"))


def test_bedrock_takes_a_bearer_token_and_an_endpoint_of_its_own() -> None:
    found = only("bedrock/x", "aws_bedrock_runtime_endpoint: 'https://vpce.example.com'",
                 AWS_BEARER_TOKEN_BEDROCK="token", AWS_REGION="us-east-1")  # fmt: skip
    assert (found.api_base, found.api_key, found.aws) == ("https://vpce.example.com", Secret("token"), None)


@pytest.mark.parametrize(
    ("params", "environ", "why"),
    [
        ("", {}, "no aws_region_name, and AWS_REGION is not set"),
        ("aws_access_key_id: os.environ/NOWHERE", {}, "the variable NOWHERE is not set"),
    ],
)
def test_bedrock_without_credentials_is_left_out_by_name(params: str, environ: dict[str, str], why: str) -> None:
    settings = load("bedrock/x", params, **environ)
    assert not settings.deployments
    assert any(why in warning for warning in settings.warnings), settings.warnings


def test_azure_takes_a_token_of_entra() -> None:
    found = only(
        "azure/gpt-4o", "api_base: 'https://x.openai.azure.com', azure_ad_token: os.environ/TOKEN", TOKEN="t-1"
    )
    made = make_deployment(found, model_name="m", upstream_model=found.upstream_model, health=Health())
    assert b"authorization: Bearer t-1\r\n" in made.request_heads["chat"]
    assert b"api-key" not in made.request_heads["chat"]
    keyed = only("azure/gpt-4o", "api_base: 'https://x.openai.azure.com', api_key: k, azure_ad_token: t")
    assert (keyed.api_key, keyed.is_bearer) == (Secret("k"), False)


def test_drop_params_is_the_deployment_s_word_or_everybody_s() -> None:
    text = """
    model_list:
      - {model_name: a, litellm_params: {model: anthropic/claude-opus-4-6, api_key: k}}
      - {model_name: b, litellm_params: {model: anthropic/claude-opus-4-6, api_key: k, drop_params: false}}
    litellm_settings: {drop_params: true}
    """
    first, second = load_text(dedent(text), environ={}).deployments
    assert (first.drops_unsupported, second.drops_unsupported) == (True, False)
    assert not only("openai/x", "api_key: k").drops_unsupported


def test_price_of_caching_for_an_hour() -> None:
    found = only("anthropic/x", "api_key: k, cache_creation_input_token_cost: 3.75e-6, "
                 "cache_creation_input_token_cost_above_1hr: 6.0e-6")  # fmt: skip
    assert found.price.cache_creation_usd_per_token == 3.75e-6
    assert found.price.cache_creation_long_usd_per_token == 6e-6


# --- credentials that are fetched ----------------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/gateway"
ACCOUNT = {"type": "service_account", "client_email": "gateway@p-1.example", "private_key": "key-text",
           "token_uri": "https://oauth2.example/token", "project_id": "p-1"}  # fmt: skip


def test_bedrock_s_identity_may_be_fetched() -> None:
    region = "aws_region_name: eu-west-1"
    found = only("bedrock/x", f"{region}, aws_role_name: '{ROLE}', aws_external_id: e-1", **KEYS)
    assert (found.aws, found.credential) == (None, AwsSource(region="eu-west-1", role=ROLE, external_id="e-1"))
    own = "aws_access_key_id: AKIDMINE, aws_secret_access_key: s"
    keyed = only("bedrock/x", f"{region}, {own}, aws_role_name: '{ROLE}', aws_session_name: me", **KEYS).credential
    assert isinstance(keyed, AwsSource)
    assert (keyed.key_id, keyed.secret_key, keyed.session_name) == ("AKIDMINE", Secret("s"), "me")
    assert only("bedrock/x", f"{region}, aws_profile_name: work", **KEYS).credential == AwsSource(
        region="eu-west-1", profile="work"
    )
    assert only("bedrock/x", region).credential == AwsSource(region="eu-west-1")


def test_vertex_has_a_project_a_location_and_credentials(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text(json.dumps(ACCOUNT))
    by_file = only("vertex_ai/gemini-2.5-pro", f"vertex_location: europe-west1, vertex_credentials: '{file}'")
    inline = only("vertex_ai/gemini-2.5-pro", f"vertex_project: other, vertex_credentials: {json.dumps(ACCOUNT)}")
    by_variable = only("gemini-2.5-pro", "vertex_location: global", VERTEXAI_CREDENTIALS=json.dumps(ACCOUNT))
    assert by_file.credential == inline.credential == by_variable.credential
    assert isinstance(by_file.credential, GoogleSource)
    assert by_file.credential.name == "gateway@p-1.example"
    assert "key-text" not in repr(by_file)
    assert by_file.api_base == (
        "https://europe-west1-aiplatform.googleapis.com/v1beta1/projects/p-1/locations/europe-west1"
    )
    assert inline.api_base.endswith("projects/other/locations/us-central1")
    assert by_variable.api_base == "https://aiplatform.googleapis.com/v1beta1/projects/p-1/locations/global"
    assert only("vertex_ai/claude-x", "vertex_project: p-2").credential == GoogleSource()


def test_azure_by_an_application_of_entra() -> None:
    base = "api_base: 'https://x.openai.azure.com'"
    found = only("azure/gpt-4o", f"{base}, tenant_id: t-1, client_id: c-1, client_secret: os.environ/S", S="s-1")
    assert found.credential == EntraSource(tenant_id="t-1", client_id="c-1", client_secret=Secret("s-1"))
    assert "s-1" not in repr(found)
    environ = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}
    by_variables = only("azure/gpt-4o", base, **environ, AZURE_AUTHORITY_HOST="login.microsoftonline.us")
    assert isinstance(by_variables.credential, EntraSource)
    assert by_variables.credential.authority == "https://login.microsoftonline.us"
    assert only("azure/gpt-4o", f"{base}, api_key: k", **environ).credential is None


def test_azure_by_what_the_machine_gives() -> None:
    """By a workload's file, by an app's endpoint, by the machine where it is asked for; an application comes first."""
    base = "api_base: 'https://x.openai.azure.com'"
    workload = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": "/var/run/azure/token"}
    found = only("azure/gpt-4o", base, **workload)
    assert found.credential == EntraSource(tenant_id="t", client_id="c", proof=Secret("/var/run/azure/token"))
    named = only("azure/gpt-4o", f"{base}, client_id: other", **workload).credential
    assert isinstance(named, EntraSource)
    assert (named.tenant_id, named.client_id) == ("t", "other")
    keyed = only("azure/gpt-4o", f"{base}, tenant_id: a, client_id: b, client_secret: s", **workload).credential
    assert keyed == EntraSource(tenant_id="a", client_id="b", client_secret=Secret("s"))
    token = only("azure/gpt-4o", f"{base}, tenant_id: a, client_id: b, azure_ad_token: oidc/env/T", T="ey.x").credential
    assert token == EntraSource(tenant_id="a", client_id="b", proof=Secret("ey.x"))
    assert "ey.x" not in repr(token)

    app = {"IDENTITY_ENDPOINT": "http://localhost:42356/msi/token", "IDENTITY_HEADER": "h-1"}
    managed = only("azure/gpt-4o", f"{base}, client_id: c-9", **app).credential
    assert managed == ManagedSource(
        endpoint="http://localhost:42356/msi/token", header=Secret("h-1"), client_id="c-9",
        resource="https://cognitiveservices.azure.com",
    )  # fmt: skip
    assert "h-1" not in repr(managed)
    assert load("azure/gpt-4o", base).deployments == ()
    text = (
        f"litellm_settings: {{enable_azure_ad_token_refresh: true}}\n"
        f"model_list: [{{model_name: m, litellm_params: {{model: azure/gpt-4o, {PRICE}, {base}}}}}]"
    )
    [machine] = load_text(text, environ={}).deployments
    assert machine.credential == ManagedSource(endpoint="http://169.254.169.254/metadata/identity/oauth2/token")


@pytest.mark.parametrize(
    ("model", "params", "field", "words"),
    [
        ("bedrock/x", "aws_region_name: eu-west-1, aws_role_name: admin", "aws_role_name", "expected the ARN"),
        ("bedrock/x", "aws_region_name: eu-west-1, aws_external_id: e", "aws_external_id", "beside aws_role_name"),
        (
            "bedrock/x",
            f"aws_region_name: eu-west-1, aws_role_name: '{ROLE}', aws_web_identity_token: oidc/google/x",
            "aws_web_identity_token",
            "oidc/file/PATH",
        ),
        (
            "bedrock/x",
            f"aws_region_name: eu-west-1, aws_role_name: '{ROLE}', aws_web_identity_token: oidc/env/NOWHERE",
            "aws_web_identity_token",
            "NOWHERE is not set",
        ),
        ("azure/x", "api_base: 'https://x.example', azure_ad_token: oidc/env/T", "azure_ad_token", "not set"),
        ("azure/x", "api_base: 'https://x.example', azure_ad_token: oidc/file/t, tenant_id: t", "client_id", "missing"),
        ("vertex_ai/gemini-x", "vertex_project: p, vertex_credentials: /nowhere.json", "vertex_credentials",
         "can't be read: No such file"),
        ("vertex_ai/gemini-x", "vertex_project: p, vertex_credentials: '{not json'", "vertex_credentials", "no JSON"),
        ("vertex_ai/gemini-x", "vertex_project: p, vertex_credentials: {type: service_account, client_email: a}",
         "vertex_credentials", "needs private_key, token_uri"),
        ("vertex_ai/gemini-x", "vertex_project: p, vertex_location: '../x'", "vertex_location", "no location"),
        ("azure/x", "api_base: 'https://x.example', tenant_id: t, client_id: c", "client_secret", "missing"),
    ],
)  # fmt: skip
def test_faulty_credentials_are_named(model: str, params: str, field: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(model, params)
    [problem] = refused.value.problems
    assert problem.field == f"litellm_params.{field}"
    assert words in problem.message


@pytest.mark.parametrize(
    ("module", "model", "params"),
    [
        ("botocore", "bedrock/x", f"aws_region_name: eu-west-1, aws_role_name: '{ROLE}'"),
        ("google.auth", "vertex_ai/gemini-x", "vertex_project: p"),
    ],
)
def test_missing_extra_is_named(module: str, model: str, params: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install \"routewright\[(vertex|bedrock)\]\""):
        load(model, params)


def test_stored_model_names_no_file_of_the_server(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text(json.dumps(ACCOUNT))
    entry = {"model_name": "m", "model_info": {"id": "m-1"}}
    params = {"model": "vertex_ai/gemini-x", "vertex_project": "p", "vertex_credentials": str(file)}
    usable, reasons = read_stored([{**entry, "litellm_params": params}], {})
    assert not usable
    assert "names no file" in reasons[0]
    usable, _ = read_stored([{**entry, "litellm_params": {**params, "vertex_credentials": ACCOUNT}}], {})
    assert len(usable) == 1


@pytest.mark.parametrize(
    ("model", "more", "upstream", "answered"),
    [
        ("openai/responses/gpt-5.2", "", "gpt-5.2", "all"),
        ("openai/gpt-5.2", "mode: responses", "gpt-5.2", "all"),
        ("openai/o3-pro", "", "o3-pro", "all"),
        ("openai/gpt-5.1-codex-max", "", "gpt-5.1-codex-max", "all"),
        ("openai/gpt-5.2-pro-2025-12-11", "", "gpt-5.2-pro-2025-12-11", "all"),
        ("openai/o3-pro", "mode: chat", "o3-pro", "own"),
        ("openai/gpt-4o", "", "gpt-4o", "own"),
        ("openai/text-embedding-3-small", "", "text-embedding-3-small", "none"),
        ("hosted_vllm/responses/qwen", "", "qwen", "all"),
        ("hosted_vllm/qwen", "", "qwen", "none"),
        ("azure/responses/mine", "", "mine", "all"),
        ("azure/o_series/mine", "", "mine", "none"),
        ("anthropic/claude-opus-4-6", "mode: responses", "claude-opus-4-6", "none"),
    ],
)
def test_who_is_answered_by_responses(model: str, more: str, upstream: str, answered: str) -> None:
    """By LiteLLM's mode and its steering word; OpenAI's own door has Responses for all of its models."""
    base = ", api_base: 'https://x.example.com'" if model.startswith(("azure", "hosted")) else ""
    text = (
        f"model_list: [{{model_name: m, litellm_params: {{model: '{model}', {PRICE}, api_key: k-1234567{base}}}, "
        f"model_info: {{{more}}}}}]"
    )
    settings = load_text(text, environ={})
    [found] = settings.deployments
    assert (found.upstream_model, found.by_responses) == (upstream, answered)
    assert found.mode == ("embedding" if "embedding" in model else "chat")
    made = make_deployment(found, model_name="m", upstream_model=upstream, health=Health())
    assert b"/responses" in made.request_heads.get("responses", b"/responses")
    if model.startswith("anthropic"):
        assert any("has a dialect of its own" in warning for warning in settings.warnings)
