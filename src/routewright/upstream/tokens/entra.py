"""A token of Microsoft Entra: by an application's secret or proof, or by the identity that Azure gives.

Source: Microsoft identity platform, "OAuth 2.0 client credentials flow", "Workload identity federation"; "How to use
managed identities for App Service", "How to use managed identities on an Azure VM to acquire an access token".
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from routewright.credentials import EntraSource, ManagedSource
from routewright.types import Secret
from routewright.upstream.tokens.fetched import Fetched, FetchError, Way, ask

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_PROOF_BYTES = 64 * 1024
_APP_VERSION, _MACHINE_VERSION = "2019-08-01", "2018-02-01"


def fetch(source: EntraSource, way: Way) -> Fetched:
    """Raises FetchError with Entra's own word for what is wrong; OSError and HTTPException where nobody answers."""
    form = {"grant_type": "client_credentials", "client_id": source.client_id, "scope": source.scope}
    if source.proof is not None:
        form |= {"client_assertion_type": ASSERTION, "client_assertion": proof_of(source.proof.reveal())}
    elif source.client_secret is not None:
        form["client_secret"] = source.client_secret.reveal()
    url = f"{source.authority}/{quote(source.tenant_id, safe='')}/oauth2/v2.0/token"
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    return _read(*ask("POST", url, headers, urlencode(form).encode(), way))


def fetch_managed(source: ManagedSource, way: Way) -> Fetched:
    """The same of the endpoint inside the machine."""
    is_app = source.header is not None
    asked = {"api-version": _APP_VERSION if is_app else _MACHINE_VERSION, "resource": source.resource}
    if source.client_id is not None:
        asked["client_id"] = source.client_id
    headers = {"accept": "application/json"}
    if source.header is not None:
        headers["x-identity-header"] = source.header.reveal()
    else:
        headers["metadata"] = "true"  # without it the endpoint takes the request for one that was forged
    return _read(*ask("GET", f"{source.endpoint}?{urlencode(asked)}", headers, None, way))


def proof_of(given: str) -> str:
    """A token is one line without slashes at its start; a path is read anew each time, since it is renewed there."""
    if not given.startswith(("/", "./", "~")):
        return given
    with Path(given).expanduser().open(encoding="utf-8") as file:
        return file.read(MAX_PROOF_BYTES).strip()


def _read(status: int, headers: dict[str, str], body: bytes) -> Fetched:
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    given = answer if isinstance(answer, dict) else {}
    if status != 200:
        raise FetchError(f"the token's server answered {status} {given.get('error') or ''} "
                         f"{given.get('error_description') or ''}")  # fmt: skip
    token, valid_s = given.get("access_token"), _seconds(given.get("expires_in"))
    if valid_s is None:  # an app is told when it ends, not how long it lasts
        end_s = _seconds(given.get("expires_on"))
        valid_s = None if end_s is None else end_s - time.time()
    if type(token) is not str or not token or not token.isascii() or valid_s is None:
        raise FetchError("the token's server answered without a token and its time")
    return Fetched(Secret(token), valid_s)


def _seconds(given: Any) -> float | None:
    if type(given) is str and given.isdigit():
        return float(given)
    return float(given) if type(given) in (int, float) else None
