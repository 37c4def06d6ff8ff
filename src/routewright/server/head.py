"""One request head, from bytes to checked fields. llhttp does the grammar; what it lets through is refused here.

Source: RFC 9110 and RFC 9112; rule numbers G1..G20 are those of the tests.
"""

from __future__ import annotations

import re

import httptools

from routewright.errors import FrontError
from routewright.settings import FrontLimits

_REQUEST_LINE = re.compile(rb"([A-Z]{3,7}) ((?:/|https?://)[\x21\x22\x24-\x7e]*) HTTP/(1\.[01])")
_ABSOLUTE_FORM = re.compile(r"https?://([^/?]+)(/[^?]*)?")
_ANY_VERSION = re.compile(rb".* [A-Z]+/(\d+\.\d+)")
_HOST = re.compile(rb"(?:[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_TOKEN_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_JSON_TYPE = re.compile(rb"application/(?:[a-z0-9.+-]+\+)?json(?:\s*;\s*charset=\"?utf-?8\"?)?\s*", re.IGNORECASE)
_BARE_LF = re.compile(rb"(?<!\r)\n")
MAX_LENGTH_DIGITS = 19
MAX_EMPTY_LINES = 2
MEMO_HEADS = 512
MEMO_HEAD_BYTES = 4096
_ONE_TIME_FIELDS = frozenset({b"x-request-id", b"traceparent", b"idempotency-key", b"date"})
"""A head with one of these does not come again."""
_LENGTH_FIELD = b"\r\nContent-Length: "
_LENGTH_FIELD_LOWER = b"\r\ncontent-length: "

# Fields that decide who asks or what follows: two of them mean that somebody else may read the other one.
_ONCE = frozenset(
    {b"host", b"authorization", b"x-api-key", b"content-type", b"content-length", b"transfer-encoding", b"expect"}
    | {b"x-litellm-api-key", b"api-key", b"content-encoding"}
)


class Head:
    """A request head that passed every check."""

    __slots__ = (
        "content_length",
        "expects_continue",
        "headers",
        "is_chunked",
        "is_http_1_0",
        "is_plain_json",
        "keeps_alive",
        "method",
        "path",
        "query",
    )

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.query = ""
        self.headers: dict[bytes, bytes] = {}
        self.content_length = 0
        self.is_chunked = False
        self.is_http_1_0 = False
        self.is_plain_json = False
        """What it announces was looked at, and is taken."""
        self.keeps_alive = False
        self.expects_continue = False


NO_HEAD = Head()
"""Stands where no head has been read yet."""


class _Fields:
    """What llhttp calls back with."""

    __slots__ = ("list", "url")

    def __init__(self) -> None:
        self.list: list[tuple[bytes, bytes]] = []
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.list.append((name, value))


def _bad(message: str, status: int = 400, code: str = "bad_request") -> FrontError:
    return FrontError(status, code, message)


def parse_head(raw: bytes, limits: FrontLimits) -> Head:
    """Read a whole head, from the request line to the empty line. Raises FrontError, always with `close` set."""
    if len(raw) > limits.max_head_bytes:
        raise _bad(f"request head larger than {limits.max_head_bytes} bytes", 431, "head_too_large")
    line_end = raw.find(b"\r\n")
    found = _REQUEST_LINE.fullmatch(raw, 0, line_end)
    if found is None:
        raise request_line_error(raw[:line_end], limits)
    method_bytes, target, version = found.groups()
    if len(target) > limits.max_target_bytes:
        raise _bad(f"request target longer than {limits.max_target_bytes} bytes", 414, "uri_too_long")
    method = method_bytes.decode("ascii")
    if method not in METHODS:
        raise _bad("method not known here", 501, "method_not_implemented")

    fields = _Fields()
    parser = httptools.HttpRequestParser(fields)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # served as if Upgrade were absent; the body is ours to read
    except httptools.HttpParserError as error:
        raise _bad("malformed request head") from error
    if fields.url != target:
        raise _bad("malformed request line")

    if len(fields.list) > limits.max_fields:
        raise _bad(f"more than {limits.max_fields} header fields", 431, "too_many_fields")
    headers: dict[bytes, bytes] = {}
    for name, value in fields.list:
        name = name.lower()
        if name in headers:
            if name in _ONCE:
                raise _bad(f"{name.decode('ascii')} given more than once")
            headers[name] += b", " + value.strip(b" \t")
        elif len(name) > limits.max_field_name_bytes:
            raise _bad(f"header name longer than {limits.max_field_name_bytes} bytes", 431, "field_name_too_long")
        else:
            headers[name] = value.strip(b" \t")

    head = Head()
    head.method = method
    head.headers = headers
    head.is_http_1_0 = version == b"1.0"
    _read_target(head, target.decode("ascii"))
    _check_host(headers, head.is_http_1_0)
    _read_framing(head)
    connection = headers.get(b"connection")
    if connection is None:
        head.keeps_alive = not head.is_http_1_0
    else:
        tokens = [token.strip() for token in connection.lower().split(b",")]
        head.keeps_alive = b"close" not in tokens and (not head.is_http_1_0 or b"keep-alive" in tokens)
        if b"upgrade" in tokens:
            head.keeps_alive = False
    expect = headers.get(b"expect")
    head.expects_continue = expect is not None and not head.is_http_1_0
    if head.expects_continue and expect is not None and expect.lower() != b"100-continue":
        raise _bad("the only expectation known here is 100-continue", 417, "expectation_failed")
    return head


def request_line_error(line: bytes, limits: FrontLimits) -> FrontError:
    """Say what is wrong with a request line that is not ours."""
    parts = line.split(b" ")
    if len(line) > limits.max_target_bytes + 32:
        return _bad(f"request target longer than {limits.max_target_bytes} bytes", 414, "uri_too_long")
    version = _ANY_VERSION.fullmatch(line)
    if len(parts) == 3 and version is not None and parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        if parts[2].startswith(b"HTTP/"):
            return _bad("only HTTP/1.0 and HTTP/1.1 are served here", 505, "http_version_not_supported")
        return _bad("malformed request line")
    if len(parts) == 3 and _TOKEN_METHOD.fullmatch(parts[0]) and parts[0].decode("ascii") not in METHODS:
        return _bad("method not known here", 501, "method_not_implemented")
    return _bad("malformed request line: expected method, target and HTTP version, one space between")


def _read_target(head: Head, target: str) -> None:
    if target[0] != "/":
        found = _ABSOLUTE_FORM.match(target)
        if found is None or _HOST.fullmatch(found.group(1).encode("ascii")) is None:
            raise _bad("malformed request target")
        target = target[found.end(1) :]
        if not target.startswith("/"):
            target = "/" + target
    head.path, _, head.query = target.partition("?")


def _check_host(headers: dict[bytes, bytes], is_http_1_0: bool) -> None:
    host = headers.get(b"host")
    if host is None:
        if not is_http_1_0:
            raise _bad("HTTP/1.1 asks for a Host header")
    elif _HOST.fullmatch(host) is None:
        raise _bad("malformed Host header")


def _read_framing(head: Head) -> None:
    headers = head.headers
    length = headers.get(b"content-length")
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise _bad("Content-Length and Transfer-Encoding together")
        if head.is_http_1_0:
            raise _bad("Transfer-Encoding is not part of HTTP/1.0")
        if coding.lower() != b"chunked":
            raise _bad("the only transfer coding served here is chunked", 501, "transfer_coding_not_supported")
        head.is_chunked = True
    elif length is not None:
        if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
            raise _bad("malformed Content-Length")
        head.content_length = int(length)
        del headers[b"content-length"]  # `HeadMemo` gives one head to requests that differ in nothing else


def caller_request_id(headers: dict[bytes, bytes]) -> str | None:
    """The caller's own `x-request-id`, if it is one we would repeat."""
    value = headers.get(b"x-request-id")
    if value is None or _REQUEST_ID.fullmatch(value) is None:
        return None
    return value.decode("ascii")


class HeadMemo:
    """Heads that were read lately. A client says the same one again and again, save for the length of its body.

    What is remembered under is the whole head without the digits of its Content-Length, so a head that is found has
    byte by byte passed every check, and its digits are checked anew.
    """

    __slots__ = ("_after", "_before", "_heads", "_last", "_limits")

    def __init__(self, limits: FrontLimits) -> None:
        self._limits = limits
        self._heads: dict[tuple[bytes, bytes], Head] = {}
        self._before = self._after = b""
        """What stands around the length in the head that was found last: mostly it is this one again."""
        self._last = NO_HEAD

    def read(self, raw: bytes) -> tuple[Head, int]:
        """The head, which other requests may share, and its Content-Length. Raises FrontError as `parse_head`."""
        before, after = self._before, self._after
        if before and raw.startswith(before) and raw.endswith(after):
            digits = raw[len(before) : -len(after)]
            if digits.isdigit() and len(digits) <= MAX_LENGTH_DIGITS:
                return self._last, int(digits)
        at = raw.find(_LENGTH_FIELD)
        if at < 0:
            at = raw.find(_LENGTH_FIELD_LOWER)
        if at < 0 or len(raw) > MEMO_HEAD_BYTES:
            head = parse_head(raw, self._limits)
            return head, head.content_length
        at += len(_LENGTH_FIELD)
        end = raw.find(b"\r\n", at)
        digits = raw[at:end]
        key = (raw[:at], raw[end:])
        known = self._heads.get(key)
        if known is not None and digits.isdigit() and len(digits) <= MAX_LENGTH_DIGITS:
            (self._before, self._after), self._last = key, known
            return known, int(digits)
        head = parse_head(raw, self._limits)
        if _ONE_TIME_FIELDS.isdisjoint(head.headers):
            if len(self._heads) >= MEMO_HEADS:
                self._heads.clear()
            self._heads[key] = head
        return head, head.content_length


class HeadProbe:
    """Looks at a head that is still arriving, so that what is already wrong need not wait for the rest."""

    __slots__ = ("_limits", "_line_checked", "_parser", "_raw_seen")

    def __init__(self, limits: FrontLimits) -> None:
        self._limits = limits
        self._parser = httptools.HttpRequestParser(_Fields())
        self._raw_seen = 0
        self._line_checked = False

    def look(self, raw: bytes) -> None:
        """`raw` is all of the head that has come, no end of head in it. Raises FrontError."""
        limits = self._limits
        if len(raw) > limits.max_head_bytes:
            raise _bad(f"request head larger than {limits.max_head_bytes} bytes", 431, "head_too_large")
        if not self._line_checked:
            line_end = raw.find(b"\r\n")
            if line_end >= 0:
                self._line_checked = True
                if _REQUEST_LINE.fullmatch(raw, 0, line_end) is None:
                    raise request_line_error(raw[:line_end], limits)
            elif len(raw) > limits.max_target_bytes + 32:
                raise _bad(f"request target longer than {limits.max_target_bytes} bytes", 414, "uri_too_long")
            elif not 65 <= raw[0] <= 90 or b"\n" in raw:
                raise _bad("malformed request line")
        if _BARE_LF.search(raw, self._raw_seen):
            raise _bad("line ends must be CRLF")
        if self._line_checked:
            # The last two bytes stay back: a CRLF cut in two is judged when it is whole.
            upto = len(raw) - 2
            if upto > self._raw_seen:
                try:
                    self._parser.feed_data(raw[self._raw_seen : upto])
                except httptools.HttpParserError as error:
                    raise _bad("malformed request head") from error
                self._raw_seen = upto


def check_media(head: Head) -> None:
    """Raises FrontError where it announces a body that is not plain JSON."""
    media_type = head.headers.get(b"content-type")
    if media_type and media_type != b"application/json" and _JSON_TYPE.fullmatch(media_type) is None:
        raise FrontError(415, "unsupported_media_type", "expected Content-Type application/json, in UTF-8")
    if head.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise FrontError(415, "unsupported_media_type", "compressed request bodies are not taken")


def check_upload(head: Head, length: int, max_bytes: int) -> None:
    """Raises FrontError where it announces a body that is compressed, or too long to be handed on."""
    if head.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise FrontError(415, "unsupported_media_type", "compressed request bodies are not taken")
    if length > max_bytes:
        raise FrontError(413, "request_too_large", f"the body may have at most {max_bytes} bytes")
