"""TLS on the front: `--tls-cert`, `--tls-key`."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.certificates import self_signed
from harness.gateway import TEAM_KEY, base_config
from harness.gateway import Gateway as PlainGateway
from harness.upstream import Upstream
from harness.wire import Reply, assert_error, parse_reply, request_bytes


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"), "DNS:localhost", "IP:127.0.0.1")


class TlsGateway(PlainGateway):
    """As the others, asked over TLS."""

    context: ssl.SSLContext

    def request(
        self, method: str, target: str, body: object = None, *, key: str | None = TEAM_KEY, **_: object
    ) -> Reply:
        with self.connect_tls() as client:
            client.sendall(request_bytes(method, target, key=key, body=body if isinstance(body, bytes) else None))
            received = b""
            while (parsed := parse_reply(received, method)) is None:
                data = client.recv(65536)
                if not data:
                    raise ConnectionResetError("closed inside an answer")
                received += data
            return parsed[0]

    def connect_tls(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        try:
            return self.context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            raise


@pytest.fixture(scope="module")
def secure(upstream: Upstream, certificate: tuple[Path, Path]) -> Iterator[TlsGateway]:
    TlsGateway.context = ssl.create_default_context(cafile=str(certificate[0]))
    arguments = ["--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1])]
    environment = {"ROUTEWRIGHT_FRONT_HEAD_TIMEOUT_S": "1"}
    gateway = TlsGateway(base_config(upstream), arguments=arguments, environment=environment)
    try:
        yield gateway
    finally:
        gateway.stop()


def test_requests_and_streams_over_tls(secure: TlsGateway) -> None:
    for stream in (b"false", b"true"):
        body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"stream":%s}' % stream
        assert secure.request("POST", "/v1/chat/completions", body).text == "Hello from gpt-4o"


def test_large_body_over_tls(secure: TlsGateway) -> None:
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"%s"}]}' % (b"x" * 3_000_000)
    assert secure.request("POST", "/v1/chat/completions", body).status == 200


def test_refusals_over_tls(secure: TlsGateway) -> None:
    assert_error(secure.request("GET", "/v1/models", key="sk-wrong"), 401)
    assert_error(secure.request("GET", "/nothing"), 404)


def test_plain_text_and_silence_on_the_tls_port_end(secure: TlsGateway) -> None:
    """1b: the handshake has a time limit; what is no TLS is closed."""
    for sent in (b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", b"", b"\x16\x03\x01"):
        with socket.create_connection(("127.0.0.1", secure.port), 10) as plain:
            plain.settimeout(30)
            if sent:
                plain.sendall(sent)
            try:
                while plain.recv(4096):
                    pass
            except ConnectionResetError:
                continue
