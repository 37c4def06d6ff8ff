"""What a request asks of the cache: LiteLLM's `cache` and `caching`, and HTTP's `Cache-Control`.

Source: LiteLLM, "Caching", dynamic cache controls; RFC 9111, sections 5.2.1.4 and 5.2.1.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routewright.errors import InvalidRequest, PermissionDenied
from routewright.settings import CacheSettings

MAX_NAMESPACE_CHARS = 256
MAX_SECONDS = 366 * 86_400
_FLAGS = ("no-cache", "no-store", "use-cache")
_SECONDS = {"ttl": "ttl", "s-maxage": "s-maxage", "s-max-age": "s-maxage"}


@dataclass(frozen=True, slots=True)
class Controls:
    """What is to be done for one request."""

    reads: bool
    """It may be answered by what is kept."""
    writes: bool
    """Its answer may be kept."""
    ttl_s: float
    max_age_s: float | None
    """Nothing older will do; None: whatever is kept."""
    namespace: str
    """Within the caller's own scope: equal requests of other namespaces are others."""


def controls_of(
    settings: CacheSettings,
    wishes: Mapping[str, Any] | None,
    allowed: frozenset[str] | None,
    headers: Mapping[bytes, bytes],
) -> Controls:
    """`allowed`: names of controls that the key may use; None is all.

    Raises InvalidRequest for what is no control, PermissionDenied for one that the key may not use.
    """
    reads = writes = settings.is_default_on
    ttl_s, max_age_s, namespace = settings.ttl_s, None, settings.namespace
    if wishes is not None:
        caching = wishes.get("caching")
        if caching is not None:
            if type(caching) is not bool:
                raise InvalidRequest("caching must be true or false", param="caching")
            reads = writes = caching
        asked = _read(wishes.get("cache"))
        if allowed is not None:
            refused = sorted(asked.keys() - allowed)
            if refused:
                raise PermissionDenied(f"this key may not use the cache control {refused[0]}", param="cache")
        if asked.get("use-cache"):
            reads = writes = True
        ttl_s = asked.get("ttl", ttl_s)
        max_age_s = asked.get("s-maxage")
        if "namespace" in asked:
            namespace = f"{namespace}/{asked['namespace']}"
        reads = reads and not asked.get("no-cache")
        writes = writes and not asked.get("no-store")
    stated = headers.get(b"cache-control")
    if stated is not None and (allowed is None or {"no-cache", "no-store"} <= allowed):
        words = stated.lower()
        if b"no-cache" in words:
            reads = False
        if b"no-store" in words:
            reads = writes = False
    return Controls(reads, writes and ttl_s > 0, ttl_s, max_age_s, namespace)


def _read(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if type(given) is not dict:
        raise InvalidRequest("cache must be an object", param="cache")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in _FLAGS:
            if type(value) is not bool:
                raise InvalidRequest(f"{name} must be true or false", param=f"cache.{name}")
            if value:
                found[name] = True
        elif name in _SECONDS:
            if type(value) not in (int, float) or not 0 <= value <= MAX_SECONDS:
                raise InvalidRequest(f"{name} must be a number of seconds", param=f"cache.{name}")
            found[_SECONDS[name]] = float(value)
        elif name == "namespace":
            if type(value) is not str or not 0 < len(value) <= MAX_NAMESPACE_CHARS or not value.isprintable():
                raise InvalidRequest("namespace must be a name of 1 to 256 characters", param="cache.namespace")
            found[name] = value
        else:
            raise InvalidRequest(
                "cache knows no-cache, no-store, use-cache, ttl, s-maxage and namespace", param="cache"
            )
    return found
