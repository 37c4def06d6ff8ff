"""`model_list` -> deployments."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from routewright.config import schema
from routewright.config.abilities import abilities_of
from routewright.config.aws import read_aws
from routewright.config.budgets import budget
from routewright.config.entra import is_proof, read_entra
from routewright.config.google import read_vertex
from routewright.config.health_checks import of_deployment
from routewright.config.litellm_sdk import read_sdk
from routewright.config.modes import RESPONSES, is_served, likely_mode, spoken, steered
from routewright.config.named_credentials import Credentials
from routewright.config.prices import look_up, with_version
from routewright.config.problems import nearest, shown
from routewright.config.section import Notes, Section, kind, plain, url_fault, variable_of
from routewright.config.source import Node
from routewright.config.units import read_units, units_of
from routewright.credentials import CredentialSource
from routewright.providers.names import PROVIDERS, UNSPOKEN, Provider, complete_base, split_model, upstream_name
from routewright.settings import DeploymentSettings
from routewright.types import Price, Secret

DEFAULT_AZURE_VERSION = "2025-02-01-preview"
"""LiteLLM's, where neither the deployment nor AZURE_API_VERSION says one."""

_REGION_KEYS = ("region_name", "vertex_location", "aws_region_name")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}\Z")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*\Z")
_FRAMING = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
    "proxy-connection", "content-type", "content-encoding", "accept-encoding",
})  # fmt: skip
"""Belong to the connection or to the body that we write."""
_CREDENTIAL_NAMES = re.compile(r"(?i)auth|key|token|secret|cookie|password|credential")


class Deployments:
    """Reads the entries one by one; `usable` ones are deployments, all others are at least names that exist."""

    def __init__(
        self,
        notes: Notes,
        credentials: Credentials,
        defaults: Section,
        *,
        drops_unsupported: bool,
        asks_machine: bool = False,
    ) -> None:
        """`asks_machine`: a deployment at Azure without a credential goes by the identity of the machine."""
        self.usable: list[DeploymentSettings] = []
        self.names: dict[str, str] = {}
        """Each `model_name` of the file -> mode of its first entry."""
        self._notes = notes
        self._credentials = credentials
        self._defaults = _Defaults(defaults)
        self._drops_unsupported = drops_unsupported
        self._asks_machine = asks_machine
        self._explicit_ids: dict[str, Node] = {}
        self._ids: set[str] = set()
        self._unpriced: dict[str, None] = {}
        self._ignores_invalid = defaults.boolean("ignore_invalid_deployments") or False

    def read(self, entry: Section) -> None:
        """With `ignore_invalid_deployments` an entry that is at fault is left out, and its faults are warnings."""
        before, faults = len(self.usable), len(self._notes.errors)
        self._read(entry)
        if self._ignores_invalid and len(self._notes.errors) > faults:
            self._notes.warnings += self._notes.errors[faults:]
            del self._notes.errors[faults:], self.usable[before:]

    def _read(self, entry: Section) -> None:
        entry.know("model_info")
        name = entry.text("model_name", most=256)
        if name is None and entry.entries.get("model_name") is None:
            entry.error("model_name", "missing")
        elif name is not None and name.count("*") > 1:
            entry.error("model_name", "may hold one * at most")
        params = entry.section("litellm_params")
        if "litellm_params" not in entry.entries:
            entry.error("litellm_params", "missing")
        self._with_credential(params)
        info = entry.section("model_info")
        deployment = self._deployment(entry, params, info, name or "")
        if name is not None:
            # A faulty entry is a name too: who refers to it has made no mistake.
            self.names.setdefault(name, "chat")
        entry.finish(schema.ENTRY)
        params.finish(schema.LITELLM_PARAMS, schema.LITELLM_PARAMS_PATTERN, silent=schema.REQUEST_PARAMS)
        self._finish_info(info)
        if deployment is not None and name is not None:
            self.usable.append(deployment)

    def account(self, entry: Section, name: str) -> DeploymentSettings | None:
        """A provider's account, by an entry that names no model, as `files_settings` has them."""
        provider = entry.text("custom_llm_provider") or "openai"
        node = entry.node
        entry.entries = {**entry.entries, "model": Node(f"{provider}/account", node.file, node.line, node.key_line)}
        nothing = Section(Node(None, node.file, node.line, node.key_line), entry.field("model_info"), self._notes)
        found = self._deployment(entry, entry, nothing, name)
        self.names.pop(name, None)
        self._unpriced.pop(name, None)
        entry.finish(schema.LITELLM_PARAMS, schema.LITELLM_PARAMS_PATTERN, silent=schema.REQUEST_PARAMS)
        return found

    def finish(self) -> None:
        """The warnings that speak of several deployments."""
        if self._unpriced:
            names = ", ".join(shown(name) for name in self._unpriced)
            self._notes.warnings.append(
                f"no price is known for {names}: their requests count as free; "
                "set input_cost_per_token and output_cost_per_token"
            )

    def _with_credential(self, params: Section) -> None:
        name = params.text("litellm_credential_name")
        if name is None:
            return
        found = self._credentials.by_name.get(name)
        if found is None:
            params.error(
                "litellm_credential_name",
                f'no credential named "{shown(name)}" in credential_list',
                nearest(name, self._credentials.by_name),
            )
            return
        assert isinstance(found.value, dict)
        params.entries = {**found.value, **params.entries}

    def _deployment(self, entry: Section, params: Section, info: Section, name: str) -> DeploymentSettings | None:
        unset: list[str] = []
        model = params.text("model", most=512)
        if isinstance(params.node.value, dict) and model is None and params.entries.get("model") is None:
            params.error("model", "missing")
        custom_provider = params.text("custom_llm_provider")
        api_base_given = params.url("base_url" if "api_base" not in params.entries else "api_base",
                                    on_unset=unset.append)  # fmt: skip
        params.know("api_base", "base_url")
        api_key = params.token("api_key", on_unset=unset.append)
        entra_token = params.token("azure_ad_token", on_unset=unset.append)
        organization = params.token("organization")
        api_version = params.token("api_version")
        headers = headers_of(params, ("headers", "extra_headers"))
        numbers = self._numbers(entry, params)
        price, batch_prices = _price(params, info), _batch_prices(params, info)
        about, health_check = self._about(info), of_deployment(info)
        own_budget = budget(params)
        mock_response = params.text("mock_response", most=65_536)
        region = next(
            (found for key in _REGION_KEYS if key in params.entries and (found := params.text(key)) is not None), None
        )
        base_model = info.text("base_model") or params.text("base_model")
        params.know("base_model")
        default_params = self._default_params(params)
        drop_params = params.names("additional_drop_params") or ()
        drops_unsupported = params.boolean("drop_params")
        tags = params.names("tags") or ()
        access_groups = info.names("access_groups") or ()
        mode = info.text("mode")
        identity = self._identity(params, info, name)

        if model is None:
            return None
        provider_name, upstream_model = split_model(model, custom_provider, api_base_given)
        upstream_model, mode = steered(provider_name, upstream_model, mode)
        if mode is None:
            mode = likely_mode(provider_name, upstream_model)
        self.names.setdefault(name, "chat" if mode == RESPONSES else mode)
        where = f'model "{shown(name)}" ({shown(model)})'
        if not is_served(info, params, mode, where):
            return None
        if provider_name is None or (provider_name not in PROVIDERS and provider_name not in UNSPOKEN):
            said = provider_name or model.partition("/")[0]
            key = "custom_llm_provider" if custom_provider else "model"
            message = f'"{shown(said)}" is no provider known here; write provider/name'
            params.error(key, message, nearest(said, {*PROVIDERS, *UNSPOKEN}))
            return None
        if name.count("*") == 0 and "*" in upstream_model:
            params.error("model", "holds a * that model_name has not")
            return None
        if upstream_model.count("*") > 1 or not upstream_model:
            params.error("model", "expected provider/name, with one * at most")
            return None
        if unset:
            variables = ", ".join(shown(variable) for variable in unset)
            self._skip(params, "api_key", where, f"the variable {variables} is not set")
            return None
        environ = self._notes.environ
        drops = self._drops_unsupported if drops_unsupported is None else drops_unsupported
        sdk: tuple[Secret, tuple[Secret, ...]] | None = None
        if provider_name in UNSPOKEN:
            sdk = read_sdk(params, provider_name, api_base_given, drops_unsupported=drops)
            if sdk is None:
                return None
            provider = Provider(provider_name, "litellm:", needs_key=False)
            api_base_given = api_key = None
        else:
            provider = PROVIDERS[provider_name]

        aws = None
        credential: CredentialSource | None = None
        if provider.dialect == "bedrock":
            cloud = read_aws(params, upstream_model)
            if cloud.endpoint is None:
                if cloud.why_not is not None:
                    self._skip(params, "aws_access_key_id", where, cloud.why_not)
                return None
            aws, credential = cloud.keys, cloud.source
            api_base_given = api_base_given or cloud.endpoint
        elif provider.dialect == "vertex":
            given_base = api_base_given or _first_set(environ, provider.base_env)
            credential, api_base_given, why = read_vertex(params, given_base)
            if credential is None or api_base_given is None:
                if why is not None:
                    self._skip(params, "vertex_project", where, why)
                return None
        elif provider.dialect == "azure" and api_key is None and (entra_token is None or is_proof(entra_token)):
            faults = len(self._notes.errors)
            credential = read_entra(params, unset, entra_token, by_machine=self._asks_machine)
            if entra_token is not None and len(self._notes.errors) > faults:
                return None
            if unset:
                self._skip(params, "client_secret", where, f"the variable {', '.join(map(shown, unset))} is not set")
                return None
        params.know("tenant_id", "client_id", "client_secret", "azure_scope")
        raw_base = api_base_given or _first_set(environ, provider.base_env) or provider.api_base
        if raw_base is None:
            if "api_base" not in params.entries and "base_url" not in params.entries:
                params.error("api_base", f'missing; provider "{provider.name}" has no default address')
            return None
        if sdk is None and api_base_given is None and (fault := url_fault(raw_base)):
            params.error("api_base", f"missing, and {' or '.join(provider.base_env)} is no address: {fault}")
            return None
        is_bearer = provider.dialect == "azure" and entra_token is not None and api_key is None and credential is None
        if is_bearer:
            api_key = entra_token
        elif credential is not None or sdk is not None:
            api_key = None
        elif "api_key" not in params.entries or params.entries["api_key"].value in (None, ""):
            api_key = _first_set(environ, provider.key_env)
            has_own_base = api_base_given is not None or raw_base != provider.api_base
            has_auth_header = any(header.lower() in ("authorization", "api-key", "x-api-key") for header, _ in headers)
            if api_key is None and not has_auth_header:
                if provider.needs_key and mock_response is None and (not has_own_base or provider.dialect == "azure"):
                    variables = " or ".join(provider.key_env)
                    self._skip(params, "api_key", where, f"no api_key, and {variables} is not set")
                    return None
            elif api_key is not None and not re.fullmatch(r"[\x21-\x7e]{1,8192}", api_key):
                params.error("api_key", f"missing, and {' or '.join(provider.key_env)} can't stand in a header")
                return None
        elif api_key is None:
            return None  # said already
        if provider.dialect == "azure" and api_version is None:
            api_version = environ.get("AZURE_API_VERSION") or DEFAULT_AZURE_VERSION

        upstream = upstream_name(provider, upstream_model)
        known_as = split_model(base_model)[1] if base_model else upstream_model
        price, context_window = self._complete_price(provider, known_as, price, name)
        base = complete_base(provider, raw_base)
        mode, by_responses = spoken(info, provider, mode, base)
        return DeploymentSettings(
            id=identity,
            model_name=name,
            provider=provider.name,
            upstream_model=upstream,
            api_base=base,
            api_key=Secret(api_key) if api_key else None,
            api_version=api_version,
            is_bearer=is_bearer,
            aws=aws,
            credential=credential,
            sdk_params=None if sdk is None else sdk[0],
            sdk_secrets=() if sdk is None else sdk[1],
            organization=organization,
            extra_headers=headers,
            price=price,
            batch_input_usd_per_token=batch_prices[0],
            batch_output_usd_per_token=batch_prices[1],
            default_params={**self._defaults.params, **default_params},
            drop_params=drop_params,
            drops_unsupported=drops,
            mode=mode,
            by_responses=by_responses,
            tags=tags,
            access_groups=access_groups,
            budget=own_budget if own_budget.max_budget_nusd is not None else None,
            region=aws.region if region is None and aws is not None else region,
            mock_response=mock_response,
            **{**numbers, **about, **health_check, **_completed(about, known_as, context_window)},
        )

    def _skip(self, params: Section, key: str, where: str, why: str) -> None:
        params.warn(key, f"{where} is left out: {why}")

    def _numbers(self, entry: Section, params: Section) -> dict[str, Any]:
        """Limits and times; LiteLLM once had rpm and tpm beside litellm_params, so both places count."""
        order = params.integer("order", least=0, most=1000)
        retries = params.integer("num_retries", least=0, most=100)
        most_retries = params.integer("max_retries", least=0, most=100)
        rpm, tpm = entry.integer("rpm"), entry.integer("tpm")
        own_parallel = params.integer("max_parallel_requests")
        stream_timeout = params.number("stream_timeout", above=True, most=86_400)
        return {
            "weight": params.number("weight"),
            "order": 1 if order is None else order,
            "rpm": params.integer("rpm") or rpm,
            "tpm": params.integer("tpm") or tpm,
            "max_parallel_requests": own_parallel or self._defaults.max_parallel_requests,
            "timeout_s": params.number("timeout", above=True, most=86_400),
            "stream_timeout_s": stream_timeout or self._defaults.stream_timeout_s,
            "max_retries": most_retries if most_retries is not None else retries,
            "cooldown_s": params.number("cooldown_time", most=86_400),
        }

    def _about(self, info: Section) -> dict[str, Any]:
        most = info.integer("max_tokens")
        return {
            "max_input_tokens": info.integer("max_input_tokens"),
            "max_output_tokens": info.integer("max_output_tokens") or most,
            "supports_vision": info.boolean("supports_vision"),
            "supports_tools": info.boolean("supports_function_calling"),
            "supports_json": info.boolean("supports_response_schema"),
            "quality": info.number("quality", most=1.0),
        }

    def _finish_info(self, info: Section) -> None:
        """`model_info` is also where LiteLLM lets people keep their own notes: only a near miss is a mistake."""
        known = {*info.known, *schema.MODEL_INFO}
        for key in [key for key in info.entries if key not in known and key not in schema.MODEL_INFO_METADATA]:
            if key.startswith("supports_") or nearest(key, known) is None:
                info.know(key)
        info.finish(schema.MODEL_INFO, schema.LITELLM_PARAMS_PATTERN, silent=schema.MODEL_INFO_METADATA)

    def _default_params(self, params: Section) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, node in params.entries.items():
            if key in schema.REQUEST_PARAMS:
                params.know(key)
                if node.value is not None:
                    found[key] = plain(node, self._notes, params.field(key))
        extra = params.section("extra_body")
        for key, node in extra.entries.items():
            if key in schema.REFUSED_DEFAULTS:
                extra.error(key, "would replace what the client asks for")
            elif node.value is not None:
                found[key] = plain(node, self._notes, extra.field(key))
        params.know("stream")  # the client's word counts
        return {key: value for key, value in found.items() if value is not None}

    def _identity(self, params: Section, info: Section, name: str) -> str:
        node = info.take("id")
        if node is not None:
            text = str(node.value) if isinstance(node.value, int) and not isinstance(node.value, bool) else node.value
            if not isinstance(text, str) or not re.fullmatch(r"[\x21-\x7e]{1,256}", text):
                info.error("id", "expected up to 256 visible ASCII characters")
                return ""
            first = self._explicit_ids.get(text)
            if first is not None:
                info.error("id", f'"{shown(text)}" is the id of another deployment ({first.file}:{first.line})')
            self._explicit_ids[text] = node
            self._ids.add(text)
            return text
        identity = hash_of_entry(name, params.entries)
        count = 1
        while (found := identity if count == 1 else f"{identity}-{count}") in self._ids:
            count += 1  # the same entry twice, which LiteLLM takes as a double weight
        self._ids.add(found)
        return found

    def _complete_price(self, provider: Provider, model: str, price: Price, name: str) -> tuple[Price, int | None]:
        found = None
        if provider.prices_as is not None and "*" not in model and (not price.is_known or price.source == "none"):
            found = look_up(provider.prices_as, model)
        if price.source == "config":
            if not price.is_known and price.units is None:
                self._unpriced[name] = None
            return price, None
        units = units_of(model)
        if units is not None and found is None:
            return with_version(Price(units=units, source="config"), "routewright"), None
        if found is None:
            self._unpriced[name] = None
            return price, None
        return found


def headers_of(params: Section, keys: tuple[str, ...]) -> tuple[tuple[str, str | Secret], ...]:
    """Header lines of the configuration's own; what names a credential, or comes from a variable, is a secret."""
    found: list[tuple[str, str | Secret]] = []
    seen: set[str] = set()
    for key in keys:
        section = params.section(key)
        for name in section.entries:
            field_value, from_variable = section.scalar(name)
            if field_value is None:
                continue
            if isinstance(field_value, int | float) and not isinstance(field_value, bool):
                field_value = str(field_value)
            lower = name.lower()
            if not _TOKEN.match(name):
                section.error(name, "no header can be called so")
            elif lower in _FRAMING:
                section.error(name, "is written by the gateway itself")
            elif lower in seen:
                section.error(name, "stands here twice")
            elif not isinstance(field_value, str):
                section.error(name, f"expected text, found {kind(field_value)}")
            elif not _HEADER_VALUE.match(field_value) or len(field_value) > 8192:
                section.error(name, "a header's value may hold visible ASCII characters and spaces only")
            else:
                seen.add(lower)
                is_secret = from_variable or _CREDENTIAL_NAMES.search(name) is not None
                found.append((name, Secret(field_value) if is_secret else field_value))
    return tuple(found)


class _Defaults:
    """What router_settings says for all deployments."""

    def __init__(self, router: Section) -> None:
        self.stream_timeout_s = router.number("stream_timeout", above=True, most=86_400)
        self.max_parallel_requests = router.integer("default_max_parallel_requests")
        self.params: dict[str, Any] = {}
        section = router.section("default_litellm_params")
        for key, node in section.entries.items():
            if key in schema.REQUEST_PARAMS:
                section.know(key)
                if node.value is not None:
                    self.params[key] = plain(node, router.notes, section.field(key))
        section.finish(schema.LITELLM_PARAMS, schema.LITELLM_PARAMS_PATTERN)


def _price(params: Section, info: Section) -> Price:
    def cost(key: str) -> float | None:
        # Ten dollars for one token is a price per thousand or per million in the wrong key.
        own, general = params.number(key, most=10.0), info.number(key, most=10.0)
        return own if own is not None else general

    price = Price(
        input_usd_per_token=cost("input_cost_per_token"),
        output_usd_per_token=cost("output_cost_per_token"),
        cached_input_usd_per_token=cost("cache_read_input_token_cost"),
        cache_creation_usd_per_token=cost("cache_creation_input_token_cost"),
        cache_creation_long_usd_per_token=cost("cache_creation_input_token_cost_above_1hr"),
        reasoning_usd_per_token=cost("output_cost_per_reasoning_token"),
        audio_input_usd_per_token=cost("input_cost_per_audio_token"),
        audio_output_usd_per_token=cost("output_cost_per_audio_token"),
        units=read_units(params, info),
        source="config",
    )
    if price.input_usd_per_token is None and price.output_usd_per_token is None and price.units is None:
        return Price()
    return with_version(price, "config")


def _batch_prices(params: Section, info: Section) -> tuple[float | None, float | None]:
    """Of a token of a prompt and of an answer, in a batch."""
    found = []
    for key in ("input_cost_per_token_batches", "output_cost_per_token_batches"):
        own, general = params.number(key, most=10.0), info.number(key, most=10.0)
        found.append(own if own is not None else general)
    return found[0], found[1]


def _completed(about: Mapping[str, Any], model: str, context_window: int | None) -> dict[str, Any]:
    """What the configuration leaves open of a model's abilities, as far as they are known by its name."""
    known = abilities_of(model)
    found: dict[str, Any] = {
        "max_input_tokens": context_window or known.max_input_tokens,
        "supports_vision": known.vision,
        "supports_tools": known.tools,
        "supports_json": known.json,
    }
    completed = {name: value if about[name] is None else about[name] for name, value in found.items()}
    return {**completed, "known_max_output_tokens": known.max_output_tokens, "abilities": known.others}


def _first_set(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := environ.get(name))), None)


def hash_of_entry(name: str, params: Mapping[str, Node]) -> str:
    """16 hex digits that stay the same as long as the entry does. A variable counts by its name, so that a new key
    in the same variable is the same deployment; a credential in the file counts by its own hash."""

    def digest(key: str, node: Node) -> Any:
        value = node.value
        if isinstance(value, dict):
            return {inner: digest(inner, value[inner]) for inner in sorted(value)}
        if isinstance(value, list):
            return [digest(key, entry) for entry in value]
        if isinstance(value, str) and variable_of(node) is None and _CREDENTIAL_NAMES.search(key):
            return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return value

    content = {key: digest(key, params[key]) for key in sorted(params) if params[key].value is not None}
    text = json.dumps([name, content], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
