"""F20, R31, R34: the configuration read again while serving: all or nothing, with the difference, nobody dropped."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from harness.admin import manage, obeyed_everywhere, tried_everywhere
from harness.gateway import (
    MASTER_KEY,
    SMALL_KEY,
    TEAM_KEY,
    TIGHT_KEY,
    Gateway,
    base_config,
    deployment,
    eventually,
    running,
)
from harness.upstream import Upstream
from harness.wire import assert_error, request_bytes, secret

NEW_KEY = secret("reloaded")


@pytest.fixture
def live(upstream: Upstream) -> Iterator[Gateway]:
    """Two workers whose file a test may change."""
    with running(base_config(upstream), workers=2) as gateway:
        yield gateway


def write(gateway: Gateway, config: Any) -> None:
    """As a careful editor does: beside, then in its place."""
    text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
    beside = gateway.config_file.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, gateway.config_file)


def config_of(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(gateway.config_file.read_text())
    return found


def reload(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = manage(gateway, "/config/reload", {})
    return found


def test_whole_file_is_in_force_on_every_worker_and_the_difference_is_told(live: Gateway, upstream: Upstream) -> None:
    config = config_of(live)
    config["model_list"].append(deployment("fresh", upstream, "fresh", model_info={"id": "fresh-1"}))
    config["model_list"] = [entry for entry in config["model_list"] if entry["model_name"] != "embed"]
    config["keys"] = [entry for entry in config["keys"] if entry["alias"] != "small"]
    config["keys"].append({"key": NEW_KEY, "alias": "new"})
    config["router_settings"] |= {"num_retries": 0, "model_group_alias": {"nick": "fresh"}}
    config["routes"]["second"] = {"candidates": ["gpt-4o", "fresh"]}
    write(live, config)
    told = reload(live)
    assert {"model fresh (fresh-1) added", "key small removed", "key new added", "route second added",
            "attempts"} <= set(told["changed"])  # fmt: skip
    assert any(line.startswith("model embed (") and line.endswith("removed") for line in told["changed"])
    assert told["needs_restart"] == []
    assert "canary" not in str(told)
    obeyed_everywhere(live, NEW_KEY, 200, model="fresh")
    obeyed_everywhere(live, NEW_KEY, 200, model="nick")
    obeyed_everywhere(live, NEW_KEY, 200, model="second")
    obeyed_everywhere(live, SMALL_KEY, 401, model="gpt-4o-mini")
    body = {"model": "embed", "input": "x"}
    assert_error(live.request("POST", "/v1/embeddings", body, key=TEAM_KEY), 404, "model_not_found")
    assert reload(live)["changed"] == []


FAULTS = {
    "not YAML": "model_list: [",
    "empty": "",
    "unknown key": "model_lisst: []",
    "wrong type": "model_list: [{model_name: 3}]",
    "half of it": None,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_file_changes_nothing_and_says_why(live: Gateway, fault: str) -> None:
    config = config_of(live)
    good = live.config_file.read_text()
    text = FAULTS[fault]
    if text is None:  # a good change and a bad one: neither
        config["keys"].append({"key": NEW_KEY, "alias": "new"})
        config["router_settings"]["num_retries"] = "many"
        text = yaml.safe_dump(config, sort_keys=False)
    write(live, text)
    reply = live.request("POST", "/config/reload", {}, key=MASTER_KEY)
    assert_error(reply, 400, "invalid_value")
    assert "config.yaml" in reply.error["message"]
    assert {found.status for found in tried_everywhere(live, TEAM_KEY)} == {200}
    assert_error(live.chat(key=NEW_KEY), 401, "invalid_api_key")
    write(live, good)
    assert reload(live)["changed"] == []


def test_edited_file_is_taken_without_being_asked_and_a_bad_edit_is_not(live: Gateway) -> None:
    config = config_of(live)
    write(live, "model_list: [")
    eventually(lambda: "stays as it was" in live.output())
    assert {found.status for found in tried_everywhere(live, TEAM_KEY)} == {200}
    config["keys"].append({"key": NEW_KEY, "alias": "new"})
    write(live, config)
    eventually(
        lambda: {found.status for found in tried_everywhere(live, NEW_KEY)} == {200},
        what="the edit to be taken by both workers",
    )  # fmt: skip


def test_nobody_is_dropped_and_no_request_fails(live: Gateway, upstream: Upstream) -> None:
    """R34: an open connection and a crowd go on through a dozen changes."""
    failures: list[int] = []
    stop = threading.Event()

    def crowd() -> None:
        while not stop.is_set():
            status = live.chat(model="gpt-4o").status
            if status != 200:
                failures.append(status)
            stop.wait(0.01)

    threads = [threading.Thread(target=crowd) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with live.connect() as client:
            for turn in range(12):
                config = config_of(live)
                config["model_list"] = [one for one in config["model_list"] if one["model_name"] != "comes-and-goes"]
                if turn % 2:
                    config["model_list"].append(deployment("comes-and-goes", upstream, "comes-and-goes"))
                write(live, config)
                reload(live)
                client.send(request_bytes("GET", "/v1/models", key=TEAM_KEY))
                assert client.reply("GET").status == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert failures == []


def test_what_a_key_has_used_outlives_a_change(live: Gateway) -> None:
    statuses = [live.chat(key=TIGHT_KEY).status for _ in range(2)]
    config = config_of(live)
    config["router_settings"]["num_retries"] = 1
    write(live, config)
    reload(live)
    statuses += [live.chat(key=TIGHT_KEY).status for _ in range(3)]
    assert statuses == [200, 200, 200, 429, 429]


def test_worker_that_takes_a_dead_one_s_place_has_the_present_configuration(live: Gateway) -> None:
    config = config_of(live)
    config["keys"].append({"key": NEW_KEY, "alias": "new"})
    write(live, config)
    reload(live)
    obeyed_everywhere(live, NEW_KEY, 200)
    for process in live.serving_processes():
        if "routewright.keeper" not in process.cmdline():
            process.kill()
    eventually(lambda: _status(live, NEW_KEY) == 200)
    eventually(lambda: {_status(live, NEW_KEY) for _ in range(10)} == {200})


def _status(gateway: Gateway, key: str) -> int:
    try:
        return gateway.chat(key=key).status
    except (OSError, AssertionError):
        return 0


def test_what_needs_a_restart_is_told_and_left(live: Gateway) -> None:
    config = config_of(live)
    config["general_settings"]["database_url"] = "postgresql://nobody@127.0.0.1:1/none"
    write(live, config)
    assert reload(live)["needs_restart"] == ["database_url"]
    assert live.chat().status == 200


def test_reload_is_for_the_master_key(live: Gateway) -> None:
    assert_error(live.request("POST", "/config/reload", {}, key=None), 401, "invalid_api_key")
    assert_error(live.request("POST", "/config/reload", {}, key=TEAM_KEY), 403, "permission_denied")
