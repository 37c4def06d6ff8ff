"""A form with a file in it on its way to a provider: its fields are read, its files go by.

What has to be known of a form is which model it is for. Most clients say so before the file; where one says so after
it, what comes before lies in a file without a name until then, so that memory stays bounded either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from routewright.carriage.onward_form import OnwardForm
from routewright.errors import InvalidRequest, RefusedField
from routewright.server.upload import Upload
from routewright.wire.chat import EXTENSION_FIELDS, REFUSED_FIELDS
from routewright.wire.multipart import Part, field_part, part_head

_OURS = EXTENSION_FIELDS | {"model"}


class Form(OnwardForm):
    """A request to a model, as a form."""

    def __init__(self, upload: Upload, boundary: bytes, folder: Path, *, waits_for_all: bool = False) -> None:
        """`waits_for_all`: nothing goes before all has come, since guardrails have to see every field."""
        super().__init__(upload, boundary, folder)
        self.waits_for_all = waits_for_all
        self._given: list[tuple[str, str]] = []
        """Fields that the deployment has its own idea of."""
        self.files = 0

    @property
    def model(self) -> str | None:
        return self.field("model")

    # --- what comes -----------------------------------------------------------------------------------------------

    def _begin_file(self, part: Part) -> None:
        name = part.name.removesuffix("[]")
        if name in _OURS or name in REFUSED_FIELDS:
            # Some servers take a file without a name for a field.
            raise InvalidRequest("this field of the form can't be a file", param=part.name)
        if not self.files and not self.waits_for_all:
            self._came.append(self._field_parts())
        self.files += 1
        self._came.append(part_head(self.boundary, part))
        if self.model is not None and not self.waits_for_all:
            self._is_known = True

    def _take_file(self, data: bytes, is_last: bool) -> None:
        self._came.append(data)
        if is_last:
            self._came.append(b"\r\n")

    def _take_field(self, name: str, value: str) -> None:
        if name in REFUSED_FIELDS:
            message = f"{name} can't be set by a request; the gateway's configuration sets it"
            raise RefusedField(message, param=name)
        self.fields.setdefault(name, []).append(value)
        plain = name.removesuffix("[]")
        if plain not in _OURS:
            if self.files and not self.waits_for_all:
                self._came.append(field_part(self.boundary, name, value))
        elif plain == "guardrails":
            if self.files and not self.waits_for_all:
                raise InvalidRequest("guardrails must stand before the file", param="guardrails")
            self.waits_for_all = True
        elif name == "model":
            if len(self.fields["model"]) > 1:
                raise InvalidRequest("model is given twice", param="model")
            if self.files and not self.waits_for_all:
                self._is_known = True

    def _take_end(self) -> None:
        self._came.append(self._end)

    def _field_parts(self) -> bytes:
        return b"".join(
            [
                field_part(self.boundary, name, value)
                for name, values in self.fields.items()
                if name.removesuffix("[]") not in _OURS
                for value in values
            ]
        )

    # --- what goes ------------------------------------------------------------------------------------------------

    def is_for(self, upstream_model: str, defaults: Mapping[str, Any]) -> None:
        """The model's name at the provider, and fields that the deployment fills in where the form has none."""
        simple = (str, int, float)
        more = [
            (name, str(value).lower() if isinstance(value, bool) else str(value))
            for name, value in defaults.items()
            if name not in self.fields and isinstance(value, simple)
        ]
        self._given = [("model", upstream_model), *more]

    def _first(self) -> bytes:
        given = b"".join([field_part(self.boundary, name, value) for name, value in self._given])
        return given + self._field_parts() if self.waits_for_all else given
