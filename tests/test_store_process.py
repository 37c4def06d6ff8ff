"""The store's process is started by whoever needs it first, whichever worker that is, and by one alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.gateway import eventually
from harness.wire import PATIENCE_S
from routewright.storage import KeeperSettings, Storage
from routewright.store_process import StoreProcess, take_lock, wait_until_ended


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[StoreProcess]]:
    """As in three workers of one gateway."""
    made = [StoreProcess(tmp_path / "run") for _ in range(3)]
    yield made
    for each in made:
        each.let_go()
        each.wait()
    wait_until_ended(tmp_path / "run")


def settings(tmp_path: Path) -> bytes:
    return msgspec.json.encode(KeeperSettings(data_dir=str(tmp_path)))


def test_worker_that_needs_it_waits_for_no_other_to_start_it(workers: list[StoreProcess], tmp_path: Path) -> None:
    """The others may have no use for it."""
    assert workers[2].start(settings(tmp_path))


def test_one_starts_it_until_it_is_there_or_that_one_has_gone(workers: list[StoreProcess], tmp_path: Path) -> None:
    first, second, third = workers
    assert first.start(settings(tmp_path))
    assert not second.start(settings(tmp_path))
    assert not first.start(settings(tmp_path))
    first.let_go()
    assert second.start(settings(tmp_path))
    assert not third.start(settings(tmp_path))
    second.is_there()
    assert third.start(settings(tmp_path)), "it has ended meanwhile, and the third noticed first"


@pytest.mark.parametrize("said", [b"", b'{"data_dir": '])
def test_process_whose_worker_died_over_its_start_ends_without_a_word(tmp_path: Path, said: bytes) -> None:
    command = [sys.executable, "-m", "routewright.keeper", str(tmp_path)]
    ended = subprocess.run(command, input=said, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_what_can_not_be_started_now_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A disk or a table of descriptors that is full ends no worker's line for good."""
    (tmp_path / "run").write_text("in the way")
    worker = StoreProcess(tmp_path / "run")
    assert not worker.start(settings(tmp_path))
    assert "can't be started" in caplog.text
    (tmp_path / "run").unlink()
    eventually(lambda: worker.start(settings(tmp_path)), what="another try")
    worker.let_go()
    worker.wait()


def test_workers_that_need_it_at_once_have_one_between_them(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"

    def keepers() -> list[psutil.Process]:
        return [each for each in psutil.Process().children(recursive=True)
                if each.status() != psutil.STATUS_ZOMBIE and str(run_dir) in each.cmdline()]  # fmt: skip

    async def run() -> None:
        lines = [Storage(KeeperSettings(data_dir=str(tmp_path)), run_dir) for _ in range(4)]
        try:
            await asyncio.gather(*[line.ask("owned_find", ((None, ""), []), timeout_s=PATIENCE_S) for line in lines])
            assert len(keepers()) == 1
            assert take_lock(run_dir) is None
            # When it ends, one of them starts the next.
            keepers()[0].kill()
            await asyncio.gather(*[line.ask("owned_find", ((None, ""), []), timeout_s=PATIENCE_S) for line in lines])
            assert len(keepers()) == 1
        finally:
            for line in lines:
                await line.close()
            for line in lines:
                line.process.wait()

    asyncio.run(run())
    wait_until_ended(run_dir)
    assert not keepers()
