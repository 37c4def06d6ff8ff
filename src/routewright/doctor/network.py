"""Upstreams and whoever else has to be reached: a connection each, verified, with no credential sent."""

from __future__ import annotations

import email.utils
import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from routewright.doctor.findings import Finding, good, problem

Origin = tuple[str, str, int]
"""Scheme, host, port."""
TIMEOUT_S = 4.0
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Visit:
    """How an attempt to reach somebody went."""

    fault: str = ""
    advice: str = ""
    took_s: float = 0.0
    skew_s: float | None = None
    """Our clock less theirs."""


def visit(origin: Origin, verify: bool | str = True) -> Visit:
    """Connect, shake hands, ask for `/` without a word about who asks."""
    scheme, host, port = origin
    began = time.perf_counter()
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as plain:
            if scheme != "https":
                return Visit(took_s=time.perf_counter() - began)
            context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
            if verify is False:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain, server_hostname=host) as secured:
                took_s = time.perf_counter() - began
                return Visit(took_s=took_s, skew_s=_skew_s(secured, host))
    except socket.gaierror:
        return Visit("its name can't be resolved", "is the address right, and does this machine have DNS?")
    except ssl.SSLCertVerificationError as error:
        advice = "a proxy in between needs its certificate in `litellm_settings.ssl_verify: /path/to/bundle.pem`"
        return Visit(f"its certificate is not accepted: {error.verify_message}", advice)
    except ConnectionRefusedError:
        return Visit("refuses connections", "does the server run, and is the port right?")
    except TimeoutError:
        return Visit(f"no answer within {TIMEOUT_S:.0f} s", "a firewall drops it, or HTTPS goes by a proxy here")
    except OSError as error:
        return Visit(error.strerror or str(error), "see whether this machine has a way there")


def _skew_s(connection: ssl.SSLSocket, host: str) -> float | None:
    """By the `Date` of any answer at all."""
    asked = time.time()
    try:
        connection.settimeout(TIMEOUT_S)
        connection.sendall(f"HEAD / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection, method="HEAD")
        answer.begin()
        told = email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (OSError, http.client.HTTPException, TypeError, ValueError):
        return None
    return (asked + time.time()) / 2 - told


def of_origins(
    wanted: Mapping[Origin, Sequence[str]], verify: bool | str
) -> tuple[Iterator[Finding], tuple[float | None, str]]:
    """`wanted`: origins with who needs them. Also what a verified one says of our clock, and which one it was."""
    origins = list(wanted)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        visits = list(pool.map(lambda origin: visit(origin, verify), origins))
    told = [(each.skew_s, origin[1]) for each, origin in zip(visits, origins, strict=True) if each.skew_s is not None]
    skews = sorted(told, key=lambda each: abs(each[0] or 0.0))
    return _findings(wanted, origins, visits), (skews[0] if skews and verify is not False else (None, ""))


def _findings(
    wanted: Mapping[Origin, Sequence[str]], origins: Sequence[Origin], visits: Sequence[Visit]
) -> Iterator[Finding]:
    for origin, found in zip(origins, visits, strict=True):
        names = list(dict.fromkeys(wanted[origin]))
        who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        where = f"{origin[1]}:{origin[2]} ({who})"
        if found.fault:
            yield problem("reach", f"{where}: {found.fault}", found.advice)
        else:
            yield good("reach", f"{where}: {found.took_s * 1000:.0f} ms")
