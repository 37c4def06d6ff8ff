"""`general_settings` about who may knock at the front, and how."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from routewright.config.section import Section
from routewright.settings import FrontLimits

MEGABYTE = 1024 * 1024


def front_limits(general: Section, base: FrontLimits) -> FrontLimits:
    """`max_request_size_mb`, `max_wrong_keys_per_minute`, `trusted_proxies` with LiteLLM's `use_x_forwarded_for`, and
    `store_client_addresses`."""
    most_mb = general.number("max_request_size_mb", above=True, most=4096)
    if most_mb is not None:
        body_bytes = max(1, int(most_mb * MEGABYTE))
        base = replace(base, max_body_bytes=body_bytes, max_in_flight_bytes=max(base.max_in_flight_bytes, body_bytes))
    most_wrong = general.integer("max_wrong_keys_per_minute", least=0)
    if most_wrong is not None:
        base = replace(base, max_wrong_keys_per_minute=most_wrong)
    trusted = general.names("trusted_proxies")
    for text in trusted or ():
        try:
            ipaddress.ip_network(text)
        except ValueError:
            general.error("trusted_proxies", f'expected addresses and networks such as 10.0.0.0/8, found "{text}"')
    if general.boolean("use_x_forwarded_for") and not trusted:
        general.warn("use_x_forwarded_for", "X-Forwarded-For is believed from trusted_proxies alone; list them there")
    if general.boolean("store_client_addresses") is False:
        base = replace(base, keeps_addresses=False)
    return replace(base, trusted_proxies=tuple(trusted or ()))
