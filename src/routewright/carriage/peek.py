"""The beginning of a body that passes through, looked at before anybody is asked, and then sent on as it came.

What is looked at is a request to a model in whatever dialect its provider has: enough to know what it may use at most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from routewright.carriage.onward import Onward
from routewright.metered import MeteredCall
from routewright.server.upload import Upload
from routewright.types import CHARS_PER_TOKEN, Deployment, Group
from routewright.wire.chat import size_of

MAX_PEEKED_BYTES = 256 * 1024
"""Of a body; of a longer one only its length is known."""
MOST_CONTEXT_TOKENS = 1_000_000
"""No prompt is taken to be longer, whatever its length."""
PICTURE_TOKENS = 1_000
"""Of a text that is no text: a picture or a sound in base64."""
USUAL_OUTPUT_TOKENS, SPARE = 256, 2.0
"""As for a chat whose answer nobody bounds."""
_BOUNDS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "max_tokens_to_sample", "maxOutputTokens",
           "maxTokens", "max_gen_len")  # fmt: skip
_PICTURES = frozenset({"data", "url", "bytes", "file_data", "image_url"})
_PROMPTS = frozenset({"messages", "message", "input", "inputs", "prompt", "contents", "inputText", "texts"})
_IN_PATH = re.compile(r"/(?:models|deployments|model)/([^/:?]{1,256})")
_TALKS = re.compile(
    r"/(?:completions|responses|messages|chat|generate|converse(?:-stream)?|invoke(?:-with-response-stream)?)\Z"
    r"|:(?:stream)?generatecontent\Z"
)
_EMBEDS = re.compile(r"/(?:embeddings|embed)\Z|:(?:batchembedcontents|embedcontent)\Z")
_PARAMETERS = re.compile(r";[^/]*")
_decode = msgspec.json.Decoder().decode


class Peek(Onward):
    """A body of which the beginning is looked at."""

    def __init__(self, upload: Upload, folder: Path) -> None:
        super().__init__(upload, folder)
        self._seen: list[bytes] = []
        self._size = 0

    def take(self) -> bytes:
        """What was looked at, once: all of it where it `is_whole`, else the beginning."""
        seen, self._seen = b"".join(self._seen), []
        return seen

    def _read(self, data: bytes, is_last: bool) -> None:
        self._came.append(data)
        self.is_whole = is_last
        if self._is_known:
            return
        self._seen.append(data)
        self._size += len(data)
        self._is_known = is_last or self._size >= MAX_PEEKED_BYTES


@dataclass(slots=True)
class Asked:
    """What a request to a model may use at most."""

    model: str | None
    """By its provider's name; None: it is not known."""
    prompt_tokens: int
    output_tokens: int | None
    """Of one answer; None: nobody bounds it."""
    n_choices: int = 1
    is_background: bool = False
    """Its answer is fetched later, by another request."""


def meant(path: str) -> str:
    """A path as a server may take it: some decode letters that need no escape, take any case, and leave out parameters
    of its parts."""
    return _PARAMETERS.sub("", unquote(path)).lower().rstrip("/")


def asks_model(path: str) -> bool:
    """Whether a path is one for text or vectors."""
    path = meant(path)
    return _EMBEDS.search(path) is not None or _TALKS.search(path) is not None


def model_in(path: str) -> str | None:
    """The model that a path names."""
    named = _IN_PATH.search(path)
    return unquote(named[1]) if named is not None else None


def asked_of(path: str, body: bytes, *, is_whole: bool, length: int | None) -> Asked | None:
    """None for what is no request for text or vectors. `length`: of the whole body, as far as it was told."""
    if not asks_model(path):
        return None
    embeds = _EMBEDS.search(meant(path)) is not None
    model = model_in(path)
    if not is_whole:
        chars = length if length is not None else MOST_CONTEXT_TOKENS * CHARS_PER_TOKEN
        return Asked(model, min(chars // CHARS_PER_TOKEN, MOST_CONTEXT_TOKENS), 0 if embeds else None)
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # whoever gets it says what is wrong with it
    if type(found) is not dict or _PROMPTS.isdisjoint(found):
        return None
    given = found.get("model")
    if type(given) is str:
        model = given
    bound = 0 if embeds else _bound(found)
    choices = [found.get("n"), found.get("best_of"), _inner(found, "generationConfig").get("candidateCount")]
    most = max([each for each in choices if type(each) is int and 0 < each <= 128], default=1)
    return Asked(model, _tokens_in(found), bound, most, found.get("background") is True)


def _bound(found: Mapping[str, Any]) -> int | None:
    """The largest, wherever it stands: which of them its provider reads is not known here."""
    places = (found, _inner(found, "generationConfig"), _inner(found, "inferenceConfig"))
    bounds = [value for place in places for name in _BOUNDS if type(value := place.get(name)) is int and value >= 0]
    return min(max(bounds), MOST_CONTEXT_TOKENS) if bounds else None


def _inner(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name)
    return value if type(value) is dict else {}


def _tokens_in(value: Any) -> int:
    """Of all texts in a decoded body. What is a picture is known by where it stands: a text without spaces is none."""
    chars = extra = 0
    todo = [value]
    while todo:
        item = todo.pop()
        if type(item) is str:
            chars += size_of(item)
        elif type(item) is dict:
            for name, inner in item.items():
                if name in _PICTURES and type(inner) is str and len(inner) > 2048:
                    extra += PICTURE_TOKENS
                else:
                    todo.append(inner)
        elif type(item) is list:
            if item and type(item[0]) is int:
                extra += len(item)  # of tokens
            else:
                todo.extend(item)
    return min(chars // CHARS_PER_TOKEN + extra + 1, MOST_CONTEXT_TOKENS)


class PassedCall(MeteredCall, eq=False):
    """Reserves what a request to a model may cost, by the price of the deployment that its model belongs to."""

    priced_by: Deployment | None = None
    """None: what passes is paid by the request, or has no price."""
    is_media: bool = False
    """What is asked for is no text, and paid by `units`, or by tokens of its own."""

    def worst_nusd(self, group: Group) -> int:
        """What it may cost at most."""
        priced_by = self.priced_by
        if priced_by is None:
            prices = [each.units.cost_nusd(self.units) for each in group.deployments if each.units is not None]
            return max([price for price in prices if price is not None], default=0)
        if self.is_media:
            return self.worst_at(priced_by)
        output = float(self.max_tokens) if self.max_tokens is not None else usual_output(priced_by)
        return ceil(
            self.prompt_tokens_estimate * max(priced_by.input_nusd, priced_by.cache_creation_nusd)
            + output * self.n_choices * max(priced_by.output_nusd, priced_by.reasoning_nusd)
        )


def usual_output(deployment: Deployment) -> float:
    """Tokens that are reserved for an answer whose length nobody bounds."""
    return max(float(USUAL_OUTPUT_TOKENS), SPARE * deployment.health.usual_output_tokens)
