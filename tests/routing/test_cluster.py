from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.cluster import ClusterRouter
from routewright.routing.kmeans import clusters_near, spherical_k_means

X = np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1]], dtype=np.float32)
QUALITY = np.array([[1, 0], [1, 0.5], [0, 1], [0.5, 1]], dtype=np.float32)
COST = np.ones((4, 2), dtype=np.float32)


def test_the_table_holds_each_clusters_shrunk_residuals():
    """Means 0.625. Cluster of rows 0, 1: residual sums (.75, -.75), over 2 + 1 pseudo-count: 0.625 + (.25, -.25)."""
    router = ClusterRouter(n_clusters=2, nearest=1, pseudo_count=1, prior="mean").fit(X, QUALITY, COST)
    assert sorted(router.sizes_.tolist()) == [2, 2]
    assert router.rate_one(np.array([3, 0], dtype=np.float32)) == pytest.approx([0.875, 0.375])
    assert router.rate_one(np.array([0, 1], dtype=np.float32)) == pytest.approx([0.625 - 0.25, 0.875])


def test_k_means_finds_separate_groups():
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=90)
    rows = np.eye(3, dtype=np.float32)[true] + 0.05 * rng.standard_normal((90, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    centres, sizes = spherical_k_means(rows.astype(np.float32), 3, seed=1)
    member = (rows @ centres.T).argmax(axis=1)
    assert sorted(sizes.tolist()) == sorted(np.bincount(true).tolist())
    assert len({(a, b) for a, b in zip(true.tolist(), member.tolist(), strict=True)}) == 3
    assert np.linalg.norm(centres, axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_weights_go_to_the_nearest_and_fall_to_nothing_at_the_next():
    rows, weight = clusters_near(np.array([0.1, 0.9, 0.5, 0.3], dtype=np.float32), 2)
    told = dict(zip(rows.tolist(), weight.tolist(), strict=True))
    assert told == pytest.approx({1: 0.75, 2: 0.25, 3: 0.0})
    assert clusters_near(np.array([0.1, 0.9], dtype=np.float32), 2)[0].tolist() == [1]
    assert clusters_near(np.zeros(3, dtype=np.float32), 1)[1].tolist() == [0.5, 0.5]


def test_equal_rows_still_make_as_many_clusters_as_asked():
    same = np.ones((10, 3), dtype=np.float32)
    quality = np.full((10, 2), 0.5, dtype=np.float32)
    router = ClusterRouter(n_clusters=4).fit(same, quality, quality)
    assert router.rate_one(same[0]) == pytest.approx([0.5, 0.5])


def test_the_nearest_cluster_is_described():
    router = ClusterRouter(n_clusters=2).fit(X, QUALITY, COST)
    told = router.describe(np.array([2, 0], dtype=np.float32))
    assert told["size"] == 2
    assert told["similarity"] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("arguments", [{"n_clusters": 0}, {"nearest": 0}, {"pseudo_count": -1.0}, {"prior": "hope"}])
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        ClusterRouter(**arguments).fit(X, QUALITY, COST)
