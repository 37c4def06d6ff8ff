"""A price table that is broken, or that lacks a model: the price is unknown, and the record says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.gateway import base_config, deployment, running
from harness.upstream import Upstream

BROKEN = {
    "gone": "raise ImportError('no tables')",
    "failing": "class S:\n    def find_provider_model(self, *a):\n        raise ValueError(a)\n\nget_snapshot = S",
    "empty": "class S:\n    def find_provider_model(self, *a):\n        raise LookupError(a)\n\nget_snapshot = S",
}


@pytest.mark.parametrize("how", BROKEN)
def test_price_table_that_is_broken_costs_the_price_and_no_answer(upstream: Upstream, tmp_path: Path, how: str) -> None:
    package = tmp_path / "genai_prices"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "data_snapshot.py").write_text(BROKEN[how])
    config = base_config(upstream)
    entry = deployment("open-price", upstream, "gpt-4o-mini", model="gpt-4o-mini")
    for name in ("input_cost_per_token", "output_cost_per_token"):
        del entry["litellm_params"][name]
    config["model_list"].append(entry)
    config["routes"]["auto"]["candidates"].append("open-price")
    with running(config, environment={"PYTHONPATH": str(tmp_path)}) as gateway:
        for model in ("open-price", "auto", "gpt-4o"):
            for stream in (False, True):
                reply = gateway.chat(model, "hello", stream=stream)
                assert reply.text.startswith("Hello from"), reply.body
        record = gateway.record_of(gateway.chat("open-price", "hello"))
        assert (record["is_priced"], record["cost_nusd"]) == (False, 0)
        assert ("can't be read" in gateway.output()) == (how != "empty")
