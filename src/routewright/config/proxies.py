"""The egress proxy by the variables that every HTTP client reads: `HTTPS_PROXY`, else `ALL_PROXY`, and `NO_PROXY`.

`HTTP_PROXY` says nothing here: upstreams by plain http stand on this side of a proxy.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from routewright.settings import ProxySettings
from routewright.types import Secret


def egress_proxy(environ: Mapping[str, str]) -> ProxySettings | None:
    """What upstreams by https are reached through, if anything. Raises ValueError, naming the variable."""
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        address = environ.get(variable, "").strip()
        if address:
            return _read(variable, address, environ.get("no_proxy") or environ.get("NO_PROXY") or "")
    return None


def _read(variable: str, address: str, no_proxy: str) -> ProxySettings | None:
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if not host or not host.isascii() or not host.isprintable() or " " in host:
        raise ValueError(f"{variable}: expected the address of a proxy, http://HOST:PORT")
    if parts.scheme != "http":
        raise ValueError(f"{variable}: only proxies at http:// are spoken to (CONNECT), not {parts.scheme}://")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = Secret("Basic " + b64encode(pair.encode()).decode())
    names = tuple(name.strip().lower() for name in no_proxy.split(",") if name.strip())
    return ProxySettings(host=host, port=port or 80, authorization=authorization, directly=names)
