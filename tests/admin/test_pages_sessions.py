"""Who may see the pages, and what ends that: at the socket, with the cookie and the token in hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from harness.admin import manage, new_key
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream
from harness.wire import Reply, request_bytes
from routewright.management.sessions import FAILED_S, MAX_FAILED, LoginAttempts


@pytest.fixture(scope="module")
def site(upstream: Upstream) -> Iterator[Gateway]:
    """Two workers: what one of them knows has to hold in the other."""
    with running(base_config(upstream), workers=2) as started:
        yield started


def log_in(gateway: Gateway, key: str) -> tuple[Reply, dict[str, str]]:
    """The answer, and the headers of whoever is logged in by it."""
    reply = gateway.request("POST", "/ui/login", key=key)
    cookie = reply.headers.get("set-cookie", "").partition(";")[0]
    if reply.status != 200:
        return reply, {}
    page = gateway.request("GET", "/ui/keys", key=None, headers={"cookie": cookie})
    token = re.search(rb'name="csrf-token" content="([0-9a-f]{64})"', page.body)
    assert token is not None, page.body
    return reply, {"cookie": cookie, "x-csrf-token": token[1].decode()}


def seen(gateway: Gateway, who: dict[str, str], times: int = 8) -> set[int]:
    """Statuses over connections of their own, so that each worker has some."""
    cookie = {"cookie": who["cookie"]}
    return {gateway.request("GET", "/ui/audit", key=None, headers=cookie).status for _ in range(times)}


def user_key(gateway: Gateway, role: str, name: str) -> str:
    manage(gateway, "/user/new", {"user_id": name, "user_role": role, "auto_create_key": False})
    return new_key(gateway, user_id=name)


def test_stranger_is_sent_to_the_login_and_may_send_nothing(site: Gateway) -> None:
    for path in ("/ui", "/ui/requests", "/ui/keys", "/ui/spend.csv", "/ui/live"):
        reply = site.request("GET", path, key=None)
        assert (reply.status, reply.headers["location"].partition("?")[0]) == (303, "/ui/login"), path
    assert site.request("POST", "/ui/do/key_generate", {}, key=MASTER_KEY).status == 401
    assert site.request("GET", "/ui", key=None, headers={"cookie": "routewright_session=x"}).status == 303
    assert site.request("GET", "/", key=None).headers["location"] == "/ui"


def test_body_of_somebody_unknown_is_not_held(site: Gateway) -> None:
    """T4: what paths without a key are sent takes no room from what others send."""
    resident = {process.pid: process.memory_info().rss for process in site.processes()}
    clients = [site.connect() for _ in range(12)]
    for place, client in enumerate(clients):
        method, path = (("POST", "/ui/login"), ("GET", "/health/liveliness"))[place % 2]
        client.send(request_bytes(method, path, key=None, headers={"Content-Length": str(9 << 20)}))
        client.send(bytes((9 << 20) - 1))
    grown = sum(process.memory_info().rss - resident.get(process.pid, 0) for process in site.processes())
    assert grown < 40 << 20
    for client in clients:
        client.send(b"x")
    assert {client.reply("GET").status for client in clients} == {200, 401}
    for client in clients:
        client.close()


def test_head_of_what_goes_on_for_ever_has_no_body(site: Gateway) -> None:
    """G20: else its events would be read as the answer to the connection's next request."""
    _, who = log_in(site, MASTER_KEY)
    with site.connect() as client:
        for method, path in (("HEAD", "/ui/live"), ("GET", "/ui/audit")):
            client.send(request_bytes(method, path, key=None, headers={"cookie": who["cookie"]}))
            reply = client.reply(method)
            assert reply.status == 200
        assert b"<html" in reply.body


def test_cookie_and_pages_are_kept_from_other_sites(site: Gateway) -> None:
    reply, who = log_in(site, MASTER_KEY)
    assert re.fullmatch(r"routewright_session=[\w-]{43}; Path=/ui; HttpOnly; SameSite=Strict",
                        reply.headers["set-cookie"])  # fmt: skip
    page = site.request("GET", "/ui/keys", key=None, headers={"cookie": who["cookie"]})
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert b"<style" not in page.body
    assert b"style=" not in page.body
    assert not re.search(rb"<script(?![^>]* src=)", page.body)


def test_write_needs_the_page_s_own_token(site: Gateway) -> None:
    """T18: what another site's form could send is refused before its body is read."""
    _, who = log_in(site, MASTER_KEY)
    _, other = log_in(site, MASTER_KEY)
    for headers in ({"cookie": who["cookie"]}, {**who, "x-csrf-token": other["x-csrf-token"]}):
        reply = site.request("POST", "/ui/do/key_generate", {"key_alias": "forged"}, key=None, headers=headers)
        assert (reply.status, reply.json["error"]["code"]) == (403, "permission_denied")
    aliases = manage(site, "/key/aliases")["aliases"]
    assert "forged" not in aliases
    assert site.request("POST", "/ui/do/key_generate", {"key_alias": "meant"}, key=None, headers=who).status == 200


@pytest.mark.parametrize("role", ["internal_user", "internal_user_viewer"])
def test_key_of_another_role_is_not_let_in(site: Gateway, role: str) -> None:
    reply, _ = log_in(site, user_key(site, role, f"u-{role}"))
    assert (reply.status, reply.json["error"]["code"]) == (403, "permission_denied")
    assert log_in(site, new_key(site))[0].status == 403
    assert log_in(site, TEAM_KEY)[0].status == 401, "a key of the configuration is nobody's"


def test_viewer_sees_everything_and_changes_nothing(site: Gateway) -> None:
    _, who = log_in(site, user_key(site, "proxy_admin_viewer", "onlooker"))
    page = site.request("GET", "/ui/keys", key=None, headers={"cookie": who["cookie"]})
    assert page.status == 200
    assert b"New key" not in page.body
    for action, body in (("key_generate", {}), ("team_new", {"team_id": "t"}), ("model_delete", {"id": "x"})):
        assert site.request("POST", f"/ui/do/{action}", body, key=None, headers=who).status == 403


def end_by_logging_out(site: Gateway, key: str, who: dict[str, str]) -> None:
    assert site.request("POST", "/ui/logout", key=None, headers=who).status == 200


def end_by_blocking(site: Gateway, key: str, who: dict[str, str]) -> None:
    manage(site, "/key/block", {"key": key})


def end_by_deleting(site: Gateway, key: str, who: dict[str, str]) -> None:
    manage(site, "/key/delete", {"keys": [key]})


def end_by_another_role(site: Gateway, key: str, who: dict[str, str]) -> None:
    user_id = manage(site, "/key/info?key=" + key)["info"]["user_id"]
    manage(site, "/user/update", {"user_id": user_id, "user_role": "proxy_admin_viewer"})


@pytest.mark.parametrize("end", [end_by_logging_out, end_by_blocking, end_by_deleting, end_by_another_role])
def test_session_ends_in_every_worker(site: Gateway, end: Any) -> None:
    key = user_key(site, "proxy_admin", f"admin-{end.__name__}")
    _, who = log_in(site, key)
    assert seen(site, who) == {200}
    end(site, key, who)
    eventually(lambda: seen(site, who) == {303}, what="the session is over everywhere")
    assert seen(site, who) == {303}
    assert site.request("POST", "/ui/do/key_generate", {}, key=None, headers=who).status == 401


def test_wrong_keys_are_slowed_down_for_their_address_alone() -> None:
    now = [1000.0]
    attempts = LoginAttempts(lambda: now[0])
    for _ in range(MAX_FAILED):
        assert attempts.wait_s("a") == 0
        attempts.failed("a")
        now[0] += 1
    assert attempts.wait_s("a") == pytest.approx(FAILED_S - MAX_FAILED)
    assert attempts.wait_s("b") == 0
    now[0] += FAILED_S - MAX_FAILED
    assert attempts.wait_s("a") == 0


def test_attempts_are_counted_over_all_workers(upstream: Upstream) -> None:
    with running(base_config(upstream), workers=2) as gateway:
        statuses = [gateway.request("POST", "/ui/login", key=f"sk-guess-{n}").status for n in range(MAX_FAILED + 6)]
        assert statuses == [401] * MAX_FAILED + [429] * 6
        refused = gateway.request("POST", "/ui/login", key=MASTER_KEY)
        assert refused.status == 429
        assert 0 < int(refused.headers["retry-after"]) <= FAILED_S


def test_coming_going_and_being_refused_are_in_the_audit(site: Gateway) -> None:
    """A failed attempt too, without the key that was tried."""
    _, who = log_in(site, MASTER_KEY)
    assert site.request("POST", "/ui/logout", key=None, headers=who).status == 200
    assert site.request("POST", "/ui/login", key="sk-a-guess-of-a-key").status == 401
    assert site.request("POST", "/ui/login", key=user_key(site, "internal_user", "u-refused")).status == 403
    rows = manage(site, "/audit?kind=session&page_size=4")["audit_logs"]
    assert [(row["actor"], row["action"], (row["after"] or {}).get("why")) for row in rows] == [
        ("u-refused", "refused", "role"),
        ("unknown", "refused", "key"),
        ("master", "logged out", None),
        ("master", "logged in", None),
    ]
    assert rows[1]["after"]["address"] == "127.0.0.1"
    assert "guess" not in str(rows)
