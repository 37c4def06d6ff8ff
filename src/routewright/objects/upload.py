"""A file on its way to a provider: a form of which the file's content goes by, a batch's line by line.

What has to be known of it is what it is for, and for a batch its model. Where that is said before the file, as most
clients do, nothing lies here; else the file does until the form has come whole, without a name on the disk.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from routewright.carriage.held import Held
from routewright.errors import GatewayError, InvalidRequest, MissingField, Overloaded, RefusedField
from routewright.flow import Signal
from routewright.objects.lines import BatchLines
from routewright.server.upload import Upload
from routewright.types import Deployment
from routewright.wire.chat import EXTENSION_FIELDS, REFUSED_FIELDS
from routewright.wire.multipart import MAX_FIELD_BYTES, MAX_FIELDS_BYTES, MultipartReader, Part, field_part, part_head

WHERE_FIELDS = ("model", "target_model_names", "custom_llm_provider")
"""LiteLLM's ways to say which account a file is for."""
_OURS = EXTENSION_FIELDS.union(WHERE_FIELDS)
BATCH = "batch"


class FileUpload:
    """Reads an `Upload`, and is the `Body` that goes to the provider."""

    def __init__(self, upload: Upload, boundary: bytes, folder: Path, lines: BatchLines) -> None:
        self._upload = upload
        self._boundary = b"routewright-%b" % secrets.token_hex(16).encode("ascii")
        self._reader = MultipartReader(boundary, self._on_part, self._on_data, self._on_end)
        self._held = Held(folder)
        self._lines = lines
        self._part = Part("", None, b"")
        self._value: list[bytes] = []
        self._field_bytes = 0
        self._file: Part | None = None
        self._is_file_whole = False
        self._sink: Callable[[bytes, bool], None] | None = None
        self._sink_failure: Callable[[GatewayError], None] | None = None
        self._deployment: Deployment | None = None
        self._is_paused = self._is_drained = False
        self._content = b""
        """Of a file that is no batch's: what has come and not gone yet."""
        self._late: list[bytes] = []
        """Fields that came after the file."""
        self._fields: dict[str, list[str]] = {}
        self._sent_fields: list[bytes] = []
        self.file_bytes = 0
        self.is_whole = False
        self.error: GatewayError | None = None
        self.ready: Signal[None] = Signal()
        """Enough is known to say where it goes; or it is no good."""

    def start(self) -> None:
        self._upload.open(self._feed, self._failed)

    def field(self, name: str) -> str | None:
        """The value of a field that has come."""
        given = self._fields.get(name)
        return given[0] if given else None

    @property
    def is_batch(self) -> bool:
        return self.field("purpose") == BATCH

    @property
    def content_type(self) -> bytes:
        return b"content-type: multipart/form-data; boundary=%b\r\n" % self._boundary

    def close(self) -> None:
        self._upload.close()
        self._held.close()
        self._sink = self._sink_failure = None

    # --- what comes -----------------------------------------------------------------------------------------------

    def _feed(self, data: bytes, is_last: bool) -> None:
        if self.error is not None:
            return
        try:
            self._reader.feed(data, is_last)
            if self._is_drained:
                self._pass_on()
        except GatewayError as error:
            self._failed(error)
        except OSError:
            self._failed(Overloaded("there is no room to hold this file until it is known what it is for"))
        else:
            if self.ready.is_set and self._sink is None:
                self._upload.pause()

    def _failed(self, error: GatewayError) -> None:
        if self.error is None:
            self.error = error
            self._upload.close()
            if self._sink_failure is not None:
                self._sink_failure(error)
            self.ready.set(None)

    def _on_part(self, part: Part) -> None:
        self._part, self._value = part, []
        if part.file_name is None:
            return
        if part.name != "file" or self._file is not None:
            raise InvalidRequest("the form may hold one file, and it is called file", param=part.name)
        self._file = part
        if self.field("purpose") is not None and not self.is_batch:
            self.ready.set(None)

    def _on_data(self, data: bytes, is_last: bool) -> None:
        if self._part.file_name is not None:
            self.file_bytes += len(data)
            self._is_file_whole = is_last
            self._take(data, is_last)
            return
        self._value.append(data)
        self._field_bytes += len(data)
        if self._field_bytes > MAX_FIELDS_BYTES or sum(map(len, self._value)) > MAX_FIELD_BYTES:
            raise InvalidRequest("a field of the form is too long", param=self._part.name)
        if is_last:
            self._take_field(self._part.name, b"".join(self._value))

    def _take(self, data: bytes, is_last: bool) -> None:
        if self._is_drained or (self.is_batch and not len(self._held)):
            self._take_content(data, is_last)
        else:
            self._held.append(data)

    def _take_content(self, data: bytes, is_last: bool) -> None:
        if not self.is_batch:
            self._content += data
            return
        self._lines.take(data, is_last)
        if self._lines.group is not None:
            self.ready.set(None)

    def _take_field(self, name: str, raw: bytes) -> None:
        if name in REFUSED_FIELDS and name not in WHERE_FIELDS:
            raise RefusedField(f"{name} can't be set by a request; the gateway's configuration sets it", param=name)
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidRequest("a field of a form must be text in UTF-8", param=name) from None
        plain = name.removesuffix("[]")
        if (plain in WHERE_FIELDS or name == "purpose") and name in self._fields:
            raise InvalidRequest(f"{name} is given twice", param=name)
        if self.ready.is_set and (plain in WHERE_FIELDS or name == "purpose"):
            raise InvalidRequest(f"{name} has to stand before the file, or purpose behind it", param=name)
        self._fields.setdefault(name, []).append(value)
        if plain not in _OURS:
            (self._late if self._file is not None else self._sent_fields).append(
                field_part(self._boundary, name, value)
            )

    def _on_end(self) -> None:
        if self._file is None:
            raise MissingField("a file is required", param="file")
        if self.field("purpose") is None:
            raise MissingField("purpose is required", param="purpose")
        if not self.file_bytes:
            raise InvalidRequest("the file is empty", param="file")
        self.is_whole = True
        while self.is_batch and self._lines.group is None and len(self._held):  # it lay on the disk until now
            piece = self._held.read()
            self._lines.take(piece, not len(self._held))
        self.ready.set(None)

    # --- what goes: a `Body` --------------------------------------------------------------------------------------

    def is_for(self, deployment: Deployment) -> None:
        """Whose name of the model a batch's lines are to have."""
        self._deployment = deployment

    def open(self, on_data: Callable[[bytes, bool], None], on_failure: Callable[[GatewayError], None]) -> None:
        if self.error is not None:
            on_failure(self.error)
            return
        assert self._file is not None
        self._sink, self._sink_failure = on_data, on_failure
        on_data(b"".join([*self._sent_fields, part_head(self._boundary, self._file)]), False)
        self._drain()

    def pause(self) -> None:
        self._is_paused = True
        self._upload.pause()

    def resume(self) -> None:
        self._is_paused = False
        if self._is_drained:
            self._upload.resume()
        else:
            self._drain()

    def _drain(self) -> None:
        """Send what was held; then what comes goes on at once."""
        try:
            while not self._is_paused and self._sink is not None and not self._is_drained:
                if len(self._held):
                    piece = self._held.read()
                    self._take_content(piece, self._is_file_whole and not len(self._held))
                else:
                    self._is_drained = True
                    self._held.close()
                self._pass_on()
        except GatewayError as error:
            self._failed(error)
            return
        if self._is_drained and not self.is_whole and not self._is_paused:
            self._upload.resume()

    def _pass_on(self) -> None:
        """Hand over what is known of the content by now, and the form's end behind the last of it."""
        if self._sink is None:
            return
        assert self._deployment is not None
        if self.is_batch:
            out = self._lines.give(self._deployment)
        else:
            out, self._content = self._content, b""
        if self.is_whole and self._is_drained:
            if self.is_batch and not self._lines.count:
                raise InvalidRequest("the file has no line", param="file")
            end = b"--%b--\r\n" % self._boundary
            self._sink(b"".join([out, b"\r\n", *self._late, end]), True)
        elif out:
            self._sink(out, False)
