"""Guardrails on the input of a batch: each line is looked at as the request that it is, before any of the file goes.

The file lies on the disk meanwhile, so that nothing is sent of one with a line that must not pass. What comes of a
batch passes nobody here, so that where a guardrail looks at answers no batches are made.
"""

from __future__ import annotations

import asyncio
import time

from routewright.around import Around, Visit
from routewright.carriage.onward import Gone
from routewright.errors import GatewayError, PermissionDenied
from routewright.objects.exchange import NoClient
from routewright.objects.lines import BatchLines
from routewright.types import Call, Caller, Candidates, Group, HttpRequest, Notes, Outcome, Responder
from routewright.wire.json import encode

AT_A_TIME_S = 0.005
"""Others have their turn after this much of it."""


class GuardedLines:
    """Of one file."""

    def __init__(self, around: Around, lines: BatchLines, request: HttpRequest, client: Responder) -> None:
        self._around = around
        self._lines = lines
        self._caller: Caller = request.caller
        self._client = client
        # What each line notes is of this one alone: the answer to the upload says it once.
        self._noted = Outcome("batch", request.caller, request.request_id, request.request_id, time.monotonic())
        self._since_s = 0.0
        self.notes = self._noted.notes = Notes()
        """What all of them have found."""
        self.names: set[str] = set()
        """Of the guardrails that have looked at a line."""

    @property
    def fields(self) -> bytes:
        """Header lines that tell their names."""
        return f"x-litellm-applied-guardrails: {','.join(sorted(self.names))}\r\n".encode("latin-1", "replace")

    async def check(self, line: bytes, number: int) -> bytes:
        """A line as guardrails let it pass. Raises GuardrailBlocked and its kin, which name the line; Gone."""
        if self._client.is_gone:
            raise Gone
        now = time.monotonic()
        if now - self._since_s > AT_A_TIME_S:
            await asyncio.sleep(0)
            self._since_s = time.monotonic()
        given, call = self._lines.read(line, number)
        try:
            visit = guards_of(self._around, call, self._caller, self._noted)
            if visit is None:
                return line
            self.names.update(visit.names)
            if await visit.check():
                line = encode({**given, "body": call.body})
        except GatewayError as error:
            error.message = f"line {number} of the file: {error.message}"
            raise
        finally:
            self._noted.fields = b""
        return line


def guards_of(around: Around, call: Call, caller: Caller, outcome: Outcome) -> Visit | None:
    """The guardrails that look at a request in a batch. Raises PermissionDenied where one looks at answers too."""
    visit = around.guards(call, Candidates((Group(call.model, "batch", ()),)), caller, NoClient(), outcome)
    if visit is not None and visit.of_answers:
        raise PermissionDenied(
            f'the guardrail "{visit.of_answers[0]}" looks at answers, and those of a batch do not pass here'
        )
    return visit
