"""A token of Microsoft Entra's for a deployment at Azure: by an application, a workload's or a machine's identity."""

from __future__ import annotations

import re

from routewright.config.oidc_tokens import PREFIX, read_proof
from routewright.config.section import Section, url_fault
from routewright.credentials import ENTRA_AUTHORITY, ENTRA_SCOPE, EntraSource, ManagedSource
from routewright.types import Secret

_ID = re.compile(r"[A-Za-z0-9.-]{1,128}\Z")
_VARIABLES = {"tenant_id": "AZURE_TENANT_ID", "client_id": "AZURE_CLIENT_ID", "client_secret": "AZURE_CLIENT_SECRET"}
MACHINE = "http://169.254.169.254"
"""Where a machine of Azure's asks who it is."""


def read_entra(
    params: Section, unset: list[str], token: str | None, *, by_machine: bool
) -> EntraSource | ManagedSource | None:
    """The source, where one is named; faults are noted. AZURE_AUTHORITY_HOST names a cloud of its own.

    In this order: a proof in `token`, which is `azure_ad_token` where it is to be exchanged for one; the file that
    Kubernetes gives a workload; an application's secret; the endpoint that Azure gives an app; the machine, which must
    be asked for (`by_machine`). An application is told of by the deployment or by the variables, never half by each.
    """
    environ = params.notes.environ
    own = {name: params.token(name, on_unset=unset.append) for name in _VARIABLES}
    scope = params.token("azure_scope", on_unset=unset.append) or environ.get("AZURE_SCOPE") or ENTRA_SCOPE
    if unset:
        return None
    variables = {name: environ.get(variable) for name, variable in _VARIABLES.items()}
    either = {name: own[name] or variables[name] for name in _VARIABLES}
    known = own if any(own.values()) else variables
    file = environ.get("AZURE_FEDERATED_TOKEN_FILE")
    proof: str | None = None
    if token is not None:
        known, proof = either, read_proof(params, "azure_ad_token", token)
        if proof is None:
            return None
    elif file and either["tenant_id"] and either["client_id"] and not known["client_secret"]:
        known, proof = either, file
    elif not (known["tenant_id"] or known["client_secret"]) or (known is variables and not all(known.values())):
        managed = _managed(params, known["client_id"], scope.removesuffix("/.default"), by_machine=by_machine)
        if managed is not None or not own["client_id"]:
            return managed
    missing = [name for name, value in known.items() if not value and (name != "client_secret" or proof is None)]
    if missing:
        params.error(missing[0], f"missing; a token of Entra needs {', '.join(_VARIABLES)}")
        return None
    for name in ("tenant_id", "client_id"):
        if not _ID.match(known[name] or ""):
            params.error(name, "no id of Microsoft Entra's looks so")
            return None
    authority = (environ.get("AZURE_AUTHORITY_HOST") or ENTRA_AUTHORITY).rstrip("/")
    if "://" not in authority:
        authority = f"https://{authority}"
    if fault := url_fault(authority):
        params.error("tenant_id", f"AZURE_AUTHORITY_HOST: {fault}")
        return None
    return EntraSource(
        tenant_id=known["tenant_id"] or "",
        client_id=known["client_id"] or "",
        client_secret=Secret(known["client_secret"] or "") if proof is None else None,
        proof=None if proof is None else Secret(proof),
        scope=scope,
        authority=authority,
    )


def _managed(params: Section, client: str | None, resource: str, *, by_machine: bool) -> ManagedSource | None:
    """The identity that Azure gives an app, or a machine."""
    environ = params.notes.environ
    endpoint, header = environ.get("IDENTITY_ENDPOINT"), environ.get("IDENTITY_HEADER")
    if endpoint and header:
        if fault := url_fault(endpoint):
            params.error("client_id", f"IDENTITY_ENDPOINT: {fault}")
            return None
        return ManagedSource(endpoint=endpoint, header=Secret(header), client_id=client, resource=resource)
    if not by_machine:
        return None
    host = (environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or MACHINE).rstrip("/")
    if fault := url_fault(host):
        params.error("client_id", f"AZURE_POD_IDENTITY_AUTHORITY_HOST: {fault}")
        return None
    endpoint = f"{host}/metadata/identity/oauth2/token"
    return ManagedSource(endpoint=endpoint, header=None, client_id=client, resource=resource)


def is_proof(token: str | None) -> bool:
    """Whether `azure_ad_token` is to be exchanged for a token, rather than being one."""
    return token is not None and token.startswith(PREFIX)
