"""LiteLLM's `config.yaml`, with our sections `keys` and `routes` -> Settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from routewright.config import schema
from routewright.config.accounts import read_accounts
from routewright.config.attempts import read_attempts
from routewright.config.budgets import alert_webhook, budgets_by_name, kept_seconds, nano_dollars
from routewright.config.caching import read_cache
from routewright.config.deployments import Deployments
from routewright.config.embeddings import embeddings
from routewright.config.front import MEGABYTE, front_limits
from routewright.config.guardrails import read_guardrails
from routewright.config.health_checks import read_health_checks
from routewright.config.keys import check_key_models, read_keys
from routewright.config.model_names import ModelNames
from routewright.config.named_credentials import Credentials
from routewright.config.oidc import read_oidc
from routewright.config.overrides import Overrides, lay_over
from routewright.config.pass_through import pass_through_endpoints
from routewright.config.privacy import read_prompts
from routewright.config.problems import ConfigError, in_file_order, shown
from routewright.config.routes import read_routes
from routewright.config.section import Notes, Section, kind, variable_of
from routewright.config.signals import read_exports, read_logs
from routewright.config.source import Node, parse_text, read_tree
from routewright.config.strategies import read_strategy, with_strategy
from routewright.config.valkey import valkey
from routewright.settings import BudgetSettings, FrontLimits, KeySettings, ServerSettings, Settings, UpstreamSettings
from routewright.types import Secret

MASTER_KEY_VARIABLE = "LITELLM_MASTER_KEY"
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}\Z")


def load_settings(
    path: Path,
    *,
    environ: Mapping[str, str],
    lenient: bool = False,
    server: ServerSettings | None = None,
    limits: FrontLimits | None = None,
    upstream: UpstreamSettings | None = None,
    overrides: Overrides | None = None,
) -> Settings:
    """The file at `path`, and what it includes, as settings.

    `lenient`: unknown keys are warnings. `server`, `limits` and `upstream` are what the file's words are laid over,
    `overrides` what was changed while serving, which is laid over the file's words.
    Opens nothing but these files, changes nothing. Raises ConfigError with every problem found.
    """
    files: list[Path] = []
    root = read_tree(path, files)
    if overrides:
        lay_over(root, overrides)
    settings = _build(root, environ, lenient, server, limits, upstream)
    return replace(settings, config_path=path, config_files=tuple(files))


def load_text(
    text: str,
    *,
    environ: Mapping[str, str],
    lenient: bool = False,
    server: ServerSettings | None = None,
    name: str = "config.yaml",
) -> Settings:
    """As `load_settings`, of a text that lies in no file; `include` is refused."""
    root = parse_text(text, name)
    if not isinstance(root.value, dict):
        raise ConfigError([root.problem("", "empty" if root.value is None else "expected a mapping of sections")])
    include = root.value.pop("include", None)
    if include is not None and include.value is not None:
        raise ConfigError([include.problem("include", "only a file can include others")])
    return _build(root, environ, lenient, server, None, None)


def _build(
    root: Node,
    environ: Mapping[str, str],
    lenient: bool,
    server: ServerSettings | None,
    limits: FrontLimits | None,
    upstream: UpstreamSettings | None,
) -> Settings:
    notes = Notes(environ, lenient=lenient)
    top = Section(root, "", notes)
    notes.environ = _environment(top)
    general = top.section("general_settings")
    litellm = top.section("litellm_settings")
    router = top.section("router_settings")

    master_key = _master_key(general)
    database_url = _database_url(general)
    general.boolean("store_model_in_db")  # models are stored wherever anything is
    key_header = general.text("litellm_key_header_name")
    if key_header is not None and not _HEADER_NAME.match(key_header):
        general.error("litellm_key_header_name", "no header can be called so")
    limits = front_limits(general, limits or FrontLimits())
    upstream = _upstream(general, litellm, router, upstream or UpstreamSettings())
    health_checks = read_health_checks(general)
    allow_mock_response = general.boolean("allow_mock_response") or False
    drops_unsupported = litellm.boolean("drop_params") or False

    asks_machine = litellm.boolean("enable_azure_ad_token_refresh") or False
    deployments = Deployments(
        notes, Credentials(top), router, drops_unsupported=drops_unsupported, asks_machine=asks_machine
    )
    for entry in top.sections("model_list", path=""):
        deployments.read(entry)
    files_accounts = read_accounts(top, deployments)
    deployments.finish()
    models = ModelNames(deployments, top)

    strategy, learned, orchestration = read_strategy(router, models)
    attempts = read_attempts(litellm, router, models, strategy)
    learned = replace(learned, embeddings=embeddings(top))
    keys = read_keys(top, master_key)
    routes = with_strategy(read_routes(top, models), orchestration, models)
    check_key_models(top, models)

    end_user_budget = BudgetSettings(max_budget_nusd=nano_dollars(litellm, "max_end_user_budget"))
    tag_budgets = budgets_by_name(litellm, "tag_budget_config")
    webhook = alert_webhook(general)
    pass_through = pass_through_endpoints(general)
    prompts = read_prompts(general, litellm)
    spend_kept_s = kept_seconds(general, "maximum_spend_logs_retention_period")
    general.know("maximum_spend_logs_retention_interval")  # it goes on all the time, a little at a time

    logs = read_logs(general, litellm, notes.environ)
    exports, traces = read_exports(top, litellm, notes.environ)
    metrics_need_key = litellm.boolean("require_auth_for_metrics_endpoint") or False
    oidc = read_oidc(general)

    cache_params = litellm.section("cache_params")
    for section, stores in (
        (general, schema.SHARED_STORES),
        (router, schema.SHARED_STORES),
        (cache_params, schema.CACHE_STORE),
    ):
        for store in stores:
            _refuse_unset(section, store)
    shared = valkey(router, cache_params)
    cache = read_cache(
        litellm, cache_params,
        has_valkey=shared is not None, embeddings=learned.embeddings, deployments=deployments.usable,
    )  # fmt: skip
    guardrails = read_guardrails(top)

    general.finish(schema.GENERAL_SETTINGS)
    litellm.finish(schema.LITELLM_SETTINGS, schema.LITELLM_SETTINGS_PATTERN)
    router.finish(schema.ROUTER_SETTINGS)
    top.finish(schema.TOP_LEVEL)

    if notes.errors:
        raise ConfigError(in_file_order(notes.errors))
    return Settings(
        server=server or ServerSettings(),
        limits=limits,
        upstream=upstream,
        attempts=attempts,
        router=learned,
        master_key=master_key,
        prompts=prompts,
        database_url=database_url,
        valkey=shared,
        salt_key=_salt_key(notes.environ),
        key_header_name=key_header,
        keys=keys,
        end_user_budget=end_user_budget,
        tag_budgets=tag_budgets,
        alert_to_webhook_url=webhook,
        spend_kept_s=spend_kept_s,
        pass_through=pass_through,
        files_accounts=files_accounts,
        cache=cache,
        logs=logs,
        exports=exports,
        traces=traces,
        metrics_need_key=metrics_need_key,
        oidc=oidc,
        guardrails=guardrails,
        routes=routes,
        deployments=tuple(deployments.usable),
        allow_mock_response=allow_mock_response,
        health_checks=health_checks,
        warnings=_warnings(notes, master_key, keys, deployments, upstream),
    )


def _warnings(
    notes: Notes,
    master_key: Secret | None,
    keys: tuple[KeySettings, ...],
    deployments: Deployments,
    upstream: UpstreamSettings,
) -> tuple[str, ...]:
    found = [str(warning) for warning in notes.warnings]
    if notes.unsupported:
        found.append("known to LiteLLM and without effect here: " + ", ".join(notes.unsupported))
    if not deployments.usable:
        found.append("no deployment is usable: every request for a model will be answered with an error")
    if master_key is None and not keys:
        found.append("neither general_settings.master_key nor keys are set: no caller can be told from another")
    elif master_key is None:
        found.append("general_settings.master_key is not set: endpoints that ask for it serve nobody")
    if upstream.ssl_verify is False:
        found.append("litellm_settings.ssl_verify is false: upstreams are not verified, and may be anybody")
    return tuple(dict.fromkeys(found))


# --- sections -----------------------------------------------------------------------------------------------------


def _environment(top: Section) -> Mapping[str, str]:
    """The process's variables with `environment_variables` laid over them, as LiteLLM does."""
    section = top.section("environment_variables")
    outer = top.notes.environ
    own: dict[str, str] = {}
    for name, node in section.entries.items():
        section.know(name)
        if not _VARIABLE.match(name):
            section.error(name, "no variable can be called so")
            continue
        value = node.value
        other = variable_of(node)
        if other is not None:
            value = outer.get(other)
            if not value and outer.get(name):
                continue
            if not value:
                section.warn(name, f"the variable {shown(other)} is not set; left out")
                continue
        if isinstance(value, bool):
            value = "True" if value else "False"
        if isinstance(value, int | float):
            value = str(value)
        if isinstance(value, str):
            own[name] = value
        elif value is not None:
            section.error(name, f"expected text, found {kind(value)}")
    return {**outer, **own}


def _refuse_unset(section: Section, key: str) -> None:
    node = section.entries.get(key)
    name = variable_of(node) if node is not None else None
    if name is not None and not section.notes.environ.get(name):
        section.error(key, f"the variable {shown(name)} is not set")


def _master_key(general: Section) -> Secret | None:
    def refuse(name: str) -> None:
        general.error("master_key", f"the variable {shown(name)} is not set")

    given = general.entries.get("master_key")
    text = general.token("master_key", on_unset=refuse)
    if given is None or given.value is None:
        text = general.notes.environ.get(MASTER_KEY_VARIABLE) or None
        if text is not None and not re.fullmatch(r"[\x21-\x7e]{1,8192}", text):
            general.error("master_key", f"missing, and {MASTER_KEY_VARIABLE} can't stand in a header")
            text = None
    return Secret(text) if text else None


def _database_url(general: Section) -> Secret | None:
    """The file's word, else DATABASE_URL, else what LiteLLM puts together of DATABASE_HOST and its kin."""

    def refuse(name: str) -> None:
        general.error("database_url", f"the variable {shown(name)} is not set")

    address = general.text("database_url", on_unset=refuse)
    given = general.entries.get("database_url")
    if given is None or given.value is None:
        environ = general.notes.environ
        address = environ.get("DATABASE_URL") or None
        host, name = environ.get("DATABASE_HOST"), environ.get("DATABASE_NAME")
        if address is None and host and name:
            user, password = (quote(environ.get(f"DATABASE_{part}", ""), safe="") for part in ("USERNAME", "PASSWORD"))
            who = f"{user}:{password}@" if user and password else f"{user}@" if user else ""
            address = f"postgresql://{who}{host}/{quote(name, safe='')}"
    if address is None:
        return None
    if not address.startswith(("postgresql://", "postgres://")):
        general.error("database_url", "expected an address that starts with postgresql://")
        return None
    return Secret(address)


def _salt_key(environ: Mapping[str, str]) -> Secret | None:
    text = environ.get("LITELLM_SALT_KEY")
    return Secret(text) if text else None


def _upstream(general: Section, litellm: Section, router: Section, base: UpstreamSettings) -> UpstreamSettings:
    changes: dict[str, Any] = {}
    most_mb = general.number("max_response_size_mb", above=True, most=4096)
    if most_mb is not None:
        changes["max_response_bytes"] = max(1, int(most_mb * MEGABYTE))
    of_litellm = litellm.number("request_timeout", above=True, most=86_400)
    of_router = router.number("timeout", above=True, most=86_400)
    total_s = of_router if of_router is not None else of_litellm
    if total_s is not None:
        changes["total_timeout_s"] = total_s
    verify, _ = litellm.scalar("ssl_verify")
    if isinstance(verify, str) and verify.lower() in ("true", "false"):
        verify = verify.lower() == "true"
    if isinstance(verify, bool) or (isinstance(verify, str) and verify and "\0" not in verify):
        changes["ssl_verify"] = verify
    elif verify is not None:
        litellm.error("ssl_verify", f"expected true, false or the path of a bundle, found {kind(verify)}")
    return replace(base, **changes)
