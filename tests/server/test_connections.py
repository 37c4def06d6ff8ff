"""Connections of the front: keep-alive, pipelining, 100 Continue, upgrades, dropped bodies, trailers, slow clients."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import pytest

from harness import dialect
from harness.gateway import SMALL_KEY, TEAM_KEY, Gateway, eventually
from harness.models import Model
from harness.upstream import Flood, Send, Upstream, Wait
from harness.wire import Wire, assert_error, parse_replies, request_bytes

CHAT = "/v1/chat/completions"


def chat_request(
    prompt: str = "hello", model: str = "gpt-4o", headers: dict[str, str] | None = None, **fields
) -> bytes:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], **fields}).encode()
    return request_bytes("POST", CHAT, key=TEAM_KEY, body=body, headers=headers)


HEALTH = request_bytes("GET", "/health")


def test_one_connection_carries_many_requests(gateway: Gateway) -> None:
    with gateway.connect() as client:
        for turn in range(30):
            client.send(chat_request(stream=bool(turn % 2)))
            assert client.reply().text == "Hello from gpt-4o"
            client.send(request_bytes("GET", "/nothing"))
            assert_error(client.reply(), 404)


def test_connection_ends_when_the_client_says_so(gateway: Gateway) -> None:
    for close, is_closed in (({"Connection": "close"}, True), ({"Connection": "keep-alive"}, False), ({}, False)):
        for request in (request_bytes("GET", "/health", headers=close), chat_request(headers=close)):
            with gateway.connect() as client:
                client.send(request)
                reply = client.reply()
                assert reply.status == 200
                if is_closed:
                    assert reply.headers["connection"] == "close"
                    assert client.is_closed()
                else:
                    client.send(HEALTH)
                    assert client.reply().status == 200


def test_old_protocol_closes_unless_asked_to_keep(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert client.reply().status == 200
        assert client.is_closed()


def test_old_protocol_gets_a_stream_it_can_read(gateway: Gateway) -> None:
    """HTTP/1.0 knows no chunked encoding: the stream ends with the connection."""
    with gateway.connect() as client:
        client.send(chat_request(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
        reply = client.reply()
        assert "transfer-encoding" not in reply.headers
        assert reply.text == "Hello from gpt-4o"
        assert reply.events[-1] == "[DONE]"


def test_bytes_behind_a_closing_request_are_dropped(gateway: Gateway, upstream: Upstream) -> None:
    """Section 1: llhttp raises in the same call that completed the request; it is answered all the same."""
    upstream["gpt-4o"].forget()
    with gateway.connect() as client:
        client.send(chat_request("first", headers={"Connection": "close"}) + chat_request("behind"))
        assert client.reply().status == 200
        assert client.is_closed()
    assert [r.json["messages"][0]["content"] for r in upstream["gpt-4o"].requests] == ["first"]


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, upstream: Upstream) -> None:
    """G16: also when a later one would be faster, and when there are more than may wait."""

    def slow_when_asked(request):
        prompt = request.json["messages"][0]["content"]
        answer = Send(dialect.response(200, dialect.to_json(dialect.chat_completion(prompt))))
        return [Wait(0.1), answer] if prompt == "0" else [answer]

    upstream["gpt-4o"].runs(slow_when_asked)
    try:
        with gateway.connect() as client:
            client.send(b"".join(chat_request(str(n)) if n % 3 == 0 else HEALTH for n in range(60)))
            for n in range(60):
                reply = client.reply()
                if n % 3 == 0:
                    assert reply.text == str(n)
                else:
                    assert reply.json["status"] == "healthy"
    finally:
        upstream["gpt-4o"].forget()


def test_pipelined_stream_is_whole_before_the_next_answer(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.send(chat_request(stream=True) + HEALTH + chat_request(stream=True))
        assert client.reply().events[-1] == "[DONE]"
        assert client.reply().json["status"] == "healthy"
        assert client.reply().events[-1] == "[DONE]"


def test_refusal_waits_for_the_answers_before_it(gateway: Gateway) -> None:
    """G16: what was asked before the malformed request is answered first, and then nothing more is read."""
    with gateway.connect() as client:
        client.send(chat_request() + b"GET /health HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n" + HEALTH)
        assert client.reply().status == 200
        assert_error(client.reply(), 400)
        assert client.is_closed()


# --- 100 Continue -----------------------------------------------------------------------------------------------


def expecting(length: int, key: str | None = TEAM_KEY, **headers: str) -> bytes:
    fields = {"Content-Length": str(length), "Content-Type": "application/json", "Expect": "100-continue"}
    return request_bytes("POST", CHAT, key=key, headers=fields | headers)


def test_continue_is_said_once_the_head_is_accepted(gateway: Gateway) -> None:
    """G14."""
    body = chat_request().partition(b"\r\n\r\n")[2]
    with gateway.connect() as client:
        client.send(expecting(len(body)))
        told = client.reply()
        assert told.status == 100
        assert not told.fields
        client.send(body)
        assert client.reply().text == "Hello from gpt-4o"
        client.send(HEALTH)
        assert client.reply().status == 200


def test_continue_is_not_said_when_the_body_is_already_there(gateway: Gateway) -> None:
    """G14: the client did not wait; either way the answer is one."""
    body = chat_request().partition(b"\r\n\r\n")[2]
    with gateway.connect() as client:
        client.send(expecting(len(body)) + body)
        reply = client.reply()
        if reply.status == 100:
            reply = client.reply()
        assert reply.text == "Hello from gpt-4o"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (expecting(10, key=None), 401),
        (expecting(10, key="sk-nobody"), 401),
        (expecting(10**9), 413),
        (expecting(10, **{"Content-Type": "text/plain"}), 415),
        (expecting(10).replace(CHAT.encode(), b"/nothing"), 404),
        (expecting(10, key=SMALL_KEY).replace(CHAT.encode(), b"/router/route"), 403),
    ],
)
def test_body_is_never_asked_for_from_somebody_who_is_refused(request_: bytes, status: int, gateway: Gateway) -> None:
    """G14: no 100 before key, right, media type and declared length have passed."""
    with gateway.connect() as client:
        client.send(request_)
        assert_error(client.reply(), status)
        assert client.is_closed()


# --- bodies where none belong, upgrades, trailers ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_body_on_a_method_without_one_is_dropped(method: str, gateway: Gateway) -> None:
    """G15: framed and dropped, never taken for the next request."""
    inner = request_bytes("GET", "/nothing")
    length = f"Content-Length: {len(inner)}\r\n"
    for framing, body in (
        (length, inner),
        ("Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)),
    ):
        with gateway.connect() as client:
            client.send(f"{method} /health HTTP/1.1\r\nHost: a\r\n{framing}\r\n".encode() + body)
            first = client.reply(method)
            assert first.status == (405 if method == "DELETE" else 200)
            if first.headers.get("connection") != "close":
                client.send(HEALTH)
                assert client.reply().status == 200
            assert client.stays_silent(0.05) or not client.buffer


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0", "foo"])
def test_upgrade_is_ignored_and_the_body_is_read(upgrade: str, gateway: Gateway, upstream: Upstream) -> None:
    """Section 1: served as if Upgrade were absent, then closed."""
    upstream["gpt-4o"].forget()
    with gateway.connect() as client:
        request = chat_request("upgraded", headers={"Connection": "Upgrade", "Upgrade": upgrade})
        client.send(request[:-20])
        time.sleep(0.02)
        client.send(request[-20:])
        assert client.reply().text == "Hello from gpt-4o"
        assert client.is_closed()
    assert upstream["gpt-4o"].last.json["messages"][0]["content"] == "upgraded"


def test_upgrade_without_a_body_is_served(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.send(request_bytes("GET", "/health", headers={"Connection": "Upgrade", "Upgrade": "h2c"}))
        assert client.reply().json["status"] == "healthy"


@pytest.mark.parametrize(
    "trailer",
    [
        f"Authorization: Bearer {TEAM_KEY}",
        f"x-api-key: {TEAM_KEY}",
        f"x-litellm-api-key: {TEAM_KEY}",
        f"Trailer: Authorization\r\nAuthorization: Bearer {TEAM_KEY}",
    ],
)
def test_trailer_never_authenticates(trailer: str, gateway: Gateway, upstream: Upstream) -> None:
    """Section 1: llhttp hands trailers to the same callback as headers."""
    upstream["gpt-4o"].forget()
    body = chat_request("by trailer").partition(b"\r\n\r\n")[2]
    head = request_bytes("POST", CHAT, headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
    with gateway.connect() as client:
        client.send(head + b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(body), body, trailer.encode()))
        assert_error(client.reply(), 401, "invalid_api_key")
    assert upstream["gpt-4o"].hits == 0


def test_trailer_never_replaces_a_header(gateway: Gateway) -> None:
    body = chat_request().partition(b"\r\n\r\n")[2]
    fields = {"Transfer-Encoding": "chunked", "Content-Type": "application/json", "x-request-id": "mine"}
    with gateway.connect() as client:
        client.send(request_bytes("POST", CHAT, key=TEAM_KEY, headers=fields))
        trailers = b"x-request-id: other\r\nContent-Length: 5\r\nAuthorization: Bearer nobody"
        client.send(b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(body), body, trailers))
        reply = client.reply()
        assert reply.status == 200
        assert reply.headers["x-request-id"] == "mine"
        client.send(HEALTH)
        assert client.reply().status == 200


# --- slow clients: 1b -------------------------------------------------------------------------------------------


def ended_within(client: Wire, seconds: float) -> bool:
    """Does the other side end the connection in this time?"""
    client.socket.settimeout(seconds)
    try:
        while client.receive():
            pass
    except TimeoutError:
        return False
    return True


def test_slow_clients_are_cut_off(hasty: Gateway) -> None:
    """1b: head from accept and from its first byte, body, and idle keep-alive each end; a byte that came earns 408."""
    body_head = request_bytes("POST", CHAT, key=TEAM_KEY, headers={"Content-Length": "500000"})
    starts = {
        "silent": b"",
        "part of a head": b"GET /health HT",
        "head without its end": b"GET /health HTTP/1.1\r\nHost: a\r\n",
        "head and no body": body_head,
        "part of a body": body_head + b"{" * 100,
        "part of a chunk": request_bytes("POST", CHAT, key=TEAM_KEY, headers={"Transfer-Encoding": "chunked"})
        + b"5\r\n{",
        "idle after an answer": HEALTH,
    }
    clients = {name: hasty.connect() for name in starts}
    try:
        for name, client in clients.items():
            client.send(starts[name])
        assert clients["idle after an answer"].reply().status == 200
        for name, client in clients.items():
            assert ended_within(client, 30), f"{name}: not cut off"
            if name in ("silent", "idle after an answer"):
                assert client.buffer == b"", name
            else:
                assert_error(client.reply(), 408)
    finally:
        for client in clients.values():
            client.close()


def test_head_that_drips_is_cut_off(hasty: Gateway) -> None:
    """1b: the head's time is for all of it; a byte now and then buys no more."""
    with hasty.connect() as client:
        client.socket.settimeout(0.1)
        end_s = time.monotonic() + 30
        for byte in b"GET /health HTTP/1.1\r\nX-Slow: " + b"s" * 1000:
            try:
                client.send(bytes([byte]))
                if not client.receive():
                    break
            except TimeoutError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                break
            assert time.monotonic() < end_s, "a dripping head was never cut off"
        assert_error(client.reply(), 408)


def test_client_that_takes_nothing_is_cut_off_and_the_upstream_with_it(hasty: Gateway, brief: Model) -> None:
    """1b write stall: closed, upstream cancelled, recorded as far as it went."""
    piece = dialect.http_chunk(dialect.event(dialect.chunk({"content": "word " * 2000})))
    brief.first.plays(Send(dialect.chunked_stream([])[0]), Flood(piece))
    with hasty.connect(receive_buffer=4096) as client:
        client.send(chat_request(model=brief.name, stream=True, headers={"x-request-id": "takes-nothing"}))
        eventually(lambda: brief.first.in_use, what="the request to arrive")
        eventually(lambda: not brief.first.in_use, what="the upstream to be let go")
    [record] = eventually(lambda: hasty.records_of("takes-nothing"))
    assert record["ended"] == "client_gone"
    assert record["completion_tokens"] > 0


def test_who_takes_no_answer_is_given_no_other_behind_it(hasty: Gateway) -> None:
    """1b: of a client that goes on asking and takes nothing no more is read than is bounded, and it is cut off."""
    (serving,) = hasty.serving_processes()
    before = serving.memory_info().rss
    with hasty.connect(receive_buffer=4096) as client:
        client.socket.settimeout(1)
        sent = 0
        with contextlib.suppress(OSError):  # no room, or cut off already
            while sent < 64_000_000:
                client.send(HEALTH * 1000)
                sent += len(HEALTH) * 1000
        assert serving.memory_info().rss - before < 24_000_000
        eventually(lambda: _is_cut(client), what="its end")


def _is_cut(client: Wire) -> bool:
    try:
        client.send(HEALTH)
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def test_pipelined_requests_are_all_answered_however_late_they_are_read(gateway: Gateway) -> None:
    """G16: those too that had to wait until there was room for their answers."""
    last = request_bytes("GET", "/health", headers={"Connection": "close"})
    with gateway.connect(receive_buffer=4096, timeout_s=30) as client:
        asking = threading.Thread(target=client.send, args=(HEALTH * 4_999 + last,))
        asking.start()
        time.sleep(0.5)
        received = b"".join(iter(lambda: client.socket.recv(1 << 20), b""))
        asking.join()
    replies, rest = parse_replies(received)
    assert [reply.status for reply in replies] == [200] * 5_000
    assert rest == b""


def test_bodies_in_flight_are_bounded(hasty: Gateway) -> None:
    """1b: beyond the bytes in flight a new body gets 503; once they are gone it is read."""
    begun = request_bytes("POST", CHAT, key=TEAM_KEY, headers={"Content-Length": "1000000"}) + b" " * 900_000
    clients = [hasty.connect() for _ in range(3)]
    try:
        for client in clients:
            client.send(begun)
        time.sleep(0.2)
        assert_error(hasty.request("POST", CHAT, b" " * 900_000), 503, "overloaded", type="api_error")
    finally:
        for client in clients:
            client.close()
    eventually(lambda: hasty.chat(prompt="x" * 500_000).status == 200, what="room for a body again")


def test_streams_of_slow_readers_hold_little_memory(steady: Gateway, upstream: Upstream) -> None:
    """1b, F14: at most 256 KiB held for each; the upstream is paused, not drunk up."""
    talker = upstream["one-002"]
    talker.forget()
    piece = dialect.http_chunk(dialect.event(dialect.chunk({"content": "word " * 2000})))
    talker.plays(Send(dialect.chunked_stream([])[0]), Flood(piece))
    steady.chat()
    before = sum(process.memory_info().rss for process in steady.serving_processes())
    clients = [steady.connect(receive_buffer=4096) for _ in range(60)]
    try:
        for client in clients:
            client.send(chat_request(model="one-002", stream=True))
        for client in clients:
            client.wait_for(b"word")
        time.sleep(1)
        held = sum(process.memory_info().rss for process in steady.serving_processes()) - before
        assert held <= 60 * 512 * 1024, f"{held / 1e6:.0f} MB for 60 streams"
    finally:
        for client in clients:
            client.close()
        eventually(lambda: not talker.in_use, what="the upstream to be let go")
        talker.forget()


def test_half_closed_connection_does_not_linger(gateway: Gateway) -> None:
    """A client that says it will send no more is answered or dropped, not kept."""
    for sent in (b"", b"GET /health HTTP/1.1\r\n", HEALTH):
        with gateway.connect() as client:
            client.send(sent)
            client.half_close()
            assert ended_within(client, 30)


def test_flood_of_connections_is_survived(gateway: Gateway) -> None:
    """1b: more from one address than it may have are not served; afterwards everything is as before."""
    opened = []
    try:
        for _ in range(1100):
            extra = socket.socket()
            extra.settimeout(1)
            opened.append(extra)
            extra.connect(("127.0.0.1", gateway.port))
    except (ConnectionError, TimeoutError):
        pass
    finally:
        for extra in opened:
            extra.close()
    eventually(lambda: _is_healthy(gateway), what="an answer after the flood")


def _is_healthy(gateway: Gateway) -> bool:
    try:
        return gateway.request("GET", "/health", key=None).status == 200
    except (ConnectionError, AssertionError, TimeoutError):
        return False


@pytest.mark.parametrize("rubbish", [b"rubbish\r\n", b"GET / HTTP/1.1\r\nHost : h\r\nA: b\r\n"])
def test_refusal_of_a_second_head_has_an_id_of_its_own(rubbish: bytes, gateway: Gateway) -> None:
    """E: the log line of one request is not found under the id of another, on the same connection."""
    with gateway.connect() as client:
        client.send(HEALTH)
        first = client.reply()
        client.send(rubbish)
        second = client.reply()
    assert second.status == 400
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


def test_refusal_after_a_head_request_has_a_body(gateway: Gateway) -> None:
    """E, G20: only the answer to HEAD itself goes without."""
    with gateway.connect() as client:
        client.send(request_bytes("HEAD", "/health"))
        client.wait_for(b"\r\n\r\n")
        client.send(b"rubbish\r\n")
        client.wait_for(b'"error"')
