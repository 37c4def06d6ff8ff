from __future__ import annotations

import numpy as np
import pytest
from made_up import make_artefact, make_candidate, make_prompts

from routewright.routing.artefact import read_artefact, write_artefact
from routewright.routing.decide import RoutePlan
from routewright.routing.lengths import LEAST_RATIO, MOST_RATIO, AnswerLengths
from routewright.types import Prompt


def wordy_data(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Vectors whose first entry says how long answers are; the third model hardly goes along."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 5)).astype(np.float32)
    ratio = 1 + np.outer(X[:, 0], [0.5, 0.4, 0.05])
    return X, (np.array([100, 400, 50]) * np.maximum(ratio, 0.1)).astype(np.float32)


def test_one_number_says_how_much_longer_than_usual_answers_are():
    X, tokens = wordy_data()
    lengths = AnswerLengths(penalty=1.0).fit(X, tokens)
    wordiness = lengths.wordiness(X)
    assert wordiness.mean() == pytest.approx(0, abs=1e-4)
    assert wordiness.std() == pytest.approx(1, abs=1e-3)
    assert np.corrcoef(wordiness, X[:, 0])[0, 1] > 0.999
    assert lengths.shares_ == pytest.approx([0.5, 0.4, 0.05], abs=0.06)
    # by hand: one standard deviation above the mean, the first model's answers are half as long again
    ratios = lengths.ratios(np.array([0.0, 1.0, 100.0, -100.0], dtype=np.float32))
    assert ratios[0] == pytest.approx([1, 1, 1])
    assert ratios[1] == pytest.approx(1 + lengths.shares_)
    assert ratios[2, 0] == MOST_RATIO
    assert ratios[3, 0] == LEAST_RATIO


def test_lengths_that_were_not_recorded_are_left_out():
    X, tokens = wordy_data()
    whole = AnswerLengths(penalty=1.0).fit(X, tokens)
    tokens[::3, 1] = np.nan
    gaps = AnswerLengths(penalty=1.0).fit(X, np.column_stack((tokens, np.full(len(X), np.nan))).astype(np.float32))
    assert gaps.shares_[:3] == pytest.approx(whole.shares_, abs=0.03)
    assert gaps.shares_[3] == pytest.approx(gaps.shares_[:3].mean(), rel=1e-4)
    with pytest.raises(ValueError, match="no length"):
        AnswerLengths().fit(X, np.full((len(X), 2), np.nan, dtype=np.float32))


def test_answers_of_one_length_are_all_expected_to_have_it():
    X, _ = wordy_data()
    lengths = AnswerLengths().fit(X, np.full((len(X), 2), 70, dtype=np.float32))
    assert lengths.ratios(lengths.wordiness(X)) == pytest.approx(1.0, abs=1e-4)


@pytest.fixture(scope="module")
def wordy_artefact(tmp_path_factory):
    """Law answers are long, code answers short; read back from its file."""
    prompts, subject = make_prompts(90)
    artefact = make_artefact("logistic")
    X = artefact.features.transform(prompts)
    lengths = AnswerLengths(penalty=0.1).fit(X, np.array([[20.0], [300.0], [100.0]], np.float32)[subject].repeat(4, 1))
    sample = lengths.wordiness(X[:40]).astype(np.float16)
    path = tmp_path_factory.mktemp("lengths") / "wordy.safetensors"
    write_artefact(make_artefact("logistic", lengths=lengths, sample_wordiness=sample), path)
    return read_artefact(path)


CODE, LAW = (
    Prompt(text="write a class method loop return bug compile"),
    Prompt(text="court statute plaintiff appeal jury"),
)


def test_a_prompt_that_asks_for_a_long_answer_is_expected_to_cost_more(wordy_artefact):
    own = [make_candidate("grand", 10, 40), make_candidate("petit", 0.5, 2), make_candidate("somebody-else", 1, 4)]
    for candidates in (own[:2], own):  # those measured themselves, and one that is placed between them
        plan = RoutePlan(wordy_artefact, candidates, quality=0.8)
        code, law = plan.rate(CODE, 20, None), plan.rate(LAW, 20, None)
        for i in range(len(candidates)):
            assert law.costs_usd[i] > 2 * code.costs_usd[i]
        told = plan.explain(LAW, 20, None)
        assert told["output_tokens"]["grand"] > 150
        assert told["cost_usd"] == pytest.approx(law.costs_usd[law.order[0]], rel=1e-4)
        # the request's own bound still holds
        assert plan.rate(LAW, 20, 10).costs_usd[0] == pytest.approx(20 * 10e-6 + 10 * 40e-6)


def test_the_short_way_and_the_vector_expect_the_same_lengths(wordy_artefact, monkeypatch):
    own = [make_candidate("grand", 10, 40), make_candidate("petit", 0.5, 2)]
    short = RoutePlan(wordy_artefact, own)
    monkeypatch.setattr(type(wordy_artefact.features), "fold", lambda *_: None)
    long = RoutePlan(wordy_artefact, own)
    for prompt in (CODE, LAW, Prompt(text="")):
        assert short.rate(prompt, 20, None).costs_usd == pytest.approx(long.rate(prompt, 20, None).costs_usd, rel=1e-4)
