from __future__ import annotations

import numpy as np
import pytest
from made_up_sets import write_set

from routewright.errors import ArtefactRefused
from routewright.learning.bootstrap import bootstrap_interval
from routewright.learning.datasets import DatasetError, read_dataset
from routewright.learning.fit import fit_command, fit_router, judge
from routewright.routing.artefact import artefact_bytes, read_artefact
from routewright.routing.registry import ROUTERS
from routewright.types import Prompt


@pytest.mark.parametrize("router", ["knn", "cluster", "linear", "logistic", "ensemble"])
def test_a_fitted_router_knows_who_is_good_at_what(made_up, router):
    artefact = fit_router(made_up, router)
    code = artefact.router.rate_one(artefact.features.vector(Prompt(text="python class method loop compile bug")))
    law = artefact.router.rate_one(artefact.features.vector(Prompt(text="court jury tort plaintiff appeal claim")))
    assert code[2] > law[2] + 0.25
    assert law[3] > code[3] + 0.3
    assert artefact.gate["passed"]
    assert artefact.labels[0].output_tokens == 100


def test_fitting_again_gives_the_same_bytes(made_up):
    first, second = (artefact_bytes(fit_router(made_up, "cluster", seed=3, created="now")) for _ in range(2))
    assert first == second


def test_test_rows_are_never_looked_at(made_up):
    from dataclasses import replace

    quality = made_up.quality.copy()
    quality[made_up.rows("test")] = np.nan
    blind = fit_router(replace(made_up, quality=quality), "knn", created="now")
    assert artefact_bytes(blind) == artefact_bytes(fit_router(made_up, "knn", created="now"))


def test_a_set_with_scores_alone_can_be_fitted(tmp_path):
    write_set(tmp_path, "bare", 200, with_costs=False, with_prices=False, missing=0.2)
    artefact = fit_router(read_dataset(tmp_path, "bare"))
    assert artefact.labels[0].input_usd_per_token is None
    assert np.isfinite(artefact.router.predict_quality(artefact.features.transform([Prompt(text="court")]))).all()


def test_a_set_without_validation_rows_is_refused(made_up):
    from dataclasses import replace

    with pytest.raises(DatasetError, match="0 valid rows"):
        fit_router(replace(made_up, splits=("train",) * len(made_up)))


def test_a_worse_router_does_not_pass_the_gate():
    rng = np.random.default_rng(0)
    recorded = np.stack([rng.random(600) < 0.9, rng.random(600) < 0.3], axis=1).astype(np.float32)
    cost = np.ones((600, 2), np.float32)
    mean = np.array([0.9, 0.3], np.float32)
    assert judge(recorded, cost, recorded, cost, mean, seed=0)["passed"]
    verdict = judge(1 - recorded, cost, recorded, cost, mean, seed=0)
    assert not verdict["passed"]
    assert verdict["high"] < 0


def test_the_bootstrap_interval_holds_the_mean():
    values = np.random.default_rng(1).normal(0.2, 1.0, size=900)
    low, high = bootstrap_interval(values, seed=0)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 30, rel=0.15)


def test_the_command_writes_a_file_that_loads_and_says_what_came_out(tmp_path, capsys):
    write_set(tmp_path)
    out = tmp_path / "deep" / "router.safetensors"
    assert fit_command(tmp_path, "made_up", "llmrouter-knn", "hashed", out, 0, False) == 0
    said = capsys.readouterr().out
    assert "4 models" in said
    assert "grand" in said
    assert read_artefact(out).training_ids


@pytest.mark.parametrize(
    ("set_name", "router", "features", "word"),
    [
        ("absent", "knn", "hashed", "no set"),
        ("made_up", "magic", "hashed", "known"),
        ("made_up", "knn", "magic", "features"),
    ],
)
def test_the_command_names_what_is_wrong(tmp_path, capsys, set_name, router, features, word):
    write_set(tmp_path, n=60)
    assert fit_command(tmp_path, set_name, router, features, tmp_path / "out", 0, False) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_router_that_fails_its_gate_is_written_marked(tmp_path, monkeypatch, capsys):
    write_set(tmp_path, n=100)
    failed = {"passed": False, "difference": -0.1, "low": -0.2, "high": -0.01, "best_single": 0, "cost_share": 1.0}
    monkeypatch.setattr("routewright.learning.fit.judge", lambda *_, **__: failed)
    out = tmp_path / "router.safetensors"
    assert fit_command(tmp_path, "made_up", "knn", "hashed", out, 0, False) == 1
    with pytest.raises(ArtefactRefused, match="gate"):
        read_artefact(out)
    assert fit_command(tmp_path, "made_up", "knn", "hashed", out, 0, True) == 0
    assert set(ROUTERS) >= {"knn", "cluster"}
    capsys.readouterr()
