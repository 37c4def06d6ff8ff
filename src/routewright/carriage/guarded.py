"""Guardrails on what passes through: the body is held until they have looked at it, and so is the answer.

Only where a guardrail looks at a request is anything held here; all else goes from socket to socket as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from routewright.around import Visit
from routewright.carriage.peek import Peek
from routewright.errors import (
    FrontError,
    GatewayError,
    GuardrailUnavailable,
    InvalidRequest,
    PermissionDenied,
    UpstreamBadResponse,
    UpstreamError,
)
from routewright.flow import Signal
from routewright.passing import Behind
from routewright.server.upload import Upload
from routewright.types import Outcome, Responder
from routewright.wire.json import encode
from routewright.wire.texts import Slots, passed_answer_slots, passed_slots
from routewright.wire.transcripts import NoTranscript, Transcript

MAX_HELD_BYTES = 16 * 1024 * 1024
"""Of a body or an answer that has to be seen whole."""
ENDS = (("/chat/completions", "chat"), ("/messages", "messages"), ("/responses", "responses"),
        ("/completions", "completions"), (":streamGenerateContent", "generate_content"))  # fmt: skip
"""What a path upstream ends with, and the dialect of its streams."""
_SETTINGS = frozenset(
    {"model", "n", "size", "quality", "response_format", "stream", "background", "output_format", "output_compression",
     "moderation", "language", "temperature", "timestamp_granularities", "include", "chunking_strategy", "user",
     "input_fidelity", "timeout", "num_retries", "disable_fallbacks", "partial_images", "style", "tags", "guardrails"}
)  # fmt: skip
"""Fields of a form that choose rather than say something."""
_decode = msgspec.json.Decoder().decode


class HeldBody:
    """A body that has come whole, on its way up."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self, on_data: Callable[[bytes, bool], None], on_failure: Callable[[GatewayError], None]) -> None:
        on_data(self._data, True)

    def pause(self) -> None:
        """All of it has gone."""

    def resume(self) -> None:
        """All of it has gone."""


async def whole(upload: Upload | Peek, client: Responder) -> bytes | None:
    """All of a body; None where its client has left. Raises what it fails with, FrontError 413."""
    pieces: list[bytes] = []
    done: Signal[GatewayError | None] = Signal()
    size = 0

    def take(data: bytes, is_last: bool) -> None:
        nonlocal size
        size += len(data)
        if size > MAX_HELD_BYTES:
            upload.close()
            why = f"guardrails look at bodies of {MAX_HELD_BYTES} bytes at most"
            done.set(FrontError(413, "request_too_large", why))
            return
        pieces.append(data)
        if is_last:
            done.set(None)

    client.on_gone = lambda: done.set(None)
    upload.open(take, done.set)
    error = await done
    client.on_gone = None
    if client.is_gone:
        return None
    if error is not None:
        raise error
    return b"".join(pieces)


async def checked_body(visit: Visit, body: bytes, content_type: bytes, paths: Sequence[str], name: str) -> bytes:
    """The body as guardrails let it pass. `name`: of where it goes. Raises PermissionDenied where it can't be read."""
    value: Any = None
    if content_type.split(b";")[0].strip().lower() in (b"application/json", b""):
        try:
            value = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidRequest("the body is not JSON") from None
    slots = passed_slots(value, paths) if type(value) is dict else None
    if slots is None:
        raise PermissionDenied(
            f"guardrails look at this request, and nobody has said where the texts of {name} stand: "
            "it takes `guardrails` with `request_fields`, or a body in a known dialect"
        )
    return encode(value) if await visit.check(slots) else body


def form_slots(fields: dict[str, list[str]]) -> Slots:
    """What a form says."""
    slots = Slots()
    for name, values in fields.items():
        if name.removesuffix("[]") not in _SETTINGS:
            for place in range(len(values)):
                slots.text(values, place)
    return slots


class HeldAnswer(Behind):
    """Keeps an answer until guardrails have looked at it; `finish` gives it."""

    __slots__ = ("_fields", "_held", "_is_over", "_outcome", "_size", "_status", "error")

    def __init__(self, client: Responder, outcome: Outcome) -> None:
        super().__init__(client)
        self._outcome = outcome
        self._status = 0
        self._fields = b""
        self._held: list[bytes] = []
        self._size = 0
        self._is_over = False
        self.error: GatewayError | None = None

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        self._status, self._fields = status, fields
        self._take(first)

    def write(self, data: bytes) -> None:
        self._take(data)

    def hold(self, last: bytes, *, close: bool = False) -> None:
        self._take(last)
        self._is_over = True

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        self._status, self._fields = status, fields
        self._take(body)
        self._is_over = True

    def release(self) -> None:
        self._client.release()

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MAX_HELD_BYTES:
            self._held.append(data)
        elif self.error is None:
            self._held.clear()
            self.error = UpstreamBadResponse("the answer is too long to be looked over")
            if self.on_gone is not None:
                asyncio.get_running_loop().call_soon(self.on_gone)

    async def finish(self, visit: Visit, kind: str, paths: Sequence[str] = ()) -> None:
        """`kind`: `transcript`, the dialect of its streams, or empty. Raises GatewayError; nothing has gone then."""
        if self.error is not None:
            raise self.error
        if not self._is_over:
            if self._status and self._outcome.ended != "client_gone":
                raise UpstreamError("the upstream's answer ended before its end")
            return
        body = b"".join(self._held)
        media_type = _media_type(self._fields)
        if self._status < 400 and body:
            body = await _looked_over(visit, body, media_type, kind, paths)
        self._client.hold_response(self._status, self._fields, body)


async def _looked_over(visit: Visit, body: bytes, media_type: bytes, kind: str, paths: Sequence[str]) -> bytes:
    plain = media_type.split(b";")[0].strip().lower()
    if kind == "transcript":
        try:
            transcript = Transcript(body, media_type)
            return transcript.put(await visit.check_answer(list(transcript.texts)))
        except NoTranscript as error:
            raise GuardrailUnavailable(f"guardrails look at this answer: {error}") from None
    if plain == b"text/event-stream":
        if not kind:
            raise GuardrailUnavailable("guardrails look at this answer, and its stream is in no dialect that is known")
        return await visit.check_stream(body, kind)
    if plain == b"application/json" or plain.endswith(b"+json"):
        try:
            answer = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamBadResponse("the answer can't be looked over") from None
        slots = passed_answer_slots(
            answer if type(answer) is dict else {"": answer}, paths, is_known=bool(kind)
        )  # fmt: skip
        return encode(answer) if slots.put(await visit.check_answer(slots.texts)) else body
    if plain.startswith(b"text/"):
        text = body.decode("utf-8", "replace")
        (changed,) = await visit.check_answer([text])
        return body if changed == text else changed.encode("utf-8", "replace")
    return body  # pictures and sound are not looked into


def _media_type(fields: bytes) -> bytes:
    for line in fields.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-type":
            return value.strip()
    return b""


def kind_of(path: str) -> str:
    """The dialect of the streams behind a path; empty where none is known."""
    return next((kind for end, kind in ENDS if path.endswith(end)), "")
