"""Places that are hard to live in: no network (R32), little memory (F32)."""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream
from harness.wire import NotHttpError, Reply, assert_error, request_bytes

IS_LONG = os.environ.get("ROUTEWRIGHT_LONG") == "1"
CHAT = "/v1/chat/completions"
MIB = 1024 * 1024
BODY_BYTES = 9 * MIB
IN_FLIGHT_BYTES, CLIENTS, ROOM_BYTES = (512 * MIB, 500, 2048 * MIB) if IS_LONG else (64 * MIB, 24, 256 * MIB)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces and prlimit are Linux's")

IN_AN_EMPTY_NETWORK = textwrap.dedent(
    """
    import fcntl, json, os, socket, struct, subprocess, sys, time, urllib.request

    with socket.socket() as any_one:  # lo is there, and down
        request = struct.pack("16sh", b"lo", 0x1 | 0x40)
        fcntl.ioctl(any_one, 0x8914, request)
    process = subprocess.Popen([sys.executable, "-m", "routewright", "serve", *sys.argv[1:], "--port", "4000"])
    try:
        for _ in range(400):
            try:
                with urllib.request.urlopen("http://127.0.0.1:4000/health/readiness", timeout=2) as answer:
                    print(answer.status)
                ask = urllib.request.Request(
                    "http://127.0.0.1:4000/v1/chat/completions",
                    json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}).encode(),
                    {"authorization": "Bearer " + os.environ["TEST_TEAM_KEY"], "content-type": "application/json"},
                )
                try:
                    urllib.request.urlopen(ask, timeout=60)
                except urllib.error.HTTPError as error:
                    print(json.load(error)["error"]["code"])
                break
            except OSError:
                time.sleep(0.05)
    finally:
        process.terminate()
        print(process.wait(30))
    """
)


def _may_have_namespaces() -> bool:
    try:
        return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _may_have_namespaces(), reason="needs root, or another right to a network namespace")
def test_starts_where_there_is_no_network(upstream: Upstream, tmp_path: Path) -> None:
    """R32: nothing is fetched at the start. An upstream far away is unavailable, and the end is in time."""
    config = base_config(upstream)
    for entry in config["model_list"]:
        entry["litellm_params"]["api_base"] = "https://api.openai.com/v1"
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    command = ["unshare", "--net", sys.executable, "-c", IN_AN_EMPTY_NETWORK]
    command += ["--config", str(file), "--data-dir", str(tmp_path / "data")]
    environment = {**os.environ, "TEST_MASTER_KEY": MASTER_KEY, "TEST_TEAM_KEY": TEAM_KEY}

    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)

    assert found.stdout.split() == ["200", "upstream_unavailable", "0"], found.stderr[-3000:]


@pytest.fixture(scope="module")
def narrow(upstream: Upstream) -> Iterator[Gateway]:
    environment = {"ROUTEWRIGHT_FRONT_MAX_IN_FLIGHT_BYTES": str(IN_FLIGHT_BYTES)}
    with running(base_config(upstream), environment=environment) as gateway:
        yield gateway


def test_little_memory_is_said_and_not_died_of(narrow: Gateway) -> None:
    """F32: more large bodies at once than memory is there for: 503 for those that are too many, the rest served."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "word " * (BODY_BYTES // 5)}]})
    whole = request_bytes("POST", CHAT, key=TEAM_KEY, body=body.encode())
    narrow.chat()
    workers = [process for process in narrow.serving_processes() if process.net_connections("tcp")]
    for process in workers:
        most = process.memory_info().vms + ROOM_BYTES
        resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))

    def send(_: int) -> Reply | None:
        with narrow.connect(timeout_s=60) as client:
            try:
                for at in range(0, len(whole), 65536):
                    if select.select([client.socket], [], [], 0)[0]:
                        break  # an answer before the end of the body: refused
                    client.send(whole[at : at + 65536])
                return client.reply("POST")
            except (OSError, NotHttpError):
                return None  # refused, and the answer overtaken by the end of the connection

    with ThreadPoolExecutor(CLIENTS) as pool:
        replies = list(pool.map(send, range(CLIENTS)))

    assert any(reply is not None and reply.status == 200 for reply in replies)
    refused = [reply for reply in replies if reply is not None and reply.status != 200]
    assert refused
    for reply in refused:
        assert_error(reply, 503, "overloaded", type="api_error")
    assert {process.pid for process in workers} <= {process.pid for process in narrow.serving_processes()}
    eventually(lambda: narrow.chat().status == 200)
