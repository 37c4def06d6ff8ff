"""Logging in at an OpenID provider: `general_settings.oidc`, with LiteLLM's variables of generic SSO for what it omits.

LiteLLM believes what the provider's userinfo says. Here the ID token is believed, so its issuer has to be known: that
is the one thing that LiteLLM's variables do not say.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from routewright.config.extras import has_extra, wanted
from routewright.config.section import Section, url_fault
from routewright.settings import LOGIN_ROLES, SIGNATURE_ALGORITHMS, OidcSettings
from routewright.types import Secret
from routewright.windows import Window

ISSUER_VARIABLE = "OIDC_ISSUER"
LEAST_SESSION_S, MOST_SESSION_S = 60, 12 * 3600
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def read_oidc(general: Section) -> OidcSettings | None:
    """None where nobody speaks of a provider."""
    of, environ = general.section("oidc"), general.notes.environ
    client_id = _text(of, "client_id", environ, "GENERIC_CLIENT_ID")
    issuer = _url(of, "issuer", environ, ISSUER_VARIABLE)
    is_named = "oidc" in general.entries
    found = _read(of, environ, issuer or "", client_id or "")
    at_large = _url(general, "proxy_base_url", environ, "PROXY_BASE_URL", may_be_plain=True)
    if found.base_url is None and at_large is not None:
        found = replace(found, base_url=at_large.rstrip("/"))
    of.finish()
    if client_id is None and not is_named:
        return None
    if not is_named and issuer is None:
        general.notes.warnings.append(
            f"GENERIC_CLIENT_ID is set, and nobody can log in by it: set {ISSUER_VARIABLE}, or general_settings.oidc."
            "issuer, since ID tokens are checked here"
        )
        return None
    for name, value in (("issuer", issuer), ("client_id", client_id)):
        if value is None and name not in of.entries:
            of.error(name, "missing")
    if not has_extra("oidc"):
        if is_named:
            general.error("oidc", wanted("oidc"))
        else:
            general.notes.warnings.append(f"GENERIC_CLIENT_ID: logging in by it {wanted('oidc')}")
        return None
    return found


def _read(of: Section, environ: Mapping[str, str], issuer: str, client_id: str) -> OidcSettings:
    nothing = OidcSettings(issuer=issuer, client_id=client_id)
    secret = of.text(
        "client_secret", on_unset=lambda name: of.error("client_secret", f"the variable {name} is not set")
    )
    secret = secret or environ.get("GENERIC_CLIENT_SECRET")
    groups = environ.get("GENERIC_ROLE_MAPPINGS_GROUP_CLAIM") or environ.get("GENERIC_USER_ROLE_ATTRIBUTE")
    domains = of.names("allowed_email_domains") or tuple(environ.get("ALLOWED_EMAIL_DOMAINS", "").split(","))
    admins = of.names("admin_ids") or (environ.get("PROXY_ADMIN_ID", ""),)
    algorithms = of.names("algorithms") or nothing.algorithms
    for name in algorithms:
        if name not in SIGNATURE_ALGORITHMS:
            of.error("algorithms", f"expected some of {', '.join(SIGNATURE_ALGORITHMS)}")
    default = of.text("default_role") or environ.get("GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE")
    if default is not None and default not in LOGIN_ROLES:
        of.error("default_role", f"expected one of {', '.join(LOGIN_ROLES)}")
    return OidcSettings(
        issuer=issuer,
        client_id=client_id,
        client_secret=Secret(secret) if secret else None,
        label=of.text("label", most=60) or nothing.label,
        base_url=_url(of, "base_url", {}, "", may_be_plain=True),
        scope=_text(of, "scope", environ, "GENERIC_SCOPE") or nothing.scope,
        algorithms=algorithms,
        authorization_endpoint=_url(of, "authorization_endpoint", environ, "GENERIC_AUTHORIZATION_ENDPOINT"),
        token_endpoint=_url(of, "token_endpoint", environ, "GENERIC_TOKEN_ENDPOINT"),
        userinfo_endpoint=_url(of, "userinfo_endpoint", environ, "GENERIC_USERINFO_ENDPOINT"),
        jwks_uri=_url(of, "jwks_uri", environ, "JWT_PUBLIC_KEY_URL"),
        logout_url=_url(of, "logout_url", environ, "PROXY_LOGOUT_URL", may_be_plain=True),
        user_id_claim=_text(of, "user_id_claim", environ, "GENERIC_USER_ID_ATTRIBUTE") or nothing.user_id_claim,
        email_claim=_text(of, "email_claim", environ, "GENERIC_USER_EMAIL_ATTRIBUTE") or nothing.email_claim,
        name_claim=_text(of, "name_claim", environ, "GENERIC_USER_DISPLAY_NAME_ATTRIBUTE") or nothing.name_claim,
        role_claim=of.text("role_claim") or groups or nothing.role_claim,
        roles=_roles(of, environ) or nothing.roles,
        default_role=default,
        admin_ids=frozenset(filter(None, (name.strip() for name in admins))),
        session_s=_session_s(of) or nothing.session_s,
        email_domains=frozenset(filter(None, (name.strip().lower() for name in domains))),
    )


def _session_s(of: Section) -> int | None:
    """`session_length`. A browser asks the provider by itself when it is over, so a short one is no burden."""
    text = of.text("session_length")
    if text is None:
        return None
    try:
        seconds = Window(text).seconds
    except ValueError:
        seconds = 0
    if not LEAST_SESSION_S <= seconds <= MOST_SESSION_S:
        of.error("session_length", "expected 1m to 12h, such as 30m")
    return seconds


def _roles(of: Section, environ: Mapping[str, str]) -> tuple[tuple[str, frozenset[str]], ...]:
    section = of.section("roles")
    found = {role: frozenset(names) for role in LOGIN_ROLES if (names := section.names(role))}
    section.finish()
    text = environ.get("GENERIC_ROLE_MAPPINGS_ROLES")
    if found or not text:
        return tuple(found.items())
    told = _mapping(text)
    if told is None:
        of.notes.warnings.append(
            'GENERIC_ROLE_MAPPINGS_ROLES: expected {"proxy_admin": ["a group"]}, with roles of '
            f"{', '.join(LOGIN_ROLES)}; left out"
        )
        return ()
    return tuple((role, frozenset(told[role])) for role in LOGIN_ROLES if role in told)


def _mapping(text: str) -> dict[str, list[str]] | None:
    """LiteLLM takes a Python literal here, which JSON mostly is too. None: neither."""
    try:
        told = json.loads(text)
    except ValueError:
        try:
            told = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if type(told) is not dict or not set(told) <= set(LOGIN_ROLES):
        return None
    if not all(type(names) is list and all(type(name) is str for name in names) for names in told.values()):
        return None
    return told


def _text(of: Section, key: str, environ: Mapping[str, str], variable: str) -> str | None:
    return of.text(key) or environ.get(variable) or None


def _url(of: Section, key: str, environ: Mapping[str, str], variable: str, *, may_be_plain: bool = False) -> str | None:
    """Where tokens and keys travel, https is a must, save on this machine."""
    value = of.text(key, most=2048)
    where = key
    if value is None:
        value, where = environ.get(variable) or None, ""
    if value is None:
        return None
    fault = url_fault(value)
    parts = urlsplit(value) if fault is None else None
    if parts is not None and parts.scheme != "https" and parts.hostname not in _LOOPBACK and not may_be_plain:
        fault = "expected an address that starts with https://"
    if fault is None:
        return value.rstrip("/") if key == "base_url" else value
    if where:
        of.error(where, fault)
    else:
        of.notes.warnings.append(f"{variable}: {fault}; left out")
    return None
