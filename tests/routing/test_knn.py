from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.knn import KNNRouter

X = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
QUALITY = np.array([[1, 0], [1, 0.5], [0, 1], [0.5, 1]], dtype=np.float32)
COST = np.ones((4, 2), dtype=np.float32)


def test_neighbours_scores_are_weighted_by_similarity_and_shrunk_to_the_mean():
    """Means 0.625, 0.625. Similarities of (1, 0) to the rows: 1, 1, 0, 0, so weights 1, 1, 0, 0 with k = 4.

    Residuals of rows 0 and 1: (.375, -.625), (.375, -.125); sums (.75, -.75); over 2 + 1 pseudo-count: (.25, -.25).
    """
    router = KNNRouter(k=4, pseudo_count=1, prior="mean").fit(X, QUALITY, COST)
    assert router.rate_one(np.array([1, 0], dtype=np.float32)) == pytest.approx([0.875, 0.375])
    assert router.rate_one(np.array([5, 0], dtype=np.float32)) == pytest.approx([0.875, 0.375])


def test_without_pseudo_counts_the_nearest_alone_speak():
    router = KNNRouter(k=2, pseudo_count=0, prior="mean").fit(X, QUALITY, COST)
    assert router.rate_one(np.array([0.1, 1], dtype=np.float32)) == pytest.approx([0.25, 1.0])


def test_a_missing_score_counts_for_nobody():
    quality = QUALITY.copy()
    quality[1, 1] = np.nan
    router = KNNRouter(k=2, pseudo_count=0, prior="mean").fit(X, quality, COST)
    assert router.rate_one(np.array([1, 0], dtype=np.float32)) == pytest.approx([1.0, 0.0], abs=1e-6)


def test_the_nearest_are_found_exactly():
    rng = np.random.default_rng(3)
    many = rng.standard_normal((500, 9)).astype(np.float32)
    quality = rng.random((500, 2)).astype(np.float32)
    router = KNNRouter(k=7).fit(many, quality, np.ones_like(quality))
    for x in rng.standard_normal((20, 9)).astype(np.float32):
        rows, _ = router.nearest(x)
        cosine = (many @ x) / np.linalg.norm(many, axis=1)
        assert set(rows.tolist()) == set(np.argsort(-cosine)[:7].tolist())


def test_neighbours_are_described_nearest_first():
    router = KNNRouter(k=4).fit(X + np.array([[0, 0.1], [0, 0], [0, 0], [0.5, 0]], dtype=np.float32), QUALITY, COST)
    told = router.describe(np.array([2, 0], dtype=np.float32))
    assert told["rows"] == [1, 0, 3, 2]
    assert told["similarity"][0] == 1.0


@pytest.mark.parametrize("arguments", [{"k": 0}, {"pseudo_count": -1.0}, {"prior": "hope"}])
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        KNNRouter(**arguments).fit(X, QUALITY, COST)


def test_more_neighbours_than_rows_means_all_rows():
    few = KNNRouter(k=4).fit(X, QUALITY, COST).predict_quality(X)
    assert KNNRouter(k=4000).fit(X, QUALITY, COST).predict_quality(X) == pytest.approx(few)
