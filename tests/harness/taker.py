"""A scripted upstream that takes bodies of any length as they come: it keeps their digests, and may be slow to read.

taker["ears"].answers(b'{"text": "hi"}')
taker["ears"].reads(False)          # until told otherwise
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness import dialect

KEPT_BYTES = 1 << 20


@dataclass
class Taken:
    """One request, as far as it has come."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    """Its first megabyte."""
    length: int = 0
    is_whole: bool = False
    was_cut: bool = False
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def path(self) -> str:
        return self.target.split("/", 2)[2]

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def add(self, data: bytes) -> None:
        self.length += len(data)
        self._digest.update(data)
        if len(self.body) < KEPT_BYTES:
            self.body += data[: KEPT_BYTES - len(self.body)]


class Door:
    """What one deployment does, and what it has seen."""

    def __init__(self, name: str, port: int) -> None:
        self.api_base = f"http://127.0.0.1:{port}/{name}/v1"
        self.requests: list[Taken] = []
        self.may_read = threading.Event()
        self.may_read.set()
        self._packets: list[bytes] = [dialect.response(200, b"{}")]
        self.is_early = False
        """Answers before it has read the body."""
        self.cuts_after: int | None = None
        """Bytes of a body after which it breaks off."""

    @property
    def last(self) -> Taken:
        return self.requests[-1]

    def forget(self) -> None:
        self.requests.clear()
        self.may_read.set()
        self.is_early, self.cuts_after = False, None

    def answers(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else dialect.to_json(body)
        self._packets = [dialect.response(status, data, headers)]

    def sends(self, *packets: bytes) -> None:
        """The bytes of a response; an empty piece at the end closes the connection."""
        self._packets = list(packets)


class Taker:
    """The listener and its deployments."""

    def __init__(self) -> None:
        self.port = 0
        self.open_connections = 0
        self._doors: dict[str, Door] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait(30)

    def __getitem__(self, name: str) -> Door:
        if name not in self._doors:
            self._doors[name] = Door(name, self.port)
        return self._doors[name]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=1 << 17)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open_connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self.open_connections -= 1
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        raw = await reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        door = self[target.split("/")[1]]
        taken = Taken(method, target, headers)
        door.requests.append(taken)
        if door.is_early:
            for packet in door._packets:
                writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0.2)
            return False
        try:
            if not await self._body(reader, door, taken):
                return False
        except asyncio.IncompleteReadError:
            taken.was_cut = True
            raise
        taken.is_whole = True
        for packet in door._packets:
            if not packet:
                return False
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0.005)
        return True

    async def _body(self, reader: asyncio.StreamReader, door: Door, taken: Taken) -> bool:
        if taken.headers.get("transfer-encoding") == "chunked":
            while True:
                size = int((await reader.readuntil(b"\r\n"))[:-2], 16)
                if not await self._piece(reader, door, taken, size):
                    return False
                await reader.readexactly(2)
                if not size:
                    return True
        return await self._piece(reader, door, taken, int(taken.headers.get("content-length", 0)))

    async def _piece(self, reader: asyncio.StreamReader, door: Door, taken: Taken, size: int) -> bool:
        while size:
            while not door.may_read.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.01)
            data = await reader.read(min(size, 65536))
            if not data:
                raise asyncio.IncompleteReadError(b"", size)
            taken.add(data)
            size -= len(data)
            if door.cuts_after is not None and taken.length >= door.cuts_after:
                return False
        return True
