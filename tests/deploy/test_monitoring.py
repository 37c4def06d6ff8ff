"""The dashboard and the rules ask Prometheus only for what the gateway tells, by labels that it has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml

from routewright.record.families import Counter, Histogram
from routewright.record.metrics import Metrics
from routewright.vitals import GAUGES

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "routewright.json").read_text())
PROMETHEUS_S_OWN = {"job", "instance"}
RECORDED = {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}


def exported() -> dict[str, set[str]]:
    """What a scrape may hold: name of a sample -> its labels."""
    found: dict[str, set[str]] = {name: set(labels) for name, _, labels, _ in GAUGES}
    for family in Metrics().families():
        labels = set(family.label_names)
        if isinstance(family, Counter):
            found[f"{family.name}_total"] = labels
        elif isinstance(family, Histogram):
            found.update({f"{family.name}_sum": labels, f"{family.name}_count": labels})
            found[f"{family.name}_bucket"] = labels | {"le"}
    return found


EXPORTED = exported()


def questions() -> list[tuple[str, str]]:
    found = []
    for group in RULES["groups"]:
        for rule in group["rules"]:
            found.append((rule.get("record") or rule["alert"], rule["expr"]))
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            asked = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "6h")
            found.append((f"panel {panel['id']}, {panel['title']}", asked))
    return found


def names_in(question: str) -> list[str]:
    found = re.findall(r"\b((?:litellm|routewright)[a-zA-Z0-9_:]*)", re.sub(r'"[^"]*"', "", question))
    return [name for name in found if name != "litellm_model_name"]


@pytest.mark.parametrize(("where", "question"), questions())
def test_question_can_be_asked_and_is_about_something_that_is_told(where: str, question: str) -> None:
    promql_parser.parse(question)
    names = names_in(question)
    assert names or "up{" in question
    for name in names:
        assert name in EXPORTED or name in RECORDED, f"{where}: nothing tells {name}"


@pytest.mark.parametrize(("where", "question"), questions())
def test_labels_of_a_question_are_labels_of_what_it_asks_about(where: str, question: str) -> None:
    known = set(PROMETHEUS_S_OWN)
    for name in names_in(question):
        known |= EXPORTED.get(name, {"route", "model", "model_id", "litellm_model_name", "requested_model"})
    grouped = re.findall(r"\b(?:by|on|without|ignoring) ?\(([^)]*)\)", question)
    used = {label.strip() for labels in grouped for label in labels.split(",") if label.strip()}
    used |= {label for block in re.findall(r"\{([^}]*)\}", question) for label in re.findall(r"(\w+) ?[=!]~?\"", block)}
    assert used <= known, f"{where}: {used - known}"


def test_legends_name_labels_that_are_left_after_grouping() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", target["expr"])) or ""))
            if not kept:  # not grouped: all labels are there
                kept = EXPORTED.get(names_in(target["expr"])[0], {"route"}) | PROMETHEUS_S_OWN
            assert shown <= kept, (panel["title"], shown - kept)


def test_panels_do_not_overlap_and_each_has_a_question() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    alerts = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(alerts) >= 8
    for alert in alerts:
        assert alert["labels"]["severity"] in ("page", "ticket"), alert["alert"]
        assert alert["annotations"].keys() == {"summary", "action"}, alert["alert"]
        for label in re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]):
            assert label in alert["expr"] or label == "route" or label == "team", (alert["alert"], label)


def test_what_a_dashboard_of_litellm_s_reads_is_told() -> None:
    """COMPAT 9. What is missing is named in docs/observability.md."""
    assert EXPORTED.keys() >= {
        "litellm_spend_metric_total", "litellm_total_tokens_metric_total", "litellm_input_tokens_metric_total",
        "litellm_output_tokens_metric_total", "litellm_cached_tokens_metric_total",
        "litellm_proxy_total_requests_metric_total", "litellm_proxy_failed_requests_metric_total",
        "litellm_requests_metric_total", "litellm_request_total_latency_metric_bucket",
        "litellm_llm_api_latency_metric_bucket", "litellm_llm_api_time_to_first_token_metric_bucket",
        "litellm_overhead_latency_metric_bucket", "litellm_deployment_state", "litellm_deployment_total_requests_total",
        "litellm_deployment_success_responses_total", "litellm_deployment_failure_responses_total",
        "litellm_deployment_cooled_down_total", "litellm_deployment_latency_per_output_token_bucket",
        "litellm_deployment_successful_fallbacks_total", "litellm_deployment_failed_fallbacks_total",
        "litellm_deployment_tpm_limit", "litellm_deployment_rpm_limit", "litellm_remaining_api_key_budget_metric",
        "litellm_api_key_max_budget_metric", "litellm_api_key_budget_remaining_hours_metric",
        "litellm_remaining_team_budget_metric", "litellm_team_max_budget_metric",
        "litellm_team_budget_remaining_hours_metric", "litellm_in_flight_requests", "litellm_remaining_requests_metric",
        "litellm_remaining_tokens_metric",
    }  # fmt: skip
