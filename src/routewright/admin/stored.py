"""Carries a request of the management API to the store's process, and its answer back."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from routewright.errors import GatewayError, InternalError, error_body, error_headers
from routewright.server.lines import field_lines
from routewright.storage import ManageReply, ManageRequest, Storage
from routewright.types import HttpRequest, Responder

TIMEOUT_S = 40.0
"""Longer than the slowest statement may take."""
log = logging.getLogger("routewright")
_decode = msgspec.msgpack.Decoder(ManageReply).decode


class StoredBridge:
    """Answers every endpoint that speaks of what is stored."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def handle(self, request: HttpRequest, client: Responder) -> None:
        """Answer, with an error where the store can't."""
        await asyncio.get_running_loop().create_task(self._carry(request, client))

    async def _carry(self, request: HttpRequest, client: Responder) -> None:
        asked = ManageRequest(
            endpoint=request.endpoint.name,
            method="GET" if request.method == "HEAD" else request.method,
            named=request.model_in_path,
            query=request.query,
            body=request.body,
            key_hash=request.caller.key_hash,
            is_master=request.caller.is_master,
            request_id=request.request_id,
        )
        try:
            answer = await self._storage.ask("manage", asked, timeout_s=TIMEOUT_S, is_repeatable=False)
            reply = _decode(answer)
        except GatewayError as error:
            reply = ManageReply(error.status, error_headers(error), error_body(error))
        except Exception:
            log.exception("request %s failed", request.request_id)
            failure = InternalError("internal error; the log has it under this request id")
            reply = ManageReply(failure.status, error_headers(failure), error_body(failure))
        if reply.status >= 500:
            log.warning("request %s: %s was answered with %d", request.request_id, request.path, reply.status)
        fields = field_lines([*reply.headers, ("x-request-id", request.request_id)])
        client.hold_response(reply.status, fields, reply.body)
        client.release()
