"""A gateway hands over to a successor: nothing is refused, nothing cut, limits and the ledger go on as one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import threading
from pathlib import Path

import psutil
import pytest

import routewright
from harness.dialect import chat_events, chunked_stream
from harness.gateway import MASTER_KEY, TEAM_KEY, TIGHT_KEY, Gateway, base_config, eventually, running
from harness.steady import Steady
from harness.upstream import Send, Until, Upstream
from harness.wire import request_bytes
from routewright.server.handover import VARIABLE, inherited

CHAT = "/v1/chat/completions"
LONG = bool(os.environ.get("ROUTEWRIGHT_LONG"))
HANDOVERS = 20 if LONG else 2
STREAMS = 200 if LONG else 20
RATE = 500 if LONG else 150
"""Requests a second all the while."""


def chat_request(model: str = "gpt-4o", **fields: object) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], **fields}
    return request_bytes("POST", CHAT, key=TEAM_KEY, body=json.dumps(body).encode())


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("workers", [1, 2])
def test_handovers_refuse_nobody_and_cut_no_stream(workers: int, upstream: Upstream) -> None:
    """Requests on connections that are kept go on all the time; streams that began before a handover end after it; and
    every answer is in the ledger once."""
    talker = upstream["one-000"]
    talker.forget()
    pieces = chunked_stream(chat_events(["Hel", "lo"]))
    config = base_config(upstream, ones=1)
    with running(config, workers=workers) as gateway:
        streams = 0
        with Steady(gateway.port, chat_request(), rate=RATE, connections=40, holds=b"Hello from gpt-4o") as load:
            for _ in range(HANDOVERS):
                go_on = threading.Event()
                talker.plays(*map(Send, pieces[:3]), Until(go_on), *map(Send, pieces[3:]))
                clients = [gateway.connect() for _ in range(STREAMS)]
                try:
                    for client in clients:
                        client.send(chat_request("one-000", stream=True))
                    for client in clients:
                        client.wait_for(b'"Hel"')
                    old = gateway.hand_over()
                    before = load.answered
                    eventually(lambda at=before: load.answered > at + RATE / 2, what="requests to go on")  # type: ignore[misc]
                    assert not has_ended(old), "it did not wait for its streams"
                    go_on.set()
                    for client in clients:
                        reply = client.reply()
                        assert (reply.text, reply.events[-1]) == ("Hello", "[DONE]")
                    streams += len(clients)
                    eventually(lambda process=old: has_ended(process), what="the old one's end")  # type: ignore[misc]
                finally:
                    go_on.set()
                    for client in clients:
                        client.close()
        told = load.end()
        print(f"\n{workers} workers, {HANDOVERS} handovers under {STREAMS} streams each: {told}")
        assert (told["failed"], told["failures"]) == (0, [])
        if LONG:
            assert told["rate"] > 0.98 * RATE, "it was not what it is to show"
        eventually(lambda: len(gateway.journal()) == told["answered"] + streams, what="a record of every answer")
        records = gateway.journal()
        assert len({record["call_id"] for record in records}) == len(records)
        assert {record["status"] for record in records} == {200}
    talker.forget()


@pytest.mark.parametrize("workers", [2])
def test_limits_go_on_across_a_handover(workers: int, upstream: Upstream) -> None:
    """A minute's requests are counted as one, and what runs in the old process holds its place in the new one."""
    go_on = threading.Event()
    config = base_config(upstream, ones=1)
    config["keys"].append({"key": "sk-parallel-0123456789", "max_parallel_requests": 1})
    talker = upstream["one-000"]
    talker.forget()
    pieces = chunked_stream(chat_events(["Hel", "lo"]))
    talker.plays(*map(Send, pieces[:3]), Until(go_on), *map(Send, pieces[3:]))
    with running(config, workers=workers) as gateway:
        tight = [gateway.chat(key=TIGHT_KEY).status for _ in range(50)]
        allowed = tight.count(200)
        assert 0 < allowed < 50
        with gateway.connect() as client:
            body = json.dumps({"model": "one-000", "stream": True, "messages": [{"role": "user", "content": "x"}]})
            client.send(request_bytes("POST", CHAT, key="sk-parallel-0123456789", body=body.encode()))
            client.wait_for(b'"Hel"')
            old = gateway.hand_over()
            assert gateway.chat(key=TIGHT_KEY).status == 429
            assert gateway.chat(key="sk-parallel-0123456789").status == 429
            go_on.set()
            assert client.reply().text == "Hello"
        eventually(lambda: has_ended(old), what="the old one's end")
        assert gateway.chat(key="sk-parallel-0123456789").status == 200
    talker.forget()


@pytest.mark.parametrize("workers", [1, 2])
def test_successor_that_does_not_come_up_changes_nothing(workers: int, upstream: Upstream) -> None:
    """A faulty file, seen by the new process first: the old one goes on, and the next attempt succeeds."""
    with running(base_config(upstream), workers=workers) as gateway:
        whole = gateway.config_file.read_text()
        gateway.config_file.write_text(whole + "\nno_such_section: 1\n")
        os.kill(gateway.process.pid, signal.SIGUSR2)
        eventually(lambda: "the new process does not serve" in gateway.output(), what="it to give up")
        assert gateway.chat().status == 200
        gateway.config_file.write_text(whole)
        old = gateway.hand_over()
        assert gateway.chat().status == 200
        eventually(lambda: has_ended(old), what="the old one's end")


@pytest.mark.parametrize("workers", [1, 2])
def test_stop_during_a_handover_stops_the_successor_too(workers: int, upstream: Upstream) -> None:
    """F30: asked to end before the new process serves, and asked twice to hand over: nothing serves afterwards."""
    with running(base_config(upstream), workers=workers) as gateway:
        old = psutil.Process(gateway.process.pid)
        os.kill(old.pid, signal.SIGUSR2)
        os.kill(old.pid, signal.SIGUSR2)
        eventually(lambda: "handing over to process" in gateway.output(), what="a successor")
        assert gateway.output().count("handing over to process") == 1
        successor = psutil.Process(int(re.findall(r"handing over to process (\d+)", gateway.output())[0]))
        os.kill(old.pid, signal.SIGTERM)
        eventually(lambda: has_ended(successor), what="the successor's end")
        eventually(lambda: has_ended(old), what="the old one's end")
        with pytest.raises(OSError):
            gateway.chat()


@pytest.mark.parametrize("given", ["", "x", "{}", '{"listeners":[60001],"counters":60002,"ready":60003}',
                                   '{"listeners":[99999999999],"counters":0,"ready":0}'])  # fmt: skip
def test_handover_that_nobody_made_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(ValueError, match=VARIABLE):
        inherited()
    assert VARIABLE not in os.environ


def test_what_a_killed_predecessor_held_is_given_back(upstream: Upstream) -> None:
    """Its last stream had the one place; nobody is left to return it but the successor."""
    go_on = threading.Event()
    config = base_config(upstream, ones=1)
    key = "sk-parallel-0123456789"
    config["keys"].append({"key": key, "max_parallel_requests": 1})
    talker = upstream["one-000"]
    talker.forget()
    pieces = chunked_stream(chat_events(["Hel", "lo"]))
    talker.plays(*map(Send, pieces[:3]), Until(go_on), *map(Send, pieces[3:]))
    try:
        with running(config) as gateway, gateway.connect() as client:
            body = json.dumps({"model": "one-000", "stream": True, "messages": [{"role": "user", "content": "x"}]})
            client.send(request_bytes("POST", CHAT, key=key, body=body.encode()))
            client.wait_for(b'"Hel"')
            old = gateway.hand_over()
            assert gateway.chat(key=key).status == 429
            old.kill()
            eventually(lambda: gateway.chat(key=key).status == 200, what="the place to be free")
    finally:
        go_on.set()
        talker.forget()


@pytest.mark.parametrize("workers", [2])
def test_service_manager_is_told(workers: int, upstream: Upstream, tmp_path: Path) -> None:
    """systemd's Type=notify: ready once every worker serves, and who the main process is after a handover."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(address))
        line.settimeout(30)
        with running(base_config(upstream), workers=workers, environment={"NOTIFY_SOCKET": str(address)}) as gateway:
            assert line.recv(1000) == b"READY=1"
            gateway.hand_over()
            assert line.recv(1000) == b"MAINPID=%d" % gateway.successors[-1].pid


def test_upgrade_serves_the_new_version_from_its_store_s_process_to_its_front(
    upstream: Upstream, tmp_path: Path
) -> None:
    """What is installed under the same name is another version: stored keys are known all the time, and once the old
    workers have ended nothing of the old version is left."""
    now = tmp_path / "now"
    for version in ("0.0.1", "0.0.2"):
        copy = tmp_path / version / "routewright"
        shutil.copytree(Path(routewright.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
        own = copy / "__init__.py"
        own.write_text(re.sub(r'__version__ = "[^"]+"', f'__version__ = "{version}"', own.read_text()))
    now.symlink_to(tmp_path / "0.0.1")
    # Bytecode kept by path, size and second could not tell the two versions apart, which are as new and as long.
    environment = {"PYTHONPATH": str(now), "PYTHONDONTWRITEBYTECODE": "1"}
    with running(base_config(upstream), workers=2, environment=environment) as gateway:
        assert gateway.request("GET", "/health").json["version"] == "0.0.1"
        made = gateway.request("POST", "/key/generate", {}, key=MASTER_KEY)
        key = made.json["key"]
        before = stores_process(gateway)
        now.unlink()
        now.symlink_to(tmp_path / "0.0.2")
        old = gateway.hand_over()
        assert gateway.chat(key=key).status == 200
        eventually(lambda: has_ended(old), what="the old one's end")
        eventually(lambda: has_ended(before), what="the end of the old store's process")
        assert gateway.request("GET", "/health").json["version"] == "0.0.2"
        fresh = gateway.request("POST", "/key/generate", {}, key=MASTER_KEY).json["key"]
        assert [gateway.chat(key=each).status for each in (key, fresh)] == [200, 200]
        assert stores_process(gateway) != before


def stores_process(gateway: Gateway) -> psutil.Process:
    folder = str(gateway.data_dir)
    found = [each for each in psutil.process_iter() if is_store_of(each, folder)]
    assert len(found) == 1, found
    return found[0]


def is_store_of(process: psutil.Process, folder: str) -> bool:
    try:
        line = process.cmdline()
    except psutil.Error:
        return False
    return "routewright.keeper" in line and any(part.startswith(folder) for part in line)
