"""Where the Valkey or Redis is: `router_settings.redis_*`, else `cache_params` of a redis type, else REDIS_*.

In each of these places one server's address, a cluster's nodes or sentinels may be named, as LiteLLM calls them; the
first place that names any of them speaks, and the environment fills in what it leaves out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from routewright.config.section import Section, plain
from routewright.settings import ValkeySettings
from routewright.types import Secret
from routewright.valkey.tls import tls_of

DEFAULT_PORT, SENTINEL_PORT = 6379, 26379
TEXTS = ("url", "host", "password", "username", "service_name", "sentinel_password", "ssl_ca_certs", "ssl_certfile",
         "ssl_keyfile", "ssl_cert_reqs")  # fmt: skip
NODES = ("startup_nodes", "sentinel_nodes")
WAYS = ("url", "startup_nodes", "sentinel_nodes", "host")
"""Ways to name a server; of several in one place the first one counts, as with LiteLLM."""
_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True, "unix": False}
_REDIS_TYPES = ("redis", "redis-semantic")
_ENVIRONMENT = {
    **{name: f"REDIS_{name.upper()}" for name in (*TEXTS, "sentinel_nodes", "port", "db", "ssl", "ssl_check_hostname")},
    "startup_nodes": "REDIS_CLUSTER_NODES",
}
_OPTIONS = ("db", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
"""What may stand in an address behind its question mark, as with redis-py."""
Fault = Callable[[str, str], None]


class _Wrong(ValueError):
    """A field, and what is wrong with it; never the value."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def valkey(router: Section, cache: Section) -> ValkeySettings | None:
    """None where nobody speaks of one."""
    of_router = _fields(router, "redis_")
    is_redis = cache.text("type") in _REDIS_TYPES
    of_cache = _fields(cache, "") if is_redis else {}
    if cache.entries:
        cache.boolean("ssl")
    environ = cache.notes.environ
    of_environment = {name: text for name, variable in _ENVIRONMENT.items() if (text := environ.get(variable))}
    for found, section, key in ((of_router, router, "redis_{}"), (of_cache, cache, "{}"), (of_environment, None, "")):
        ways = [name for name in WAYS if name in found]
        if not ways:
            if section is not None and "service_name" in found:
                section.error(key.format("service_name"), "names a master, but sentinel_nodes names no sentinel")
            continue

        def fault(name: str, message: str, section: Section | None = section, key: str = key) -> None:
            if section is not None:
                section.error(_key_in(section, key.format(name)), message)
            else:
                router.notes.error(router.node, _ENVIRONMENT[name], message)

        if section is not None and len(ways) > 1:
            section.warn(_key_in(section, key.format(ways[1])), f"not used: {key.format(ways[0])} stands beside it")
        filled = found if ways[0] == "url" else {**of_environment, **found}
        filled = {name: value for name, value in filled.items() if name not in WAYS or name == ways[0]}
        try:
            return _settings(filled, of_cache.get("namespace"))
        except _Wrong as wrong:
            fault(wrong.name, str(wrong))
            return None
    if is_redis:
        cache.warn("type", "neither host nor url, and REDIS_HOST is not set: there is no Redis to share limits by")
    return None


def _key_in(section: Section, name: str) -> str:
    """`redis_startup_nodes` and `startup_nodes` are one in `cache_params`."""
    return name if name in section.entries or f"redis_{name}" not in section.entries else f"redis_{name}"


def _fields(section: Section, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {name: section.text(prefix + name, on_unset=_nothing) for name in TEXTS}
    if not prefix:
        found["namespace"] = section.text("namespace", most=256)
    found["port"] = section.integer(prefix + "port", most=65_535)
    found["db"] = section.integer(prefix + "db", least=0, most=100_000)
    found["ssl"] = section.boolean(prefix + "ssl")
    found["ssl_check_hostname"] = section.boolean(prefix + "ssl_check_hostname")
    for name in NODES:
        for key in (prefix + name, f"redis_{name}"):
            node = section.take(key)
            if node is not None:
                found[name] = plain(node, section.notes, section.field(key))
    return {name: value for name, value in found.items() if value is not None}


def _nothing(_: str) -> None:
    """That a variable is not set is told where all shared stores are looked at."""


def _settings(found: Mapping[str, Any], namespace: str | None) -> ValkeySettings:
    """Raises _Wrong."""
    if "url" in found:
        made, options = _of_url(found["url"])
        found = {**found, **options}
    else:
        made = {
            "host": found.get("host", ""),
            "port": _number(found, "port", DEFAULT_PORT, 65_535),
            "db": _number(found, "db", 0, 100_000),
            "username": found.get("username"),
            "password": found.get("password"),
            "is_tls": _flag(found, "ssl", is_on=False),
        }
    made["namespace"] = namespace or ValkeySettings.namespace
    if "startup_nodes" in found:
        made["cluster"] = _nodes(found, "startup_nodes", DEFAULT_PORT)
        if made["db"]:
            raise _Wrong("db", "a cluster has no numbered databases")
        if "{" not in made["namespace"]:
            made["namespace"] = "{" + made["namespace"] + "}"
    elif "sentinel_nodes" in found:
        made["sentinels"] = _nodes(found, "sentinel_nodes", SENTINEL_PORT)
        if "service_name" not in found:
            raise _Wrong("sentinel_nodes", "service_name has to say which of their masters is meant")
        made["service_name"] = found["service_name"]
        made["sentinel_password"] = found.get("sentinel_password")
        made["password"] = made["password"] or found.get("sentinel_password")  # as with LiteLLM
    elif "service_name" in found and "url" not in found:
        raise _Wrong("service_name", "names a master, but sentinel_nodes names no sentinel")
    for name in ("password", "sentinel_password"):
        made[name] = Secret(made[name]) if made.get(name) else None
    settings = ValkeySettings(**made, **_tls(found))
    try:
        tls_of(settings)
    except (OSError, ValueError) as error:
        name = "ssl_ca_certs" if settings.cert_file is None else "ssl_certfile"
        raise _Wrong(name, f"can't be used: {error.strerror or type(error).__name__}"
                     if isinstance(error, OSError) else "can't be used") from None  # fmt: skip
    return settings


def _tls(found: Mapping[str, Any]) -> dict[str, Any]:
    wanted = str(found.get("ssl_cert_reqs", "required")).lower()
    if wanted not in ("required", "none"):
        raise _Wrong("ssl_cert_reqs", "expected required or none")
    if "ssl_keyfile" in found and "ssl_certfile" not in found:
        raise _Wrong("ssl_keyfile", "a key needs its certificate: ssl_certfile")
    return {
        "ca_file": found.get("ssl_ca_certs"),
        "cert_file": found.get("ssl_certfile"),
        "key_file": found.get("ssl_keyfile"),
        "is_verified": wanted == "required",
        "is_host_checked": _flag(found, "ssl_check_hostname", is_on=True),
    }


def _nodes(found: Mapping[str, Any], name: str, port: int) -> tuple[tuple[str, int], ...]:
    """Of `[{host: ..., port: ...}]`, `[[host, port]]`, or one of these as JSON in a variable."""
    given, nodes = found[name], []
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise _Wrong(name, "expected a list, as JSON") from None
    for each in given if isinstance(given, list) else ():
        if isinstance(each, dict) and set(each) <= {"host", "port"}:
            node = {"host": each.get("host"), "port": each.get("port", port)}
        elif isinstance(each, list) and len(each) in (1, 2):
            node = {"host": each[0], "port": each[1] if len(each) == 2 else port}
        else:
            raise _Wrong(name, "expected entries of host and port only")
        if not isinstance(node["host"], str) or not node["host"]:
            raise _Wrong(name, "an entry has no host")
        try:
            nodes.append((node["host"], _number(node, "port", port, 65_535)))
        except _Wrong:
            raise _Wrong(name, "an entry's port is none") from None
    if not nodes:
        raise _Wrong(name, "expected a list of hosts and ports")
    return tuple(nodes)


def _number(found: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = found.get(name, default)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _Wrong(name, "expected a number")
    return value


def _flag(found: Mapping[str, Any], name: str, *, is_on: bool) -> bool:
    value = found.get(name, is_on)
    return value.strip().lower() in ("true", "1", "yes") if isinstance(value, str) else bool(value)


def _of_url(url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """`redis://user:password@host:port/db`, `rediss://` for TLS, `unix:///path?db=0`; messages never show it. Also what
    stands behind the question mark."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _Wrong("url", "no address") from None
    is_tls = _SCHEMES.get(parts.scheme)
    if is_tls is None:
        raise _Wrong("url", "expected an address that starts with redis://, rediss:// or unix://")
    is_unix = parts.scheme == "unix"
    if set(options) - set(_OPTIONS if is_tls else ("db",)) or parts.fragment:
        raise _Wrong("url", "options in the address are not understood")
    db = "" if is_unix else parts.path.strip("/")
    db = options.pop("db", db)
    if (db and not (db.isascii() and db.isdigit())) or not (parts.path if is_unix else parts.hostname):
        raise _Wrong("url", "expected redis://user:password@host:port/database")
    made = {
        "host": parts.hostname or "",
        "port": port,
        "path": unquote(parts.path) if is_unix else None,
        "db": int(db or 0),
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "is_tls": is_tls,
    }
    return made, options
