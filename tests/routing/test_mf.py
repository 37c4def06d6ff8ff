from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.mf import Difficulty, MFRouter, most_likely

N_MODELS = 13


def world(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of eight features, scores, and the chances they were drawn by: two traits, thirteen models."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 8)).astype(np.float32)
    plan = np.random.default_rng(99)
    traits = X @ plan.standard_normal((8, 2)) / np.sqrt(8)
    loadings = np.stack([1.5 + 0.3 * plan.standard_normal(N_MODELS), 1.5 * plan.standard_normal(N_MODELS)])
    chance = 1 / (1 + np.exp(-(traits @ loadings + plan.standard_normal(N_MODELS))))
    return X, (rng.random(chance.shape) < chance).astype(np.float32), chance


def test_a_rating_by_hand():
    """x = (1, 2): traits (1 * 1 + 2 * 0.5 - 1) = 1; log-odds 1 * 0.5 + 0.25 and 1 * -1 + 0."""
    arrays = {
        "traits": np.array([[1], [0.5]], np.float32),
        "centre": np.array([1], np.float32),
        "loadings": np.array([[0.5, -1]], np.float32),
        "ability": np.array([0.25, 0], np.float32),
        "cost_usd": np.array([1, 1], np.float32),
    }
    router = MFRouter.from_state({}, arrays, n_features=2)
    x = np.array([1, 2], np.float32)
    assert router.rate_one(x) == pytest.approx(1 / (1 + np.exp([-0.75, 1.0])))
    weights, intercept = router.log_odds()
    assert x @ weights + intercept == pytest.approx([0.75, -1.0])


def test_planted_traits_are_found():
    X, quality, _ = world(1500, 1)
    router = MFRouter(rank=2).fit(X, quality, np.ones_like(quality))
    fresh, _, chance = world(300, 2)
    assert np.abs(router.predict_quality(fresh) - chance).mean() < 0.04
    traits = router.traits(X)
    assert traits.mean(axis=0) == pytest.approx([0, 0], abs=1e-3)
    assert np.cov(traits.T) == pytest.approx(np.eye(2), abs=0.01)
    strength = np.linalg.norm(router.loadings_, axis=1)
    assert strength[0] > strength[1]


def test_the_likeliest_newcomer_by_hand():
    """One success, prior variance 2 around 0: 1 - sigmoid(theta) = theta / 2. Without scores it is the prior's mean."""
    nothing = Difficulty.unknown(1)
    theta = most_likely(np.ones((1, 1)), np.ones(1), np.zeros(1), np.array([[0.5]]), nothing)
    assert 1 - 1 / (1 + np.exp(-theta[0])) == pytest.approx(theta[0] / 2)
    assert most_likely(np.ones((0, 1)), np.ones(0), np.array([0.7]), np.array([[0.5]]), nothing)[0] == 0.7
    # two levels alike in chance, half a log-odd up and down: successes and failures that cancel leave theta at 0
    levels = Difficulty(np.array([-0.5, 0.5]), np.full((2, 2), 0.5), 1.0)
    assert most_likely(np.ones((2, 1)), np.array([0.0, 1.0]), np.zeros(1), np.array([[0.5]]), levels) == pytest.approx(
        0
    )


def test_a_new_model_from_a_hundred_prompts_comes_close_to_a_full_fit():
    X, quality, _ = world(1500, 3)
    cost = np.ones_like(quality)
    fresh, _, chance = world(400, 4)
    full = MFRouter(rank=2).fit(X, quality, cost).predict_quality(fresh)
    for newcomer in (0, 5, 12):
        known = [model for model in range(N_MODELS) if model != newcomer]
        before = MFRouter(rank=2).fit(X, quality[:, known], cost[:, known])
        ratings = before.predict_quality(fresh)
        router = before.add_model(X[:100], quality[:100, newcomer], np.full(100, 3.0, np.float32))
        rated = router.predict_quality(fresh)
        assert rated[:, :-1] == pytest.approx(ratings, abs=1e-6)  # nobody else is touched
        assert before.n_models == N_MODELS - 1
        assert router.cost_usd_[-1] == 3.0
        error = np.abs(rated[:, -1] - chance[:, newcomer]).mean()
        by_mean = np.abs(quality[:100, newcomer].mean() - chance[:, newcomer]).mean()
        assert error < np.abs(full[:, newcomer] - chance[:, newcomer]).mean() + 0.07
        assert error < 0.5 * by_mean


def test_hidden_difficulty_is_read_off_the_other_models():
    """All fail the first prompt and solve the second, the features say one half of both."""
    odds = np.zeros((200, 12))
    hard = np.arange(200) % 2 == 0
    found = Difficulty.of_prompts(odds, np.tile(np.where(hard, 0.0, 1.0)[:, None], (1, 12)))
    level = found.chances @ found.levels
    assert (level[hard] > 1).all()
    assert (level[~hard] < -1).all()
    independent = (np.random.default_rng(0).random((200, 12)) < 0.5).astype(float)
    assert not Difficulty.of_prompts(odds, independent).levels.any()


def test_what_others_made_of_the_same_prompts_sharpens_a_newcomers_level():
    """Half of the models' success is the prompts' doing, and no feature tells: the errors over thirty draws."""
    rng = np.random.default_rng(7)
    n = 3000
    X = rng.standard_normal((n, 3)).astype(np.float32)
    hidden = 2.5 * rng.standard_normal((n, 1))
    ability = np.linspace(-1, 1, N_MODELS)
    quality = (rng.random((n, N_MODELS)) < 1 / (1 + np.exp(-(ability + X[:, :1] + hidden)))).astype(np.float32)
    newcomer, others = quality[:, 6], np.delete(quality, 6, axis=1)
    before = MFRouter(rank=1).fit(X, others, np.ones_like(others))
    level = newcomer.mean()
    alone, beside = [], []
    for draw in range(30):
        rows = np.random.default_rng(draw).permutation(n)[:100]
        cost = np.ones(100, np.float32)
        one = before.add_model(X[rows], newcomer[rows], cost)
        other = before.add_model(X[rows], newcomer[rows], cost, others=others[rows])
        alone.append(one.predict_quality(X[:500])[:, -1].mean() - level)
        beside.append(other.predict_quality(X[:500])[:, -1].mean() - level)
    assert np.sqrt(np.mean(np.square(beside))) < 0.85 * np.sqrt(np.mean(np.square(alone)))


def test_a_newcomer_without_a_score_or_with_other_vectors_is_refused():
    X, quality, _ = world(60, 5)
    router = MFRouter(rank=2).fit(X, quality, np.ones_like(quality))
    with pytest.raises(ValueError, match="no score"):
        router.add_model(X, np.full(60, np.nan, np.float32), np.ones(60, np.float32))
    with pytest.raises(ValueError, match="shape"):
        router.add_model(X[:, :3], quality[:, 0], np.ones(60, np.float32))
    with pytest.raises(ValueError, match="others must have shape"):
        router.add_model(X, quality[:, 0], np.ones(60, np.float32), others=quality[:, :2])


@pytest.mark.parametrize("arguments", [{"rank": 0}, {"steps": 0}, {"penalty": 0.0}, {"loading_penalty": 0.0}])
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    one = np.ones((5, 1), np.float32)
    with pytest.raises(ValueError, match=next(iter(arguments))):
        MFRouter(**arguments).fit(one, one, one)
