"""Answers on disk: shared by workers, kept over a restart, bounded, and no trouble when the disk is."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.gateway import MASTER_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream
from harness.wire import Reply
from routewright.caching.disk import CHECKED_EVERY, Disk
from routewright.caching.entry import Entry
from routewright.types import Usage

_prompts = (f"What lies there {n}?" for n in itertools.count())


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def entry(clock: Clock, size: int = 100, ttl_s: float = 60.0) -> Entry:
    return Entry(b"x" * size, False, False, clock.now_s, clock.now_s + ttl_s, "d", b"", Usage(1, 2), 3)


def settled(disk: Disk, *then: Any) -> Any:
    """What an awaited look-up gives once all that was begun before is done."""

    async def run() -> list[Any]:
        await disk.ping()
        return [await each() for each in then]

    found = asyncio.run(run())
    return found[0] if len(found) == 1 else found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def disk(tmp_path: Path, clock: Clock) -> Iterator[Disk]:
    made = Disk(tmp_path / "cache", 100_000, clock)
    yield made
    made.close()


def test_what_is_kept_is_found_until_its_time_is_over_and_after_a_restart(
    disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    kept = entry(clock)
    disk.put("a", kept)
    assert settled(disk, lambda: disk.get("a"), lambda: disk.get("b")) == [kept, None]
    other = Disk(tmp_path / "cache", 100_000, clock)
    assert settled(other, lambda: other.get("a")) == kept
    assert settled(disk, lambda: disk.delete(["a", "b"])) == 1
    assert settled(other, lambda: other.get("a")) is None
    disk.put("c", kept)
    clock.now_s += 61
    assert settled(disk, lambda: disk.get("c")) is None
    other.close()
    assert (tmp_path / "cache" / "answers.sqlite3").stat().st_mode & 0o077 == 0


def test_what_was_used_longest_ago_goes_first_and_the_bound_holds(disk: Disk, clock: Clock, tmp_path: Path) -> None:
    async def fill() -> None:
        for number in range(6 * CHECKED_EVERY):
            disk.put(str(number), entry(clock, 1000, ttl_s=1e6))
            clock.now_s += 100
            if number % 10 == 0:
                await disk.ping()
            await disk.get("0")

    asyncio.run(fill())
    assert settled(disk, lambda: disk.get("0"), lambda: disk.get("1"))[0] is not None
    with sqlite3.connect(tmp_path / "cache" / "answers.sqlite3") as file:
        size, oldest = file.execute("SELECT sum(size), min(used_s) FROM answers").fetchone()
    assert size <= 100_000 + CHECKED_EVERY * 1700
    assert oldest > 1000
    disk.put("whale", entry(clock, 200_000))
    assert settled(disk, lambda: disk.get("whale")) is None


def test_rubbish_in_a_row_or_in_the_file_is_passed_over_and_the_file_begun_anew(
    disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "cache" / "answers.sqlite3"
    disk.put("a", entry(clock))
    settled(disk, lambda: disk.get("a"))
    with sqlite3.connect(path) as file:
        file.execute("INSERT OR REPLACE INTO answers VALUES ('a', x'ff00', 10, 1e9, 1000)")
    file.close()
    assert settled(disk, lambda: disk.get("a")) is None
    broken = Disk(tmp_path / "other", 100_000, clock)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "answers.sqlite3").write_bytes(b"no database" * 1000)

    async def use() -> Entry | None:
        assert await broken.get("a") is None  # it is found out, and put away
        broken._rests_until_s = 0.0
        broken.put("a", entry(clock))
        await broken.ping()
        return await broken.get("a")

    assert asyncio.run(use()) == entry(clock)
    broken.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_can_not_be_written_keeps_nothing(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    disk = Disk(tmp_path / "closed" / "cache", 1000, clock)
    assert asyncio.run(disk.get("a")) is None
    disk.close()


def is_hit(reply: Reply) -> bool:
    assert reply.status == 200, reply.body
    return reply.headers.get("x-litellm-cache-hit") == "true"


def asks(gateway: Gateway, prompt: str, **fields: Any) -> bool:
    return is_hit(gateway.chat("gpt-4o", prompt, **fields))


def test_workers_share_it_a_restart_keeps_it_and_a_broken_file_fails_no_request(
    upstream: Upstream, tmp_path: Path
) -> None:
    folder = tmp_path / "answers"
    params = {"type": "disk", "disk_cache_dir": str(folder), "max_disk_mb": 10, "ttl": 300}
    config = base_config(upstream, litellm_settings={"cache": True, "cache_params": params})
    prompt = next(_prompts)
    with running(config, workers=2) as gateway:
        asks(gateway, prompt)
        assert eventually(lambda: all(asks(gateway, prompt, stream=True) for _ in range(6)))
        assert gateway.request("GET", "/cache/ping", key=MASTER_KEY).json["cache_type"] == "disk"
    upstream["gpt-4o"].forget()
    with running(config) as gateway:
        assert eventually(lambda: asks(gateway, prompt))
        key = gateway.chat("gpt-4o", prompt).headers["x-litellm-cache-key"]
        told = gateway.request("POST", "/cache/delete", {"keys": [key]}, key=MASTER_KEY)
        assert told.json["deleted"] == 1
        assert not asks(gateway, prompt)
        assert gateway.request("POST", "/cache/flushall", key=MASTER_KEY).status == 200
        assert not asks(gateway, prompt)
        (folder / "answers.sqlite3").write_bytes(b"rubbish" * 5000)
        for _ in range(3):
            assert gateway.chat("gpt-4o", next(_prompts)).text == "Hello from gpt-4o"
        last = next(_prompts)
        assert eventually(lambda: asks(gateway, last))
