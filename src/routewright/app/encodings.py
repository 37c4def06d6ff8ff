"""The ledger's rows of what routers and caches ask of embedding endpoints: no request's, and paid all the same."""

from __future__ import annotations

import time
from collections.abc import Callable

from routewright.catalog import make_deployment
from routewright.metered import MeteredUsage, Units
from routewright.record.ledger import Ledger
from routewright.routing.features.used import TALLY, Used
from routewright.settings import DeploymentSettings, EmbeddingsSettings
from routewright.types import Caller, Health, Outcome
from routewright.wire.media import metered

NOBODY = Caller(key_hash="", alias="embeddings", is_master=False, models=None)
ENDPOINT = "embeddings"


def put_on_record(ledger: Ledger, new_id: Callable[[], str]) -> None:
    """One row for each endpoint that was asked since the last time."""
    for settings, used in TALLY.take().items():
        ledger.settle(outcome_of(settings, used, new_id()), lambda: None)


def outcome_of(settings: EmbeddingsSettings, used: Used, call_id: str) -> Outcome:
    """Many calls as one."""
    entry = DeploymentSettings(
        id=f"embeddings:{settings.model}",
        model_name=settings.model,
        provider=settings.provider,
        upstream_model=settings.model,
        api_base=settings.api_base,
        price=settings.price,
    )
    outcome = Outcome(ENDPOINT, NOBODY, call_id, call_id, time.monotonic())
    outcome.call = metered(ENDPOINT, {"model": settings.model}, None)
    outcome.deployment = make_deployment(
        entry, model_name=settings.model, upstream_model=settings.model, health=Health()
    )
    outcome.status, outcome.ended, outcome.attempts = 200, "complete", used.calls
    outcome.ended_at_ms = int(time.time() * 1000)
    outcome.bill(
        MeteredUsage(prompt_tokens=used.tokens, is_estimated=used.is_estimated, units=Units(requests=used.calls))
    )
    return outcome
