"""Forms are read alike however they are cut, and what is no form is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routewright.errors import InvalidRequest
from routewright.wire.multipart import MultipartReader, Part, boundary_of, field_part, part_head

B = b"b0undary"


def read(pieces: list[bytes]) -> list[tuple[Part, bytes]]:
    """Every part with its content; raises InvalidRequest."""
    parts: list[Part] = []
    values: list[bytearray] = []
    ends: list[bool] = []

    def on_part(part: Part) -> None:
        parts.append(part)
        values.append(bytearray())

    reader = MultipartReader(B, on_part, lambda data, is_last: values[-1].extend(data), lambda: ends.append(True))
    for place, piece in enumerate(pieces):
        reader.feed(piece, place == len(pieces) - 1)
    assert ends == [True]
    return [(part, bytes(value)) for part, value in zip(parts, values, strict=True)]


FILE = Part("file", b"a.mp3", b"audio/mpeg")
TRICKY = b"\r\n--b0undar\r\n\r\r\n-\r\n--B0undary--" + B
WHOLE = (
    field_part(B, "model", "m") + field_part(B, "empty", "") + part_head(B, FILE) + TRICKY + b"\r\n--" + B + b"--\r\n"
)
EXPECTED = [(Part("model", None, b""), b"m"), (Part("empty", None, b""), b""), (FILE, TRICKY)]


@pytest.mark.parametrize("place", range(len(WHOLE) + 1))
def test_a_form_cut_anywhere_is_the_same_form(place: int) -> None:
    assert read([WHOLE[:place], WHOLE[place:]]) == EXPECTED


@pytest.mark.parametrize("size", [1, 2, 3, 11])
def test_a_form_in_small_pieces_is_the_same_form(size: int) -> None:
    assert read([WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]) == EXPECTED


@given(st.binary(max_size=200), st.lists(st.integers(1, 40), max_size=12))
@settings(max_examples=200)
def test_any_content_without_the_boundary_comes_out_as_it_went_in(content: bytes, sizes: list[int]) -> None:
    content = content.replace(b"--" + B, b"")
    body = part_head(B, FILE) + content + b"\r\n--" + B + b"--"
    pieces, at = [], 0
    for size in sizes:
        pieces.append(body[at : at + size])
        at += size
    assert read([*pieces, body[at:]]) == [(FILE, content)]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"--other\r\n", b"--" + B, b"--" + B + b"xx", WHOLE[:-4], b"\r\n" + WHOLE,
        b"--" + B + b"\r\nContent-Disposition: form-data\r\n\r\nx\r\n--" + B + b"--",
        b"--" + B + b'\r\nContent-Disposition: attachment; name="x"\r\n\r\nx\r\n--' + B + b"--",
        b"--" + B + b'\r\nContent-Disposition: form-data; name="x"\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n--'
        + B + b"--",
        b"--" + B + b'\r\nContent-Disposition: form-data; name="a\x01b"\r\n\r\nx\r\n--' + B + b"--",
        b"--" + B + b'\r\nContent-Disposition: form-data; name="x"\r\n folded\r\n\r\nx\r\n--' + B + b"--",
        b"--" + B + b"\r\n" + b"a" * 9000,
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read([body])


@pytest.mark.parametrize(
    ("media_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
        (b"multipart/form-data", None),
        (b"multipart/mixed; boundary=abc", None),
        (b'multipart/form-data; boundary=""', None),
        (b"multipart/form-data; boundary=" + b"a" * 71, None),
        (b"multipart/form-data; boundary=a\xffb", None),
        (b"", None),
    ],
)
def test_boundary(media_type: bytes, boundary: bytes | None) -> None:
    if boundary is None:
        with pytest.raises(InvalidRequest):
            boundary_of(media_type)
    else:
        assert boundary_of(media_type) == boundary


def test_a_name_can_not_end_its_own_head() -> None:
    head = part_head(B, Part('x"; name="model', b'a\\"b', b""))
    assert head.count(b'"') == 4
    assert read([head + b"v\r\n--" + B + b"--"])[0][1] == b"v"
