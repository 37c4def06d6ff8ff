"""R4, T6, T7: nothing a caller writes makes the gateway fetch an address or start a process, on any route."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, deployment, running
from harness.upstream import Upstream
from routewright import endpoints

HOOK = """
import os, sys
WATCHED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")
def hook(event, args):
    if event in WATCHED:
        with open(os.environ["WATCHED_PROCESSES"], "a") as file:
            print(event, repr(args)[:300], file=file)
sys.addaudithook(hook)
with open(os.environ["WATCHED_PROCESSES"], "a") as file:
    print("watched", os.getpid(), file=file)
"""
MODELS = ("gpt-4o", "as-anthropic", "as-gemini", "as-cohere", "as-ollama", "as-bedrock")
FILES_TAKEN = ("/config/reload", "/router/reload")


class Canary:
    """A listener that nobody should ever come to, and all who did."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.visits: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(1)
                try:
                    self.visits.append(client.recv(4096))
                except OSError:
                    self.visits.append(b"")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    made = Canary()
    yield made
    made.close()


@pytest.fixture(scope="module")
def watched(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path]]:
    folder = tmp_path_factory.mktemp("watched")
    (folder / "sitecustomize.py").write_text(HOOK)
    seen = folder / "processes.txt"
    seen.touch()
    config = base_config(upstream)
    for model, provider in zip(
        MODELS[1:], ("anthropic", "gemini", "cohere_chat", "ollama_chat", "bedrock"), strict=True
    ):
        extra = {"aws_region_name": "eu-west-1"} if provider == "bedrock" else {}
        config["model_list"].append(deployment(model, upstream, "gpt-4o", model="a-model", provider=provider, **extra))
    environment = {"PYTHONPATH": str(folder), "WATCHED_PROCESSES": str(seen)}
    with running(config, environment=environment) as gateway:
        yield gateway, seen


def fields_of(canary: Canary) -> list[dict[str, Any]]:
    """Everything in a request that somebody could take for an address to fetch."""
    url = f"http://127.0.0.1:{canary.port}/x.png"
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image_url", "image_url": url},
        {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}},
        {"type": "file", "file": {"file_data": url, "filename": "x.pdf"}},
        {"type": "file", "file": {"file_id": url}},
        {"type": "video_url", "video_url": {"url": url}},
        {"type": "image", "source": {"type": "url", "url": url}},
        {"type": "document", "source": {"type": "url", "url": url}},
        {"type": "input_image", "image_url": url},
        {"type": "input_file", "file_url": url},
    ]
    tools = [
        {"type": "mcp", "server_url": url, "server_label": "x"},
        {"type": "function", "function": {"name": "f", "parameters": {"$ref": url}}},
        {"type": "web_search", "url": url},
    ]
    formats = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": url, "$schema": url}}}
    asks = [{"content": [part, {"type": "text", "text": "what is it?"}]} for part in parts]
    asks += [{"content": url, "tools": [tool]} for tool in tools]
    asks += [{"content": url, "response_format": formats}]
    names = ("api_base", "base_url", "webhook", "callback_url", "proxy", "custom_llm_provider", "extra_body")
    return [*asks, *({"content": "hi", name: url} for name in names)]


def test_no_address_in_a_request_is_ever_fetched(watched: tuple[Gateway, Path], canary: Canary) -> None:
    gateway, _ = watched
    answered = 0
    for path, key in (("/v1/chat/completions", "messages"), ("/v1/messages", "messages"), ("/v1/responses", "input")):
        for ask in fields_of(canary):
            fields = dict(ask)
            content = fields.pop("content")
            for model in MODELS if path.endswith("completions") else MODELS[:2]:
                body = {"model": model, "max_tokens": 5, key: [{"role": "user", "content": content}], **fields}
                reply = gateway.request("POST", path, body)
                assert reply.status in (200, 400, 403, 404, 502), (path, body)
                answered += reply.status == 200
    assert answered > 20, "most of them are somebody's to answer"
    assert canary.visits == []


def test_no_endpoint_starts_a_process_or_calls_anybody(watched: tuple[Gateway, Path], canary: Canary) -> None:
    """CVE-2026-42271 was a test endpoint that ran what it was told to."""
    gateway, seen = watched
    assert f"watched {gateway.process.pid}" in seen.read_text().splitlines()
    url = f"http://127.0.0.1:{canary.port}/"
    wishes = {
        "command": "touch", "args": ["/tmp/x"], "cmd": "id", "shell": True, "script": "import os; os.system('id')",
        "code": "__import__('os').system('id')", "mcp_servers": {"x": {"command": "id", "url": url}}, "url": url,
        "webhook_url": url, "api_base": url, "callback": url, "path": "/etc/passwd", "file": "/etc/passwd",
        "transport": "stdio",
    }  # fmt: skip
    asked = {
        "model": "gpt-4o", "model_name": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "input": "hello",
        "prompt": "hello", "args": ["-c", "id"], "env": {"PATH": "/tmp"}, "litellm_params": {"command": "id"},
        "tools": [{"type": "mcp", "server_label": "one", "command": "id"}], "guardrails": ["$(id)"], "key": "`id`",
    }  # fmt: skip
    bodies = [json.dumps(fields).encode() for fields in (wishes, {}, {**wishes, **asked})]
    statuses: dict[int, int] = {}
    for path, endpoint in endpoints.every():
        for method in dict.fromkeys((*endpoint.methods, "DELETE", "PATCH")):
            if method == "HEAD" or path in FILES_TAKEN:
                continue
            for who, body in [(key, None if method == "GET" else body) for key in (MASTER_KEY, TEAM_KEY)
                              for body in (bodies[:1] if method == "GET" else bodies)]:  # fmt: skip
                target = path.replace("{}", "gpt-4o" if body is bodies[2] else "$(id)")
                query = f"?command=id&url={url}" if method == "GET" else ""
                try:
                    reply = gateway.request(method, target + query, body, key=who, timeout_s=3)
                except TimeoutError:
                    continue  # a stream of events that goes on
                statuses[reply.status] = statuses.get(reply.status, 0) + 1
                assert reply.status < 500 or reply.status in (501, 502, 503), (method, target, body, reply)
    assert statuses.get(200, 0) > 50, statuses
    begun = [line for line in seen.read_text().splitlines() if not line.startswith("watched ")]
    assert begun, "the store's own process begins with the first who needs it"
    assert all("'-m', 'routewright.keeper'" in line for line in begun), begun
    assert canary.visits == []
