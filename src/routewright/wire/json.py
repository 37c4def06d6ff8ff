"""The one strict JSON decoder for all routes: what it takes, every decoder reads alike."""

from __future__ import annotations

from typing import Any

import msgspec

from routewright.errors import InvalidJson

MAX_DEPTH = 64
MAX_TOP_LEVEL_KEYS = 256
MAX_KEYS = 10_000

_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises InvalidJson; the message says what was wrong and repeats nothing of the body."""
    if not body:
        raise InvalidJson("the body is empty; expected a JSON object")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and is_deeper_than(body, MAX_DEPTH):
        raise InvalidJson(f"JSON nested deeper than {MAX_DEPTH} levels")
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, MemoryError) as error:
        raise InvalidJson("the body is not valid JSON in UTF-8") from error
    if type(value) is not dict:
        raise InvalidJson("expected a JSON object at the top level")
    if len(value) > MAX_TOP_LEVEL_KEYS:
        raise InvalidJson(f"more than {MAX_TOP_LEVEL_KEYS} fields at the top level")
    if body.count(b":") > MAX_KEYS and count_keys(value) > MAX_KEYS:
        raise InvalidJson(f"more than {MAX_KEYS} fields in all")
    return value


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
