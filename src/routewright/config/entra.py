"""`tenant_id`, `client_id`, `client_secret` of a deployment: an application of Microsoft Entra's instead of a key."""

from __future__ import annotations

import re

from routewright.config.section import Section, url_fault
from routewright.credentials import ENTRA_AUTHORITY, ENTRA_SCOPE, EntraSource
from routewright.types import Secret

_ID = re.compile(r"[A-Za-z0-9.-]{1,128}\Z")
_VARIABLES = {"tenant_id": "AZURE_TENANT_ID", "client_id": "AZURE_CLIENT_ID", "client_secret": "AZURE_CLIENT_SECRET"}


def read_entra(params: Section, unset: list[str]) -> EntraSource | None:
    """The source, where all three are given; faults are noted. AZURE_AUTHORITY_HOST names a cloud of its own."""
    environ = params.notes.environ
    given = {name: params.token(name, on_unset=unset.append) for name in _VARIABLES}
    scope = params.token("azure_scope", on_unset=unset.append) or environ.get("AZURE_SCOPE") or ENTRA_SCOPE
    if not any(given.values()):
        given = {name: environ.get(variable) for name, variable in _VARIABLES.items()}
        if not all(given.values()):
            return None
    missing = [name for name, value in given.items() if not value]
    if missing:
        if not unset:
            params.error(missing[0], f"missing; a token of Entra needs {', '.join(_VARIABLES)}")
        return None
    for name in ("tenant_id", "client_id"):
        if not _ID.match(given[name] or ""):
            params.error(name, "no id of Microsoft Entra's looks so")
            return None
    authority = (environ.get("AZURE_AUTHORITY_HOST") or ENTRA_AUTHORITY).rstrip("/")
    if "://" not in authority:
        authority = f"https://{authority}"
    if fault := url_fault(authority):
        params.error("tenant_id", f"AZURE_AUTHORITY_HOST: {fault}")
        return None
    return EntraSource(
        tenant_id=given["tenant_id"] or "",
        client_id=given["client_id"] or "",
        client_secret=Secret(given["client_secret"] or ""),
        scope=scope,
        authority=authority,
    )
