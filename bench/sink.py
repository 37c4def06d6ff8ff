"""Takes whatever is posted and answers 200 with nothing, at the least cost: `python bench/sink.py PORT`.

Stands in for a collector or a webhook. `GET /` answers how many bytes have come.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop


class Sink(asyncio.Protocol):
    """One connection; counts bodies without looking at them."""

    taken = 0

    def __init__(self) -> None:
        self.buffer = b""
        self.left = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        while data:
            if self.left:
                self.left, data = max(0, self.left - len(data)), data[self.left :]
                if self.left:
                    return
                self.answer(b"")
                continue
            self.buffer += data
            head, found, data = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self.buffer = b""
            at = head.lower().find(b"\r\ncontent-length:")
            self.left = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            Sink.taken += self.left
            if not self.left:
                self.answer(b"%d" % Sink.taken)

    def answer(self, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
