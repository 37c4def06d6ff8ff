"""A form on its way: its fields are read, its files go by, and its boundary is ours."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from pathlib import Path

from routewright.carriage.onward import Onward
from routewright.errors import InvalidRequest
from routewright.server.upload import Upload
from routewright.wire.multipart import MAX_FIELD_BYTES, MAX_FIELDS_BYTES, MultipartReader, Part


class OnwardForm(Onward):
    """What forms of all kinds have in common; what becomes of a field or a file is each kind's own matter."""

    def __init__(self, upload: Upload, boundary: bytes, folder: Path) -> None:
        super().__init__(upload, folder)
        # Never the client's: what it wrote can't hold this one, so no part begins or ends where another reader of
        # forms would see a boundary and ours does not.
        self.boundary = b"routewright-%b" % secrets.token_hex(16).encode("ascii")
        self._reader = MultipartReader(boundary, self._on_part, self._on_data, self._on_end)
        self._part = Part("", None, b"")
        self._value: list[bytes] = []
        self._field_bytes = 0
        self.fields: dict[str, list[str]] = {}
        """Of those that are no files, the values in their order."""
        self.file_bytes = 0

    @property
    def content_type(self) -> bytes:
        """The header line of what goes on."""
        return b"content-type: multipart/form-data; boundary=%b\r\n" % self.boundary

    def field(self, name: str) -> str | None:
        """The first value of a field that has come."""
        given = self.fields.get(name)
        return given[0] if given else None

    @abstractmethod
    def _begin_file(self, part: Part) -> None:
        """A file begins. Raises InvalidRequest."""

    @abstractmethod
    def _take_file(self, data: bytes, is_last: bool) -> None:
        """Some of a file's content. Raises GatewayError."""

    @abstractmethod
    def _take_field(self, name: str, value: str) -> None:
        """A field, whole; `fields` has it after. Raises InvalidRequest and its kin."""

    @abstractmethod
    def _take_end(self) -> None:
        """All parts have come. Raises InvalidRequest and its kin."""

    @property
    def _end(self) -> bytes:
        return b"--%b--\r\n" % self.boundary

    def _read(self, data: bytes, is_last: bool) -> None:
        self._reader.feed(data, is_last)

    def _on_part(self, part: Part) -> None:
        self._part, self._value = part, []
        if part.file_name is not None:
            self._begin_file(part)

    def _on_data(self, data: bytes, is_last: bool) -> None:
        part = self._part
        if part.file_name is not None:
            self.file_bytes += len(data)
            self._take_file(data, is_last)
            return
        self._value.append(data)
        self._field_bytes += len(data)
        if self._field_bytes > MAX_FIELDS_BYTES or sum(map(len, self._value)) > MAX_FIELD_BYTES:
            raise InvalidRequest("a field of the form is too long", param=part.name)
        if not is_last:
            return
        try:
            value = b"".join(self._value).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidRequest("a field of a form must be text in UTF-8", param=part.name) from None
        self._take_field(part.name, value)

    def _on_end(self) -> None:
        self._take_end()
        self.is_whole = self._is_known = True
