"""The section `embeddings`: the endpoint that routers with `remote` features ask."""

from __future__ import annotations

from dataclasses import replace

from routewright.config.prices import look_up, with_version
from routewright.config.section import Section
from routewright.settings import EmbeddingsSettings
from routewright.types import Price, Secret


def embeddings(top: Section) -> EmbeddingsSettings | None:
    """None where the section is missing or faulty; faults are noted."""
    if "embeddings" not in top.entries:
        return None
    section = top.section("embeddings")
    api_base, model, key = section.url("api_base"), section.text("model"), section.token("api_key")
    timeout_s = section.number("timeout", above=True, most=600)
    usd_per_token = section.number("input_cost_per_token", most=10.0)
    for name in ("api_base", "model"):
        if name not in section.entries:
            section.error(name, "missing")
    section.finish()
    if api_base is None or model is None:
        return None
    price = Price(input_usd_per_token=usd_per_token, output_usd_per_token=0.0, source="config")
    if usd_per_token is None:
        known = look_up("openai", model)
        price = known[0] if known is not None else Price()
    found = EmbeddingsSettings(
        api_base=api_base.rstrip("/"),
        model=model,
        api_key=None if key is None else Secret(key),
        price=price if usd_per_token is None else with_version(price, "config"),
    )
    return found if timeout_s is None else replace(found, timeout_s=timeout_s)
