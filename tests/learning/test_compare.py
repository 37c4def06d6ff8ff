from __future__ import annotations

import json

import pytest
from made_up_sets import write_set

from routewright.cli import main
from routewright.learning.compare import FIGURES, Difference, compare, verdict
from routewright.learning.datasets import read_dataset
from routewright.learning.fit import fit_router
from routewright.routing.artefact import write_artefact


def by_figure(found: dict) -> dict[str, dict]:
    return {each["figure"]: each for each in found["differences"]}


def test_a_router_that_reads_prompts_is_told_from_one_that_does_not(made_up):
    found = compare(made_up, "cluster", "best")
    assert list(by_figure(found)) == list(FIGURES)
    for name in ("aiq", "cost_at_95"):
        each = by_figure(found)[name]
        assert each["better"] == "A"
        assert each["difference"] == pytest.approx(each["a"] - each["b"], abs=1e-4)
        assert each["low"] < each["difference"] < each["high"]
    assert found["verdict"].startswith("cluster is better over the whole range of costs")


def test_the_other_way_round_everything_is_turned_round(made_up):
    one, other = compare(made_up, "cluster", "linear"), compare(made_up, "linear", "cluster")
    for name, first in by_figure(one).items():
        second = by_figure(other)[name]
        assert (first["a"], first["b"]) == (second["b"], second["a"])
        if first["difference"] is not None:
            assert first["difference"] == pytest.approx(-second["difference"])
            assert {first["better"], second["better"]} in ({"A", "B"}, {""})


def test_a_router_against_itself_is_not_decided(made_up):
    found = compare(made_up, "cluster", "cluster@hashed")
    for each in found["differences"]:
        assert each["difference"] == 0.0
        assert (each["low"], each["high"], each["better"]) == (0.0, 0.0, "")
    assert found["verdict"].startswith("It is not decided")
    assert "show no difference" in found["verdict"]


def test_an_artefact_rates_as_the_router_it_was_made_of(made_up, tmp_path):
    path = tmp_path / "cluster.safetensors"
    write_artefact(fit_router(made_up, "cluster"), path)
    found = compare(made_up, str(path), "cluster")
    assert found["notes"] == []
    for name in ("quality", "aiq", "cost_at_95"):
        assert by_figure(found)[name]["difference"] == pytest.approx(0.0, abs=0.01)
    other = compare(made_up.without(["coder"]), str(path), "cluster")
    assert other["notes"] == []  # the same files were read
    write_set(tmp_path, "other", 200)
    assert "fitted on other data" in compare(read_dataset(tmp_path, "other"), str(path), "cluster")["notes"][0]


def difference(name: str, low: float, high: float, better: str) -> Difference:
    return Difference(name, 0.7, 0.7 - (low + high) / 2, (low + high) / 2, low, high, better)


def test_the_verdict_says_how_many_prompts_would_decide():
    undecided = [difference("quality", -0.02, 0.04, ""), difference("aiq", -0.01, 0.03, "")]
    said = verdict("one", "two", undecided, 1000)
    assert "It is not decided" in said
    assert "1000 test prompts are too few; some 4,000 would tell" in said


def test_the_verdict_says_where_quality_and_cost_disagree():
    mixed = [difference("quality", -0.04, -0.02, "B"), difference("aiq", 0.01, 0.03, "A")]
    said = verdict("one", "two", mixed, 1000)
    assert said.startswith("one is better over the whole range of costs")
    assert "On quality alone, whatever the cost, two is better (-0.0300)" in said
    same = [difference("quality", -0.04, 0.02, ""), difference("aiq", 0.01, 0.03, "A")]
    assert "On quality alone they are not told apart" in verdict("one", "two", same, 1000)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_the_command_prints_figures_and_a_sentence(tmp_path, capsys):
    write_set(tmp_path)
    where = ("--data", tmp_path, "--set", "made_up")
    out = tmp_path / "found" / "compared.json"
    assert run("compare", "cluster", "cheapest", *where, "--json", out) == 0
    said = capsys.readouterr().out
    for word in ("cost_at_best_quality", "aiq", "cluster is better"):
        assert word in said
    assert json.loads(out.read_text())["verdict"] in said.replace("\n", " ")
    for wrong in ("magic", "cluster@magic", tmp_path / "absent.safetensors"):
        assert run("compare", "cluster", wrong, *where) == 2
        assert "not compared" in capsys.readouterr().err
