"""HTTP/1.1 chunked coding, read strictly; requests and upstream responses go through the same reader.

Source: RFC 9112, section 7.1. Stricter than the RFC: at most 16 digits a size (leading zeros included), 256 bytes of
extension, 8 KiB of trailers, and framing of no more than 64 KiB plus eight times the data.
"""

from __future__ import annotations

import re

MAX_SIZE_DIGITS = 16
MAX_EXTENSION_BYTES = 256
MAX_LINE_BYTES = MAX_SIZE_DIGITS + MAX_EXTENSION_BYTES
MAX_TRAILER_BYTES = 8 * 1024
FRAMING_ALLOWANCE_BYTES = 64 * 1024
FRAMING_PER_DATA = 8

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_SIZE_LINE_BEGUN = re.compile(rb"[0-9A-Fa-f]{1,16}(?:[ \t]*|[ \t]*;[\t\x20-\x7e\x80-\xff]*)\r?")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")

_SMALL_SIZES = {b"%x" % size: size for size in range(1, 1024)}
"""What a word of an answer takes with all that is around it, as everybody writes it."""

_SIZE, _DATA, _DATA_END, _TRAILERS, _COMPLETE = range(5)


class ChunkError(ValueError):
    """The bytes are not chunked coding as we read it."""


class ChunkedReader:
    """Takes bytes as they come and gives back the data in them.

    `is_complete` turns true with the last chunk's end; `rest` then holds the bytes that came after it.
    """

    __slots__ = ("_data_bytes", "_framing_bytes", "_pending", "_remaining", "_state", "_trailer_bytes", "rest")

    def __init__(self) -> None:
        self._state = _SIZE
        self._remaining = 0
        self._pending = b""
        self._data_bytes = 0
        self._framing_bytes = 0
        self._trailer_bytes = 0
        self.rest = b""

    @property
    def is_complete(self) -> bool:
        return self._state == _COMPLETE

    def feed(self, data: bytes) -> bytes:
        """Return the chunk data in `data`, which may be empty. Raises ChunkError; the connection can't go on then."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        at, end = 0, len(data)
        if self._state == _SIZE and (line_end := data.find(b"\r\n")) >= 0:
            # One chunk and no more, as a server that speaks word by word sends it: nothing has to be put together.
            self._read_size(data[:line_end])
            at = line_end + 2
            if self._state == _DATA and at + self._remaining + 2 == end and data.endswith(b"\r\n"):
                self._state = _SIZE
                self._data_bytes += self._remaining
                self._remaining = 0
                return data[at:-2]
        pieces: list[bytes] = []
        while at < end and self._state != _COMPLETE:
            if self._state == _DATA:
                piece = data[at : at + self._remaining]
                pieces.append(piece)
                at += len(piece)
                self._remaining -= len(piece)
                self._data_bytes += len(piece)
                if not self._remaining:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                if end - at < 2:
                    if data[at] != 13:
                        raise ChunkError("chunk data must be followed by CRLF")
                    break
                if data[at : at + 2] != b"\r\n":
                    raise ChunkError("chunk data must be followed by CRLF")
                at += 2
                self._state = _SIZE
            else:
                line_end = data.find(b"\r\n", at)
                if line_end < 0:
                    self._check_unfinished(data, at)
                    break
                line = data[at:line_end]
                at = line_end + 2
                if self._state == _SIZE:
                    self._read_size(line)
                else:
                    self._read_trailer(line)
        if self._state == _COMPLETE:
            self.rest = data[at:]
        elif at < end:
            self._pending = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_size(self, line: bytes) -> None:
        size = _SMALL_SIZES.get(line)
        if size is None:
            found = _SIZE_LINE.fullmatch(line)
            if found is None or len(line) - found.end(1) > MAX_EXTENSION_BYTES:
                raise ChunkError("chunk size must be 1 to 16 hex digits, with at most 256 bytes of extension")
            size = int(found.group(1), 16)
        self._framing_bytes += len(line) + 4
        if self._framing_bytes > FRAMING_ALLOWANCE_BYTES + FRAMING_PER_DATA * (self._data_bytes + size):
            raise ChunkError("more chunk framing than data")
        self._remaining = size
        self._state = _DATA if size else _TRAILERS

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self._state = _COMPLETE
            return
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > MAX_TRAILER_BYTES:
            raise ChunkError("trailers of more than 8 KiB")
        if _TRAILER_LINE.fullmatch(line) is None:
            raise ChunkError("malformed trailer")

    def _check_unfinished(self, data: bytes, at: int) -> None:
        length = len(data) - at
        if self._state == _SIZE:
            if length > MAX_LINE_BYTES + 1:
                raise ChunkError("chunk size line too long")
            if _SIZE_LINE_BEGUN.fullmatch(data, at) is None:
                raise ChunkError("malformed chunk size")
        elif self._trailer_bytes + length > MAX_TRAILER_BYTES:
            raise ChunkError("trailers of more than 8 KiB")
        elif b"\n" in data[at:]:
            raise ChunkError("malformed trailer")
