"""One request head from bytes to checked fields; the whole rules are tested at the socket."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routewright.errors import FrontError
from routewright.server.head import MEMO_HEADS, Head, HeadMemo, HeadProbe, caller_request_id, parse_head
from routewright.settings import FrontLimits

LIMITS = FrontLimits()


def raw(*fields: str, line: str = "POST /v1/x?a=b HTTP/1.1", host: str = "h") -> bytes:
    lines = [line, *([f"Host: {host}"] if host else []), *fields]
    return "".join([f"{each}\r\n" for each in [*lines, ""]]).encode("latin-1")


def parsed(*fields: str, **changed: str) -> Head:
    return parse_head(raw(*fields, **changed), LIMITS)


def test_head_comes_apart() -> None:
    head = parsed("Content-Length: 12", "X-Thing: \t a b ", "accept: x", "ACCEPT: y")
    assert (head.method, head.path, head.query) == ("POST", "/v1/x", "a=b")
    assert head.headers == {b"host": b"h", b"x-thing": b"a b", b"accept": b"x, y"}
    assert (head.content_length, head.is_chunked, head.keeps_alive, head.is_http_1_0) == (12, False, True, False)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a%2fb/../c//d?x?y", "/a%2fb/../c//d", "x?y"),
        ("http://other.example/a?b", "/a", "b"),
        ("http://other.example", "/", ""),
        ("https://[::1]:80?x", "/", "x"),
    ],
)
def test_target_is_split_and_never_decoded(target: str, path: str, query: str) -> None:
    """G2: nothing decoded, nothing resolved; of an absolute form the host decides nothing."""
    head = parsed(line=f"GET {target} HTTP/1.1")
    assert (head.path, head.query) == (path, query)
    assert head.headers[b"host"] == b"h"


@pytest.mark.parametrize(
    ("version", "fields", "keeps"),
    [
        ("1.1", [], True),
        ("1.1", ["Connection: close"], False),
        ("1.1", ["Connection: Keep-Alive, Close"], False),
        ("1.1", ["Connection: Upgrade", "Upgrade: h2c"], False),
        ("1.0", [], False),
        ("1.0", ["Connection: keep-alive"], True),
    ],
)
def test_connection_is_kept_as_the_version_and_the_client_say(version: str, fields: list[str], keeps: bool) -> None:
    assert parsed(*fields, line=f"GET / HTTP/{version}").keeps_alive is keeps


@pytest.mark.parametrize("host", ["a", "a.b:80", "127.0.0.1:4000", "[::1]", "[fd00::1]:65535", "under_score"])
def test_host_is_a_name_or_an_address_with_an_optional_port(host: str) -> None:
    """G6."""
    assert parsed(host=host).headers[b"host"] == host.encode()


@pytest.mark.parametrize("host", ["a b", "user@a", "a,b", "a/b", "a:", "a:123456", "[::1", "::1", "a\\b", "http://a"])
def test_other_hosts_are_refused(host: str) -> None:
    """G6."""
    with pytest.raises(FrontError) as caught:
        parsed(host=host)
    assert (caught.value.status, caught.value.close) == (400, True)


REFUSED = {
    "no Host": (400, raw(host="")),
    "two Hosts": (400, raw("Host: h")),
    "empty Host": (400, raw("Host:", host="")),
    "two Authorizations": (400, raw("Authorization: a", "authorization: b")),
    "two keys": (400, raw("x-api-key: a", "X-API-Key: a")),
    "Content-Length twice": (400, raw("Content-Length: 1", "Content-Length: 1")),
    "Content-Length with a sign": (400, raw("Content-Length: +1")),
    "Content-Length of 20 digits": (400, raw("Content-Length: 00000000000000000001")),
    "Content-Length with a comma": (400, raw("Content-Length: 1, 1")),
    "both framings": (400, raw("Content-Length: 1", "Transfer-Encoding: chunked")),
    "chunked twice": (400, raw("Transfer-Encoding: chunked, chunked")),
    "gzip, chunked": (501, raw("Transfer-Encoding: gzip, chunked")),
    "chunked on HTTP/1.0": (400, raw("Transfer-Encoding: chunked", line="POST / HTTP/1.0")),
    "HTTP/0.9": (505, raw(line="GET / HTTP/0.9")),
    "HTTP/2.0": (505, raw(line="GET / HTTP/2.0")),
    "no version": (400, raw(line="GET /")),
    "two spaces": (400, raw(line="GET  / HTTP/1.1")),
    "fragment": (400, raw(line="GET /#a HTTP/1.1")),
    "no slash": (400, raw(line="GET a HTTP/1.1")),
    "user part": (400, raw(line="GET http://u@h/ HTTP/1.1")),
    "CONNECT": (501, raw(line="CONNECT / HTTP/1.1")),
    "TRACE": (501, raw(line="TRACE / HTTP/1.1")),
    "lower case": (501, raw(line="get / HTTP/1.1")),
    "PROPFIND": (501, raw(line="PROPFIND / HTTP/1.1")),
    "long target": (414, raw(line=f"GET /{'a' * 8192} HTTP/1.1")),
    "101 fields": (431, raw(*[f"x-{number}: y" for number in range(100)])),
    "long name": (431, raw(f"{'n' * 257}: y")),
    "large head": (431, raw(f"x: {'y' * 65536}")),
    "space before the colon": (400, raw("X : y")),
    "folded": (400, raw("X: y", " z")),
    "NUL": (400, raw("X: \x00")),
    "expectation": (417, raw("Expect: 200-ok")),
}


@pytest.mark.parametrize(("status", "head"), REFUSED.values(), ids=REFUSED.keys())
def test_what_llhttp_lets_through_is_refused_and_closes(status: int, head: bytes) -> None:
    """G1-G9, G14, G17."""
    with pytest.raises(FrontError) as caught:
        parse_head(head, LIMITS)
    # llhttp refuses doubled codings itself, either way nothing after it is read.
    assert caught.value.status == status or (status, caught.value.status) == (400, 501)
    assert caught.value.close
    assert caught.value.code


def test_expect_is_known_and_means_nothing_in_http_1_0() -> None:
    """G14."""
    assert parsed("Expect: 100-Continue").expects_continue
    assert not parsed("Expect: 100-continue", line="POST / HTTP/1.0").expects_continue
    assert not parsed().expects_continue


@pytest.mark.parametrize(
    ("value", "kept"),
    [("a", True), ("A-b_c.9", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("a b", False), ("a\té", False)],
)
def test_caller_s_request_id_is_kept_if_it_is_harmless(value: str, kept: bool) -> None:
    """G18."""
    found = caller_request_id({b"x-request-id": value.encode("latin-1")})
    assert found == (value if kept else None)
    assert caller_request_id({}) is None


def probed(pieces: list[bytes]) -> int:
    """Status with which a probe of the growing head refuses it, 0 where it does not."""
    probe = HeadProbe(LIMITS)
    seen = b""
    for piece in pieces:
        seen += piece
        if b"\r\n\r\n" in seen:
            break
        try:
            probe.look(seen)
        except FrontError as error:
            return error.status
    return 0


@pytest.mark.parametrize(
    "head", [raw(), raw("a: b", "c:  d", "Expect: 100-continue"), raw(line="GET http://a/b HTTP/1.0")]
)
def test_probe_never_refuses_a_good_head_wherever_it_is_cut(head: bytes) -> None:
    for place in range(1, len(head)):
        assert probed([head[:place], head[place:]]) == 0
    assert probed([head[at : at + 1] for at in range(len(head))]) == 0


@settings(deadline=None)
@given(st.sampled_from([head for _, head in REFUSED.values() if len(head) < 500]), st.integers(1, 200))
def test_what_a_probe_refuses_early_is_refused_when_it_is_whole(head: bytes, size: int) -> None:
    if probed([head[at : at + size] for at in range(0, len(head), size)]):
        with pytest.raises(FrontError):
            parse_head(head, LIMITS)


@settings(deadline=None)
@given(st.binary(max_size=120).map(lambda noise: b"GET / HTTP/1.1\r\nHost: h\r\n" + noise + b"\r\n\r\n"))
def test_any_bytes_are_a_head_or_a_refusal(head: bytes) -> None:
    end = head.index(b"\r\n\r\n") + 4
    try:
        found = parse_head(head[:end], LIMITS)
    except FrontError:
        return
    assert all(name and not set(b"\r\n\x00") & set(name + value) for name, value in found.headers.items())


# --- heads that come again ------------------------------------------------------------------------------------------


def whole(*fields: str) -> bytes:
    return "\r\n".join(["POST /v1/x HTTP/1.1", "Host: h", *fields, "", ""]).encode("latin-1")


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "CONTENT-LENGTH"])
def test_same_head_with_another_length_is_read_alike(name: str) -> None:
    memo = HeadMemo(FrontLimits())
    first, first_length = memo.read(whole("A: b", f"{name}: 12"))
    second, second_length = memo.read(whole("A: b", f"{name}: 4096"))
    assert (first_length, second_length) == (12, 4096)
    assert (first.method, first.path, first.headers) == (second.method, second.path, second.headers)


@pytest.mark.parametrize("length", ["", "-1", "+1", "1 2", "0x10", "1" * 20, "１２", "12, 12"])
def test_remembered_head_does_not_excuse_a_bad_length(length: str) -> None:
    """G7: the digits are checked each time."""
    memo = HeadMemo(FrontLimits())
    memo.read(whole("Content-Length: 12"))
    raw = b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: " + length.encode() + b"\r\n\r\n"
    with pytest.raises(FrontError):
        memo.read(raw)


@pytest.mark.parametrize("extra", ["Content-Length: 12", "Transfer-Encoding: chunked", "Host: other"])
def test_remembered_head_does_not_excuse_another_field(extra: str) -> None:
    """G6, G7, G9: a head is found only whole."""
    memo = HeadMemo(FrontLimits())
    memo.read(whole("Content-Length: 12"))
    with pytest.raises(FrontError):
        memo.read(whole("Content-Length: 12", extra))


def test_memo_holds_a_bounded_number_of_heads() -> None:
    memo = HeadMemo(FrontLimits())
    for number in range(5 * MEMO_HEADS):
        memo.read(whole(f"X-Number: {number}", "Content-Length: 1"))
    assert len(memo._heads) <= MEMO_HEADS
