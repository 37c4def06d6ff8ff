"""What stands between a client and its server and does as a bad network would: late, silent, cut; or speaks TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Between:
    """A door on loopback that passes bytes on to a port there."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self.delay_s = 0.0
        """What each piece waits for, in each direction."""
        self.is_silent = False
        """Whether bytes are taken and passed on to nobody, with every connection left open."""
        self.lies: tuple[bytes, bytes] | None = None
        """What of the server's words is replaced, by as many bytes."""
        self._open: set[asyncio.StreamWriter] = set()
        self._made: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self._tls))
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for writer in self._made:  # what was left open too
            writer.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))  # they are gone a turn later
        self._loop.close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._made += [writer, back]
        self._open |= {writer, back}
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(to, writer))
        finally:
            self._open -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pieces keep their distances: a delay is added to each, not waited for between them."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                if self.is_silent:
                    continue
                if self.lies is not None:
                    data = data.replace(*self.lies)
                if self.delay_s:
                    loop.call_later(self.delay_s, writer.write, data)
                else:
                    writer.write(data)
        if not self.is_silent:
            writer.close()

    def cut(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(lambda: [writer.close() for writer in list(self._open)])

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)


@contextmanager
def between(target: int, tls: ssl.SSLContext | None = None) -> Iterator[Between]:
    made = Between(target, tls)
    try:
        yield made
    finally:
        made.close()
