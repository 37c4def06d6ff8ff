"""`config.yaml` -> Settings: what is read, what is refused and where."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from routewright.config import ConfigError, load_settings, load_text
from routewright.config.section import Notes
from routewright.settings import DeploymentSettings, ServerSettings, Settings

PRICE = "input_cost_per_token: 1.0e-6\noutput_cost_per_token: 2.0e-6"


def load(text: str, *, lenient: bool = False, **environ: str) -> Settings:
    return load_text(dedent(text), environ=environ, lenient=lenient)


def faults(text: str, *, lenient: bool = False, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, lenient=lenient, **environ)
    return [str(problem) for problem in caught.value.problems]


def model(params: str = "", info: str = "", name: str = "m", upstream: str = "openai/gpt-4o") -> str:
    """A configuration of one model; its litellm_params begin in line 4, with `model`."""
    lines = f'model_list:\n  - model_name: "{name}"\n    litellm_params:\n      model: "{upstream}"\n'
    if "api_key" not in params:
        params = f"{params}\napi_key: sk-upstream-1".strip()
    lines += indent(dedent(params).strip(), " " * 6) + "\n"
    lines += indent(PRICE, " " * 6) + "\n" if "cost" not in params + info else ""
    return lines + ("    model_info:\n" + indent(dedent(info).strip(), " " * 6) + "\n" if info else "")


def only(text: str, **environ: str) -> DeploymentSettings:
    [deployment] = load(text, **environ).deployments
    return deployment


# --- what is wrong, and where ---------------------------------------------------------------------------------------

BAD: list[tuple[str, str]] = [
    # litellm_params begin in line 4
    (model("modle: x"), 'config.yaml:5: litellm_params.modle: unknown key; did you mean "model"?'),
    (model("temprature: 1"), 'config.yaml:5: litellm_params.temprature: unknown key; did you mean "temperature"?'),
    (model("zzz: 1"), "config.yaml:5: litellm_params.zzz: unknown key"),
    (model("rpm: true"), "config.yaml:5: litellm_params.rpm: expected an integer, found true or false"),
    (model("rpm: 0"), "config.yaml:5: litellm_params.rpm: expected 1 or more, found 0"),
    (model("rpm: 1.5"), "config.yaml:5: litellm_params.rpm: expected an integer, found a number"),
    (model("rpm: many"), "config.yaml:5: litellm_params.rpm: expected an integer, found text"),
    (model("tpm: []"), "config.yaml:5: litellm_params.tpm: expected an integer, found a list"),
    (model("tpm: 99999999999999999999"), "litellm_params.tpm: expected 9007199254740992 or less, found 9999999"),
    (model("weight: -1"), "config.yaml:5: litellm_params.weight: expected 0 or more, found -1"),
    (model("weight: .nan"), "config.yaml:5: litellm_params.weight: expected a finite number"),
    (model("timeout: .inf"), "config.yaml:5: litellm_params.timeout: expected a finite number"),
    (model("timeout: 1e999"), "config.yaml:5: litellm_params.timeout: expected a finite number"),
    (model("timeout: 0"), "config.yaml:5: litellm_params.timeout: expected 0..86400, found 0"),
    (model("timeout: yes"), "config.yaml:5: litellm_params.timeout: expected a number, found true or false"),
    (model("input_cost_per_token: 25"), "litellm_params.input_cost_per_token: expected 0..10, found 25"),
    (model("api_key: 12345"), "litellm_params.api_key: expected text, found an integer; put it in quotes"),
    (model('api_key: "a b"'), "api_key: may hold visible ASCII characters only, no space and no line end"),
    (model('api_key: "a\\r\\nb"'), "litellm_params.api_key: may hold visible ASCII characters only"),
    (model("api_base: ftp://h/v1"), "litellm_params.api_base: expected an address that starts with http:// or https://"),
    (model("api_base: h:80/v1"), "litellm_params.api_base: expected an address that starts with http"),
    (model("api_base: http:///v1"), "litellm_params.api_base: expected an address with a host"),
    (model("api_base: http://h:0/v1"), "litellm_params.api_base: expected an address with a host"),
    (model("api_base: http://h:99999/"), "litellm_params.api_base: expected an http(s) address"),
    (model("api_base: http://u:p@h/v1"), "litellm_params.api_base: an address must not hold a user name or password"),
    (model('api_base: "http://h/v1\\n"'), "litellm_params.api_base: holds a control character"),
    (model("api_base: http://h/ü"), "litellm_params.api_base: an address may hold visible ASCII characters only"),
    (model("api_base: http://h/v1?key=1"), "litellm_params.api_base: an address must not hold a query or a fragment"),
    (model("extra_headers: {'a b': x}"), "litellm_params.extra_headers.a b: no header can be called so"),
    (model('extra_headers: {X-A: "x\\r\\ny: z"}'), "extra_headers.X-A: a header's value may hold visible ASCII"),
    (model("extra_headers: {Host: x}"), "litellm_params.extra_headers.Host: is written by the gateway itself"),
    (model("extra_headers: {X-A: [1]}"), "litellm_params.extra_headers.X-A: expected text, found a list"),
    (model("extra_headers: {X-A: a, x-a: b}"), "litellm_params.extra_headers.x-a: stands here twice"),
    (model("extra_headers: 3"), "litellm_params.extra_headers: expected a mapping, found an integer"),
    (model("extra_body: {model: x}"), "litellm_params.extra_body.model: would replace what the client asks for"),
    (model("temperature: .nan"), "litellm_params.temperature: expected a finite number"),
    (model("litellm_credential_name: x"), 'litellm_params.litellm_credential_name: no credential named "x"'),
    (model(info="quality: 1.5"), "model_info.quality: expected 0..1, found 1.5"),
    (model(info="quality: true"), "model_info.quality: expected a number, found true or false"),
    (model(info="mode: chatt"), 'model_info.mode: unknown mode "chatt"; did you mean "chat"?'),
    (model(info="supports_vision: 1"), "model_info.supports_vision: expected true or false, found an integer"),
    (model(info="max_input_token: 1"), 'model_info.max_input_token: unknown key; did you mean "max_input_tokens"?'),
    (model(info="id: [x]"), "model_info.id: expected up to 256 visible ASCII characters"),
    (model(upstream="opnai/gpt-4o"), 'config.yaml:4: litellm_params.model: "opnai" is no provider known here; '
     'write provider/name; did you mean "openai"?'),
    (model(upstream="llama"), 'litellm_params.model: "llama" is no provider known here; write provider/name'),
    (model(upstream="openai/*"), "litellm_params.model: holds a * that model_name has not"),
    (model(upstream="openai/"), "litellm_params.model: expected provider/name, with one * at most"),
    (model(upstream=""), "litellm_params.model: must not be empty"),
    (model(name="a*b*"), "model_name: may hold one * at most"),
    (model(upstream="hosted_vllm/x"), 'api_base: missing; provider "hosted_vllm" has no default address'),
    (model("custom_llm_provider: opena"), 'litellm_params.custom_llm_provider: "opena" is no provider known here'),
    ("model_list:\n  - {litellm_params: {model: openai/x}}", "config.yaml:2: model_name: missing"),
    ("model_list:\n  - {model_name: a}", "config.yaml:2: litellm_params: missing"),
    ("model_list:\n  - {model_name: a, litellm_params: {}}", "config.yaml:2: litellm_params.model: missing"),
    ("model_list:\n  - {model_name: a, litellm_params: 3}", "litellm_params: expected a mapping, found an integer"),
    ("model_list:\n  - x", "config.yaml:2: model_list[0]: expected a mapping, found text"),
    ("model_list: {}", "config.yaml:1: model_list: expected a list, found a mapping"),
    ("model_lst: []", 'config.yaml:1: model_lst: unknown key; did you mean "model_list"?'),
    ("litellm_settings: 3", "config.yaml:1: litellm_settings: expected a mapping, found an integer"),
    ("litellm_settings:\n  num_retrys: 3", 'litellm_settings.num_retrys: unknown key; did you mean "num_retries"?'),
    ("litellm_settings: {drop_params: 'true'}", "litellm_settings.drop_params: expected true or false, found text"),
    ("litellm_settings: {ssl_verify: 3}", "litellm_settings.ssl_verify: expected true, false or the path of a bundle"),
    ("router_settings: {num_retries: -1}", "router_settings.num_retries: expected 0 or more, found -1"),
    ("router_settings: {cooldown_time: x}", "router_settings.cooldown_time: expected a number, found text"),
    ("router_settings: {routing_strategy: least-bussy}",
     'router_settings.routing_strategy: unknown strategy "least-bussy"; did you mean "least-busy"?'),
    ("router_settings: {routing_strategy: llmrouter-}", 'unknown strategy "llmrouter-"'),
    ("router_settings: {routing_strategy: llmrouter-knn, routing_strategy_args: {model_pth: x}}",
     'router_settings.routing_strategy_args.model_pth: unknown key; did you mean "model_path"?'),
    ("router_settings: {routing_strategy_args: {public_keys: [absent.pub]}}",
     'router_settings.routing_strategy_args.public_keys: key "absent.pub" is no good: '
     "neither base64 of 32 bytes nor a file that can be read: No such file or directory"),
    ("router_settings: {routing_strategy_args: {public_keys: []}}",
     "router_settings.routing_strategy_args.public_keys: no key: no router file could be loaded; "
     "leave the field out to take unsigned ones"),
    ("router_settings: {routing_strategy: llmrouter-knn, routing_strategy_args: {reload_interval: 0}}",
     "router_settings.routing_strategy_args.reload_interval: expected 0..86400, found 0"),
    ("router_settings: {fallbacks: [a]}", "router_settings.fallbacks: expected a list of {model: [other models]}"),
    ("router_settings: {fallbacks: [{a: [1]}]}", "fallbacks.a: expected a list of names, found an integer"),
    ("router_settings: {fallbacks: [{a: [b, b]}]}", 'router_settings.fallbacks.a: "b" stands here twice'),
    ("router_settings: {model_group_alias: {x: m1}}", 'router_settings.model_group_alias.x: no model named "m1"'),
    ("router_settings: {model_group_alias: {x: {}}}", "router_settings.model_group_alias.x.model: missing"),
    ("general_settings:\n  master_key: os.environ/MK", "config.yaml:2: general_settings.master_key: the variable MK"),
    ("general_settings: {master_key: 1234}", "master_key: expected text, found an integer; put it in quotes"),
    ("general_settings: {master_key: ''}", "general_settings.master_key: must not be empty"),
    ("general_settings: {database_url: os.environ/DB}", "general_settings.database_url: the variable DB is not set"),
    ("router_settings: {redis_host: os.environ/R}", "router_settings.redis_host: the variable R is not set"),
    ("litellm_settings: {cache_params: {password: os.environ/P}}", "cache_params.password: the variable P is not set"),
    ("general_settings: {max_request_size_mb: 0}", "general_settings.max_request_size_mb: expected 0..4096, found 0"),
    ("general_settings: {litellm_key_header_name: 'X Y'}", "general_settings.litellm_key_header_name: no header can"),
    ("keys: [{alias: a}]", "keys[0].key: missing"),
    ("keys: [{key: ''}]", "keys[0].key: must not be empty"),
    ("keys: [{key: null}]", "keys[0].key: must not be empty"),
    ("keys: [{key: os.environ/K}]", "keys[0].key: the variable K is not set"),
    ("keys:\n  - key: a\n  - key: a", "config.yaml:3: keys[1].key: the same key stands above already"),
    ("keys: [{key: a, alias: t}, {key: b, alias: t}]", 'keys[1].alias: "t" is the alias of another key'),
    ("general_settings: {master_key: mk}\nkeys: [{key: mk}]", "keys[0].key: equals the master key"),
    ("keys: [{key: a, rpm_limit: 0}]", "keys[0].rpm_limit: expected 1 or more, found 0"),
    ("keys: [{key: a, tpm_limit: true}]", "keys[0].tpm_limit: expected an integer, found true or false"),
    ("keys: [{key: a, max_parallel_requests: -2}]", "keys[0].max_parallel_requests: expected 1 or more, found -2"),
    ("keys: [{key: a, min_quality: 0.8, max_quality: 0.2}]", "keys[0].min_quality: is above max_quality"),
    ("keys: [{key: a, max_quality: 2}]", "keys[0].max_quality: expected 0..1, found 2"),
    ("keys: [{key: a, rpm: 5}]", "keys[0].rpm: unknown key"),
    ("keys: {a: b}", "keys: expected a list, found a mapping"),
    (model() + "routes: {auto: {candidates: [n]}}", 'routes.auto.candidates: no model named "n" in model_list'),
    (model(name="gpt-4o") + "routes:\n  auto:\n    candidates: [gpt4o]",
     'config.yaml:10: routes.auto.candidates: no model named "gpt4o" in model_list; did you mean "gpt-4o"?'),
    (model() + "routes: {auto: {candidates: []}}", "routes.auto.candidates: must not be empty; leave it out"),
    (model() + "routes: {auto: {quality: 2}}", "routes.auto.quality: expected 0..1, found 2"),
    (model() + "routes: {auto: {qualty: 1}}", 'routes.auto.qualty: unknown key; did you mean "quality"?'),
    (model() + "routes: {auto: {default_model: x}}", 'routes.auto.default_model: no model named "x" in model_list'),
    (model() + "routes: {m: {quality: 1}}", "routes.m: is the name of a model in model_list too"),
    (model() + "routes: {'a*': {}}", "routes.a*: no route can be called so"),
    (model(info="mode: embedding") + "routes: {auto: {candidates: [m]}}", 'candidates: "m" is of mode embedding'),
    ("credential_list: [{credential_name: a, credential_values: {}}, {credential_name: a, credential_values: {}}]",
     'credential_list[1].credential_name: a second credential named "a"'),
    ("credential_list: [{credential_values: {}}]", "credential_list[0].credential_name: missing"),
    ("environment_variables: {'A B': x}", "environment_variables.A B: no variable can be called so"),
    ("environment_variables: {A: [x]}", "environment_variables.A: expected text, found a list"),
    ("include: [x.yaml]", "config.yaml:1: include: only a file can include others"),
    ("", "config.yaml:1: empty"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_a_fault_is_told_with_line_field_and_what_would_be_right(text: str, expected: str) -> None:
    found = faults(text)
    assert len(found) == 1
    assert expected in found[0]
    assert found[0].startswith("config.yaml:")


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    found = faults("""\
        model_list:
          - model_name: a
            litellm_params: {model: openai/x, api_key: k, rpm: 0, modle: 1}
        router_settings:
          num_retries: x
        general_settings: {master_ky: a}
        keys: [{key: ""}]
        """)
    assert [fault.split(":")[1:3] for fault in found] == [
        ["3", " litellm_params.rpm"],
        ["3", " litellm_params.modle"],
        ["5", " router_settings.num_retries"],
        ["6", " general_settings.master_ky"],
        ["7", " keys[0].key"],
    ]


def test_two_deployments_with_one_id_are_an_error_that_names_the_other() -> None:
    text = model(info="id: one") + model(info="id: one", name="n").removeprefix("model_list:\n")
    assert faults(text) == ['config.yaml:17: model_info.id: "one" is the id of another deployment (config.yaml:9)']


def test_lenient_turns_unknown_keys_into_warnings_and_nothing_else() -> None:
    settings = load(model("modle: x") + "what: 1", lenient=True)
    assert 'config.yaml:5: litellm_params.modle: unknown key; did you mean "model"?' in settings.warnings
    assert "config.yaml:9: what: unknown key" in settings.warnings
    assert faults(model("modle: x\nrpm: 0"), lenient=True) == [
        "config.yaml:6: litellm_params.rpm: expected 1 or more, found 0"
    ]


def test_a_fault_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_text("include: [models.yaml]")
    (tmp_path / "models.yaml").write_text(model("rpm: 0"))
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "main.yaml", environ={})
    assert str(caught.value) == "models.yaml:5: litellm_params.rpm: expected 1 or more, found 0"


# --- deployments ----------------------------------------------------------------------------------------------------


def test_a_deployment_holds_all_that_its_entry_says() -> None:
    found = only(
        model(
            """
            api_key: sk-upstream-1
            api_base: https://proxy.example/v1/
            organization: org-1
            rpm: 10
            tpm: "2000"
            max_parallel_requests: 3
            weight: 0.5
            order: 2
            timeout: 30
            stream_timeout: 60.5
            max_retries: 0
            cooldown_time: 1
            temperature: 0.2
            extra_body: {top_k: 4}
            stop: [a]
            additional_drop_params: [seed]
            tags: [free]
            extra_headers: {X-Team: blue, X-Api-Key: hush}
            input_cost_per_token: 1e-6
            output_cost_per_token: 0.000002
            cache_read_input_token_cost: 5.0e-07
            """,
            """
            id: 7
            max_tokens: 100
            max_input_tokens: 1000
            supports_vision: true
            supports_function_calling: false
            supports_response_schema: true
            quality: 0.9
            """,
        )
    )
    assert (found.id, found.model_name, found.provider, found.upstream_model) == ("7", "m", "openai", "gpt-4o")
    assert (found.api_base, found.organization) == ("https://proxy.example/v1", "org-1")
    assert found.api_key is not None
    assert found.api_key.reveal() == "sk-upstream-1"
    assert (found.rpm, found.tpm, found.max_parallel_requests) == (10, 2000, 3)
    assert (found.weight, found.order, found.max_retries, found.cooldown_s) == (0.5, 2, 0, 1.0)
    assert (found.timeout_s, found.stream_timeout_s) == (30.0, 60.5)
    assert found.default_params == {"temperature": 0.2, "top_k": 4, "stop": ["a"]}
    assert (found.drop_params, found.tags, found.mode) == (("seed",), ("free",), "chat")
    headers = dict(found.extra_headers)
    assert headers["X-Team"] == "blue"
    assert str(headers["X-Api-Key"]) == "Secret('***')"
    price = found.price
    assert (price.input_usd_per_token, price.output_usd_per_token, price.cached_input_usd_per_token) == (
        1e-6,
        2e-6,
        5e-7,
    )
    assert price.source == "config"
    assert price.version.startswith("config ")
    assert (found.max_output_tokens, found.max_input_tokens, found.quality) == (100, 1000, 0.9)
    assert (found.supports_vision, found.supports_tools, found.supports_json) == (True, False, True)


def test_prices_may_stand_in_model_info_and_litellm_params_win() -> None:
    info = "input_cost_per_token: 3.0e-6\noutput_cost_per_token: 4.0e-6"
    assert only(model(info=info)).price.input_usd_per_token == 3e-6
    assert only(model("input_cost_per_token: 1.0e-6", info)).price.input_usd_per_token == 1e-6


def test_a_price_left_open_comes_from_the_packaged_tables_with_the_context_length() -> None:
    found = only(model("output_cost_per_token:"))
    assert found.price.source == "genai-prices"
    assert found.price.input_usd_per_token == pytest.approx(2.5e-6)
    assert found.price.output_usd_per_token == pytest.approx(1e-5)
    assert found.max_input_tokens == 128_000


def test_a_base_model_gives_an_azure_deployment_its_price() -> None:
    text = model(
        "api_base: https://x.openai.azure.com\noutput_cost_per_token:",
        "base_model: azure/gpt-4o",
        upstream="azure/my-name",
    )
    assert only(text).price.input_usd_per_token == pytest.approx(2.5e-6)


def test_a_model_without_a_price_is_named() -> None:
    settings = load(model("output_cost_per_token:", upstream="openai/none-such"))
    assert not settings.deployments[0].price.is_known
    assert any("no price is known for m:" in warning for warning in settings.warnings)


def test_a_price_of_zero_is_a_price() -> None:
    settings = load(model("input_cost_per_token: 0\noutput_cost_per_token: 0"))
    assert settings.deployments[0].price.is_known
    assert not any("price" in warning for warning in settings.warnings)


@pytest.mark.parametrize(
    ("upstream", "info", "mode"),
    [
        ("openai/gpt-4o", "", "chat"),
        ("openai/text-embedding-3-small", "", "embedding"),
        ("openai/gpt-3.5-turbo-instruct", "", "completion"),
        ("text-completion-openai/x", "", "completion"),
        ("voyage/voyage-3", "", "embedding"),
        ("openai/x", "mode: embedding", "embedding"),
        ("openai/text-embedding-3-small", "mode: chat", "chat"),
    ],
)
def test_the_mode_is_the_one_said_or_the_likely_one(upstream: str, info: str, mode: str) -> None:
    assert only(model(upstream=upstream, info=info)).mode == mode


def test_wildcards_keep_their_star() -> None:
    found = only(model(name="openai/*", upstream="openai/*"))
    assert (found.model_name, found.upstream_model) == ("openai/*", "*")
    assert only(model(name="*", upstream="*")).provider == "openai"


def test_several_deployments_may_share_a_name_and_the_same_entry_twice_counts_twice() -> None:
    settings = load(model() + model().removeprefix("model_list:\n") + model("rpm: 1").removeprefix("model_list:\n"))
    ids = [deployment.id for deployment in settings.deployments]
    assert len(set(ids)) == 3
    assert ids[1] == f"{ids[0]}-2"


def test_an_id_stays_when_the_file_is_rearranged_and_changes_with_the_entry() -> None:
    first = only(model("rpm: 5\ntpm: 7\napi_key: sk-upstream-1")).id
    assert only("# moved\n\n" + model("api_key: sk-upstream-1\ntpm: 7\nrpm: 5")).id == first
    assert only(model("rpm: 6\ntpm: 7\napi_key: sk-upstream-1")).id != first
    assert only(model("rpm: 5\ntpm: 7\napi_key: sk-upstream-2")).id != first
    assert len(first) == 16
    int(first, 16)


def test_an_id_outlives_a_new_key_in_the_same_variable() -> None:
    text = model("api_key: os.environ/K")
    assert only(text, K="a").id == only(text, K="b").id


def test_credentials_may_be_named_and_the_deployments_own_words_win() -> None:
    text = """\
        credential_list:
          - credential_name: eu
            credential_values: {api_key: os.environ/EU, api_base: "https://eu.example/v1"}
            credential_info: {description: x}
        model_list:
          - model_name: a
            litellm_params: {model: openai/gpt-4o, litellm_credential_name: eu}
          - model_name: b
            litellm_params: {model: openai/gpt-4o, litellm_credential_name: eu, api_key: own}
        """
    first, second = load(text, EU="theirs").deployments
    assert first.api_key is not None
    assert second.api_key is not None
    assert (first.api_key.reveal(), first.api_base) == ("theirs", "https://eu.example/v1")
    assert (second.api_key.reveal(), second.api_base) == ("own", "https://eu.example/v1")
    assert faults(text.replace("name: eu, api_key", "name: uk, api_key"), EU="x") == [
        'config.yaml:9: litellm_params.litellm_credential_name: no credential named "uk" in credential_list'
    ]


def test_azure_needs_its_address_and_takes_litellms_version_where_none_is_said() -> None:
    text = model(upstream="azure/d")
    assert "has no default address" in faults(text)[0]
    found = only(text, AZURE_API_BASE="https://x.openai.azure.com/", AZURE_API_VERSION="2024-10-21")
    assert (found.api_base, found.api_version) == ("https://x.openai.azure.com", "2024-10-21")
    assert only(text, AZURE_API_BASE="https://x.openai.azure.com").api_version == "2025-02-01-preview"
    assert (
        only(model("api_version: 2024-02-01\napi_base: https://x.example", upstream="azure/d")).api_version
        == "2024-02-01"
    )


# --- os.environ -----------------------------------------------------------------------------------------------------


def test_a_variable_may_stand_wherever_a_text_may() -> None:
    settings = load(
        """\
        model_list:
          - model_name: os.environ/NAME
            litellm_params:
              model: os.environ/MODEL
              api_key: os.environ/KEY
              api_base: os.environ/BASE
              rpm: os.environ/RPM
              timeout: os.environ/T
              temperature: os.environ/TEMP
              extra_headers: {X-A: os.environ/HEADER}
              tags: [os.environ/TAG]
              input_cost_per_token: os.environ/COST
        litellm_settings: {drop_params: os.environ/DROP}
        keys: [{key: os.environ/TEAM, models: [os.environ/NAME]}]
        routes: {auto: {candidates: [os.environ/NAME], quality: os.environ/Q}}
        """,
        NAME="n", MODEL="openai/x", KEY="k", BASE="http://h/v1", RPM="7", T="2.5", TEMP="0.5", HEADER="v", TAG="t",
        COST="1e-6", DROP="true", TEAM="tk", Q="0.25",
    )  # fmt: skip
    [found] = settings.deployments
    assert (found.model_name, found.upstream_model, found.api_base) == ("n", "x", "http://h/v1")
    assert (found.rpm, found.timeout_s, found.default_params, found.tags) == (7, 2.5, {"temperature": 0.5}, ("t",))
    assert found.price.input_usd_per_token == 1e-6
    assert found.drops_unsupported is True
    assert settings.keys[0].key.reveal() == "tk"
    assert settings.keys[0].models == ("n",)
    assert (settings.routes[0].candidates, settings.routes[0].quality) == (("n",), 0.25)


@pytest.mark.parametrize("environ", [{}, {"K": ""}])
def test_a_deployment_whose_variable_is_not_set_is_named_and_left_out(environ: dict[str, str]) -> None:
    settings = load(model("api_key: os.environ/K"), **environ)
    assert settings.deployments == ()
    assert (
        'config.yaml:5: litellm_params.api_key: model "m" (openai/gpt-4o) is left out: the variable K is not set'
        in settings.warnings
    )


def test_without_api_key_the_providers_own_variable_counts() -> None:
    text = "model_list: [{model_name: m, litellm_params: {model: %s, input_cost_per_token: 0}}]"
    found = only(text % "groq/llama", GROQ_API_KEY="g")
    assert found.api_key is not None
    assert found.api_key.reveal() == "g"
    settings = load(text % "groq/llama")
    assert settings.deployments == ()
    assert "no api_key, and GROQ_API_KEY is not set" in settings.warnings[0]


def test_a_self_hosted_server_needs_no_key() -> None:
    text = "model_list: [{model_name: m, litellm_params: {model: %s, input_cost_per_token: 0}}]"
    assert only(text % "ollama/llama3").api_key is None
    assert only(text % "ollama/llama3").api_base == "http://localhost:11434"
    assert only(text % "openai/x, api_base: http://vllm/v1").api_key is None


def test_the_master_key_comes_from_the_environment_where_the_file_has_none() -> None:
    settings = load(model(), LITELLM_MASTER_KEY="mk")
    assert settings.master_key is not None
    assert settings.master_key.reveal() == "mk"
    settings = load(model() + "general_settings: {master_key: own}", LITELLM_MASTER_KEY="mk")
    assert settings.master_key is not None
    assert settings.master_key.reveal() == "own"


def test_environment_variables_of_the_file_are_seen_by_all_of_it() -> None:
    text = "environment_variables: {K: os.environ/OUTER, GROQ_API_KEY: g, N: 5}\n" + model(
        "api_key: os.environ/K\nrpm: os.environ/N"
    )
    found = only(text, OUTER="o", K="overruled")
    assert found.api_key is not None
    assert (found.api_key.reveal(), found.rpm) == ("o", 5)


# --- sections -------------------------------------------------------------------------------------------------------


def test_router_settings_win_over_litellm_settings() -> None:
    text = model() + dedent("""\
        litellm_settings:
          {num_retries: 5, request_timeout: 100, fallbacks: [{m: [auto]}], allowed_fails: 9, drop_params: true}
        router_settings: {num_retries: 1, timeout: 50, stream_timeout: 20, retry_after: 2, cooldown_time: 30,
          disable_cooldowns: true, max_fallbacks: 2, default_max_parallel_requests: 4, routing_strategy: least-busy,
          default_litellm_params: {temperature: 1}, context_window_fallbacks: [{m: [auto]}]}
        """)
    settings = load(text)
    attempts = settings.attempts
    assert (attempts.num_retries, attempts.retry_after_s, attempts.cooldown_s) == (1, 2.0, 30.0)
    assert (attempts.allowed_fails, attempts.max_fallbacks, attempts.disable_cooldowns) == (9, 2, True)
    assert attempts.routing_strategy == "least-busy"
    assert attempts.fallbacks == {"m": ("auto",)}
    assert attempts.context_window_fallbacks == {"m": ("auto",)}
    assert settings.upstream.total_timeout_s == 50.0
    [found] = settings.deployments
    assert found.drops_unsupported
    assert (found.stream_timeout_s, found.max_parallel_requests) == (20.0, 4)
    assert found.default_params == {"temperature": 1}


def test_request_timeout_of_litellm_settings_counts_alone_too() -> None:
    assert load(model() + "litellm_settings: {request_timeout: 100}").upstream.total_timeout_s == 100.0


def test_fallbacks_for_every_model_are_default_fallbacks() -> None:
    settings = load(model() + "litellm_settings: {fallbacks: [{'*': [m]}]}")
    assert settings.attempts.default_fallbacks == ("m",)
    assert settings.attempts.fallbacks == {}
    assert load(model() + "router_settings: {default_fallbacks: [m]}").attempts.default_fallbacks == ("m",)


def test_fallbacks_to_unknown_models_are_a_warning_with_the_nearest_name() -> None:
    settings = load(model(name="gpt-4o") + "router_settings:\n  fallbacks: [{gpt-4o: [gpt-4]}]")
    assert (
        'config.yaml:9: router_settings.fallbacks: no model named "gpt-4"; it is passed over; did you mean "gpt-4o"?'
        in settings.warnings
    )


def test_sizes_and_tls_reach_their_settings() -> None:
    text = (
        "general_settings: {max_request_size_mb: 2, max_response_size_mb: 3}\nlitellm_settings: {ssl_verify: /ca.pem}"
    )
    settings = load(model() + text)
    assert settings.limits.max_body_bytes == 2 * 1024 * 1024
    assert settings.upstream.max_response_bytes == 3 * 1024 * 1024
    assert settings.upstream.ssl_verify == "/ca.pem"
    settings = load(model() + "litellm_settings: {ssl_verify: false}")
    assert settings.upstream.ssl_verify is False
    assert any("ssl_verify is false" in warning for warning in settings.warnings)


def test_a_learned_strategy_reaches_the_router_settings() -> None:
    settings = load(
        model()
        + dedent("""\
        router_settings:
          routing_strategy: llmrouter-knn
          routing_strategy_args:
            {model_path: /m/knn.safetensors, hot_reload: false, reload_interval: 30, llm_data_path: x,
             public_keys: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}
        """)
    )
    assert settings.router.public_keys == (bytes(32),)
    assert settings.router.strategy_name == "llmrouter-knn"
    assert settings.router.artefact_path == Path("/m/knn.safetensors")
    assert (settings.router.hot_reload, settings.router.reload_interval_s) == (False, 30.0)
    assert settings.attempts.routing_strategy == "simple-shuffle"
    assert any(warning.endswith("routing_strategy_args.llm_data_path") for warning in settings.warnings)


def test_keys_and_routes_are_read() -> None:
    settings = load(
        model()
        + dedent("""\
        general_settings: {master_key: mk, litellm_key_header_name: X-Key}
        router_settings: {model_group_alias: {alias: m, other: {model: m, hidden: true}}}
        keys:
          - {key: k1, alias: team-a, models: [auto, m], rpm_limit: 600, tpm_limit: 10, max_parallel_requests: 2}
          - {key: k2, models: []}
        routes:
          auto: {candidates: [m], router: knn, quality: 0.5, default_model: m}
          cheap: {quality: 0}
        """)
    )
    first, second = settings.keys
    assert (first.key.reveal(), first.alias, first.models) == ("k1", "team-a", ("auto", "m"))
    assert (first.rpm_limit, first.tpm_limit, first.max_parallel_requests) == (600, 10, 2)
    assert (second.alias, second.models, second.rpm_limit) == (None, None, None)
    auto, cheap = settings.routes
    assert (auto.name, auto.candidates, auto.router, auto.quality, auto.default_model) == (
        "auto",
        ("m",),
        "knn",
        0.5,
        "m",
    )
    assert (cheap.candidates, cheap.router, cheap.quality, cheap.default_model) == (None, None, 0.0, None)
    assert settings.key_header_name == "X-Key"
    assert settings.attempts.model_group_alias == {"alias": "m", "other": "m"}


def test_candidates_that_can_not_be_served_are_left_out_of_a_route() -> None:
    text = model() + model("api_key: os.environ/K", name="n").removeprefix("model_list:\n")
    settings = load(text + "routes: {auto: {candidates: [m, n], default_model: n}, r: {candidates: [n]}}")
    assert settings.routes[0].candidates == ("m",)
    assert settings.routes[0].default_model is None
    assert settings.routes[1].candidates == ()
    assert any("routes.r: none of its candidates can be served" in warning for warning in settings.warnings)


def test_a_candidate_may_be_a_model_behind_a_wildcard() -> None:
    settings = load(model(name="openai/*", upstream="openai/*") + "routes: {auto: {candidates: [openai/gpt-4o]}}")
    assert settings.routes[0].candidates == ("openai/gpt-4o",)


def test_keys_for_unknown_models_are_a_warning() -> None:
    settings = load(model(name="gpt-4o") + "keys: [{key: k, models: [gpt-4, 'x/*', auto]}]")
    assert [warning for warning in settings.warnings if "keys[0]" in warning] == [
        'config.yaml:8: keys[0].models: no model or route named "gpt-4"; did you mean "gpt-4o"?'
    ]


def test_known_keys_without_effect_are_told_in_one_warning_and_switched_off_ones_not_at_all() -> None:
    settings = load(
        model("aws_profile_name: x\nmock_timeout: 1")
        + dedent("""\
        general_settings: {master_key: k, alerting: [slack], database_type: dynamo, background_health_checks: false}
        litellm_settings:
          {callbacks: [datadog], cache: false, success_callback: [], prometheus_initialize_budget_metrics: true}
        mcp_servers: {x: {url: "https://x"}}
        """)
    )
    assert settings.warnings == (
        "known to LiteLLM and without effect here: litellm_params.aws_profile_name, litellm_params.mock_timeout, "
        "litellm_settings callback datadog, general_settings.alerting, general_settings.database_type, "
        "litellm_settings.prometheus_initialize_budget_metrics, mcp_servers",
    )


def test_notes_of_people_in_model_info_are_left_alone() -> None:
    settings = load(
        model(info="cost_center: 4711\nsupports_pdf_input: true\nversion: 2") + "general_settings: {master_key: k}"
    )
    assert settings.warnings == ()


def test_the_callers_server_settings_are_handed_through(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(model())
    server = ServerSettings(port=4321)
    settings = load_settings(path, environ={}, server=server)
    assert settings.server is server
    assert settings.config_path == path


def test_a_configuration_without_models_is_no_error_but_says_so() -> None:
    assert any("no deployment is usable" in warning for warning in load("model_list: []").warnings)


def test_unset_variables_never_widen_a_key_to_all_models() -> None:
    assert faults(model() + "keys: [{key: k, models: [os.environ/NONE]}]") == [
        "config.yaml:8: keys[0].models: none of its variables is set; an empty list would mean all models"
    ]
    assert faults(model() + "keys: [{key: k, models: os.environ/NONE}]")
    [key] = load(model() + "keys: [{key: k, models: [m, os.environ/NONE]}]").keys
    assert key.models == ("m",)


def test_all_proxy_models_is_every_model() -> None:
    assert load(model() + "keys: [{key: k, models: [all-proxy-models]}]").keys[0].models is None


def test_reading_changes_no_variable() -> None:
    environ = {"K": "v"}
    load_text("environment_variables: {K: other, L: x}\n" + model("api_key: os.environ/K"), environ=environ)
    assert environ == {"K": "v"}
    assert Notes(environ, lenient=False).environ is environ
