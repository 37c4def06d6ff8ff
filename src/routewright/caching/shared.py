"""Answers in a Valkey or Redis, which all workers and replicas share.

A request waits for it 50 ms at most, and not at all while it is away or has been too slow three times in a row: then
nothing is found and nothing kept, and the request goes on to its provider. What lies there and can't be read is passed
over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from routewright.caching.entry import Entry
from routewright.caching.rows import AT_ONCE, Rows
from routewright.caching.similar import Question, Similar
from routewright.flow import Signal
from routewright.settings import ValkeySettings
from routewright.valkey.connection import Command, Replies, Valkey, ValkeyLost
from routewright.valkey.whereabouts import connect

LIMIT_S = 0.05
SLOW_IN_A_ROW = 3
REST_S = 2.0
CATCH_UP_S = 2.0
_SCAN_COUNT = 500
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode
log = logging.getLogger("routewright")


class Shared:
    """Key -> entry, at the other end of one connection, which is made when it is first needed."""

    keeps_questions = True
    name = "redis"

    def __init__(self, settings: ValkeySettings, similar: Similar | None = None, max_rows: int = 0) -> None:
        """`similar`: of this worker, to be kept up with what all of them keep, `max_rows` at most."""
        self._settings = settings
        self._prefix = f"{settings.namespace}:cache:"
        self._rows = None if similar is None else Rows(similar, self._prefix + "questions", max_rows)
        self._valkey: Valkey | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._rests_until_s = 0.0
        self._slow = 0

    async def get(self, key: str) -> Entry | None:
        """What is kept there; None where nothing is, or where it can't be had in time."""
        found: Signal[Replies | None] = Signal()
        handle = asyncio.get_running_loop().call_later(LIMIT_S, self._give_up, found)
        commands: list[Command] = [("GET", self._prefix + key)]
        rows = self._rows
        if rows is not None:
            commands.append(rows.command())
        self._send(commands, found)
        replies = await found
        handle.cancel()
        if not replies:
            return None
        if rows is not None:
            rows.take(replies[1])
            if replies[0] is None:
                rows.similar.forget(key)
        if not isinstance(replies[0], bytes):
            return None
        self._slow = 0
        try:
            entry = _decode(replies[0])
        except (msgspec.DecodeError, RecursionError):
            return None
        return entry if entry.expires_at_s > time.time() else None

    def put(self, key: str, entry: Entry, question: Question | None = None) -> None:
        """Without waiting: an answer that is not kept is asked for again."""
        left_ms = int((entry.expires_at_s - time.time()) * 1000)
        if left_ms > 0:
            commands: list[Command] = [("SET", self._prefix + key, _encode(entry), "PX", left_ms)]
            if self._rows is not None and question is not None:
                commands += self._rows.added(key, question, left_ms)
            self._send(commands, Signal())

    async def delete(self, keys: Iterable[str]) -> int:
        """How many there were. Raises ValkeyLost, TimeoutError."""
        wanted = [self._prefix + key for key in keys]
        return int((await self._ask(("UNLINK", *wanted)))[0]) if wanted else 0

    async def flush(self) -> None:
        """Forget all answers, and nothing else that lies there. Raises ValkeyLost, TimeoutError."""
        cursor: bytes | str = "0"
        while True:
            (found,) = await self._ask(("SCAN", cursor, "MATCH", self._prefix + "*", "COUNT", _SCAN_COUNT))
            cursor, keys = found
            if keys:
                await self._ask(("UNLINK", *keys))
            if cursor == b"0":
                return

    async def ping(self) -> None:
        """Raises ValkeyLost, TimeoutError."""
        await self._ask(("PING",))

    def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._valkey is not None:
            self._valkey.close()

    async def _ask(self, command: Command) -> Replies:
        """For operators, who may wait; in a task of its own."""
        async with asyncio.timeout(5.0):
            if self._valkey is None or not self._valkey.is_open:
                self._valkey = await connect(self._settings)
            return await self._valkey.ask(command)

    def _send(self, commands: list[Command], then: Signal[Replies | None]) -> None:
        if self._rests_until_s > time.monotonic():
            then.set(None)
        elif self._valkey is not None and self._valkey.is_open:
            self._valkey.send(commands, then.set)
        else:
            then.set(None)
            if self._connecting is None:
                self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            valkey = await connect(self._settings)
            await self._catch_up(valkey)
            self._valkey = valkey
            self._slow = 0
        except ValkeyLost as error:
            self._rests_until_s = time.monotonic() + REST_S
            log.warning("the cache's Valkey can't be reached (%s): answers are not kept meanwhile", error)
        finally:
            self._connecting = None

    async def _catch_up(self, valkey: Valkey) -> None:
        """Read the questions that are kept there, before the first look."""
        rows = self._rows
        with suppress(ValkeyLost, TimeoutError):
            async with asyncio.timeout(CATCH_UP_S):
                while rows is not None and rows.take((await valkey.ask(rows.command()))[0]) == AT_ONCE:
                    pass

    def _give_up(self, found: Signal[Replies | None]) -> None:
        if found.is_set:
            return
        self._slow += 1
        if self._slow >= SLOW_IN_A_ROW:
            self._slow = 0
            self._rests_until_s = time.monotonic() + REST_S
            log.warning("the cache's Valkey is too slow: it is not asked for %d s", REST_S)
            if self._valkey is not None:
                self._valkey.close()  # what it still owes would come before what it is asked next
        found.set(None)
