"""Bytes that wait to be sent: a little in memory, more in a file without a name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

MEMORY_BYTES = 256 * 1024
PIECE_BYTES = 64 * 1024


class Held:
    """First in, first out."""

    __slots__ = ("_file", "_folder", "_memory", "_read_at", "_written")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._read_at = 0
        self._written = 0

    def __len__(self) -> int:
        return self._written - self._read_at if self._file is not None else len(self._memory) - self._read_at

    def append(self, data: bytes) -> None:
        """Raises OSError where the disk takes no more."""
        if self._file is None and len(self._memory) + len(data) > MEMORY_BYTES:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by `close`
            self._file.write(self._memory)
            self._written = len(self._memory)
            self._memory = bytearray()
        if self._file is None:
            self._memory += data
        else:
            self._file.seek(self._written)
            self._file.write(data)
            self._written += len(data)

    def read(self) -> bytes:
        """The next piece; empty where there is none."""
        if self._file is None:
            piece = bytes(self._memory[self._read_at : self._read_at + PIECE_BYTES])
        else:
            self._file.seek(self._read_at)
            piece = self._file.read(PIECE_BYTES)
        self._read_at += len(piece)
        return piece

    def rewind(self) -> None:
        """Read it all again."""
        self._read_at = 0

    def close(self) -> None:
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
            self._file, self._written, self._read_at = None, 0, 0
