"""A token of Microsoft Entra by an application's id and secret.

Source: Microsoft identity platform, "OAuth 2.0 client credentials flow".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from routewright.credentials import EntraSource
from routewright.types import Secret
from routewright.upstream.tokens.fetched import Fetched, FetchError, Tls, ask


def fetch(source: EntraSource, tls: Tls) -> Fetched:
    """Raises FetchError with Entra's own word for what is wrong; OSError and HTTPException where nobody answers."""
    form = {
        "grant_type": "client_credentials",
        "client_id": source.client_id,
        "client_secret": source.client_secret.reveal(),
        "scope": source.scope,
    }
    url = f"{source.authority}/{quote(source.tenant_id, safe='')}/oauth2/v2.0/token"
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    status, _, body = ask("POST", url, headers, urlencode(form).encode(), tls)
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    given = answer if isinstance(answer, dict) else {}
    if status != 200:
        raise FetchError(f"the token's server answered {status} {given.get('error') or ''} "
                         f"{given.get('error_description') or ''}")  # fmt: skip
    token, valid_s = given.get("access_token"), given.get("expires_in")
    if type(valid_s) is str and valid_s.isdigit():
        valid_s = int(valid_s)
    if type(token) is not str or not token or not token.isascii() or not isinstance(valid_s, int | float):
        raise FetchError("the token's server answered without a token and its time")
    return Fetched(Secret(token), float(valid_s))
