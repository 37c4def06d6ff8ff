"""Many clients at once: each sends one chat request over its own connection, reads, or leaves when told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.gateway import TEAM_KEY
from harness.wire import PATIENCE_S, Reply, parse_reply, request_bytes

T = TypeVar("T")
R = TypeVar("R")


def chat_bytes(model: str, prompt: str, request_id: str, *, key: str = TEAM_KEY, **fields: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}
    headers = {"x-request-id": request_id}
    return request_bytes("POST", "/v1/chat/completions", key=key, body=json.dumps(body).encode(), headers=headers)


@dataclass
class Leaver:
    """A client that goes before it has been told everything."""

    request: bytes
    after_s: float | None = None
    """Leave this long after sending; None: at once."""
    after_bytes: int | None = None
    """Leave once this much of the answer has come."""
    after_text: bytes | None = None
    """Leave once this has come."""
    with_reset: bool = False
    received: bytearray = field(default_factory=bytearray)

    async def go(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(self.request)
            await writer.drain()
            if self.after_s is not None:
                await self._read_for(reader, self.after_s)
            while self._wants_more():
                data = await asyncio.wait_for(reader.read(65536), PATIENCE_S)
                if not data:
                    break
                self.received += data
            if self.with_reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _wants_more(self) -> bool:
        if self.after_text is not None:
            return self.after_text not in self.received
        return self.after_bytes is not None and len(self.received) < self.after_bytes

    async def _read_for(self, reader: asyncio.StreamReader, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while data := await reader.read(65536):
                    self.received += data
        except (TimeoutError, ConnectionResetError):
            pass


async def ask(port: int, request: bytes) -> Reply:
    """Send a request and read the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        received = b""
        while (parsed := parse_reply(received)) is None:
            data = await asyncio.wait_for(reader.read(65536), PATIENCE_S)
            if not data:
                raise AssertionError(f"closed inside an answer: {received[-300:]!r}")
            received += data
        return parsed[0]
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def side_by_side(work: Callable[[T], Awaitable[R]], items: Iterable[T], *, at_once: int = 64) -> list[R]:
    """The results in order; no more than `at_once` under way."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: T) -> R:
        async with gate:
            return await work(item)

    return await asyncio.gather(*map(one, items))
