"""Where the Valkey or Redis is: `router_settings.redis_*`, else `cache_params` of a redis type, else REDIS_*."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from routewright.config.section import Section
from routewright.settings import ValkeySettings
from routewright.types import Secret

DEFAULT_PORT = 6379
CLUSTERS = ("redis_startup_nodes", "startup_nodes", "sentinel_nodes", "service_name")
_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True, "unix": False}
_REDIS_TYPES = ("redis", "redis-semantic")


def valkey(router: Section, cache: Section) -> ValkeySettings | None:
    """None where nobody speaks of one. The environment fills in what the file leaves out, as with LiteLLM."""
    of_router = _fields(router, "redis_")
    is_redis = cache.text("type") in _REDIS_TYPES
    of_cache = _fields(cache, "") if is_redis else {}
    if cache.entries:
        cache.boolean("ssl")
    environ = cache.notes.environ
    of_environment = {
        name: text for name in ("url", "host", "port", "password", "username", "db", "ssl")
        if (text := environ.get(f"REDIS_{name.upper()}"))
    }  # fmt: skip
    for found, section, key in ((of_router, router, "redis_{}"), (of_cache, cache, "{}"), (of_environment, None, "")):
        if "url" not in found and "host" not in found:
            continue

        def fault(name: str, message: str, section: Section | None = section, key: str = key) -> None:
            if section is not None:
                section.error(key.format(name), message)
            else:
                router.notes.error(router.node, f"REDIS_{name.upper()}", message)

        namespace = of_cache.get("namespace")
        return _settings({**of_environment, **found} if "url" not in found else found, namespace, fault)
    if is_redis:
        cluster = [name for name in CLUSTERS if name in cache.entries]
        if cluster:
            cache.warn(cluster[0], "clusters and sentinels are not spoken to; give the host of one server")
        else:
            cache.warn("type", "neither host nor url, and REDIS_HOST is not set: there is no Redis to share limits by")
    return None


def _fields(section: Section, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("url", "host", "password", "username"):
        found[name] = section.text(prefix + name, on_unset=_nothing)
    if not prefix:
        found["namespace"] = section.text("namespace", most=256)
    found["port"] = section.integer(prefix + "port", most=65_535)
    found["db"] = section.integer(prefix + "db", least=0, most=100_000)
    found["ssl"] = section.boolean(prefix + "ssl")
    return {name: value for name, value in found.items() if value is not None}


def _nothing(_: str) -> None:
    """That a variable is not set is told where all shared stores are looked at."""


def _settings(found: dict[str, Any], namespace: str | None, fault: Callable[[str, str], None]) -> ValkeySettings | None:
    if "url" in found:
        return _of_url(found["url"], namespace, fault)
    port, db, ssl = found.get("port", DEFAULT_PORT), found.get("db", 0), found.get("ssl", False)
    for name, value in (("port", port), ("db", db)):
        if isinstance(value, str) and not (value.isascii() and value.isdigit() and int(value) <= 65_535):
            fault(name, "expected a number")
            return None
    if isinstance(ssl, str):
        ssl = ssl.strip().lower() in ("true", "1", "yes")
    password = found.get("password")
    return ValkeySettings(
        host=found["host"],
        port=int(port),
        db=int(db),
        username=found.get("username"),
        password=Secret(password) if password else None,
        is_tls=ssl,
        namespace=namespace or ValkeySettings.namespace,
    )


def _of_url(url: str, namespace: str | None, fault: Callable[[str, str], None]) -> ValkeySettings | None:
    """`redis://user:password@host:port/db`, `rediss://` for TLS, `unix:///path?db=0`; messages never show it."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
    except ValueError:
        fault("url", "no address")
        return None
    is_tls = _SCHEMES.get(parts.scheme)
    if is_tls is None:
        fault("url", "expected an address that starts with redis://, rediss:// or unix://")
        return None
    is_unix = parts.scheme == "unix"
    db = parts.query.removeprefix("db=") if is_unix else parts.path.strip("/")
    if (parts.query and not (is_unix and parts.query.startswith("db="))) or parts.fragment:
        fault("url", "options in the address are not understood")
        return None
    if (db and not (db.isascii() and db.isdigit())) or not (parts.path if is_unix else parts.hostname):
        fault("url", "expected redis://user:password@host:port/database")
        return None
    return ValkeySettings(
        host=parts.hostname or "",
        port=port,
        path=unquote(parts.path) if is_unix else None,
        db=int(db or 0),
        username=unquote(parts.username) if parts.username else None,
        password=Secret(unquote(parts.password)) if parts.password else None,
        is_tls=is_tls,
        namespace=namespace or ValkeySettings.namespace,
    )
