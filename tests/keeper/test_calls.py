"""Stores' processes call one another over a Valkey, through its death and return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.valkey import ValkeyServer
from routewright.keeper.calls import Calls
from routewright.settings import ValkeySettings


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_true():  # noqa: ASYNC110 - what is waited for comes from outside
            await asyncio.sleep(0.01)


def test_a_call_is_heard_by_every_other_also_after_the_server_was_gone() -> None:
    """R31."""
    server = ValkeyServer()
    heard: list[str] = []

    async def scenario() -> None:
        settings = ValkeySettings(host="127.0.0.1", port=server.port)
        made = {name: Calls(settings, lambda name=name: heard.append(name)) for name in ("one", "other")}
        tasks = [asyncio.create_task(each.run()) for each in made.values()]
        try:
            await until(lambda: set(heard) == {"one", "other"})  # each looks once it listens
            heard.clear()
            made["one"].call()
            await until(lambda: "other" in heard)
            server.kill()
            heard.clear()
            await asyncio.sleep(0.1)
            made["one"].call()  # nobody hears it, and nobody waits
            server.start()
            await until(lambda: {"one", "other"} <= set(heard))  # what was missed is looked for
            heard.clear()
            made["other"].call()
            await until(lambda: "one" in heard)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    try:
        asyncio.run(scenario())
    finally:
        server.close()
