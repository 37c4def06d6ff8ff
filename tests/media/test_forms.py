"""Forms with files go through without lying anywhere whole; what breaks on the way is told and recorded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from harness import dialect
from harness.gateway import TEAM_KEY, Gateway, eventually
from harness.taker import Taker
from harness.wire import Reply, Wire, request_bytes

BOUNDARY = "xYzZY-boundary-1"
SOUND = bytes(range(256)) * 40
MEGABYTE = 1 << 20


def part(name: str, value: bytes, file_name: str | None = None) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if file_name is not None:
        head += f'; filename="{file_name}"\r\nContent-Type: audio/mpeg'
    return head.encode() + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def ask(gateway: Gateway, path: str, body: bytes, *, key: str | None = TEAM_KEY, **headers: str) -> Reply:
    fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
    with gateway.connect() as client:
        client.send(request_bytes("POST", path, key=key, body=body, headers=fields))
        return client.reply("POST")


def parts_of(body: bytes) -> dict[str, bytes]:
    """A form as the provider got it: values by name, the head of a file before its content."""
    found = {}
    boundary = body.partition(b"\r\n")[0]
    assert BOUNDARY.encode() not in boundary
    for piece in body.split(boundary)[1:-1]:
        head, _, value = piece[2:].partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None
        found[name[1].decode()] = value.removesuffix(b"\r\n")
    return found


@pytest.fixture(autouse=True)
def good(taker: Taker) -> Iterator[None]:
    for name in ("ears", "token-ears", "painter", "ears-second"):
        taker[name].forget()
        taker[name].answers({"text": "Grüezi", "usage": {"type": "duration", "seconds": 30}})
    yield
    for name in ("ears", "token-ears", "painter", "ears-second"):
        taker[name].may_read.set()


TRANSCRIBE = "/v1/audio/transcriptions"


@pytest.mark.parametrize("model_comes", ["first", "last"])
@pytest.mark.parametrize("path", [TRANSCRIBE, "/audio/translations"])
def test_sound_reaches_the_model_and_is_billed_by_the_second(
    media: Gateway, taker: Taker, path: str, model_comes: str
) -> None:
    """whisper-1: 0.36 USD an hour. Whether the model's name stands before the file or after it."""
    parts = [part("language", b"de"), part("file", SOUND, 'a "b".mp3'), part("response_format", b"json")]
    parts.insert(0 if model_comes == "first" else 3, part("model", b"ears"))
    reply = ask(media, path, form(*parts, part("tags", b"t1")))
    assert reply.json["text"] == "Grüezi"
    taken = taker["ears"].last
    assert taken.path == path.replace("/audio", "v1/audio").replace("/v1v1", "v1")
    assert taken.headers["authorization"].startswith("Bearer sk-ears")
    sent = parts_of(taken.body)
    assert sent == {"model": b"whisper-1", "temperature": b"0.5", "language": b"de", "file": SOUND,
                    "response_format": b"json"}  # fmt: skip
    record = media.record_of(reply)
    assert record["units"] == {"seconds": 30.0}
    assert record["cost_nusd"] == 30 * 100_000
    assert (record["ended"], record["status"], record["usage_estimated"]) == ("complete", 200, False)


@pytest.mark.parametrize(
    ("answer", "kind", "seconds", "estimated"),
    [
        ({"task": "transcribe", "duration": 12.5, "text": "hi"}, "application/json", 12.5, False),
        (b"1\n00:00:00,000 --> 00:00:02,000\nHi\n\n2\n00:00:02,000 --> 00:01:02,500\nthere\n",
         "text/plain; charset=utf-8", 62.5, False),
        (b"WEBVTT\n\n00:00.000 --> 00:07.250\nHi\n", "text/vtt", 7.25, False),
        (b"Just words\n", "text/plain", (len(SOUND)) / 16_000, True),
    ],
)  # fmt: skip
def test_length_of_sound_is_read_off_every_format(
    media: Gateway, taker: Taker, answer: Any, kind: str, seconds: float, estimated: bool
) -> None:
    data = answer if isinstance(answer, bytes) else dialect.to_json(answer)
    taker["ears"].answers(data, headers={"content-type": kind})
    reply = ask(media, TRANSCRIBE, form(part("model", b"ears"), part("file", SOUND, "a.mp3")))
    assert reply.body == data
    assert reply.headers["content-type"] == kind
    record = media.record_of(reply)
    assert record["units"]["seconds"] == pytest.approx(seconds, abs=0.001)
    assert record["usage_estimated"] is estimated
    assert record["is_priced"] is True


def test_transcript_is_streamed_and_billed_by_its_tokens(media: Gateway, taker: Taker) -> None:
    """gpt-4o-transcribe: 2.5 USD a million tokens of text, 6 of sound, 10 of answer."""
    events = [
        dialect.event({"type": "transcript.text.delta", "delta": "Hi"}),
        dialect.event({"type": "transcript.text.done", "text": "Hi",
                       "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19,
                                 "input_token_details": {"text_tokens": 4, "audio_tokens": 10}}}),
    ]  # fmt: skip
    taker["token-ears"].sends(*dialect.chunked_stream(events))
    reply = ask(media, TRANSCRIBE, form(part("model", b"token-ears"), part("stream", b"true"),
                                        part("file", SOUND, "a.mp3")))  # fmt: skip
    assert reply.body == b"".join(events)
    record = media.record_of(reply)
    assert record["cost_nusd"] == 4 * 2_500 + 10 * 6_000 + 5 * 10_000
    assert record["is_stream"] is True


def test_pictures_from_pictures(media: Gateway, taker: Taker) -> None:
    figures = {"input_tokens": 100, "output_tokens": 200, "total_tokens": 300,
               "input_tokens_details": {"text_tokens": 60, "image_tokens": 40}}  # fmt: skip
    taker["painter"].answers({"created": 1, "data": [{"b64_json": "aGk="}], "usage": figures})
    body = form(part("model", b"painter"), part("prompt", b"more cats"), part("image[]", b"\x89PNG1", "1.png"),
                part("image[]", b"\x89PNG2", "2.png"), part("mask", b"\x89PNG3", "m.png"))  # fmt: skip
    reply = ask(media, "/v1/images/edits", body)
    assert reply.json["data"] == [{"b64_json": "aGk="}]
    assert taker["painter"].last.body.count(b'name="image[]"') == 2
    assert media.record_of(reply)["cost_nusd"] == 60 * 5_000 + 40 * 10_000 + 200 * 40_000


# --- large ones -----------------------------------------------------------------------------------------------------


def memory_mb(gateway: Gateway) -> float:
    """Of the worker, the largest process of the gateway."""
    return max([process.memory_info().rss for process in gateway.processes()]) / MEGABYTE


@pytest.mark.parametrize("model_comes", ["first", "last"])
def test_large_file_passes_in_bounded_memory(media: Gateway, taker: Taker, model_comes: str) -> None:
    """200 MB with ROUTEWRIGHT_LONG, else 40; the digest of what arrives is that of what was sent."""
    size_mb = 200 if os.environ.get("ROUTEWRIGHT_LONG") else 40
    ask(media, TRANSCRIBE, form(part("model", b"ears"), part("file", SOUND, "a.mp3")))  # all code is loaded
    before_mb = most_mb = memory_mb(media)
    piece = os.urandom(MEGABYTE)
    head = part("file", b"", "big.wav").removesuffix(b"\r\n")
    model = part("model", b"ears")
    tail = b"\r\n" + (b"" if model_comes == "first" else model) + f"--{BOUNDARY}--\r\n".encode()
    start = (model if model_comes == "first" else b"") + head
    length = len(start) + size_mb * MEGABYTE + len(tail)
    with media.connect(timeout_s=100) as client:
        fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Length": str(length)}
        client.send(request_bytes("POST", TRANSCRIBE, key=TEAM_KEY, headers=fields) + start)
        for place in range(size_mb):
            client.send(piece)
            if place % 5 == 0:
                most_mb = max(most_mb, memory_mb(media))
        client.send(tail)
        reply = client.reply("POST")
    assert reply.status == 200, reply.body
    taken = taker["ears"].last
    boundary = taken.headers["content-type"].partition("boundary=")[2].encode()
    first = part("model", b"whisper-1") + part("temperature", b"0.5") + head
    wanted = hashlib.sha256(first.replace(BOUNDARY.encode(), boundary))
    for _ in range(size_mb):
        wanted.update(piece)
    wanted.update(b"\r\n--%b--\r\n" % boundary)
    assert taken.digest == wanted.hexdigest()
    assert max(most_mb, memory_mb(media)) - before_mb < 12, (before_mb, most_mb)


def test_upstream_that_takes_nothing_stops_the_client(media: Gateway, taker: Taker) -> None:
    """Back-pressure: what the gateway holds of a body is what two sockets hold."""
    taker["ears"].may_read.clear()
    start = part("model", b"ears") + part("file", b"", "big.wav").removesuffix(b"\r\n")
    with media.connect() as client:
        fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Length": str(100 * MEGABYTE)}
        client.send(request_bytes("POST", TRANSCRIBE, key=TEAM_KEY, headers=fields) + start)
        client.socket.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 90 * MEGABYTE:
                sent += client.socket.send(b"x" * 65536)
        assert sent < 40 * MEGABYTE
        taker["ears"].may_read.set()
        client.socket.settimeout(30)
        client.send(b"x" * MEGABYTE)  # goes on where there is room again


# --- what goes wrong ------------------------------------------------------------------------------------------------


def started(gateway: Gateway, *, length: int, request_id: str, start: bytes = b"", chunked: bool = False) -> Wire:
    client = gateway.connect()
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(length)}
    fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "X-Request-Id": request_id, **framing}
    client.send(request_bytes("POST", TRANSCRIBE, key=TEAM_KEY, headers=fields) + start)
    return client


BEGUN = part("model", b"ears") + part("file", b"x" * 1000, "a.wav").removesuffix(b"\r\n")


def test_client_that_leaves_in_mid_upload_ends_the_upstreams_request(media: Gateway, taker: Taker) -> None:
    client = started(media, length=MEGABYTE, request_id="gone-mid-upload", start=BEGUN)
    eventually(lambda: taker["ears"].requests and taker["ears"].last.length > 500, what="the beginning upstream")
    client.reset()
    eventually(lambda: taker["ears"].last.was_cut, what="the upstream's end")
    eventually(lambda: media.records_of("gone-mid-upload"), what="a record")
    (record,) = media.records_of("gone-mid-upload")
    assert (record["ended"], record["status"], record["model"]) == ("client_gone", 499, "ears")


def test_upstream_that_breaks_off_in_mid_upload_is_no_second_try(media: Gateway, taker: Taker) -> None:
    taker["ears-second"].cuts_after = 100_000
    body = form(part("model", b"two-ears"), part("file", b"x" * 3 * MEGABYTE, "a.wav"))
    reply = ask(media, TRANSCRIBE, body)
    assert (reply.status, reply.error["code"]) == (502, "upstream_error")
    assert len(taker["ears-second"].requests) == 1
    record = media.record_of(reply)
    assert (record["ended"], record["attempts"]) == ("upstream_failed", 2)  # the first took no connection


def test_next_deployment_is_asked_while_nothing_has_gone(media: Gateway, taker: Taker) -> None:
    reply = ask(media, TRANSCRIBE, form(part("model", b"two-ears"), part("file", SOUND, "a.wav")))
    assert reply.json["text"] == "Grüezi"
    assert taker["ears-second"].last.is_whole


def test_upstream_that_answers_early_is_heard(media: Gateway, taker: Taker) -> None:
    taker["ears"].is_early = True
    taker["ears"].answers(dialect.openai_error("file too large", code="file_too_large"), status=413)
    with started(media, length=50 * MEGABYTE, request_id="early", start=BEGUN) as client:
        reply = client.reply("POST")
    assert (reply.status, reply.error["code"]) == (400, "file_too_large")
    assert reply.headers["connection"] == "close"


def test_answer_that_breaks_off_has_no_end(media: Gateway, taker: Taker) -> None:
    head = dialect.head(200, {"content-type": "text/plain", "transfer-encoding": "chunked"})
    taker["ears"].sends(head, dialect.http_chunk(b"half a "), b"")
    with started(media, length=len(form(BEGUN + b"\r\n")), request_id="half", start=form(BEGUN + b"\r\n")) as client:
        while client.receive():
            pass
        assert b"half a " in client.buffer
        assert not client.buffer.endswith(b"0\r\n\r\n")
    eventually(lambda: media.records_of("half"), what="a record")
    assert media.records_of("half")[0]["ended"] == "upstream_failed"


def test_provider_that_refuses_says_so_in_our_words(media: Gateway, taker: Taker) -> None:
    taker["ears"].answers(dialect.openai_error("Invalid file format. sk-ears-canary-5d1f0c7a9be2"), status=400)
    reply = ask(media, TRANSCRIBE, form(part("model", b"ears"), part("file", SOUND, "a.mp3")))
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert "Invalid file format" in reply.error["message"]
    taker["ears"].answers(b"", status=401)
    assert ask(media, TRANSCRIBE, form(part("model", b"ears"), part("file", SOUND, "a.mp3"))).status == 502


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (form(part("file", SOUND, "a.mp3")), 400, "model"),
        (form(part("model", b"ears")), 400, "file"),
        (form(part("model", b"ears"), part("file", SOUND, "a.mp3"), part("api_base", b"http://evil")), 400, "api_base"),
        (form(part("model", b"ears"), part("model", b"ears"), part("file", SOUND, "a.mp3")), 400, "model"),
        (form(part("model", b"ears"), part("user", b"\xff"), part("file", SOUND, "a.mp3")), 400, "user"),
        (form(part("model", b"nobody"), part("file", SOUND, "a.mp3")), 404, "model"),
        (form(part("model", b"auto"), part("file", SOUND, "a.mp3")), 400, "model"),
        (form(part("model", b"claude"), part("file", SOUND, "a.mp3")), 400, "model"),
        (form(part("model", b"ears"), part("timeout", b"soon"), part("file", SOUND, "a.mp3")), 400, "timeout"),
        (b"no form at all", 400, None),
        (part("model", b"ears") + part("file", SOUND, "a.mp3"), 400, None),
        (form(part("model", b"ears"), b"--" + BOUNDARY.encode() + b"\r\nX: y\r\n\r\nz\r\n"), 400, None),
        (form(part("model", b"ears"), part("prompt", b"x" * 300_000), part("file", SOUND, "a.mp3")), 400, "prompt"),
        (form(*[part("f", b"x") for _ in range(300)]), 400, None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_form_is_named(media: Gateway, body: bytes, status: int, param: str | None) -> None:
    reply = ask(media, TRANSCRIBE, body)
    assert (reply.status, reply.error["param"]) == (status, param), reply.body
    record = media.record_of(reply)
    assert record["status"] == status


def test_what_a_file_holds_is_no_field_for_anybody(media: Gateway, taker: Taker) -> None:
    """Servers differ in what they take for a boundary at a part's begin: the client's is none to the provider."""
    sound = part("model", b"whisper-dear").removesuffix(b"\r\n")
    reply = ask(media, TRANSCRIBE, form(part("model", b"ears"), part("file", sound, "a.mp3")))
    assert reply.status == 200
    taken = taker["ears"].last
    assert taken.headers["content-type"].encode().endswith(taken.body.partition(b"\r\n")[0][2:])
    assert parts_of(taken.body) == {"model": b"whisper-1", "temperature": b"0.5", "file": sound}


@pytest.mark.parametrize("name", ["model", "api_base", "tags[]"])
def test_field_that_counts_can_not_be_a_file(media: Gateway, taker: Taker, name: str) -> None:
    """A file without a name is a field for some servers, and would name another model there."""
    parts = part("model", b"ears"), part(name, b"whisper-dear", ""), part("file", SOUND, "a.mp3")
    reply = ask(media, TRANSCRIBE, form(*parts))
    assert (reply.status, reply.json["error"]["param"]) == (400, name)
    parts = part("model", b"ears"), part("file", SOUND, "a.mp3"), part(name, b"whisper-dear", "")
    assert ask(media, TRANSCRIBE, form(*parts)).status == 400


def test_wrong_kind_and_wrong_size_are_refused_before_the_body(media: Gateway, taker: Taker) -> None:
    reply = ask(media, TRANSCRIBE, b"{}", **{"Content-Type": "application/json"})
    assert reply.status == 400
    assert "multipart/form-data" in reply.error["message"]
    with started(media, length=1 << 40, request_id="huge") as client:
        reply = client.reply("POST")
        assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    with started(media, length=0, request_id="bad-chunks", start=b"zz\r\n", chunked=True) as client:
        reply = client.reply("POST")
        assert (reply.status, reply.error["code"]) == (400, "bad_request")
    assert not taker["ears"].requests
    assert ask(media, TRANSCRIBE, form(part("model", b"ears")), key=None).status == 401
    key = "sk-voice-only"
    reply = ask(media, TRANSCRIBE, form(part("model", b"ears"), part("file", SOUND, "a.mp3")), key=key)
    assert (reply.status, reply.error["code"]) == (403, "model_access_denied")


def test_connection_serves_on_after_an_upload_that_came_whole(media: Gateway) -> None:
    body = form(part("model", b"ears"), part("file", SOUND, "a.mp3"))
    fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    request = request_bytes("POST", TRANSCRIBE, key=TEAM_KEY, body=body, headers=fields)
    with media.connect() as client:
        client.send(request + request_bytes("GET", "/health/liveliness") + request)
        assert [client.reply("POST").status for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_form_in_pieces_is_the_same_form(media: Gateway, taker: Taker, size: int) -> None:
    tricky = b"\r\n--xYzZY-boundary-" + b"\r\n--xYzZY-boundary-2--\r\n" + b"\r\r\n-\r\n--" + BOUNDARY.encode()[:-1]
    body = form(part("model", b"ears"), part("file", tricky, "a.mp3"))
    fields = {"Content-Type": f'multipart/form-data; boundary="{BOUNDARY}"', "Transfer-Encoding": "chunked"}
    with media.connect() as client:
        client.send(request_bytes("POST", TRANSCRIBE, key=TEAM_KEY, headers=fields))
        for place in range(0, len(body), size):
            client.send(dialect.http_chunk(body[place : place + size]))
            if size > 1 or place % 50 == 0:
                time.sleep(0.001)
        client.send(dialect.LAST_HTTP_CHUNK)
        assert client.reply("POST").status == 200
    assert parts_of(taker["ears"].last.body)["file"] == tricky


def test_no_file_is_left_behind(media: Gateway) -> None:
    ask(media, TRANSCRIBE, form(part("file", SOUND * 60, "a.mp3"), part("model", b"ears")))
    worker = psutil.Process(media.process.pid)
    assert not [file for file in worker.open_files() if "(deleted)" in file.path]
