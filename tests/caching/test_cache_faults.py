"""A cache that fails anywhere, in any way, costs a hit and never an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.gateway import base_config, running
from harness.upstream import Upstream
from harness.wire import Reply

BREAKS = """
import os
from importlib import import_module


def fail(self, *arguments, **more):
    raise RuntimeError("the disk is on fire")


for part in os.environ["TEST_FAULT"].split():
    module, name, method = part.rsplit(".", 2)
    setattr(getattr(import_module(module), name), method, fail)
"""
"""Runs when the interpreter starts: the parts that are named fail from then on."""
PARTS = {
    "reading": "routewright.caching.memory.Memory.get",
    "writing": "routewright.caching.memory.Memory.put routewright.caching.similar.Similar.add",
    "comparing": "routewright.caching.similar.Similar.nearest",
    "vectors": "routewright.routing.meanings.Meanings.of",
}


@pytest.mark.parametrize("part", PARTS)
def test_part_of_the_cache_that_fails_costs_no_answer(upstream: Upstream, tmp_path: Path, part: str) -> None:
    upstream["gpt-4o"].forget()
    (tmp_path / "sitecustomize.py").write_text(BREAKS)
    params = {"similarity_threshold": 0.9, "embedder": "wordllama", "single_flight": True}
    config = base_config(upstream, litellm_settings={"cache": True, "cache_params": params})
    with running(config, environment={"PYTHONPATH": str(tmp_path), "TEST_FAULT": PARTS[part]}) as gateway:

        def asked(prompt: str, **fields: object) -> Reply:
            reply = gateway.chat("gpt-4o", prompt, **fields)
            assert reply.text == "Hello from gpt-4o", reply.body
            return reply

        for stream in (False, True):
            asked("What is the capital of France?", stream=stream)
            asked("what's the capital of France", stream=stream)
            reply = asked("what's the capital of France", stream=stream)
            record = gateway.record_of(reply)
            assert (record["status"], record["ended"]) == (200, "complete")
        assert "the cache failed: RuntimeError" in gateway.output()
