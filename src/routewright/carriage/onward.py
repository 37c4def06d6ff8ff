"""A body on its way to whoever takes it: held until it is known who that is, then passed on as it comes.

Where the other end takes no more, the client is not read; where it takes more again, what was held goes first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from routewright.carriage.held import Held
from routewright.errors import GatewayError, Overloaded
from routewright.flow import Signal
from routewright.server.upload import Upload
from routewright.types import Responder


class Gone(Exception):
    """The client has left."""


class Onward(ABC):
    """Reads an `Upload`, and is the `Body` that goes to the provider."""

    def __init__(self, upload: Upload, folder: Path) -> None:
        """`folder`: where it lies until it goes on, if it is long."""
        self._upload = upload
        self._held = Held(folder)
        self._came: list[bytes] = []
        """Of the piece that is being read: what is to go on."""
        self._sink: Callable[[bytes, bool], None] | None = None
        self._sink_failure: Callable[[GatewayError], None] | None = None
        self._is_paused = False
        """Whoever it goes to takes no more for now."""
        self._is_drained = False
        """Nothing is held any more: what comes goes on at once."""
        self.is_kept = False
        """What was held stays there, so that it can go to several."""
        self._is_known = False
        """Enough has come to say where it goes."""
        self.is_whole = False
        """All of it has come."""
        self.error: GatewayError | None = None
        self.ready: Signal[None] = Signal()
        """Enough is known to say where it goes; or all of it has come, or it is no good."""

    @abstractmethod
    def _read(self, data: bytes, is_last: bool) -> None:
        """Look at what comes: `_came` gets what is to go on of it; say when it `_is_known`. Raises GatewayError."""

    def _first(self) -> bytes:
        """What goes before all else, now that it is known where it goes."""
        return b""

    def _made_of(self, came: bytes, is_last: bool) -> bytes:
        """What goes on in place of what has come. Raises GatewayError."""
        return came

    # --- what comes -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read."""
        self._upload.open(self._feed, self._failed)

    async def begin(self, client: Responder) -> None:
        """Read until it is known where it goes. Raises Gone, GatewayError."""
        client.on_gone = lambda: self.ready.set(None)
        self.start()
        await self.ready
        if client.is_gone:
            raise Gone
        client.on_gone = None
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Nobody wants the rest."""
        self._upload.close()
        self._held.close()
        self._sink = self._sink_failure = None

    def _feed(self, data: bytes, is_last: bool) -> None:
        if self.error is not None:
            return
        try:
            self._read(data, is_last)
            came, self._came = b"".join(self._came), []
            if self._is_drained:
                self._send(came)
            elif came:
                self._held.append(came)
        except GatewayError as error:
            self._failed(error)
        except OSError:
            self._failed(Overloaded("there is no room to hold this body until it is known where it goes"))
        else:
            if self._is_known and self._sink is None:
                self._upload.pause()
                self.ready.set(None)  # last, since whoever waits for it may open this at once

    def _failed(self, error: GatewayError) -> None:
        if self.error is None:
            self.error = error
            self._upload.close()
            if self._sink_failure is not None:
                self._sink_failure(error)
            self.ready.set(None)

    # --- what goes: a `Body` --------------------------------------------------------------------------------------

    def rewind(self) -> None:
        """All of it is to go once more, to somebody else. It has come whole, and is kept."""
        self._held.rewind()
        self._sink = self._sink_failure = None
        self._is_paused = self._is_drained = False

    def open(self, on_data: Callable[[bytes, bool], None], on_failure: Callable[[GatewayError], None]) -> None:
        """From now on it goes on; it may have been paused already, by what stands before it."""
        if self.error is not None:
            on_failure(self.error)
            return
        self._sink, self._sink_failure = on_data, on_failure
        first = self._first()
        if first:
            on_data(first, False)
        self._drain()

    def pause(self) -> None:
        self._is_paused = True
        self._upload.pause()

    def resume(self) -> None:
        self._is_paused = False
        self._drain()

    def _drain(self) -> None:
        """Send what was held, as far as it is taken; then read on."""
        try:
            while not self._is_drained and not self._is_paused and self._sink is not None:
                piece = self._held.read()
                if not piece:
                    self._is_drained = True
                    if not self.is_kept:
                        self._held.close()
                self._send(piece)
        except GatewayError as error:
            self._failed(error)
            return
        except OSError:
            self._failed(Overloaded("what was held of this body can't be read"))
            return
        if self._is_drained and not self._is_paused:
            self._upload.resume()

    def _send(self, came: bytes) -> None:
        """The last of it once: whoever takes it may ask for more while it is handed over."""
        sink = self._sink
        if sink is None:
            return
        is_last = self.is_whole and self._is_drained
        out = self._made_of(came, is_last)
        if is_last:
            self._sink = None
        if out or is_last:
            sink(out, is_last)
