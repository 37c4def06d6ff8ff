"""Pictures, speech and moderation as OpenAI's clients ask for them: a client's body to a `Call`.

Source: OpenAI API reference, "Create image", "Create speech", "Create moderation".
"""

from __future__ import annotations

import re
from typing import Any, TypeVar, cast

from routewright.dialect import Chat, Clock, Pieces
from routewright.errors import GatewayError, InvalidRequest, MissingField, error_object
from routewright.metered import MeteredCall, Units
from routewright.types import CHARS_PER_TOKEN, Call, HttpRequest, Usage
from routewright.wire.chat import parse_shared, size_of
from routewright.wire.json import decode_object, encode

MODERATION_MODEL = "omni-moderation-latest"
"""Where the caller names none, as at OpenAI."""
IMAGE_TOKENS = {"low": 408, "medium": 1584}
MOST_IMAGE_TOKENS = 6240
"""Of one picture, by quality, where the model is paid by tokens. Source: OpenAI's guide on image generation."""
SPEECH_TOKENS_PER_CHARACTER = 1.4
"""15 characters a second, and 1,250 tokens a minute of speech."""
MAX_IMAGES = 10
MAX_SPEECH_CHARS = 100_000
Metered = TypeVar("Metered", bound=MeteredCall)
_SIZE = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})\Z")


def parse_images(request: HttpRequest) -> Call:
    """Raises InvalidRequest and its kin, with `param` naming the field."""
    body = decode_object(request.body)
    call = metered("images", body, request.model_in_path)
    prompt = _text(body, "prompt")
    if call.n_choices > MAX_IMAGES:
        raise InvalidRequest(f"n must be at most {MAX_IMAGES}", param="n")
    call.units = image_units(body.get("size"), body.get("quality"), call.n_choices)
    call.prompt_tokens_estimate = size_of(prompt) // CHARS_PER_TOKEN + 1
    call.max_tokens = IMAGE_TOKENS.get(str(body.get("quality")), MOST_IMAGE_TOKENS)
    return call


def image_units(size: Any, quality: Any, count: int) -> Units:
    """What is asked for. Raises InvalidRequest."""
    for name, value in (("size", size), ("quality", quality)):
        if value is not None and type(value) is not str:
            raise InvalidRequest(f"{name} must be a string", param=name)
    found = _SIZE.match(size) if size else None
    pixels = int(found[1]) * int(found[2]) * count if found is not None else 0
    kind = f"{quality or 'standard'}/{size if found is not None else '1024x1024'}"
    return Units(images=count, image_kind=kind, pixels=pixels)


def parse_speech(request: HttpRequest) -> Call:
    """Raises InvalidRequest and its kin, with `param` naming the field."""
    body = decode_object(request.body)
    call = metered("speech", body, request.model_in_path)
    text = _text(body, "input")
    if len(text) > MAX_SPEECH_CHARS:
        raise InvalidRequest(f"input may have at most {MAX_SPEECH_CHARS} characters", param="input")
    call.is_stream = True
    call.units = Units(characters=len(text))
    call.prompt_tokens_estimate = size_of(text) // CHARS_PER_TOKEN + 1
    call.max_tokens = int(len(text) * SPEECH_TOKENS_PER_CHARACTER) + 1
    return call


def parse_moderations(request: HttpRequest) -> Call:
    """Raises InvalidRequest and its kin, with `param` naming the field."""
    body = decode_object(request.body)
    body.setdefault("model", MODERATION_MODEL)
    call = metered("moderations", body, request.model_in_path)
    given = body.get("input")
    if given is None:
        raise MissingField("input is required", param="input")
    items = given if type(given) is list else [given]
    chars = 0
    for item in items:
        if type(item) is str:
            chars += size_of(item)
        elif type(item) is dict and type(item.get("type")) is str:
            chars += size_of(item["text"]) if type(item.get("text")) is str else 0
        else:
            raise InvalidRequest("input must be a string, strings, or parts with a type", param="input")
    if not items:
        raise InvalidRequest("input must not be empty", param="input")
    call.units = Units(requests=1)
    call.max_tokens = 0
    call.prompt_tokens_estimate = chars // CHARS_PER_TOKEN + 1
    return call


def metered(endpoint: str, body: dict[str, Any], model_in_path: str | None) -> MeteredCall:
    """The fields that all calls have in common. Raises InvalidRequest."""
    return filled(MeteredCall, endpoint, body, model_in_path)


def filled(kind: type[Metered], endpoint: str, body: dict[str, Any], model_in_path: str | None) -> Metered:
    """The same, of a call of a kind of its own."""
    call = cast(Metered, parse_shared(endpoint, body, model_in_path, kind))
    call.client = PLAIN
    return call


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        raise MissingField(f"{name} is required", param=name)
    if type(value) is not str or not value:
        raise InvalidRequest(f"{name} must be a non-empty string", param=name)
    return value


class PlainDialect:
    """Clients of endpoints that are served by their own dialect alone."""

    name = "plain"
    ping = b""  # the bytes of a sound have no room for a comment

    def prompt(self, call: Call) -> tuple[str, str]:
        return "", ""

    def shows_thinking(self, call: Call) -> bool:
        return False

    def as_chat(self, call: Call, *, plain: bool, is_dropped: bool) -> Chat:
        raise InvalidRequest("this endpoint is no chat")

    def answer(self, chat: Chat, call: Call, usage: Usage) -> bytes:
        raise AssertionError("nothing is translated")

    def pieces(self, call: Call, model: str, clock: Clock) -> Pieces:
        raise AssertionError("nothing is translated")

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return b"event: error\ndata: %b\n\n" % encode({"type": "error", **error_object(error)})


PLAIN = PlainDialect()
