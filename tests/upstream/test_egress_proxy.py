"""Upstreams behind a company's egress proxy, by the variables that every HTTP client reads."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator

import pytest

from harness.certificates import Authority
from harness.gateway import Gateway, base_config, deployment, running
from harness.proxy import EgressProxy
from harness.upstream import Upstream
from harness.wire import assert_error, secret

PASSWORD = secret("proxy")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, Upstream]]:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    server = Upstream(authority.server("localhost", "127.0.0.1"))
    yield authority, server
    server.close()


@pytest.fixture(scope="module")
def running_proxy() -> Iterator[EgressProxy]:
    proxy = EgressProxy()
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def behind(upstream: Upstream, sealed: tuple[Authority, Upstream], running_proxy: EgressProxy) -> Iterator[Gateway]:
    """`proxied` is at a name, `near` at an address that NO_PROXY names; nothing is kept open for long."""
    authority, server = sealed
    config = base_config(
        upstream,
        router_settings={"num_retries": 0, "disable_cooldowns": True},
        litellm_settings={"ssl_verify": str(authority.file)},
    )
    near = deployment("near", server, "near")
    near["litellm_params"]["api_base"] = near["litellm_params"]["api_base"].replace("localhost", "127.0.0.1")
    config["model_list"] += [deployment("proxied", server, "proxied"), near]
    environment = {
        "HTTPS_PROXY": f"http://gate%40way:{PASSWORD}@127.0.0.1:{running_proxy.port}",
        "NO_PROXY": "elsewhere.example, 127.0.0.0/8",
        "ROUTEWRIGHT_UPSTREAM_KEEPALIVE_S": "0.05",
        "ROUTEWRIGHT_UPSTREAM_CONNECT_TIMEOUT_S": "1",
    }
    for name in ("https_proxy", "no_proxy", "all_proxy"):
        environment[name] = ""
    with running(config, environment=environment) as gateway:
        yield gateway


@pytest.fixture
def proxy(running_proxy: EgressProxy) -> Iterator[EgressProxy]:
    time.sleep(0.3)  # until connections of the test before are too old
    running_proxy.asked.clear()
    yield running_proxy
    running_proxy.says, running_proxy.hangs = None, False


@pytest.mark.parametrize("stream", [False, True])
def test_upstream_is_reached_through_the_proxy(
    stream: bool, behind: Gateway, proxy: EgressProxy, sealed: tuple[Authority, Upstream]
) -> None:
    """It learns the upstream's name and nothing else."""
    reply = behind.chat(model="proxied", stream=stream)

    assert reply.text == "Hello from proxied"
    port = sealed[1].port
    assert [asked.line for asked in proxy.asked] == [f"CONNECT localhost:{port} HTTP/1.1"]
    expected = "Basic " + b64encode(f"gate@way:{PASSWORD}".encode()).decode()
    assert proxy.asked[0].headers == {"host": f"localhost:{port}", "proxy-authorization": expected}
    assert secret("proxied").encode() not in proxy.heard
    assert "proxy-authorization" not in sealed[1]["proxied"].last.headers


def test_connection_through_the_proxy_is_used_again(
    upstream: Upstream, sealed: tuple[Authority, Upstream], proxy: EgressProxy
) -> None:
    authority, server = sealed
    config = base_config(upstream, litellm_settings={"ssl_verify": str(authority.file)})
    config["model_list"].append(deployment("again", server, "again"))
    environment = {"https_proxy": f"127.0.0.1:{proxy.port}", "no_proxy": "", "NO_PROXY": ""}
    with running(config, environment=environment) as gateway:
        for _ in range(3):
            assert gateway.chat(model="again").status == 200

    assert len(proxy.asked) == 1
    assert "proxy-authorization" not in proxy.asked[0].headers


def test_no_proxy_and_plain_http_go_directly(behind: Gateway, proxy: EgressProxy) -> None:
    assert behind.chat(model="near").text == "Hello from near"
    assert behind.chat(model="gpt-4o").status == 200
    assert not proxy.asked


@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\n\r\nnot there",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"",
        b"SSH-2.0-something\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 20_000,
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["407", "403", "502", "closes", "no-http", "more", "endless", "closes-after"],
)
def test_proxy_that_gives_no_connection_is_an_upstream_that_is_away(
    says: bytes, behind: Gateway, proxy: EgressProxy, sealed: tuple[Authority, Upstream]
) -> None:
    """503 in our own words; and nothing is left counted as open."""
    before = sealed[1]["proxied"].hits
    proxy.says = says

    for _ in range(3):
        reply = behind.chat(model="proxied")
        assert_error(reply, 503, "upstream_unavailable", type="api_error")
        assert PASSWORD not in reply.body.decode()

    proxy.says = None
    assert sealed[1]["proxied"].hits == before
    assert behind.chat(model="proxied").status == 200


def test_proxy_that_hangs_times_out(behind: Gateway, proxy: EgressProxy) -> None:
    proxy.hangs = True
    assert_error(behind.chat(model="proxied"), 504, "upstream_timeout", type="api_error")
    proxy.hangs = False


def test_proxy_does_not_stand_in_for_the_upstream(
    behind: Gateway, proxy: EgressProxy, sealed: tuple[Authority, Upstream], upstream: Upstream
) -> None:
    """A proxy that leads to somebody else is found out by TLS, before a credential is said."""
    before = len(proxy.heard)
    proxy.says = b"HTTP/1.1 200 OK\r\n\r\n\x15\x03\x01\x00\x02\x02\x28"
    reply = behind.chat(model="proxied")
    assert reply.status in (502, 503)
    assert secret("proxied").encode() not in proxy.heard[before:]


def test_tokens_are_fetched_through_the_proxy(
    upstream: Upstream, sealed: tuple[Authority, Upstream], proxy: EgressProxy
) -> None:
    """An upstream's credential comes the same way as its answers."""
    authority, server = sealed
    server["tenant"].answers(200, {"access_token": secret("entra"), "expires_in": 3600, "token_type": "Bearer"})
    config = base_config(upstream, litellm_settings={"ssl_verify": str(authority.file)})
    azure = deployment(
        "azure", server, "azure", provider="azure", model="gpt-4o", api_key=None, tenant_id="tenant",
        client_id="client", client_secret=secret("client"), api_version="2025-03-01",
    )  # fmt: skip
    config["model_list"].append(azure)
    environment = {
        "https_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": "", "NO_PROXY": "",
        "AZURE_AUTHORITY_HOST": f"https://localhost:{server.port}", "SSL_CERT_FILE": str(authority.file),
    }  # fmt: skip
    with running(config, environment=environment) as gateway:
        assert gateway.chat(model="azure").status == 200

    assert server["tenant"].hits == 1
    assert server["azure"].last.headers["authorization"] == f"Bearer {secret('entra')}"
    assert len(proxy.asked) >= 2
    assert secret("client").encode() not in proxy.heard
