"""The one strict JSON decoder: section 1c of RELIABILITY.md."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routewright.errors import InvalidJson
from routewright.wire.json import MAX_DEPTH, MAX_KEYS, MAX_TOP_LEVEL_KEYS, decode_object, encode, is_deeper_than


def nested(depth: int) -> bytes:
    return b'{"x":' + b"[" * depth + b"]" * depth + b"}"


def keys(count: int) -> bytes:
    return b"{" + b",".join(b'"k%d":0' % number for number in range(count)) + b"}"


def objects(count: int) -> bytes:
    return b'{"x":[' + b",".join([b'{"a":1}'] * count) + b"]}"


REFUSED = {
    "empty": b"",
    "white space": b" \n",
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":-Infinity}',
    "1e999": b'{"a":1e999}',
    "lone surrogate, escaped": b'{"a":"\\ud800"}',
    "lone surrogate, raw": b'{"a":"\xed\xa0\x80"}',
    "lone surrogate in a name": b'{"\\udc00":1}',
    "bad UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "BOM": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-32": '{"a":1}'.encode("utf-32-le"),
    "401 digits": b'{"a":' + b"9" * 401 + b"}",
    "401 digits, negative, deep": b'{"a":[{"b":-' + b"9" * 401 + b"}]}",
    "1,000 digits behind much text": b'{"t":"' + b"word " * 500 + b'","a":' + b"8" * 1000 + b"}",
    "5,000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "65 levels": nested(MAX_DEPTH),
    "1,000 levels": nested(1000),
    "a million brackets": b"[" * 1_000_000,
    "a million objects": b'{"a":' * 1_000_000,
    "an open string behind 65 brackets": b"[]" * 65 + b'"\\',
    "257 names": keys(MAX_TOP_LEVEL_KEYS + 1),
    "10,001 names in all": objects(MAX_KEYS),
    "list": b"[]",
    "text": b'"a"',
    "number": b"1",
    "null": b"null",
    "two": b"{}{}",
    "cut": b'{"a":',
    "comma": b'{"a":1,}',
    "comment": b'{"a":1}//',
    "control byte": b'{"a":"\n"}',
    "NUL byte": b'{"a":"\x00"}',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_decoders_read_differently_is_invalid_json(body: bytes) -> None:
    """1c, T5."""
    with pytest.raises(InvalidJson) as caught:
        decode_object(body)
    assert len(caught.value.message) < 100


TAKEN = {
    "nothing": (b"{}", {}),
    "400 digits": (b'{"a":' + b"9" * 400 + b"}", {"a": int("9" * 400)}),
    "401 digits in a string": (b'{"a":"' + b"9" * 401 + b'"}', {"a": "9" * 401}),
    "401 digits behind the point": (b'{"a":0.' + b"1" * 401 + b"}", {"a": 1 / 9}),
    "64 levels": (nested(MAX_DEPTH - 1), json.loads(nested(MAX_DEPTH - 1))),
    "256 names": (keys(MAX_TOP_LEVEL_KEYS), json.loads(keys(MAX_TOP_LEVEL_KEYS))),
    "9,999 names deeper": (objects(MAX_KEYS - 1), json.loads(objects(MAX_KEYS - 1))),
    "colons in a string": (b'{"a":"' + b":" * 20_000 + b'"}', {"a": ":" * 20_000}),
    "brackets in a string": (b'{"a":"' + b'[{\\"\\\\' * 1000 + b'"}', {"a": '[{"\\' * 1000}),
    "NUL, escaped": (b'{"a":"\\u0000"}', {"a": "\x00"}),
    "surrogate pair": (b'{"a":"\\ud83d\\udc36"}', {"a": "\N{DOG FACE}"}),
    "last of two wins": (b'{"a":1,"a":2}', {"a": 2}),
}


@pytest.mark.parametrize(("body", "value"), TAKEN.values(), ids=TAKEN.keys())
def test_what_every_decoder_reads_alike_is_taken(body: bytes, value: dict[str, Any]) -> None:
    """1c: limits are not reached by what only looks like a bracket, a name or a number."""
    assert decode_object(body) == value


@pytest.mark.parametrize("body", [b'{"a":1.0}', b'{"a":true}', b'{"a":"5"}', b'{"a":5}'])
def test_kinds_stay_apart(body: bytes) -> None:
    """1c: `true` is no integer, `"5"` no number, `1.0` no count."""
    decoded = decode_object(body)["a"]
    known = json.loads(body)["a"]
    assert (type(decoded), decoded) == (type(known), known)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


TEXT = st.text(alphabet=st.sampled_from('a"\\[]{}:,é'), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON, st.integers(0, 6), st.sampled_from([None, 1]))
def test_depth_is_that_of_the_decoded_value(value: Any, limit: int, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent).encode()
    assert is_deeper_than(text, limit) == (depth_of(value) > limit)


@settings(deadline=None)
@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_object_comes_out_as_the_standard_library_reads_it(value: dict[str, Any]) -> None:
    text = json.dumps(value).encode()
    assert decode_object(text) == json.loads(text)
    assert json.loads(encode(decode_object(text))) == value


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0d8f19 eE+-.truefalsn', max_size=60).map(str.encode))
def test_any_bytes_are_an_object_or_invalid_json(body: bytes) -> None:
    """1c: whatever a decoder raises is a 400, never a 500."""
    try:
        value = decode_object(body)
    except InvalidJson:
        return
    assert json.loads(body) == value


def test_too_many_arrays_are_refused_before_they_are_read() -> None:
    """T5: a caller with a key can't keep the loop busy with brackets."""
    with pytest.raises(InvalidJson, match="more than 100000 arrays"):
        decode_object(b'{"a":[' + b"[]," * 200_000 + b"[]]}")


def test_brackets_in_text_are_text() -> None:
    assert decode_object(b'{"a":"' + b"[{" * 200_000 + b'"}')["a"] == "[{" * 200_000
