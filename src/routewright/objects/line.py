"""The calls of `/files`, `/batches` and `/fine_tuning/jobs`: who may see what, where it lies, and what is asked there.

What is made is put down with its owner before its maker has the answer. To all others it does not exist. A batch is
admitted by what its lines may use at most, and holds that much of its owner's budgets until what it used is counted.
Source: OpenAI API reference, "Files", "Batch", "Fine-tuning"; LiteLLM's documentation of the same, for who says where.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from routewright.admission.meters import Reservation
from routewright.admission.purses import Purses
from routewright.carriage.headers import passed_query
from routewright.carriage.line import Carriage
from routewright.errors import (
    GatewayError,
    InvalidRequest,
    MissingField,
    NotFound,
    PermissionDenied,
    UpstreamBadResponse,
    error_body,
    error_headers,
)
from routewright.gateway import Gateway
from routewright.objects.asked import asked_body, asked_of, limit_in, query_of, where
from routewright.objects.batches import FINAL, BatchCall, Batches
from routewright.objects.exchange import Collected, ObjectReading, batch_nusd
from routewright.objects.files import Files
from routewright.objects.guarded_lines import guards_of
from routewright.objects.named import NamedFiles, account_of, asker
from routewright.objects.places import Places
from routewright.objects.rows import (
    BATCH_KIND,
    FILE_KIND,
    PATHS,
    TUNING_KIND,
    Row,
    copies_of,
    id_in,
    parts_of,
    row_of,
)
from routewright.objects.shelf import MAX_ID, NAMES, Shelf
from routewright.objects.upload import WHERE_FIELDS
from routewright.providers.objects import object_head
from routewright.server.lines import field_lines
from routewright.storage import Storage
from routewright.types import Call, Caller, Candidates, Deployment, Group, HttpRequest, Outcome, Responder
from routewright.upstream.carrier import Carrier
from routewright.upstream.carry import Sending
from routewright.wire.chat import read_headers
from routewright.wire.json import decode_object, encode
from routewright.wire.media import metered

MOST_LISTED = {FILE_KIND: (10_000, 10_000), BATCH_KIND: (20, 100), TUNING_KIND: (20, 100)}
"""By kind: how many a list has unless it is asked for less or more, and at most."""
MOST_REFRESHED = 20
"""Batches of one list whose state is asked of the provider; older ones are told as they were seen last."""
LISTS = {"files": FILE_KIND, "batches": BATCH_KIND, "fine_tuning_jobs": TUNING_KIND}


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
        self._batches = batches
        self._named_files = named
        self.places = Places(gateway.catalog, ())
        self._shelf = Shelf(carriage, storage, batches)
        self._files = Files(gateway, carriage, carrier, self._shelf, batches, lambda: self.places, folder)

    async def handle(self, request: HttpRequest, client: Responder) -> None:
        """Answer one request."""
        name = request.endpoint.name
        if request.method == "GET" and name in LISTS:
            await self._list(request, client)
            return
        works = {
            "files": self._files.upload,
            "file_content": self._files.content,
            "batches": self._create_batch,
            "fine_tuning_jobs": self._create_tuning_job,
        }
        if not request.endpoint.is_carried:
            request.upload = None
        await self._carriage.run(request, client, works.get(name, self._ask_about))

    # --- batches ------------------------------------------------------------------------------------------------------

    async def _create_batch(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        caller = request.caller
        body = asked_body(request)
        row = await self._shelf.named(body, "input_file_id", request, caller)
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
            await self._shelf.put([new, *parts_of(new, made)])
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
        model, _ = where(request, named)
        copies = copies_of(row)
        found = row if model is None else next((copy for copy in copies if copy["model"] == model), None)
        if found is None:
            served = ", ".join([str(copy["model"]) for copy in copies])
            raise InvalidRequest(f"this file was sent to the accounts of {served}; name one of these", param="model")
        return found

    # --- fine-tuning --------------------------------------------------------------------------------------------------

    async def _create_tuning_job(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        caller = request.caller
        given = decode_object(request.body)
        body = asked_body(request)
        row = await self._shelf.named(body, "training_file", request, caller)
        deployment = self.places.of(row)
        if body.get("validation_file") is not None:
            other = await self._shelf.named(body, "validation_file", request, caller)
            if self.places.of(other) is not deployment:
                raise InvalidRequest("this file lies in another account than training_file", param="validation_file")
        model = given.get("model")
        if type(model) is not str or not 0 < len(model) <= MAX_ID:
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
        await self._shelf.put([new, *parts_of(new, made)])
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

    # --- what is there ------------------------------------------------------------------------------------------------

    async def _ask_about(
        self, request: HttpRequest, client: Responder, outcome: Outcome, reservations: list[Reservation]
    ) -> None:
        """GET and DELETE of an object, what is done with it, and what belongs to it."""
        kind, suffix = asked_of(request)
        row = await self._shelf.row(request, kind)
        object_id = row["object_id"]
        deployment = self.places.of(row)
        group = Group(deployment.model_name, "account", [deployment])
        call = await self._shelf.admit_free(request, client, outcome, reservations, group, request.endpoint.name)
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
                await self._shelf.tell("owned_forget", copy["object_id"])
            await self._shelf.tell("owned_forget", object_id)
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
                await self._shelf.tell("owned_put", parts)
            await self._shelf.tell("owned_saw", (row["object_id"], text))
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
        query = query_of(request)
        limit = limit_in(query.get("limit"), *MOST_LISTED[kind])
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise InvalidRequest("order must be asc or desc", param="order")
        wishes = {
            "after": query.get("after"),
            "limit": limit + 1,
            "is_ascending": order == "asc",
            "purpose": query.get("purpose"),
            "model": where(request, {})[0],
        }
        answer = await self._shelf.tell("owned_page", (asker(request.caller), kind, wishes))
        found = msgspec.msgpack.decode(answer, type=list[Row] | None)
        if found is None:
            raise NotFound(f"no {NAMES[kind]} of this id is here", param="after")
        rows = found[:limit]
        bodies = [row["body"] for row in rows]
        if kind != FILE_KIND:
            bodies = await self._batches.fresh(rows, PATHS[kind], MOST_REFRESHED, self._saw)
        ends = {"first_id": rows[0]["object_id"], "last_id": rows[-1]["object_id"]} if rows else {}
        data = [msgspec.Raw(body.encode()) for body in bodies]
        return encode({"object": "list", "data": data, "has_more": len(found) > limit, **ends})

    # --- parts --------------------------------------------------------------------------------------------------------

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
