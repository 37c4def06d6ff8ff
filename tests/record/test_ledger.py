"""A request that has ended becomes one record, the counters, and then the end of its answer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from routewright.record.journal import Journal, read_journal
from routewright.record.ledger import Ledger
from routewright.record.metrics import Metrics
from routewright.types import Candidates, Decision, Group, Outcome, Price, Rating, Usage
from values import call, caller, deployment

PRICE = Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6, cached_input_usd_per_token=2.5e-7, version="list 7")


def outcome(**changed: Any) -> Outcome:
    made = Outcome("chat", caller(alias="team"), "request-1", "call-1", time.monotonic() - 2.0)
    made.call = call(user="u-1", tags=["x"])
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def settled(folder: Path, *ended: Outcome) -> tuple[list[dict[str, Any]], Metrics]:
    metrics = Metrics()
    journal = Journal(folder, "w")
    ledger = Ledger(journal, metrics)
    released: list[str] = []
    for each in ended:
        ledger.settle(each, lambda: released.append("released"))
    journal.close()
    assert released == ["released"] * len(ended)
    return list(read_journal(folder)), metrics


def test_answer_is_recorded_with_its_tokens_and_its_cost_in_nano_dollars(tmp_path: Path) -> None:
    """R28: cached tokens at their own price."""
    made = outcome(deployment=deployment("m", price=PRICE), status=200, ended="complete", attempts=2, fallbacks=1)
    made.bill(Usage(100, 20, cached_tokens=40, reasoning_tokens=5))
    made.first_byte_s = made.started_s + 0.5
    (row,), _ = settled(tmp_path, made)
    assert (row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"], row["reasoning_tokens"]) == (
        100, 20, 40, 5,
    )  # fmt: skip
    assert row["cost_nusd"] == 60 * 1000 + 40 * 250 + 20 * 4000
    assert row["price_version"] == "list 7"
    assert (row["call_id"], row["request_id"], row["key_alias"], row["user"], row["tags"]) == (
        "call-1", "request-1", "team", "u-1", ["x"],
    )  # fmt: skip
    assert (row["model"], row["deployment"], row["attempts"], row["fallbacks"]) == ("m", "id-of-m", 2, 1)
    assert row["ttft_ms"] == pytest.approx(500, abs=0.01)
    assert row["latency_ms"] >= 2000
    assert row["started_at"] == pytest.approx(time.time() - 2.0, abs=60)


def test_refusal_before_anything_was_known_is_recorded(tmp_path: Path) -> None:
    """L: what was refused has its row too, without a cost."""
    made = outcome(call=None, status=400, error="invalid_json")
    (row,), _ = settled(tmp_path, made)
    assert (row["status"], row["error_code"], row["ended"]) == (400, "invalid_json", "refused")
    assert (row["model_asked"], row["model"], row["deployment"], row["cost_nusd"]) == ("", None, None, 0)


def test_client_that_left_before_a_byte_is_a_499(tmp_path: Path) -> None:
    """R12, F13: and pays for what the upstream was given."""
    made = outcome(deployment=deployment("m", price=PRICE), ended="client_gone")
    made.bill(Usage(7, 0, is_estimated=True))
    (row,), _ = settled(tmp_path, made)
    assert (row["status"], row["cost_nusd"], row["usage_estimated"]) == (499, 7000, True)


def test_client_that_left_mid_stream_keeps_its_status(tmp_path: Path) -> None:
    made = outcome(deployment=deployment("m"), ended="client_gone", status=200)
    assert settled(tmp_path, made)[0][0]["status"] == 200


def test_unpriced_model_costs_nothing_and_says_so(tmp_path: Path) -> None:
    made = outcome(deployment=deployment("m"), status=200, ended="complete")
    made.bill(Usage(5, 5))
    (row,), _ = settled(tmp_path, made)
    assert (row["cost_nusd"], row["is_priced"]) == (0, False)


def test_decision_is_recorded_with_what_the_best_rated_would_have_cost(tmp_path: Path) -> None:
    cheap, dear = deployment("cheap", price=PRICE), deployment("dear", price=Price(input_usd_per_token=1e-5))
    groups = (Group("dear", "chat", [dear]), Group("cheap", "chat", [cheap]))
    decision = Decision([groups[1], groups[0]], Candidates(groups, "auto"))
    decision.route, decision.artefact, decision.microseconds = "auto", "abc", 80.04
    decision.rating = Rating([1, 0], [0.9, 0.8], [2e-4, 1e-4], 0.75, 0.1, "best score for its cost")
    made = outcome(deployment=cheap, decision=decision, status=200, ended="complete")
    made.bill(Usage(10, 0))
    (row,), _ = settled(tmp_path, made)
    assert row["decision"] == {
        "route": "auto", "chosen": "cheap", "artefact": "abc", "confidence": 0.75, "margin": 0.1,
        "reason": "best score for its cost", "microseconds": 80.0, "baseline_model": "dear", "baseline_nusd": 100_000,
        "rated": [["cheap", 0.8, 100_000], ["dear", 0.9, 200_000]],
    }  # fmt: skip
    assert row["cost_nusd"] == 10_000


def test_record_holds_no_prompt_and_no_key(tmp_path: Path) -> None:
    """K, T17: ids, figures and names only."""
    made = outcome(deployment=deployment("m", api_key=None), status=200, ended="complete")
    made.call = call(messages=[{"role": "user", "content": "a very private prompt"}])
    rows, _ = settled(tmp_path, made)
    text = json.dumps(rows)
    assert "private" not in text
    assert "sk-" not in text


def test_every_request_is_counted_once(tmp_path: Path) -> None:
    rows, metrics = settled(tmp_path, *[outcome(call_id=f"c{number}", status=404) for number in range(5)])
    assert len(rows) == 5
    (requests,) = [family for family in metrics.families() if family.name == "litellm_proxy_total_requests_metric"]
    assert list(requests.series.values()) == [5]
