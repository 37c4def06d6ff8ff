"""Limits and time limits from the environment: `ROUTEWRIGHT_FRONT_<FIELD>` and `ROUTEWRIGHT_UPSTREAM_<FIELD>`, and
`ROUTEWRIGHT_VALKEY_TIMEOUT_S`; and the egress proxy.

The names behind the prefix are the fields of `FrontLimits` and `UpstreamSettings` in upper case.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from routewright.config.proxies import egress_proxy
from routewright.settings import FrontLimits, Settings, UpstreamSettings, ValkeySettings

_NO_NUMBERS = {"ssl_verify", "proxy"}
VALKEY_TIMEOUT = "ROUTEWRIGHT_VALKEY_TIMEOUT_S"
Section = TypeVar("Section", FrontLimits, UpstreamSettings)


def with_environment(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Settings with what the environment says in place. Raises ValueError, naming the variable."""
    shared = settings.valkey
    return dataclasses.replace(
        settings,
        valkey=None if shared is None else dataclasses.replace(shared, timeout_s=_valkey_timeout_s(shared, environ)),
        limits=_overridden(settings.limits, "ROUTEWRIGHT_FRONT_", environ),
        upstream=dataclasses.replace(
            _overridden(settings.upstream, "ROUTEWRIGHT_UPSTREAM_", environ), proxy=egress_proxy(environ)
        ),
    )


def _valkey_timeout_s(shared: ValkeySettings, environ: Mapping[str, str]) -> float:
    return _number(VALKEY_TIMEOUT, environ[VALKEY_TIMEOUT], float) if VALKEY_TIMEOUT in environ else shared.timeout_s


def _overridden(section: Section, prefix: str, environ: Mapping[str, str]) -> Section:
    fields = {field.name.upper(): field.name for field in dataclasses.fields(section) if field.name not in _NO_NUMBERS}
    changes: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(prefix):
            continue
        name = variable[len(prefix) :]
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            raise ValueError(f"{variable}: no such setting" + (f"; did you mean {prefix}{near[0]}?" if near else ""))
        changes[fields[name]] = _number(variable, text, type(getattr(section, fields[name])))
    return dataclasses.replace(section, **changes) if changes else section


def _number(variable: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{variable}: expected a number, got {text!r}") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{variable}: expected a number above 0, got {text!r}")
    return value
