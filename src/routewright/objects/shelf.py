"""What all calls about objects do: ask the store whose they are, put them down, and let in what is free of charge."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from routewright.admission.meters import Meters, Reservation
from routewright.carriage.line import Carriage
from routewright.errors import MissingField, NotFound, StorageUnavailable
from routewright.objects.batches import Batches
from routewright.objects.named import asker
from routewright.objects.rows import BATCH_KIND, COPY_KIND, FILE_KIND, TUNING_KIND, Row
from routewright.storage import Storage
from routewright.types import Call, Caller, Candidates, Group, HttpRequest, Outcome, Responder
from routewright.wire.chat import read_headers
from routewright.wire.media import metered

ASK_S = 20.0
"""The store's process may have to start first."""
NAMES = {FILE_KIND: "file", BATCH_KIND: "batch", TUNING_KIND: "fine-tuning job"}
MAX_ID = 256


class Shelf:
    """Of one worker."""

    def __init__(self, carriage: Carriage, storage: Storage, batches: Batches) -> None:
        self._carriage = carriage
        self._storage = storage
        self._batches = batches

    async def admit_free(
        self,
        request: HttpRequest,
        client: Responder,
        outcome: Outcome,
        reservations: list[Reservation],
        group: Group,
        endpoint: str,
    ) -> Call:
        """What costs nothing counts against limits alone: who has spent a budget may still fetch what it was for."""
        call = outcome.call = metered(endpoint, {"model": group.name}, None)
        call.prompt_tokens_estimate = call.max_tokens = 0
        read_headers(call, request.headers)
        call.metadata_tags = tuple(dict.fromkeys((*request.caller.tags, *call.metadata_tags)))
        caller = outcome.caller
        meters: Meters | None = caller.limits
        if meters is not None:
            outcome.caller = replace(caller, limits=Meters(meters.limits, (), {}))
        try:
            await self._carriage.admit(call, Candidates((group,)), client, outcome, reservations)
        finally:
            outcome.caller = caller
        return call

    async def row(self, request: HttpRequest, kind: str) -> Row:
        """The object that a path names. Raises NotFound."""
        return await self._find(request.model_in_path or "", kind, request.caller, None)

    async def named(self, body: Mapping[str, Any], field: str, request: HttpRequest, caller: Caller) -> Row:
        """The file that a field names. Raises MissingField, NotFound."""
        value = body.get(field)
        if type(value) is not str or not value:
            raise MissingField(f"{field} is required: the id of a file", param=field)
        return await self._find(value, FILE_KIND, caller, field)

    async def _find(self, object_id: str, kind: str, caller: Caller, field: str | None) -> Row:
        rows: list[Row] = []
        if len(object_id) <= MAX_ID:
            answer = await self.tell("owned_find", (asker(caller), [object_id]))
            rows = msgspec.msgpack.decode(answer, type=list[Row])
        if not rows or rows[0]["kind"] not in ((FILE_KIND, COPY_KIND) if kind == FILE_KIND else (kind,)):
            raise NotFound(f"no {NAMES[kind]} of this id is here", param=field)
        return rows[0]

    async def put(self, rows: list[Row]) -> None:
        try:
            await self.tell("owned_put", rows)
        except StorageUnavailable:
            for row in rows:
                if row is rows[0] or row["kind"] == COPY_KIND:
                    self._batches.undo(row)
            ids = ", ".join(row["object_id"] for row in rows)
            raise StorageUnavailable(
                f"made at the provider as {ids} and not put down as yours, so undone: the store can't be reached"
            ) from None

    async def tell(self, what: str, body: Any) -> msgspec.Raw:
        # In a task of its own: what waits for the store asks for the current task.
        return await asyncio.get_running_loop().create_task(self._storage.ask(what, body, timeout_s=ASK_S))
