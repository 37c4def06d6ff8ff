"""An OpenID provider as this side sees it: where its ends are, its keys, and the two answers a login needs.

Sources: OpenID Connect Core 1.0 and Discovery 1.0; RFC 6749, 7636 (PKCE), 9207 (issuer in the answer). Everything here
waits for sockets, so it is called in a thread.
"""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from routewright.errors import LoginFailed, ProviderAway
from routewright.settings import OidcSettings, ProxySettings
from routewright.upstream.tokens.fetched import FetchError, Way, ask

TIMEOUT_S = 10.0
DISCOVERED_S = 3600.0
KEYS_S = 3600.0
KEYS_AGAIN_S = 1.0
"""A key that is not known makes them be fetched again: at most that often, and each login has cost its code by then."""
_ENDS = {
    "authorization_endpoint": True,
    "token_endpoint": True,
    "jwks_uri": True,
    "userinfo_endpoint": False,
}
"""Name -> whether a login is impossible without it."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
log = logging.getLogger("routewright")


class Provider:
    """One provider. Several threads may call."""

    def __init__(
        self, settings: OidcSettings, proxy: ProxySettings | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self._way = Way(_tls, proxy)
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: tuple[float, dict[str, str]] | None = None
        self._keys: tuple[float, dict[str, Any]] | None = None

    # --- where things are ------------------------------------------------------------------------------------------

    def end(self, name: str) -> str | None:
        """An address by its name in the discovery document. Raises ProviderAway."""
        said: str | None = getattr(self.settings, name)
        return said if said is not None else self._discovered().get(name)

    def _needed(self, name: str) -> str:
        found = self.end(name)
        if found is None:
            raise self._away(f"its discovery document has no {name}")
        return found

    def _discovered(self) -> dict[str, str]:
        if all(getattr(self.settings, name) is not None for name in _ENDS):
            return {}
        with self._lock:
            if self._ends is not None and self._clock() - self._ends[0] < DISCOVERED_S:
                return self._ends[1]
            try:
                ends = self._discover()
            except ProviderAway:
                if self._ends is None:
                    raise
                ends = self._ends[1]  # it is away; where things are it has said before
            self._ends = (self._clock(), ends)
            return ends

    def _discover(self) -> dict[str, str]:
        told = self._json("GET", self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if told.get("issuer") != self.settings.issuer:
            raise self._away("its discovery document names another issuer than general_settings.oidc.issuer")
        ends = {}
        for name, is_needed in _ENDS.items():
            value = told.get(name)
            if value is None and not is_needed:
                continue
            if type(value) is not str or not _is_safe(value, self.settings.issuer):
                if getattr(self.settings, name) is not None:
                    continue
                raise self._away(f"its discovery document has no usable {name}")
            ends[name] = value
        return ends

    # --- a login ---------------------------------------------------------------------------------------------------

    def authorization_url(self, *, state: str, nonce: str, challenge: str, redirect_uri: str) -> str:
        """Where the browser goes to log in. Raises ProviderAway."""
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.settings.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        address = self._needed("authorization_endpoint")
        return address + ("&" if "?" in address else "?") + urlencode(asked)

    def exchange(self, *, code: str, verifier: str, redirect_uri: str) -> tuple[str, str]:
        """(ID token, access token) for a code. Raises LoginFailed, ProviderAway."""
        secret = self.settings.client_secret
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri,
                "code_verifier": verifier, "client_id": self.settings.client_id}  # fmt: skip
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if secret is not None:
            # RFC 6749, 2.3.1: both are encoded as in a form before they are joined.
            pair = f"{quote_plus(self.settings.client_id)}:{quote_plus(secret.reveal())}"
            headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
        told = self._json("POST", self._needed("token_endpoint"), headers, urlencode(form).encode(), is_login=True)
        id_token, access_token = told.get("id_token"), told.get("access_token")
        if type(id_token) is not str:
            raise self._away("it gave no ID token; is openid in the scope?")
        return id_token, access_token if type(access_token) is str else ""

    def userinfo(self, access_token: str, subject: str) -> dict[str, Any]:
        """What it says of whoever logged in; empty where it has no such end. Raises LoginFailed, ProviderAway."""
        address = self.end("userinfo_endpoint")
        if address is None or not access_token.isascii() or not access_token.isprintable() or not access_token:
            return {}
        told = self._json("GET", address, {"authorization": f"Bearer {access_token}"}, is_login=True)
        if told.get("sub") != subject:
            raise LoginFailed("The identity provider has answered about somebody else.")
        return told

    # --- its keys --------------------------------------------------------------------------------------------------

    def keys(self, *, older_than_s: float = KEYS_S) -> dict[str, Any]:
        """Its JSON Web Key Set, not older than that, if it can be had. Raises ProviderAway where none is known."""
        with self._lock:
            known = self._keys
        if known is not None and self._clock() - known[0] < older_than_s:
            return known[1]
        try:
            told = self._json("GET", self._needed("jwks_uri"))
            if type(told.get("keys")) is not list:
                raise self._away("its key set has no keys")
        except ProviderAway:
            if known is None:
                raise
            return known[1]
        with self._lock:
            self._keys = (self._clock(), told)
        return told

    # --- asking ----------------------------------------------------------------------------------------------------

    def _json(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None, *,
        is_login: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """`is_login`: what is refused may be the login's fault."""
        try:
            status, _, data = ask(method, url, {"accept": "application/json", "accept-encoding": "identity",
                                                **(headers or {})}, body, self._way, TIMEOUT_S)  # fmt: skip
        except (OSError, http.client.HTTPException, FetchError, ValueError) as error:
            raise self._away(f"{urlsplit(url).path} can't be asked: {type(error).__name__}: {error}") from None
        try:
            told: Any = json.loads(data)
        except (ValueError, RecursionError):
            told = None
        if is_login and 400 <= status < 500:
            code = told.get("error") if type(told) is dict else None
            code = code if type(code) is str and code.isascii() and code.isprintable() else str(status)
            log.warning("logging in: the identity provider has refused: %s", code[:100])
            raise LoginFailed("The identity provider has refused this login. Begin again.")
        if status != 200 or type(told) is not dict:
            raise self._away(f"{urlsplit(url).path} was answered with {status} and {'JSON' if told else 'no JSON'}")
        return told

    def _away(self, why: str) -> ProviderAway:
        log.error("logging in: the identity provider %s: %s", urlsplit(self.settings.issuer).hostname, why)
        return ProviderAway("The identity provider can't be asked now. Try again, or log in with a key.")


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _is_safe(url: str, issuer: str) -> bool:
    """Plain http only on this machine, and only where the issuer itself is there."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return True
    return parts.scheme == "http" and parts.hostname in _LOOPBACK and urlsplit(issuer).hostname in _LOOPBACK
