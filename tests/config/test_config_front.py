"""`general_settings` about the front: which proxies are believed, and how many wrong keys are taken."""

from __future__ import annotations

import pytest

from routewright.config import ConfigError, load_text


def test_proxies_and_wrong_keys() -> None:
    text = "trusted_proxies: [10.0.0.0/8, '::1'], use_x_forwarded_for: true, max_wrong_keys_per_minute: 0"
    limits = load_text(f"general_settings: {{{text}}}", environ={}).limits
    assert (limits.trusted_proxies, limits.max_wrong_keys_per_minute) == (("10.0.0.0/8", "::1"), 0)


def test_host_bits_and_names_are_no_networks() -> None:
    for network in ("10.0.0.1/8", "proxy.example"):
        with pytest.raises(ConfigError, match=r"config.yaml:1: general_settings.trusted_proxies: expected addresses"):
            load_text(f"general_settings: {{trusted_proxies: [{network}]}}", environ={})


def test_header_that_nobody_is_trusted_with_is_warned_of() -> None:
    settings = load_text("general_settings: {use_x_forwarded_for: true}", environ={})
    assert any("trusted_proxies" in warning for warning in settings.warnings)
