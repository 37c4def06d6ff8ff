"""A store's process that takes questions and says nothing: who asks does not wait for it as for one that is slow."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from routewright import storage as module
from routewright.errors import StorageUnavailable
from routewright.storage import KeeperSettings, Storage, Touch, Welcome, frame, read_frame, socket_path


def test_process_that_falls_silent_is_away_until_it_speaks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """F27: its socket is open and takes all that is written to it."""
    monkeypatch.setattr(module, "SILENT_S", 0.2)
    monkeypatch.setattr(module, "SILENT_TIMEOUT_S", 0.05)
    settings = KeeperSettings(data_dir=str(tmp_path))
    speaks = asyncio.Event()

    async def process(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_frame(reader)
        writer.write(frame(Welcome(settings.fingerprint())) + frame(Touch(True)))
        await speaks.wait()
        writer.write(frame(Touch(True)))
        await reader.read()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_unix_server(process, socket_path(tmp_path))
        line = Storage(settings, tmp_path)
        line.run()
        async with asyncio.timeout(10):
            await until(line, is_connected=True)
            await until(line, is_connected=False)
            assert line.is_away
            for _ in range(3):
                with pytest.raises(StorageUnavailable, match="did not answer in time"):
                    await line.ask("grants", timeout_s=60)
            speaks.set()
            await until(line, is_connected=True)
        await line.close()
        server.close()

    async def until(line: Storage, *, is_connected: bool) -> None:
        while line.is_connected != is_connected:
            line.on_tick(time.monotonic())
            await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert caplog.text.count("says nothing any more") == 1
