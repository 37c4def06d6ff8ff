"""LiteLLM's `config.yaml`, with our sections `keys` and `routes` -> Settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from routewright.config import schema
from routewright.config.budgets import alert_webhook, budget, budgets_by_name, kept_seconds, nano_dollars
from routewright.config.deployments import Credentials, Deployments
from routewright.config.embeddings import embeddings
from routewright.config.orchestrations import of_route, read_orchestration
from routewright.config.problems import ConfigError, in_file_order, nearest, shown
from routewright.config.section import Notes, Section, kind, text_list, variable_of
from routewright.config.source import Node, parse_text, read_tree
from routewright.settings import (
    AttemptSettings,
    BudgetSettings,
    CascadeSettings,
    FrontLimits,
    KeySettings,
    RoundsSettings,
    RouterSettings,
    RouteSettings,
    ServerSettings,
    Settings,
    UpstreamSettings,
)
from routewright.signatures import KeyRefused, public_key_of
from routewright.types import Secret

MEGABYTE = 1024 * 1024
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
) -> Settings:
    """The file at `path`, and what it includes, as settings.

    `lenient`: unknown keys are warnings. `server`, `limits` and `upstream` are what the file's words are laid over.
    Opens nothing but these files, changes nothing. Raises ConfigError with every problem found.
    """
    files: list[Path] = []
    settings = _build(read_tree(path, files), environ, lenient, server, limits, upstream)
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
    limits = _front_limits(general, limits or FrontLimits())
    upstream = _upstream(general, litellm, router, upstream or UpstreamSettings())
    allow_mock_response = general.boolean("allow_mock_response") or False
    drops_unsupported = litellm.boolean("drop_params") or False

    deployments = Deployments(notes, Credentials(top), router, drops_unsupported=drops_unsupported)
    for entry in top.sections("model_list", path=""):
        deployments.read(entry)
    deployments.finish()
    models = _Models(deployments, top)

    attempts, learned, orchestration = _attempts(litellm, router, models)
    learned = replace(learned, embeddings=embeddings(top))
    keys = _keys(top, master_key)
    routes = _with_strategy(_routes(top, models), orchestration, models)
    _check_key_models(top, keys, models, routes)

    end_user_budget = BudgetSettings(max_budget_nusd=nano_dollars(litellm, "max_end_user_budget"))
    tag_budgets = budgets_by_name(litellm, "tag_budget_config")
    webhook = alert_webhook(general)
    spend_kept_s = kept_seconds(general, "maximum_spend_logs_retention_period")
    general.know("maximum_spend_logs_retention_interval")  # it goes on all the time, a little at a time

    cache = litellm.section("cache_params")
    for section, stores in (
        (general, schema.SHARED_STORES),
        (router, schema.SHARED_STORES),
        (cache, schema.CACHE_STORE),
    ):
        for store in stores:
            _refuse_unset(section, store)
    if cache.entries:
        notes.unsupported["litellm_settings.cache_params"] = None

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
        database_url=database_url,
        salt_key=_salt_key(notes.environ),
        key_header_name=key_header,
        keys=keys,
        end_user_budget=end_user_budget,
        tag_budgets=tag_budgets,
        alert_to_webhook_url=webhook,
        spend_kept_s=spend_kept_s,
        routes=routes,
        deployments=tuple(deployments.usable),
        allow_mock_response=allow_mock_response,
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


def _front_limits(general: Section, base: FrontLimits) -> FrontLimits:
    most_mb = general.number("max_request_size_mb", above=True, most=4096)
    if most_mb is None:
        return base
    body_bytes = max(1, int(most_mb * MEGABYTE))
    return replace(base, max_body_bytes=body_bytes, max_in_flight_bytes=max(base.max_in_flight_bytes, body_bytes))


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


class _Models:
    """The names that requests may ask for, and which of them can be served."""

    def __init__(self, deployments: Deployments, top: Section) -> None:
        self.modes = deployments.names
        self.served = {deployment.model_name for deployment in deployments.usable}
        self.aliases: set[str] = set()
        routes = top.entries.get("routes")
        self.routes = {"auto", *(routes.value if routes is not None and isinstance(routes.value, dict) else ())}

    @property
    def chat_models(self) -> list[str]:
        """Models of their own name that can answer a chat."""
        return [name for name, mode in self.modes.items() if mode == "chat" and "*" not in name]

    @staticmethod
    def _fits(name: str, patterns: Mapping[str, object] | set[str]) -> bool:
        if name in patterns:
            return True
        for pattern in patterns:
            head, star, tail = pattern.partition("*")
            if star and len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail):
                return True
        return False

    def has_model(self, name: str) -> bool:
        return self._fits(name, self.modes)

    def serves(self, name: str) -> bool:
        return self._fits(name, self.served)

    def has_name(self, name: str) -> bool:
        return self.has_model(name) or name in self.aliases or name in self.routes

    def nearest(self, name: str) -> str | None:
        return nearest(name, [*self.modes, *self.aliases, *self.routes])


def _attempts(
    litellm: Section, router: Section, models: _Models
) -> tuple[AttemptSettings, RouterSettings, CascadeSettings | RoundsSettings | None]:
    base = AttemptSettings()
    changes: dict[str, Any] = {}
    strategy, learned, orchestration = _strategy(router, models)
    if strategy is not None:
        changes["routing_strategy"] = strategy
    changes["model_group_alias"] = _aliases(litellm, router, models)

    for key, name, most in (
        ("num_retries", "num_retries", 100),
        ("allowed_fails", "allowed_fails", 1_000_000),
        ("max_fallbacks", "max_fallbacks", 100),
    ):
        of_litellm, of_router = litellm.integer(key, least=0, most=most), router.integer(key, least=0, most=most)
        chosen = of_router if of_router is not None else of_litellm
        if chosen is not None:
            changes[name] = chosen
    for key, name in (("retry_after", "retry_after_s"), ("cooldown_time", "cooldown_s")):
        seconds_litellm, seconds_router = litellm.number(key, most=86_400), router.number(key, most=86_400)
        seconds = seconds_router if seconds_router is not None else seconds_litellm
        if seconds is not None:
            changes[name] = seconds
    disabled = router.boolean("disable_cooldowns")
    if disabled is not None:
        changes["disable_cooldowns"] = disabled

    defaults: list[str] = []
    for key in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        found = {**_fallbacks(litellm, key, models), **_fallbacks(router, key, models)}
        if key == "fallbacks":
            defaults.extend(found.pop("*", ()))  # LiteLLM's other way to write default_fallbacks
        changes[key] = found
    for section in (litellm, router):
        own = section.names("default_fallbacks")
        if own:
            defaults = list(own)
            for name in own:
                _warn_unless_known(section, "default_fallbacks", name, models)
    changes["default_fallbacks"] = tuple(defaults)
    return replace(base, **changes), learned, orchestration


def _strategy(
    router: Section, models: _Models
) -> tuple[str | None, RouterSettings, CascadeSettings | RoundsSettings | None]:
    learned = RouterSettings()
    name = router.text("routing_strategy")
    args = router.section("routing_strategy_args")
    strategy: str | None = None
    is_learned = name is not None and name.startswith(schema.LEARNED_PREFIX) and name != schema.LEARNED_PREFIX
    if name is not None:
        if is_learned:
            learned = replace(learned, strategy_name=name)
        elif name in schema.BUILT_STRATEGIES:
            strategy = name
        elif name in schema.LATER_STRATEGIES:
            router.warn("routing_strategy", f'"{name}" is not built yet; simple-shuffle serves in its place')
        else:
            known = {*schema.BUILT_STRATEGIES, *schema.LATER_STRATEGIES, "llmrouter-knn", "llmrouter-cluster"}
            router.error("routing_strategy", f'unknown strategy "{shown(name)}"', nearest(name, known))
    changes: dict[str, Any] = {}
    model_path = args.text("model_path") if is_learned else None
    if model_path is not None:
        changes["artefact_path"] = Path(model_path)
        if model_path.endswith((".pt", ".pth", ".pkl", ".pickle", ".joblib")):
            args.warn("model_path", "files of this kind can run code and are never opened; fit or import a router")
    hot_reload = args.boolean("hot_reload") if is_learned else None
    if hot_reload is not None:
        changes["hot_reload"] = hot_reload
    interval_s = args.number("reload_interval", above=True, most=86_400) if is_learned else None
    if interval_s is not None:
        changes["reload_interval_s"] = interval_s
    public_keys = _public_keys(args)
    if public_keys:
        changes["public_keys"] = public_keys
    orchestration, _ = read_orchestration(args, name if is_learned else None, models.chat_models)
    args.finish({*schema.ROUTING_STRATEGY_ARGS, "model_path", "hot_reload", "reload_interval", "public_keys"})
    return strategy, replace(learned, **changes), orchestration


def _public_keys(args: Section) -> tuple[bytes, ...]:
    """`public_keys`, for routers of every route: base64 of a key, or the path of a PEM file with one."""
    named = args.names("public_keys")
    if named is None:
        return ()
    if not named:
        args.error("public_keys", "no key: no router file could be loaded; leave the field out to take unsigned ones")
    found = []
    for name in named:
        try:
            found.append(public_key_of(name))
        except KeyRefused as error:
            args.error("public_keys", f'key "{shown(name)}" is no good: {error}')
    return tuple(dict.fromkeys(found))


def _with_strategy(
    routes: tuple[RouteSettings, ...], orchestration: CascadeSettings | RoundsSettings | None, models: _Models
) -> tuple[RouteSettings, ...]:
    """`routing_strategy: llmrouter-automix` and its kin are `auto`'s, where the file says nothing else of `auto`."""
    if orchestration is None or "auto" in models.modes:
        return routes
    others = tuple(route for route in routes if route.name != "auto")
    auto = next((route for route in routes if route.name == "auto"), RouteSettings(name="auto"))
    if auto.router is None and auto.orchestration is None:
        auto = replace(auto, orchestration=orchestration)
    return (*others, auto)


def _aliases(litellm: Section, router: Section, models: _Models) -> dict[str, str]:
    found: dict[str, str] = {}
    for section in (litellm, router):
        aliases = section.section("model_group_alias")
        for alias, node in aliases.entries.items():
            aliases.know(alias)
            if node.value is None:
                continue
            if isinstance(node.value, dict):
                inner = aliases.section(alias)
                target = inner.text("model")
                if "model" not in inner.entries:
                    inner.error("model", "missing")
                inner.finish({"hidden"})
            else:
                target = aliases.text(alias)
            if target is None:
                continue
            if not alias or "*" in alias or not alias.isprintable():
                aliases.error(alias, "no model can be called so")
            elif not models.has_model(target) and target not in models.routes:
                message = f'no model named "{shown(target)}" in model_list'
                aliases.error(alias, message, nearest(target, models.modes))
            else:
                found[alias] = target
    models.aliases = set(found)
    return found


def _fallbacks(section: Section, key: str, models: _Models) -> dict[str, tuple[str, ...]]:
    """`[{model: [others]}]`, or the mapping without its list."""
    node = section.take(key)
    if node is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    entries = node.value if isinstance(node.value, list) else [node]
    for entry in entries:
        if not isinstance(entry.value, dict):
            section.notes.error(entry, section.field(key), "expected a list of {model: [other models]}")
            continue
        for name, others in entry.value.items():
            names = text_list(others, f"{section.field(key)}.{shown(name)}", section.notes)
            if names is None:
                continue
            if name in found:
                section.notes.error(others, section.field(key), f'"{shown(name)}" stands here twice')
            found[name] = names
            for wanted in (*((name,) if name != "*" else ()), *names):
                _warn_unless_known(section, key, wanted, models, others)
    return found


def _warn_unless_known(section: Section, key: str, name: str, models: _Models, node: Node | None = None) -> None:
    if not models.has_name(name):
        place = node or section.entries[key]
        message = f'no model named "{shown(name)}"; it is passed over'
        section.notes.warn(place, section.field(key), message, models.nearest(name))


def _keys(top: Section, master_key: Secret | None) -> tuple[KeySettings, ...]:
    found: list[KeySettings] = []
    seen: set[str] = set()
    aliases: set[str] = set()
    for entry in top.sections("keys"):

        def refuse(name: str, entry: Section = entry) -> None:
            entry.error("key", f"the variable {shown(name)} is not set")

        text = entry.token("key", on_unset=refuse)
        if entry.entries.get("key") is None:
            entry.error("key", "missing")
        elif entry.entries["key"].value is None:
            entry.error("key", "must not be empty")
        alias = entry.text("alias", most=256)
        models = _key_models(entry)
        if text is not None:
            if master_key is not None and text == master_key.reveal():
                entry.error("key", "equals the master key")
            elif text in seen:
                entry.error("key", "the same key stands above already")
            seen.add(text)
        if alias is not None and alias in aliases:
            entry.error("alias", f'"{shown(alias)}" is the alias of another key')
        if alias is not None:
            aliases.add(alias)
        key = KeySettings(
            key=Secret(text or ""),
            alias=alias,
            models=models,
            rpm_limit=entry.integer("rpm_limit"),
            tpm_limit=entry.integer("tpm_limit"),
            max_parallel_requests=entry.integer("max_parallel_requests"),
            model_rpm_limit=_model_limits(entry, "model_rpm_limit"),
            model_tpm_limit=_model_limits(entry, "model_tpm_limit"),
            budget=budget(entry),
            model_max_budget=budgets_by_name(entry, "model_max_budget"),
            dial=_key_dial(entry),
        )
        entry.finish()
        if text is not None:
            found.append(key)
    return tuple(found)


def _key_dial(entry: Section) -> tuple[float, float] | None:
    least, most = entry.number("min_quality", most=1.0), entry.number("max_quality", most=1.0)
    if least is None and most is None:
        return None
    dial = (0.0 if least is None else least, 1.0 if most is None else most)
    if dial[0] > dial[1]:
        entry.error("min_quality", "is above max_quality")
    return dial


def _model_limits(entry: Section, key: str) -> dict[str, int]:
    section = entry.section(key)
    found = {}
    for model in section.entries:
        limit = section.integer(model)
        if limit is not None:
            found[model] = limit
    return found


def _key_models(entry: Section) -> tuple[str, ...] | None:
    """None, all of them, where the file says nothing, an empty list, or `all-proxy-models`, as with LiteLLM.

    A list that is empty only because its variables are not set must not come to mean all models: an error.
    """
    models = entry.names("models")
    node = entry.entries.get("models")
    if models == () and node is not None and node.value != []:
        entry.error("models", "none of its variables is set; an empty list would mean all models")
    if not models or "all-proxy-models" in models:
        return None
    return models


def _check_key_models(
    top: Section, keys: tuple[KeySettings, ...], models: _Models, routes: tuple[RouteSettings, ...]
) -> None:
    node = top.entries.get("keys")
    entries = node.value if node is not None and isinstance(node.value, list) else []
    for index, entry in enumerate(entries):
        listed = entry.value.get("models") if isinstance(entry.value, dict) else None
        if listed is None or not isinstance(listed.value, list):
            continue
        for name in listed.value:
            text = name.value
            if isinstance(text, str) and "*" not in text and variable_of(name) is None and not models.has_name(text):
                special = text in ("all-proxy-models", "all-team-models", "no-default-models")
                if not special:
                    message = f'no model or route named "{shown(text)}"'
                    top.notes.warn(name, f"keys[{index}].models", message, models.nearest(text))


def _routes(top: Section, models: _Models) -> tuple[RouteSettings, ...]:
    section = top.section("routes")
    found: list[RouteSettings] = []
    for name in section.entries:
        section.know(name)
        route = section.section(name)
        if not name or len(name) > 256 or "*" in name or not name.isprintable() or name != name.strip():
            section.error(name, "no route can be called so")
        elif name in models.modes:
            section.error(name, "is the name of a model in model_list too")
        elif name in models.aliases:
            section.error(name, "is an alias in model_group_alias too")
        listed = route.names("candidates")
        for candidate in listed or ():
            _check_candidate(route, "candidates", candidate, models)
        if listed == ():
            route.error("candidates", "must not be empty; leave it out for all chat models")
        default = route.text("default_model")
        if default is not None:
            _check_candidate(route, "default_model", default, models)
            if listed and default not in listed:
                route.error("default_model", f'"{shown(default)}" is not among the candidates')
        quality = route.number("quality", most=1.0)
        max_cost_usd = route.number("max_cost_usd", above=True)
        max_latency_ms = route.number("max_latency_ms", above=True)
        latency_weight = route.number("latency_weight", most=1.0)
        router = route.text("router")
        orchestration, router = of_route(route, router, models.chat_models)
        route.finish()
        served = None if listed is None else tuple(candidate for candidate in listed if models.serves(candidate))
        if listed and not served:
            section.warn(name, "none of its candidates can be served")
        found.append(
            RouteSettings(
                name=name,
                candidates=served,
                router=router,
                quality=RouteSettings(name=name).quality if quality is None else quality,
                default_model=default if default is not None and models.serves(default) else None,
                orchestration=orchestration,
                max_cost_usd=max_cost_usd,
                max_latency_s=None if max_latency_ms is None else max_latency_ms / 1000,
                latency_weight=latency_weight or 0.0,
            )
        )
    return tuple(found)


def _check_candidate(route: Section, key: str, name: str, models: _Models) -> None:
    if not models.has_model(name) or "*" in name:
        message = f'no model named "{shown(name)}" in model_list'
        route.error(key, message, nearest(name, models.modes))
    elif models.modes.get(name, "chat") == "embedding":
        route.error(key, f'"{shown(name)}" is an embedding model')
