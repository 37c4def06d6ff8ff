"""A fast stand-in for a model provider: `python bench/mock_upstream.py PORT`.

Chat completions of about 500 bytes; streams of 100 chunks, one every few milliseconds, each in a packet of its own;
and for the model `held` a stream that says one chunk and then nothing until the client leaves. It does no more than
that, so that what is measured is the server in front of it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any

import uvloop

CHUNKS = 100
TICK_S = 0.001
SLOTS = 4
"""A stream's turn comes every so many ticks, so that the streams do not all speak at once."""
WHOLE = json.dumps(
    {
        "id": "chatcmpl-9f2c1b7d4e",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "stand-in-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "The quick brown fox jumps over the lazy dog. " * 4},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 52, "completion_tokens": 40, "total_tokens": 92},
        "system_fingerprint": "fp_0123456789",
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)


def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
    body = {
        "id": "chatcmpl-9f2c1b7d4e",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "stand-in-1",
        "choices": [] if "usage" in more else [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }
    data = b"data: %s\n\n" % json.dumps(body, separators=(",", ":")).encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST = STREAM_HEAD + chunk({"role": "assistant", "content": ""})
WORD = chunk({"content": " word"})
USAGE = {"prompt_tokens": 52, "completion_tokens": 98, "total_tokens": 150}
END = chunk({}, "stop") + chunk({}, usage=USAGE) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Ticker:
    """Sends one chunk to every running stream, again and again."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.slots: list[dict[asyncio.Transport, int]] = [{} for _ in range(SLOTS)]
        self.turn = 0
        self.is_running = False

    def add(self, transport: asyncio.Transport) -> None:
        min(self.slots, key=len)[transport] = CHUNKS - 2
        if not self.is_running:
            self.is_running = True
            self.loop.call_later(TICK_S, self.tick)

    def remove(self, transport: asyncio.Transport) -> None:
        for slot in self.slots:
            slot.pop(transport, None)

    def tick(self) -> None:
        self.turn += 1
        slot = self.slots[self.turn % SLOTS]
        for transport, left in list(slot.items()):
            if left:
                transport.write(WORD)
                slot[transport] = left - 1
            else:
                del slot[transport]
                transport.write(END)
        self.is_running = any(self.slots)
        if self.is_running:
            self.loop.call_later(TICK_S, self.tick)


class Connection(asyncio.Protocol):
    """One request at a time; lengths only, as a gateway or nginx sends them."""

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        self.ticker.remove(self.transport)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer + data if self.buffer else data
        while True:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                break
            head = buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(buffer) < end + 4 + length:
                break
            body = buffer[end + 4 : end + 4 + length]
            buffer = buffer[end + 4 + length :]
            self.answer(body)
        self.buffer = buffer

    def answer(self, body: bytes) -> None:
        if b'"stream":true' in body or b'"stream": true' in body:
            self.transport.write(FIRST)
            if b"held" not in body:
                self.ticker.add(self.transport)
        else:
            self.transport.write(ANSWER)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    ticker = Ticker(loop)
    server = await loop.create_server(lambda: Connection(ticker), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
