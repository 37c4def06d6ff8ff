"""Cheap facts about a request, and the part of its text that is read: what every feature maker shares."""

from __future__ import annotations

import zlib
from math import frexp
from typing import Final

import numpy as np

from routewright.routing.router import Float32
from routewright.types import Prompt

HEAD_CHARACTERS: Final = 3000
TAIL_CHARACTERS: Final = 1000
"""Of a longer text its head and tail are read: instructions stand first, the question often last."""

CHEAP_STD: Final = 0.1
"""Weight of a cheap fact's standard deviation against the topics' length of 1; tuned on validation."""
CHEAP_LIMIT: Final = 3 * CHEAP_STD
_LIMIT: Final = np.float32(CHEAP_LIMIT)


def _fold() -> bytes:
    """Lower case, every digit `0`, every control character a space: numbers and layout are noise to a router."""
    table = bytearray(range(256))
    for byte in (*range(33), 127):
        table[byte] = 32
    for byte in range(ord("A"), ord("Z") + 1):
        table[byte] = byte + 32
    for byte in range(ord("0"), ord("9") + 1):
        table[byte] = ord("0")
    return bytes(table)


FOLD: Final = _fold()

MEASURES: Final = ("non_ascii", "length", "digits", "lines", "math_marks", "equals")
FLAGS: Final = (
    "code",
    "choices",
    "question",
    "blanks",
    "ends_with_question",
    "has_tools",
    "has_images",
    "wants_json",
    "has_system",
)
CHEAP_NAMES: Final = MEASURES + FLAGS


def cut(text: str) -> str:
    """The part of a text that is read: all of it up to 4,000 characters, else its head and tail."""
    if len(text) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return text
    return text[:HEAD_CHARACTERS] + text[-TAIL_CHARACTERS:]


def stable_hash(text: str) -> int:
    """CRC-32 of the UTF-8 bytes; Python's own `hash` differs from process to process."""
    return zlib.crc32(text.encode("utf-8", "replace"))


def _log2(n: int) -> float:
    """log2 of n >= 1, linear between powers of two: a library's logarithm may differ in its last bit."""
    mantissa, exponent = frexp(n)
    return exponent - 2.0 + 2.0 * mantissa


def measures(text: str, folded: bytes) -> tuple[float, ...]:
    """The facts of `MEASURES` about a cut text and its folded bytes, before scaling."""
    n_bytes = len(folded) or 1
    count = text.count
    dense = 0.05 * n_bytes  # one byte in twenty is as much as counts
    # to look for a character that is not there is much cheaper than to count it
    lines = count("\n") if "\n" in text else 0
    maths = (count("$") if "$" in text else 0) + (count("\\") if "\\" in text else 0)
    equals = (count("=") if "=" in text else 0) + (count("^") if "^" in text else 0)
    return (
        (n_bytes - len(text)) / n_bytes if text else 0.0,
        _log2(n_bytes),
        folded.count(b"0") / n_bytes if b"0" in folded else 0.0,
        lines / dense if lines < dense else 1.0,
        maths / dense if maths < dense else 1.0,
        equals / dense if equals < dense else 1.0,
    )


def flags(prompt: Prompt, text: str) -> tuple[bool, ...]:
    """The facts of `FLAGS` about a prompt and its cut text.

    One character is looked for many times faster than two, so a rare one comes first.
    """
    return (
        ("`" in text and "```" in text)
        or ("(" in text and ("def " in text or "assert " in text or "();" in text))
        or ("#" in text and "#include" in text),
        "B" in text and ("\nB" in text or "(B)" in text or " B)" in text),
        "?" in text,
        "_" in text and "__" in text,
        text.endswith("?"),
        prompt.has_tools,
        prompt.has_images,
        prompt.wants_json,
        prompt.system != "",
    )


def cheap_facts(prompt: Prompt, text: str, folded: bytes) -> tuple[float, ...]:
    """All of `CHEAP_NAMES` about a prompt, its cut text and the folded bytes of that, before scaling."""
    return measures(text, folded) + flags(prompt, text)


def fit_cheap(cheap: Float32) -> tuple[Float32, Float32, Float32]:
    """Shift and scale (n_cheap,) of facts (n, n_cheap), and (1,) the share of bytes beyond ASCII that is usual.

    A fact that never varied has no weight. Where more of a text lies beyond ASCII, it is unlike all that was learned
    from.
    """
    spread = cheap.std(axis=0)
    scale = np.where(spread > 1e-4, CHEAP_STD / np.maximum(spread, 1e-4), 0).astype(np.float32)
    usual = np.array([max(0.3, np.quantile(cheap[:, 0], 0.999))], dtype=np.float32)
    return cheap.mean(axis=0), scale, usual


def scale_cheap(out: Float32, shift: Float32, scale: Float32) -> None:
    """Facts (n_cheap,) shifted, scaled and held within three standard deviations, in place."""
    out -= shift
    out *= scale
    np.minimum(np.maximum(out, -_LIMIT, out=out), _LIMIT, out=out)


def why_unlike(prompt: Prompt, non_ascii_limit: float) -> str:
    """Why a prompt is out of the range that was learned from; empty where it is not."""
    text = prompt.text
    if not text or text.isspace():
        return "empty prompt"
    if not text.isascii():
        text = cut(text)
        n_bytes = len(text.encode("utf-8", "replace"))
        if (n_bytes - len(text)) / n_bytes > non_ascii_limit:
            return "script unlike the training prompts"
    return ""
