from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.logistic import LogisticRouter, sigmoid
from routewright.routing.personalized import PersonalizedRouter, caller_number

X = np.array([[-1], [1]] * 10, dtype=np.float32)
HALF = np.full((20, 3), 0.5, dtype=np.float32)


def plain(**more) -> PersonalizedRouter:
    """Over a base that expects 0.5 of each of three models."""
    arguments = {"base": "best", "spread": 1.0, "mood": 0.0, "forget": 0.0, **more}
    return PersonalizedRouter(**arguments).fit(X, HALF, HALF)


def test_one_reward_for_everyone_by_hand():
    """Variance 1, weight 0.25: gain 1 / 1.25; bias 0.8 * (1 - 0.5), variance 1 - 0.8 * 0.25."""
    router = plain()
    router.update(X[0], 1, 1.0)
    assert router.rate_one(X[0]) == pytest.approx([0.5, 1 / (1 + np.exp(-0.4)), 0.5])
    assert router.state()["variance"][0] == pytest.approx([1, 0.8, 1, 0])
    assert router.rate_for(X[0], "anyone").tolist() == router.rate_one(X[0]).tolist()


def test_one_callers_reward_by_hand():
    """Two variances of 1 explain it: gain 1 / 1.5 each, so a third of log-odds for everyone and two for the caller."""
    router = plain()
    router.update(X[0], 1, 1.0, key="a")
    assert router.rate_for(X[0], "a")[1] == pytest.approx(1 / (1 + np.exp(-2 / 3)))
    assert router.rate_for(X[0], "b")[1] == pytest.approx(1 / (1 + np.exp(-1 / 3)))


def test_callers_of_other_tastes_get_other_models():
    router = PersonalizedRouter(base="best").fit(X, HALF, HALF)
    rng = np.random.default_rng(0)
    for _ in range(60):
        model = int(rng.integers(3))
        router.update(X[0], model, 1.0 if model == 2 else 0.2, key="likes 2")
        router.update(X[0], model, 1.0 if model == 0 else 0.2, key="likes 0")
    assert router.rate_for(X[0], "likes 2").argmax() == 2
    assert router.rate_for(X[0], "likes 0").argmax() == 0


def test_a_strict_judge_keeps_their_usual_model():
    """Always model 0, always 0.1: without a mood it would fall behind the models that they never tried."""
    quality = HALF + np.array([0.2, 0.1, 0], dtype=np.float32)
    router = PersonalizedRouter(base="best", mood=3.0, spread=0.2).fit(X, quality, HALF)
    moodless = PersonalizedRouter(base="best", mood=0.0).fit(X, quality, HALF)
    for _ in range(20):
        router.update(X[0], 0, 0.1, key="strict")
        moodless.update(X[0], 0, 0.1, key="strict")
    assert router.rate_for(X[0], "strict").argmax() == 0
    assert moodless.rate_for(X[0], "strict").argmax() == 1


def test_before_any_reward_it_rates_as_its_base():
    quality = (np.random.default_rng(1).random((20, 3)) < [0.2, 0.5, 0.8]).astype(np.float32)
    router = PersonalizedRouter(base="logistic").fit(X, quality, HALF)
    base = LogisticRouter().fit(X, quality, HALF)
    assert router.predict_quality(X) == pytest.approx(base.predict_quality(X), abs=1e-3)


def test_the_caller_heard_of_longest_ago_is_forgotten():
    router = plain(max_keys=2)
    for key in ("a", "b", "a", "c"):
        router.update(X[0], 0, 1.0, key=key)
    assert router.state()["keys"].tolist() == [0, caller_number("a"), caller_number("c")]
    assert router.describe(X[0])["callers"] == 2


def test_forgetting_keeps_a_bias_movable():
    """After a hundred rewards of 1, how soon do rewards of 0 turn it?"""
    turned = []
    for forget in (0.0, 0.05):
        router = plain(forget=forget)
        for _ in range(100):
            router.update(X[0], 0, 1.0)
        for _ in range(20):
            router.update(X[0], 0, 0.0)
        turned.append(router.rate_one(X[0])[0])
    assert turned[1] < turned[0]


def test_no_callers_name_is_kept():
    router = plain()
    router.update(X[0], 0, 1.0, key="sk-secret")
    assert b"sk-secret" not in b"".join(array.tobytes() for array in router.state().values())
    assert caller_number("sk-secret") == caller_number("sk-secret") != caller_number("sk-other")


def test_a_state_that_names_a_caller_twice_is_refused():
    router = plain()
    router.update(X[0], 0, 1.0, key="a")
    for keys in ([0, 0], [5, 0]):
        arrays = router.state() | {"keys": np.array(keys, dtype=np.int64)}
        with pytest.raises(ValueError, match="keys"):
            PersonalizedRouter.from_state(router.params(), arrays, n_features=1)
    arrays = router.state() | {"variance": -router.state()["variance"]}
    with pytest.raises(ValueError, match="variance"):
        PersonalizedRouter.from_state(router.params(), arrays, n_features=1)


@pytest.mark.parametrize("arguments", [{"spread": -1.0}, {"mood": -1.0}, {"forget": 1.0}, {"max_keys": 0}])
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        PersonalizedRouter(**arguments).fit(X, HALF, HALF)


def test_a_rating_of_exactly_0_or_1_can_still_be_moved():
    router = PersonalizedRouter(base="best").fit(X, np.ones_like(HALF), HALF)
    for _ in range(200):
        router.update(X[0], 0, 0.0)
    assert router.rate_one(X[0])[0] < 0.9
    assert sigmoid(np.array([0.0], np.float32)) == 0.5
