from __future__ import annotations

import numpy as np
import pytest

from routewright.routing import mlp as module
from routewright.routing.mlp import MLPRouter
from routewright.routing.router import mean_known

rng = np.random.default_rng(3)


def test_one_layer_by_hand():
    """x = 2: relu(2 * 1 + 0, 2 * -1 + 0.5) = (2, 0); log-odds 2 * 1.5 - 1 = 2. x = -1: (0, 1.5); 1.5 * 2 - 1 = 2."""
    arrays = {
        "hidden_weights": np.array([[1, -1]], np.float32),
        "hidden_bias": np.array([0, 0.5], np.float32),
        "weights": np.array([[1.5], [2]], np.float32),
        "intercept": np.array([-1], np.float32),
        "cost_usd": np.array([1], np.float32),
    }
    router = MLPRouter.from_state({}, arrays, n_features=1)
    for x in (2, -1):
        assert router.rate_one(np.array([x], np.float32)) == pytest.approx(1 / (1 + np.exp(-2)))
    assert router.rate_one(np.array([0.25], np.float32)) == pytest.approx(1 / (1 + np.exp(-(0.375 + 0.5 - 1))))


def test_gradients_are_those_of_the_loss():
    """Each against the loss a little to either side; a missing score has none."""
    X, target = rng.standard_normal((12, 3)).astype(np.float32), rng.random((12, 2)).astype(np.float32)
    known = np.ones((12, 2), dtype=bool)
    parameters = tuple((0.5 * rng.standard_normal(shape)).astype(np.float32) for shape in ((3, 4), (4,), (4, 2), (2,)))
    rows = np.arange(12)
    # the loss is a mean over scores, the gradients' over rows
    gradients = module._gradients(parameters, X, target, known, rows, 0.0, rng)
    for number, gradient in enumerate(gradients):
        at = (0,) * gradient.ndim
        losses = []
        for step in (1e-3, -1e-3):
            moved = [p.copy() for p in parameters]
            moved[number][at] += step
            losses.append(module._loss(tuple(moved), X, target, known, rows) * 2)
        assert gradient[at] == pytest.approx((losses[0] - losses[1]) / 2e-3, rel=0.02, abs=1e-3)
    known[:, 1] = False
    assert not module._gradients(parameters, X, target, known, rows, 0.0, rng)[2][:, 1].any()


def test_what_no_line_cuts_is_learned():
    """Exclusive or: each feature by itself says nothing."""
    X = rng.choice([-1.0, 1.0], (600, 2)).astype(np.float32)
    differ = (X[:, 0] != X[:, 1])[:, None]
    quality = np.hstack([differ, ~differ]).astype(np.float32)
    router = MLPRouter(seeds=2, epochs=40).fit(X, quality, np.ones_like(quality))
    assert router.predict(X).tolist() == (1 - differ[:, 0]).tolist()


def test_where_nothing_can_be_learned_it_stays_near_the_mean():
    X = rng.standard_normal((400, 20)).astype(np.float32)
    quality = (rng.random((400, 3)) < [0.2, 0.5, 0.8]).astype(np.float32)
    rated = MLPRouter().fit(X, quality, np.ones_like(quality)).predict_quality(X)
    assert np.abs(rated - mean_known(quality)).mean() < 0.05


def test_a_model_with_few_scores_learns_from_the_others_what_is_hard():
    """All models fail where x is positive; the last has twelve scores."""
    X = rng.standard_normal((500, 3)).astype(np.float32)
    quality = np.tile(rng.random((500, 1)) < np.where(X[:, :1] > 0, 0.1, 0.9), (1, 4)).astype(np.float32)
    quality[12:, 3] = np.nan
    router = MLPRouter(seeds=3).fit(X, quality, np.ones_like(quality))
    hard, easy = router.rate_one(np.array([1.5, 0, 0], np.float32)), router.rate_one(np.array([-1.5, 0, 0], np.float32))
    assert hard[3] < 0.35
    assert easy[3] > 0.65


def test_another_seed_gives_another_network():
    X, quality = rng.standard_normal((60, 3)).astype(np.float32), rng.random((60, 2)).astype(np.float32)
    one, other = (MLPRouter(seeds=1, epochs=3, seed=s).fit(X, quality, quality) for s in (0, 1))
    assert one.hidden_weights_.tobytes() != other.hidden_weights_.tobytes()


@pytest.mark.parametrize(
    "arguments", [{"hidden": 0}, {"seeds": 0}, {"epochs": 0}, {"rate": 0.0}, {"dropout": 1.0}, {"decay": -1.0}]
)
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    one = np.ones((5, 1), np.float32)
    with pytest.raises(ValueError, match=next(iter(arguments))):
        MLPRouter(**arguments).fit(one, one, one)
