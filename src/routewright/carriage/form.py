"""A form with a file in it on its way to a provider: its fields are read, its files go by.

What has to be known of a form is which model it is for. Most clients say so before the file; where one says so after
it, what comes before lies in a file without a name until then, so that memory stays bounded either way.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from routewright.carriage.held import Held
from routewright.errors import GatewayError, InvalidRequest, Overloaded, RefusedField
from routewright.flow import Signal
from routewright.server.upload import Upload
from routewright.wire.chat import EXTENSION_FIELDS, REFUSED_FIELDS
from routewright.wire.multipart import (
    MAX_FIELD_BYTES,
    MAX_FIELDS_BYTES,
    MultipartReader,
    Part,
    field_part,
    part_head,
)

_OURS = EXTENSION_FIELDS | {"model"}


class Form:
    """Reads an `Upload`, and is the `Body` that goes to the provider."""

    def __init__(self, upload: Upload, boundary: bytes, folder: Path, *, waits_for_all: bool = False) -> None:
        """`waits_for_all`: nothing goes before all has come, since guardrails have to see every field."""
        self._upload = upload
        self.waits_for_all = waits_for_all
        # Never the client's: what it wrote can't hold this one, so no part begins or ends where another reader of
        # forms would see a boundary and ours does not.
        self.boundary = b"routewright-%b" % secrets.token_hex(16).encode("ascii")
        self._reader = MultipartReader(boundary, self._on_part, self._on_data, self._on_end)
        self._held = Held(folder)
        self._part = Part("", None, b"")
        self._value: list[bytes] = []
        self._field_bytes = 0
        self._first: list[tuple[str, str]] = []
        self._sink: Callable[[bytes, bool], None] | None = None
        self._sink_failure: Callable[[GatewayError], None] | None = None
        self._out: list[bytes] = []
        self._is_paused = False
        self._is_drained = False
        self.fields: dict[str, list[str]] = {}
        """Of those that are no files, the values in their order."""
        self.file_bytes = 0
        self.files = 0
        self.is_whole = False
        self.error: GatewayError | None = None
        self.ready: Signal[None] = Signal()
        """Enough is known to say where it goes; or all of it has come, or it is no good."""

    def start(self) -> None:
        self._upload.open(self._feed, self._failed)

    @property
    def model(self) -> str | None:
        given = self.fields.get("model")
        return given[0] if given else None

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
            out, self._out = b"".join(self._out), []
            if self._sink is not None and self._is_drained:
                if out or self.is_whole:
                    self._sink(out, self.is_whole)
            elif out:
                self._held.append(out)
        except GatewayError as error:
            self._failed(error)
            return
        except OSError:
            self._failed(Overloaded("there is no room to hold this form until its model is known"))
            return
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
        self._part = part
        self._value = []
        if part.file_name is not None:
            name = part.name.removesuffix("[]")
            if name in _OURS or name in REFUSED_FIELDS:
                # Some servers take a file without a name for a field.
                raise InvalidRequest("this field of the form can't be a file", param=part.name)
            if not self.files and not self.waits_for_all:
                self._out.append(self._field_parts())
            self.files += 1
            self._out.append(part_head(self.boundary, part))
            if self.model is not None and not self.waits_for_all:
                self.ready.set(None)

    def _on_data(self, data: bytes, is_last: bool) -> None:
        if self._part.file_name is not None:
            self.file_bytes += len(data)
            self._out.append(data)
            if is_last:
                self._out.append(b"\r\n")
            return
        self._value.append(data)
        self._field_bytes += len(data)
        if self._field_bytes > MAX_FIELDS_BYTES or sum(map(len, self._value)) > MAX_FIELD_BYTES:
            raise InvalidRequest("a field of the form is too long", param=self._part.name)
        if is_last:
            self._take_field(self._part.name, b"".join(self._value))

    def _take_field(self, name: str, raw: bytes) -> None:
        if name in REFUSED_FIELDS:
            message = f"{name} can't be set by a request; the gateway's configuration sets it"
            raise RefusedField(message, param=name)
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidRequest("a field of a form must be text in UTF-8", param=name) from None
        self.fields.setdefault(name, []).append(value)
        plain = name.removesuffix("[]")
        if plain not in _OURS:
            if self.files and not self.waits_for_all:
                self._out.append(field_part(self.boundary, name, value))
        elif plain == "guardrails":
            if self.files and not self.waits_for_all:
                raise InvalidRequest("guardrails must stand before the file", param="guardrails")
            self.waits_for_all = True
        elif name == "model":
            if len(self.fields["model"]) > 1:
                raise InvalidRequest("model is given twice", param="model")
            if self.files and not self.waits_for_all:
                self.ready.set(None)

    def _field_parts(self) -> bytes:
        return b"".join(
            [
                field_part(self.boundary, name, value)
                for name, values in self.fields.items()
                if name.removesuffix("[]") not in _OURS
                for value in values
            ]
        )

    def _on_end(self) -> None:
        self.is_whole = True
        self._out.append(b"--%b--\r\n" % self.boundary)
        self.ready.set(None)

    # --- what goes: a `Body` --------------------------------------------------------------------------------------

    def is_for(self, upstream_model: str, defaults: Mapping[str, Any]) -> None:
        """The model's name at the provider, and fields that the deployment fills in where the form has none."""
        simple = (str, int, float)
        more = [
            (name, str(value).lower() if isinstance(value, bool) else str(value))
            for name, value in defaults.items()
            if name not in self.fields and isinstance(value, simple)
        ]
        self._first = [("model", upstream_model), *more]

    def open(self, on_data: Callable[[bytes, bool], None], on_failure: Callable[[GatewayError], None]) -> None:
        if self.error is not None:
            on_failure(self.error)
            return
        self._sink, self._sink_failure = on_data, on_failure
        first = b"".join([field_part(self.boundary, name, value) for name, value in self._first])
        on_data(first + self._field_parts() if self.waits_for_all else first, False)
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
        while not self._is_paused and self._sink is not None:
            piece = self._held.read()
            if not piece:
                self._is_drained = True
                self._held.close()
                if self.is_whole:
                    self._sink(b"", True)
                else:
                    self._upload.resume()
                return
            self._sink(piece, False)
