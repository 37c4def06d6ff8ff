"""A fast stand-in for a model provider: `python bench/mock_upstream.py PORT`.

Chat completions of about 500 bytes, at `/v1/messages` the same in Anthropic's dialect; streams of 100 chunks, one
every few milliseconds, each in a packet of its own; and for the model `held` a stream that says one chunk and then
nothing until the client leaves. It does no more than that, so that what is measured is the server in front of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections import deque
from typing import Any

import uvloop

CHUNKS = 100
GAP_S = 2e-5
"""Asked for between two chunks; what the system makes of it is nearer to 80 microseconds."""
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


def event(value: dict[str, Any]) -> bytes:
    data = b"event: %s\ndata: %s\n\n" % (value["type"].encode(), json.dumps(value, separators=(",", ":")).encode())
    return b"%x\r\n%s\r\n" % (len(data), data)


MESSAGE: dict[str, Any] = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "stand-in-1",
    "content": [{"type": "text", "text": "The quick brown fox jumps over the lazy dog. " * 4}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 52, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 40},
}
WHOLE_MESSAGE = json.dumps(MESSAGE).encode()
MESSAGE_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(WHOLE_MESSAGE),
    WHOLE_MESSAGE,
)
MESSAGE_DELTA = event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " word"}})
MESSAGE_FIRST = (
    STREAM_HEAD
    + event({"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}})
    + event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    + MESSAGE_DELTA
)
MESSAGE_END = (
    event({"type": "content_block_stop", "index": 0})
    + event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 98}})
    + event({"type": "message_stop"})
    + b"0\r\n\r\n"
)


class Speaker(threading.Thread):
    """Sends the streams their chunks, one chunk to one stream at a time, round and round.

    A thread, since an event loop's timers are no finer than a millisecond: all streams speaking in one burst would be
    cheaper to relay than streams that speak whenever they like.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.streams: deque[tuple[int, int, bytes, bytes]] = deque()
        """File descriptor, the chunks it has still to get, what a chunk is, and the end."""

    def run(self) -> None:
        while True:
            time.sleep(GAP_S)
            try:
                fd, left, word, end = self.streams.popleft()
            except IndexError:
                continue
            try:
                os.write(fd, word if left else end)
            except BlockingIOError:
                self.streams.append((fd, left, word, end))
            except OSError:
                continue  # its client has gone
            else:
                if left:
                    self.streams.append((fd, left - 1, word, end))

    def remove(self, fd: int) -> None:
        self.streams = deque(stream for stream in self.streams.copy() if stream[0] != fd)


class Connection(asyncio.Protocol):
    """One request at a time; lengths only, as a gateway or nginx sends them."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = own.fileno()

    def connection_lost(self, error: Exception | None) -> None:
        self.speaker.remove(self.fd)

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
            self.answer(body, is_messages=head.startswith(b"post /v1/messages"))
        self.buffer = buffer

    def answer(self, body: bytes, *, is_messages: bool) -> None:
        if b'"stream":true' in body or b'"stream": true' in body:
            self.transport.write(MESSAGE_FIRST if is_messages else FIRST)
            if b"held" not in body:
                word, end = (MESSAGE_DELTA, MESSAGE_END) if is_messages else (WORD, END)
                self.speaker.streams.append((self.fd, CHUNKS - 2, word, end))
        else:
            self.transport.write(MESSAGE_ANSWER if is_messages else ANSWER)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    speaker = Speaker()
    speaker.start()
    server = await loop.create_server(lambda: Connection(speaker), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
