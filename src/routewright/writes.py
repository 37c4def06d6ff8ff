"""Writes of one turn of the event loop, made together at its end.

A peer that sleeps is woken by every write that finds it asleep, and waking it is the dearest part of a small write.
Made one after the other, the second write mostly finds it awake. Several pieces for one peer also become one write.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Writer(Protocol):
    """Has bytes to send."""

    def write_now(self) -> None:
        """Hand what has come together to the transport."""


class Writes:
    """The writers of this turn, each once, in the order in which they came."""

    __slots__ = ("_writers",)

    def __init__(self) -> None:
        self._writers: list[Writer] = []

    def add(self, writer: Writer) -> None:
        """Call `writer.write_now` when the callbacks that are due now have run."""
        if not self._writers:
            asyncio.get_running_loop().call_soon(self.flush)
        self._writers.append(writer)

    def flush(self) -> None:
        """Write now what was to be written at the turn's end."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.write_now()
