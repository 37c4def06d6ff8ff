"""What is told to whom beside the answers: the log, callbacks after each request, traces, and who may read metrics.

Names are LiteLLM's: `success_callback`, `failure_callback`, `callbacks`, `callback_settings`, `json_logs`, LITELLM_LOG
and the variables that its callbacks read; those of OpenTelemetry's specification for `otel`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

from routewright.config.problems import nearest, shown
from routewright.config.section import Section
from routewright.settings import ExportSettings, LogSettings, TraceSettings
from routewright.types import Secret

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_TRUE = frozenset({"true", "1", "yes", "on"})
_WEBHOOKS = frozenset({"webhook", "generic_api", "generic"})
_OBJECTS = frozenset({"s3", "s3_v2", "gcs_bucket", "object_dump"})
_NEED_NOTHING = frozenset({"prometheus"})
"""What is on anyway."""
_SERVED = frozenset({"otel", "langfuse", *_WEBHOOKS, *_OBJECTS, *_NEED_NOTHING})
LANGFUSE_CLOUD = "https://cloud.langfuse.com"
LANGFUSE_PATH = "/api/public/ingestion"
TRACES_PATH = "/v1/traces"


def read_logs(general: Section, litellm: Section, environ: Mapping[str, str]) -> LogSettings:
    level = general.text("log_level")
    if level is not None and level.upper() not in LEVELS:
        general.error("log_level", f"expected one of {', '.join(LEVELS)}")
        level = None
    is_verbose = litellm.boolean("set_verbose") or False
    named = environ.get("LITELLM_LOG", "").strip().upper()
    if level is None and named:
        if named not in LEVELS:
            litellm.notes.warnings.append(f"LITELLM_LOG: expected one of {', '.join(LEVELS)}; left out")
        else:
            level = named
    as_json = litellm.boolean("json_logs")
    return LogSettings(
        level=(level or ("DEBUG" if is_verbose else "INFO")).upper(),
        as_json=environ.get("JSON_LOGS", "").lower() in _TRUE if as_json is None else as_json,
        access=general.boolean("access_log"),
    )


def read_exports(
    top: Section, litellm: Section, environ: Mapping[str, str]
) -> tuple[tuple[ExportSettings, ...], TraceSettings | None]:
    """Who is told after a request's end; a callback that is not served here is named with LiteLLM's other keys."""
    wanted: dict[str, set[str]] = {}
    lists = {"success_callback": ("success",), "failure_callback": ("failure",), "callbacks": ("success", "failure")}
    for key, which in lists.items():
        for name in litellm.names(key) or ():
            wanted.setdefault(name, set()).update(which)
    settings = top.section("callback_settings")
    exports, traces = [], None
    for name, ends in wanted.items():
        own = settings.section(name)
        kind = own.text("callback_type") or name
        made: ExportSettings | None = None
        if kind == "otel":
            traces = _traces(own, environ)
        elif kind == "langfuse":
            made = _langfuse(litellm, name, environ)
        elif kind in _WEBHOOKS:
            made = _webhook(litellm, own, name, environ)
        elif kind in _OBJECTS:
            made = _objects(litellm, own, name, kind, environ)
        elif kind not in _NEED_NOTHING:
            litellm.notes.unsupported[f"litellm_settings callback {shown(name)}"] = None
            near = nearest(name, _SERVED)
            if near is not None:
                litellm.notes.warnings.append(f"callback {shown(name)} is not served here; did you mean {near}?")
            own.know(*own.entries)
        if made is not None:
            exports.append(_only(made, ends))
        own.finish()
    for name in settings.entries:
        settings.know(name)
        if name not in wanted:
            settings.notes.unsupported[f"callback_settings.{shown(name)}"] = None
    params = litellm.section("s3_callback_params")
    params.know(*params.entries)
    return tuple(exports), traces


def _only(made: ExportSettings, ends: Iterable[str]) -> ExportSettings:
    return ExportSettings(
        name=made.name, kind=made.kind, url=made.url, headers=made.headers, options=made.options,
        wants_success="success" in ends, wants_failure="failure" in ends,
    )  # fmt: skip


def _webhook(litellm: Section, own: Section, name: str, environ: Mapping[str, str]) -> ExportSettings | None:
    url = own.text("endpoint") or environ.get("GENERIC_LOGGER_ENDPOINT")
    headers = _headers(own, "headers") + _pairs(environ.get("GENERIC_LOGGER_HEADERS", ""))
    own.know("event_types", "callback_type")  # the lists of callbacks say which ends are wanted
    if not _is_address(url):
        where = f"callback_settings.{shown(name)}.endpoint, or in the variable GENERIC_LOGGER_ENDPOINT"
        litellm.notes.warnings.append(f"callback {shown(name)} needs an http or https address in {where}; left out")
        return None
    assert url is not None
    return ExportSettings(name=name, kind="webhook", url=url, headers=headers)


def _langfuse(litellm: Section, name: str, environ: Mapping[str, str]) -> ExportSettings | None:
    public, secret = environ.get("LANGFUSE_PUBLIC_KEY"), environ.get("LANGFUSE_SECRET_KEY")
    host = environ.get("LANGFUSE_HOST") or environ.get("LANGFUSE_BASE_URL") or LANGFUSE_CLOUD
    if not public or not secret:
        variables = "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"
        litellm.notes.warnings.append(f"callback langfuse needs the variables {variables}; left out")
        return None
    if "://" not in host:
        host = f"https://{host}"
    if not _is_address(host):
        litellm.notes.warnings.append("callback langfuse: LANGFUSE_HOST is no http or https address; left out")
        return None
    credential = base64.b64encode(f"{public}:{secret}".encode()).decode()
    headers = (("authorization", Secret(f"Basic {credential}")),)
    return ExportSettings(name=name, kind="langfuse", url=host.rstrip("/") + LANGFUSE_PATH, headers=headers)


def _objects(litellm: Section, own: Section, name: str, kind: str, environ: Mapping[str, str]) -> ExportSettings | None:
    url, options = own.text("url"), dict(_headers(own, "options"))
    if url is None and kind in ("s3", "s3_v2"):
        params = litellm.section("s3_callback_params")
        bucket, folder = params.text("s3_bucket_name"), (params.text("s3_path") or "").strip("/")
        url = f"s3://{bucket}/{folder}".rstrip("/") if bucket else None
        for ours, theirs in (
            ("key", "s3_aws_access_key_id"),
            ("secret", "s3_aws_secret_access_key"),
            ("token", "s3_aws_session_token"),
            ("endpoint_url", "s3_endpoint_url"),
        ):
            value = params.text(theirs)
            if value is not None:
                options[ours] = Secret(value)
    if url is None and kind == "gcs_bucket" and environ.get("GCS_BUCKET_NAME"):
        url = f"gs://{environ['GCS_BUCKET_NAME']}"
    if url is None or "://" not in url:
        where = f"callback_settings.{shown(name)}.url"
        litellm.notes.warnings.append(
            f"callback {shown(name)} needs an address such as s3://bucket/folder in {where}; left out"
        )
        return None
    if find_spec("fsspec") is None:
        litellm.notes.warnings.append(
            f"callback {shown(name)} needs the extra objects (pip install 'routewright[objects]'); left out"
        )
        return None
    return ExportSettings(name=name, kind="objects", url=url.rstrip("/"), options=tuple(options.items()))


def _traces(own: Section, environ: Mapping[str, str]) -> TraceSettings | None:
    """`callback_settings.otel` before OpenTelemetry's variables, and those before LiteLLM's."""
    whole = own.text("traces_endpoint") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    base = own.text("endpoint") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_ENDPOINT")
    url = whole or (base or "http://localhost:4318").rstrip("/")
    if whole is None and not url.endswith(TRACES_PATH):
        url += TRACES_PATH
    if not _is_address(url):
        own.error("endpoint", "expected an http or https address")
        return None
    protocol = (
        own.text("protocol") or environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or environ.get("OTEL_EXPORTER") or "http/protobuf"
    )  # fmt: skip
    if protocol in ("grpc", "otlp_grpc"):
        own.error("protocol", "gRPC is not spoken here: use http/protobuf at the collector's port 4318")
        return None
    if protocol not in ("http/protobuf", "http/json", "otlp_http"):
        own.error("protocol", "expected http/protobuf or http/json")
        return None
    is_protobuf = protocol != "http/json"
    if own.boolean("message_logging"):
        own.warn("message_logging", "prompts and answers are never put into spans")
    sampler = environ.get("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    share = own.number("sampling", most=1.0)
    if share is None:
        share = _share(own, environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))
        share = 0.0 if sampler.endswith("always_off") else 1.0 if sampler.endswith("always_on") else share
    named = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = {"service.name": "routewright", **{key: value.reveal() for key, value in _pairs(named)}}
    if environ.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = environ["OTEL_SERVICE_NAME"]
    headers = _headers(own, "headers")
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_HEADERS"):
        headers = headers or _pairs(environ.get(variable, ""))
    return TraceSettings(
        url=url,
        headers=headers,
        is_protobuf=is_protobuf,
        sampling=share,
        follows_caller=sampler.startswith("parentbased"),
        resource=tuple(resource.items()),
    )


def _share(own: Section, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        own.error("sampling", "OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1")
        return 1.0
    return share


def _headers(own: Section, key: str) -> tuple[tuple[str, Secret], ...]:
    """A mapping of names to texts, any of which may be a credential."""
    inner = own.section(key)
    found = []
    for name in inner.entries:
        value = inner.text(name)
        if value is not None:
            found.append((name, Secret(value)))
    return tuple(found)


def _pairs(text: str) -> tuple[tuple[str, Secret], ...]:
    """`a=b,c=d`, values percent-encoded, as OpenTelemetry's variables have them."""
    found = []
    for pair in text.split(","):
        name, sign, value = pair.partition("=")
        if sign and name.strip():
            found.append((name.strip(), Secret(unquote(value.strip()))))
    return tuple(found)


def _is_address(url: str | None) -> bool:
    if not url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
