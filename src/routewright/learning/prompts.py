"""Prompts that stay on disk: a million of them would take a gigabyte of memory, and are read a few times."""

from __future__ import annotations

import os
import tempfile
import weakref
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from typing import Final, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from routewright.types import Prompt


class _Line(msgspec.Struct):
    prompt: str
    system: str = ""


_WRITTEN_TOGETHER: Final = 1000
_decode = msgspec.json.Decoder(_Line).decode


class _Rows(Sequence[Prompt]):
    """What a sequence of prompts needs beside its length and one prompt by its number."""

    @abstractmethod
    def _one(self, row: int) -> Prompt: ...

    @overload
    def __getitem__(self, row: int) -> Prompt: ...
    @overload
    def __getitem__(self, row: slice) -> list[Prompt]: ...
    def __getitem__(self, row: int | slice) -> Prompt | list[Prompt]:
        if isinstance(row, slice):
            return [self._one(number) for number in range(*row.indices(len(self)))]
        number = int(row)
        if not -len(self) <= number < len(self):
            raise IndexError(f"no prompt {number} among {len(self)}")
        return self._one(number % len(self))

    def __iter__(self) -> Iterator[Prompt]:
        return map(self._one, range(len(self)))


class StoredPrompts(_Rows):
    """Prompts kept as JSON lines in a file without a name, which goes with the last reference to it."""

    def __init__(self) -> None:
        self._handle, path = tempfile.mkstemp(prefix="routewright-prompts-")
        os.unlink(path)
        weakref.finalize(self, os.close, self._handle)
        self._starts = array("q", [0])
        self._waiting: list[bytes] = []

    def append(self, text: str, system: str = "") -> None:
        """Add a prompt; all are added before the first is read."""
        line = msgspec.json.encode(_Line(text, system))
        self._starts.append(self._starts[-1] + len(line))
        self._waiting.append(line)
        if len(self._waiting) >= _WRITTEN_TOGETHER:
            self.seal()

    def seal(self) -> StoredPrompts:
        """Write what waits to be written: what was added may be read. Raises OSError where the disk is full."""
        data = memoryview(b"".join(self._waiting))
        self._waiting = []
        while data:
            data = data[os.write(self._handle, data) :]
        return self

    def __len__(self) -> int:
        return len(self._starts) - 1

    def _one(self, row: int) -> Prompt:
        start, end = self._starts[row], self._starts[row + 1]
        line = _decode(os.pread(self._handle, end - start, start))
        return Prompt(text=line.prompt, system=line.system)


class PromptRows(_Rows):
    """Some prompts of a longer sequence, in an order of one's own."""

    def __init__(self, prompts: Sequence[Prompt], rows: NDArray[np.int64]) -> None:
        self._prompts = prompts
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def _one(self, row: int) -> Prompt:
        return self._prompts[int(self._rows[row])]
