"""R4 of RELIABILITY.md: no endpoint starts a process (CVE-2026-42271: one that tested a connection ran commands)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.gateway import MASTER_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream
from routewright.endpoints import every

HOOK = """
import os, sys

armed = os.environ["AUDIT_ARMED"]
EVENTS = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "pty.spawn"}

def told(event, arguments):
    if event in EVENTS and os.path.exists(armed):
        with open(armed + ".seen", "a") as file:
            file.write(f"{event} {arguments!r}\\n")

sys.addaudithook(told)
"""
COMMAND = "touch /tmp/routewright-was-here"
BODIES = (
    {},
    {
        "model": "gpt-4o", "model_name": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "input": "hello",
        "prompt": "hello", "command": COMMAND, "args": ["-c", COMMAND], "transport": "stdio", "env": {"PATH": "/tmp"},
        "mcp_servers": {"one": {"transport": "stdio", "command": COMMAND}}, "litellm_params": {"command": COMMAND},
        "tools": [{"type": "mcp", "server_label": "one", "command": COMMAND}], "guardrails": [f"$({COMMAND})"],
        "key": f"`{COMMAND}`", "path": f"|{COMMAND}", "file": f"|{COMMAND}", "url": f"file:///tmp/$({COMMAND})",
    },
)  # fmt: skip


class Watched:
    """A gateway all of whose processes write down what they start, while `armed` is there."""

    def __init__(self, gateway: Gateway, armed: Path) -> None:
        self.gateway = gateway
        self.armed = armed

    @property
    def started(self) -> str:
        seen = self.armed.with_name(self.armed.name + ".seen")
        return seen.read_text() if seen.exists() else ""

    def forget(self) -> None:
        self.armed.with_name(self.armed.name + ".seen").unlink()


@pytest.fixture(scope="module")
def watched(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(HOOK)
    armed = folder / "armed"
    armed.touch()
    environment = {"PYTHONPATH": str(folder), "AUDIT_ARMED": str(armed)}
    with running(base_config(upstream), environment=environment) as gateway:
        yield Watched(gateway, armed)


def test_no_endpoint_starts_a_process_or_fails(watched: Watched) -> None:
    """R4: every path, with every method, by the master key, with bodies that ask for it."""
    # The store's own process is started by the first call that needs it, and shows that the hook sees.
    assert watched.gateway.request("GET", "/key/list", key=MASTER_KEY).status == 200
    eventually(lambda: "routewright.keeper" in watched.started)
    watched.forget()
    failed = []
    for path, endpoint in every():
        for method in (*endpoint.methods, "DELETE", "PATCH"):
            target = path.replace("{}", "gpt-4o")
            for body in BODIES if method not in ("GET", "HEAD") else (None,):
                reply = watched.gateway.request(method, target, body, key=MASTER_KEY)
                if reply.status >= 500 and reply.status not in (501, 502, 503):
                    failed.append((method, target, reply.status, json.dumps(body)[:80], reply.body[:200]))

    assert not watched.started
    assert not failed
