"""`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`."""

from __future__ import annotations

import pytest

from routewright.config.proxies import egress_proxy
from routewright.tunnel import goes_directly


def test_first_variable_that_says_something_counts() -> None:
    found = egress_proxy({"https_proxy": " ", "HTTPS_PROXY": "http://proxy:3128", "ALL_PROXY": "http://other:1"})
    assert found is not None
    assert (found.host, found.port, found.authorization) == ("proxy", 3128, None)
    found = egress_proxy({"ALL_PROXY": "proxy.example"})
    assert found is not None
    assert (found.host, found.port) == ("proxy.example", 80)
    assert egress_proxy({"HTTP_PROXY": "http://proxy:3128"}) is None
    assert egress_proxy({}) is None


def test_credential_is_hidden() -> None:
    found = egress_proxy({"HTTPS_PROXY": "http://me:pass%3Aword@proxy:3128"})
    assert found is not None
    assert found.authorization is not None
    assert found.authorization.reveal() == "Basic bWU6cGFzczp3b3Jk"
    assert "bWU6" not in repr(found)


@pytest.mark.parametrize("address", ["socks5://proxy:1080", "https://proxy", "http://", "http://a b", "http://proxy:x"])
def test_what_is_no_proxy_of_ours_is_named(address: str) -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY"):
        egress_proxy({"HTTPS_PROXY": address})


@pytest.mark.parametrize(
    ("no_proxy", "host", "directly"),
    [
        ("example.com", "example.com", True),
        ("example.com", "API.example.com", True),
        (".example.com", "api.example.com", True),
        ("*.example.com", "api.example.com", True),
        ("example.com", "notexample.com", False),
        ("example.com:443", "example.com", True),
        ("example.com:8443", "example.com", False),
        ("*", "example.com", True),
        ("a, b ,", "b", True),
        ("", "example.com", False),
        (".", "example.com", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/99", "10.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("[::1]", "::1", True),
        ("0.1", "10.0.0.1", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, directly: bool) -> None:
    found = egress_proxy({"https_proxy": "http://proxy:3128", "NO_PROXY": no_proxy})
    assert found is not None
    assert goes_directly(found, host, 443) is directly
