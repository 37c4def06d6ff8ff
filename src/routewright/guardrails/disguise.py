"""What a text says where it is written so that a pattern does not see it: as a reader or a model would read it.

Undone are characters without width, full-width and other forms that Unicode calls the same (NFKC), letters of Greek
and Cyrillic that look like Latin ones, `%40` and `&#64;`, base64 and hexadecimal. Once each: what is wrapped twice,
spelt out or enciphered gets past, as it does everywhere.
"""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

_INVISIBLE: Final = dict.fromkeys(
    [0xAD, 0x34F, 0x115F, 0x1160, 0x180E, 0x3164, 0xFFA0, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
     *range(0x2060, 0x2070), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE0080), *range(0xE0100, 0xE01F0)]
)  # fmt: skip
"""Characters of no width, which tear a word apart for a pattern and for no reader; `str.translate` drops them."""
_LOOKS: Final = str.maketrans(
    "АВЕКМНОРСТУХІЈЅаеорсухіјѕԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοɡı٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९",
    "ABEKMHOPCTYXIJSaeopcyxijsdqwABEZHIKMNOPTYXogi012345678901234567890123456789",
)
"""Letters that look like Latin ones, and digits of other scripts. Source: Unicode TR 39, confusables, the commonest."""
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,10});")
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_\-])[A-Za-z0-9+/_\-]{16,}(?:\r?\n[A-Za-z0-9+/_\-]{4,})*={0,2}")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{16,}")
_NO_LINES: Final = str.maketrans("-_", "+/", "\r\n")
_LEAST_PLAIN: Final = 0.9
"""Share of what is decoded that has to be visible text: a picture is none."""


def visible(text: str) -> str:
    """The text as it is read."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).translate(_LOOKS)


def readings(text: str) -> Iterator[str]:
    """Other readings of it, where it has any."""
    plain = visible(text)
    if plain != text:
        yield plain
    if "%" in plain and _PERCENT.search(plain):
        yield unquote(plain, errors="replace")
    if "&" in plain and _ENTITY.search(plain):
        yield html.unescape(plain)


def encoded(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) of what stands there in base64, over several lines too, or in hexadecimal."""
    for match in _BASE64.finditer(text):
        raw = match[0].rstrip("=").translate(_NO_LINES)
        for decode in (_from_hex, _from_base64) if _HEX.fullmatch(raw) else (_from_base64,):
            try:
                inner = decode(raw).decode("utf-8")
            except ValueError:
                continue
            if sum(map(str.isprintable, inner)) >= _LEAST_PLAIN * len(inner):
                yield match.start(), match.end(), inner
                break


def _from_hex(raw: str) -> bytes:
    return bytes.fromhex(raw)


def _from_base64(raw: str) -> bytes:
    return base64.b64decode(raw + "=" * (-len(raw) % 4))  # its error is a ValueError
