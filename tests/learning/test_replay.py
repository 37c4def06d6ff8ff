"""Judging a router by another one's rated choices: right where it should be, and honest where it can't."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_sets import MODELS, write_set

from routewright.cli import main
from routewright.learning.datasets import read_dataset
from routewright.learning.fit import fit_router
from routewright.learning.replay import Ratings, ReplayError, estimate, policy_of, read_ratings
from routewright.routing.artefact import Artefact, read_artefact, write_artefact
from routewright.routing.choices import Choice, digest_of
from routewright.routing.feedback import Feedback


def test_three_ratings_worked_by_hand() -> None:
    ratings = Ratings(
        X=np.zeros((3, 1), np.float32),
        chosen=np.array([0, 1, 1]),
        propensity=np.array([0.5, 0.5, 0.25]),
        reward=np.array([1.0, 0.0, 1.0]),
    )
    policy = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    expected = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    found = estimate(ratings, policy, expected)
    # weights 2, 2 and 2; surprises 0.5, -0.5 and 1
    assert found["ips"]["value"] == pytest.approx((2 + 0 + 2) / 3)
    assert found["snips"]["value"] == pytest.approx(4 / 6)
    assert found["doubly_robust"]["value"] == pytest.approx((1.5 - 0.5 + 2.5) / 3)
    assert found["logged"]["value"] == pytest.approx(2 / 3)
    assert found["effective_ratings"] == pytest.approx(3)


@pytest.mark.parametrize("belief", [0.0, 0.5, 1.0])
def test_truth_lies_in_the_interval_whatever_is_expected(belief: float) -> None:
    """With the true chances logged, a wrong expectation costs width, not truth."""
    rng = np.random.default_rng(5)
    n, worth = 4000, np.array([0.2, 0.5, 0.8])
    chances = np.array([0.6, 0.3, 0.1])
    chosen = rng.choice(3, size=n, p=chances)
    reward = (rng.random(n) < worth[chosen]).astype(float)
    ratings = Ratings(np.zeros((n, 1), np.float32), chosen, chances[chosen], reward)
    policy = np.tile([0.0, 0.5, 0.5], (n, 1))
    found = estimate(ratings, policy, np.full((n, 3), belief))
    for name in ("doubly_robust", "ips", "snips"):
        assert found[name]["low"] < 0.65 < found[name]["high"]
    assert found["gain"]["low"] > 0.2
    assert found["logged"]["value"] == pytest.approx(worth @ chances, abs=0.03)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bandit that explores, and two routers with its features: the same fit, and one that knows better."""
    folder = tmp_path_factory.mktemp("replay")
    write_set(folder, n=300)
    made_up = read_dataset(folder, "made_up")
    small = {"n_topics": 8, "rank": 16}
    bandit = fit_router(
        made_up, "bandit", router_arguments={"rank": 4, "exploration": 3.0, "floor": 0.2}, feature_arguments=small
    )
    cheapest = fit_router(made_up, "cheapest", feature_arguments=small)
    other_features = fit_router(made_up, "cheapest", feature_arguments={"n_topics": 4, "rank": 16})
    paths = {}
    for name, artefact in (("bandit", bandit), ("cheapest", cheapest), ("strange", other_features)):
        paths[name] = folder / f"{name}.safetensors"
        write_artefact(artefact, paths[name])
    return paths


def rated(folder: Path, artefact: Artefact, n: int = 400) -> None:
    """`n` choices of a bandit as a gateway keeps them, each rated by a caller who likes one model only."""
    feedback = Feedback(folder / "online", 0)
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, artefact.router.n_features_)).astype(np.float32)
    petit = MODELS.index("petit")
    for number, x in enumerate(X):
        model, propensity = artefact.router.choose(x, rng)  # type: ignore[attr-defined]
        name = f"r-{number}"
        choice = Choice(
            digest_of(name), digest_of(name), "", "auto", artefact.sha256[:12], model, propensity, number + 1.0, x
        )
        feedback.choices.keep(choice)
        feedback.rate("", is_master=False, request_id=name, score=0.9 if model == petit else 0.1)


def test_router_that_chooses_what_callers_like_is_told_from_one_that_does_not(
    fitted: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rated(tmp_path, read_artefact(fitted["bandit"]))
    arguments = ["replay", "--data-dir", str(tmp_path), "--logged", str(fitted["bandit"])]

    assert run([*arguments, "--json", "--router", str(fitted["bandit"])]) == 0
    same = json.loads(capsys.readouterr().out)[str(fitted["bandit"])]
    assert run([*arguments, "--json", "--cost-weight", "1e6", "--router", str(fitted["cheapest"])]) == 0
    cheapest = json.loads(capsys.readouterr().out)[str(fitted["cheapest"])]

    assert same["doubly_robust"]["value"] == pytest.approx(same["logged"]["value"], abs=0.05)
    assert cheapest["doubly_robust"]["low"] > same["doubly_robust"]["high"]
    assert cheapest["snips"]["value"] == pytest.approx(0.9)
    assert run([*arguments, "--router", str(fitted["cheapest"])]) == 0
    assert "what was chosen earned 0." in capsys.readouterr().out


def test_nothing_to_judge_by_is_said(
    fitted: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["replay", "--data-dir", str(tmp_path), "--logged", str(fitted["bandit"])]
    assert run([*arguments, "--router", str(fitted["cheapest"])]) == 1
    assert "no rating of a choice" in capsys.readouterr().err


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_routers_that_do_not_go_together_are_refused(fitted: dict[str, Path], tmp_path: Path) -> None:
    bandit, strange = read_artefact(fitted["bandit"]), read_artefact(fitted["strange"], force=True)
    X = np.zeros((2, bandit.router.n_features_), np.float32)
    with pytest.raises(ReplayError, match="different features"):
        policy_of(strange, bandit, X, 0.0)
    renamed = replace(bandit, labels=tuple(replace(label, name=f"x-{label.name}") for label in bandit.labels))
    with pytest.raises(ReplayError, match="no model in common"):
        policy_of(renamed, bandit, X, 0.0)
    with pytest.raises(ReplayError, match="no rating"):
        read_ratings(tmp_path, bandit)
