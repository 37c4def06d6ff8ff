"""One contract for all routers."""

from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.registry import ALIASES, ROUTERS, find_router
from routewright.routing.router import NotFitted, Router

EVERY = pytest.mark.parametrize("router_class", list(ROUTERS.values()), ids=list(ROUTERS))


def data(n: int = 120, f: int = 7, m: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, f)).astype(np.float32)
    X[:, 0] = rng.integers(5, size=n)  # task-mean reads a task's number here
    quality = rng.random((n, m)).astype(np.float32)
    cost = (rng.random((n, m)) * 1e-3).astype(np.float32)
    return X, quality, cost


def reloaded(router: Router, n_features: int) -> Router:
    arrays = {name: array.copy() for name, array in router.state().items()}
    return type(router).from_state(router.params(), arrays, n_features=n_features)


@EVERY
def test_constructor_only_stores_its_arguments(router_class):
    router = router_class()
    assert not [name for name in vars(router) if name.endswith("_")]
    assert set(router.params()) == set(router_class.arguments)


@EVERY
def test_asking_before_fit_is_refused(router_class):
    X, _, _ = data()
    with pytest.raises(NotFitted):
        router_class().predict_quality(X)
    with pytest.raises(NotFitted):
        router_class().predict(X)
    with pytest.raises(NotFitted):
        router_class().state()


@EVERY
def test_ratings_are_float32_scores_for_every_model(router_class):
    X, quality, cost = data()
    rated = router_class().fit(X, quality, cost).predict_quality(X)
    assert rated.dtype == np.float32
    assert rated.shape == quality.shape
    assert np.isfinite(rated).all()
    assert rated.min() >= 0
    assert rated.max() <= 1


@EVERY
def test_a_loaded_router_rates_bit_for_bit_as_the_saved_one(router_class):
    X, quality, cost = data()
    router = router_class().fit(X, quality, cost)
    assert router.predict_quality(X).tobytes() == reloaded(router, X.shape[1]).predict_quality(X).tobytes()


@EVERY
def test_a_row_equals_itself_in_a_batch(router_class):
    X, quality, cost = data()
    router = router_class().fit(X, quality, cost)
    whole = router.predict_quality(X)
    for row in (0, 17, len(X) - 1):
        assert whole[row].tobytes() == router.predict_quality(X[row : row + 1])[0].tobytes()
        assert whole[row].tobytes() == router.rate_one(X[row]).tobytes()


@EVERY
def test_equal_seeds_give_equal_routers(router_class):
    X, quality, cost = data()
    first, second = (router_class().fit(X, quality, cost) for _ in range(2))
    for name, array in first.state().items():
        assert array.tobytes() == second.state()[name].tobytes(), name
    assert first.predict(X).tolist() == second.predict(X).tolist()


@EVERY
def test_inputs_are_left_untouched(router_class):
    X, quality, cost = data()
    quality[3, 1] = np.nan
    copies = X.copy(), quality.copy(), cost.copy()
    router = router_class().fit(X, quality, cost)
    router.predict_quality(X)
    router.predict(X)
    for array, copy in zip((X, quality, cost), copies, strict=True):
        assert array.tobytes() == copy.tobytes()


@EVERY
def test_fit_forgets_earlier_fits(router_class):
    X, quality, cost = data()
    fresh = router_class().fit(X, quality, cost).predict_quality(X)
    router = router_class().fit(*data(n=50, f=3, m=2, seed=9))
    assert router.fit(X, quality, cost).predict_quality(X).tobytes() == fresh.tobytes()


@EVERY
def test_missing_scores_are_allowed(router_class):
    X, quality, cost = data()
    quality[np.random.default_rng(1).random(quality.shape) < 0.4] = np.nan
    cost[5:9, 2] = np.nan
    rated = router_class().fit(X, quality, cost).predict_quality(X)
    assert np.isfinite(rated).all()


@EVERY
def test_one_model_and_one_row_are_enough(router_class):
    X, quality, cost = data(n=1, m=1)
    rated = router_class().fit(X, quality, cost).predict_quality(X)
    assert rated == pytest.approx(quality, abs=0.05)
    assert router_class().fit(*data(n=40, m=1)).predict(X).tolist() == [0]


@EVERY
@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda X, q, c: (np.where(X > 1e9, X, np.nan), q, c), "finite"),
        (lambda X, q, c: (X, q + 2, c), "0..1"),
        (lambda X, q, c: (X, q[:-1], c[:-1]), "shape"),
        (lambda X, q, c: (X, q, c[:, :-1]), "shape"),
        (lambda X, q, c: (X[:0], q[:0], c[:0]), "n >= 1"),
        (lambda X, q, c: (X, np.where(np.arange(q.shape[1]) == 1, np.nan, q), c), "no score"),
        (lambda X, q, c: (X, q, c - 1), "cost_usd"),
    ],
)
def test_bad_training_data_is_refused_in_words(router_class, spoil, word):
    with pytest.raises(ValueError, match=word):
        router_class().fit(*spoil(*data()))


@EVERY
def test_vectors_of_the_wrong_width_or_with_nan_are_refused(router_class):
    X, quality, cost = data()
    router = router_class().fit(X, quality, cost)
    with pytest.raises(ValueError, match="shape"):
        router.predict_quality(X[:, :-1])
    with pytest.raises(ValueError, match="finite"):
        router.predict_quality(np.full_like(X, np.nan))


@EVERY
def test_a_state_of_the_wrong_shape_is_refused(router_class):
    X, quality, cost = data()
    router = router_class().fit(X, quality, cost)
    for name in router.state():
        arrays = router.state()
        arrays[name] = np.zeros((2, 3, 4), dtype=np.float32)
        with pytest.raises(ValueError, match="array"):
            router_class.from_state(router.params(), arrays, n_features=X.shape[1])
        del arrays[name]
        with pytest.raises(ValueError, match=name):
            router_class.from_state(router.params(), arrays, n_features=X.shape[1])
    with pytest.raises(ValueError, match="unknown argument"):
        router_class.from_state({"nonsense": 1}, router.state(), n_features=X.shape[1])


# --- learning while serving ---------------------------------------------------------------------------------------

ONLINE = {name: router for name, router in ROUTERS.items() if router.learns_online}
EVERY_ONLINE = pytest.mark.parametrize("router_class", list(ONLINE.values()), ids=list(ONLINE))


def test_routers_that_learn_only_offline_say_so():
    X, quality, cost = data()
    for name, router_class in ROUTERS.items():
        if name not in ONLINE:
            with pytest.raises(TypeError, match=f'"{name}" does not learn'):
                router_class().fit(X, quality, cost).update(X[0], 0, 1.0)
    assert ONLINE


@EVERY_ONLINE
def test_a_rating_follows_the_rewards(router_class):
    X, quality, cost = data()
    router = router_class().fit(X, quality, cost)
    before = router.rate_one(X[0])
    for _ in range(30):
        router.update(X[0], 1, 1.0)
        router.update(X[0], 2, 0.0)
    after = router.rate_one(X[0])
    assert after[1] > before[1] + 0.05
    assert after[2] < before[2] - 0.05
    assert after[0] == pytest.approx(before[0], abs=1e-3)


@EVERY_ONLINE
def test_what_was_learned_online_is_saved_and_goes_on_alike(router_class):
    X, quality, cost = data()
    router = router_class().fit(X, quality, cost)
    for row in range(20):
        router.update(X[row], row % 4, float(quality[row, row % 4]), key=("", "a", "b")[row % 3])
    arrays = {name: array.copy() for name, array in router.state().items()}
    for array in arrays.values():
        array.flags.writeable = False  # as a file's are
    loaded = router_class.from_state(router.params(), arrays, n_features=X.shape[1])
    for _ in range(2):
        for key in ("", "a", "stranger"):
            assert [router.rate_for(x, key).tobytes() for x in X] == [loaded.rate_for(x, key).tobytes() for x in X]
        router.update(X[3], 2, 1.0, key="a")
        loaded.update(X[3], 2, 1.0, key="a")


@EVERY_ONLINE
def test_an_update_leaves_its_input_and_what_was_handed_out_before(router_class):
    X, quality, cost = data()
    router = router_class().fit(X, quality, cost)
    router.update(X[1], 0, 1.0, key="a")
    x, state, rating = X[0].copy(), router.state(), router.rate_one(X[0])
    copies = {name: array.copy() for name, array in state.items()}
    rated = rating.copy()
    router.update(x, 0, 1.0, key="a")
    assert x.tobytes() == X[0].tobytes()
    assert rating.tobytes() == rated.tobytes()
    for name, array in state.items():
        assert array.tobytes() == copies[name].tobytes(), name


@EVERY_ONLINE
def test_what_is_no_reward_is_refused_and_nothing_learned(router_class):
    X, quality, cost = data()
    router = router_class().fit(X, quality, cost)
    before = router.rate_one(X[0]).tobytes()
    for x, model, reward, word in (
        (X[0], 0, 1.5, "reward"),
        (X[0], 0, -0.1, "reward"),
        (X[0], 0, float("nan"), "reward"),
        (X[0], 4, 1.0, "model"),
        (X[0], -1, 1.0, "model"),
        (X[0, :-1], 0, 1.0, "shape"),
        (np.full_like(X[0], np.nan), 0, 1.0, "finite"),
    ):
        with pytest.raises(ValueError, match=word):
            router.update(x, model, reward)
    assert router.rate_one(X[0]).tobytes() == before


def test_cost_weight_turns_the_choice_to_the_cheaper_model():
    X, quality, cost = data(m=2)
    quality[:] = [0.9, 0.8]
    cost[:] = [0.01, 0.001]
    router = find_router("best")(cost_weight=0.0).fit(X, quality, cost)
    assert set(router.predict(X)) == {0}
    router = find_router("best")(cost_weight=20.0).fit(X, quality, cost)
    assert set(router.predict(X)) == {1}


def test_routers_are_found_by_their_name_and_by_llmrouters():
    for name, router_class in ROUTERS.items():
        assert find_router(name) is router_class
        assert find_router(f"llmrouter-{name}") is router_class
    for alias, name in ALIASES.items():
        assert find_router(alias) is ROUTERS[name]
    for name in ("custom", "automix", "llmrouter-r1", "knn-multiround"):
        with pytest.raises(KeyError, match="no router to fit"):
            find_router(name)
    with pytest.raises(KeyError, match="known: bandit, best"):
        find_router("oracle-of-delphi")
