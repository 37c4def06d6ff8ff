"""The LiteLLM SDK's process while a successor takes over: nothing is refused, no stream is cut, one process is left."""

from __future__ import annotations

import threading
from typing import Any

import psutil

from harness import dialect
from harness.clients import clients_python
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Send, Until, Upstream
from harness.wire import Wire, request_bytes


def bridges(folder: str) -> list[psutil.Process]:
    """Of this gateway, whichever process started them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if any(part.endswith("bridge.py") for part in line) and any(part.startswith(folder) for part in line):
            found.append(process)
    return found


def test_calls_of_the_sdk_go_on_over_a_hand_over(upstream: Upstream) -> None:
    heroku: dict[str, Any] = {"provider": "heroku", "model": "claude-x"}
    config = base_config(upstream, router_settings={"num_retries": 0, "disable_cooldowns": True})
    config["model_list"] += [deployment(name, upstream, name, **heroku) for name in ("handed", "handed-slow")]
    told = threading.Event()
    packets = dialect.chunked_stream(dialect.chat_events(["Hello", " there"]))
    upstream["handed-slow"].plays(Send(b"".join(packets[:3])), Until(told), Send(b"".join(packets[3:])))
    with running(config, environment={"ROUTEWRIGHT_LITELLM_PYTHON": clients_python()}) as gateway:
        assert gateway.chat("handed", timeout_s=100).status == 200
        data = str(gateway.data_dir)
        [first] = bridges(data)
        with Wire(gateway.port, timeout_s=100) as slow:
            body = {"model": "handed-slow", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            slow.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=dialect.to_json(body)))
            eventually(lambda: b"Hello" in slow.receive())

            statuses: list[int] = []
            is_over = threading.Event()
            asking = threading.Thread(target=ask, args=(gateway, statuses, is_over))
            asking.start()
            try:
                gateway.hand_over()
                eventually(lambda: any(each.pid != first.pid for each in bridges(data)))
                asked = len(statuses)
                eventually(lambda: len(statuses) >= asked + 3, within_s=30, what="calls after it")
                assert first.is_running()  # the stream is not over
                told.set()
                assert b"there" in slow.reply().body
                eventually(lambda: len(bridges(data)) == 1, within_s=30, what="one process")
                asked = len(statuses)
                eventually(lambda: len(statuses) >= asked + 3, what="calls of the second alone")
            finally:
                is_over.set()
                asking.join(60)
        assert set(statuses) == {200}
        assert bridges(data)[0].pid != first.pid
    eventually(lambda: not bridges(data), what="no process is left")


def ask(gateway: Gateway, statuses: list[int], is_over: threading.Event) -> None:
    while not is_over.is_set():
        statuses.append(gateway.chat("handed", timeout_s=30).status)
        is_over.wait(0.1)
