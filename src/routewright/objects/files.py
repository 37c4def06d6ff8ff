"""Files on their way to a provider's account, or to several, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from routewright.admission.meters import Reservation
from routewright.carriage.headers import forwarded_lines
from routewright.carriage.line import Carriage
from routewright.carriage.onward import Gone
from routewright.errors import GatewayError, InvalidRequest, UnsupportedField
from routewright.gateway import Gateway
from routewright.objects.asked import targets_in, where
from routewright.objects.batches import Batches
from routewright.objects.exchange import Collected, ContentReading, ObjectReading
from routewright.objects.guarded_lines import GuardedLines
from routewright.objects.lines import BatchLines
from routewright.objects.named import asker
from routewright.objects.places import Places
from routewright.objects.rows import FILE_KIND, Row, link, row_of
from routewright.objects.shelf import Shelf
from routewright.objects.upload import WHERE_FIELDS, FileUpload
from routewright.providers.objects import object_head, serves_objects
from routewright.types import Call, Caller, Deployment, Group, HttpRequest, Outcome, Responder
from routewright.upstream.carrier import Carrier
from routewright.upstream.carry import Sending
from routewright.wire.multipart import boundary_of

MOST_TARGETS = 5
"""Accounts that one file goes to."""


class Files:
    """What is done with a file's content."""

    def __init__(
        self,
        gateway: Gateway,
        carriage: Carriage,
        carrier: Carrier,
        shelf: Shelf,
        batches: Batches,
        places: Callable[[], Places],
        folder: Path,
    ) -> None:
        """`folder`: for what has to lie somewhere until it is known where it goes."""
        self._gateway = gateway
        self._carriage = carriage
        self._carrier = carrier
        self._shelf = shelf
        self._batches = batches
        self._places = places
        self._folder = folder

    async def upload(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        caller = request.caller
        boundary = boundary_of(request.headers.get(b"content-type", b""))
        if request.upload is None:
            raise InvalidRequest("the form is empty")
        await self._shelf.tell("owned_find", (asker(caller), []))  # who can't put it down makes nothing
        targets = targets_in(request)
        model, provider = where(request, {}) if len(targets) < 2 else (None, None)
        places = self._places()

        def read_lines() -> BatchLines:
            return BatchLines(lambda name: places.group_of(name, caller, "files"))

        lines = read_lines()
        around = self._gateway.around
        is_guarded = around.rails is not None or bool(caller.guardrails)
        form = FileUpload(request.upload, boundary, self._folder, lines, waits_for_lines=is_guarded,
                          is_for_several=len(targets) > 1)  # fmt: skip
        try:
            await form.begin(client)
            guarded = GuardedLines(around, lines, request, client)
            if form.is_batch and is_guarded:
                outcome.notes = guarded.notes
                await form.put_lines_through(guarded.check)
                if guarded.names:
                    outcome.fields += guarded.fields
            targets = form.targets or targets
            if len(targets) > 1:
                groups = self._groups(targets, caller, lines.group)
            else:
                given = {name: form.field(name) for name in WHERE_FIELDS if name != "target_model_names"}
                in_form = where(request, {**given, "target_model_names": targets[0] if targets else None})
                groups = [self._group(in_form[0] or model, in_form[1] or provider, caller, lines.group)]
            call = await self._shelf.admit_free(request, client, outcome, reservations, groups[0], "files")
            rows: list[Row] = []
            answer = b""
            for place, group in enumerate(groups):
                if place:
                    form.send_again(read_lines())
                try:
                    reading, body, made = await self._send_file(form, group, call, client, outcome)
                except Gone:
                    return
                except GatewayError:
                    for row in rows:
                        self._batches.undo(row)
                    raise
                about = lines.about() if form.is_batch else None
                if about is not None and guarded.names:
                    about["guardrails"] = sorted(guarded.names)
                assert outcome.deployment is not None
                rows.append(row_of(FILE_KIND, made, body, caller, outcome.deployment, about=about, call=call))
                answer = answer or outcome.fields + reading.fields
            link(rows)
            await self._shelf.put(rows)
            client.hold_response(200, answer, rows[0]["body"].encode())
        finally:
            form.close()

    async def _send_file(
        self, form: FileUpload, group: Group, call: Call, client: Responder, outcome: Outcome
    ) -> tuple[ObjectReading, bytes, dict[str, Any]]:
        """To the first account of a group that takes it. Raises GatewayError, Gone."""
        reading: ObjectReading | None = None

        def prepare(deployment: Deployment) -> Sending:
            nonlocal reading
            _check_serves(deployment)
            form.is_for(deployment)
            reading = ObjectReading(deployment)
            head = object_head(deployment, "POST", "/files") + form.content_type
            return Sending(head + b"transfer-encoding: chunked\r\n\r\n", form, True, reading)

        collected = Collected(client, lambda: not form.is_whole)
        await self._carrier.carry(call, [group], prepare, collected, outcome, is_paid=False)
        if outcome.ended == "client_gone":
            raise Gone
        body, made = collected.object()
        assert reading is not None
        return reading, body, made

    def _groups(self, names: Sequence[str], caller: Caller, of_lines: Group | None) -> list[Group]:
        """Each of several models in whose accounts a file is to lie. Raises InvalidRequest and its kin."""
        if len(names) > MOST_TARGETS:
            raise InvalidRequest(f"a file goes to {MOST_TARGETS} models at most", param="target_model_names")
        groups = [self._places().group_of(name, caller, "files") for name in names]
        if of_lines is not None and all(group is not of_lines for group in groups):
            raise InvalidRequest(
                f'the first line of the file names "{of_lines.name}", which is none of target_model_names',
                param="model",
            )
        return groups

    def _group(self, model: str | None, provider: str | None, caller: Caller, of_lines: Group | None) -> Group:
        """Where a file goes: by the name that was given, by its lines', or to the account that is meant for it."""
        group = self._places().group_of(model, caller, "files") if model is not None else of_lines
        if group is None:
            return self._places().default(provider, caller)
        if of_lines is not None and of_lines is not group:
            raise InvalidRequest(
                f'the file is for "{group.name}", and its first line names "{of_lines.name}"', param="model"
            )
        if provider is not None:
            those = [each for each in group.deployments if each.provider == provider]
            if not those:
                raise InvalidRequest(f'"{group.name}" is not served by "{provider[:64]}"', param="custom_llm_provider")
            group = Group(group.name, group.mode, those)
        return group

    async def content(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        row = await self._shelf.row(request, FILE_KIND)
        deployment = self._places().of(row)
        group = Group(deployment.model_name, "account", [deployment])
        call = await self._shelf.admit_free(request, client, outcome, reservations, group, "file_content")
        forwarded = forwarded_lines(
            request.headers, are_all=False, key_header=self._carriage.key_header, whose=request.caller.key_hash
        )

        def prepare(_: Deployment) -> Sending:
            head = object_head(deployment, "GET", f"/files/{row['object_id']}/content")
            return Sending(head + forwarded + b"\r\n", None, False, ContentReading(deployment))

        await self._carrier.carry(call, [group], prepare, client, outcome, is_paid=False)
        of_batch = (row["about"] or {}).get("batch")
        if of_batch is not None and outcome.ended == "complete":
            self._batches.look_at(of_batch)


def _check_serves(deployment: Deployment) -> None:
    if not serves_objects(deployment):
        raise UnsupportedField("the provider of this model takes no files", param="model")
