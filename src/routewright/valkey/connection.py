"""One connection to a Valkey or Redis server: commands go out together, their answers come by callback.

Of redis-py only the import costs a worker 22 MB and more than half a second, and each command a task; hiredis's reader
and packer cost neither, and what is left is short. RESP2.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

Command = tuple[Any, ...]
"""Texts, bytes and whole numbers."""
Replies = list[Any]
"""An answer is an int, bytes, None, a list of these, or a `ReplyError`."""
ReplyError = hiredis.ReplyError
_NOTHING = object()


class ValkeyLost(Exception):
    """The server can't be reached, or refuses us."""


class Valkey(asyncio.Protocol):
    """A connection, from `connect` on; a broken one is replaced by whoever made it."""

    def __init__(self, on_lost: Callable[[], None] | None = None) -> None:
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waiting: deque[tuple[int, Callable[[Replies | None], None]]] = deque()
        self._replies: Replies = []
        self._transport: asyncio.Transport | None = None
        self.answers = 0
        """How many have come."""
        self.on_message: Callable[[bytes], None] | None = None
        """Called with what others publish, once `subscribe` was called; no commands after that."""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, commands: Sequence[Command], then: Callable[[Replies | None], None]) -> None:
        """`then` gets the answers in order; None where the connection broke before the last of them."""
        transport = self._transport
        if transport is None or transport.is_closing():
            then(None)
            return
        self._waiting.append((len(commands), then))
        transport.write(b"".join([hiredis.pack_command(command) for command in commands]))

    async def ask(self, *commands: Command) -> Replies:
        """The answers. Raises ValkeyLost where there is none, or where one is an error."""
        answer: asyncio.Future[Replies | None] = asyncio.get_running_loop().create_future()
        self.send(commands, lambda replies: None if answer.done() else answer.set_result(replies))
        replies = await answer
        if replies is None:
            raise ValkeyLost("the connection broke")
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise ValkeyLost(str(reply))
        return replies

    async def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> None:
        """Hear what is published from now on. Raises ValkeyLost."""
        await self.ask(("SUBSCRIBE", channel))
        self.on_message = on_message

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio calls ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its shape only

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                self._take(reply)
        except hiredis.ProtocolError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        for _, then in waiting:
            then(None)
        if self._on_lost is not None:
            self._on_lost()

    def _take(self, reply: Any) -> None:
        if not self._waiting:
            if self.on_message is not None and isinstance(reply, list) and reply[0] == b"message":
                self.on_message(reply[2])
            return
        self.answers += 1
        self._replies.append(reply)
        count, then = self._waiting[0]
        if len(self._replies) == count:
            self._waiting.popleft()
            replies, self._replies = self._replies, []
            then(replies)
