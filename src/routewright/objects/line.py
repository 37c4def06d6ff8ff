"""The calls of `/files`, `/batches` and `/fine_tuning/jobs`: who may see what, where it lies, and what is asked there.

What is made is put down with its owner before its maker has the answer. To all others it does not exist. A batch is
admitted by what its lines may use at most, and holds that much of its owner's budgets until what it used is counted.
Source: OpenAI API reference, "Files", "Batch", "Fine-tuning"; LiteLLM's documentation of the same, for who says where.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from routewright.admission.meters import Meters, Reservation
from routewright.admission.purses import Purses
from routewright.carriage.headers import forwarded_lines, passed_query
from routewright.carriage.line import Carriage, Gone
from routewright.errors import (
    GatewayError,
    InvalidRequest,
    MissingField,
    NotFound,
    PermissionDenied,
    RefusedField,
    StorageUnavailable,
    UnsupportedField,
    UpstreamBadResponse,
    error_body,
    error_headers,
)
from routewright.gateway import Gateway
from routewright.objects.batches import FINAL, BatchCall, Batches
from routewright.objects.exchange import Collected, ContentReading, ObjectReading, batch_nusd
from routewright.objects.guarded_lines import GuardedLines, guards_of
from routewright.objects.lines import BatchLines
from routewright.objects.named import NamedFiles, account_of, asker
from routewright.objects.places import Places
from routewright.objects.rows import (
    BATCH_KIND,
    COPY_KIND,
    FILE_KIND,
    PATHS,
    TUNING_KIND,
    Row,
    copies_of,
    id_in,
    link,
    parts_of,
    row_of,
)
from routewright.objects.upload import WHERE_FIELDS, FileUpload, names_in
from routewright.providers.objects import object_head, serves_objects
from routewright.server.lines import field_lines
from routewright.storage import Storage
from routewright.types import Call, Caller, Candidates, Deployment, Group, HttpRequest, Outcome, Responder
from routewright.upstream.carrier import Carrier
from routewright.upstream.carry import Sending
from routewright.wire.chat import EXTENSION_FIELDS, REFUSED_FIELDS, read_headers
from routewright.wire.json import decode_object, encode
from routewright.wire.media import metered
from routewright.wire.multipart import boundary_of

ASK_S = 20.0
"""The store's process may have to start first."""
MOST_LISTED = {FILE_KIND: (10_000, 10_000), BATCH_KIND: (20, 100), TUNING_KIND: (20, 100)}
"""By kind: how many a list has unless it is asked for less or more, and at most."""
MOST_REFRESHED = 20
"""Batches of one list whose state is asked of the provider; older ones are told as they were seen last."""
LISTS = {"files": FILE_KIND, "batches": BATCH_KIND, "fine_tuning_jobs": TUNING_KIND}
_NAMES = {FILE_KIND: "file", BATCH_KIND: "batch", TUNING_KIND: "fine-tuning job"}
_MAX_ID = 256
MOST_TARGETS = 5
"""Accounts that one file goes to."""
_DROPPED = EXTENSION_FIELDS.union(WHERE_FIELDS)


class Objects:
    """Uses the stations that the gateway uses, and the store beside them."""

    def __init__(
        self,
        gateway: Gateway,
        carriage: Carriage,
        carrier: Carrier,
        purses: Purses,
        storage: Storage,
        batches: Batches,
        named: NamedFiles,
        folder: Path,
    ) -> None:
        """`folder`: for what has to lie somewhere until it is known where it goes."""
        self._gateway = gateway
        self._carriage = carriage
        self._carrier = carrier
        self._purses = purses
        self._storage = storage
        self._batches = batches
        self._named_files = named
        self._folder = folder
        self.places = Places(gateway.catalog, ())

    async def handle(self, request: HttpRequest, client: Responder) -> None:
        """Answer one request."""
        name = request.endpoint.name
        if request.method == "GET" and name in LISTS:
            await self._list(request, client)
            return
        works = {
            "files": self._upload,
            "file_content": self._content,
            "batches": self._create_batch,
            "fine_tuning_jobs": self._create_tuning_job,
        }
        if not request.endpoint.is_carried:
            request.upload = None
        await self._carriage.run(request, client, works.get(name, self._ask_about))

    # --- files ----------------------------------------------------------------------------------------------------

    async def _upload(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        caller = request.caller
        boundary = boundary_of(request.headers.get(b"content-type", b""))
        if request.upload is None:
            raise InvalidRequest("the form is empty")
        await self._tell("owned_find", (asker(caller), []))  # who can't put it down makes nothing
        targets = _targets(request)
        model, provider = _where(request, {}) if len(targets) < 2 else (None, None)
        places = self.places

        def read_lines() -> BatchLines:
            return BatchLines(lambda name: places.group_of(name, caller, "files"))

        lines = read_lines()
        around = self._gateway.around
        is_guarded = around.rails is not None or bool(caller.guardrails)
        form = FileUpload(request.upload, boundary, self._folder, lines, waits_for_lines=is_guarded,
                          is_for_several=len(targets) > 1)  # fmt: skip
        try:
            client.on_gone = lambda: form.ready.set(None)
            form.start()
            await form.ready
            if client.is_gone:
                raise Gone
            client.on_gone = None
            if form.error is not None:
                raise form.error
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
                in_form = _where(request, {**given, "target_model_names": targets[0] if targets else None})
                groups = [self._group(in_form[0] or model, in_form[1] or provider, caller, lines.group)]
            call = await self._admit_free(request, client, outcome, reservations, groups[0], "files")
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
            await self._put(rows)
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
        groups = [self.places.group_of(name, caller, "files") for name in names]
        if of_lines is not None and all(group is not of_lines for group in groups):
            raise InvalidRequest(
                f'the first line of the file names "{of_lines.name}", which is none of target_model_names',
                param="model",
            )
        return groups

    def _group(self, model: str | None, provider: str | None, caller: Caller, of_lines: Group | None) -> Group:
        """Where a file goes: by the name that was given, by its lines', or to the account that is meant for it."""
        group = self.places.group_of(model, caller, "files") if model is not None else of_lines
        if group is None:
            return self.places.default(provider, caller)
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

    async def _content(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        row = await self._row(request, FILE_KIND)
        deployment = self.places.of(row)
        group = Group(deployment.model_name, "account", [deployment])
        call = await self._admit_free(request, client, outcome, reservations, group, "file_content")
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

    # --- batches --------------------------------------------------------------------------------------------------

    async def _create_batch(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        caller = request.caller
        body = _asked(request)
        row = await self._named(body, "input_file_id", request, caller)
        about = row["about"] or {}
        if about.get("copies"):
            row = self._copy_for(row, request)
            body["input_file_id"] = row["object_id"]
        if "lines" not in about:
            raise InvalidRequest("this file was not uploaded here with purpose batch", param="input_file_id")
        deployment = self.places.of(row)
        self.places.group_of(row["model"], caller, "batches")  # whoever may use the file has to have the right now
        for other in await self._named_files.owned(about.get("files", ()), caller) if about.get("files") else ():
            if account_of(self.places.of(other)) != account_of(deployment):
                raise InvalidRequest(
                    f'file "{other["object_id"]}", which its lines name, lies in another account', param="input_file_id"
                )
        group = Group(row["model"], "batch", [deployment])
        call = BatchCall.of(row["model"], about)
        read_headers(call, request.headers)
        call.metadata_tags = tuple(dict.fromkeys((*caller.tags, *call.metadata_tags)))
        outcome.call = call
        visit = guards_of(self._gateway.around, call, caller, outcome)
        unseen = set() if visit is None else set(visit.names).difference(about.get("guardrails", ()))
        if unseen:
            raise PermissionDenied(
                f'the guardrail "{min(unseen)}" has not looked at the lines of this file; upload it again'
            )
        await self._carriage.admit(call, Candidates((group,)), client, outcome, reservations)
        purse = await self._purses.open(deployment, call) if deployment.budgets else None
        held, at_ms = 0, None
        try:
            made, reading, seen = await self._make("/batches", body, deployment, call, client, outcome, is_paid=False)
            new = row_of(BATCH_KIND, made, seen, caller, deployment, about=about, call=call)
            worst = batch_nusd(deployment, call.prompt_tokens_estimate, call.max_tokens or 0)
            new["is_open"], new["held_nusd"] = True, worst
            await self._put([new, *parts_of(new, made)])
            held, at_ms = worst, new["created_at_ms"]
        finally:
            if purse is not None:
                self._purses.close(purse, deployment, held, at_ms)
        # Held by its row from now on: spent as far as budgets are concerned, until it is known what it came to.
        self._gateway.admission.settle(
            reservations.pop(), call.prompt_tokens_estimate + (call.max_tokens or 0), held, deployment=deployment,
            ended_at_ms=at_ms,  # as the row says, so that no question counts it here and there
        )  # fmt: skip
        client.hold_response(200, outcome.fields + reading.fields, seen)

    def _copy_for(self, row: Row, request: HttpRequest) -> Row:
        """A file that lies in several accounts, in the one of the model that a batch is for. Raises InvalidRequest."""
        given = decode_object(request.body)
        named = {name: value for name in WHERE_FIELDS if type(value := given.get(name)) is str}
        model, _ = _where(request, named)
        copies = copies_of(row)
        found = row if model is None else next((copy for copy in copies if copy["model"] == model), None)
        if found is None:
            served = ", ".join([str(copy["model"]) for copy in copies])
            raise InvalidRequest(f"this file was sent to the accounts of {served}; name one of these", param="model")
        return found

    # --- fine-tuning ----------------------------------------------------------------------------------------------

    async def _create_tuning_job(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        caller = request.caller
        given = decode_object(request.body)
        body = _asked(request)
        row = await self._named(body, "training_file", request, caller)
        deployment = self.places.of(row)
        if body.get("validation_file") is not None:
            other = await self._named(body, "validation_file", request, caller)
            if self.places.of(other) is not deployment:
                raise InvalidRequest("this file lies in another account than training_file", param="validation_file")
        model = given.get("model")
        if type(model) is not str or not 0 < len(model) <= _MAX_ID:
            raise MissingField("model is required", param="model")
        body["model"] = self._tuned_model(model, deployment, caller)
        group = Group(deployment.model_name, "account", [deployment])
        call = outcome.call = metered("fine_tuning_jobs", {"model": model}, None)
        call.prompt_tokens_estimate = call.max_tokens = 0
        read_headers(call, request.headers)
        await self._carriage.admit(call, Candidates((group,)), client, outcome, reservations)
        made, reading, seen = await self._make("/fine_tuning/jobs", body, deployment, call, client, outcome)
        outcome.is_priced = False  # its tokens of training have prices that no list here has
        new = row_of(TUNING_KIND, made, seen, caller, deployment, call=call)
        await self._put([new, *parts_of(new, made)])
        client.hold_response(200, outcome.fields + reading.fields, seen)

    def _tuned_model(self, model: str, deployment: Deployment, caller: Caller) -> str:
        """What the provider calls it. A name that is not served here is the provider's own: for keys without a list."""
        if caller.models is not None or self._gateway.catalog.has(model, caller):
            group = self.places.group_of(model, caller, "fine_tuning_jobs")
            same = [each for each in group.deployments if each.provider == deployment.provider]
            if not same:
                raise InvalidRequest(f'"{model}" is not served where training_file lies', param="model")
            return same[0].upstream_model
        return model

    # --- what is there --------------------------------------------------------------------------------------------

    async def _ask_about(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        """GET and DELETE of an object, what is done with it, and what belongs to it."""
        kind, suffix = _asked_of(request)
        row = await self._row(request, kind)
        object_id = row["object_id"]
        deployment = self.places.of(row)
        group = Group(deployment.model_name, "account", [deployment])
        call = await self._admit_free(request, client, outcome, reservations, group, request.endpoint.name)
        query = passed_query(request.query) if suffix in ("/events", "/checkpoints") else ""
        end = b"content-length: 0\r\n\r\n" if request.method == "POST" else b"\r\n"
        reading = ObjectReading(deployment)

        def prepare(_: Deployment) -> Sending:
            head = object_head(deployment, request.method, f"{PATHS[kind]}/{object_id}{suffix}", query)
            return Sending(head + end, None, False, reading)

        collected = Collected(client, lambda: request.method == "GET")
        await self._carrier.carry(call, [group], prepare, collected, outcome, is_paid=False)
        if outcome.ended == "client_gone":
            return
        seen, found = collected.object()
        if request.method == "DELETE":
            for copy in copies_of(row)[1:]:
                self._batches.undo(copy)
                await self._tell("owned_forget", copy["object_id"])
            await self._tell("owned_forget", object_id)
        elif suffix in ("", "/cancel", "/pause", "/resume"):
            await self._saw(row, found, seen)
        client.hold_response(200, outcome.fields + reading.fields, seen)

    async def _saw(self, row: Row, found: Mapping[str, Any], seen: bytes) -> None:
        """What came of it: its output's files are its owner's, and what a batch used is counted once it is over."""
        if id_in(found) != row["object_id"]:
            raise UpstreamBadResponse("the upstream told of another object than it was asked about")
        text = seen.decode("utf-8", "replace")
        if text != row["body"]:
            parts = parts_of(row, found)
            if parts:
                await self._tell("owned_put", parts)
            await self._tell("owned_saw", (row["object_id"], text))
        if row["kind"] == BATCH_KIND and row["is_open"] and found.get("status") in FINAL:
            await self._batches.count(row, found)

    async def _list(self, request: HttpRequest, client: Responder) -> None:
        """Of what the asker owns; nothing of it is a request to a model, so it is not recorded."""
        given = [("x-request-id", request.request_id)]
        try:
            told = await self._listed(request)
            client.hold_response(200, field_lines([("content-type", "application/json"), *given]), told)
        except GatewayError as error:
            client.hold_response(
                error.status, field_lines([*error_headers(error), *given]), error_body(error), close=error.close
            )
        client.release()

    async def _listed(self, request: HttpRequest) -> bytes:
        kind = LISTS[request.endpoint.name]
        query = _query(request)
        limit = _limit(query.get("limit"), *MOST_LISTED[kind])
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise InvalidRequest("order must be asc or desc", param="order")
        wishes = {
            "after": query.get("after"),
            "limit": limit + 1,
            "is_ascending": order == "asc",
            "purpose": query.get("purpose"),
            "model": _where(request, {})[0],
        }
        answer = await self._tell("owned_page", (asker(request.caller), kind, wishes))
        found = msgspec.msgpack.decode(answer, type=list[Row] | None)
        if found is None:
            raise NotFound(f"no {_NAMES[kind]} of this id is here", param="after")
        rows = found[:limit]
        bodies = [row["body"] for row in rows]
        if kind != FILE_KIND:
            bodies = await self._batches.fresh(rows, PATHS[kind], MOST_REFRESHED, self._saw)
        ends = {"first_id": rows[0]["object_id"], "last_id": rows[-1]["object_id"]} if rows else {}
        data = [msgspec.Raw(body.encode()) for body in bodies]
        return encode({"object": "list", "data": data, "has_more": len(found) > limit, **ends})

    # --- parts ----------------------------------------------------------------------------------------------------

    async def _make(
        self,
        path: str,
        body: Mapping[str, Any],
        deployment: Deployment,
        call: Call,
        client: Responder,
        outcome: Outcome,
        *,
        is_paid: bool = True,
    ) -> tuple[dict[str, Any], ObjectReading, bytes]:
        """(what was made, how it was told, its bytes). It is waited for, whether its maker does or not."""
        content = encode(body)
        rest = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content)
        reading = ObjectReading(deployment)

        def prepare(_: Deployment) -> Sending:
            return Sending(object_head(deployment, "POST", path) + rest, None, False, reading)

        collected = Collected(client)
        group = Group(deployment.model_name, "account", [deployment])
        await self._carrier.carry(call, [group], prepare, collected, outcome, is_paid=is_paid)
        seen, made = collected.object()
        return made, reading, seen

    async def _admit_free(
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

    async def _row(self, request: HttpRequest, kind: str) -> Row:
        """The object that a path names. Raises NotFound."""
        return await self._find(request.model_in_path or "", kind, request.caller, None)

    async def _named(self, body: Mapping[str, Any], field: str, request: HttpRequest, caller: Caller) -> Row:
        """The file that a field names. Raises MissingField, NotFound."""
        value = body.get(field)
        if type(value) is not str or not value:
            raise MissingField(f"{field} is required: the id of a file", param=field)
        return await self._find(value, FILE_KIND, caller, field)

    async def _find(self, object_id: str, kind: str, caller: Caller, field: str | None) -> Row:
        rows: list[Row] = []
        if len(object_id) <= _MAX_ID:
            answer = await self._tell("owned_find", (asker(caller), [object_id]))
            rows = msgspec.msgpack.decode(answer, type=list[Row])
        if not rows or rows[0]["kind"] not in ((FILE_KIND, COPY_KIND) if kind == FILE_KIND else (kind,)):
            raise NotFound(f"no {_NAMES[kind]} of this id is here", param=field)
        return rows[0]

    async def _put(self, rows: list[Row]) -> None:
        try:
            await self._tell("owned_put", rows)
        except StorageUnavailable:
            for row in rows:
                if row is rows[0] or row["kind"] == COPY_KIND:
                    self._batches.undo(row)
            ids = ", ".join(row["object_id"] for row in rows)
            raise StorageUnavailable(
                f"made at the provider as {ids} and not put down as yours, so undone: the store can't be reached"
            ) from None

    async def _tell(self, what: str, body: Any) -> msgspec.Raw:
        # In a task of its own: what waits for the store asks for the current task.
        return await asyncio.get_running_loop().create_task(self._storage.ask(what, body, timeout_s=ASK_S))


def _check_serves(deployment: Deployment) -> None:
    if not serves_objects(deployment):
        raise UnsupportedField("the provider of this model takes no files", param="model")


def _asked_of(request: HttpRequest) -> tuple[str, str]:
    """(kind of object, what of it is asked for: the end of its path)."""
    name = request.endpoint.name
    kind = FILE_KIND if name == "file" else BATCH_KIND if name.startswith("batch") else TUNING_KIND
    return kind, "" if name in ("file", "batch", "fine_tuning_job") else "/" + request.path.rpartition("/")[2]


def _asked(request: HttpRequest) -> dict[str, Any]:
    """A body as it goes on: without what is said to the gateway alone. Raises InvalidRequest and its kin."""
    body = decode_object(request.body)
    for name in REFUSED_FIELDS.intersection(body).difference(WHERE_FIELDS):
        raise RefusedField(f"{name} can't be set by a request; the gateway's configuration sets it", param=name)
    return {name: value for name, value in body.items() if name not in _DROPPED}


def _where(request: HttpRequest, given: Mapping[str, str | None]) -> tuple[str | None, str | None]:
    """(model, provider) as a form, else the query, else a header says. Raises InvalidRequest."""
    query = _query(request)
    model = given.get("model") or given.get("target_model_names") or query.get("model")
    model = model or query.get("target_model_names")
    provider = given.get("custom_llm_provider") or query.get("custom_llm_provider") or query.get("provider")
    headers = request.headers
    if model is None and b"x-litellm-model" in headers:
        model = headers[b"x-litellm-model"].decode("latin-1")
    if provider is None and b"custom-llm-provider" in headers:
        provider = headers[b"custom-llm-provider"].decode("latin-1")
    if model is not None:
        model = model.strip().strip('[]"')
        if "," in model:
            raise InvalidRequest("a file lies in one account: name one model", param="target_model_names")
    return model or None, provider or None


def _targets(request: HttpRequest) -> list[str]:
    """Several models' names in the query."""
    return names_in(_query(request).get("target_model_names", ""))


def _query(request: HttpRequest) -> dict[str, str]:
    try:
        return dict(parse_qsl(request.query, max_num_fields=32))
    except ValueError:
        raise InvalidRequest("too many parameters in the query") from None


def _limit(text: str | None, usual: int, most: int) -> int:
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and len(text) < 7 and 1 <= int(text) <= most):
        raise InvalidRequest(f"limit must be a whole number from 1 to {most}", param="limit")
    return int(text)
