"""How the server's certificate is looked at; without the client's reader, so that a configuration can be checked."""

from __future__ import annotations

import ssl
from functools import lru_cache

from routewright.settings import ValkeySettings


def tls_of(settings: ValkeySettings) -> ssl.SSLContext | None:
    """None where none is wanted. Raises OSError, ssl.SSLError and ValueError for files that are none."""
    if not settings.is_tls:
        return None
    return _context(
        settings.ca_file, settings.cert_file, settings.key_file, settings.is_verified, settings.is_host_checked
    )


@lru_cache(maxsize=8)
def _context(
    ca_file: str | None, cert_file: str | None, key_file: str | None, is_verified: bool, is_host_checked: bool
) -> ssl.SSLContext:
    """Made once: reading the system's store takes a loop tens of milliseconds."""
    context = ssl.create_default_context(cafile=ca_file)
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file, password="")  # an encrypted key must not ask on a terminal
    context.check_hostname = is_host_checked and is_verified
    context.verify_mode = ssl.CERT_REQUIRED if is_verified else ssl.CERT_NONE
    return context
