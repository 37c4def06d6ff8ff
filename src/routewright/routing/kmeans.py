"""Clusters of unit rows by cosine."""

from __future__ import annotations

from typing import Final

import numpy as np

from routewright.routing.router import Float32, Int64, unit_rows

ROUNDS: Final = 25
_BLOCK: Final = 16_384
"""Rows at a time: similarities to all centres of a million rows would take gigabytes."""


def nearest_centres(X: Float32, centres: Float32) -> Int64:
    """Number of the nearest centre of each row, int64 (n,)."""
    nearest = np.empty(len(X), dtype=np.int64)
    for low in range(0, len(X), _BLOCK):
        np.argmax(X[low : low + _BLOCK] @ centres.T, axis=1, out=nearest[low : low + _BLOCK])
    return nearest


def spherical_k_means(X: Float32, n_clusters: int, seed: int, *, rounds: int = ROUNDS) -> tuple[Float32, Float32]:
    """Centres, unit rows (n_clusters, f), and sizes (n_clusters,) of clusters of unit rows X, by cosine.

    Starts by k-means++; a cluster that runs empty takes the row that is worst served. n_clusters is at most len(X).
    Source: Arthur and Vassilvitskii, "k-means++", SODA 2007; Dhillon and Modha, Machine Learning 42, 2001.
    """
    rng = np.random.default_rng(seed)
    centres = np.empty((n_clusters, X.shape[1]), dtype=np.float32)
    centres[0] = X[rng.integers(len(X))]
    distance = 1.0 - X @ centres[0]
    for c in range(1, n_clusters):
        chance = np.maximum(distance, 0).astype(np.float64)
        total = chance.sum()
        row = rng.choice(len(X), p=chance / total) if total > 0 else rng.integers(len(X))
        centres[c] = X[row]
        distance = np.minimum(distance, 1.0 - X @ centres[c])
    sizes = np.zeros(n_clusters, dtype=np.float32)
    for _ in range(rounds):
        nearest = nearest_centres(X, centres)
        sizes = np.bincount(nearest, minlength=n_clusters).astype(np.float32)
        sums = sum_by(X, nearest, n_clusters)
        empty = np.flatnonzero(sizes == 0)
        if empty.size:
            worst = np.argsort(np.einsum("ij,ij->i", X, centres[nearest]))
            sums[empty] = X[worst[: empty.size]]
        moved = unit_rows(sums)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres, sizes


def sum_by(values: Float32, group: Int64, n_groups: int) -> Float32:
    """Sums float32 (n_groups, f) of the rows of each group."""
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group, minlength=n_groups)
    filled = np.flatnonzero(counts)
    starts = np.concatenate(([0], np.cumsum(counts[filled])[:-1]))
    sums = np.zeros((n_groups, values.shape[1]), dtype=np.float32)
    if filled.size:
        sums[filled] = np.add.reduceat(values[order], starts, axis=0)
    return sums


def clusters_near(similarity: Float32, nearest: int) -> tuple[Int64, Float32]:
    """Numbers of the clusters that a request falls into, and their weights, which sum to 1.

    Weights fall to 0 at the first cluster beyond the nearest ones, so that none jumps when two clusters swap places.
    With no cluster beyond, the nearest alone counts.
    """
    n = len(similarity)
    if nearest >= n:
        return np.array([similarity.argmax()]), np.ones(1, dtype=np.float32)
    rows = np.argpartition(similarity, n - nearest - 1)[n - nearest - 1 :]
    weight = similarity[rows]
    weight = weight - weight.min()
    total = weight.sum()
    if not total > 0:  # all alike
        weight, total = np.ones_like(weight), np.float32(len(weight))
    return rows, weight / total
