"""An egress proxy on a loopback socket: takes CONNECT, writes down who asks for what, and fails as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """One request for a connection."""

    line: str
    headers: dict[str, str]


class EgressProxy:
    """`says`: bytes to answer with in place of a connection; `b""` closes, None connects."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[Asked] = []
        self.says: bytes | None = None
        self.hangs = False
        self.heard = bytearray()
        """All that went through towards the other ends."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait(30)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = [writer]
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, opened)
        finally:
            for each in opened:
                each.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, opened: list[asyncio.StreamWriter]) -> None:
        [writer] = opened
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.strip().split("\r\n")
        self.asked.append(Asked(line, {name.lower(): value for name, _, value in (f.partition(": ") for f in fields)}))
        if self.hangs:
            await self._stop.wait()
        if self.says is not None:
            writer.write(self.says)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        host, _, port = line.split()[1].rpartition(":")
        other, out = await asyncio.open_connection(host, int(port))
        opened.append(out)
        # In two packets: an answer is not always whole at once.
        writer.write(b"HTTP/1.1 200 Connection established\r\nvia: ")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"a test\r\n\r\n")
        await asyncio.gather(self._pump(reader, out, keep=True), self._pump(other, writer, keep=False))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if keep:
                    self.heard += data
                writer.write(data)
                await writer.drain()
        writer.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
