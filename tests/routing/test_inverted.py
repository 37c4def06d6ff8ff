from __future__ import annotations

import numpy as np
import pytest

from routewright.routing import inverted, knn, linear, logistic
from routewright.routing.inverted import InvertedLists, sort_into_lists
from routewright.routing.kmeans import sum_by
from routewright.routing.knn import KNNRouter
from routewright.routing.linear import fit_ridge
from routewright.routing.logistic import LogisticRouter
from routewright.routing.router import unit_rows


def clustered(n: int = 1200, f: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    subject = rng.integers(6, size=n)
    X = (rng.standard_normal((6, f))[subject] + 0.3 * rng.standard_normal((n, f))).astype(np.float32)
    chance = rng.random((6, 3))[subject]
    return X, (rng.random((n, 3)) < chance).astype(np.float32), np.full((n, 3), 1e-3, np.float32)


def test_lists_hold_every_row_once_by_its_nearest_centre():
    rows = unit_rows(clustered()[0])
    order, starts, centres = sort_into_lists(rows, 20, seed=0)
    assert sorted(order.tolist()) == list(range(len(rows)))
    nearest = (rows @ centres.T).argmax(axis=1)
    for number in range(20):
        for row in order[starts[number] : starts[number + 1]]:
            assert nearest[row] == number
    again = sort_into_lists(rows, 20, seed=0)
    assert all((a == b).all() for a, b in zip((order, starts, centres), again, strict=True))


def test_looking_through_all_lists_finds_what_an_exact_search_finds():
    rows = unit_rows(clustered()[0])
    order, starts, centres = sort_into_lists(rows, 20, seed=0)
    for probes, least in ((20, 1.0), (5, 0.8)):
        lists = InvertedLists(rows[order], starts, centres, probes)
        found = []
        for x in rows[:40]:
            positions, similarity = lists.search(x, 30)
            exact = np.sort(rows @ x)[-30:]
            assert similarity == pytest.approx(rows[order][positions] @ x, abs=1e-6)
            found.append(np.mean(np.sort(similarity) >= exact[0] - 1e-6))
        assert np.mean(found) >= least


def test_fewer_rows_than_asked_for_are_all_found():
    rows = np.eye(3, dtype=np.float32)
    order, starts, centres = sort_into_lists(rows, 3, seed=0)
    positions, similarity = InvertedLists(rows[order], starts, centres, 1).search(rows[1], 10)
    assert order[positions].tolist() == [1]
    assert similarity.tolist() == [1.0]


def test_neighbours_from_lists_rate_nearly_as_all_of_them_do(monkeypatch):
    X, quality, cost = clustered()
    quality[::7, 1] = np.nan
    exact = KNNRouter(k=40).fit(X, quality, cost)
    monkeypatch.setattr(knn, "EXACT_ROWS", 500)
    router = KNNRouter(k=40).fit(X, quality, cost)
    assert len(router.centres_) > 16
    assert router.predict_quality(X[:200]) == pytest.approx(exact.predict_quality(X[:200]), abs=0.06)
    loaded = KNNRouter.from_state(router.params(), router.state(), n_features=X.shape[1])
    assert loaded.predict_quality(X).tobytes() == router.predict_quality(X).tobytes()
    # neighbours are told by their place in training
    assert router.describe(X[5])["rows"][0] == 5
    state = router.state()
    for name, bad in (
        ("starts", state["starts"][::-1].copy()),
        ("order", state["order"] + len(X)),
        ("X", state["X"].astype(np.float32)),
        ("centres", state["centres"][:, :3]),
    ):
        with pytest.raises(ValueError, match=f'array "{name}"'):
            KNNRouter.from_state(router.params(), state | {name: bad}, n_features=X.shape[1])


def test_ridge_by_blocks_is_ridge_at_once(monkeypatch):
    X, quality, _ = clustered()
    quality[::5, 0] = np.nan
    whole = fit_ridge(X, quality, 3.0)
    monkeypatch.setattr(linear, "_BLOCK", 100)
    for at_once, by_blocks in zip(whole, fit_ridge(X, quality, 3.0), strict=True):
        assert by_blocks == pytest.approx(at_once, abs=1e-4, nan_ok=True)


def test_steps_on_some_rows_learn_nearly_what_steps_on_all_do(monkeypatch):
    X, quality, cost = clustered()
    quality[::5, 0] = np.nan
    whole = LogisticRouter().fit(X, quality, cost).predict_quality(X)
    monkeypatch.setattr(logistic, "_BATCH", 400)
    some = LogisticRouter().fit(X, quality, cost)
    assert np.abs(some.predict_quality(X) - whole).mean() < 0.02
    assert some.weights_.tobytes() == LogisticRouter().fit(X, quality, cost).weights_.tobytes()


def test_sums_by_group():
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    sums = sum_by(values, np.array([2, 0, 2, 2, 0]), 4)
    assert sums.tolist() == [[10, 12], [0, 0], [10, 13], [0, 0]]


def test_there_are_about_twice_the_root_of_rows_lists():
    assert [inverted.lists_for(n) for n in (1, 100, 1_000_000)] == [2, 20, 2000]
