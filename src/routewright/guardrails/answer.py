"""The client's side of an exchange whose answer guardrails look at before it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from routewright.errors import GatewayError, UpstreamBadResponse, UpstreamError
from routewright.guardrails.bounds import JsonSchema
from routewright.guardrails.contract import Seen, Window
from routewright.guardrails.rail import Chain, Rail
from routewright.types import Call, Outcome, Responder, Usage
from routewright.wire.event_texts import KINDS, EventTexts
from routewright.wire.gathered import whole_of
from routewright.wire.json import encode
from routewright.wire.texts import answer_slots, said
from routewright.wire.told import stream_of

MAX_HELD_BYTES = 16 * 1024 * 1024
_decode = msgspec.json.Decoder().decode


class GuardedAnswer:
    """Follows a stream as it goes where every guardrail can, else holds the answer; `finish` has the last word.

    A finding in a stream that has begun ends it with an error event, and stops the upstream.
    """

    def __init__(self, client: Responder, call: Call, outcome: Outcome, rails: Sequence[Rail], seen: Seen) -> None:
        """`rails`: those that look at the answer, or put something back into it; `seen`: with an answer's marks."""
        self._client = client
        self._call = call
        self._outcome = outcome
        self._rails = rails
        self._seen = seen
        self.error: GatewayError | None = None
        self._status = 0
        self._fields = b""
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._has_begun = False
        self._closes = False
        self._is_over = False
        """The answer's end has come."""
        self.on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[bool], None] | None = None
        client.on_gone, client.on_pause = self._gone, self._pause
        kind = KINDS.get(call.endpoint)
        can_follow = kind is not None and all(rail.window_of(seen) is not None for rail in rails)
        self._texts: EventTexts | None = kind(self._open) if can_follow and kind is not None else None

    def _open(self) -> Window:
        return Chain([window for rail in self._rails if (window := rail.window_of(self._seen)) is not None])

    @property
    def is_gone(self) -> bool:
        return self._client.is_gone or self.error is not None

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        self._status, self._fields = status, fields
        if self._texts is None:
            self._hold(first)
        else:
            self._pass(first)

    def write(self, data: bytes) -> None:
        if data == self._call.client.ping:
            if self._has_begun:
                self._client.write(data)
        elif self._texts is None:
            self._hold(data)
        else:
            self._pass(data)

    def hold(self, last: bytes, *, close: bool = False) -> None:
        self._is_over, self._closes = True, close
        if self.error is not None:
            return
        if self._texts is None:
            self._hold(last)
            return
        try:
            out = self._texts.feed(last)
        except GatewayError as error:
            self._stop(error)
            return
        if not self._has_begun:
            self._client.begin(self._status, self._fields, b"")
            self._has_begun = True
        self._client.hold(out, close=close)

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        self._is_over = True
        self._status, self._fields, self._closes = status, fields, close
        self._held = [body]

    def release(self) -> None:
        self._client.release()

    def _gone(self) -> None:
        if self.on_gone is not None:
            self.on_gone()

    def _pause(self, is_paused: bool) -> None:
        if self.on_pause is not None:
            self.on_pause(is_paused)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES and self.error is None:
            self._stop(UpstreamBadResponse("the answer is too long to be looked over"))

    def _pass(self, data: bytes) -> None:
        if self.error is not None:
            return
        assert self._texts is not None
        try:
            out = self._texts.feed(data)
        except GatewayError as error:
            self._stop(error)
            return
        if not out:
            return
        if self._has_begun:
            self._client.write(out)
        else:
            self._has_begun = True
            self._client.begin(self._status, self._fields, out)

    def _stop(self, error: GatewayError) -> None:
        """No more of this answer; the upstream is told at the end of this turn, since it is speaking now."""
        self.error = error
        if self._has_begun:
            event = self._call.client.error_event(error, self._outcome.request_id)
            self._client.hold(event, close=True)
        if not self._is_over:
            asyncio.get_running_loop().call_soon(self._gone)

    # --- once the upstream's side is done -------------------------------------------------------------------------

    async def finish(self) -> None:
        """Give what was held. Raises GatewayError where the answer must not pass and nothing of it has gone."""
        self._client.on_gone = self._client.on_pause = None
        if self.error is not None:
            if self._has_begun:
                self._outcome.ended, self._outcome.error = "refused", self.error.code
                return
            raise self.error
        if not self._is_over or self._has_begun or not (self._held or self._status):
            return
        if self._texts is not None and self._call.is_stream:
            return
        data = b"".join(self._held)
        if self._call.is_stream and self._closes:
            raise UpstreamError("the upstream's stream ended before its answer did")
        body = whole_of(data, self._call, self._outcome.usage or Usage()) if self._call.is_stream else data
        if body is None:
            raise UpstreamBadResponse("the answer can't be looked over")
        try:
            answer = _decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UpstreamBadResponse("the answer can't be looked over") from error
        if not await self._look(answer):
            self._give(data, body)
            return
        body = encode(answer)
        if self._call.is_stream:
            told = stream_of(body, self._call)
            if told is None:
                raise UpstreamBadResponse("the answer can't be told as a stream")
            data = told[0] + told[1]
        self._give(data, body)

    async def _look(self, answer: object) -> bool:
        """Whether anything was changed."""
        if type(answer) is not dict:
            return False
        slots, seen = answer_slots(answer), self._seen
        seen.texts = slots.texts
        for rail in self._rails:
            guardrail = rail.guardrail
            if isinstance(guardrail, JsonSchema):
                texts, seen.texts = seen.texts, said(answer)
                await rail.look(seen)
                seen.texts = texts
            elif rail.after:
                await rail.look(seen)
            else:
                rail.put_back(seen)
        if not slots.put(seen.texts):
            return False
        for choice in answer.get("choices") or ():
            _unseal((choice.get("message") or {}).get("thinking_blocks"))
        _unseal(answer.get("content"))
        return True

    def _give(self, stream: bytes, body: bytes) -> None:
        if self._call.is_stream:
            self._client.begin(self._status, self._fields, b"")
            self._client.hold(stream, close=self._closes)
        else:
            self._client.hold_response(self._status, self._fields, body, close=self._closes)


def _unseal(blocks: object) -> None:
    """A seal on thinking is good only for the words that it was made for."""
    for block in blocks if type(blocks) is list else ():
        if type(block) is dict and block.get("type") == "thinking":
            block["signature"] = ""
