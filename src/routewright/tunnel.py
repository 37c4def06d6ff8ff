"""The way out through an egress proxy: asking it for a connection to somebody else, and reading what it says.

Source: RFC 9110, 9.3.6 (CONNECT). What goes through is TLS to the other end, which the proxy can't read.
"""

from __future__ import annotations

import ipaddress
import re

from routewright.settings import ProxySettings

MAX_ANSWER_BYTES = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r\n")


def connect_request(proxy: ProxySettings, host: str, port: int) -> bytes:
    """For a connection to `host`."""
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {name} HTTP/1.1", f"host: {name}"]
    if proxy.authorization is not None:
        lines.append(f"proxy-authorization: {proxy.authorization.reveal()}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"


def read_connect_answer(received: bytes) -> int | None:
    """Its status, once the answer is whole. Raises ValueError where it is none, or something stands behind it."""
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        if len(received) > MAX_ANSWER_BYTES:
            raise ValueError("the proxy's answer does not end")
        return None
    status = _STATUS.match(head + b"\r\n")
    if status is None:
        raise ValueError("the proxy has answered with no HTTP")
    if rest and status[1][:1] == b"2":
        raise ValueError("the proxy has sent more than its answer")
    return int(status[1])


def goes_directly(proxy: ProxySettings, host: str, port: int) -> bool:
    """Whether `NO_PROXY` names it: `*`, a name with all below it, an address or a network, each perhaps with a port."""
    host = host.lower()
    address = _address(host)
    for name in proxy.directly:
        if name == "*":
            return True
        if address is None:
            name, _, its_port = name.partition(":")
            name = name.removeprefix("*").removeprefix(".")
            if its_port in ("", str(port)) and name and (host == name or host.endswith(f".{name}")):
                return True
        elif name in (host, f"{host}:{port}", f"[{host}]", f"[{host}]:{port}") or _holds(name, address):
            return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _holds(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return "/" in network and address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
