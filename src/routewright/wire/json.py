"""The one strict JSON decoder for all routes: what it takes, every decoder reads alike."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from routewright.errors import InvalidJson

MAX_DEPTH = 64
MAX_TOP_LEVEL_KEYS = 256
MAX_KEYS = 10_000
MAX_CONTAINERS = 100_000
"""Arrays and objects; more would keep the event loop for a good part of a second."""
MAX_DIGITS = 400
_TOO_HUGE = 10**MAX_DIGITS

_MANY_DIGITS = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises InvalidJson; the message says what was wrong and repeats nothing of the body."""
    if not body:
        raise InvalidJson("the body is empty; expected a JSON object")
    containers = body.count(b"[") + body.count(b"{")
    if containers > MAX_DEPTH:
        if containers > MAX_CONTAINERS and containers_in(body) > MAX_CONTAINERS:
            raise InvalidJson(f"more than {MAX_CONTAINERS} arrays and objects")
        if is_deeper_than(body, MAX_DEPTH):
            raise InvalidJson(f"JSON nested deeper than {MAX_DEPTH} levels")
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, MemoryError) as error:
        raise InvalidJson("the body is not valid JSON in UTF-8") from error
    if type(value) is not dict:
        raise InvalidJson("expected a JSON object at the top level")
    if len(value) > MAX_TOP_LEVEL_KEYS:
        raise InvalidJson(f"more than {MAX_TOP_LEVEL_KEYS} fields at the top level")
    size = len(body)
    if size > MAX_DIGITS:
        if size > MAX_KEYS and body.count(b":") > MAX_KEYS and count_keys(value) > MAX_KEYS:
            raise InvalidJson(f"more than {MAX_KEYS} fields in all")
        if has_many_digits(body) and has_huge_integer(value):
            raise InvalidJson(f"a number of more than {MAX_DIGITS} digits")
    return value


def has_many_digits(text: bytes) -> bool:
    """Whether more than `MAX_DIGITS` digits stand in a row, in strings too; looks at one byte in so many."""
    step = MAX_DIGITS + 1
    for index, byte in enumerate(text[::step]):
        if 0x30 <= byte <= 0x39:
            at = index * step
            if _MANY_DIGITS.search(text, max(0, at - MAX_DIGITS), at + step):
                return True
    return False


def has_huge_integer(value: Any) -> bool:
    """Whether an integer in a decoded value has more than `MAX_DIGITS` digits."""
    todo = [value]
    while todo:
        item = todo.pop()
        if type(item) is int:
            if not -_TOO_HUGE < item < _TOO_HUGE:
                return True
        elif type(item) is dict:
            todo.extend(item.values())
        elif type(item) is list:
            todo.extend(item)
    return False


def containers_in(text: bytes) -> int:
    """Opening brackets outside of strings."""
    bare = _STRING.sub(b"", text)
    return bare.count(b"[") + bare.count(b"{")


def is_deeper_than(text: bytes, limit: int) -> bool:
    """Whether arrays and objects nest deeper than `limit`, read without recursion; brackets in strings don't count."""
    depth = 0
    at, end = 0, len(text)
    while at < end:
        byte = text[at]
        if byte == 0x22:
            at += 1
            while at < end:
                close = text.find(b'"', at)
                if close < 0:
                    return False  # an unfinished string: the decoder refuses it
                slashes = 0
                while text[close - 1 - slashes] == 0x5C and close - 1 - slashes >= at:
                    slashes += 1
                at = close
                if slashes % 2 == 0:
                    break
                at += 1
        elif byte in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif byte in b"]}":
            depth -= 1
        at += 1
    return False


def count_keys(value: Any) -> int:
    """Fields of all objects in a decoded value, at most `MAX_DEPTH` deep."""
    total = 0
    todo = [value]
    while todo:
        item = todo.pop()
        if type(item) is dict:
            total += len(item)
            todo.extend(item.values())
        elif type(item) is list:
            todo.extend(item)
    return total
