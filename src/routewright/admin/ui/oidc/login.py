"""Logging in at a provider, as steps: off to it, and back from it with a code.

What belongs to one login (its state, nonce and PKCE verifier) is derived from a secret in a cookie of its own, so
nothing is kept for strangers, any worker and replica can go on with it, and only the browser that began can. That a
state serves once is the store's to see: it is spent in the transaction that begins the session.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote, unquote

from routewright.admin.ui.front import CALLBACK
from routewright.admin.ui.oidc.provider import Provider
from routewright.admin.ui.oidc.tokens import checked_claims, person, says_role
from routewright.errors import LoginFailed, Overloaded, clean_text
from routewright.grants import Person
from routewright.settings import OidcSettings, ProxySettings
from routewright.types import HttpRequest

COOKIE: Final = "routewright_login"
LASTS_S: Final = 600
THREADS, MAX_WAITING = 2, 20
"""A provider that hangs holds up those who log in, and nobody else."""
_HOST = re.compile(r"[A-Za-z0-9.\-_]{1,253}(:[0-9]{1,5})?\Z|\[[0-9A-Fa-f:]{2,45}\](:[0-9]{1,5})?\Z")
_NEXT = re.compile(r"/ui(?:/[A-Za-z0-9._~%\-]+)*\Z")
_SECRET = re.compile(r"[A-Za-z0-9_\-]{43}\Z")
MAX_CODE = 4096


class OidcLogin:
    """Logins at one provider, of one worker."""

    def __init__(self, settings: OidcSettings, *, is_tls: bool, proxy: ProxySettings | None = None) -> None:
        self.settings = settings
        self._is_tls = is_tls
        self._provider = Provider(settings, proxy)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="login")
        self._waiting = 0

    async def begin(self, request: HttpRequest, query: Mapping[str, str]) -> tuple[str, str]:
        """(where to send the browser, its cookie). Raises ProviderAway, Overloaded, LoginFailed."""
        secret = secrets.token_urlsafe(32)
        after = query.get("next", "")
        redirect_uri = self._redirect_uri(request)
        challenge = hashlib.sha256(_part(secret, "verifier").encode()).digest()
        url = await self._in_thread(
            lambda: self._provider.authorization_url(
                state=_part(secret, "state"), nonce=_part(secret, "nonce"), challenge=_base64(challenge),
                redirect_uri=redirect_uri,
            )
        )  # fmt: skip
        value = secret + ("." + quote(after, safe="") if _NEXT.match(after) else "")
        return url, self._cookie(value, LASTS_S)

    async def finish(self, request: HttpRequest, query: Mapping[str, str]) -> tuple[Person, str, str]:
        """(who has logged in, the state to spend, where they wanted to go). Raises LoginFailed, ProviderAway."""
        secret, after = _secret_in(request.headers)
        if secret is None:
            raise LoginFailed("This login was not begun in this browser, or has taken too long. Begin again.")
        state = _part(secret, "state")
        if not hmac.compare_digest(query.get("state", "").encode(), state.encode()):
            raise LoginFailed("This answer belongs to another login. Begin again.")
        issuer = query.get("iss")
        if issuer is not None and issuer != self.settings.issuer:
            raise LoginFailed("This answer is of another identity provider. Begin again.")
        if "error" in query:
            raise LoginFailed(f"The identity provider says: {clean_text(query['error'])[:100]}")
        code = query.get("code", "")
        if not 0 < len(code) <= MAX_CODE:
            raise LoginFailed("The identity provider has sent no code. Begin again.")
        redirect_uri = self._redirect_uri(request)

        def work() -> Person:
            id_token, access_token = self._provider.exchange(
                code=code, verifier=_part(secret, "verifier"), redirect_uri=redirect_uri
            )
            claims = checked_claims(self._provider, id_token, access_token, _part(secret, "nonce"))
            if not says_role(self.settings, claims):
                claims = {**self._provider.userinfo(access_token, claims["sub"]), **claims}
            return person(self.settings, claims)

        return await self._in_thread(work), state, after

    def over(self) -> str:
        """The cookie that takes the login's away."""
        return self._cookie("", 0)

    @property
    def is_secure(self) -> bool:
        """Do browsers come by https?"""
        return self._is_tls or (self.settings.base_url or "").startswith("https://")

    def _cookie(self, value: str, lasts_s: int) -> str:
        # Lax: the browser comes back from another site with it.
        secure = "; Secure" if self.is_secure else ""
        return f"{COOKIE}={value}; Path={CALLBACK}; Max-Age={lasts_s}; HttpOnly; SameSite=Lax{secure}"

    def _redirect_uri(self, request: HttpRequest) -> str:
        if self.settings.base_url is not None:
            return self.settings.base_url + CALLBACK
        host = request.headers.get(b"host", b"").decode("latin-1")
        if not _HOST.match(host):
            raise LoginFailed("Set PROXY_BASE_URL: by which address the gateway is called can't be seen.")
        return f"{'https' if self._is_tls else 'http'}://{host}{CALLBACK}"

    async def _in_thread(self, work: Any) -> Any:
        if self._waiting >= MAX_WAITING:
            raise Overloaded("too many are logging in now; try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _part(secret: str, name: str) -> str:
    """43 characters that only whoever holds the secret can know."""
    return _base64(hmac.digest(secret.encode(), b"routewright login " + name.encode(), "sha256"))


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _secret_in(headers: Mapping[bytes, bytes]) -> tuple[str | None, str]:
    """(the login's secret, where its browser wanted to go) of its cookie."""
    for part in headers.get(b"cookie", b"").split(b";"):
        name, _, value = part.strip().partition(b"=")
        if name == COOKIE.encode():
            secret, _, after = value.decode("ascii", "replace").partition(".")
            after = unquote(after)
            return (secret if _SECRET.match(secret) else None), after if _NEXT.match(after) else "/ui"
    return None, "/ui"
