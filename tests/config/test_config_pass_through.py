"""`general_settings.pass_through_endpoints`: what is taken, and what is told."""

from __future__ import annotations

import pytest

from routewright.config.load import load_text
from routewright.config.problems import ConfigError
from routewright.types import Secret


def load(entry: str):
    return load_text(f"general_settings:\n  pass_through_endpoints:\n    - {entry}\n", environ={"K": "sk-x"})


def test_what_an_entry_says() -> None:
    (found,) = load(
        "{path: /v1/x/, target: 'https://h/y', headers: {Authorization: os.environ/K, X-Plain: z},"
        " cost_per_request: 0.5, forward_headers: true, include_subpath: true}"
    ).pass_through
    assert (found.path, found.target, found.cost_usd) == ("/v1/x", "https://h/y", 0.5)
    assert found.headers == (("Authorization", Secret("sk-x")), ("X-Plain", "z"))
    assert (found.needs_key, found.forwards_headers, found.includes_subpaths) == (True, True, True)


def test_a_key_is_asked_for_unless_auth_is_false() -> None:
    (found,) = load("{path: /x, target: 'https://h/y'}").pass_through
    assert found.needs_key
    settings = load("{path: /x, target: 'https://h/y', auth: false}")
    assert not settings.pass_through[0].needs_key
    assert any("whoever reaches this port" in warning for warning in settings.warnings)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{target: 'https://h/y'}", "path: missing"),
        ("{path: /x}", "target: missing"),
        ("{path: x, target: 'https://h'}", "path: expected a path"),
        ("{path: /a/../b, target: 'https://h'}", "path: expected a path"),
        ("{path: '/a b', target: 'https://h'}", "path: expected a path"),
        ("{path: /x, target: 'ftp://h'}", "target: expected an address"),
        ("{path: /x, target: 'https://h', headers: {Host: y}}", "headers.Host: is written by the gateway itself"),
        ("{path: /x, target: 'https://h', headers: {X: \"a\\nb\"}}", "headers.X: a header's value"),
        ("{path: /x, target: 'https://h', cost_per_request: -1}", "cost_per_request: expected"),
        ("{path: /x, target: 'https://h', auht: true}", "auht: unknown key"),
        ("{path: /x, target: 'https://h'}\n    - {path: /x, target: 'https://i'}", "path: stands above already"),
    ],
)
def test_faults_are_named(entry: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(entry)
    assert fault in str(caught.value)
