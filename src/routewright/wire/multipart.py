"""`multipart/form-data`, read strictly and as it comes: fields whole, files piece by piece.

Source: RFC 7578 and RFC 2046, 5.1. Stricter: the first boundary comes first, a part has a `Content-Disposition` with a
name, every limit below holds, and a transfer encoding of its own is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from routewright.errors import InvalidRequest

MAX_PARTS = 200
MAX_HEAD_BYTES = 8 * 1024
MAX_FIELD_BYTES = 256 * 1024
MAX_FIELDS_BYTES = 1024 * 1024
"""Of all fields that are no files together."""

_TYPE = re.compile(
    rb"multipart/form-data\s*;(?:.*;)?\s*boundary=(?:\"([^\"\r\n]{1,70})\"|([^\s;\"]{1,70}))(?=[\s;]|\Z)", re.IGNORECASE
)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_DISPOSITION = re.compile(rb"form-data\s*(?:;.*)?", re.IGNORECASE)
_NAME = re.compile(rb";\s*name=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]+))", re.IGNORECASE)
_FILE_NAME = re.compile(rb";\s*filename=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]+))", re.IGNORECASE)
_MEDIA_TYPE = re.compile(rb"[!#$&\-^_.+0-9A-Za-z]+/[!#$&\-^_.+0-9A-Za-z]+(?:\s*;\s*[\x20-\x7e]*)?")


@dataclass(frozen=True, slots=True)
class Part:
    """The head of one part."""

    name: str
    file_name: bytes | None
    """As it came, quoted characters and all; None: a field and no file."""
    media_type: bytes


def boundary_of(content_type: bytes) -> bytes:
    """Raises InvalidRequest where a body of this media type is no form."""
    found = _TYPE.match(content_type)
    boundary = (found[1] or found[2]) if found is not None else b""
    if not boundary or _BOUNDARY.fullmatch(boundary) is None:
        raise InvalidRequest("expected Content-Type multipart/form-data with a boundary")
    return boundary


_START, _HEAD, _DATA, _AFTER, _END = range(5)


class MultipartReader:
    """Calls `on_part`, `on_data` (pieces of a part, the last one marked) and `on_end` as the body comes."""

    __slots__ = ("_boundary", "_delimiter", "_on_data", "_on_end", "_on_part", "_parts", "_pending", "_state")

    def __init__(
        self,
        boundary: bytes,
        on_part: Callable[[Part], None],
        on_data: Callable[[bytes, bool], None],
        on_end: Callable[[], None],
    ) -> None:
        self._boundary = b"--" + boundary
        self._delimiter = b"\r\n--" + boundary
        self._on_part, self._on_data, self._on_end = on_part, on_data, on_end
        self._state = _START
        self._pending = b""
        self._parts = 0

    def feed(self, data: bytes, is_last: bool) -> None:
        """Raises InvalidRequest for what is no form; nothing can be read after it."""
        if self._state == _END:
            return  # an epilogue, which nobody reads
        data = self._pending + data if self._pending else data
        self._pending = b""
        while data and self._state != _END:
            state = self._state
            if state == _DATA:
                rest = self._read_data(data)
            elif state == _HEAD:
                rest = self._read_head(data)
            elif state == _START:
                rest = self._read_start(data)
            else:
                rest = self._read_after(data)
            if rest is None:
                break
            data = rest
        if is_last and self._state != _END:
            raise InvalidRequest("the form ends before its last boundary")

    def _read_start(self, data: bytes) -> bytes | None:
        boundary = self._boundary
        if len(data) < len(boundary):
            if not boundary.startswith(data):
                raise InvalidRequest("the form does not begin with its boundary")
            self._pending = data
            return None
        if not data.startswith(boundary):
            raise InvalidRequest("the form does not begin with its boundary")
        self._state = _AFTER
        return data[len(boundary) :]

    def _read_after(self, data: bytes) -> bytes | None:
        if len(data) < 2:
            self._pending = data
            return None
        if data.startswith(b"--"):
            self._state = _END
            self._on_end()
            return b""
        if not data.startswith(b"\r\n"):
            raise InvalidRequest("a boundary of the form is followed by something else")
        self._state = _HEAD
        return data[2:]

    def _read_head(self, data: bytes) -> bytes | None:
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD_BYTES:
            if len(data) > MAX_HEAD_BYTES:
                raise InvalidRequest(f"the head of a part has more than {MAX_HEAD_BYTES} bytes")
            self._pending = data
            return None
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidRequest(f"the form has more than {MAX_PARTS} parts")
        self._on_part(_part(data[:end]))
        self._state = _DATA
        return data[end + 4 :]

    def _read_data(self, data: bytes) -> bytes | None:
        delimiter = self._delimiter
        end = data.find(delimiter)
        if end >= 0:
            self._on_data(data[:end], True)
            self._state = _AFTER
            return data[end + len(delimiter) :]
        # What may be the beginning of the delimiter waits.
        keep = data.rfind(b"\r", max(0, len(data) - len(delimiter) + 1))
        while keep >= 0 and not delimiter.startswith(data[keep:]):
            keep = data.find(b"\r", keep + 1)
        if keep < 0:
            self._on_data(data, False)
            return None
        if keep:
            self._on_data(data[:keep], False)
        self._pending = data[keep:]
        return None


def _part(head: bytes) -> Part:
    disposition = media_type = b""
    for line in head.split(b"\r\n"):
        found = _HEADER.fullmatch(line)
        if found is None:
            raise InvalidRequest("the head of a part is malformed")
        name, value = found[1].lower(), found[2]
        if name == b"content-disposition":
            if disposition:
                raise InvalidRequest("a part has two dispositions")
            disposition = value
        elif name == b"content-type":
            media_type = value
        elif name == b"content-transfer-encoding" and value.lower() not in (b"binary", b"8bit", b"7bit"):
            raise InvalidRequest("a part with a transfer encoding of its own is not taken")
    if _DISPOSITION.fullmatch(disposition) is None:
        raise InvalidRequest("a part of the form has no name")
    named = _NAME.search(disposition)
    if named is None:
        raise InvalidRequest("a part of the form has no name")
    file = _FILE_NAME.search(disposition)
    raw = named[1] if named[1] is not None else named[2]
    name_text = raw.decode("utf-8", "replace")
    if not name_text or len(name_text) > 256 or not name_text.isprintable():
        raise InvalidRequest("the name of a part must be 1 to 256 printable characters")
    file_name = None if file is None else (file[1] if file[1] is not None else file[2])
    return Part(name_text, file_name, media_type if _MEDIA_TYPE.fullmatch(media_type) else b"")


def part_head(boundary: bytes, part: Part) -> bytes:
    """A part's head as it goes on, the boundary before it included."""
    name = part.name.replace("\\", "\\\\").replace('"', "%22").encode()
    lines = b'--%b\r\nContent-Disposition: form-data; name="%b"' % (boundary, name)
    if part.file_name is not None:
        lines += b'; filename="%b"' % part.file_name.replace(b"\\", b"").replace(b'"', b"%22")
    if part.media_type:
        lines += b"\r\nContent-Type: " + part.media_type
    return lines + b"\r\n\r\n"


def field_part(boundary: bytes, name: str, value: str) -> bytes:
    """A field that is no file, whole."""
    return part_head(boundary, Part(name, None, b"")) + value.encode() + b"\r\n"
