"""An ID token to the person it is about: its signature, issuer, audience, times and nonce; then claims to id and role.

Sources: OpenID Connect Core 1.0, 3.1.3.7; RFC 7515 and 7517. Signatures by joserfc, claims by Authlib (the extra
`oidc`), both imported when somebody logs in.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from routewright.admin.ui.oidc.provider import KEYS_AGAIN_S, Provider
from routewright.errors import LoginFailed
from routewright.grants import Person
from routewright.settings import OidcSettings

LEEWAY_S = 60
"""By how much clocks may differ."""
MAX_TOKEN = 64 * 1024
MAX_TEXT = 256
_USER_ID = re.compile(r"[\x21-\x7e]{1,256}\Z")
"""As the management API has it."""
log = logging.getLogger("routewright")


def checked_claims(provider: Provider, id_token: str, access_token: str, nonce: str) -> dict[str, Any]:
    """What an ID token says, if it is one of this provider's, for us and for this login. Raises LoginFailed, else."""
    from authlib.oidc.core import CodeIDToken
    from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError

    settings = provider.settings
    try:
        if len(id_token) > MAX_TOKEN:
            raise ValueError("too long")
        keys = provider.keys()
        try:
            header, told = _decode(id_token, keys, settings.algorithms)
        except (BadSignatureError, InvalidKeyIdError):
            newer = provider.keys(older_than_s=KEYS_AGAIN_S)  # it may have changed its keys
            if newer is keys:
                raise
            header, told = _decode(id_token, newer, settings.algorithms)
        options = {
            "iss": {"essential": True, "value": settings.issuer},
            "aud": {"essential": True, "value": settings.client_id},
            "sub": {"essential": True},
        }
        params = {"nonce": nonce, "client_id": settings.client_id, "access_token": access_token}
        CodeIDToken(told, header, options, params).validate(leeway=LEEWAY_S)
        if not told["sub"] or len(told["sub"]) > MAX_TEXT:
            raise ValueError("sub is empty or too long")
    except (JoseError, ValueError, TypeError, KeyError) as error:
        # Keys and tokens of a provider are somebody else's JSON: whatever is wrong with them, nobody is logged in.
        log.warning("logging in: an ID token was refused: %s: %s", type(error).__name__, str(error)[:200])
        raise LoginFailed(
            "The identity provider's word about you can't be trusted: see the log. Begin again."
        ) from None
    return told


def _decode(id_token: str, keys: Mapping[str, Any], algorithms: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    from joserfc import jwt
    from joserfc.jwk import KeySet

    token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=list(algorithms))  # type: ignore[arg-type]
    return token.header, dict(token.claims)


# --- who it is -----------------------------------------------------------------------------------------------------


def person(settings: OidcSettings, claims: Mapping[str, Any]) -> Person:
    """Whoever the claims are about. Raises LoginFailed where they do not say enough, or say what is not let in."""
    user_id, email = _text(claims, settings.user_id_claim), _text(claims, settings.email_claim)
    is_verified = claims.get("email_verified") is True
    if not user_id or not _USER_ID.match(user_id):
        raise LoginFailed(f"The identity provider does not say {settings.user_id_claim} of you, or it holds a space.")
    if settings.user_id_claim == settings.email_claim and not is_verified:
        raise LoginFailed("The identity provider has not verified your address.")
    if settings.email_domains:
        domain = (email or "").rpartition("@")[2].lower()
        if not is_verified or domain not in settings.email_domains:
            raise LoginFailed("Your address is of none of the domains that may log in, or it is not verified.")
    role = "proxy_admin" if user_id in settings.admin_ids else role_of(settings, claims)
    return Person(
        issuer=settings.issuer, subject=claims["sub"], user_id=user_id, email=email if is_verified else None,
        name=_text(claims, settings.name_claim), role=role, default_role=settings.default_role,
        session_s=settings.session_s,
    )  # fmt: skip


def role_of(settings: OidcSettings, claims: Mapping[str, Any]) -> str | None:
    """The mightiest role that the claim means; None where it means none."""
    value = _found(claims, settings.role_claim)
    values = {each for each in (value if type(value) is list else [value]) if type(each) is str}
    return next((role for role, meant in settings.roles if values & meant), None)


def says_role(settings: OidcSettings, claims: Mapping[str, Any]) -> bool:
    """Else userinfo may."""
    return _found(claims, settings.role_claim) is not None


def _found(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, else by a path into objects with dots between."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for step in name.split("."):
        value = value.get(step) if type(value) is dict else None
    return value


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = _found(claims, name)
    if type(value) is not str or not value.strip() or len(value) > MAX_TEXT or not value.isprintable():
        return None
    return value.strip()
