from __future__ import annotations

import json

import pytest
from made_up_sets import write_set

from routewright.learning import onboarding
from routewright.learning.onboarding import onboard


def test_a_specialist_added_back_from_a_few_prompts_is_used_where_it_is_good(made_up):
    """The cheap jurist, good at law alone: its mean score says nothing of that, sixty prompts do."""
    report = onboard(made_up, ["jurist"], prompts=60, draws=3)
    ways = report["ways"]
    assert ways["full"]["share"] == 1.0
    assert ways["without"]["share"] == 0.0
    assert ways["added"]["aiq"] > ways["mean"]["aiq"] > 0
    assert ways["added"]["aiq"] > ways["without"]["aiq"] + 0.03
    assert ways["added"]["share"] > 0.6
    assert ways["full"]["brier"] <= ways["added"]["brier"] + 0.02 < ways["mean"]["brier"]


def test_models_that_are_not_there_or_leave_too_few_are_refused(made_up):
    with pytest.raises(ValueError, match='no model "nobody"'):
        onboard(made_up, ["nobody"])
    with pytest.raises(ValueError, match="two models must be left"):
        onboard(made_up, ["grand", "petit", "coder"])


def test_the_command_prints_and_writes_its_figures(tmp_path, capsys):
    write_set(tmp_path, n=200)
    out = tmp_path / "figures.json"
    arguments = [str(tmp_path), "--set", "made_up", "--hide", "coder", "--prompts", "30", "--draws", "1"]
    assert onboarding.main([*arguments, "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "hidden coder; 30 prompts" in printed
    assert set(json.loads(out.read_text())["ways"]) == {"full", "added", "mean", "without"}
