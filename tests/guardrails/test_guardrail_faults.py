"""Guardrails that fail in every way a plug-in can: never a 500, never past a guardrail that should have looked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.gateway import Gateway, base_config, eventually, running
from harness.upstream import Upstream
from harness.wire import assert_error

PLUGINS = '''
import os
import time
from routewright.guardrails.contract import Blocked, Guardrail


class Broken(Guardrail):
    """`how`: the way in which it fails."""

    timeout_s = 0.3

    def __init__(self, name, params):
        super().__init__(name, {})
        self.how = params["how"]
        self.is_quick = not self.how.startswith("slow")

    def look(self, seen):
        if self.how == "raises":
            raise RuntimeError("with a secret in its text")
        if self.how == "recurses":
            self.look(seen)
        if self.how == "nothing":
            seen.texts = None
        if self.how == "fewer":
            seen.texts.clear()
        if self.how == "numbers":
            seen.texts[:] = [5 for _ in seen.texts]
        if self.how.startswith("window"):
            return None

    async def look_slowly(self, seen):
        import asyncio
        if self.how == "slow-hangs":
            await asyncio.Event().wait()
        raise OSError("no server")

    def follow(self, seen):
        if self.how == "raises":
            raise RuntimeError("follow")
        if self.how.startswith("window"):
            return Window(self.how)
        return None


class Window:
    def __init__(self, how):
        self.how = how

    def feed(self, text):
        if self.how == "window-raises":
            raise ValueError(text)
        return None if self.how == "window-nothing" else text

    def flush(self):
        if self.how == "window-flush":
            raise ValueError("flush")
        return ""


class Gate(Guardrail):
    """Looks until a file is there."""

    def look(self, seen):
        while not os.path.exists(os.environ["TEST_GATE"]):
            time.sleep(0.01)
'''
HOWS = ("raises", "recurses", "nothing", "fewer", "numbers", "slow-hangs", "slow-raises")
WINDOWS = ("window-raises", "window-nothing", "window-flush")


def rail(name: str, kind: str, mode: str, **params: Any) -> dict[str, Any]:
    return {"guardrail_name": name, "litellm_params": {"guardrail": kind, "mode": mode, **params}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed package with plug-ins."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "broken_rails.py").write_text(PLUGINS)
    info = folder / "broken_rails-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-rails\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[routewright.guardrails]\nbroken = broken_rails:Broken\ngate = broken_rails:Gate\n"
    )
    return folder


@pytest.fixture(scope="module")
def faulty(upstream: Upstream, folder: Path) -> Iterator[Gateway]:
    guardrails = [rail("gate", "gate", "pre_call"), rail("people", "pii", "pre_call")]
    for how in HOWS:
        guardrails += [
            rail(f"before-{how}", "broken", "pre_call", how=how),
            rail(f"before-{how}-open", "broken", "pre_call", how=how, fail_open=True),
        ]
    for how in (*HOWS, *WINDOWS):
        guardrails += [
            rail(f"after-{how}", "broken", "post_call", how=how),
            rail(f"after-{how}-open", "broken", "post_call", how=how, fail_open=True),
        ]
    config = base_config(upstream, guardrails=guardrails, router_settings={"num_retries": 0})
    environment = {"PYTHONPATH": str(folder), "TEST_GATE": str(folder / "open")}
    with running(config, environment=environment) as started:
        yield started


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("how", HOWS)
def test_guardrail_that_fails_before_a_call_closes_or_opens_as_it_is_told(
    faulty: Gateway, upstream: Upstream, how: str, stream: bool
) -> None:
    upstream["gpt-4o"].forget()
    reply = faulty.chat("gpt-4o", "hello", guardrails=[f"before-{how}"], stream=stream)
    assert_error(reply, 503, "guardrail_unavailable")
    assert b"secret" not in reply.body
    assert upstream["gpt-4o"].hits == 0
    reply = faulty.chat("gpt-4o", "hello", guardrails=[f"before-{how}-open"], stream=stream)
    assert reply.text == "Hello from gpt-4o"
    assert upstream["gpt-4o"].last.json["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("how", [*HOWS, *WINDOWS])
def test_guardrail_that_fails_after_a_call_closes_or_opens_as_it_is_told(
    faulty: Gateway, upstream: Upstream, how: str
) -> None:
    upstream["gpt-4o"].forget()
    for stream in (False, True):
        is_fine = how in WINDOWS and not stream
        reply = faulty.chat("gpt-4o", "hello", guardrails=[f"after-{how}"], stream=stream)
        record = faulty.record_of(reply)
        if is_fine:
            assert reply.text == "Hello from gpt-4o"
        else:
            assert reply.status in (200, 503)
            assert b"guardrail_unavailable" in reply.body
            assert b"[DONE]" not in reply.body
            assert record["ended"] == "refused"
        opened = faulty.chat("gpt-4o", "hello", guardrails=[f"after-{how}-open"], stream=stream)
        assert opened.text == "Hello from gpt-4o"


def test_long_text_is_looked_at_while_others_are_answered(faulty: Gateway, upstream: Upstream, folder: Path) -> None:
    upstream["gpt-4o"].forget()
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(faulty.chat, "gpt-4o", "x" * 100_000, guardrails=["gate"])
        for number in range(5):
            assert faulty.chat("gpt-4o", f"meanwhile {number}").text == "Hello from gpt-4o"
        assert not held.done()
        (folder / "open").touch()
        assert held.result().text == "Hello from gpt-4o"


def test_search_of_megabytes_lets_others_through_and_finds_what_is_there(faulty: Gateway, upstream: Upstream) -> None:
    upstream["gpt-4o"].forget()
    prompt = "1 2 lorem ipsum dolor " * 50_000 + "ann@example.com"
    order: list[str] = []
    begun = threading.Event()

    def ask_long() -> None:
        begun.set()
        reply = faulty.chat("gpt-4o", prompt, guardrails=["people"], timeout_s=60)
        order.append("long" if reply.status == 200 else str(reply.status))

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask_long)
        begun.wait()
        eventually(lambda: faulty.chat("gpt-4o", "short").status == 200)
        for _ in range(5):
            faulty.chat("gpt-4o", "short")
            order.append("short")
        future.result()
    assert order[-1] == "long"
    sent = upstream["gpt-4o"].requests[-1].body
    assert sent.count(b"<EMAIL>") == 1
    assert b"ann@" not in sent
