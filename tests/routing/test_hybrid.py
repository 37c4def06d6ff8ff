from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.hybrid import HybridRouter, pair_of

rng = np.random.default_rng(8)
X = rng.standard_normal((400, 2)).astype(np.float32)
HARD = X[:, 0] > 0


def scores() -> tuple[np.ndarray, np.ndarray]:
    """Model 1 strong and dear, model 2 weak and cheapest, model 0 between; the weak one fails on hard prompts."""
    quality = np.stack([np.full(400, 0.6), np.full(400, 0.9), np.where(HARD, 0.2, 0.85)], axis=1).astype(np.float32)
    return quality, np.tile(np.array([2, 10, 1], np.float32) / 1e3, (400, 1))


def fitted(**more) -> HybridRouter:
    return HybridRouter(**{"base": "linear", **more}).fit(X, *scores())


def test_the_pair_by_hand():
    """Model 0 is the best, at 10. Model 1 is as good on three of four prompts, at 4: 3/4 * 4 + 1/4 * 10 = 5.5. Model 2
    on one, at 1: 7.75. At 8 model 1 would come to 8.5."""
    quality = np.array([[1, 1, 0], [1, 0.9, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float32)
    assert pair_of(quality, np.array([10, 4, 1], np.float32)) == (0, 1)
    assert pair_of(quality, np.array([10, 8, 1], np.float32)) == (0, 2)
    assert pair_of(quality[:, :1], np.array([10], np.float32)) == (0, 0)
    assert fitted().pair_.tolist() == [1, 2]


def test_a_model_that_no_prompt_compares_with_the_best_is_judged_by_its_mean():
    """Model 1 would suffice where it succeeds, one prompt in two: 5.5. Model 2 never does: 10."""
    quality = np.array([[1, np.nan, 0.2], [np.nan, 0.5, 0.2]], dtype=np.float32)
    assert pair_of(quality, np.array([10, 1, 5], np.float32)) == (0, 1)


def test_thresholds_by_hand():
    """Gaps 0.0 .. 1.0 in the quantiles: a share of 0.3 lies above 0.7."""
    router = fitted()
    router.quantiles_ = np.linspace(0, 1, 101, dtype=np.float32)
    assert router.threshold(0.3) == pytest.approx(0.7)
    assert router.threshold(0.0) == 1.0
    assert router.threshold(1.0) == 0.0


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_a_share_of_calls_goes_to_the_strong_model_and_it_is_the_hardest(share):
    fresh = rng.standard_normal((2000, 2)).astype(np.float32)
    router = fitted(strong_share=share)
    chosen = router.predict(fresh)
    assert (chosen == 1).mean() == pytest.approx(share, abs=0.06)
    assert set(chosen.tolist()) <= {1, 2}
    if 0 < share < 1:
        gaps = np.array([router.expected_gap(x) for x in fresh])
        assert gaps[chosen == 1].min() >= gaps[chosen == 2].max()
        assert fresh[chosen == 1, 0].mean() > fresh[chosen == 2, 0].mean() + 1


def test_without_a_share_the_price_decides():
    two = np.array([[1, 0], [-0.4, 0]], dtype=np.float32)  # hard, easy
    assert fitted().predict(two).tolist() == [1, 1]
    assert fitted(cost_weight=35.0).predict(two).tolist() == [1, 2]


def test_other_models_are_rated_0_and_the_gap_is_told():
    router = fitted()
    rated = router.rate_one(X[0])
    assert rated[0] == 0.0
    told = router.describe(X[0])
    assert told["expected_gap"] == pytest.approx(float(rated[1] - rated[2]), abs=1e-3)
    assert 0 <= told["share_above"] <= 1


def test_one_models_answer_is_enough_of_a_prompt():
    quality, cost = scores()
    quality[::2, 1] = np.nan
    quality[1::2, 2] = np.nan
    router = HybridRouter(base="linear").fit(X, quality, cost)
    assert router.expected_gap(X[X[:, 0].argmax()]) > router.expected_gap(X[X[:, 0].argmin()]) + 0.3


def test_a_pair_that_is_no_pair_is_refused():
    router = fitted()
    for name, array in (
        ("pair", np.array([1, 3])),
        ("pair", np.array([-1, 0])),
        ("quantiles", router.quantiles_[::-1]),
    ):
        with pytest.raises(ValueError, match=name):
            HybridRouter.from_state(router.params(), router.state() | {name: array}, n_features=2)


def test_arguments_out_of_range_are_refused_in_fit():
    with pytest.raises(ValueError, match="strong_share"):
        fitted(strong_share=1.5)
    with pytest.raises(ValueError, match="base must be one of"):
        fitted(base="hope")
