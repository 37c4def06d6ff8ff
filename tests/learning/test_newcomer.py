from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up_sets import write_set

from routewright.cli import main
from routewright.learning.datasets import Dataset
from routewright.learning.fit import fit_router
from routewright.learning.newcomer import add_model
from routewright.routing.artefact import Artefact, read_artefact, write_artefact
from routewright.routing.decide import RoutePlan
from routewright.types import Price, Prompt, RouteCandidate

FEATURES = {"buckets": 512, "n_topics": 6, "n_targets": 3, "rank": 16}
LAW, CODE = Prompt(text="court statute plaintiff contract jury"), Prompt(text="write a python function loop return bug")


def fitted(dataset: Dataset, router: str = "mf") -> Artefact:
    return fit_router(dataset.without(["jurist"]), router, feature_arguments=FEATURES)


def test_a_new_model_is_used_where_it_is_good_and_nobody_else_is_touched(made_up, tmp_path):
    before = fitted(made_up)
    write_artefact(add_model(before, made_up, "jurist"), tmp_path / "grown.safetensors")
    after = read_artefact(tmp_path / "grown.safetensors")
    assert [label.name for label in after.labels] == ["grand", "petit", "coder", "jurist"]
    assert after.training["added"][0]["model"] == "jurist"
    rated = {}
    for name, prompt in (("law", LAW), ("code", CODE)):
        x = after.features.vector(prompt)
        rated[name] = after.router.rate_one(x)
        assert rated[name][:3] == pytest.approx(before.router.rate_one(x), abs=1e-6)
    assert rated["law"][3] > rated["code"][3] + 0.2
    assert after.labels[3].input_usd_per_token == pytest.approx(1e-6)
    assert after.labels[3].output_tokens == pytest.approx(130)


def test_the_grown_file_serves_a_route_over_the_new_model(made_up):
    after = add_model(fitted(made_up), made_up, "jurist")
    prices = {"grand": (10e-6, 30e-6), "jurist": (1e-6, 2e-6)}
    candidates = [
        RouteCandidate(
            model=name,
            upstream_model=name,
            provider="",
            price=Price(input_usd_per_token=usd_in, output_usd_per_token=usd_out, source="config"),
        )
        for name, (usd_in, usd_out) in prices.items()
    ]
    plan = RoutePlan(after, candidates, quality=0.9)
    assert candidates[plan.rate(LAW, 20, None).order[0]].model == "jurist"
    assert candidates[plan.rate(CODE, 20, None).order[0]].model == "grand"


def test_what_can_not_be_added_is_refused_in_words(made_up):
    artefact = fitted(made_up)
    with pytest.raises(ValueError, match='knows "coder" already'):
        add_model(artefact, made_up, "coder")
    with pytest.raises(ValueError, match='no model "nobody"; it has grand'):
        add_model(artefact, made_up, "nobody")
    with pytest.raises(ValueError, match='kind "linear" takes in no new model; fit one of kind "mf"'):
        add_model(fitted(made_up, "linear"), made_up, "jurist")


def test_the_command_needs_only_the_new_models_scores(made_up, tmp_path: Path, capsys):
    """The set that comes with the new model knows nothing of the others."""
    write_artefact(fitted(made_up), tmp_path / "old.safetensors")
    write_set(tmp_path, "news", n=150, models=("jurist",))
    out = tmp_path / "new.safetensors"
    arguments = ["add-model", str(tmp_path / "old.safetensors"), "--data", str(tmp_path), "--set", "news"]
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--model", "jurist", "--out", str(out)])
    assert done.value.code == 0
    assert "jurist is model 4" in capsys.readouterr().out
    assert np.isfinite(read_artefact(out).router.rate_one(read_artefact(out).features.vector(LAW))).all()
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--model", "coder", "--out", str(out)])
    assert done.value.code == 2
    assert "not added" in capsys.readouterr().err
