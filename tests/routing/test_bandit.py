from __future__ import annotations

from math import erf, sqrt

import numpy as np
import pytest

from routewright.routing.bandit import BanditRouter, chance_of_being_best, normal_cdf, whitened_components

SIDES = np.array([[-1], [1]] * 20, dtype=np.float32)
HALF = np.full((40, 2), 0.5, dtype=np.float32)
COST = np.ones((40, 2), dtype=np.float32)
RIGHT, LEFT = np.array([1], np.float32), np.array([-1], np.float32)


def plain(**more) -> BanditRouter:
    """Over a base that expects 0.5 of both of two models, on one feature that is whitened already."""
    return BanditRouter(**{"base": "best", "prior_weight": 1.0, "floor": 0.0, **more}).fit(SIDES, HALF, COST)


def at_right(router: BanditRouter) -> np.ndarray:
    """Ratings where the one feature's component is 1, whichever way it points."""
    return router.rate_one(RIGHT)


def test_one_reward_by_hand():
    """z = (1, 1), surprise 1 - 0.5. Precision [[2, 1], [1, 2]], its inverse [[2, -1], [-1, 2]] / 3; correction
    (1, 1) / 6, so 1/3 where z is the same and nothing where it is (1, -1). Variance 0.2 * 2/3 and, untouched, 0.2 * 2.
    """
    router = plain()
    router.update(RIGHT, 0, 1.0)
    assert at_right(router) == pytest.approx([0.5 + 1 / 3, 0.5])
    assert router.rate_one(LEFT) == pytest.approx([0.5, 0.5])
    assert router.deviations(RIGHT) == pytest.approx([sqrt(0.2 * 2 / 3), min(0.5, sqrt(0.4))])


def test_discounted_rewards_by_hand():
    """After rewards 1 and 0, discount 0.5: evidence 1.5 of z z', pull z (0.5 * 0.5 - 0.5), so the correction at z is
    2 * -0.25 / (1 + 2 * 1.5) = -0.125."""
    router = plain(discount=0.5)
    router.update(RIGHT, 0, 1.0)
    router.update(RIGHT, 0, 0.0)
    assert at_right(router)[0] == pytest.approx(0.5 - 0.125)


def test_a_model_given_up_becomes_doubtful_again_but_not_more_than_before_any_reward():
    router = plain(discount=0.9, prior_weight=20.0)
    untouched = router.deviations(RIGHT)[1]
    for _ in range(30):
        router.update(RIGHT, 1, 0.0)
    sure = router.deviations(RIGHT)[1]
    given_up = at_right(router)[1]
    for _ in range(5):
        router.update(RIGHT, 0, 0.5)
    assert sure < router.deviations(RIGHT)[1] < untouched
    for _ in range(500):
        router.update(RIGHT, 0, 0.5)
    assert router.deviations(RIGHT)[1] == pytest.approx(untouched)
    assert at_right(router)[1] == given_up


def test_the_chance_of_being_best_is_that_of_normal_variables():
    mean, spread = np.array([0.6, 0.5]), np.array([0.1, 0.2])
    true = 0.5 * (1 + erf(0.1 / sqrt(0.05) / sqrt(2)))
    assert chance_of_being_best(mean, spread) == pytest.approx([true, 1 - true], abs=0.005)
    mean, spread = np.array([0.5, 0.7, 0.65, -3.0]), np.array([0.2, 0.1, 0.15, 0.1])
    draws = np.random.default_rng(0).normal(mean, spread, (200_000, 4)).argmax(axis=1)
    drawn = np.bincount(draws, minlength=4) / len(draws)
    assert chance_of_being_best(mean, spread) == pytest.approx(drawn, abs=0.01)
    assert normal_cdf(np.array([-1.3])) == pytest.approx(0.5 * (1 + erf(-1.3 / sqrt(2))), abs=1e-6)


def test_linucb_takes_the_highest_upper_bound():
    """Ratings 0.5; the deviation of the model without a reward is wider, until its price outweighs it."""
    router = plain(policy="linucb", prior_weight=20.0)
    for reward in (1.0, 0.0):
        router.update(RIGHT, 0, reward)
    assert router.propensities(RIGHT).tolist() == [0.0, 1.0]
    assert router.propensities(RIGHT, penalty=np.array([0.0, 0.3], np.float32)).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("policy", ["thompson", "linucb"])
def test_the_floor_leaves_every_allowed_model_a_chance(policy):
    rng = np.random.default_rng(1)
    quality = np.tile(np.array([0.9, 0.1, 0.2], np.float32), (40, 1))
    router = BanditRouter(base="best", policy=policy, floor=0.09, prior_weight=1e4).fit(SIDES, quality, quality)
    assert router.propensities(RIGHT) == pytest.approx([0.94, 0.03, 0.03], abs=1e-3)
    assert router.propensities(RIGHT, allowed=[1, 2])[0] == 0.0
    assert router.propensities(RIGHT, allowed=[1, 2]).sum() == pytest.approx(1.0)
    drawn = [router.choose(RIGHT, rng) for _ in range(2000)]
    assert np.mean([model == 0 for model, _ in drawn]) == pytest.approx(0.94, abs=0.02)
    assert {model: round(chance, 3) for model, chance in drawn} == {0: 0.94, 1: 0.03, 2: 0.03}
    with pytest.raises(ValueError, match="no model is allowed"):
        router.propensities(RIGHT, allowed=[])


@pytest.mark.parametrize("policy", ["thompson", "linucb"])
def test_a_world_that_changed_is_found_out(policy):
    """Offline model 0 was good on the right and model 1 on the left; live it is the other way round."""
    quality = np.where(np.hstack([SIDES, -SIDES]) > 0, 0.8, 0.3).astype(np.float32)
    router = BanditRouter(base="linear", policy=policy, prior_weight=20.0).fit(SIDES, quality, COST)
    assert router.predict(np.stack([RIGHT, LEFT])).tolist() == [0, 1]
    rng = np.random.default_rng(5)
    for _ in range(600):
        side = rng.integers(2)
        model, _ = router.choose((LEFT, RIGHT)[side], rng)
        router.update((LEFT, RIGHT)[side], model, float(rng.random() < (0.8 if model == side else 0.3)))
    assert router.predict(np.stack([RIGHT, LEFT])).tolist() == [1, 0]


def test_its_records_tell_what_another_policy_would_have_earned():
    """Rewards over propensities of the choices that the other policy shares: unbiased, whoever chose."""
    router = plain(floor=0.1)
    rng = np.random.default_rng(2)
    truth = np.array([0.7, 0.4])
    total = 0.0
    for _ in range(3000):
        model, propensity = router.choose(RIGHT, rng)
        reward = float(rng.random() < truth[model])
        total += reward / propensity if model == 1 else 0.0
        router.update(RIGHT, model, reward)
    assert total / 3000 == pytest.approx(truth[1], abs=0.08)
    assert router.propensities(RIGHT)[0] > 0.9


def test_components_are_uncorrelated_with_variance_one():
    X = (np.random.default_rng(3).standard_normal((500, 4)) @ np.diag([3, 1, 0.5, 0]) + 7).astype(np.float32)
    projection, centre = whitened_components(X, 4)
    Z = X @ projection - centre
    assert np.cov(Z.T, bias=True) == pytest.approx(np.diag([1, 1, 1, 0]), abs=0.02)
    assert Z.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"policy": "greed"},
        {"rank": 0},
        {"prior_weight": 0.0},
        {"discount": 0.0},
        {"exploration": -1.0},
        {"floor": 1.5},
        {"base": "bandit"},
        {"base_arguments": "k"},
        {"base_arguments": '{"steps": "many"}'},
    ],
)
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        BanditRouter(**arguments).fit(SIDES, HALF, COST)


def test_the_base_is_saved_with_its_arguments():
    router = BanditRouter(base="knn", base_arguments='{"k": 5}').fit(SIDES, HALF, COST)
    assert '"k": 5' in router.params()["base_arguments"]
    assert '"pseudo_count"' in router.params()["base_arguments"]
    loaded = BanditRouter.from_state(router.params(), router.state(), n_features=1)
    assert loaded.base_.params() == router.base_.params()
