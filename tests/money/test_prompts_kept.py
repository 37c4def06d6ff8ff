"""Part 8: what people ask and are answered is kept for those alone who said so, and shown to those alone who may."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.admin import manage, new_key
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.postgres import Postgres
from harness.receiver import Receiver
from harness.upstream import Upstream
from harness.wire import Reply, secret

KEEPING_KEY = secret("keeping")
PROMPT = "canary-words of {} that nobody may find"
CANARY = b"canary-words"


def config_of(upstream: Upstream, **sections: Any) -> dict[str, Any]:
    config = base_config(upstream, **sections)
    config["keys"].append({"key": KEEPING_KEY, "alias": "keeping", "store_prompts_in_spend_logs": True})
    config["routes"]["kept"] = {**config["routes"]["auto"], "store_prompts_in_spend_logs": True}
    return config


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def gateway(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Gateway]:
    environment = {}
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        environment["DATABASE_URL"] = server.new_database()
    config = config_of(upstream, general_settings={"max_stored_prompt_kb": 4})
    with running(config, workers=2, environment=environment) as started:
        started.database_url = environment.get("DATABASE_URL")
        yield started


def row_of(gateway: Gateway, reply: Reply, key: str = MASTER_KEY) -> dict[str, Any]:
    path = f"/spend/logs?request_id={reply.headers['x-request-id']}"
    row: dict[str, Any] = eventually(lambda: manage(gateway, path, key=key), what="the call's row")[0]
    return row


def ask(gateway: Gateway, key: str, who: str, **fields: Any) -> Reply:
    reply = gateway.chat(key=key, prompt=PROMPT.format(who), **fields)
    assert reply.status == 200, reply.body
    return reply


def test_prompt_and_answer_are_kept_where_key_route_or_team_says_so(gateway: Gateway) -> None:
    team = manage(gateway, "/team/new", {"metadata": {"store_prompts_in_spend_logs": True}})["team_id"]
    stored = new_key(gateway, metadata={"store_prompts_in_spend_logs": True})
    of_team = new_key(gateway, team_id=team)
    for key, fields in (
        (KEEPING_KEY, {}), (stored, {}), (of_team, {}), (TEAM_KEY, {"model": "kept"}), (stored, {"stream": True}),
    ):  # fmt: skip
        row = row_of(gateway, ask(gateway, key, "theirs", **fields))
        assert row["messages"] == [{"role": "user", "content": PROMPT.format("theirs")}]
        assert row["response"]["choices"][0]["message"]["content"].startswith("Hello from")
        assert row["proxy_server_request"]["model"] == fields.get("model", "gpt-4o")
    for key, fields in ((TEAM_KEY, {}), (TEAM_KEY, {"model": "auto"}), (new_key(gateway), {})):
        row = row_of(gateway, ask(gateway, key, "nobody", **fields))
        assert row["messages"] is row["response"] is row["proxy_server_request"] is None


def test_long_prompt_is_cut(gateway: Gateway) -> None:
    row = row_of(gateway, gateway.chat(key=KEEPING_KEY, prompt="long " * 3000))
    assert row["messages"]["truncated"]
    assert 4000 < len(row["messages"]["text"]) <= 4096


def test_they_are_shown_to_administrators_and_to_whose_they_are_one_call_at_a_time(gateway: Gateway) -> None:
    for user in ("asker", "leader", "other"):
        manage(gateway, "/user/new", {"user_id": user, "auto_create_key": False})
    team = manage(gateway, "/team/new", {
        "metadata": {"store_prompts_in_spend_logs": True},
        "members_with_roles": [{"role": "user", "user_id": "asker"}, {"role": "admin", "user_id": "leader"}],
    })["team_id"]  # fmt: skip
    asker = new_key(gateway, team_id=team, user_id="asker")
    leader = new_key(gateway, user_id="leader")
    reply = ask(gateway, asker, "asker")
    assert row_of(gateway, reply)["messages"] is not None
    assert row_of(gateway, reply, asker)["messages"] is not None
    path = f"/spend/logs?team_id={team}&request_id={reply.headers['x-request-id']}"
    (led,) = manage(gateway, path, key=leader)
    assert led["messages"] is led["response"] is None, "a team's leader sees the call and not what was said"
    assert manage(gateway, "/spend/logs", key=new_key(gateway, user_id="other")) == []
    assert all(row["messages"] is None for row in manage(gateway, f"/spend/logs?team_id={team}"))
    # The administrator's reading is in the audit, once; the asker's own is nobody's business, the leader read nothing.
    read = manage(gateway, f"/audit?kind=prompt&object_id={reply.headers['x-request-id']}")["audit_logs"]
    assert [(row["action"], row["actor"], row["actor_role"]) for row in read] == [("read", "master", "proxy_admin")]


def test_export_has_them_only_where_they_are_asked_for(gateway: Gateway, tmp_path: Path) -> None:
    row_of(gateway, ask(gateway, KEEPING_KEY, "exported"))
    environment = {**os.environ, **({"DATABASE_URL": gateway.database_url} if gateway.database_url else {})}
    found = {}
    for name, more in (("without.csv", []), ("with.csv", ["--prompts"])):
        command = [sys.executable, "-m", "routewright", "export", "--data-dir", str(gateway.data_dir)]
        command += ["--out", str(tmp_path / name), *more]
        subprocess.run(command, check=True, capture_output=True, env=environment)
        found[name] = (tmp_path / name).read_bytes()
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    assert CANARY not in found["without.csv"]
    assert CANARY in found["with.csv"]


def everything_written(gateway: Gateway) -> dict[str, bytes]:
    files = [gateway.output_file, *(path for path in gateway.data_dir.rglob("*") if path.is_file())]
    return {str(file.relative_to(gateway.data_dir.parent)): file.read_bytes() for file in files}


def test_nothing_of_them_is_anywhere_else(upstream: Upstream) -> None:
    """T17, K: journal, database, log, audit, metrics, pages: greps for a prompt and an answer in all of it."""
    with running(config_of(upstream), workers=2) as gateway:
        stored = new_key(gateway)
        for key in (TEAM_KEY, stored, MASTER_KEY):
            for fields in ({}, {"stream": True}, {"model": "auto"}, {"max_tokens": -1}, {"model": "not-served"}):
                gateway.chat(key=key, **{"prompt": PROMPT.format("x"), **fields})
        gateway.request("POST", "/v1/embeddings", {"model": "embed", "input": PROMPT.format("x")})
        gateway.request("POST", "/v1/responses", {"model": "gpt-4o", "input": PROMPT.format("x")})
        gateway.request("POST", "/v1/messages", {
            "model": "gpt-4o", "max_tokens": 5, "messages": [{"role": "user", "content": PROMPT.format("x")}],
        })  # fmt: skip
        eventually(lambda: len(manage(gateway, "/spend/logs?limit=1000")) >= 18, what="the rows")
        pages = ("/metrics", "/spend/logs?limit=1000", "/audit", "/router/info", "/spend/keys", "/health", "/ui")
        shown = b"".join(gateway.request("GET", page, key=MASTER_KEY).body for page in pages)
        assert CANARY not in shown
        assert b"Hello from" not in shown
        gateway.terminate()
        gateway.wait()
        for name, data in everything_written(gateway).items():
            assert CANARY not in data, name
            assert b"Hello from" not in data, name


def test_what_is_kept_is_told_to_no_log_and_no_receiver(upstream: Upstream) -> None:
    """The record goes to them; what was asked and answered lies in journal and ledger alone."""
    receiver = Receiver()
    config = config_of(
        upstream,
        general_settings={"store_prompts_in_spend_logs": True},
        litellm_settings={"json_logs": True, "callbacks": ["hook"]},
        callback_settings={"hook": {"callback_type": "webhook", "endpoint": receiver.url}},
    )
    with running(config) as gateway:
        replies = [ask(gateway, key, "x", stream=stream) for key in (TEAM_KEY, KEEPING_KEY) for stream in (False, True)]
        for reply in replies:
            assert row_of(gateway, reply)["messages"] is not None
        ids = [reply.headers["x-request-id"].encode() for reply in replies]
        eventually(lambda: all(each in b"".join(request.body for request in receiver.posts) for each in ids))
        for place, data in (("log", gateway.output().encode()), ("hook", b"".join(got.body for got in receiver.posts))):
            assert ids[0] in data, place
            assert CANARY not in data, place
            assert b"Hello from" not in data, place
    receiver.close()


def test_word_against_it_wins(upstream: Upstream) -> None:
    """`turn_off_message_logging` in a file that elsewhere keeps everything."""
    config = config_of(
        upstream,
        general_settings={"store_prompts_in_spend_logs": True},
        litellm_settings={"turn_off_message_logging": True},
    )
    with running(config) as gateway:
        assert row_of(gateway, ask(gateway, KEEPING_KEY, "x"))["messages"] is None
        gateway.terminate()
        gateway.wait()
        assert not [name for name, data in everything_written(gateway).items() if CANARY in data]


def test_retention_deletes_what_was_said_and_leaves_the_call(upstream: Upstream) -> None:
    general = {"store_prompts_in_spend_logs": True, "maximum_prompt_retention_period": "1d"}
    with running(config_of(upstream, general_settings=general)) as gateway:
        reply = ask(gateway, TEAM_KEY, "old")
        assert row_of(gateway, reply)["messages"] is not None, "all are kept where the file says so"
        database = sqlite3.connect(gateway.data_dir / "store.sqlite3", timeout=10)
        with database:
            database.execute("UPDATE spend_texts SET ended_at_ms = ended_at_ms - 86400001")
        gateway.kill_everything()
        gateway.start_again()
        assert gateway.chat(key=TEAM_KEY).status == 200
        left = "SELECT count(*) FROM spend_texts WHERE call_id = ?"
        call = row_of(gateway, reply)["call_id"]
        eventually(lambda: database.execute(left, (call,)).fetchone() == (0,), what="the text is gone")
        database.close()
        assert row_of(gateway, reply)["messages"] is None
