from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import MODELS, make_artefact, make_candidate, make_prompts

from routewright.routing.artefact import read_artefact
from routewright.routing.decide import NothingWithinCap, RoutePlan
from routewright.types import Caps, Prompt, Rating

GRAND, PETIT, CODER, JURIST = range(4)


@pytest.fixture(scope="module")
def own() -> list:
    return [
        make_candidate("grand", 20, 80),
        make_candidate("petit", 0.5, 2),
        make_candidate("coder", 1, 4),
        make_candidate("jurist", 1, 4),
    ]


@pytest.fixture(scope="module")
def plan(own) -> RoutePlan:
    return RoutePlan(make_artefact("knn", n=400), own, quality=0.9, default_model=None)


@pytest.fixture(scope="module")
def auto(default_artefact, candidates) -> RoutePlan:
    return RoutePlan(default_artefact, candidates, quality=0.8, default_model="gpt-4o")


def test_a_prompt_goes_to_the_cheap_model_that_does_its_subject_well(plan):
    code = plan.rate(Prompt(text="write a class method loop return bug compile"), 20, None, quality=0.6)
    law = plan.rate(Prompt(text="plaintiff contract tort appeal jury court"), 20, None, quality=0.6)
    maths = plan.rate(Prompt(text="prove integral matrix theorem group prime"), 20, None, quality=1.0)
    assert (code.order[0], law.order[0], maths.order[0]) == (CODER, JURIST, GRAND)


def test_the_ends_of_the_dial_are_cheapest_and_best(plan):
    for prompt in make_prompts(30, seed=5)[0]:
        assert plan.rate(prompt, 20, None, quality=0.0).order[0] == PETIT
        rating = plan.rate(prompt, 20, None, quality=1.0)
        assert rating.scores[rating.order[0]] == max(rating.scores)


def test_turning_the_dial_up_costs_more_and_wins_more(plan):
    prompts, _ = make_prompts(200, seed=6)
    costs, expected = [], []
    for dial in (0.0, 0.3, 0.6, 0.9, 1.0):
        ratings = [plan.rate(prompt, 20, None, quality=dial) for prompt in prompts]
        costs.append(sum(r.costs_usd[r.order[0]] for r in ratings))
        expected.append(sum(r.scores[r.order[0]] for r in ratings))
    assert costs == sorted(costs)
    assert expected == sorted(expected)


def test_cost_is_prompt_and_usual_answer_bounded_by_max_tokens(plan):
    rating = plan.rate(Prompt(text="loop"), 1000, None)
    assert rating.costs_usd[GRAND] == pytest.approx(1000 * 20e-6 + 100 * 80e-6)
    assert plan.rate(Prompt(text="loop"), 1000, 10).costs_usd[GRAND] == pytest.approx(1000 * 20e-6 + 10 * 80e-6)
    assert plan.rate(Prompt(text="loop"), 1000, 9999).costs_usd[GRAND] == pytest.approx(1000 * 20e-6 + 100 * 80e-6)


def test_only_allowed_candidates_are_ordered(plan):
    rating = plan.rate(Prompt(text="court"), 20, None, allowed=[PETIT, CODER])
    assert sorted(rating.order) == [PETIT, CODER]
    assert plan.rate(Prompt(text="court"), 20, None, allowed=[CODER]).reason == "only candidate"
    with pytest.raises(ValueError, match="no candidate"):
        plan.rate(Prompt(text="court"), 20, None, allowed=[])


def check(rating: Rating, n: int, allowed: list[int]) -> None:
    assert sorted(rating.order) == sorted(allowed)
    assert len(rating.scores) == len(rating.costs_usd) == n
    assert all(0 <= score <= 1 for score in rating.scores)
    assert all(cost >= 0 for cost in rating.costs_usd)
    assert 0 <= rating.confidence <= 1
    assert np.isfinite(rating.margin)
    assert rating.reason


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(max_size=200),
    system=st.text(max_size=40),
    tokens=st.integers(0, 10**6),
    max_tokens=st.none() | st.integers(0, 10**6),
    quality=st.none() | st.floats(allow_nan=True, allow_infinity=True),
    allowed=st.sets(st.integers(0, 4), min_size=1),
)
def test_any_text_goes_to_an_allowed_candidate(auto, text, system, tokens, max_tokens, quality, allowed):
    prompt = Prompt(text=text, system=system)
    rating = auto.rate(prompt, tokens, max_tokens, quality=quality, allowed=sorted(allowed))
    check(rating, 5, sorted(allowed))
    told = auto.explain(prompt, tokens, max_tokens, quality=quality, allowed=sorted(allowed))
    assert told["selected_model"] == auto.candidates[rating.order[0]].model
    json.dumps(told, allow_nan=False)


def test_a_prompt_unlike_all_training_goes_to_the_default_model(auto):
    for text, words in (("", "empty prompt"), ("数学の問題を解いてください", "script")):
        rating = auto.rate(Prompt(text=text), 5, None)
        assert auto.candidates[rating.order[0]].model == "gpt-4o"
        assert words in rating.reason
        assert words in auto.explain(Prompt(text=text), 5, None)["reason"]
        without = auto.rate(Prompt(text=text), 5, None, allowed=[1, 4])
        check(without, 5, [1, 4])


def test_too_close_to_call_goes_to_the_default_model():
    twins = [make_candidate("petit", 1, 1), make_candidate("other", 1, 1, upstream_model="petit")]
    plan = RoutePlan(make_artefact(), twins, quality=0.5, default_model="other")
    assert plan.rate(Prompt(text="loop"), 5, None, quality=1.0).order == [0, 1]
    rating = plan.rate(Prompt(text="loop"), 5, None)
    assert rating.order == [1, 0]
    assert "too close" in rating.reason
    assert RoutePlan(make_artefact(), twins, quality=0.5).rate(Prompt(text="loop"), 5, None).order == [0, 1]


def test_a_default_model_that_is_no_candidate_is_a_warning(own):
    plan = RoutePlan(make_artefact(), own, quality=0.5, default_model="gone")
    assert "gone" in plan.warnings[0]
    check(plan.rate(Prompt(text=""), 1, None), 4, [0, 1, 2, 3])


def test_an_unknown_price_is_taken_as_the_dearest_and_said(default_artefact):
    plan = RoutePlan(
        default_artefact,
        [make_candidate("gpt-4o", 2.5, 10), make_candidate("gpt-4o-mini", 0.15, 0.6), make_candidate("acme")],
        quality=0.8,
    )
    rating = plan.rate(Prompt(text="hello"), 100, None)
    assert rating.costs_usd[2] == pytest.approx(rating.costs_usd[0])
    assert "dearest" in plan.placements[2]["price_note"]
    assert any("acme" in warning for warning in plan.warnings)
    nobody = RoutePlan(default_artefact, [make_candidate("gpt-4o"), make_candidate("gpt-4o-mini")], quality=0.8)
    assert nobody.rate(Prompt(text="hello"), 100, None).order[0] == 0
    assert "equal" in nobody.placements[0]["price_note"]


def test_demo_prompts_spread_over_models_at_the_usual_dial(auto):
    """Easy prompts to a cheap model, hard ones to a strong one."""
    cheap, strong = {"gpt-4o-mini", "claude-3-5-haiku", "llama-3.1-8b-instruct"}, {"gpt-4o", "claude-3-5-sonnet"}
    easy = [
        "What is the capital of France?",
        "Translate 'good morning' into Spanish.",
        "What is 17 * 23?",
        "Write a Python function that returns the n-th Fibonacci number.",
        "List three synonyms for happy.",
    ]
    hard = [
        "Prove that every bounded sequence of real numbers has a convergent subsequence, and use it to show that a "
        "continuous function on a compact set attains its maximum.",
        "A particle of mass m moves in a potential V(x) = k x^4. Derive the quantised energy levels by the WKB "
        "approximation.",
        "A landowner conveyed a parcel to his niece for life, remainder to her children. The niece conveyed a fee "
        "simple to a buyer who recorded. If the children sue to quiet title, who will prevail at common law?",
    ]
    for text in easy:
        assert auto.explain(Prompt(text=text), len(text) // 4, None)["selected_model"] in cheap, text
    for text in hard:
        assert auto.explain(Prompt(text=text), len(text) // 4, None)["selected_model"] in strong, text


def test_the_reason_names_scores_and_share_of_cost(auto):
    told = auto.explain(Prompt(text="What is the capital of France?"), 8, None)
    assert told["reason"].startswith(f"{told['selected_model']}: expected score 0.")
    assert "of its cost" in told["reason"]
    assert told["decision_ms"] >= told["features_ms"] > 0
    assert {"model", "score", "cost_usd"} == set(told["alternatives"][0])


def test_neighbours_are_named_by_their_training_ids(plan):
    told = plan.explain(Prompt(text="court statute plaintiff"), 8, None)["neighbours"]
    assert len(told["ids"]) == 8
    assert all(name.startswith("row-") for name in told["ids"])
    cluster = RoutePlan(make_artefact("cluster"), plan.candidates, quality=0.8).explain(Prompt(text="court"), 8, None)
    assert cluster["neighbours"]["size"] >= 1


def test_placements_tell_label_way_and_price(auto):
    for row, candidate in zip(auto.placements, auto.candidates, strict=True):
        assert row["model"] == candidate.model
        assert row["placed"]
        assert row["input_usd_per_million_tokens"] == pytest.approx(candidate.price.input_usd_per_token * 1e6)
    json.dumps(auto.placements, allow_nan=False)


def test_bad_arguments_are_refused(default_artefact, candidates):
    with pytest.raises(ValueError, match="at least one"):
        RoutePlan(default_artefact, [], quality=0.5)
    with pytest.raises(ValueError, match="quality"):
        RoutePlan(default_artefact, candidates, quality=1.5)


def test_a_plan_is_the_same_after_a_hundred_reloads(default_artefact, candidates):
    prompt = Prompt(text="Explain quantum entanglement")
    first = RoutePlan(default_artefact, candidates, quality=0.8).rate(prompt, 8, None)
    for _ in range(100):
        again = RoutePlan(read_artefact(default_artefact.path), candidates, quality=0.8).rate(prompt, 8, None)
        assert again.scores == first.scores
        assert again.order == first.order


def test_a_single_candidate_needs_no_choice(default_artefact):
    plan = RoutePlan(default_artefact, [make_candidate("gpt-4o", 1, 1)], quality=0.8, default_model="gpt-4o")
    rating = plan.rate(Prompt(text="x"), 1, None)
    check(rating, 1, [0])
    assert rating.margin == 0.0


def test_explain_gives_the_scores_of_rate(auto, plan):
    for prompt in (
        *make_prompts(10, seed=8)[0],
        Prompt(text="def f(x): return 2?", system="Be brief.", has_tools=True),
    ):
        for asked in (auto, plan):
            rating, told = asked.rate(prompt, 20, None), asked.explain(prompt, 20, None)
            chosen = {told["selected_model"]: told["score"]}
            scores = chosen | {row["model"]: row["score"] for row in told["alternatives"]}
            for candidate, score in zip(asked.candidates, rating.scores, strict=True):
                assert scores[candidate.model] == round(score, 4)


def test_the_short_way_gives_the_scores_of_router_and_features(default_artefact, candidates):
    own = [make_candidate(model, 1, 1) for model in MODELS]
    for plan in (RoutePlan(default_artefact, candidates), RoutePlan(make_artefact("logistic"), own)):
        for prompt in make_prompts(30, seed=9)[0]:
            labels = plan.artefact.router.rate_one(plan.artefact.features.vector(prompt))
            assert plan.rate(prompt, 20, None).scores == pytest.approx(plan._score(labels).tolist(), abs=2e-5)


def test_what_is_remembered_of_prompts_is_bounded(own):
    plan = RoutePlan(make_artefact("logistic"), own)
    first = plan.rate(Prompt(text="court"), 20, None).scores
    for number in range(2000):
        plan.rate(Prompt(text=f"{number} " + "loop " * (number % 500)), 20, None)
        kept = [key for generation in (plan._young, plan._old) for key in generation]
        assert len(kept) <= 2 * 256
        assert sum(len(key[0]) for key in kept) <= 2 * 256 * 1024
    plan.rate(Prompt(text="x" * 9000), 20, None)
    assert max(len(key[0]) for key in plan._young) < 9000
    assert plan.rate(Prompt(text="court"), 20, None).scores == first


def test_a_remembered_prompt_is_told_from_one_with_other_tools_task_or_system(own):
    plan = RoutePlan(make_artefact("logistic"), own)
    prompts = [Prompt("loop"), Prompt("loop", "system"), Prompt("loop", task="x"), Prompt("loop", has_tools=True)]
    for prompt in prompts:
        plan.rate(prompt, 20, None)
    assert len(plan._young) == len(prompts)


def test_no_candidate_above_a_cap_of_cost_is_ordered(plan):
    prompt = Prompt(text="prove integral matrix theorem group prime")
    free = plan.rate(prompt, 20, None, quality=1.0)
    assert free.order[0] == GRAND
    capped = plan.rate(prompt, 20, None, quality=1.0, caps=Caps(max_cost_usd=0.5e-3))
    assert sorted(capped.order) == [PETIT, CODER, JURIST]
    assert all(capped.costs_usd[i] <= 0.5e-3 for i in capped.order)
    with pytest.raises(NothingWithinCap, match=r'the least is .* USD, of "petit"') as refused:
        plan.rate(prompt, 20, None, caps=Caps(max_cost_usd=1e-6))
    assert refused.value.cap == "max_cost_usd"


def test_no_candidate_slower_than_a_cap_is_ordered_and_an_unknown_pace_holds_nobody_back(plan):
    prompt = Prompt(text="prove integral matrix theorem group prime")
    paces = [0.05, 0.001, 0.0, 0.02]  # usual answers have 100 tokens: 5 s, 0.1 s, not known, 2 s
    capped = plan.rate(prompt, 20, None, quality=1.0, caps=Caps(max_latency_s=1.0), paces=paces)
    assert sorted(capped.order) == [PETIT, CODER]
    # a bound on the answer bounds its time
    assert GRAND in plan.rate(prompt, 20, 10, quality=1.0, caps=Caps(max_latency_s=1.0), paces=paces).order
    with pytest.raises(NothingWithinCap) as refused:
        plan.rate(prompt, 20, None, caps=Caps(max_latency_s=1.0), paces=paces, allowed=[GRAND, JURIST])
    assert refused.value.cap == "max_latency_ms"


def test_a_route_s_caps_can_only_be_made_tighter(own):
    plan = RoutePlan(make_artefact("knn", n=400), own, quality=1.0, caps=Caps(max_cost_usd=0.5e-3))
    prompt = Prompt(text="prove integral matrix theorem group prime")
    assert GRAND not in plan.rate(prompt, 20, None).order
    assert GRAND not in plan.rate(prompt, 20, None, caps=Caps(max_cost_usd=1.0)).order
    assert plan.rate(prompt, 20, None, caps=Caps(max_cost_usd=0.25e-3)).order == [PETIT]


def test_seconds_weigh_against_score(own):
    artefact = make_artefact("knn", n=400)
    prompt = Prompt(text="prove integral matrix theorem group prime")
    paces = [0.05, 0.01, 0.01, 0.01]
    patient = RoutePlan(artefact, own, quality=1.0)
    hasty = RoutePlan(artefact, own, quality=1.0, latency_weight=0.2)
    assert not patient.needs_paces
    assert hasty.needs_paces
    assert patient.rate(prompt, 20, None, paces=paces).order[0] == GRAND
    assert hasty.rate(prompt, 20, None, paces=paces).order[0] != GRAND  # 4 s more at 0.2 each
    assert hasty.rate(prompt, 20, None, paces=[0.0] * 4).order[0] == GRAND
    assert hasty.explain(prompt, 20, None, paces=paces)["latency_s"] == {
        "grand": 5.0, "petit": 1.0, "coder": 1.0, "jurist": 1.0,
    }  # fmt: skip
