"""Responses that their callers want kept: `store: true`, `previous_response_id`, and what is asked of them later.

Only what is asked for is kept: a response whose request says `store: true`, with the input that led to it, under its
team's, user's or key's name, for thirty days or until there is no room. Everything else about it is the gateway's line.
Source: OpenAI API reference, "Responses".
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec

from routewright.errors import (
    GatewayError,
    InvalidRequest,
    NotFound,
    StorageUnavailable,
    error_body,
    error_headers,
)
from routewright.gateway import Gateway
from routewright.passing import Behind
from routewright.server.lines import field_lines
from routewright.storage import Storage
from routewright.types import Caller, HttpRequest, Responder
from routewright.wire.json import decode_object, encode

KEPT_S = 30 * 24 * 3600
"""As at OpenAI."""
MAX_BYTES = 4 * 1024 * 1024
"""Of one response and its input; a longer one is answered and not kept."""
ASK_S = 5.0
MAX_ITEMS = 100
log = logging.getLogger("routewright")

_TOLD = b'"background":false,"previous_response_id":null,"store":false,"error":null'
"""As `wire/responses_answers.py` writes it into each response."""
_ID = re.compile(rb'"id":"(resp_[^"\\]{1,200})"')
_LAST = re.compile(rb"event: response\.(?:completed|incomplete)\ndata: ([^\n]*)\n\n")
_decode = msgspec.json.Decoder().decode


def owner_of(caller: Caller) -> str:
    """Whose a kept response is: all keys of a team share what is the team's."""
    if caller.team_id is not None:
        return f"team:{caller.team_id}"
    return f"user:{caller.user_id}" if caller.user_id is not None else f"key:{caller.key_hash}"


def _sees(caller: Caller) -> str | None:
    return None if caller.is_master else owner_of(caller)


class KeptResponses:
    """The calls of `/responses` that have to do with what is kept; others go down the gateway's line as they are."""

    def __init__(self, gateway: Gateway, storage: Storage) -> None:
        self._gateway = gateway
        self._storage = storage
        self._tasks: set[asyncio.Task[None]] = set()

    async def create(self, request: HttpRequest, client: Responder) -> None:
        """Answer, keep the answer where that is asked for, and begin with what a former one left."""
        body = request.body
        if b'"store"' not in body and b'"previous_response_id"' not in body:
            await self._gateway.infer(request, client)
            return
        try:
            asked = decode_object(body)
            previous = asked.pop("previous_response_id", None)
            wants = asked.get("store")
            given = asked.get("input")
            if previous is not None and (type(previous) is not str or not 0 < len(previous) <= 256):
                raise InvalidRequest("previous_response_id must be the id of a response", param="previous_response_id")
            if previous is not None:
                asked["input"] = [*await self._conversation(previous, request.caller), *items_of(given)]
                request.body = encode(asked)
        except GatewayError as error:
            self._refuse(request, client, error)
            return
        if wants is not True and previous is None:
            await self._gateway.infer(request, client)
            return
        keeping = Keeping(client, previous, items_of(given) if wants is True else None, self._keep(request.caller))
        await self._gateway.infer(request, keeping)

    async def _conversation(self, previous: str, caller: Caller) -> list[Any]:
        """What was said up to a kept response, that one included. Raises NotFound."""
        answer = await self._storage.ask("kept_chain", (previous, _sees(caller)), timeout_s=ASK_S)
        bodies = msgspec.msgpack.decode(answer, type=list[str] | None)
        if bodies is None:
            raise NotFound(
                "no response of this id is kept, or what led to it is too long to go on from; one is kept where its "
                "request says store: true",
                param="previous_response_id",
            )
        items: list[Any] = []
        for body in bodies:
            known = _decode(body)
            items += [*known["input"], *known["response"]["output"]]
        return items

    def _keep(self, caller: Caller) -> Callable[[Keeping], None]:
        def keep(keeping: Keeping) -> None:
            task = asyncio.get_running_loop().create_task(self._keep_it(keeping, caller))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return keep

    async def _keep_it(self, keeping: Keeping, caller: Caller) -> None:
        """Before the client has the end of the answer: what it is told of can be asked for."""
        body = encode({"input": keeping.input, "response": keeping.response}).decode()
        is_kept = len(body) <= MAX_BYTES
        if is_kept:
            now_ms = int(time.time() * 1000)
            row = {
                "object_id": keeping.id,
                "kind": "response",
                "owner": owner_of(caller),
                "previous_id": keeping.previous,
                "created_at_ms": now_ms,
                "expires_at_ms": now_ms + KEPT_S * 1000,
                "size_bytes": len(body),
                "body": body,
            }
            try:
                await self._storage.ask("keep", row, timeout_s=ASK_S, is_repeatable=False)
            except GatewayError as error:
                log.warning("a response could not be kept: %s", error.message)
                is_kept = False
        keeping.finish(is_kept=is_kept)

    # --- what is kept ---------------------------------------------------------------------------------------------

    async def manage(self, request: HttpRequest, client: Responder) -> None:
        """GET and DELETE of a response, its input items, and `cancel`."""
        try:
            answer = await self._managed(request)
            client.hold_response(200, self._fields(request), encode(answer))
        except GatewayError as error:
            self._refuse(request, client, error, is_held=True)
        except Exception:
            log.exception("request %s failed", request.request_id)
            self._refuse(request, client, StorageUnavailable("the store gave no answer; try again"), is_held=True)
        client.release()

    async def _managed(self, request: HttpRequest) -> Any:
        object_id, sees = request.model_in_path or "", _sees(request.caller)
        if request.endpoint.name == "response" and request.method == "DELETE":
            answer = await self._storage.ask("kept_forget", (object_id, sees), timeout_s=ASK_S)
            if not msgspec.msgpack.decode(answer):
                raise NotFound("no response of this id is kept")
            return {"id": object_id, "object": "response", "deleted": True}
        answer = await self._storage.ask("kept_find", (object_id, sees), timeout_s=ASK_S)
        body = msgspec.msgpack.decode(answer, type=str | None)
        if body is None:
            raise NotFound("no response of this id is kept")
        known = _decode(body)
        if request.endpoint.name == "response_cancel":
            raise InvalidRequest("only a response in the background can be cancelled, and none is here")
        if request.endpoint.name == "response":
            return known["response"]
        items = [
            {"id": f"item_{place}", "type": "message", **item} if type(item) is dict else item
            for place, item in enumerate(known["input"])
        ][:MAX_ITEMS]
        ends = (
            {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {"first_id": None, "last_id": None}
        )
        return {"object": "list", "data": items, "has_more": len(known["input"]) > MAX_ITEMS, **ends}

    @staticmethod
    def _fields(request: HttpRequest) -> bytes:
        return f"content-type: application/json\r\nx-request-id: {request.request_id}\r\n".encode("ascii")

    def _refuse(self, request: HttpRequest, client: Responder, error: GatewayError, *, is_held: bool = False) -> None:
        fields = field_lines([*error_headers(error), ("x-request-id", request.request_id)])
        client.hold_response(error.status, fields, error_body(error), close=error.close)
        if not is_held:
            client.release()


def items_of(given: Any) -> list[Any]:
    """An `input` as the list that it stands for; what is neither is left for the line to refuse."""
    if type(given) is str:
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    return given if type(given) is list else []


class Keeping(Behind):
    """The client's side of a response that is to be kept: what goes by is told its id, and its end waits."""

    def __init__(
        self, client: Responder, previous: str | None, given: list[Any] | None, keep: Callable[[Keeping], None]
    ) -> None:
        """`given`: the input; None: the answer is not kept, it only follows one that was."""
        super().__init__(client)
        self._keep = keep
        self.previous = previous
        self.input = given
        self.id = f"resp_{secrets.token_hex(24)}"
        self.response: dict[str, Any] = {}
        self._their_id = b""
        self._finish: Callable[[bool], None] | None = None

    # --- types.Responder ------------------------------------------------------------------------------------------

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        self._client.begin(status, fields, self._told(first, is_kept=self.input is not None))

    def write(self, data: bytes) -> None:
        self._client.write(self._told(data, is_kept=self.input is not None))

    def hold(self, last: bytes, *, close: bool = False) -> None:
        found = _LAST.search(last)
        if found is not None and self.input is not None and not close:
            self._take(_decode(found[1])["response"])
            self._finish = lambda is_kept: self._client.hold(self._told(last, is_kept=is_kept))
        self._client.hold(self._told(last, is_kept=False), close=close)

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        if status == 200 and self.input is not None:
            self._take(_decode(body))
            self._finish = lambda is_kept: self._client.hold_response(
                status, fields, self._told(body, is_kept=is_kept), close=close
            )
        told = self._told(body, is_kept=False) if status == 200 else body
        self._client.hold_response(status, fields, told, close=close)

    def release(self) -> None:
        if self._finish is None or self._client.is_gone:
            self._client.release()
        else:
            self._keep(self)

    # --------------------------------------------------------------------------------------------------------------

    def finish(self, *, is_kept: bool) -> None:
        """Let the client have the end."""
        if self._finish is not None:
            self._finish(is_kept)
        self._client.release()

    def _take(self, response: dict[str, Any]) -> None:
        self.response = {**response, "id": self.id, "store": True, "previous_response_id": self.previous}

    def _told(self, data: bytes, *, is_kept: bool) -> bytes:
        """With our id, and with what is true of it."""
        if not self._their_id:
            found = _ID.search(data)
            if found is not None:
                self._their_id = b'"id":"%b"' % found[1]
        if self._their_id and self.input is not None:
            data = data.replace(self._their_id, b'"id":"%b"' % self.id.encode("ascii"))
        previous = encode(self.previous)
        ours = b'"background":false,"previous_response_id":%b,"store":%b,"error":null' % (
            previous, b"true" if is_kept else b"false",
        )  # fmt: skip
        return data.replace(_TOLD, ours)
