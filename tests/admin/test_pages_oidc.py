"""Logging in to the pages at an identity provider: at the socket, against one that signs, and one that cheats."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from harness.admin import manage
from harness.browser import PROGRAM, browser
from harness.gateway import MASTER_KEY, Gateway, base_config, eventually, running
from harness.identity import CLIENT_ID, CLIENT_SECRET, Identity
from harness.upstream import Upstream
from harness.wire import Reply
from routewright.admin.ui.oidc.provider import KEYS_AGAIN_S

VARIABLES = {"GENERIC_CLIENT_ID": CLIENT_ID, "GENERIC_CLIENT_SECRET": CLIENT_SECRET}
OIDC: dict[str, Any] = {
    "label": "Example",
    "role_claim": "realm_access.roles",
    "roles": {"proxy_admin": ["platform"], "proxy_admin_viewer": ["staff", "guests"], "internal_user": ["leavers"]},
}


@pytest.fixture(scope="module")
def identity() -> Iterator[Identity]:
    server = Identity()
    yield server
    server.close()


@pytest.fixture(scope="module")
def site(upstream: Upstream, identity: Identity) -> Iterator[Gateway]:
    """Two workers: a login that one of them began the other one ends."""
    config = base_config(upstream, general_settings={"oidc": {**OIDC, "issuer": identity.issuer}})
    with running(config, workers=2, environment=VARIABLES) as started:
        yield started


@pytest.fixture(autouse=True)
def _is_honest(identity: Identity) -> Iterator[None]:
    yield
    identity.twist = lambda claims: None
    identity.unsigned = identity.signs_with_secret = identity.forgives_codes = False
    identity.of_userinfo = {}


def claims(name: str, *roles: str, **more: Any) -> dict[str, Any]:
    return {"sub": name, "name": name.title(), "realm_access": {"roles": list(roles)}, **more}


def begin(site: Gateway, path: str = "/ui/sso") -> tuple[dict[str, str], dict[str, str]]:
    """(what the provider is asked, the browser's cookie)."""
    reply = site.request("GET", path, key=None)
    assert reply.status == 303, reply.body
    cookie = reply.headers["set-cookie"]
    assert "; HttpOnly; SameSite=Lax" in cookie
    return dict(parse_qsl(urlsplit(reply.headers["location"]).query)), {"cookie": cookie.partition(";")[0]}


def come_back(site: Gateway, target: str, cookie: dict[str, str]) -> Reply:
    parts = urlsplit(target)
    return site.request("GET", f"{parts.path}?{parts.query}", key=None, headers=cookie)


def log_in(site: Gateway, identity: Identity, about: dict[str, Any]) -> tuple[Reply, dict[str, str]]:
    """The answer at the end of it, and the session's cookie."""
    identity.claims = about
    asked, cookie = begin(site)
    reply = come_back(site, identity.agree(asked), cookie)
    return reply, session_of(reply)


def session_of(reply: Reply) -> dict[str, str]:
    lines = [value for name, value in reply.fields if name == "set-cookie"]
    return next(({"cookie": line.partition(";")[0]} for line in lines if line.startswith("routewright_session=")), {})


def page(site: Gateway, who: dict[str, str], path: str = "/ui/audit") -> Reply:
    return site.request("GET", path, key=None, headers=who)


def refused(site: Gateway, why: str) -> bool:
    rows = manage(site, "/audit?kind=session&action=refused")["audit_logs"]
    return any(why in row["after"]["why"] for row in rows)


def test_roles_come_from_the_claims_and_decide_what_one_may_do(site: Gateway, identity: Identity) -> None:
    reply, admin = log_in(site, identity, claims("ada", "other", "platform"))
    assert (reply.status, b'content="0; url=/ui"' in reply.body) == (200, True)
    assert b"ada" in page(site, admin).body
    assert b"viewer</span>" not in page(site, admin).body
    _, viewer = log_in(site, identity, claims("vera", "staff"))
    assert b"viewer</span>" in page(site, viewer).body
    for who, status in ((admin, 200), (viewer, 403)):
        token = page(site, who, "/ui/keys").body.partition(b'csrf-token" content="')[2][:64].decode()
        done = site.request("POST", "/ui/do/team_new", {"team_alias": str(status)}, key=None,
                            headers={**who, "x-csrf-token": token})  # fmt: skip
        assert done.status == status
        asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
        answer = site.request("POST", "/ui/chat", asked, key=None, headers={**who, "x-csrf-token": token})
        assert answer.status == status, answer.body
    users = {row["user_id"]: row for row in manage(site, "/user/list")["users"]}
    assert (users["ada"]["user_role"], users["vera"]["user_role"]) == ("proxy_admin", "proxy_admin_viewer")


def test_it_begins_where_litellm_s_does_and_goes_where_one_wanted_to(site: Gateway, identity: Identity) -> None:
    identity.claims = claims("ada", "platform")
    asked, cookie = begin(site, "/sso/key/generate?next=/ui/keys")
    assert asked["redirect_uri"] == "http://gateway.test/sso/callback"
    assert asked["scope"] == "openid email profile"
    assert b"url=/ui/keys" in come_back(site, identity.agree(asked), cookie).body
    asked, cookie = begin(site, "/ui/sso?next=//elsewhere.example")
    assert b"elsewhere" not in come_back(site, identity.agree(asked), cookie).body
    assert site.request("GET", "/login", key=None).headers["location"] == "/ui/login"


def test_role_may_come_from_userinfo_which_must_be_about_the_same_person(site: Gateway, identity: Identity) -> None:
    identity.of_userinfo = {"sub": "uma", "realm_access": {"roles": ["staff"]}}
    reply, who = log_in(site, identity, {"sub": "uma"})
    assert page(site, who).status == 200
    identity.of_userinfo = {"sub": "ada", "realm_access": {"roles": ["platform"]}}
    reply, _ = log_in(site, identity, {"sub": "uma"})
    assert (reply.status, b"somebody else" in reply.body) == (403, True)


@pytest.mark.parametrize(
    "twist",
    [
        lambda claims: claims.update(nonce="another"),
        lambda claims: claims.pop("nonce"),
        lambda claims: claims.update(aud="another"),
        lambda claims: claims.update(aud=[CLIENT_ID, "another"], azp="another"),
        lambda claims: claims.update(iss="https://elsewhere.example"),
        lambda claims: claims.update(exp=claims["iat"] - 120),
        lambda claims: claims.update(nbf=claims["iat"] + 600),
        lambda claims: claims.update(sub=""),
        lambda claims: claims.update(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    ],
    ids=["nonce", "no nonce", "aud", "azp", "iss", "exp", "nbf", "sub", "at_hash"],
)
def test_id_token_that_is_not_for_this_login_lets_nobody_in(site: Gateway, identity: Identity, twist: Any) -> None:
    identity.twist = twist
    reply, who = log_in(site, identity, claims("ada", "platform"))
    assert (reply.status, who) == (403, {})
    assert b"be trusted" in reply.body
    assert refused(site, "be trusted")


def test_id_token_without_a_signature_of_the_provider_s_key_lets_nobody_in(site: Gateway, identity: Identity) -> None:
    for fault in ("unsigned", "signs_with_secret"):
        setattr(identity, fault, True)
        reply, who = log_in(site, identity, claims("ada", "platform"))
        assert (reply.status, who) == (403, {}), fault
        setattr(identity, fault, False)


def test_state_is_of_this_browser_and_serves_once(site: Gateway, identity: Identity) -> None:
    identity.claims = claims("ada", "platform")
    identity.forgives_codes = True
    asked, cookie = begin(site)
    target = identity.agree(asked)
    other, _ = begin(site)
    for why, reply in (
        (b"not begun in this browser", come_back(site, target, {})),
        (b"another login", come_back(site, identity.agree(other), cookie)),
        (b"another identity provider", come_back(site, target.replace(f"{identity.port}", "1"), cookie)),
        (b"no code", come_back(site, target.replace("code=", "c="), cookie)),
        (b"access_denied", come_back(site, target.replace("code=", "error=access_denied&c="), cookie)),
    ):
        assert (reply.status, why in reply.body) == (403, True), why
    assert come_back(site, target, cookie).status == 200
    replies = [come_back(site, target, cookie) for _ in range(3)]
    assert {(each.status, b"used already" in each.body) for each in replies} == {(403, True)}
    identity.forgives_codes = False
    asked, cookie = begin(site)
    assert come_back(site, identity.agree({**asked, "code_challenge": "x" * 43}), cookie).status == 403
    assert identity.refusals[-1] == "invalid_verifier"


def test_new_keys_of_the_provider_are_taken(site: Gateway, identity: Identity) -> None:
    assert log_in(site, identity, claims("ada", "platform"))[0].status == 200
    identity.rotate(kind="EC")
    time.sleep(KEYS_AGAIN_S)
    for _ in range(4):  # both workers
        assert log_in(site, identity, claims("ada", "platform"))[0].status == 200


def test_role_that_is_taken_away_ends_what_was_begun_with_it(site: Gateway, identity: Identity) -> None:
    _, who = log_in(site, identity, claims("rita", "platform"))
    assert page(site, who).status == 200
    reply, _ = log_in(site, identity, claims("rita", "leavers"))
    assert (reply.status, b"Ask one of them for a role" in reply.body) == (403, True)
    eventually(lambda: {page(site, who).status for _ in range(6)} == {303})
    reply, _ = log_in(site, identity, claims("nobody"))
    assert reply.status == 403
    assert "nobody" not in str(manage(site, "/user/list"))


def whole_browser(reply: Reply) -> dict[str, str]:
    """All cookies that an answer sets."""
    lines = [value.partition(";")[0] for name, value in reply.fields if name == "set-cookie"]
    return {"cookie": "; ".join(line for line in lines if not line.endswith("="))}


def test_role_that_the_provider_takes_away_counts_until_its_session_s_end_and_no_longer(
    site: Gateway, identity: Identity
) -> None:
    """The end is brought near in the store; the browser then asks the provider anew by itself, and comes back."""
    reply, _ = log_in(site, identity, claims("renee", "platform"))
    who = whole_browser(reply)
    assert page(site, who, "/ui/keys").status == 200
    store = sqlite3.connect(site.data_dir / "store.sqlite3", timeout=10)
    lengths = store.execute("SELECT expires_at_ms - created_at_ms FROM sessions WHERE role != ''").fetchall()
    assert max(lengths) == (3_600_000,)

    def end_sessions() -> None:
        with store:
            store.execute("UPDATE sessions SET expires_at_ms = 1")
        manage(site, "/user/new", {"user_id": f"noise-{time.time_ns()}", "auto_create_key": False})  # workers forget

    end_sessions()
    again = page(site, who, "/ui/keys")
    assert (again.status, again.headers["location"]) == (303, "/ui/sso?next=/ui/keys")
    for fetched in ({"sec-fetch-mode": "cors"}, {"sec-fetch-mode": "same-origin"}):
        asked = site.request("GET", "/ui/live", key=None, headers={**who, **fetched})
        assert asked.headers["location"].startswith("/ui/login"), "no script is led to another site"
    identity.claims = claims("renee", "staff")
    asked, cookie = begin(site, "/ui/sso?next=/ui/keys")
    back = come_back(site, identity.agree(asked), cookie)
    assert b"url=/ui/keys" in back.body
    who = whole_browser(back)
    assert b"viewer</span>" in page(site, who, "/ui/keys").body, "the claims of now"
    end_sessions()
    identity.claims = claims("renee", "leavers")
    asked, cookie = begin(site, page(site, who).headers["location"])
    assert come_back(site, identity.agree(asked), cookie).status == 403
    assert page(site, who).status == 303
    store.close()


def test_log_out_is_not_undone_by_the_next_visit(site: Gateway, identity: Identity) -> None:
    reply, _ = log_in(site, identity, claims("olga", "platform"))
    who = whole_browser(reply)
    token = page(site, who, "/ui/keys").body.partition(b'csrf-token" content="')[2][:64].decode()
    out = site.request("POST", "/ui/logout", key=None, headers={**who, "x-csrf-token": token})
    assert [line.partition(";")[0] for name, line in out.fields if name == "set-cookie"] == [
        "routewright_session=", "routewright_way=",
    ]  # fmt: skip
    assert page(site, whole_browser(out)).headers["location"] == "/ui/login?next=/ui/audit"
    by_key = site.request("POST", "/ui/login", key=MASTER_KEY)
    assert "routewright_way" not in whole_browser(by_key)["cookie"]


@pytest.mark.parametrize("end", ["log-out", "role", "key"])
def test_session_ends(site: Gateway, identity: Identity, end: str) -> None:
    _, who = log_in(site, identity, claims(f"ends-{end}", "platform"))
    token = page(site, who, "/ui/keys").body.partition(b'csrf-token" content="')[2][:64].decode()
    if end == "log-out":
        assert site.request("POST", "/ui/logout", key=None, headers={**who, "x-csrf-token": token}).status == 200
    elif end == "role":
        manage(site, "/user/update", {"user_id": f"ends-{end}", "user_role": "internal_user"})
    else:
        (key,) = manage(site, f"/key/list?user_id=ends-{end}&return_full_object=true")["keys"]
        manage(site, "/key/block", {"key": key["token"]})
        assert b"blocked here" in log_in(site, identity, claims(f"ends-{end}", "platform"))[0].body
    eventually(lambda: {page(site, who).status for _ in range(6)} == {303})


def test_whoever_comes_and_goes_is_in_the_audit(site: Gateway, identity: Identity) -> None:
    _, who = log_in(site, identity, claims("audrey", "platform"))
    token = page(site, who, "/ui/keys").body.partition(b'csrf-token" content="')[2][:64].decode()
    site.request("POST", "/ui/logout", key=None, headers={**who, "x-csrf-token": token})
    rows = manage(site, "/audit?kind=session&actor=audrey")["audit_logs"]
    assert [row["action"] for row in rows] == ["logged out", "logged in"]
    assert rows[1]["after"] == {"address": "127.0.0.1", "by": f"provider {identity.issuer}"}


def test_provider_that_is_away_takes_no_key_s_login_with_it(upstream: Upstream) -> None:
    identity = Identity()
    config = base_config(upstream, general_settings={"oidc": {**OIDC, "issuer": identity.issuer}})
    with running(config, environment=VARIABLES) as site:
        asked, cookie = begin(site)
        target = identity.agree(asked)
        identity.close()
        reply = come_back(site, target, cookie)
        assert (reply.status, b"The identity provider is away" in reply.body) == (502, True)
        assert site.request("POST", "/ui/login", key=MASTER_KEY).status == 200


@pytest.mark.skipif(PROGRAM is None, reason="needs the program chromium")
def test_by_click(site: Gateway, identity: Identity) -> None:
    identity.claims, identity.asks_first = claims("ada", "platform"), True
    try:
        with browser() as started:
            opened = started.page
            opened.base = site.url
            opened.open("/ui/keys")
            assert opened.path() == "/ui/login"
            assert opened.faults() == []
            opened.click("Log in with Example")
            opened.sees("I am Ada")
            opened.click("I am Ada")
            opened.until("location.pathname === '/ui/keys' && document.readyState === 'complete'")
            opened.sees("Log out")
            opened.click("Log out")
            opened.until("location.pathname === '/ui/login'")
            assert [each for each in opened.problems if "favicon" not in each] == []
    finally:
        identity.asks_first = False
