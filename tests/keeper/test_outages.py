"""F24-F27, R26: a database that is not there, goes away, hangs or comes back; two replicas on one Postgres."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from harness.admin import manage, new_key, obeyed_everywhere
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.postgres import Postgres
from harness.upstream import Upstream
from harness.wire import Reply, assert_error


@pytest.fixture
def on_postgres(own_postgres: Postgres, upstream: Upstream) -> Iterator[Gateway]:
    address = own_postgres.new_database()
    with running(base_config(upstream), environment={"DATABASE_URL": address}) as gateway:
        yield gateway


def gauge(gateway: Gateway, name: str) -> float:
    lines = gateway.request("GET", "/metrics", key=None).body.decode().splitlines()
    (value,) = [line.split()[-1] for line in lines if line.startswith(f"{name} ")]
    return float(value)


def test_database_that_is_not_there_at_the_start(own_postgres: Postgres, upstream: Upstream) -> None:
    """F24: up, healthy, not ready; keys of the configuration serve, others are a 503 and not a 401."""
    address = own_postgres.new_database()
    own_postgres.stop()
    with running(base_config(upstream), environment={"DATABASE_URL": address}) as gateway:
        assert gateway.request("GET", "/health", key=None).status == 200
        assert_error(gateway.request("GET", "/health/readiness", key=None), 503, "storage_unavailable")
        assert gateway.chat(key=TEAM_KEY).status == 200
        assert_error(gateway.chat(key="sk-perhaps-a-stored-key"), 503, "storage_unavailable")
        assert_error(gateway.chat(key="never a stored key"), 401, "invalid_api_key")
        assert_error(gateway.request("POST", "/key/generate", {}, key=MASTER_KEY), 503, "storage_unavailable")
        own_postgres.start()
        eventually(lambda: gateway.request("GET", "/health/readiness", key=None).status == 200)
        assert gateway.chat(key=new_key(gateway)).status == 200
        assert_error(gateway.chat(key="sk-perhaps-a-stored-key"), 401, "invalid_api_key")


def test_database_that_goes_away_and_comes_back(on_postgres: Gateway, own_postgres: Postgres) -> None:
    """F25: warm keys go on, unknown ones are a 503, nothing is forgotten, and no answer is a 500."""
    warm, cold = new_key(on_postgres), new_key(on_postgres)
    assert on_postgres.chat(key=warm).status == 200
    cookie = on_postgres.request("POST", "/ui/login", key=MASTER_KEY).headers["set-cookie"].partition(";")[0]

    def page(path: str) -> Reply:
        return on_postgres.request("GET", path, key=None, headers={"cookie": cookie})

    assert b"reached" not in page("/ui").body
    own_postgres.stop()
    try:
        assert {on_postgres.chat(key=warm).status for _ in range(20)} == {200}
        assert_error(on_postgres.chat(key=cold), 503, "storage_unavailable")
        reply = on_postgres.request("POST", "/key/block", {"key": warm}, key=MASTER_KEY)
        assert_error(reply, 503, "storage_unavailable")
        assert on_postgres.request("GET", "/health/readiness", key=None).status == 200, "it can serve what it knows"
        eventually(lambda: gauge(on_postgres, "routewright_store_away") == 1)
        assert gauge(on_postgres, "routewright_ledger_lag_bytes") > 20 * 300
        eventually(lambda: gauge(on_postgres, "routewright_ledger_lag_seconds") > 0)
        shown = page("/ui")
        assert (shown.status, b"can\xe2\x80\x99t be reached" in shown.body, b"openai/gpt-4o" in shown.body) == (
            200,
            True,
            True,
        )
        assert page("/ui/keys").status == 503
        assert (page("/ui/router").status, b"What was chosen is here again" in page("/ui/router").body) == (200, True)
        other = {"cookie": cookie[:-1] + "x"}
        assert on_postgres.request("GET", "/ui", key=None, headers=other).status == 503, "nobody new is let in"
    finally:
        own_postgres.start()
    eventually(lambda: on_postgres.chat(key=cold).status == 200)
    for name in ("routewright_store_away", "routewright_ledger_lag_bytes", "routewright_ledger_lag_seconds"):
        eventually(lambda name=name: gauge(on_postgres, name) == 0, what=name)
    manage(on_postgres, "/key/block", {"key": warm})
    obeyed_everywhere(on_postgres, warm, 401)


def test_connections_that_are_killed_all_the_time_cost_no_answer(on_postgres: Gateway, own_postgres: Postgres) -> None:
    """F26."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.1):
            with psycopg.connect(own_postgres.address(), autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'routewright'"
                )

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        for _ in range(15):
            reply = on_postgres.request("POST", "/key/generate", {}, key=MASTER_KEY)
            assert reply.status in (200, 503), reply.body
            if reply.status == 200:
                assert on_postgres.chat(key=reply.json["key"]).status in (200, 503)
    finally:
        stop.set()
        thread.join(60)
    eventually(lambda: on_postgres.request("POST", "/key/generate", {}, key=MASTER_KEY).status == 200)


@pytest.mark.skipif(not os.environ.get("ROUTEWRIGHT_LONG"), reason="takes the seconds after which it is called silent")
def test_store_s_process_that_hangs_is_said_to_be_away_and_waited_for_no_more(upstream: Upstream) -> None:
    """F27 of the process: it is stopped and neither ends nor answers. Warm keys go on; who has to ask is told soon that
    it is away, though the line to it stands; and afterwards all is as before."""
    with running(base_config(upstream)) as gateway:
        warm, cold, other = (new_key(gateway) for _ in range(3))
        assert gateway.chat(key=warm).status == 200
        eventually(lambda: readiness(gateway)["db"] == "connected")
        (process,) = gateway.store_processes()
        process.suspend()
        try:
            eventually(lambda: readiness(gateway)["db"] == "Not connected", within_s=15, what="it to be noticed")
            assert {gateway.chat(key=warm).status for _ in range(20)} == {200}
            before_s = time.monotonic()
            for _ in range(3):
                assert_error(gateway.chat(key=cold), 503, "storage_unavailable")
            assert time.monotonic() - before_s < 6, "each waits as for one that is only slow"
        finally:
            process.resume()
        eventually(lambda: readiness(gateway)["db"] == "connected", within_s=15, what="it to be heard again")
        assert [gateway.chat(key=key).status for key in (cold, other, warm)] == [200] * 3


def readiness(gateway: Gateway) -> dict[str, Any]:
    reply = gateway.request("GET", "/health/readiness", key=None)
    assert reply.status == 200
    found: dict[str, Any] = reply.json
    return found


def test_lock_on_the_keys_holds_nobody_up_who_is_known(on_postgres: Gateway, own_postgres: Postgres) -> None:
    """F27."""
    warm, cold = new_key(on_postgres), new_key(on_postgres)
    assert on_postgres.chat(key=warm).status == 200
    with psycopg.connect(on_postgres.environment["DATABASE_URL"]) as holder:
        holder.execute("LOCK TABLE keys IN ACCESS EXCLUSIVE MODE")
        assert on_postgres.chat(key=warm).status == 200
        assert_error(on_postgres.chat(key=cold), 503, "storage_unavailable")
        assert_error(on_postgres.request("POST", "/key/block", {"key": cold}, key=MASTER_KEY), 503)
        holder.rollback()
    assert on_postgres.chat(key=cold).status == 200


def test_other_replica_obeys_within_a_second(on_postgres: Gateway, upstream: Upstream) -> None:
    """F16, R26, R31: LISTEN and NOTIFY; and the models of one are served by the other."""
    address = on_postgres.environment["DATABASE_URL"]
    with running(base_config(upstream), environment={"DATABASE_URL": address}) as other:
        key = new_key(on_postgres)
        assert {other.chat(key=key).status, on_postgres.chat(key=key).status} == {200}
        manage(on_postgres, "/key/block", {"key": key})
        obeyed_everywhere(other, key, 401)
        manage(other, "/key/unblock", {"key": key})
        obeyed_everywhere(on_postgres, key, 200)
        team = manage(other, "/team/new", {"models": ["gpt-4o-mini"]})["team_id"]
        manage(other, "/key/update", {"key": key, "team_id": team})
        obeyed_everywhere(on_postgres, key, 403)


def test_word_that_got_lost_is_made_up_for(on_postgres: Gateway) -> None:
    """A change nobody called out, as behind a pooler that drops LISTEN: seen by looking, within ten seconds."""
    key = new_key(on_postgres)
    assert on_postgres.chat(key=key).status == 200
    with psycopg.connect(on_postgres.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("UPDATE keys SET blocked = true")
        connection.execute("INSERT INTO changes (at_ms, kind, object_id) VALUES (0, 'all', '')")
    eventually(lambda: on_postgres.chat(key=key).status == 401)


HOSTILE = {
    "SQL": "sk-' OR '1'='1",
    "SQL that ends": "sk-x'; DROP TABLE keys; --",
    "union": "sk-x' UNION SELECT key_hash FROM keys --",
    "wildcard": "sk-%",
    "underscores": "sk-" + "_" * 32,
    "star": "sk-*",
    "backslash": "sk-\\",
    "JSON": 'sk-{"$ne": null}',
    "long": "sk-" + "k" * 60_000,
    "bytes above 127": "sk-\xff\xfe",
}


def test_keys_made_of_sql_are_401_and_touch_no_row(on_postgres: Gateway) -> None:
    """R1 (CVE-2026-42208), T1, R5, R27."""
    key = new_key(on_postgres, key_alias="the only one")
    with psycopg.connect(on_postgres.environment["DATABASE_URL"]) as connection:
        before = connection.execute("SELECT * FROM keys").fetchall()
        for hostile in (*HOSTILE.values(), key[:-1], key + "x", key.upper(), key[3:], "sk-" + key):
            reply = on_postgres.chat(key=hostile)
            assert_error(reply, (401, 431), None)
            if reply.status == 401:
                assert reply.error["message"] == "Invalid API key"
        for path in ("/key/info?key=", "/key/list?key_alias=", "/team/info?team_id=", "/user/info?user_id="):
            for hostile in ("x'%20OR%20'1'='1", "%25", "_", "x%00y", "%27%3B%20DROP%20TABLE%20keys%3B--"):
                reply = on_postgres.request("GET", path + hostile, key=MASTER_KEY)
                assert reply.status in (200, 400, 404), (path, hostile, reply.body)
                assert b"the only one" not in reply.body
        connection.rollback()
        assert connection.execute("SELECT * FROM keys").fetchall() == before
    assert on_postgres.chat(key=key).status == 200
