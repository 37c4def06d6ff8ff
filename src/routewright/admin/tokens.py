"""Counts of tokens without a network: exact for OpenAI's models where the extra `tokens` is installed, else estimated.

Source: OpenAI cookbook, "How to count tokens with tiktoken", for what a message costs beside its text.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

from routewright.errors import InvalidRequest, MissingField
from routewright.types import CHARS_PER_TOKEN
from routewright.wire.json import encode

EXACT, ESTIMATE = "openai_tokenizer", "estimate"
PIECE_CHARS = 128 * 1024
"""Counted in one go: 10 ms, in which nothing else runs."""
TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
TOKENS_BEFORE_ANSWER = 3
TOKENS_PER_IMAGE = 85
"""Of a picture at low detail, the one size that its address alone tells."""
log = logging.getLogger("routewright")

_O200K = re.compile(r"(?:ft:)?(?:gpt-4o|chatgpt-4o|gpt-4\.[15]|gpt-[5-9]|gpt-oss|gpt-audio|o[1-9](?:-|$)|codex)")
_CL100K = re.compile(r"(?:ft:)?(?:gpt-4(?:-|$)|gpt-3\.5|text-embedding-|davinci-002|babbage-002)")
_SEAM = re.compile(r"(?<=[a-z]) (?=[a-z])")
"""Where no token of either encoding reaches across: a word ends, and the space belongs to the next."""


def encoding_of(model: str) -> str | None:
    """The encoding that a model of OpenAI's reads text by; None for everybody else's."""
    name = model.rpartition("/")[2]
    if _O200K.match(name):
        return "o200k_base"
    return "cl100k_base" if _CL100K.match(name) else None


class TokenCounter:
    """Counts; the tables are read when a model first needs them, at 30 to 70 MB."""

    def __init__(self) -> None:
        self._counts: dict[str, Callable[[str], int] | None] = {}

    def count(self, body: dict[str, Any], model: str) -> tuple[int, str]:
        """(tokens of `prompt` or of `messages` and `tools`, whether exact or not). Raises InvalidRequest."""
        encoding = encoding_of(model)
        count = self._count_of(encoding) if encoding is not None else None
        of_text = _estimated if count is None else lambda text: sum([count(piece) for piece in pieces(text)])
        given = body.get("prompt")
        if given is not None:
            texts = [given] if type(given) is str else given
            if type(texts) is not list or any(type(text) is not str for text in texts):
                raise InvalidRequest("prompt must be a string or a list of strings", param="prompt")
            total = sum([of_text(text) for text in texts])
        else:
            total = _of_messages(body.get("messages"), of_text)
        is_exact = count is not None and not body.get("tools")  # how tools are told to a model is the provider's secret
        if body.get("tools"):
            total += of_text(encode(body["tools"]).decode())
        return total, EXACT if is_exact else ESTIMATE

    def _count_of(self, encoding: str) -> Callable[[str], int] | None:
        if encoding not in self._counts:
            self._counts[encoding] = _load(encoding)
        return self._counts[encoding]


def _load(encoding: str) -> Callable[[str], int] | None:
    """The counting of the extra `tokens`; None without it."""
    package = importlib.util.find_spec("bpe_openai")
    if package is None:
        log.info("the extra `tokens` is not installed: token counts are estimates")
        return None
    # Its compiled part alone: the package around it builds tables for encoding, at 70 MB and a second.
    found = importlib.machinery.PathFinder.find_spec("_bindings", package.submodule_search_locations)
    if found is None or found.loader is None:
        log.warning("bpe-openai is installed, but not as it was known: token counts are estimates")
        return None
    bindings = importlib.util.module_from_spec(found)
    found.loader.exec_module(bindings)
    count: Callable[[str], int] = bindings.tokenizer_for_encoding(encoding).count
    return count


def pieces(text: str) -> Iterator[str]:
    """A long text in pieces whose counts add up to that of the whole."""
    start = 0
    while len(text) - start > PIECE_CHARS:
        seam = _SEAM.search(text, start + PIECE_CHARS // 2, start + PIECE_CHARS)
        end = seam.start() if seam is not None else start + PIECE_CHARS
        yield text[start:end]
        start = end
    yield text[start:]


def _estimated(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def _of_messages(messages: Any, of_text: Callable[[str], int]) -> int:
    if messages is None:
        raise MissingField("messages or prompt is required", param="messages")
    if type(messages) is not list or not messages or any(type(message) is not dict for message in messages):
        raise InvalidRequest("messages must be a non-empty list of objects", param="messages")
    total = TOKENS_BEFORE_ANSWER
    for message in messages:
        total += TOKENS_PER_MESSAGE
        for name, value in message.items():
            if type(value) is str:
                total += of_text(value)
                if name == "name":
                    total += TOKENS_PER_NAME
            elif name == "content" and type(value) is list:
                total += sum([_of_part(part, of_text) for part in value])
            elif name == "tool_calls" and value:
                total += of_text(encode(value).decode())
    return total


def _of_part(part: Any, of_text: Callable[[str], int]) -> int:
    if type(part) is not dict:
        return 0
    if type(part.get("text")) is str:
        return of_text(part["text"])
    return TOKENS_PER_IMAGE if part.get("type") in ("image_url", "image", "input_image") else 0
