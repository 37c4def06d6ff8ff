"""Pictures, sound, rankings and verdicts that are asked of a provider's account: what they may cost at most.

They pass as they come; of what is asked for only that is read which its price goes by.
"""

from __future__ import annotations

import re

from routewright.carriage.peek import MOST_CONTEXT_TOKENS, meant, model_in
from routewright.carriage.readings import PICTURES, RANKING, SPEECH, TRANSCRIPT, VERDICTS
from routewright.errors import InvalidRequest
from routewright.gateway import PARSERS
from routewright.metered import MeteredCall, Units
from routewright.types import CHARS_PER_TOKEN, HttpRequest
from routewright.wire.media import IMAGE_TOKENS, MAX_IMAGES, MOST_IMAGE_TOKENS, image_units, metered
from routewright.wire.multipart import MultipartReader, Part, boundary_of

KINDS = {"images": PICTURES, "image_edits": PICTURES, "image_variations": PICTURES, "speech": SPEECH, "rerank": RANKING,
         "moderations": VERDICTS, "transcriptions": TRANSCRIPT, "translations": TRANSCRIPT}  # fmt: skip
"""Endpoint -> what its answer is."""
FORMS = frozenset({"image_edits", "image_variations", "transcriptions", "translations"})
"""Endpoints whose body is a form with a file."""
SECONDS_PER_BYTE = 1 / 4_000
"""Of sound of 32 kbit/s: what a file is taken to be at most before its length is known."""
MOST_SOUND_BYTES = 25 * 1024 * 1024
"""What providers take at most, where a client does not say how long its file is."""
MOST_SEARCHES = 10
"""Of a ranking whose documents are too long to be counted: a thousand."""
UNKNOWN = "?"
_ENDS = {"/images/generations": "images", "/images/edits": "image_edits", "/images/variations": "image_variations",
         "/audio/speech": "speech", "/rerank": "rerank", "/moderations": "moderations",
         "/audio/transcriptions": "transcriptions", "/audio/translations": "translations"}  # fmt: skip
_BATCHES = re.compile(r"/(?:batches|batch/jobs|embed-jobs)\Z|:(?:batchgenerate|asyncbatch)[a-z]*\Z")


def endpoint_of(path: str) -> str:
    """Which of our own endpoints a path upstream is like; empty for none of these."""
    path = meant(path)
    return next((endpoint for end, endpoint in _ENDS.items() if path.endswith(end)), "")


def makes_batch(path: str) -> bool:
    """Whether a POST there begins something that is paid for later, by an answer that does not pass here."""
    return _BATCHES.search(meant(path)) is not None


def asked_media(
    endpoint: str, path: str, data: bytes, content_type: bytes, *, is_whole: bool, length: int | None
) -> MeteredCall:
    """What a request may use at most; its `model` is UNKNOWN where that could not be seen. Raises InvalidRequest.

    `data`: the beginning of its body, or all of it where it `is_whole`. `length`: of the body, None: it is chunked."""
    model = model_in(path)
    if endpoint in FORMS:
        return _of_form(endpoint, model, data, content_type, is_whole=is_whole, length=length)
    if is_whole:
        request = HttpRequest()
        request.headers, request.body, request.model_in_path = {}, data, model
        call = PARSERS[endpoint](request)
        assert isinstance(call, MeteredCall)
        return call
    if endpoint != "rerank":
        raise InvalidRequest("this request is longer than any of its kind")
    call = metered(endpoint, {"model": model or UNKNOWN}, None)
    tokens = MOST_CONTEXT_TOKENS if length is None else length // CHARS_PER_TOKEN
    call.prompt_tokens_estimate, call.max_tokens, call.units = tokens, 0, Units(queries=MOST_SEARCHES)
    return call


def _of_form(
    endpoint: str, model: str | None, data: bytes, content_type: bytes, *, is_whole: bool, length: int | None
) -> MeteredCall:
    fields: dict[str, str] = {}
    part = Part("", None, b"")
    value = b""

    def on_part(begun: Part) -> None:
        nonlocal part, value
        part, value = begun, b""

    def on_data(piece: bytes, is_last: bool) -> None:
        nonlocal value
        if part.file_name is None:
            value += piece
            if is_last:
                fields.setdefault(part.name, value.decode("utf-8", "replace"))

    MultipartReader(boundary_of(content_type), on_part, on_data, lambda: None).feed(data, is_whole)
    count = fields.get("n", "1")
    call = metered(endpoint, {"model": model or fields.get("model") or UNKNOWN}, None)
    call.n_choices = int(count) if count.isdecimal() and len(count) < 3 else MAX_IMAGES
    if not is_whole and "n" not in fields:
        call.n_choices = MAX_IMAGES  # it may stand behind the file
    measure_form(call, endpoint, fields.get("size"), fields.get("quality"), length)
    return call


def measure_form(call: MeteredCall, endpoint: str, size: str | None, quality: str | None, length: int | None) -> None:
    """What a form with a file may use at most. Raises InvalidRequest."""
    if KINDS[endpoint] == PICTURES:
        call.units = image_units(size, quality, call.n_choices)
        call.max_tokens = IMAGE_TOKENS.get(str(quality), MOST_IMAGE_TOKENS)
        call.prompt_tokens_estimate = 1000
        return
    seconds = (MOST_SOUND_BYTES if length is None else length) * SECONDS_PER_BYTE
    call.units = Units(seconds=seconds)
    call.max_tokens = 0
    call.prompt_tokens_estimate = int(seconds * 10)
