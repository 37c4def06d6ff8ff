"""A cascade's thresholds: worked by hand, and from recorded scores to a line of configuration that loads."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_up_sets import write_set

from routewright.config import load_text
from routewright.learning.cascade import fit_thresholds, follow, main
from routewright.settings import CascadeSettings

# Four requests, a cheap model and a dear one; the cheap one is sure of the two that it gets right.
SIGN = np.array([[-0.1, 0.0], [-0.2, 0.0], [-0.9, 0.0], [-1.0, 0.0]])
QUALITY = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
COST = np.array([[1.0, 10.0]] * 4)


def test_following_a_cascade_pays_for_what_was_asked() -> None:
    outcome = follow(SIGN, QUALITY, COST, [-0.5], is_paid_first=True)
    assert (outcome.score, outcome.cost_usd, outcome.answered) == (1.0, (1 + 1 + 11 + 11) / 4, (0.5, 0.5))
    free = follow(SIGN, QUALITY, COST, [-0.5], is_paid_first=False)
    assert (free.score, free.cost_usd) == (1.0, (1 + 1 + 10 + 10) / 4)


def test_answer_without_a_sign_is_taken() -> None:
    unknown = np.full_like(SIGN, np.nan)
    assert follow(unknown, QUALITY, COST, [0.0], is_paid_first=True).answered == (1.0, 0.0)


def test_cheapest_thresholds_that_keep_the_score_are_found() -> None:
    (threshold,) = fit_thresholds(SIGN, QUALITY, COST, 1.0, is_paid_first=True)
    assert -0.9 < threshold <= -0.2
    assert fit_thresholds(SIGN, QUALITY, COST, 0.5, is_paid_first=True) == [-np.inf]
    assert follow(SIGN, QUALITY, COST, fit_thresholds(SIGN, QUALITY, COST, 2.0, is_paid_first=True),
                  is_paid_first=True).score == 1.0  # fmt: skip


@pytest.mark.parametrize("stages", [1, 5])
def test_grid_has_an_end(stages: int) -> None:
    with pytest.raises(ValueError, match=r"2\.\.4 stages"):
        fit_thresholds(*[np.zeros((3, stages))] * 3, 0.5, is_paid_first=True)


def test_signs_that_tell_are_worth_money(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recorded log-probabilities that know what is right: nearly all of the score, at a part of the cost."""
    write_set(tmp_path, n=300)
    with gzip.open(tmp_path / "made_up.scores.csv.gz", "rt") as scores:
        rows = list(csv.reader(scores))
    with gzip.open(tmp_path / "made_up.logprob.csv.gz", "wt", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "petit"])
        out.writerows([[row[0], -0.1 if row[2] == "1" else -1.5] for row in rows[1:]])

    assert main(["--data", str(tmp_path), "--set", "made_up", "--models", "grand,petit"]) == 0

    settings, figures = capsys.readouterr().out.splitlines()
    loaded = load_text(
        "model_list:\n  - {model_name: petit, litellm_params: {model: openai/petit, api_key: k}}\n"
        f"routes:\n  auto:\n    router: cascade\n    {settings}\n",
        environ={},
    )
    (route,) = [route for route in loaded.routes if route.name == "auto"]
    assert isinstance(route.orchestration, CascadeSettings)
    assert -1.5 < route.orchestration.min_logprob_of["petit"] <= -0.1
    assert "logprob" in route.orchestration.checks
    score, alone = (float(word.rstrip(";,")) for word in np.array(figures.split())[[4, 8]])
    assert score >= alone
    assert "0." in figures.split("cost ")[1]


def test_without_signs_a_router_says_whom_to_pass_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(tmp_path, n=300)
    arguments = ["--data", str(tmp_path), "--set", "made_up"]

    assert main([*arguments, "--router", "linear", "--models", "petit,coder,grand", "--share", "0.9"]) == 0

    made = yaml.safe_load(capsys.readouterr().out)["router_args"]
    assert set(made["min_score"]) == {"petit", "coder"}
    assert made["max_stages"] == 3
    assert main([*arguments, "--models", "petit,nobody"]) == 2
    assert 'no model "nobody"' in capsys.readouterr().err
