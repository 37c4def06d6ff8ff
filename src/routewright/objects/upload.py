"""A file on its way to a provider: a form of which the file's content goes by, a batch's line by line.

What has to be known of it is what it is for, and for a batch its model. Where that is said before the file, as most
clients do, nothing lies here; else the file does until the form has come whole, without a name on the disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from routewright.carriage.held import Held
from routewright.carriage.onward_form import OnwardForm
from routewright.errors import InvalidRequest, MissingField, Overloaded, RefusedField
from routewright.objects.lines import MAX_LINE_BYTES, BatchLines, too_long
from routewright.server.upload import Upload
from routewright.types import Deployment
from routewright.wire.chat import EXTENSION_FIELDS, REFUSED_FIELDS
from routewright.wire.multipart import Part, field_part, part_head

WHERE_FIELDS = ("model", "target_model_names", "custom_llm_provider")
"""LiteLLM's ways to say which account a file is for."""
_OURS = EXTENSION_FIELDS.union(WHERE_FIELDS)
BATCH = "batch"


def listed_names(text: str) -> list[str]:
    """Of a list with commas, perhaps written as JSON."""
    names = [name.strip(" []\"'") for name in text.split(",")]
    return list(dict.fromkeys([name for name in names if name]))


class FileUpload(OnwardForm):
    """One file, and what is said of it."""

    def __init__(
        self, upload: Upload, boundary: bytes, folder: Path, lines: BatchLines, *, waits_for_lines: bool = False,
        is_for_several: bool = False,
    ) -> None:  # fmt: skip
        """`waits_for_lines`: nothing of a batch's goes before all has come, and `put_lines_through` was called.
        `is_for_several`: it is known before its form that it goes to several accounts, one after the other."""
        super().__init__(upload, boundary, folder)
        self._folder = folder
        self._lines = lines
        self._waits = waits_for_lines
        self.is_kept = is_for_several
        self._file: Part | None = None
        self._deployment: Deployment | None = None
        self._early: list[bytes] = []
        self._late: list[bytes] = []
        """Fields that came before the file, and after it."""

    @property
    def is_batch(self) -> bool:
        return self.field("purpose") == BATCH

    @property
    def targets(self) -> list[str]:
        """Names of models in whose accounts it is to lie."""
        given = [*self.fields.get("target_model_names", ()), *self.fields.get("target_model_names[]", ())]
        return listed_names(",".join(given))

    # --- what comes -----------------------------------------------------------------------------------------------

    def _begin_file(self, part: Part) -> None:
        if part.name != "file" or self._file is not None:
            raise InvalidRequest("the form may hold one file, and it is called file", param=part.name)
        self._file = part
        self.is_kept = self.is_kept or len(self.targets) > 1
        if self.field("purpose") is not None and not self.is_batch and not self.is_kept:
            self._is_known = True

    def _take_file(self, data: bytes, is_last: bool) -> None:
        if self.is_batch and self._lines.group is None and not self._waits and not self.is_kept:
            # Whose model its first line names.
            self._is_known = self._lines.take(data, is_last)
        else:
            self._came.append(data)

    def _take_field(self, name: str, value: str) -> None:
        if name in REFUSED_FIELDS and name not in WHERE_FIELDS:
            raise RefusedField(f"{name} can't be set by a request; the gateway's configuration sets it", param=name)
        plain = name.removesuffix("[]")
        if (name in WHERE_FIELDS or name == "purpose") and name in self.fields:
            raise InvalidRequest(f"{name} is given twice", param=name)
        if self._is_known and (plain in WHERE_FIELDS or name == "purpose"):
            raise InvalidRequest(f"{name} has to stand before the file, or purpose behind it", param=name)
        self.fields.setdefault(name, []).append(value)
        if plain not in _OURS:
            (self._late if self._file is not None else self._early).append(field_part(self.boundary, name, value))

    def _take_end(self) -> None:
        if self._file is None:
            raise MissingField("a file is required", param="file")
        if self.field("purpose") is None:
            raise MissingField("purpose is required", param="purpose")
        if not self.file_bytes:
            raise InvalidRequest("the file is empty", param="file")
        self.is_kept = self.is_kept or len(self.targets) > 1
        if self.is_batch and self._lines.group is None and not self._waits:  # what it is for stood behind it
            self._held.append(b"".join(self._came))
            self._came.clear()
            self._find_group()

    def _find_group(self) -> None:
        while self._lines.group is None and len(self._held):
            piece = self._held.read()
            self._lines.take(piece, not len(self._held))

    async def put_lines_through(self, check: Callable[[bytes, int], Awaitable[bytes]]) -> None:
        """Of a batch that has come whole: each line goes on as `check` gives it back. Raises GatewayError."""
        kept = Held(self._folder)
        rest, number = b"", 0
        try:
            while len(self._held):
                *lines, rest = (rest + self._held.read()).split(b"\n")
                if not len(self._held):
                    lines.append(rest)
                for line in lines:
                    if line := line.strip(b"\r "):
                        number += 1
                        kept.append(await check(line, number) + b"\n")
                if len(rest) > MAX_LINE_BYTES:
                    raise too_long(number + 1)
        except BaseException as error:
            kept.close()
            if isinstance(error, OSError):
                raise Overloaded("there is no room to hold this file until its lines are looked at") from None
            raise
        self._held.close()
        self._held = kept
        self._find_group()

    def send_again(self, lines: BatchLines) -> None:
        """The same to another account; `lines`: to be read from the first of them."""
        self._lines = lines
        self.rewind()

    # --- what goes ------------------------------------------------------------------------------------------------

    def is_for(self, deployment: Deployment) -> None:
        """Whose name of the model a batch's lines are to have."""
        self._deployment = deployment

    def _first(self) -> bytes:
        assert self._file is not None
        return b"".join([*self._early, part_head(self.boundary, self._file)])

    def _made_of(self, came: bytes, is_last: bool) -> bytes:
        if self.is_batch:
            assert self._deployment is not None
            self._lines.take(came, is_last)
            came = self._lines.give(self._deployment)
        if not is_last:
            return came
        if self.is_batch and not self._lines.count:
            raise InvalidRequest("the file has no line", param="file")
        return b"".join([came, b"\r\n", *self._late, self._end])
