from __future__ import annotations

import json

import pytest
from made_up_sets import write_set

from routewright.learning.evaluate import evaluate, evaluate_command


def by_name(report: dict) -> dict[str, dict]:
    return {row["router"]: row for row in report["results"]}


def test_the_report_orders_baselines_routers_and_bound(made_up):
    report = evaluate(made_up, ["knn", "cluster"])
    names = [row["router"] for row in report["results"]]
    assert names == ["best", "cheapest", "random", "zero", "task-mean", "knn", "cluster", "oracle"]
    rows = by_name(report)
    assert rows["oracle"]["oracle_gap_closed"] == 1.0
    assert rows["best"]["gain"] == 0.0
    assert rows["oracle"]["quality"] >= max(row["quality"] for row in report["results"])
    for name in ("knn", "cluster"):
        row = rows[name]
        assert row["quality_low"] <= row["quality"] <= row["quality_high"]
        assert row["aiq"] <= rows["oracle"]["aiq"]
        assert row["aiq_gain"] > 0.05
        assert row["cost_at_95"] < 0.6
        assert row["score_at_95_valid"] > 0.7
        assert 0 <= row["ece"] < 0.2
        assert row["decision_us_p50"] > 0
    json.dumps(report, allow_nan=False)


def test_equal_seeds_give_equal_reports(made_up):
    first, second = (evaluate(made_up, ["cluster"]) for _ in range(2))
    for a, b in zip(first["results"], second["results"], strict=True):
        assert {k: v for k, v in a.items() if "_us_" not in k} == {k: v for k, v in b.items() if "_us_" not in k}


def test_two_models_get_the_strong_weak_figures(made_up):
    rows = by_name(evaluate(made_up.without(["coder", "jurist"]), ["linear"]))
    assert 0.3 < rows["linear"]["apgr"] < 1.0
    assert "apgr" not in by_name(evaluate(made_up, ["linear"]))["linear"]


def test_gaps_in_scores_and_costs_are_survived(tmp_path, capsys):
    write_set(tmp_path, "gaps", 300, with_costs=False, with_prices=False, missing=0.3)
    assert evaluate_command(tmp_path, "gaps", ["knn"], "hashed", None, 0) == 0
    assert "knn" in capsys.readouterr().out


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    write_set(tmp_path)
    out = tmp_path / "report.json"
    assert evaluate_command(tmp_path, "made_up", ["knn", "linear"], "hashed", out, 0, leave_out=["jurist"]) == 0
    said = capsys.readouterr().out
    for word in ("task-mean", "oracle", "knn", "cost@95", "best single model on train: grand"):
        assert word in said
    report = json.loads(out.read_text())
    assert report["models"] == 3
    assert report["best_single"] == "grand"


@pytest.mark.parametrize(("set_name", "router"), [("absent", "knn"), ("made_up", "magic")])
def test_the_command_names_what_is_wrong(tmp_path, capsys, set_name, router):
    write_set(tmp_path, n=60)
    assert evaluate_command(tmp_path, set_name, [router], "hashed", None, 0) == 2
    assert "not evaluated" in capsys.readouterr().err


@pytest.mark.shared_data
def test_on_real_prompts_a_router_beats_the_best_single_model(shared_data):
    from routewright.learning.datasets import read_dataset

    report = evaluate(read_dataset(shared_data, "llmrouter_mix"), ["knn", "cluster"])
    rows = by_name(report)
    for name in ("knn", "cluster"):
        assert rows[name]["gain"] > 0.01
        assert rows[name]["aiq_gain"] > 0.02
        assert rows[name]["cost_at_best_quality"] < 0.6
