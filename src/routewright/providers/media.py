"""OpenAI's endpoints beside chat, at providers that serve them by the same paths: pictures, speech, moderation.

Source: OpenAI API reference, "Create image" and its streaming events, "Create speech", "Create moderation".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.dialect import Stream
from routewright.errors import GatewayError, UpstreamBadResponse, UpstreamError
from routewright.metered import MeteredCall, MeteredUsage, Units
from routewright.providers import openai
from routewright.types import Call, Deployment, Usage

MAX_TOKENS_BELIEVED = 100_000_000
encode = msgspec.json.Encoder().encode


class _Details(msgspec.Struct):
    text_tokens: int = 0
    image_tokens: int = 0
    audio_tokens: int = 0


class Figures(msgspec.Struct):
    """What these endpoints say of what was used."""

    type: str = "tokens"
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    input_token_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None

    def usage(self, units: Units, *, is_picture: bool = False) -> MeteredUsage | None:
        """None where nothing can be believed. `is_picture`: all of the answer is, where its parts are not told."""
        prompt, answer = self.input_tokens, self.output_tokens
        if not (0 <= prompt <= MAX_TOKENS_BELIEVED and 0 <= answer <= MAX_TOKENS_BELIEVED and prompt + answer > 0):
            return None
        given = self.input_tokens_details or self.input_token_details or _Details()
        made = self.output_tokens_details
        usage = MeteredUsage(prompt, answer, units=units)
        usage.audio_input_tokens = max(0, given.audio_tokens)
        usage.image_input_tokens = max(0, given.image_tokens)
        usage.image_output_tokens = answer if made is None and is_picture else max(0, made.image_tokens if made else 0)
        return usage


class _Picture(msgspec.Struct):
    data: list[msgspec.Raw] | None = None
    usage: Any = None
    error: Any = None


class _Verdicts(msgspec.Struct):
    results: list[msgspec.Raw] | None = None
    error: Any = None


_decode_picture = msgspec.json.Decoder(_Picture).decode
_decode_verdicts = msgspec.json.Decoder(_Verdicts).decode
_decode = msgspec.json.Decoder().decode


def figures_of(given: Any) -> Figures | None:
    """As far as they have the shape that they should have."""
    try:
        return msgspec.convert(given, Figures) if type(given) is dict else None
    except (msgspec.ValidationError, OverflowError):
        return None


class Json:
    """A request in JSON that goes on as it came, but for the model's name."""

    stream_type = openai.stream_type
    unframe = None

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        body = {**deployment.default_params, **call.body} if deployment.default_params else dict(call.body)
        for name in deployment.drop_params:
            body.pop(name, None)
        body["model"] = deployment.upstream_model
        encoded = encode(body)
        return b"%b%d\r\n\r\n%b" % (deployment.request_heads[call.endpoint], len(encoded), encoded)

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        raise UpstreamBadResponse("the upstream streams what is not streamed")

    def error_of(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
    ) -> GatewayError:
        return openai.error_of(status, headers, body, deployment, now_s)


def estimated(call: Call, output_tokens: int = 0) -> MeteredUsage:
    """Where the provider tells no tokens."""
    units = call.units if isinstance(call, MeteredCall) else Units()
    return MeteredUsage(call.prompt_tokens_estimate, output_tokens, is_estimated=True, units=units)


def unanswered(call: MeteredCall) -> MeteredUsage:
    """Of a call whose client has left before its answer: its provider makes what was asked for all the same."""
    if call.units.images:
        return picture_usage(None, call, call.units.images)
    usage = estimated(call, call.max_tokens or 0)
    usage.audio_output_tokens = usage.completion_tokens
    return usage


class Images(Json):
    """Pictures, whole or in events that show one while it is made."""

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        try:
            answer = _decode_picture(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamBadResponse("the upstream's answer is not this endpoint's JSON") from error
        if answer.error:
            raise UpstreamError("the upstream answered with an error")
        if not answer.data:
            raise UpstreamBadResponse("the upstream's answer has no pictures")
        return body, picture_usage(figures_of(answer.usage), call, len(answer.data))

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return ImageStream(call)


def picture_usage(figures: Figures | None, call: Call, count: int) -> MeteredUsage:
    """`count` pictures have come, of those that were asked for."""
    asked = call.units if isinstance(call, MeteredCall) else Units()
    pixels = asked.pixels * count // asked.images if asked.images else 0
    units = Units(images=count, image_kind=asked.image_kind, pixels=pixels)
    told = figures.usage(units, is_picture=True) if figures is not None else None
    if told is not None:
        return told
    output = (call.max_tokens or 0) * count
    return MeteredUsage(call.prompt_tokens_estimate, output, is_estimated=True, units=units, image_output_tokens=output)


class _Event(msgspec.Struct):
    type: str = ""
    usage: Any = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


class ImageStream:
    """Events of a picture in the making, passed on as they are."""

    __slots__ = ("_call", "_count", "_figures", "finish_seen", "is_done", "last")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._count = 0
        self._figures: Figures | None = None
        self.finish_seen = False
        self.is_done = False
        self.last = b""

    def feed(self, events: bytes) -> bytes:
        for event in events.split(b"\n\n"):
            for line in event.split(b"\n"):
                if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                    self._look(line[5:])
        return events

    def _look(self, data: bytes) -> None:
        try:
            event = _decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamBadResponse("the upstream sent an event that is not one of this endpoint") from error
        if event.error or event.type == "error":
            raise UpstreamError("the upstream reported an error")
        if event.type.endswith(".completed"):
            self.finish_seen = True
            self._count += 1
            self._figures = figures_of(event.usage) or self._figures

    def finish(self) -> None:
        self.is_done = True

    def failure(self, error: GatewayError, request_id: str) -> bytes:
        return self._call.client.error_event(error, request_id)

    def counted_usage(self, call: Call) -> Usage:
        return picture_usage(self._figures, call, self._count)


class Moderations(Json):
    """Verdicts on texts and pictures."""

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        try:
            verdicts = _decode_verdicts(body)
            whole = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamBadResponse("the upstream's answer is not this endpoint's JSON") from error
        if verdicts.error:
            raise UpstreamError("the upstream answered with an error")
        if not verdicts.results:
            raise UpstreamBadResponse("the upstream's answer has no results")
        whole["model"] = deployment.model_name
        return encode(whole), estimated(call)


class Speech(Json):
    """Sound, passed on as it comes."""

    stream_type = b""

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        raise AssertionError("speech is always streamed")

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return SoundStream(call)


_TAIL_BYTES = 2048


class SoundStream:
    """Bytes of sound; or events with them, the last of which tells what was used."""

    __slots__ = ("_call", "_tail", "finish_seen", "is_done", "last")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._tail = b""
        self.finish_seen = False
        self.is_done = False
        self.last = b""

    def feed(self, events: bytes) -> bytes:
        self._tail = events[-_TAIL_BYTES:] if len(events) >= _TAIL_BYTES else (self._tail + events)[-_TAIL_BYTES:]
        if events:
            self.finish_seen = True
        return events

    def finish(self) -> None:
        self.is_done = True

    def failure(self, error: GatewayError, request_id: str) -> bytes:
        return b""

    def counted_usage(self, call: Call) -> Usage:
        units = call.units if isinstance(call, MeteredCall) else Units()
        start = self._tail.rfind(b"data:")
        if start >= 0 and b'"usage"' in self._tail:
            try:
                event = _decode_event(self._tail[start + 5 :].strip())
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                event = _Event()
            figures = figures_of(event.usage)
            told = figures.usage(units) if figures is not None else None
            if told is not None:
                told.audio_output_tokens = told.completion_tokens
                return told
        usage = estimated(call, call.max_tokens or 0)
        usage.audio_output_tokens = usage.completion_tokens
        return usage
