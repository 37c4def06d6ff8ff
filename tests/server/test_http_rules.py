"""The front's HTTP rules, G1-G20 of RELIABILITY.md, at a raw socket.

Each refusal is sent whole, cut in two at every byte, and with a second request behind it that must not run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from harness.gateway import SMALL_KEY, TEAM_KEY, Gateway
from harness.upstream import Upstream
from harness.wire import Wire, assert_error, exchange_many, parse_replies, request_bytes

KIB = 1024
CHAT = "/v1/chat/completions"
AUTH = f"Authorization: Bearer {TEAM_KEY}\r\n"
HOST = "Host: gateway.test\r\n"
JSON = "Content-Type: application/json\r\n"


def chat_body(prompt: str = "hello") -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]}).encode()


BODY = chat_body()
LENGTH = f"Content-Length: {len(BODY)}\r\n"
SMUGGLED = request_bytes("POST", CHAT, key=TEAM_KEY, body=chat_body("smuggled"))


@dataclass(frozen=True)
class Case:
    """Bytes that the front must refuse, and how."""

    name: str
    request: bytes
    status: tuple[int, ...]
    cuts: int = 400
    """At most this many places to cut at; long requests take a sample."""


def raw(text: str) -> bytes:
    return text.encode("latin-1")


def get(line: str = "GET /health HTTP/1.1", fields: str = HOST) -> bytes:
    return raw(f"{line}\r\n{fields}\r\n")


def post(fields: str, body: bytes = BODY, *, version: str = "1.1", path: str = CHAT) -> bytes:
    return raw(f"POST {path} HTTP/{version}\r\n{HOST}{AUTH}{JSON}{fields}\r\n") + body


def chunked(body: bytes) -> bytes:
    return post("Transfer-Encoding: chunked\r\n", body)


def one_chunk(size: bytes | None = None, extension: bytes = b"", end: bytes = b"0\r\n\r\n") -> bytes:
    return (size if size is not None else b"%x" % len(BODY)) + extension + b"\r\n" + BODY + b"\r\n" + end


G1 = [
    Case("two spaces after the method", get("GET  /health HTTP/1.1"), (400,)),
    Case("two spaces before the version", get("GET /health  HTTP/1.1"), (400,)),
    Case("tab between", get("GET\t/health HTTP/1.1"), (400,)),
    Case("space before the method", get(" GET /health HTTP/1.1"), (400,)),
    Case("space after the version", get("GET /health HTTP/1.1 "), (400,)),
    Case("no version", get("GET /health"), (400, 505)),
    Case("HTTP/0.9", get("GET /health HTTP/0.9"), (505,)),
    Case("HTTP/1.2", get("GET /health HTTP/1.2"), (505,)),
    Case("HTTP/2.0", get("GET /health HTTP/2.0"), (505,)),
    Case("HTTP/9.9", get("GET /health HTTP/9.9"), (505,)),
    Case("HTTP/1.10", get("GET /health HTTP/1.10"), (400, 505)),
    Case("lower-case version", get("GET /health http/1.1"), (400, 505)),
    Case("RTSP", get("GET /health RTSP/1.0"), (400, 505)),
    Case("ICE", get("GET /health ICE/1.0"), (400, 505)),
    Case("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 501, 505)),
    Case("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)), (400,)),
    Case("three empty lines first", b"\r\n\r\n\r\n" + get(), (400,)),
    Case("bare LF", b"GET /health HTTP/1.1\nHost: gateway.test\n\n", (400,)),
    Case("bare LF after the request line", b"GET /health HTTP/1.1\nHost: gateway.test\r\n\r\n", (400,)),
    Case("bare CR after the request line", b"GET /health HTTP/1.1\rHost: gateway.test\r\n\r\n", (400,)),
]
G2 = [
    Case("no slash", get("GET health HTTP/1.1"), (400,)),
    Case("asterisk", get("OPTIONS * HTTP/1.1"), (400, 404, 405)),
    Case("fragment", get("GET /health#top HTTP/1.1"), (400,)),
    Case("fragment after a query", get("GET /health?a=b#top HTTP/1.1"), (400,)),
    Case("byte above 0x7f", get("GET /health\xe9 HTTP/1.1"), (400,)),
    Case("control byte", get("GET /health\x01 HTTP/1.1"), (400,)),
    Case("NUL", get("GET /health\x00 HTTP/1.1"), (400,)),
    Case("DEL", get("GET /health\x7f HTTP/1.1"), (400,)),
    Case("ftp address", get("GET ftp://gateway.test/health HTTP/1.1"), (400,)),
    Case("scheme without host", get("GET http:///health HTTP/1.1"), (400,)),
    Case("target of 8 KiB and more", get(f"GET /{'a' * 8 * KIB} HTTP/1.1"), (414,), 12),
    Case("endless target", b"GET /" + b"a" * 80 * KIB, (414, 431), 4),
]
G3 = [
    Case("CONNECT", get("CONNECT gateway.test:443 HTTP/1.1"), (400, 405, 501)),
    Case("lower-case method", get("get /health HTTP/1.1"), (400, 405, 501)),
    Case("unknown method", get("FETCH /health HTTP/1.1"), (400, 405, 501)),
    Case("method of 100 letters", get(f"{'A' * 100} /health HTTP/1.1"), (400, 405, 501)),
]
G4 = [
    Case("head above 64 KiB", get(fields=HOST + f"X-Pad: {'a' * 900}\r\n" * 80), (431,), 12),
    Case("101 fields", get(fields=HOST + "".join(f"X-{n}: 1\r\n" for n in range(100))), (431,), 60),
    Case("field name of 257 bytes", get(fields=f"{HOST}{'N' * 257}: 1\r\n"), (431,), 60),
    Case("endless field", raw(f"GET /health HTTP/1.1\r\n{HOST}X-Pad: ") + b"a" * 70 * KIB, (431,), 4),
    Case("endless field name", raw(f"GET /health HTTP/1.1\r\n{HOST}") + b"N" * 70 * KIB, (431,), 4),
    Case("a field of 1 MiB", get(fields=f"{HOST}X-Pad: {'a' * 1024 * KIB}\r\n"), (431,), 2),
    Case("20,000 fields", get(fields=HOST + "A: b\r\n" * 20_000), (431,), 4),
]
G5 = [
    Case("space before the colon", get(fields=HOST + "X-A : b\r\n"), (400,)),
    Case("tab before the colon", get(fields=HOST + "X-A\t: b\r\n"), (400,)),
    Case("space in the name", get(fields=HOST + "X A: b\r\n"), (400,)),
    Case("no name", get(fields=HOST + ": b\r\n"), (400,)),
    Case("no colon", get(fields=HOST + "X-A\r\n"), (400,)),
    Case("parenthesis in the name", get(fields=HOST + "X(A): b\r\n"), (400,)),
    Case("byte above 0x7f in the name", get(fields=HOST + "X-\xe9: b\r\n"), (400,)),
    Case("NUL in the value", get(fields=HOST + "X-A: b\x00c\r\n"), (400,)),
    Case("control byte in the value", get(fields=HOST + "X-A: b\x01c\r\n"), (400,)),
    Case("DEL in the value", get(fields=HOST + "X-A: b\x7fc\r\n"), (400,)),
    Case("bare CR in the value", get(fields=HOST + "X-A: b\rc\r\n"), (400,)),
    Case("bare LF in the value", get(fields=HOST + "X-A: b\nX-B: c\r\n"), (400,)),
    Case("folded line", get(fields=HOST + "X-A: b\r\n c\r\n"), (400,)),
    Case("line folded by a tab", get(fields=HOST + "X-A: b\r\n\tc\r\n"), (400,)),
    Case("folded first field", get(fields=" X-A: b\r\n" + HOST), (400,)),
]
G6 = [
    Case("no Host", get(fields=""), (400,)),
    Case("two Hosts", get(fields=HOST + HOST), (400,)),
    Case("two different Hosts", get(fields=HOST + "Host: other.test\r\n"), (400,)),
    Case("empty Host", get(fields="Host: \r\n"), (400,)),
    Case("space in Host", get(fields="Host: a b\r\n"), (400,)),
    Case("user in Host", get(fields="Host: user@gateway.test\r\n"), (400,)),
    Case("comma in Host", get(fields="Host: a.test,b.test\r\n"), (400,)),
    Case("slash in Host", get(fields="Host: gateway.test/x\r\n"), (400,)),
    Case("port that is no number", get(fields="Host: gateway.test:http\r\n"), (400,)),
    Case("two ports", get(fields="Host: gateway.test:1:2\r\n"), (400,)),
    Case("open bracket", get(fields="Host: [::1\r\n"), (400,)),
    Case("port alone", get(fields="Host: :4000\r\n"), (400,)),
    Case("byte above 0x7f in Host", get(fields="Host: g\xe9.test\r\n"), (400,)),
]
G7 = [
    Case(f"Content-Length {value!r}", post(f"Content-Length: {value}\r\n"), (400,))
    for value in ("+5", "-1", "0x5", "5, 5", "", "1_0", "5;", "5.0", "5 5", "abc", "1" * 20, "9" * 60)
] + [
    Case("Content-Length twice", post(LENGTH + LENGTH), (400,)),
    Case("two different Content-Lengths", post(LENGTH + "Content-Length: 3\r\n"), (400,)),
    Case("longer than the limit", post(f"Content-Length: {10 * KIB * KIB + 1}\r\n", b""), (413,)),
    Case("10^18 bytes announced", post(f"Content-Length: {10**18}\r\n", b""), (413,)),
]
G8 = [
    Case(f"Transfer-Encoding {value!r}", post(f"Transfer-Encoding: {value}\r\n", one_chunk()), (400, 501))
    for value in (
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "identity",
        "xchunked",
        "gzip",
        "",
        "chunked;q=1",
    )
] + [
    Case("Transfer-Encoding twice", post("Transfer-Encoding: chunked\r\n" * 2, one_chunk()), (400, 501)),
    Case("vertical tab before chunked", post("Transfer-Encoding: \x0bchunked\r\n", one_chunk()), (400, 501)),
    Case("chunked on HTTP/1.0", post("Transfer-Encoding: chunked\r\n", one_chunk(), version="1.0"), (400, 501)),
]
G9 = [
    Case("length, then chunked", post(LENGTH + "Transfer-Encoding: chunked\r\n", one_chunk()), (400,)),
    Case("chunked, then length", post("Transfer-Encoding: chunked\r\n" + LENGTH, one_chunk()), (400,)),
    Case("chunked with length 0", post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", one_chunk()), (400,)),
    Case("on a GET", get(fields=HOST + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n", (400,)),
]
G10 = [
    Case(f"chunk size {size!r}", chunked(one_chunk(size)), (400,))
    for size in (b"-1", b"+4b", b"0x4b", b" 4b", b"4b ", b"4_b", b"", b"g", b"4b\t", b"1" * 17, b"0" * 16 + b"4b")
] + [
    Case("LF after the size", chunked(b"%x\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"), (400,)),
    Case("CR CR LF after the size", chunked(b"%x\r\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"), (400,)),
    Case("nothing after the data", chunked(b"%x\r\n" % len(BODY) + BODY + b"0\r\n\r\n"), (400,)),
    Case("LF after the data", chunked(b"%x\r\n" % len(BODY) + BODY + b"\n0\r\n\r\n"), (400,)),
    Case("extension of 257 bytes", chunked(one_chunk(extension=b";" + b"e" * 257)), (400,), 60),
    Case("extension with LF", chunked(one_chunk(extension=b";a\nb")), (400,)),
    Case("endless extension", chunked(b"5;" + b"e" * 100 * KIB), (400,), 4),
    Case("endless zeros", chunked(b"0" * 100 * KIB), (400,), 4),
    Case(
        "trailers above 8 KiB",
        chunked(one_chunk(end=b"0\r\n" + b"X-T: " + b"t" * 9 * KIB + b"\r\n\r\n")),
        (400, 431),
        12,
    ),
    Case("endless trailers", chunked(one_chunk(end=b"0\r\n" + b"X-T: t\r\n" * 2000)), (400, 431), 4),
    Case("malformed trailer", chunked(one_chunk(end=b"0\r\nX T: t\r\n\r\n")), (400,)),
    Case("more framing than data", chunked((b"1;" + b"e" * 250 + b"\r\n \r\n") * 300 + one_chunk()), (400,), 4),
]
G12 = [
    Case(f"Content-Encoding {value}", post(f"{LENGTH}Content-Encoding: {value}\r\n"), (415,))
    for value in ("gzip", "br", "deflate", "identity, gzip")
]


def with_type(value: str) -> bytes:
    fields = f"{HOST}{AUTH}Content-Type: {value}\r\n{LENGTH}"
    return raw(f"POST {CHAT} HTTP/1.1\r\n{fields}\r\n") + BODY


G13 = [
    Case(f"Content-Type {value}", with_type(value), (415,))
    for value in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/jsonp",
    )
]
G14 = [Case("other expectation", post(LENGTH + "Expect: a-miracle\r\n"), (417,))]
G17 = [
    Case("two keys", post(LENGTH + AUTH), (400,)),
    Case("two x-api-key", post(LENGTH + "x-api-key: a\r\nX-Api-Key: b\r\n"), (400,)),
    Case("two types", post(LENGTH + JSON), (400,)),
]
REFUSED = {
    f"{rule}: {case.name[:60]}": case
    for rule, cases in {
        "G1": G1, "G2": G2, "G3": G3, "G4": G4, "G5": G5, "G6": G6, "G7": G7, "G8": G8, "G9": G9,
        "G10": G10, "G12": G12, "G13": G13, "G14": G14, "G17": G17,
    }.items()
    for case in cases
}  # fmt: skip


def check_refused(received: bytes, is_closed: bool, case: Case) -> None:
    replies, left = parse_replies(received)
    assert is_closed, "the connection was kept"
    assert not left, left[:200]
    assert len(replies) == 1, [reply.status for reply in replies]
    assert_error(replies[0], case.status)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_malformed_request_is_refused_however_it_is_cut(case: Case, gateway: Gateway, upstream: Upstream) -> None:
    """G1-G14, G17: right status, error JSON, closed; alone, cut in two anywhere, and with a request behind it."""
    upstream["gpt-4o"].forget()
    step = max(1, len(case.request) // case.cuts)
    plans = [[case.request], [case.request + SMUGGLED], [case.request, SMUGGLED]]
    plans += [[case.request[:place], case.request[place:]] for place in range(1, len(case.request), step)]

    for exchange in exchange_many(gateway.port, plans):
        check_refused(exchange.received, exchange.is_closed, case)

    assert b"smuggled" not in b"".join(request.body for request in upstream["gpt-4o"].requests)


def test_request_behind_a_good_one_does_run(gateway: Gateway, upstream: Upstream) -> None:
    """The counter-check of the table above: after a request that is not refused, the second one is served."""
    upstream["gpt-4o"].forget()

    [exchange] = exchange_many(
        gateway.port,
        [[post(LENGTH) + request_bytes("POST", CHAT, key=TEAM_KEY, body=chat_body("second"))]],
        is_enough=lambda received: len(parse_replies(received)[0]) == 2,
    )

    assert [reply.status for reply in parse_replies(exchange.received)[0]] == [200, 200]
    assert [r.json["messages"][0]["content"] for r in upstream["gpt-4o"].requests] == ["hello", "second"]
    upstream["gpt-4o"].forget()


SERVED = {
    "G1 two empty lines first": b"\r\n\r\n" + post(LENGTH),
    "G2 absolute address": raw(f"POST http://gateway.test{CHAT} HTTP/1.1\r\n{HOST}{AUTH}{JSON}{LENGTH}\r\n") + BODY,
    "G2 query": post(LENGTH, path=f"{CHAT}?a=b&c=%2f"),
    "G4 99 fields": post(LENGTH + "".join(f"X-{n}: 1\r\n" for n in range(95))),
    "G4 field name of 256 bytes": post(LENGTH + f"{'N' * 256}: 1\r\n"),
    "G5 bytes above 0x7f in a value": post(LENGTH + "X-Odd: caf\xe9 \xff\r\n"),
    "G5 tab in a value": post(LENGTH + "X-Odd: a\tb\r\n"),
    "G5 empty value": post(LENGTH + "X-Odd:\r\n"),
    "G6 IPv6 host": post(LENGTH).replace(b"Host: gateway.test", b"Host: [::1]:4000"),
    "G6 address and port": post(LENGTH).replace(b"Host: gateway.test", b"Host: 127.0.0.1:4000"),
    "G6 HTTP/1.0 without Host": raw(f"POST {CHAT} HTTP/1.0\r\n{AUTH}{JSON}{LENGTH}\r\n") + BODY,
    "G7 spaces around the length": post(f"Content-Length:  {len(BODY)} \r\n"),
    "G8 chunked": chunked(one_chunk()),
    "G10 one byte a chunk": chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"),
    "G10 extension": chunked(one_chunk(extension=b";name=value")),
    "G10 upper-case size with zeros": chunked(one_chunk(b"%08X" % len(BODY))),
    "G10 trailers": chunked(one_chunk(end=b"0\r\nX-Trailer: t\r\n\r\n")),
    "G12 identity": post(LENGTH + "Content-Encoding: identity\r\n"),
    "G13 no type": raw(f"POST {CHAT} HTTP/1.1\r\n{HOST}{AUTH}{LENGTH}\r\n") + BODY,
    "G13 charset": with_type("application/json; charset=utf-8"),
    "G13 charset in capitals and quotes": with_type('Application/JSON;charset="UTF-8"'),
    "upgrade to h2c": post(LENGTH + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"),
    "upgrade, chunked": post("Transfer-Encoding: chunked\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", one_chunk()),
}


@pytest.mark.parametrize("request_", SERVED.values(), ids=SERVED.keys())
def test_good_request_is_served_however_it_is_cut(request_: bytes, gateway: Gateway, upstream: Upstream) -> None:
    """What the rules allow works, and the body arrives upstream unchanged by where the packets end."""
    upstream["gpt-4o"].forget()
    step = max(1, len(request_) // 60)
    plans = [[request_], *([request_[:place], request_[place:]] for place in range(1, len(request_), step))]

    exchanges = exchange_many(gateway.port, plans, is_enough=lambda received: bool(parse_replies(received)[0]))

    for exchange in exchanges:
        [reply] = parse_replies(exchange.received)[0]
        assert reply.status == 200, reply.body
        assert reply.text == "Hello from gpt-4o"
    assert upstream["gpt-4o"].hits == len(plans)
    assert {r.json["messages"][0]["content"] for r in upstream["gpt-4o"].requests} == {"hello"}


@pytest.mark.parametrize(
    "target",
    [
        "//health", "/../health", "/./health", "/v1/../health", "/%2fhealth", "/%2e%2e/health", "/health/", "/HEALTH",
        "/health%00", "/health%2f", "/health;a=b", "/v1%2fmodels", "/v1//models", "/v1/v1/models", "/v1",
        "/nothing", "//gateway.test/health", "/\\health", "/v1/chat/completions/", "/v1/chat/completions%20",
        "http://gateway.test//health",
    ],
)  # fmt: skip
def test_odd_path_reaches_no_route(target: str, gateway: Gateway) -> None:
    """G2: routes match exact bytes; nothing is decoded, joined or cut."""
    assert_error(gateway.request("GET", target), 404, "not_found", type="invalid_request_error")


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/health", "GET"),
        ("DELETE", "/health", "GET"),
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("PATCH", "/embeddings", "POST"),
        ("POST", "/v1/models", "GET"),
        ("GET", "/router/reload", "POST"),
        ("GET", "/router/route", "POST"),
        ("POST", "/router/info", "GET"),
        ("OPTIONS", CHAT, "POST"),
    ],
)
def test_wrong_method_names_the_right_one(method: str, target: str, allowed: str, gateway: Gateway) -> None:
    """G3: 405 with Allow."""
    reply = gateway.request(method, target)

    assert_error(reply, 405, "method_not_allowed", type="invalid_request_error")
    assert allowed in reply.headers["allow"].split(", ")


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "PURGE", "QUERY", "LOCK", "SEARCH"])
@pytest.mark.parametrize("target", ["/health", CHAT, "/router/reload"])
def test_method_that_nothing_serves_runs_no_handler(method: str, target: str, gateway: Gateway) -> None:
    """G3."""
    assert_error(gateway.request(method, target, b"", headers={"Content-Length": "0"}), (400, 405, 501))


def test_header_line_with_a_key_of_odd_bytes_is_an_unknown_key(gateway: Gateway) -> None:
    """G5: bytes above 0x7f are opaque."""
    for value in ("sk-\xe9\xff", "\xff" * 2000, "sk-' OR '1'='1", "%", "*", "sk-" + "a" * 30_000):
        reply = gateway.request("GET", "/v1/models", key=value)
        assert_error(reply, 401, "invalid_api_key", type="authentication_error")
        assert value[:20].encode("latin-1") not in reply.body


def test_chunked_body_above_the_limit_is_refused_while_it_is_read(gateway: Gateway) -> None:
    """G11: 10 MiB, counted."""
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    pieces = [chunked(b""), *[piece] * 160, b"1\r\n \r\n"]

    [exchange] = exchange_many(gateway.port, [pieces], pause_s=0)

    [reply], left = parse_replies(exchange.received)
    assert_error(reply, 413)
    assert not left
    assert exchange.is_closed


def test_body_of_just_the_limit_is_read(gateway: Gateway) -> None:
    """G11: the limit itself is allowed; spaces around JSON are JSON."""
    body = BODY + b" " * (10 * KIB * KIB - len(BODY))

    assert gateway.request("POST", CHAT, body).status == 200


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("abc-DEF_1.2", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("a b", False),
        ("a/b", False),
        ("caf\xe9", False),
        ("", False),
        ("<script>", False),
    ],
)
def test_request_id_of_the_caller_is_kept_when_it_is_harmless(given: str, is_kept: bool, gateway: Gateway) -> None:
    """G18."""
    for method, target in (("GET", "/health"), ("GET", "/nothing"), ("GET", "/router/info")):
        reply = gateway.request(method, target, headers={"x-request-id": given})
        own = reply.headers["x-request-id"]
        assert (own == given) == is_kept
        assert own


@pytest.mark.parametrize("model", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "\x1b[31m", "é" * 300, "x" * 100_000])
def test_nothing_a_caller_writes_becomes_a_header(model: str, gateway: Gateway) -> None:
    """G19: the reply parses strictly, and has no header the caller made."""
    reply = gateway.chat(model=model, headers={"x-litellm-tags": "a,b", "x-litellm-trace-id": "t\x80"})

    assert_error(reply, (400, 404))
    assert "x-evil" not in reply.headers
    assert len(reply.body) < 2000


def test_head_has_the_headers_of_get_and_no_body(gateway: Gateway) -> None:
    """G20: and the next request on the connection is served."""
    with gateway.connect() as client:
        for target, key in (("/health", None), ("/v1/models", TEAM_KEY), ("/nothing", None), ("/v1/models", None)):
            client.send(request_bytes("GET", target, key=key))
            full = client.reply()
            client.send(request_bytes("HEAD", target, key=key))
            bare = client.reply("HEAD")
            assert bare.status == full.status
            assert bare.headers["content-type"] == full.headers["content-type"]
            assert int(bare.headers["content-length"]) == len(full.body)
        client.send(request_bytes("GET", "/health"))
        assert client.reply().status == 200


def test_no_header_tells_what_serves(gateway: Gateway) -> None:
    """G20: no server name or version."""
    for reply in (gateway.request("GET", "/health"), gateway.chat(), gateway.request("GET", "/nothing")):
        assert "server" not in reply.headers
        assert "x-powered-by" not in reply.headers
        assert not any("uvicorn" in value or "uvloop" in value for _, value in reply.fields)


def test_checks_come_in_order(gateway: Gateway) -> None:
    """Path and method, key, rights, media type, declared length, body: the first that fails answers."""
    huge = {"Content-Length": str(10**12), "Content-Type": "text/plain"}

    def ask(method: str, path: str, key: str | None, headers: dict[str, str]) -> int:
        with gateway.connect() as client:
            client.send(request_bytes(method, path, key=key, headers=headers))
            reply = client.reply(method)
            assert_error(reply, range(400, 500))
            assert client.is_closed()
            return reply.status

    assert ask("POST", "/nothing", None, huge) == 404
    assert ask("PUT", CHAT, None, huge) == 405
    assert ask("POST", CHAT, None, huge) == 401
    assert ask("POST", CHAT, "sk-unknown", huge) == 401
    assert ask("POST", "/router/route", SMALL_KEY, huge) == 403
    assert ask("POST", CHAT, TEAM_KEY, huge) == 415
    assert ask("POST", CHAT, TEAM_KEY, huge | {"Content-Type": "application/json"}) == 413
    reply = gateway.request("POST", CHAT, b'{"model": "nothing"', key=TEAM_KEY)
    assert_error(reply, 400, "invalid_json")


def test_answer_to_an_unread_body_reaches_a_client_that_is_still_sending(gateway: Gateway) -> None:
    """1b: an early answer is followed by a drain, not by a reset that would destroy it."""
    for _ in range(20):
        with gateway.connect() as client:
            client.send(request_bytes("POST", CHAT, headers={"Content-Length": "60000"}))
            client.send(b" " * 30_000)
            reply = client.reply()
            assert_error(reply, 401, "invalid_api_key")
            assert reply.headers["connection"] == "close"


def test_parse_error_echoes_nothing(gateway: Gateway) -> None:
    """Section 1: the message says what was wrong, in our words."""
    with Wire(gateway.port) as client:
        client.send(b"GET /health HTTP/1.1\r\nHost: gateway.test\r\nX-Se cret: tell-nobody\r\n\r\n")
        reply = client.reply()
    assert_error(reply, 400)
    assert b"tell-nobody" not in reply.body
    assert b"cret" not in reply.body
