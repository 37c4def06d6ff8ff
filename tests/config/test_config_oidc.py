"""`general_settings.oidc` and LiteLLM's variables of generic SSO: what they say, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.config import ConfigError, load_text
from routewright.settings import OidcSettings, Settings
from routewright.types import Secret

ISSUER = "https://login.example/realms/main"


def load(oidc: str, environ: dict[str, str] | None = None) -> Settings:
    text = "general_settings:\n  master_key: sk-master-0123456789\n" + (f"  oidc: {oidc}\n" if oidc else "")
    return load_text(text, environ=environ or {})


def test_nobody_logs_in_elsewhere_unless_it_is_asked_for() -> None:
    assert load("").oidc is None
    assert load("", {"PROXY_BASE_URL": "https://gw.example"}).oidc is None


def test_section_says_it_all() -> None:
    found = load(
        f"{{issuer: {ISSUER}, client_id: us, client_secret: os.environ/S, label: Example, scope: openid groups,"
        " user_id_claim: preferred_username, role_claim: groups, algorithms: [RS256], base_url: 'https://gw.example/',"
        " roles: {proxy_admin_viewer: [staff], proxy_admin: [platform, root]}, default_role: internal_user,"
        " allowed_email_domains: [Example.com], admin_ids: [ada], logout_url: 'https://login.example/out',"
        " session_length: 30m}",
        {"S": "secret"},
    ).oidc
    assert found == OidcSettings(
        issuer=ISSUER,
        client_id="us",
        client_secret=Secret("secret"),
        label="Example",
        base_url="https://gw.example",
        scope="openid groups",
        algorithms=("RS256",),
        logout_url="https://login.example/out",
        user_id_claim="preferred_username",
        role_claim="groups",
        roles=(("proxy_admin", frozenset({"platform", "root"})), ("proxy_admin_viewer", frozenset({"staff"}))),
        default_role="internal_user",
        admin_ids=frozenset({"ada"}),
        email_domains=frozenset({"example.com"}),
        session_s=1800,
    )


@pytest.mark.parametrize("length", ["30s", "13h", "1mo", "soon", "'60'"])
def test_session_is_neither_endless_nor_over_at_once(length: str) -> None:
    with pytest.raises(ConfigError, match="session_length: expected 1m to 12h"):
        load(f"{{issuer: {ISSUER}, client_id: us, session_length: {length}}}")


def test_litellms_variables_do_with_an_issuer() -> None:
    environ = {
        "GENERIC_CLIENT_ID": "us",
        "GENERIC_CLIENT_SECRET": "secret",
        "GENERIC_AUTHORIZATION_ENDPOINT": "https://login.example/auth",
        "GENERIC_TOKEN_ENDPOINT": "https://login.example/token",
        "GENERIC_USERINFO_ENDPOINT": "https://login.example/me",
        "GENERIC_USER_ID_ATTRIBUTE": "preferred_username",
        "GENERIC_ROLE_MAPPINGS_GROUP_CLAIM": "groups",
        "GENERIC_ROLE_MAPPINGS_ROLES": "{'proxy_admin': ['platform']}",
        "GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE": "proxy_admin_viewer",
        "ALLOWED_EMAIL_DOMAINS": "example.com, example.org",
        "PROXY_ADMIN_ID": "ada",
        "PROXY_BASE_URL": "https://gw.example",
        "PROXY_LOGOUT_URL": "https://login.example/out",
    }
    without = load("", environ)
    assert without.oidc is None
    assert any("OIDC_ISSUER" in warning for warning in without.warnings)
    found = load("", {**environ, "OIDC_ISSUER": ISSUER}).oidc
    assert found is not None
    assert (found.issuer, found.client_id, found.client_secret) == (ISSUER, "us", Secret("secret"))
    assert (found.token_endpoint, found.base_url) == ("https://login.example/token", "https://gw.example")
    assert found.roles == (("proxy_admin", frozenset({"platform"})),)
    assert (found.role_claim, found.default_role) == ("groups", "proxy_admin_viewer")
    assert found.email_domains == {"example.com", "example.org"}


@pytest.mark.parametrize(
    ("oidc", "field"),
    [
        ("{client_id: us}", "issuer"),
        (f"{{issuer: {ISSUER}}}", "client_id"),
        ("{client_id: us, issuer: 'http://login.example'}", "issuer"),
        (f"{{client_id: us, issuer: {ISSUER}, token_endpoint: 'ftp://x'}}", "token_endpoint"),
        (f"{{client_id: us, issuer: {ISSUER}, algorithms: [none]}}", "algorithms"),
        (f"{{client_id: us, issuer: {ISSUER}, algorithms: [HS256]}}", "algorithms"),
        (f"{{client_id: us, issuer: {ISSUER}, client_secret: os.environ/UNSET}}", "client_secret"),
        (f"{{client_id: us, issuer: {ISSUER}, default_role: root}}", "default_role"),
        (f"{{client_id: us, issuer: {ISSUER}, roles: {{root: [x]}}}}", "roles.root"),
        (f"{{client_id: us, issuer: {ISSUER}, isuer: x}}", "isuer"),
    ],
)
def test_what_is_wrong_is_named(oidc: str, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(oidc)
    assert [problem.field for problem in caught.value.problems] == [f"general_settings.oidc.{field}"]


@pytest.mark.parametrize("text", ["rubbish", '{"root": ["x"]}', '{"proxy_admin": "x"}', "__import__('os')"])
def test_mapping_that_is_none_is_left_out(text: str) -> None:
    environ: dict[str, Any] = {"GENERIC_CLIENT_ID": "us", "OIDC_ISSUER": ISSUER, "GENERIC_ROLE_MAPPINGS_ROLES": text}
    found = load("", environ)
    assert found.oidc is not None
    assert found.oidc.roles == OidcSettings(issuer="", client_id="").roles
    assert any("GENERIC_ROLE_MAPPINGS_ROLES" in warning for warning in found.warnings)
